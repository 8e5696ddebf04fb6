"""What the hub itself publishes: alarms, its status, canary readings, diagnostics of devices."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from hub.ending import end
from hub.model import Message
from hub.mqtt.address import BrokerAddress, BrokerRefused, BrokerUnreachable
from hub.mqtt.connection import Connection, open_connection
from hub.mqtt.packets import PacketReader, Will, connect, publish
from hub.mqtt.topics import check_topic

log = logging.getLogger(__name__)

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0
_CONNACK_S = 10.0
_PUBACK_S = 10.0
_LOOK_S = 0.5
_WINDOW = 500
"""Messages on their way at once. One by one, a flood of 2,000 alarms took nine seconds to publish."""
_ATTEMPTS = 3
"""A message with which the connection was lost so many times is given up: it would block all others."""
_OWN_PACKET_ID = 65_535
"""Of birth and will, which are not queued."""
_JITTER = random.SystemRandom()


class _Outgoing(NamedTuple):
    topic: str
    payload: bytes
    retain: bool


class Publisher:
    """Publishes from a bounded queue, in order, as long as `run` runs, over all reconnects.

    Promises: `publish` never waits; what it took is sent at least once (QoS 1), or counted in `dropped`: when
    the connection is lost with it three times, or when `run` is cancelled while it still waits.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        *,
        client_id: str,
        will: Will | None = None,
        birth: Callable[[], bytes] | None = None,
        limit: int = 1000,
    ) -> None:
        """Keep the settings; nothing connects yet.

        `will` is what the broker publishes when the hub goes without a word; the publisher does it itself
        when `run` is cancelled. `birth` gives what is published after each connect, in place of the will.
        """
        self.broker = broker
        self.published = 0
        self.dropped = 0
        self._client_id = client_id
        self._will = will
        self._birth = birth
        self._limit = limit
        self._queue: deque[_Outgoing] = deque()
        self._connection: Connection | None = None
        self._sent: deque[int] = deque()
        """Packet ids of the queue's first messages: those that are on their way."""
        self._acknowledged: set[int] = set()
        """Of these, what was acknowledged before an earlier one."""
        self._packet_id = 0
        self._waiting_since_s = 0.0
        """When the first of the queue was sent, or became the first."""
        self._attempts = 0
        """How often the first of the queue was sent without being acknowledged."""
        self._alone = 0
        """How many of the queue's first are sent one by one: the connection was lost with one of them."""
        self._told: str | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker takes messages now."""
        return self._connection is not None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Take a message to be published; False, and counted, where the queue is full.

        Raises TopicError for a topic that can't be published to.
        """
        check_topic(topic)
        if len(self._queue) >= self._limit:
            self.dropped += 1
            return False
        self._queue.append(_Outgoing(topic, payload, retain))
        self._send()
        return True

    async def run(self) -> None:
        """Connect, publish and reconnect until cancelled."""
        delay = _FIRST_DELAY_S
        try:
            while True:
                before = self.published
                try:
                    await self._serve()
                except (BrokerUnreachable, BrokerRefused) as error:
                    # A broker that lets us in and takes nothing is no better than one that is away.
                    delay = _FIRST_DELAY_S if self.published > before else min(delay * 2, _LONGEST_DELAY_S)
                    self._note(str(error))
                await asyncio.sleep(delay * _JITTER.uniform(0.5, 1.0))
        finally:
            self.dropped += len(self._queue)
            self._queue.clear()

    async def _serve(self) -> None:
        broker, will = self.broker, self._will
        reader = PacketReader(buffer_bytes=4096)
        connection = Connection(broker, reader, _ignore, 1, lambda: False, on_puback=self._acknowledge)
        hello = connect(
            self._client_id,
            clean_session=True,
            keepalive_s=broker.keepalive_s,
            user=broker.user,
            password=broker.password_bytes(),
            will=will,
        )
        await open_connection(connection, broker, hello, client_id=self._client_id, timeout_s=_CONNACK_S)
        connection.suback.cancel()  # we subscribe to nothing
        staying = asyncio.create_task(connection.stay(broker.keepalive_s))
        try:
            self._note(None)
            if will and self._birth:
                connection.send(_packet(_Outgoing(will.topic, self._birth(), will.retain), _OWN_PACKET_ID))
            self._give_up_first()
            self._connection = connection
            self._send()
            while not staying.done():
                self._check_progress()
                await asyncio.wait({staying}, timeout=_LOOK_S)
            await staying
        except asyncio.CancelledError:
            # After a clean DISCONNECT the broker doesn't publish the will.
            if will:
                connection.send(_packet(_Outgoing(will.topic, will.payload, will.retain), _OWN_PACKET_ID))
            raise
        finally:
            self._connection = None
            # With which of them the connection was lost shows when they are sent one by one.
            self._alone = max(self._alone, len(self._sent))
            self._sent.clear()
            self._acknowledged.clear()
            await end(staying)
            await connection.disconnect()

    def _send(self) -> None:
        """Send in order what may be on its way; each message leaves the queue once it is acknowledged."""
        connection = self._connection
        if connection is None:
            return
        window = min(len(self._queue), 1 if self._alone else _WINDOW)
        while len(self._sent) < window and not connection.writing_held:
            if not self._sent:
                self._attempts += 1
                self._waiting_since_s = asyncio.get_running_loop().time()
            self._packet_id = self._packet_id % (_OWN_PACKET_ID - 1) + 1
            connection.send(_packet(self._queue[len(self._sent)], self._packet_id))
            self._sent.append(self._packet_id)

    def _acknowledge(self, packet_id: int) -> None:
        self._acknowledged.add(packet_id)
        while self._sent and self._sent[0] in self._acknowledged:
            self._acknowledged.discard(self._sent.popleft())
            self._queue.popleft()
            self.published += 1
            self._alone = max(0, self._alone - 1)
            self._attempts = int(bool(self._sent))
            self._waiting_since_s = asyncio.get_running_loop().time()
        self._send()

    def _check_progress(self) -> None:
        """Raise BrokerUnreachable when the broker acknowledges nothing for too long."""
        waited_s = asyncio.get_running_loop().time() - self._waiting_since_s
        if self._sent and waited_s > _PUBACK_S:
            raise BrokerUnreachable(f"{self.broker} has acknowledged nothing for {waited_s:.0f} s")
        self._send()  # the socket may take more by now

    def _give_up_first(self) -> None:
        """Drop the first of the queue if the connection was lost with it too often."""
        if self._queue and self._attempts >= _ATTEMPTS:
            message = self._queue.popleft()
            log.error("%s doesn't take what we publish to %s: dropped", self.broker, message.topic)
            self.dropped += 1
            self._alone = max(0, self._alone - 1)
            self._attempts = 0

    def _note(self, problem: str | None) -> None:
        """Log when the connection is lost and when it is back."""
        if problem is not None and self._told is None:
            log.warning("publishing at %s is interrupted: %s", self.broker, problem)
        elif problem is None and self._told is not None:
            log.info("publishing at %s is possible again", self.broker)
        self._told = problem


def _packet(message: _Outgoing, packet_id: int) -> bytes:
    return publish(message.topic, message.payload, qos=1, packet_id=packet_id, retain=message.retain)


def _ignore(_connection: Connection, _messages: list[Message]) -> None:
    """Take nothing: a publisher subscribes to nothing."""

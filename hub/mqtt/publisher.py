"""What the hub itself publishes, at low rates: its status, canary readings, diagnostics of devices."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiomqtt

from hub.ending import end
from hub.mqtt.address import BrokerAddress, BrokerRefused
from hub.mqtt.packets import Will
from hub.mqtt.topics import check_topic

log = logging.getLogger(__name__)

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0
_FAREWELL_S = 1.0
"""How long a broker may take to let us in once nobody wants it any more."""
_PUBACK_S = 10.0
_ATTEMPTS = 3
"""A message with which the connection was lost so many times is given up: it would block all others."""
_JITTER = random.SystemRandom()


class _Outgoing(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool


class Publisher:
    """Publishes from a bounded queue, in order, as long as `run` runs, over all reconnects.

    Promises: `publish` never waits; what it took is sent at least once (QoS 1), or counted in `dropped`: when
    the broker lets it time out three times, or when `run` is cancelled while it still waits.
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
        self.connected = False
        self._client_id = client_id
        self._will = will
        self._birth = birth
        self._limit = limit
        self._queue: deque[_Outgoing] = deque()
        self._wake = asyncio.Event()
        self._attempts = 0
        """How often the first of the queue was sent without being acknowledged."""
        self._told: str | None = None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        """Take a message to be published; False, and counted, where the queue is full.

        Raises TopicError for a topic that can't be published to.
        """
        check_topic(topic)
        if len(self._queue) >= self._limit:
            self.dropped += 1
            return False
        self._queue.append(_Outgoing(topic, payload, qos, retain))
        self._wake.set()
        return True

    async def run(self) -> None:
        """Connect, publish and reconnect until cancelled."""
        delay = _FIRST_DELAY_S
        try:
            while True:
                before = self.published
                try:
                    await self._serve()
                except (aiomqtt.MqttError, BrokerRefused, OSError) as error:
                    # A broker that lets us in and takes nothing is no better than one that is away.
                    delay = _FIRST_DELAY_S if self.published > before else min(delay * 2, _LONGEST_DELAY_S)
                    self._note(str(error))
                finally:
                    self.connected = False
                await asyncio.sleep(delay * _JITTER.uniform(0.5, 1.0))
        finally:
            self.dropped += len(self._queue)
            self._queue.clear()

    async def _serve(self) -> None:
        password = self.broker.password_bytes()
        will = self._will
        client = aiomqtt.Client(
            self.broker.host,
            self.broker.port,
            username=self.broker.user,
            password=password.decode() if password is not None else None,
            identifier=self._client_id,
            clean_session=True,
            keepalive=self.broker.keepalive_s,
            tls_context=self.broker.ssl_context(),
            timeout=_PUBACK_S,
            will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain) if will else None,
        )
        async with _connected(client):
            self.connected = True
            self._note(None)
            # aiomqtt tells that a connection is lost to who waits for messages, not to who publishes.
            sending = asyncio.create_task(self._send_queue(client))
            lost = asyncio.create_task(client.messages.__anext__())
            try:
                done, _ = await asyncio.wait({sending, lost}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except asyncio.CancelledError:
                # After a clean DISCONNECT the broker doesn't publish the will.
                if will:
                    await client.publish(will.topic, will.payload, will.qos, will.retain, timeout=1)
                raise
            finally:
                await end(sending, lost)

    async def _send_queue(self, client: aiomqtt.Client) -> None:
        if self._will and self._birth:
            await client.publish(self._will.topic, self._birth(), self._will.qos, self._will.retain)
        while True:
            while self._queue:
                message = self._queue[0]
                if self._attempts < _ATTEMPTS:
                    self._attempts += 1
                    await client.publish(message.topic, message.payload, message.qos, message.retain)
                    self.published += 1
                else:
                    log.error("%s doesn't take what we publish to %s: dropped", self.broker, message.topic)
                    self.dropped += 1
                self._attempts = 0
                self._queue.popleft()
            self._wake.clear()
            await self._wake.wait()

    def _note(self, problem: str | None) -> None:
        """Log when the connection is lost and when it is back."""
        if problem is not None and self._told is None:
            log.warning("publishing at %s is interrupted: %s", self.broker, problem)
        elif problem is None and self._told is not None:
            log.info("publishing at %s is possible again", self.broker)
        self._told = problem


@asynccontextmanager
async def _connected(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Connect, and be cancelled all the same.

    aiomqtt waits for the CONNACK in a way that may swallow a cancellation (asyncio.wait_for before Python
    3.12), or that fails in a callback later. So the waiting goes on by itself, for a moment.
    """
    connecting = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        await asyncio.wait({connecting}, timeout=_FAREWELL_S)
        if not connecting.done():
            connecting.cancel()
        elif connecting.exception() is None:
            await client.__aexit__(None, None, None)
        raise
    try:
        yield
    finally:
        await client.__aexit__(None, None, None)

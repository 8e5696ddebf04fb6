"""The hub's session at one broker: persistent, QoS 1, acknowledged by hand, reconnecting."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from hub.model import Message
from hub.mqtt.address import BrokerAddress, BrokerRefused, BrokerUnreachable
from hub.mqtt.connection import Connection, open_connection
from hub.mqtt.packets import MAX_PACKET_BYTES, Connack, PacketReader, Suback, connect, subscribe
from hub.mqtt.topics import check_filter

__all__ = ["BrokerAddress", "BrokerRefused", "BrokerUnreachable", "Deliver", "Delivery", "Session", "State"]

log = logging.getLogger(__name__)

State = Literal["connected", "disconnected", "refused", "session-lost", "kicked"]
"""connected: the broker took us. disconnected: it can't be reached, tried again soon. refused: it says no to
us or to a filter, someone must change what the text names. session-lost: connected, but what it kept for us
is gone. kicked: another client with our client id pushes us out."""

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0
_STABLE_S = 5.0
"""A connection that held this long was a good one: the next delay starts anew."""
_KICKS = 3
"""So many connections in a row that a broker took and closed at once are no accident."""
_JITTER = random.SystemRandom()


class Delivery:
    """What one look into the receive buffer found; up to `max_batch` messages, oldest first."""

    __slots__ = ("_connection", "messages", "received_ns", "session")

    def __init__(
        self, session: "Session", connection: Connection, messages: list[Message], received_ns: int
    ) -> None:
        self.session = session
        self._connection: Connection | None = connection
        self.messages = messages
        self.received_ns = received_ns

    def acknowledge(self) -> None:
        """Send the PUBACKs of all QoS 1 messages in one write, in order. From the event loop's thread only.

        Packet ids belong to the connection that brought them: when that has gone, nothing is sent, and the
        broker delivers the messages again. Deliveries must be acknowledged in the order in which they came.
        A second call does nothing.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        packet_ids = [message.packet_id for message in self.messages if message.packet_id]
        if connection.acknowledge(packet_ids):
            self.session.acknowledged += len(packet_ids)
        else:
            self.session.stale_acks += len(packet_ids)


Deliver = Callable[[Delivery], None]
"""Takes a delivery. Called synchronously while bytes are being received, so it must be quick and must not
wait. What it raises ends `Session.run`."""


class Session:
    """One MQTT 3.1.1 client that stays connected as long as `run` runs.

    Promises, with `clean_session=False` and `qos=1`: every message that the broker queued for this client id
    is delivered at least once, one device's messages in order as far as the broker keeps it, and none is
    acknowledged but by `Delivery.acknowledge`. Memory is bounded: one receive buffer, and the packet ids that
    wait to be written, of which the broker's in-flight limit allows 65,535 at most.

    A filter that is taken out of `filters` stays in a persistent session at the broker, until the session is
    removed there.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        *,
        client_id: str,
        filters: Sequence[str],
        deliver: Deliver,
        clean_session: bool = False,
        qos: int = 1,
        session_expected: bool = False,
        before_connect: Callable[[], Awaitable[None]] | None = None,
        on_state: Callable[[str, str], None] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        max_batch: int = 2000,
        max_packet_bytes: int = MAX_PACKET_BYTES,
        buffer_bytes: int = 256 << 10,
        connect_timeout_s: float = 10.0,
    ) -> None:
        """Keep the settings; nothing connects yet. Raises TopicError for a bad filter.

        `session_expected`: the broker should know this client id from an earlier run; if it doesn't, the
        first connect tells session-lost as well. Of a larger message than `max_packet_bytes` only the
        beginning is delivered, with its `full_size`. `before_connect` is awaited before each connect, which
        is put off where it raises BrokerUnreachable. `on_state` gets a State and a text for people, on
        changes.
        """
        self.broker = broker
        self.client_id = client_id
        self.filters = [check_filter(text) for text in filters]
        self.clean_session = clean_session
        self.qos = qos
        self.max_batch = max_batch
        self.max_packet_bytes = max_packet_bytes
        self.buffer_bytes = buffer_bytes
        self.connect_timeout_s = connect_timeout_s
        self.received = 0
        self.acknowledged = 0
        self.stale_acks = 0
        """Acknowledgements that came after their connection had gone; those messages come again."""
        self.reconnects = 0
        self.state: State = "disconnected"
        self.state_text = "not connected yet"
        self._deliver = deliver
        self._before_connect = before_connect
        self._on_state = on_state
        self._now_ns = now_ns
        self._session_expected = session_expected
        self._connection: Connection | None = None
        self._connected_before = False
        self._subscribed = asyncio.Event()
        self._paused_since_s: float | None = None
        """Monotonic."""
        self._quick_ends = 0
        """Connections in a row that the broker closed soon after it had taken them."""
        self._bytes_before = 0

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us on a connection that still stands."""
        return self._connection is not None

    @property
    def bytes_received(self) -> int:
        """Bytes received on all connections."""
        return self._bytes_before + (self._connection.bytes_received if self._connection else 0)

    @property
    def paused_s(self) -> float:
        """For how long `pause` has held; 0 where it doesn't."""
        return 0.0 if self._paused_since_s is None else time.monotonic() - self._paused_since_s

    def pause(self) -> None:
        """Take nothing more from the broker. Messages that are in the receive buffer wait there."""
        if self._paused_since_s is None:
            self._paused_since_s = time.monotonic()
        if self._connection:
            self._connection.pause()

    def resume(self) -> None:
        """Go on after `pause`. Deliveries start with the next turn of the event loop."""
        self._paused_since_s = None
        if self._connection:
            self._connection.resume()

    async def wait_connected(self, timeout: float) -> None:  # noqa: ASYNC109 - so that callers get our message
        """Wait until connected and subscribed. Raises TimeoutError with the last state."""
        try:
            await asyncio.wait_for(self._subscribed.wait(), timeout)
        except TimeoutError:
            raise TimeoutError(f"{self.broker}: {self.state}: {self.state_text}") from None

    async def connect_once(self) -> bool:
        """Connect, subscribe and disconnect: try the settings out before `run`.

        Returns whether the broker had a session. Messages that arrive meanwhile aren't acknowledged and come
        again. Raises BrokerUnreachable or BrokerRefused, which say what to change.
        """
        connection, connack = await self._open(lambda _connection, _messages: None, lambda: False)
        try:
            suback = await connection.answer(connection.suback, "SUBACK", self.connect_timeout_s)
        finally:
            await connection.disconnect()
        if refusal := self._refusal(suback):
            raise BrokerRefused(refusal)
        return connack.session_present

    async def run(self) -> None:
        """Stay connected until cancelled, then say DISCONNECT. Raises only what `deliver` raised."""
        delay = _FIRST_DELAY_S
        while True:
            try:
                held_s = await self._connect_and_stay()
            except BrokerRefused as refusal:
                # Someone has to change something: asking ten times a second won't help.
                held_s, delay = 0.0, _LONGEST_DELAY_S
                self._tell("refused", str(refusal))
            except BrokerUnreachable as problem:
                held_s = 0.0
                self._tell("disconnected", str(problem))
            if held_s >= _STABLE_S:
                delay = _FIRST_DELAY_S
            await asyncio.sleep(delay * _JITTER.uniform(0.5, 1.0))
            delay = min(delay * 2, _LONGEST_DELAY_S)

    async def _connect_and_stay(self) -> float:
        """Connect, wait for the end of the connection, tell why, and return how many seconds it held."""
        connection, connack = await self._open(self._take, lambda: self._paused_since_s is not None)
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._connection = connection
        settled = loop.call_later(_STABLE_S, self._settled)
        try:
            self._accepted(connack)
            connection.suback.add_done_callback(lambda suback: self._granted(connection, suback.result()))
            # A resume() of before this line has passed by a connection that we didn't have yet.
            connection.resume()
            await connection.stay(self.broker.keepalive_s)
        except BrokerUnreachable as problem:
            self._connection = None
            held_s = loop.time() - began
            quick = connection.closed_by_broker and held_s < _STABLE_S
            self._quick_ends = self._quick_ends + 1 if quick else 0
            if self._quick_ends >= _KICKS:
                self._tell(
                    "kicked",
                    f"client id {self.client_id!r} is used by another hub: give this one its own client_id",
                )
            else:
                self._tell("disconnected", str(problem))
            return held_s
        finally:
            self._connection = None
            self._subscribed.clear()
            self._bytes_before += connection.bytes_received
            settled.cancel()
            await connection.disconnect()

    async def _open(
        self, take: Callable[[Connection, list[Message]], None], is_paused: Callable[[], bool]
    ) -> tuple[Connection, Connack]:
        """Connect and ask for the filters. Messages of a session may come before the SUBACK."""
        if self._before_connect:
            await self._before_connect()
        reader = PacketReader(max_packet_bytes=self.max_packet_bytes, buffer_bytes=self.buffer_bytes)
        connection = Connection(self.broker, reader, take, self.max_batch, is_paused)
        hello = connect(
            self.client_id,
            clean_session=self.clean_session,
            keepalive_s=self.broker.keepalive_s,
            user=self.broker.user,
            password=self.broker.password_bytes(),
        )
        connack = await open_connection(
            connection, self.broker, hello, client_id=self.client_id, timeout_s=self.connect_timeout_s
        )
        connection.send(subscribe(1, [(text, self.qos) for text in self.filters]))
        return connection, connack

    def _take(self, connection: Connection, messages: list[Message]) -> None:
        self.received += len(messages)
        self._deliver(Delivery(self, connection, messages, self._now_ns()))

    def _accepted(self, connack: Connack) -> None:
        if self._connected_before:
            self.reconnects += 1
        if self._session_expected and not connack.session_present:
            self._tell(
                "session-lost",
                f"session lost at the broker {self.broker}: what was published since we were connected last"
                " isn't coming; check that it keeps sessions on disk and for how long",
            )
        # Having been kicked, we wait for a connection that holds before we say that all is well.
        if self.state != "kicked":
            self._tell("connected", str(self.broker))
        self._connected_before = True
        self._session_expected = not self.clean_session

    def _granted(self, connection: Connection, suback: Suback) -> None:
        if self._connection is not connection:
            return
        if refusal := self._refusal(suback):
            # The other filters go on: blind on one is better than blind on all.
            self._tell("refused", refusal)
        self._subscribed.set()

    def _settled(self) -> None:
        self._quick_ends = 0
        if self.state == "kicked":
            self._tell("connected", str(self.broker))

    def _refusal(self, suback: Suback) -> str | None:
        """Tell what a SUBACK didn't grant, None where it granted all."""
        if len(suback.codes) != len(self.filters):
            return (
                f"{self.broker} answered {len(suback.codes)} of {len(self.filters)} filters: it isn't sound"
            )
        refused = [text for text, code in zip(self.filters, suback.codes, strict=True) if code == 0x80]
        weak = [text for text, code in zip(self.filters, suback.codes, strict=True) if code < self.qos]
        if refused:
            return (
                f"{self.broker} refuses the filters {refused}: allow {self._who()} to read them; with"
                " nats-server mqtt.max_ack_pending of all filters (a/# counts twice) must stay below 65536"
            )
        if weak:
            return f"{self.broker} grants only QoS 0 on {weak}, messages would be lost: allow QoS 1 there"
        return None

    def _who(self) -> str:
        return f"user {self.broker.user!r}" if self.broker.user else f"client {self.client_id!r}"

    def _tell(self, state: State, text: str) -> None:
        if (state, text) == (self.state, self.state_text):
            return
        changed = state != self.state
        self.state, self.state_text = state, text
        if changed:
            log.log(logging.INFO if state == "connected" else logging.WARNING, "MQTT %s: %s", state, text)
        if self._on_state:
            self._on_state(state, text)

"""One connection to a broker, from CONNECT to its end; never reused."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

from hub.model import Message
from hub.mqtt.address import BrokerAddress, BrokerRefused, BrokerUnreachable
from hub.mqtt.packets import (
    DISCONNECT,
    PINGREQ,
    Answer,
    Connack,
    PacketReader,
    ProtocolError,
    Puback,
    Suback,
    pubacks,
)

T = TypeVar("T")

_FAREWELL_S = 1.0
"""So long may a broker take to hear our DISCONNECT."""
_REST_S = 0.002
"""From one read of the socket to the next. Brokers write message by message, and at some thousands a second
waking up for each costs more than the message does. The first of a run is read at once."""
_MUCH = 8 << 10
"""Bytes of a read after which there is no rest: the system holds a hundred small messages for us."""


class Connection(asyncio.BufferedProtocol):
    """Bytes of one connection: messages out of the receive buffer, acknowledgements into it.

    `take` is called with each run of messages. What it raises ends the connection and comes out of `stay`.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        reader: PacketReader,
        take: Callable[["Connection", list[Message]], None],
        max_batch: int,
        is_paused: Callable[[], bool],
        on_puback: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_puback` is called with the packet id of each message that the broker has taken."""
        loop = asyncio.get_running_loop()
        self.connack: asyncio.Future[Connack] = loop.create_future()
        self.suback: asyncio.Future[Suback] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.closed_by_broker = False
        self.bytes_received = 0
        self._broker = broker
        self._reader = reader
        self._take = take
        self._max_batch = max_batch
        self._transport: asyncio.Transport | None = None
        self._problem: Exception | None = None
        self._over = False
        self._draining = False
        self._is_paused = is_paused
        self._on_puback = on_puback
        self._was_paused = False
        self._room = 0
        """Bytes that the buffer had room for when it was last asked."""
        self.writing_held = False
        """Whether the broker doesn't read as fast as we write."""
        self._held_acks: list[int] = []

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no asyncio.Transport by class, only by what they do.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the reader knows how much it has room for
        """Say where the next bytes go."""
        room = self._reader.get_buffer()
        self._room = len(room)
        return room

    def buffer_updated(self, nbytes: int) -> None:
        """Handle everything that is in the buffer."""
        self.bytes_received += nbytes
        self._reader.advance(nbytes)
        self._drain()
        if not self._transport or self._over or not self._transport.is_reading():
            return
        self._transport.pause_reading()
        if nbytes >= min(self._room, _MUCH):
            # There is more, and uvloop would read on for half a second before it lets anything else happen.
            self.resume()
        else:
            asyncio.get_running_loop().call_later(_REST_S, self._go_on)

    def pause_writing(self) -> None:
        """Hold acknowledgements back: the broker doesn't read."""
        self.writing_held = True

    def resume_writing(self) -> None:
        """Write what was held back."""
        self.writing_held = False
        self._write_acks()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why it ended."""
        if not self._over:
            self._over = self.closed_by_broker = True
            self._problem = BrokerUnreachable(self._why_closed(exc))
        if not self.ended.done():
            self.ended.set_result(None)

    # What the session calls

    def send(self, packet: bytes) -> None:
        """Write one packet."""
        if self._transport and not self._over:
            self._transport.write(packet)

    def acknowledge(self, packet_ids: list[int]) -> bool:
        """Send the PUBACKs in one write; False where the connection has gone."""
        if self._over or not self._transport:
            return False
        # Bounded by the broker: it has at most 65,535 messages out that aren't acknowledged.
        if not self._held_acks and packet_ids and not self.writing_held:
            asyncio.get_running_loop().call_soon(self._write_acks)
        self._held_acks += packet_ids
        return True

    def pause(self) -> None:
        """Read nothing more from the socket; what is in the buffer stays there."""
        self._was_paused = True
        if self._transport and not self._over and self._transport.is_reading():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on with the buffer, then with the socket, at the next turn of the event loop."""
        asyncio.get_running_loop().call_soon(self._go_on)

    async def answer(self, expected: asyncio.Future[T], name: str, timeout_s: float) -> T:
        """Wait for CONNACK or SUBACK. Raises what ended the connection, BrokerUnreachable at the latest."""
        either: set[asyncio.Future[Any]] = {expected, self.ended}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if expected.done():
            return expected.result()
        if self._problem:
            raise self._problem
        raise BrokerUnreachable(
            f"{self._broker} took the connection but sent no {name} within {timeout_s:g} s:"
            " check that this is the port of an MQTT broker"
        )

    async def stay(self, keepalive_s: float) -> NoReturn:
        """Keep alive until the connection ends, then raise why: BrokerUnreachable, or what `take` raised."""
        while True:
            # PINGREQ goes out whether or not we read: the broker drops us after 1.5 keep-alives without.
            heard, self._was_paused = self.bytes_received, self._is_paused()
            subscribing = not self.suback.done()
            if not self.writing_held:
                self.send(PINGREQ)
            await asyncio.wait({self.ended}, timeout=keepalive_s / 2)
            if self._problem:
                await asyncio.wait({self.ended}, timeout=_FAREWELL_S)
                raise self._problem
            if self._was_paused:
                continue
            if self.bytes_received == heard:
                self._fail(BrokerUnreachable(f"{self._broker} is silent for {keepalive_s / 2:g} s"))
            elif subscribing and not self.suback.done():
                self._fail(BrokerUnreachable(f"{self._broker} doesn't answer our SUBSCRIBE"))

    async def disconnect(self) -> None:
        """Say DISCONNECT where there is someone to hear it, and close."""
        if not self._transport:
            return
        self._write_acks()
        self.send(DISCONNECT)
        self._over = True
        self._transport.close()
        try:
            await asyncio.wait({self.ended}, timeout=_FAREWELL_S)
        finally:
            self._transport.abort()

    def _write_acks(self) -> None:
        """Write every acknowledgement of this turn of the loop at once."""
        if self._held_acks and not self.writing_held and self._transport and not self._over:
            held, self._held_acks = self._held_acks, []
            self._transport.write(pubacks(held))

    def _go_on(self) -> None:
        self._drain()
        if self._transport and not self._over and not self._is_paused() and not self._transport.is_reading():
            self._transport.resume_reading()

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        try:
            # While paused only the CONNACK is taken: a connection has to be made all the same.
            while not self._over and not (self._is_paused() and self.connack.done()):
                item = self._reader.read(self._max_batch)
                if item is None:
                    break
                if isinstance(item, list):
                    if not self.connack.done():
                        self._fail(BrokerUnreachable(f"{self._broker} sent PUBLISH before CONNACK"))
                        break
                    self._take(self, item)
                else:
                    self._note(item)
        except ProtocolError as error:
            self._fail(
                BrokerUnreachable(
                    f"{self._broker} sent what isn't MQTT 3.1.1: {error};"
                    " check that this is the port of a broker"
                )
            )
        except Exception as error:  # noqa: BLE001 - a fault of `take`, raised again by `stay`
            self._fail(error)
        finally:
            self._draining = False
        if self._is_paused() and self.connack.done():
            self.pause()

    def _note(self, answer: Answer) -> None:
        if isinstance(answer, Puback):
            self._on_puback(answer.packet_id)
        elif isinstance(answer, Connack) and not self.connack.done():
            self.connack.set_result(answer)
        elif isinstance(answer, Suback) and not self.suback.done():
            self.suback.set_result(answer)

    def _fail(self, problem: Exception) -> None:
        self._over = True
        self._problem = problem
        if self._transport:
            self._transport.abort()

    def _why_closed(self, exc: Exception | None) -> str:
        detail = f" ({exc})" if exc else ""
        if self.connack.done():
            return f"{self._broker} closed the connection{detail}"
        hint = (
            "check that the broker takes our certificate (cert_file, key_file)"
            if self._broker.tls
            else "check that this is the port of an MQTT 3.1.1 broker, without TLS"
        )
        return f"{self._broker} closed the connection before CONNACK{detail}: {hint}"


async def open_connection(
    connection: Connection, broker: BrokerAddress, hello: bytes, *, client_id: str, timeout_s: float
) -> Connack:
    """Connect, say `hello` (a CONNECT packet) and wait to be accepted.

    Raises BrokerUnreachable or BrokerRefused; both say what to change.
    """
    context = broker.ssl_context()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            # Where this fails or is cancelled it closes what it opened: there is nobody to say DISCONNECT to.
            await loop.create_connection(lambda: connection, broker.host, broker.port, ssl=context)
    except OSError as error:
        raise BrokerUnreachable(_why_unreachable(broker, error, timeout_s)) from None
    try:
        connection.send(hello)
        connack = await connection.answer(connection.connack, "CONNACK", timeout_s)
    except BaseException:
        await connection.disconnect()
        raise
    if connack.code:
        await connection.disconnect()
        raise _refusal(broker, client_id, connack.code)
    return connack


def _why_unreachable(broker: BrokerAddress, error: OSError, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"{broker} didn't answer within {timeout_s:g} s: check host, port and firewall"
    if isinstance(error, socket.gaierror):
        return f"{broker}: the host name isn't known ({error.strerror}): correct the url"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{broker} shows a certificate that isn't trusted ({error.verify_message}): set ca_file to the"
            " authority that signed it, and use the name in the certificate as the host of the url"
        )
    if isinstance(error, ssl.SSLError):
        return f"{broker} doesn't agree on TLS ({error.reason}): check that this is a TLS 1.2 port"
    if isinstance(error, ConnectionRefusedError) or "Errno 111" in str(error):
        return f"{broker}: nothing listens there: start the broker or correct the url"
    return f"{broker} can't be reached ({error}): check host, port and network"


def _refusal(broker: BrokerAddress, client_id: str, code: int) -> BrokerRefused | BrokerUnreachable:
    user = f"user {broker.user!r}" if broker.user else "a client without user name"
    if code == 1:
        return BrokerRefused(f"{broker} doesn't speak MQTT 3.1.1: enable it there")
    if code == 2:
        return BrokerRefused(f"{broker} doesn't take the client id {client_id!r}: change client_id")
    if code == 3:
        return BrokerUnreachable(f"{broker} says that it isn't available now")
    if code in (4, 5):
        return BrokerRefused(
            f"{broker} doesn't let {user} in as client {client_id!r} (code {code}): check the user in the"
            " url, password or password_file, the client certificate, and the broker's permissions"
        )
    return BrokerRefused(
        f"{broker} refused the connection with the unknown code {code}: see the broker's log"
    )

"""One device's MQTT connection: last will, keep-alive, reconnects, a bounded backlog while it is away.

It speaks MQTT 3.1.1 with the packets of `hub.mqtt.packets`, the one module that simulators and hub share.
"""

import asyncio
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from device_sims.devices.device import Publication
from device_sims.errors import BrokerError
from device_sims.target import Target
from hub.mqtt.packets import (
    DISCONNECT,
    PINGREQ,
    Connack,
    PacketReader,
    ProtocolError,
    Puback,
    Will,
    connect,
    publish,
)

log = logging.getLogger(__name__)

_ANSWER_S = 10.0
_LONGEST_PAUSE_S = 15.0
_REFUSALS = {
    1: "it doesn't speak MQTT 3.1.1; use a broker that does",
    2: "it refuses the client id; another --site or device name is needed",
    3: "it says that it is not available; try again later",
    4: "it refuses the user name or password; check --username and --password-file",
    5: "it says that this client is not authorised; check --username and --password-file",
}


class DeviceClient:
    """One device at one broker. `run` keeps it connected until it is cancelled; `publish` never waits.

    Publications of QoS 1 are sent in order and kept until the broker acknowledges them; while the device is
    away up to `backlog` are kept, and then the oldest is dropped and counted, as a device with a full memory
    does. Publications of QoS 0 are dropped while it is away.
    """

    def __init__(
        self,
        target: Target,
        client_id: str,
        *,
        will: Publication | None = None,
        birth: Callable[[], list[Publication]] | None = None,
        acknowledged: Callable[[Publication], None] | None = None,
        backlog: int = 3600,
        window: int = 100,
        keepalive_s: int = 30,
    ) -> None:
        self._target = target
        self._hello = connect_packet(target, client_id, will, keepalive_s)
        self._birth = birth
        self._acknowledged = acknowledged
        self._backlog = backlog
        self._window = window
        self._keepalive_s = keepalive_s
        self._queue: deque[Publication] = deque()
        self._in_flight: dict[int, Publication] = {}
        self._next_id = 0
        self._link: Link | None = None
        self._present = asyncio.Event()
        self._present.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.published = 0
        """Publications of QoS 1 that were taken, births included."""
        self.acknowledged = 0
        self.dropped = 0
        """Publications of QoS 1 that a full backlog dropped before the broker had them."""
        self.connects = 0

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        return self._link is not None

    @property
    def waiting(self) -> int:
        """Publications of QoS 1 that are not yet acknowledged."""
        return len(self._queue) + len(self._in_flight)

    async def run(self) -> None:
        """Stay connected; reconnect with jittered back-off. Ends when cancelled."""
        failures = 0
        while True:
            await self._present.wait()
            try:
                link = await open_link(self._target, self._hello, self._keepalive_s, self._puback)
            except BrokerError as error:
                if failures == 0:
                    log.info("no connection: %s", error)
                failures += 1
                longest = min(0.5 * 2**failures, _LONGEST_PAUSE_S)
                await asyncio.sleep(random.uniform(0.3, 1.0) * longest)  # noqa: S311  not a secret
                continue
            failures = 0
            self._begin(link)
            try:
                await link.closed.wait()
            finally:
                self._link = None
                if not link.closed.is_set():
                    link.say_goodbye()

    def publish(self, publication: Publication) -> None:
        """Take one publication."""
        if publication.qos == 0:
            if self._link is not None and self._link.writable:
                self._link.send(
                    publish(publication.topic, publication.payload, qos=0, retain=publication.retain)
                )
            return
        self.published += 1
        self._idle.clear()
        if len(self._queue) >= self._backlog:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(publication)
        self._drain()

    async def flushed(self) -> None:
        """Wait until the broker has acknowledged everything."""
        await self._idle.wait()

    def vanish(self) -> None:
        """Go without a farewell, as a device that loses its power or its network; stay away."""
        self._present.clear()
        if self._link is not None:
            self._link.abort()

    def come_back(self) -> None:
        """Be there again after `vanish`."""
        self._present.set()

    def _begin(self, link: "Link") -> None:
        self._link = link
        link.on_writable = self._drain
        self.connects += 1
        again = list(self._in_flight.items())
        for packet_id, publication in again:
            link.send(_encode(publication, packet_id, duplicate=True))
        if self._birth is not None:
            # The will may have told that this device is gone: what it says of itself goes before its backlog.
            births = self._birth()
            self.published += len(births)
            self._idle.clear()
            self._queue.extendleft(reversed(births))
        self._drain()

    def _drain(self) -> None:
        link = self._link
        while link is not None and link.writable and self._queue and len(self._in_flight) < self._window:
            publication = self._queue.popleft()
            packet_id = self._free_id()
            self._in_flight[packet_id] = publication
            link.send(_encode(publication, packet_id))

    def _free_id(self) -> int:
        while True:
            self._next_id = self._next_id % 65_535 + 1
            if self._next_id not in self._in_flight:
                return self._next_id

    def _puback(self, packet_id: int) -> None:
        publication = self._in_flight.pop(packet_id, None)
        if publication is None:
            return
        self.acknowledged += 1
        if self._acknowledged is not None:
            self._acknowledged(publication)
        self._drain()
        if not self.waiting:
            self._idle.set()


class Link(asyncio.BufferedProtocol):
    """One TCP connection that speaks MQTT: the packets that come are taken apart, keep-alive is kept."""

    def __init__(self, hello: bytes, keepalive_s: int, on_puback: Callable[[int], None]) -> None:
        self._hello = hello
        self._keepalive_s = keepalive_s
        self._on_puback = on_puback
        self._reader = PacketReader(buffer_bytes=512, max_packet_bytes=64 << 10)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = True
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The code of CONNACK."""
        self.closed = asyncio.Event()
        self.writable = True
        self.on_writable: Callable[[], None] | None = None

    def send(self, packet: bytes) -> None:
        """Write one packet."""
        if self._transport is not None:
            self._transport.write(packet)

    def say_goodbye(self) -> None:
        """Disconnect in order: the broker doesn't publish the will."""
        if self._transport is not None:
            self._transport.write(DISCONNECT)
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection: the broker publishes the will."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports share no base class
        self._transport.write(self._hello)
        self._timer = asyncio.get_running_loop().call_later(self._keepalive_s / 2, self._ping)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self.writable = False
        if not self.answer.done():
            self.answer.set_exception(error or ConnectionResetError("the connection was closed"))
        self.closed.set()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the reader knows its own room
        """Give the reader's buffer."""
        return self._reader.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take apart what came."""
        self._heard = True
        self._reader.advance(nbytes)
        try:
            while (item := self._reader.read()) is not None:
                if isinstance(item, Puback):
                    self._on_puback(item.packet_id)
                elif isinstance(item, Connack) and not self.answer.done():
                    self.answer.set_result(item.code)
        except ProtocolError as error:
            log.warning("the broker breaks the protocol: %s", error)
            self.abort()

    def pause_writing(self) -> None:
        """Stop: the socket's buffer is full."""
        self.writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self.writable = True
        if self.on_writable is not None:
            self.on_writable()

    def _ping(self) -> None:
        if not self._heard:
            self.abort()
            return
        self._heard = False
        self.send(PINGREQ)
        self._timer = asyncio.get_running_loop().call_later(self._keepalive_s / 2, self._ping)


def connect_packet(target: Target, client_id: str, will: Publication | None, keepalive_s: int) -> bytes:
    """Encode CONNECT for a device."""
    last_will = Will(will.topic, will.payload, will.qos, will.retain) if will else None
    return connect(
        client_id,
        clean_session=True,
        keepalive_s=keepalive_s,
        user=target.username,
        password=target.password.encode() if target.password is not None else None,
        will=last_will,
    )


async def open_link(target: Target, hello: bytes, keepalive_s: int, on_puback: Callable[[int], None]) -> Link:
    """Connect and wait for CONNACK. Raises BrokerError saying what to change."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_ANSWER_S):
            transport, link = await loop.create_connection(
                lambda: Link(hello, keepalive_s, on_puback), target.host, target.port, ssl=target.tls
            )
    except TimeoutError:
        raise BrokerError(f"{target.address} doesn't answer; check --broker and the network") from None
    except ssl.SSLError as error:
        raise BrokerError(
            f"no TLS with {target.address}: {error}; give --ca-file or check the port"
        ) from None
    except OSError as error:
        raise BrokerError(
            f"no broker at {target.address}: {error.strerror or error}; start one or change --broker"
        ) from None
    try:
        async with asyncio.timeout(_ANSWER_S):
            code = await link.answer
    except TimeoutError:
        transport.abort()
        raise BrokerError(
            f"{target.address} takes connections but answers no MQTT: is it the broker's port?"
        ) from None
    except OSError as error:
        raise BrokerError(
            f"{target.address} closes the connection: {error}; is it the broker's port?"
        ) from None
    except BaseException:
        transport.abort()
        raise
    if code:
        transport.abort()
        raise BrokerError(f"{target.address}: {_REFUSALS.get(code, f'it refuses with code {code}')}")
    return link


async def probe(target: Target) -> None:
    """Check address and login once, before anything depends on them. Raises BrokerError."""
    hello = connect_packet(target, f"ward-sims-probe-{random.getrandbits(32):08x}", None, 30)
    link = await open_link(target, hello, 30, lambda _id: None)
    link.say_goodbye()


def _encode(publication: Publication, packet_id: int, *, duplicate: bool = False) -> bytes:
    return publish(
        publication.topic,
        publication.payload,
        qos=1,
        packet_id=packet_id,
        retain=publication.retain,
        duplicate=duplicate,
    )

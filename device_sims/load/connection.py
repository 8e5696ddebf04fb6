"""One device of the load test: the leanest client that still keeps MQTT's promises.

Most of a message's cost is the kernel's; what Python adds is kept to joining rendered parts, one `write` on
the socket and one look at the four bytes of its PUBACK. Under TLS, or where the socket's buffer is full, the
transport takes over.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import cast

from device_sims.load.histogram import Histogram
from device_sims.load.plan import (
    BIRTH_ID,
    FIRST_SEQ,
    ID_BYTES,
    PACKET_IDS,
    PUBACKS,
    TICK_MS,
    LoadPlan,
    Template,
    time_part,
)
from hub.mqtt.packets import DISCONNECT


class Ledger:
    """What the connections of one worker count together."""

    __slots__ = ("connected", "held", "latency", "lost_links", "refused", "strange")

    def __init__(self) -> None:
        self.connected = 0
        self.lost_links = 0
        """Connections that ended without this side meaning it."""
        self.refused: dict[str, int] = {}
        """Connections that didn't come about, by reason."""
        self.held = 0
        """Messages whose time came while the device was away or its window full; they were sent later."""
        self.strange = 0
        """Packets that the broker should not have sent."""
        self.latency = Histogram()
        """From the time of the schedule to the PUBACK."""


class Connection(asyncio.Protocol):
    """One device's connection; it is used again after a reconnect."""

    __slots__ = (
        "_birth",
        "_born",
        "_clock_error_ms",
        "_direct",
        "_due",
        "_early",
        "_excursion",
        "_fd",
        "_held",
        "_hello",
        "_inbox",
        "_j",
        "_ledger",
        "_on_down",
        "_plan",
        "_qos",
        "_start",
        "_start_ms",
        "_tails",
        "_template",
        "_transport",
        "_window",
        "_writable",
        "acknowledged",
        "meant",
        "next_round",
        "ready",
        "up",
    )

    def __init__(
        self,
        plan: LoadPlan,
        j: int,
        hello: bytes,
        birth: bytes,
        tails: list[bytes],
        ledger: Ledger,
        on_down: Callable[["Connection"], None],
    ) -> None:
        self._plan = plan
        self._j = j
        self._hello = hello
        self._birth = birth
        self._born = False
        self._template = Template(plan, j, tails)
        self._tails = tails
        self._ledger = ledger
        self._on_down = on_down
        self._qos = plan.qos
        self._window = plan.window
        self._excursion = plan.excursion(j) or (0, 0)
        self._clock_error_ms = plan.clock_error_ms(j)
        self._start_ms = 0
        self._start = 0.0
        self._due: deque[float] = deque()
        self._held = 0
        self._early: set[bytes] = set()
        self._inbox = b""
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._direct = False
        self._writable = False
        self.next_round = 0
        self.acknowledged = 0
        """How many rounds, counted from the first without a gap, the broker has acknowledged."""
        self.up = False
        """Whether the broker has accepted the present connection."""
        self.meant = False
        """Whether the next loss of the connection is of this side's making."""
        self.ready: asyncio.Future[None] | None = None

    @property
    def j(self) -> int:
        """The number of the device."""
        return self._j

    @property
    def unacknowledged(self) -> int:
        """Messages sent that the broker has not acknowledged."""
        return len(self._due)

    @property
    def held(self) -> int:
        """Messages whose time has come and which are not yet sent."""
        return self._held

    def begin(self, start: float, start_ms: int) -> None:
        """Set the start of the schedule, by perf_counter and by the wall clock."""
        self._start = start
        self._start_ms = start_ms

    def announce(self) -> None:
        """Say that the device is there, now and after each connect: from now on the hub waits for it."""
        self._born = True
        if self._birth:
            self.write(self._birth)

    def fire(self, due: float, time: bytes) -> None:
        """Send the next message. `due`: its time by perf_counter; `time`: its `time_part`."""
        if self._held or not self._writable or len(self._due) >= self._window:
            self.hold()
            return
        if self._clock_error_ms:
            time = time_part(int(time[8:21]) + self._clock_error_ms)
        n = self.next_round
        self.next_round = n + 1
        first, last = self._excursion
        tail = self._tails[16 if first <= n < last else (self._j + n) & 15]
        head = self._template.head
        if self._qos:
            packet = b"".join((head, ID_BYTES[n % PACKET_IDS], time, b"%d" % (FIRST_SEQ + n), tail))
            self._due.append(due)
        else:
            packet = b"".join((head, time, b"%d" % (FIRST_SEQ + n), tail))
        if self._direct:
            try:
                written = os.write(self._fd, packet)
            except BlockingIOError:
                written = 0
            except OSError:
                return  # the transport notices too and says so; the message is sent again then
            if written == len(packet):
                return
            packet = packet[written:]
        cast("asyncio.Transport", self._transport).write(packet)

    def hold(self) -> None:
        """Keep back the next message although it is due: `release` sends it."""
        self._held += 1
        self._ledger.held += 1

    def release(self) -> None:
        """Send what was held: its times are the schedule's still."""
        held, self._held = self._held, 0
        while held and self._writable and len(self._due) < self._window:
            held -= 1
            tick = self._plan.tick(self._j, self.next_round)
            self.fire(self._start + tick * TICK_MS / 1000, time_part(self._start_ms + tick * TICK_MS))
        self._held += held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT."""
        self._transport = cast("asyncio.Transport", transport)
        # What TLS encrypts may not pass it by.
        self._direct = transport.get_extra_info("ssl_object") is None
        self._fd = -1
        if self._direct:
            self._fd = transport.get_extra_info("socket").fileno()
            # Nor may a write on the socket pass by what the transport still holds: hold back while it does.
            self._transport.set_write_buffer_limits(high=0)
        self._inbox = b""
        self._transport.write(self._hello)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the worker, who decides about the next connection."""
        self._transport = None
        self._writable = False
        self._early.clear()
        if self.up:
            self.up = False
            self._ledger.connected -= 1
            if not self.meant:
                self._ledger.lost_links += 1
        if self.ready is not None and not self.ready.done():
            self.ready.set_exception(error or ConnectionResetError("closed before CONNACK"))
            return
        self._on_down(self)

    def data_received(self, data: bytes) -> None:
        """Look at what came: nearly always the one PUBACK that is next."""
        if data == PUBACKS[self.acknowledged % PACKET_IDS] and self._due and not self._inbox:
            self.acknowledged += 1
            self._ledger.latency.record(int((perf_counter() - self._due.popleft()) * 1e6))
            if self._early:
                self._take_early()
            if self._held:
                self.release()
            return
        data = self._inbox + data
        while len(data) >= 2:
            size = 2 + data[1]
            if data[1] > 127:
                self._ledger.strange += 1  # a device that subscribes to nothing gets nothing so long
                self.abort()
                return
            if len(data) < size:
                break
            self._packet(data[:size])
            data = data[size:]
        self._inbox = data

    def pause_writing(self) -> None:
        """Hold what is due: the socket's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """Send what was held."""
        self._writable = self.up
        self.release()

    def abort(self) -> None:
        """Cut the connection without a farewell."""
        self._writable = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection in order."""
        if self._transport is not None:
            self.meant = True
            self._writable = False
            self._transport.write(DISCONNECT)
            self._transport.close()

    def write(self, packet: bytes) -> None:
        """Write a packet that is not of the schedule (a fault's)."""
        if self._transport is not None and self._writable:
            self._transport.write(packet)

    def send_again(self, back: int) -> None:
        """Send an acknowledged or unacknowledged message once more, marked as a duplicate."""
        n = self.next_round - 1 - back
        if n >= 0 and self._writable and self._qos:
            self.write(self._render_again(n))

    def _packet(self, packet: bytes) -> None:
        kind = packet[0] >> 4
        if kind == 4 and len(packet) == 4:
            self._puback(packet)
        elif kind == 2 and len(packet) == 4:
            self._connack(packet[3])
        elif kind != 13:
            self._ledger.strange += 1

    def _connack(self, code: int) -> None:
        if self.ready is None or self.ready.done():
            return
        if code:
            self.ready.set_exception(PermissionError(code, f"CONNACK with code {code}"))
            return
        self.up = self._writable = True
        self.meant = False
        self._ledger.connected += 1
        if self._born:
            self.announce()
        for n in range(self.acknowledged, self.next_round):
            if (
                self._transport is not None
            ):  # in order, whether or not the buffer is full: the window bounds it
                self._transport.write(self._render_again(n))
        self.release()
        self.ready.set_result(None)

    def _puback(self, packet: bytes) -> None:
        packet_id = packet[2] << 8 | packet[3]
        # A duplicate's second PUBACK is behind; one ahead waits until its turn.
        ahead = (packet_id - 1 - self.acknowledged) % PACKET_IDS
        if packet_id != BIRTH_ID and ahead < len(self._due):
            self._early.add(packet)
            self._take_early()
            self.release()

    def _take_early(self) -> None:
        while self._due and (packet := PUBACKS[self.acknowledged % PACKET_IDS]) in self._early:
            self._early.discard(packet)
            self.acknowledged += 1
            self._ledger.latency.record(int((perf_counter() - self._due.popleft()) * 1e6))

    def _render_again(self, n: int) -> bytes:
        """Render message `n` once more, marked as a duplicate (QoS 1)."""
        plan = self._plan
        parts = (
            self._template.again,
            ID_BYTES[n % PACKET_IDS],
            time_part(plan.device_ms(self._j, n, self._start_ms)),
            b"%d" % (FIRST_SEQ + n),
            self._tails[plan.variant(self._j, n)],
        )
        return b"".join(parts)

"""One device of the load test: the leanest client that still keeps MQTT's promises.

Most of a message's cost is the kernel's; what Python adds is kept to joining three rendered parts and one
look at the four bytes of the PUBACK. Thousands of devices don't fit into a processor's cache: what a message
needs is computed rather than kept, or lies in this one object.
"""

import asyncio
import socket
from collections.abc import Callable
from time import perf_counter

from device_sims.load.histogram import Histogram
from device_sims.load.link import Link, Switchboard
from device_sims.load.plan import (
    BIRTH_ID,
    LAST_ROUND,
    PACKET_IDS,
    PUBACKS,
    TICK_S,
    LoadPlan,
    head_of,
    marked_as_duplicate,
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


class Connection(Link):
    """One device's connection; it is used again after a reconnect."""

    __slots__ = (
        "_answer",
        "_birth",
        "_born",
        "_clock_error_ms",
        "_early",
        "_excursion",
        "_head",
        "_held",
        "_hello",
        "_inbox",
        "_ledger",
        "_on_down",
        "_plan",
        "_qos",
        "_start",
        "_start_ms",
        "_tails",
        "_window",
        "_writable",
        "acknowledged",
        "j",
        "meant",
        "next_round",
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
        board: Switchboard,
        on_down: Callable[["Connection"], None],
    ) -> None:
        super().__init__(board)
        self.j = j
        """The number of the device."""
        self._plan = plan
        self._hello = hello
        self._birth = birth
        self._born = False
        self._head = head_of(plan, j, tails)
        self._tails = tails
        self._ledger = ledger
        self._on_down = on_down
        self._qos = plan.qos
        self._window = plan.window if plan.qos else LAST_ROUND + 1  # nothing is acknowledged at QoS 0
        self._excursion = plan.excursion(j) or (0, 0)
        self._clock_error_ms = plan.clock_error_ms(j)
        self._start_ms = 0
        self._start = 0.0
        self._held = 0
        self._early: frozenset[bytes] = frozenset()
        self._inbox = b""
        self._answer: asyncio.Future[None] | None = None
        self._writable = False
        self.next_round = 0
        self.acknowledged = 0
        """How many rounds, counted from the first without a gap, the broker has acknowledged."""
        self.up = False
        """Whether the broker has accepted the present connection."""
        self.meant = False
        """Whether the next loss of the connection is of this side's making."""

    @property
    def unacknowledged(self) -> int:
        """Messages sent that the broker has not acknowledged."""
        return self.next_round - self.acknowledged if self._qos else 0

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

    def fire(self, middle: bytes) -> None:
        """Send the next message. `middle`: what it shares with others (`LoadPlan.middle`)."""
        n = self.next_round
        if self._held or not self._writable or n - self.acknowledged >= self._window:
            self.hold()
            return
        if self._clock_error_ms:
            middle = self._plan.middle(n, self._plan.device_ms(self.j, n, self._start_ms))
        self.next_round = n + 1
        first, last = self._excursion
        tail = self._tails[16 if first <= n < last else (self.j + n) & 15]
        self.transmit(b"".join((self._head, middle, tail)))

    def hold(self) -> None:
        """Keep back the next message although it is due: `release` sends it."""
        self._held += 1
        self._ledger.held += 1

    def release(self) -> None:
        """Send what was held: its times are the schedule's still."""
        held, self._held = self._held, 0
        while held and self._writable and self.unacknowledged < self._window:
            held -= 1
            n = self.next_round
            self.fire(self._plan.middle(n, self._plan.time_ms(self.j, n, self._start_ms)))
        self._held += held

    async def open(self, sock: socket.socket) -> None:
        """Say CONNECT over a new connection and wait until the broker accepts it.

        Raises OSError; PermissionError where the broker refuses. The connection is over then.
        """
        self._inbox = b""
        self._answer = asyncio.get_running_loop().create_future()
        self.attach(sock)
        self.transmit(self._hello)
        try:
            await self._answer
        finally:
            self._answer = None
            if not self.up:
                self.cut()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the worker, who decides about the next connection, or who waits for this one."""
        self._writable = False
        self._early = frozenset()
        if self.up:
            self.up = False
            self._ledger.connected -= 1
            if not self.meant:
                self._ledger.lost_links += 1
            self._on_down(self)
        elif self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed before CONNACK"))

    def expects(self) -> bool:
        """Tell whether a message waits for its PUBACK, or CONNECT for its answer."""
        return self.unacknowledged > 0 or not self.up

    def data_received(self, data: bytes) -> None:
        """Look at what came: nearly always the one PUBACK that is next."""
        n = self.acknowledged
        if data == PUBACKS[n % PACKET_IDS] and n < self.next_round and not self._inbox:
            self._acknowledge(n)
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
                self.cut()
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

    def close(self) -> None:
        """End the connection in order."""
        if self.linked:
            self.meant = True
            self._writable = False
            self.transmit(DISCONNECT)
            self.finish()

    def write(self, packet: bytes) -> None:
        """Write a packet that is not of the schedule (a fault's)."""
        if self._writable:
            self.transmit(packet)

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
        if self._answer is None or self._answer.done():
            return
        if code:
            self._answer.set_exception(PermissionError(code, f"CONNACK with code {code}"))
            return
        self.up = self._writable = True
        self.meant = False
        self._ledger.connected += 1
        if self._born:
            self.announce()
        if self._qos:
            for n in range(self.acknowledged, self.next_round):
                # In order, whether or not the socket takes it now: the window bounds it.
                self.transmit(self._render_again(n))
        self.release()
        self._answer.set_result(None)

    def _puback(self, packet: bytes) -> None:
        packet_id = packet[2] << 8 | packet[3]
        # A duplicate's second PUBACK is behind; one ahead waits until its turn.
        ahead = (packet_id - 1 - self.acknowledged) % PACKET_IDS
        if packet_id != BIRTH_ID and ahead < self.unacknowledged:
            self._early |= {packet}
            self._take_early()
            self.release()

    def _take_early(self) -> None:
        while self.unacknowledged and (packet := PUBACKS[self.acknowledged % PACKET_IDS]) in self._early:
            self._early -= {packet}
            self._acknowledge(self.acknowledged)

    def _acknowledge(self, n: int) -> None:
        self.acknowledged = n + 1
        due = self._start + self._plan.tick(self.j, n) * TICK_S
        self._ledger.latency.record(int((perf_counter() - due) * 1e6))

    def _render_again(self, n: int) -> bytes:
        """Render message `n` once more, marked as a duplicate (QoS 1)."""
        plan = self._plan
        middle = plan.middle(n, plan.device_ms(self.j, n, self._start_ms))
        return marked_as_duplicate(self._head) + middle + self._tails[plan.variant(self.j, n)]

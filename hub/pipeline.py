"""The line: receive, decode, normalise, attribute, alarms and live values, journal, acknowledge."""

import logging
from asyncio import Future, get_running_loop
from collections.abc import Callable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from hub.alarms.conditions import Conditions
from hub.clock import SECOND_NS, Now
from hub.device import Device
from hub.devices.decode import Refused
from hub.failpoint import failpoint
from hub.intake import Intake, Taken, empty_batch
from hub.journal import Journal
from hub.live import Live
from hub.location.whereabouts import Whereabouts
from hub.model import DeviceStatus, Reading, Rejection
from hub.mqtt.session import Delivery, Session
from hub.roster import Roster

log = logging.getLogger(__name__)

GATHER_S = 0.004
"""How long a delivery waits for others before it goes to the journal. Alarms don't wait for it."""
GATHER_MESSAGES = 1000
MAX_PENDING_BYTES = 32 << 20
"""Payloads taken from brokers and not yet durable; beyond it the hub takes no more for a while."""

TellRejects = Callable[[Device, str, list[Refused]], None]


class Counts(Struct):
    """What went through the line since the hub started."""

    messages: int = 0
    readings: int = 0
    values: int = 0
    duplicates: int = 0
    rejected: int = 0
    durable: int = 0
    """Readings that the journal holds."""
    live_lane: int = 0


class _Gathered:
    """Deliveries that share a row of the journal."""

    def __init__(self) -> None:
        self.taken = Taken(empty_batch(0), [], [])
        self.deliveries: list[Delivery] = []
        self.messages = 0
        self.bytes = 0
        """Of payloads."""
        self.written = False
        self.refused = False
        """True once the journal could not take it as it was."""

    def add(self, delivery: Delivery, taken: Taken) -> None:
        """Add a delivery; the first one's batch takes in the others'."""
        if not self.deliveries:
            self.taken = taken
        else:
            mine, other = self.taken.batch, taken.batch
            mine.readings += other.readings
            mine.waveforms += other.waveforms
            mine.statuses += other.statuses
            mine.device_alarms += other.device_alarms
            mine.sightings += other.sightings
            mine.rejections += other.rejections
            self.taken.devices += taken.devices
        self.deliveries.append(delivery)
        self.messages += len(delivery.messages)
        self.bytes += _size(delivery)


class Line:
    """Takes messages from the broker's packet to its acknowledgement."""

    def __init__(
        self,
        *,
        intake: Intake,
        roster: Roster,
        conditions: Conditions,
        live: Live,
        journal: Journal,
        tell_rejects: TellRejects,
        on_told: Callable[[float], None],
        on_durable: Callable[[Taken], None],
        now_ns: Now,
        backlog_ns: int,
        max_pending: int,
        keep_raw: bool,
        whereabouts: Whereabouts | None = None,
    ) -> None:
        self.counts = Counts()
        self._intake = intake
        self._roster = roster
        self._conditions = conditions
        self._live = live
        self._journal = journal
        self._tell_rejects = tell_rejects
        self._on_told = on_told
        self._on_durable = on_durable
        self._now_ns = now_ns
        self._backlog_ns = backlog_ns
        self._max_pending = max_pending
        self._keep_raw = keep_raw
        self._whereabouts = whereabouts
        self._pending = 0
        self._pending_bytes = 0
        self._gathered: _Gathered | None = None
        self._held_back: set[Session] = set()

    @property
    def pending(self) -> int:
        """Messages taken and not yet durable."""
        return self._pending

    def receive(self, delivery: Delivery) -> None:
        """Take what a persistent session delivered. Acknowledged only when the journal holds it."""
        messages = delivery.messages
        taken = self._intake.take(messages, delivery.received_ns)
        failpoint("line:taken")
        self._tell(taken)
        self._on_told((self._now_ns() - delivery.received_ns) / SECOND_NS)
        failpoint("line:told")
        self._count(taken, len(messages))
        self._pending += len(messages)
        self._pending_bytes += _size(delivery)
        self._gather(delivery, taken)
        if self._pending > self._max_pending or self._pending_bytes > MAX_PENDING_BYTES:
            self._held_back.add(delivery.session)
            delivery.session.pause()

    def receive_live(self, delivery: Delivery) -> None:
        """Take what the live lane delivered: for alarms and live values; the same comes again to be kept."""
        self._tell(self._intake.take(delivery.messages, delivery.received_ns, journalled=False))
        self.counts.live_lane += len(delivery.messages)

    def _gather(self, delivery: Delivery, taken: Taken) -> None:
        """Let deliveries that come within a few milliseconds share a row of the journal and its fsync."""
        if self._gathered is None:
            self._gathered = _Gathered()
            get_running_loop().call_later(GATHER_S, self._write, self._gathered)
        self._gathered.add(delivery, taken)
        if self._gathered.messages >= GATHER_MESSAGES:
            self._write(self._gathered)

    def _write(self, gathered: "_Gathered") -> None:
        """Hand what was gathered to the journal, once."""
        if self._gathered is gathered:
            self._gathered = None
        if gathered.written:
            return
        gathered.written = True
        raw = [message for delivery in gathered.deliveries for message in delivery.messages]
        durable = self._journal.append(gathered.taken.batch, raw if self._keep_raw else ())
        durable.add_done_callback(partial(self._acknowledge, gathered))

    def _tell(self, taken: Taken) -> None:
        """Let alarms and live values follow: at once, before any disk or database."""
        batch = taken.batch
        for device, reading in zip(taken.devices, batch.readings, strict=True):
            self._follow(device, reading)
        for status in batch.statuses:
            self._follow_status(status)
        for alarm in batch.device_alarms:
            raiser = self._roster.find(alarm.site, alarm.device)
            if raiser is not None and alarm.received_ns - alarm.time_ns <= self._backlog_ns:
                self._conditions.device_raised(raiser, alarm, alarm.received_ns)
        for waveform in batch.waveforms:
            self._live.waveform(waveform)
        if batch.sightings and self._whereabouts is not None:
            self._whereabouts.take(batch.sightings, batch.received_ns)
        for device, topic, refused in taken.rejecting:
            device.rejected_ns = batch.received_ns
            self._tell_rejects(device, topic, refused)

    def _follow(self, device: Device, reading: Reading) -> None:
        received_ns = device.received_ns = reading.received_ns
        if reading.time_ns > device.time_ns:
            device.time_ns = reading.time_ns
        else:
            # Late, or another channel of the device at the same time: only what nothing newer is known of.
            reading = _news(device, reading)
            if not reading.values and not reading.exceptions:
                return
        if received_ns - reading.time_ns <= self._backlog_ns:
            self._conditions.observe(device, reading, received_ns)
        self._live.update(device, reading)
        if device.state == "offline" and reading.time_ns > device.state_ns:
            device.state = None  # it lives, whatever its last will said
            self._conditions.technical(device, "device_offline", False, "", received_ns)

    def _follow_status(self, status: DeviceStatus) -> None:
        device = self._roster.find(status.site, status.device)
        if device is None or status.time_ns < device.state_ns:
            return
        device.state, device.state_ns = status.state, status.time_ns
        device.received_ns = status.received_ns
        device.battery = status.battery
        device.interval_s = status.interval_s or device.interval_s
        self._conditions.status(device, status, status.received_ns)

    def _acknowledge(self, gathered: "_Gathered", durable: Future[int]) -> None:
        if durable.cancelled() or durable.exception() is not None:
            self._keep_as_rejects(gathered)
            return
        failpoint("line:durable")
        for delivery in gathered.deliveries:
            delivery.acknowledge()
        failpoint("line:acknowledged")
        self.counts.durable += len(gathered.taken.batch.readings)
        self._on_durable(gathered.taken)
        self._pending -= gathered.messages
        self._pending_bytes -= gathered.bytes
        roomy = self._pending < self._max_pending // 2 and self._pending_bytes < MAX_PENDING_BYTES // 2
        if self._held_back and roomy:
            for session in self._held_back:
                session.resume()
            self._held_back.clear()

    def _keep_as_rejects(self, gathered: "_Gathered") -> None:
        """Keep messages that the journal could not take as a batch; if it stops, leave them unacknowledged.

        A batch that can't be encoded would come again for ever.
        """
        if gathered.refused:
            return
        log.error("a batch can't be recorded; its messages are kept in the rejects")
        batch = empty_batch(gathered.taken.batch.received_ns)
        reason = "the hub could not record what it made of this message; see its log, then replay the reject"
        batch.rejections = [
            Rejection(message.topic, message.payload, "$", reason, batch.received_ns)
            for delivery in gathered.deliveries
            for message in delivery.messages
        ]
        gathered.taken = Taken(batch, [], [])
        gathered.refused = True
        self._journal.append(batch).add_done_callback(partial(self._acknowledge, gathered))

    def _count(self, taken: Taken, messages: int) -> None:
        counts, readings = self.counts, taken.batch.readings
        counts.messages += messages
        counts.readings += len(readings)
        counts.values += sum([len(reading.values) for reading in readings])
        counts.duplicates += taken.duplicates
        counts.rejected += taken.rejected_messages


def _news(device: Device, reading: Reading) -> Reading:
    latest = device.latest_in(reading.channel)

    def is_news(name: str) -> bool:
        known = latest.get(name)
        return known is None or known.time_ns < reading.time_ns

    values = {name: value for name, value in reading.values.items() if is_news(name)}
    exceptions = {name: odd for name, odd in (reading.exceptions or {}).items() if is_news(name)}
    return replace(reading, values=values, exceptions=exceptions or None)


def _size(delivery: Delivery) -> int:
    return sum([len(message.payload) for message in delivery.messages])

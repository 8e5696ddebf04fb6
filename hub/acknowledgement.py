"""The journal and the acknowledgement: what was taken is acknowledged when it is durable, never before."""

import logging
from asyncio import Future, get_running_loop
from collections.abc import Callable
from functools import partial

from hub.failpoint import failpoint
from hub.intake import Taken, empty_batch
from hub.journal import Journal
from hub.model import Message, Rejection
from hub.mqtt.session import Delivery, Session

log = logging.getLogger(__name__)

GATHER_S = 0.004
"""When nothing has come for so long, what was gathered goes to the journal. Alarms don't wait for it, nor do
devices: the broker has acknowledged to them already."""
LONGEST_GATHER_S = 0.02
"""The first delivery waits no longer than this."""
GATHER_MESSAGES = 1000
MAX_PENDING_BYTES = 32 << 20
"""Payloads taken from brokers and not yet durable; beyond it the hub takes no more for a while."""


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

    def add(self, delivery: Delivery, size: int, taken: Taken) -> None:
        """Add a delivery of `size` bytes; the first one's batch takes in the others'."""
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
            mine.zone_changes += other.zone_changes
            self.taken.devices += taken.devices
        self.deliveries.append(delivery)
        self.messages += len(delivery.messages)
        self.bytes += size


class Acknowledgement:
    """Journals deliveries in their order and acknowledges each when the journal holds it.

    Bounded: a session is paused while too much of what was taken is not yet durable, and the broker keeps the
    rest. Nothing is dropped.
    """

    def __init__(
        self, journal: Journal, on_durable: Callable[[Taken], None], *, max_pending: int, keep_raw: bool
    ) -> None:
        self.pending = 0
        """Messages taken and not yet durable."""
        self._journal = journal
        self._on_durable = on_durable
        self._max_pending = max_pending
        self._keep_raw = keep_raw
        self._pending_bytes = 0
        self._gathered: _Gathered | None = None
        self._held_back: set[Session] = set()

    def owe(self, delivery: Delivery, taken: Taken) -> None:
        """Take a delivery to be journalled, then acknowledged; hold its broker back where too much waits."""
        self.pending += len(delivery.messages)
        size = sum([len(message.payload) for message in delivery.messages])
        self._pending_bytes += size
        self._gather(delivery, size, taken)
        if self.pending > self._max_pending or self._pending_bytes > MAX_PENDING_BYTES:
            self._held_back.add(delivery.session)
            delivery.session.pause()

    def _gather(self, delivery: Delivery, size: int, taken: Taken) -> None:
        """Let deliveries that come within a few milliseconds share a row of the journal and its fsync."""
        if self._gathered is None:
            self._gathered = _Gathered()
            loop = get_running_loop()
            latest_s = loop.time() + LONGEST_GATHER_S
            loop.call_later(GATHER_S, self._look, self._gathered, 0, latest_s)
        self._gathered.add(delivery, size, taken)
        if self._gathered.messages >= GATHER_MESSAGES:
            self._write(self._gathered)

    def _look(self, gathered: "_Gathered", messages: int, latest_s: float) -> None:
        """Write when nothing has been added since the last look, or at the latest; else look again."""
        loop = get_running_loop()
        if gathered.messages == messages or loop.time() + GATHER_S > latest_s:
            self._write(gathered)
        else:
            loop.call_later(GATHER_S, self._look, gathered, gathered.messages, latest_s)

    def _write(self, gathered: "_Gathered") -> None:
        """Hand what was gathered to the journal, once."""
        if self._gathered is gathered:
            self._gathered = None
        if gathered.written:
            return
        gathered.written = True
        raw: list[Message] = []
        if self._keep_raw:
            raw = [message for delivery in gathered.deliveries for message in delivery.messages]
        durable = self._journal.append(gathered.taken.batch, raw)
        durable.add_done_callback(partial(self._acknowledge, gathered))

    def _acknowledge(self, gathered: "_Gathered", durable: Future[int]) -> None:
        if durable.cancelled():
            return  # the hub is stopping; the broker sends these again
        if durable.exception() is not None:
            self._keep_as_rejects(gathered)
            return
        failpoint("line:durable")
        for delivery in gathered.deliveries:
            delivery.acknowledge()
        failpoint("line:acknowledged")
        self.pending -= gathered.messages
        self._pending_bytes -= gathered.bytes
        self._on_durable(gathered.taken)
        roomy = self.pending < self._max_pending // 2 and self._pending_bytes < MAX_PENDING_BYTES // 2
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

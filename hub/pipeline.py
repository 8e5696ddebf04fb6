"""The line: receive, decode, normalise, attribute, alarms and live values, journal, acknowledge."""

from collections.abc import Callable

from msgspec import Struct

from hub.acknowledgement import Acknowledgement
from hub.alarms.conditions import Conditions
from hub.bedside import Bedside, TellRejects
from hub.clock import SECOND_NS, Now
from hub.failpoint import failpoint
from hub.intake import Intake, Taken
from hub.journal import Journal
from hub.live import Live
from hub.location.whereabouts import Whereabouts
from hub.mqtt.session import Delivery
from hub.roster import Roster


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
        self._bedside = Bedside(
            roster=roster,
            conditions=conditions,
            live=live,
            tell_rejects=tell_rejects,
            backlog_ns=backlog_ns,
            whereabouts=whereabouts,
        )
        self._acknowledgement = Acknowledgement(
            journal, self._durable, max_pending=max_pending, keep_raw=keep_raw
        )
        self._whereabouts = whereabouts
        self._on_told = on_told
        self._on_durable = on_durable
        self._now_ns = now_ns

    def receive(self, delivery: Delivery, broker: str = "") -> None:
        """Take what a broker's persistent session delivered. Acknowledged only when the journal holds it."""
        taken = self._intake.take(delivery.messages, delivery.received_ns)  # decode, normalise, identify
        failpoint("line:taken")
        self._bedside.follow(taken, broker)  # attribute, alarms, live values: before any disk or database
        failpoint("line:told")
        self._on_told((self._now_ns() - delivery.received_ns) / SECOND_NS)
        self._count(taken, len(delivery.messages))
        if self._whereabouts is not None:
            taken.batch.zone_changes += self._whereabouts.unkept()  # also what the live lane and time brought
        self._acknowledgement.owe(delivery, taken)  # journal, then acknowledge

    def receive_live(self, delivery: Delivery, broker: str = "") -> None:
        """Take what the live lane delivered: for alarms and live values; the same comes again to be kept."""
        taken = self._intake.take(delivery.messages, delivery.received_ns, journalled=False)
        self._bedside.follow(taken, broker)
        self.counts.live_lane += len(delivery.messages)

    @property
    def pending(self) -> int:
        """Messages taken and not yet durable."""
        return self._acknowledgement.pending

    def _durable(self, taken: Taken) -> None:
        self.counts.durable += len(taken.batch.readings)
        self._on_durable(taken)

    def _count(self, taken: Taken, messages: int) -> None:
        counts, readings = self.counts, taken.batch.readings
        counts.messages += messages
        counts.readings += len(readings)
        counts.values += sum([len(reading.values) for reading in readings])
        counts.duplicates += taken.duplicates
        counts.rejected += taken.rejected_messages

"""Alarm load: how many alarms a ward has, how they end, and how fast people answer. Pure.

What a ward tunes its limits with: 80 to 99 % of alarms need no action, and a few beds make most of them.
"""

import csv
from collections import Counter, deque
from collections.abc import Iterable
from io import StringIO
from statistics import median, quantiles
from typing import Final

from msgspec import Struct

from hub.alarms.alarm import AlarmEvent
from hub.events import moment

FLOOD_ALARMS: Final = 10
FLOOD_NS: Final = 600 * 1_000_000_000
"""More than ten alarms of one ward in ten minutes are a flood (ANSI/ISA-18.2, for one operator)."""
CHATTER: Final = 3
"""An alarm whose condition came so often in one episode chatters."""
TOP: Final = 10


class Share(Struct, frozen=True):
    """One place or parameter with its share of the alarms."""

    name: str
    alarms: int
    share: float
    """0 to 1."""


class Figures(Struct, frozen=True):
    """The alarm load of a stretch of time."""

    alarms: int
    """That began in it."""
    by_priority: dict[str, int]
    """By the highest priority that each reached."""
    alarms_a_bed_a_day: float | None
    """None without beds or time."""
    acknowledged: int
    acknowledge_median_s: float | None
    """From the signal to a person's acknowledgement."""
    acknowledge_p90_s: float | None
    ended_by_themselves: float | None
    """Share of the ended alarms that nobody acknowledged, reset or silenced."""
    top_beds: list[Share]
    """`site/bed` where alarms of several sites are counted."""
    top_parameters: list[Share]
    floods: int
    chattering: int
    """Alarms that came and went three times or more."""
    escalated_to_others: int
    """Alarms that went on to a second person or further."""


class _Life:
    """What became of one alarm."""

    __slots__ = (
        "acknowledged_s",
        "bed",
        "count",
        "ended",
        "parameter",
        "passed_on",
        "priority",
        "site",
        "start_ns",
        "touched",
        "ward",
    )

    def __init__(self, start: AlarmEvent) -> None:
        self.start_ns = start.time_ns
        self.site = start.alarm.site
        self.ward = start.ward or ""
        self.bed = start.bed or start.alarm.device
        self.parameter = start.alarm.parameter or start.alarm.condition
        self.priority = start.alarm.priority
        self.acknowledged_s: float | None = None
        self.touched = False
        self.ended = False
        self.count = 1
        self.passed_on = False


_RANKED: Final = ("information", "low", "medium", "high")
_ACTS: Final = frozenset({"acknowledged", "audio-paused", "signal-off", "reset"})


class Reckoning:
    """The load of the alarms that begin among the events that it takes, in sequence."""

    def __init__(self) -> None:
        self._lives: dict[str, _Life] = {}

    def take(self, event: AlarmEvent) -> None:
        """Take one event."""
        if event.event == "start":
            self._lives[event.alarm.id] = _Life(event)
        elif life := self._lives.get(event.alarm.id):
            _follow(life, event)

    def figures(self, beds: int, days: float) -> Figures:
        """Work out the load."""
        found = list(self._lives.values())
        answered = sorted(life.acknowledged_s for life in found if life.acknowledged_s is not None)
        ended = [life for life in found if life.ended]
        alone = [life for life in ended if not life.touched]
        several = len({life.site for life in found}) > 1
        a_day = len(found) / beds / days if beds and days > 0 else None
        return Figures(
            alarms=len(found),
            by_priority=dict(Counter(life.priority for life in found)),
            alarms_a_bed_a_day=None if a_day is None else round(a_day, 3),
            acknowledged=len(answered),
            acknowledge_median_s=round(median(answered), 3) if answered else None,
            acknowledge_p90_s=_p90(answered),
            ended_by_themselves=round(len(alone) / len(ended), 4) if ended else None,
            top_beds=_top(f"{life.site}/{life.bed}" if several else life.bed for life in found),
            top_parameters=_top(life.parameter for life in found),
            floods=_floods(found),
            chattering=sum(life.count >= CHATTER for life in found),
            escalated_to_others=sum(life.passed_on for life in found),
        )


def figures(events: Iterable[AlarmEvent], beds: int, days: float) -> Figures:
    """Work out the load of the alarms that began among these events, given in sequence."""
    reckoning = Reckoning()
    for event in events:
        reckoning.take(event)
    return reckoning.figures(beds, days)


def csv_head() -> str:
    """Return the header of the lines that `csv_text` gives."""
    return ",".join(_COLUMNS) + "\r\n"


def csv_text(events: Iterable[AlarmEvent]) -> str:
    """Return events as CSV (RFC 4180), one a line, without the header."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for event in events:
        alarm, signal = event.alarm, event.signal
        row = (
            event.sequence,
            moment(event.time_ns).isoformat(),
            event.event,
            alarm.id,
            alarm.site,
            event.ward,
            event.bed,
            event.patient,
            alarm.device,
            alarm.parameter,
            alarm.condition,
            alarm.kind,
            alarm.priority,
            alarm.presence,
            signal.presence if signal else None,
            signal.activation if signal else None,
            signal.assigned if signal else None,
            signal.count if signal else None,
            event.who,
            event.why,
            alarm.value,
            alarm.limit,
            alarm.unit,
            alarm.text,
        )
        writer.writerow([_harmless(cell) for cell in row])
    return out.getvalue()


_COLUMNS: Final = (
    "sequence",
    "time",
    "event",
    "alarm",
    "site",
    "ward",
    "bed",
    "patient",
    "device",
    "parameter",
    "condition",
    "kind",
    "priority",
    "presence",
    "signal",
    "activation",
    "assigned",
    "count",
    "who",
    "why",
    "value",
    "limit",
    "unit",
    "text",
)


def _follow(life: _Life, event: AlarmEvent) -> None:
    life.priority = max(life.priority, event.alarm.priority, key=_RANKED.index)
    if event.signal is not None:
        life.count = max(life.count, event.signal.count)
        life.passed_on = life.passed_on or event.signal.step > 0
    if event.event in _ACTS and event.who != "hub":
        life.touched = True
    if event.event == "acknowledged" and life.acknowledged_s is None:
        raised_ns = event.signal.raised_ns if event.signal else None
        life.acknowledged_s = (event.time_ns - (raised_ns or life.start_ns)) / 1e9
    life.ended = life.ended or event.event == "end"


def _p90(sorted_s: list[float]) -> float | None:
    if not sorted_s:
        return None
    if len(sorted_s) == 1:
        return round(sorted_s[0], 3)
    return round(quantiles(sorted_s, n=10, method="inclusive")[-1], 3)


def _top(names: Iterable[str]) -> list[Share]:
    counts = Counter(names)
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Share(name, count, round(count / total, 4)) for name, count in ranked[:TOP]]


def _floods(lives: Iterable[_Life]) -> int:
    """Count the times at which a ward's alarms of ten minutes became more than ten."""
    lately: dict[tuple[str, str], deque[int]] = {}
    flooded: set[tuple[str, str]] = set()
    floods = 0
    for life in lives:
        ward = (life.site, life.ward)
        times = lately.setdefault(ward, deque())
        times.append(life.start_ns)
        while life.start_ns - times[0] > FLOOD_NS:
            times.popleft()
        if len(times) <= FLOOD_ALARMS:
            flooded.discard(ward)
        elif ward not in flooded:
            flooded.add(ward)
            floods += 1
    return floods


def _harmless(cell: object) -> object:
    """Keep a spreadsheet from taking a text for a formula."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell

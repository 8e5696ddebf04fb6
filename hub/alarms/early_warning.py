"""The early warning score of each patient, out of what devices measure and nurses chart, and its alarm.

`assess` is pure; a sweep over the patients runs every few seconds, off the line's hot path.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from hub.alarms.charts import Charted
from hub.alarms.condition import Condition
from hub.alarms.conditions import Conditions
from hub.alarms.evaluate import ABSENT, ConditionState, lasting
from hub.alarms.news2 import HIGH, MEDIUM, SCORED, Doubt, Inputs, Score, score
from hub.alarms.rules import LimitsOf, WarningScore
from hub.device import Device
from hub.model import Priority

KEY: Final = ("", "news2")
RECENT_NS: Final = 4 * 3600 * 1_000_000_000
"""A patient's scores of so long are at hand in memory."""
AGAIN_NS: Final = 900 * 1_000_000_000
"""A score that doesn't change is kept again after so long: it held all the time, and the hub was there."""

MINUTE_NS: Final = 60 * 1_000_000_000

_FROM_DEVICES: Final = {
    "respiratory_rate": ("respiratory_rate",),
    "spo2": ("spo2",),
    "systolic": ("nibp_systolic", "arterial_systolic"),
    "pulse": ("pulse_rate", "heart_rate"),
    "temperature": ("temperature",),
    "consciousness": ("acvpu",),
}
"""By input: the vocabulary's parameters that give it."""


class Subject(Struct, frozen=True):
    """A patient as the score needs one."""

    patient: str
    devices: tuple[Device, ...]
    spo2_scale: int = 1
    excluded: str | None = None
    """Why the score isn't for this patient."""


class Assessment(Struct, frozen=True):
    """A score with where its inputs came from."""

    time_ns: int
    """Hub time."""
    score: Score | None
    """None where the score isn't for this patient; `excluded` says why."""
    ages_s: dict[str, float]
    """By input that is known: its age in seconds."""
    sources: dict[str, str]
    """By input that is known: the device, or `charted by` whom."""
    excluded: str | None = None


def assess(subject: Subject, charted: Mapping[str, Charted], rule: WarningScore, now_ns: int) -> Assessment:
    """Score a patient from the newest of what devices measured and people charted."""
    if subject.excluded is not None:
        return Assessment(now_ns, None, {}, {}, subject.excluded)
    values: dict[str, object] = {}
    doubts: dict[str, Doubt] = {}
    ages: dict[str, float] = {}
    sources: dict[str, str] = {}
    for name in SCORED:
        found = _newest(subject, name, charted)
        if found is None:
            continue
        value, time_ns, quality, source = found
        ages[name] = max(0.0, round((now_ns - time_ns) / 1e9, 3))
        sources[name] = source
        values[name] = value
        if quality == "invalid":
            doubts[name] = "invalid"
        elif quality == "no-value":
            doubts[name] = "missing"
        elif now_ns - time_ns > rule.max_age_ns.get(name, 0):
            doubts[name] = "stale"
    inputs = Inputs(**values, spo2_scale=subject.spo2_scale, doubts=doubts)  # type: ignore[arg-type] # score checks them
    return Assessment(now_ns, score(inputs), ages, sources)


class EarlyWarning:
    """Keeps every patient's score and sets the alarm condition `news2`."""

    def __init__(self, conditions: Conditions, limits_of: LimitsOf) -> None:
        self._conditions = conditions
        self._limits_of = limits_of
        self._newest: dict[str, Assessment] = {}
        self._recent: dict[str, deque[Assessment]] = {}
        self._restored: set[str] = set()
        """Patients whose delay may have been running when the hub was stopped."""

    def restore(self, patient: str, assessment: Assessment) -> None:
        """Go on with what was kept before the hub was restarted; oldest first."""
        self._recent.setdefault(patient, deque()).append(assessment)
        self._restored.add(patient)

    def newest(self, patient: str) -> Assessment | None:
        """Return a patient's score as of the last sweep."""
        return self._newest.get(patient)

    def recent(self, patient: str) -> list[Assessment]:
        """Return a patient's scores of the last hours, oldest first; one a change."""
        return list(self._recent.get(patient, ()))

    def sweep(
        self, subjects: Iterable[Subject], charted: Mapping[str, Mapping[str, Charted]], now_ns: int
    ) -> list[tuple[str, Assessment]]:
        """Score every patient and set the conditions; return what is to be kept, with whose it is.

        Patients that are no longer named are forgotten.
        """
        present: set[str] = set()
        kept: list[tuple[str, Assessment]] = []
        for subject in subjects:
            if not subject.devices:
                continue
            bearer = self._bearer(subject)
            rule = self._limits_of(bearer).news2
            if rule is None:
                continue
            present.add(subject.patient)
            found = assess(subject, charted.get(subject.patient, {}), rule, now_ns)
            self._newest[subject.patient] = found
            running = self._running(subject.patient, rule, now_ns)
            if self._is_news(subject.patient, found):
                kept.append((subject.patient, found))
            if self._judge(bearer, found, rule, running, now_ns):
                self._restored.discard(subject.patient)
        for patient in {*self._newest, *self._recent} - present:
            self._newest.pop(patient, None)
            self._recent.pop(patient, None)
            self._restored.discard(patient)
        return kept

    @staticmethod
    def _bearer(subject: Subject) -> Device:
        """Return the device that bears the alarm: the one that does already, else the one that gives most."""
        for device in subject.devices:
            if KEY in device.conditions:
                return device
        wanted = {parameter for names in _FROM_DEVICES.values() for parameter in names}
        return max(subject.devices, key=lambda device: (len(wanted & device.latest.keys()), device.id))

    def _is_news(self, patient: str, found: Assessment) -> bool:
        """Tell whether a score, or what is known of it, has changed or was kept long ago; remember it."""
        recent = self._recent.setdefault(patient, deque())
        last = recent[-1] if recent else None
        while recent and found.time_ns - recent[0].time_ns > RECENT_NS:
            recent.popleft()
        same = last is not None and (last.score, last.excluded) == (found.score, found.excluded)
        if last is not None and same and found.time_ns - last.time_ns < AGAIN_NS:
            return False
        recent.append(found)
        return True

    def _running(self, patient: str, rule: WarningScore, now_ns: int) -> ConditionState:
        """Return the delay that was running when the hub was stopped: since when the kept scores alarm."""
        recent = self._recent.get(patient)
        if patient not in self._restored or not recent or now_ns - recent[-1].time_ns > AGAIN_NS + MINUTE_NS:
            return ABSENT
        begun_ns = 0
        for one in recent:
            level, _, _ = _alarm(one, rule)
            if not _says_nothing(one, level, rule, pending=begun_ns > 0):
                begun_ns = (begun_ns or one.time_ns) if level else 0
        return ConditionState(begun_ns)

    def _judge(
        self, device: Device, found: Assessment, rule: WarningScore, running: ConditionState, now_ns: int
    ) -> bool:
        """Set the condition; tell whether the score said anything about it."""
        level, priority, text = _alarm(found, rule)
        condition = device.conditions.get(KEY)
        state = condition.state if condition and isinstance(condition.state, ConditionState) else running
        if _says_nothing(found, level, rule, pending=state != ABSENT or condition is not None):
            return False
        after = lasting(state, level > 0, now_ns, rule.delay_ns)
        alarm = condition.alarm if condition else None
        if not after.present and alarm is None:
            if after == ABSENT:
                device.conditions.pop(KEY, None)
            else:
                device.conditions[KEY] = Condition(after)
            return True
        self._conditions.put(
            device,
            KEY,
            after.present,
            now_ns,
            kind="physiological",
            priority=priority,
            text=text,
            onset_ns=after.begun_ns or now_ns,
            level=level or 1,
            value=None if found.score is None else float(found.score.at_least),
        )
        if after.present:
            device.conditions[KEY].state = after
        return True


def _says_nothing(found: Assessment, level: int, rule: WarningScore, *, pending: bool) -> bool:
    """Tell whether the state holds: what is not known says nothing about getting better."""
    incomplete = found.score is not None and found.score.total is None
    return incomplete and ((level == 0 and pending) or not rule.incomplete)


def _alarm(found: Assessment, rule: WarningScore) -> tuple[int, Priority, str]:
    """Return the level (0 for none), the priority and the text of a score's alarm."""
    result = found.score
    if result is None:
        return 0, rule.medium, ""
    exactly = "" if result.total is not None else "at least "
    missing = ", ".join(result.problems)
    text = f"NEWS2 {exactly}{result.at_least}" + (f" ({missing} not known)" if missing else "")
    if result.at_least >= HIGH:
        return 2, rule.high, text
    if result.at_least >= MEDIUM:
        return 1, rule.medium, text
    if result.single_three:
        return 1, rule.single, f"{text}; {', '.join(result.single_three)} scores 3"
    return 0, rule.medium, text


def _newest(
    subject: Subject, name: str, charted: Mapping[str, Charted]
) -> tuple[object, int, str, str] | None:
    """Return value, time, quality and source of the newest that is known of an input."""
    best: tuple[object, int, str, str] | None = None
    for parameter in _FROM_DEVICES.get(name, ()):
        for device in subject.devices:
            latest = device.latest.get(parameter)
            if latest is not None and latest.time_ns and (best is None or latest.time_ns > best[1]):
                best = (latest.value, latest.time_ns, latest.quality, device.id)
        if best is not None:
            break  # a pulse of its own goes before the heart rate
    entry = charted.get(name)
    if entry is not None and (best is None or entry.time_ns > best[1]):
        best = (entry.values[name], entry.time_ns, "valid", f"charted by {entry.who}")
    return best

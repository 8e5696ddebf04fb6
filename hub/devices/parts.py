"""Alarms, statuses, sightings and waveforms of a record, compiled."""

import re
from collections.abc import Callable
from typing import Final, TypeVar, cast, get_args

from msgspec import Struct

from hub.devices.content import Alarm, Alarms, Meaning, Sighting, Status, Waveform
from hub.devices.decode import AlarmSent, Item, Refused, SightingSent, StatusSent, WaveformSent
from hub.devices.expression import Failed
from hub.devices.field import (
    Field,
    Record,
    UnknownWordError,
    field,
    is_one_of,
    number_in,
    place_of,
    scalars,
    shown,
    text,
    where,
    word_of,
)
from hub.devices.path import MISSING
from hub.devices.payload import Unusable, found
from hub.devices.place import Pick
from hub.model import Kind, Presence, Priority
from hub.vocabulary import PARAMETERS

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_STATES: Final = ("online", "offline", "standby")
_MAX_SAMPLES: Final = 20_000
_T = TypeVar("_T")


class Frame(Struct, gc=False):
    """What all parts of one record share."""

    device: str | None
    time_ns: int
    seq: int
    items: list[Item]

    def refuse(self, place: str, reason: str, found: str = "") -> None:
        """Note a part that can't be used, with the word that nobody knows where that is what is wrong."""
        self.items.append(Refused(place, reason, self.device, found))


Emit = Callable[[Record, Frame], None]


class _Part:
    """One pick with the conversion of what it finds; a refusal is noted once, in its place."""

    __slots__ = ("_field", "_pick")

    def __init__(self, pick: Pick) -> None:
        self._pick = pick
        self._field: Field = field(pick)

    def get(self, record: Record, frame: Frame, convert: Callable[[object], _T]) -> _T | None:
        """Return what is there, or None for nothing, null and what was refused."""
        try:
            sent = self._field(record)
            return None if sent is MISSING or sent is None else convert(sent)
        except ValueError as error:
            frame.refuse(where(self._pick, record), str(error), word_of(error))
            return None

    def fixed(self, convert: Callable[[object], _T]) -> _T | None:
        """Return what a constant always gives, converted once; None for what each record decides."""
        return None if self._pick.value is None else convert(self._pick.value)

    def need(self, record: Record, frame: Frame, convert: Callable[[object], _T]) -> _T | None:
        """Return what is there; nothing and null are refused too."""
        before = len(frame.items)
        got = self.get(record, frame, convert)
        if got is None and len(frame.items) == before:
            frame.refuse(where(self._pick, record), "is missing")
        return got


def _part(pick: Pick | None) -> _Part | None:
    return None if pick is None else _Part(pick)


def _maybe(part: _Part | None, record: Record, frame: Frame, convert: Callable[[object], _T]) -> _T | None:
    return None if part is None else part.get(record, frame, convert)


def alarm(entry: Alarm) -> Emit:
    """Compile an alarm."""
    path = place_of(entry)
    follow = path.getter()
    present, absent = scalars(entry.present), scalars(entry.absent)
    condition, priority, words = _Part(entry.condition), _Part(entry.priority), _part(entry.text)
    kind, parameter = _Part(entry.kind), _part(entry.parameter)
    fixed = condition.fixed(_condition), priority.fixed(_priority), kind.fixed(_kind)

    def emit(record: Record, frame: Frame) -> None:
        sent = follow(record.value, record.root)
        if sent is MISSING or sent is None:
            return
        is_text = type(sent) is str  # what most devices send: looked up without a call
        presence: Presence
        if sent in absent if is_text else is_one_of(sent, absent):
            presence = "absent"
        elif sent in present if is_text else is_one_of(sent, present):
            presence = "present"
        else:
            if entry.other == "refuse" or isinstance(sent, Failed):
                reason = f"neither present nor absent: found {found(sent)}"
                frame.refuse(path.below(record.place), reason, shown(sent))
            return
        name = fixed[0] or condition.need(record, frame, _condition)
        # An alarm counts even where its priority or its text is unusable.
        grade = fixed[1] or priority.get(record, frame, _priority) or "medium"
        said = (_maybe(words, record, frame, text) or "")[:200] if presence == "present" else ""
        of = _maybe(parameter, record, frame, _parameter)
        sort = fixed[2] or kind.get(record, frame, _kind) or "technical"
        if name is not None:
            frame.items.append(AlarmSent(name, presence, grade, sort, of, said, frame.time_ns, frame.device))

    return emit


def alarms(entry: Alarms) -> Emit:
    """Compile a list of alarms: each condition that `map` knows is present or absent."""
    path = place_of(entry)
    follow = path.getter()
    words_said = _part(entry.text)
    meanings: dict[tuple[str, str | None], Meaning] = {}
    for meaning in entry.map.values():
        meanings.setdefault(_identity(meaning, entry), meaning)

    def emit(record: Record, frame: Frame) -> None:
        sent = follow(record.value, record.root)
        if sent is MISSING or sent is None:
            return
        if isinstance(sent, dict | Unusable):
            frame.refuse(path.below(record.place), f"expected an array of words, found {found(sent)}")
            return
        present: dict[tuple[str, str | None], Meaning] = {}
        for position, element in enumerate(sent if isinstance(sent, list) else [sent]):
            place = f"{path.below(record.place)}[{position}]"
            try:
                word = text(element)
            except ValueError as error:
                frame.refuse(place, str(error))
                continue
            named = entry.map.get(word)
            if named is not None:
                present.setdefault(_identity(named, entry), named)
            elif entry.other == "refuse":
                frame.refuse(place, "an alarm that the map of the definition lacks; see `other`", shown(word))
        said = (_maybe(words_said, record, frame, text) or "")[:200] if present else ""
        for (condition, parameter), meaning in (meanings | present).items():
            is_present = (condition, parameter) in present
            frame.items.append(
                AlarmSent(
                    condition,
                    "present" if is_present else "absent",
                    meaning.priority or entry.priority,
                    meaning.kind or entry.kind,
                    parameter,
                    (meaning.text[:200] or said) if is_present else "",
                    frame.time_ns,
                    frame.device,
                )
            )

    return emit


def _identity(meaning: Meaning, of: Alarms) -> tuple[str, str | None]:
    """Return by which one alarm is told from others."""
    return meaning.condition, meaning.parameter or of.parameter


def status(entry: Status) -> Emit:
    """Compile a status."""
    state, battery = _Part(entry.state), _part(entry.battery)
    firmware, interval = _part(entry.firmware), _part(entry.interval_s)

    def emit(record: Record, frame: Frame) -> None:
        said = state.need(record, frame, _state)
        charge = _maybe(battery, record, frame, _percent)
        version = _maybe(firmware, record, frame, text)
        seconds = _maybe(interval, record, frame, _seconds)
        if said is not None:
            version = version[:64] if version else None
            frame.items.append(StatusSent(said, frame.time_ns, charge, version, seconds, frame.device))

    return emit


def sighting(entry: Sighting) -> Emit:
    """Compile a sighting."""
    beacon, rssi = _Part(entry.beacon), _Part(entry.rssi)
    tx_power, battery = _part(entry.tx_power), _part(entry.battery)

    def emit(record: Record, frame: Frame) -> None:
        heard = beacon.need(record, frame, _beacon)
        strength = rssi.need(record, frame, _dbm)
        power = _maybe(tx_power, record, frame, _dbm)
        charge = _maybe(battery, record, frame, _percent)
        if heard is not None and strength is not None:
            frame.items.append(SightingSent(heard, strength, frame.time_ns, power, charge, frame.device))

    return emit


def waveform(entry: Waveform) -> Emit:
    """Compile a waveform: any fault but that of a single sample costs the window."""
    name, samples, rate = _Part(entry.waveform), _Part(entry.samples), _Part(entry.rate)
    scale, unit = _part(entry.scale), _part(entry.unit)
    shift = _part(entry.baseline or entry.offset)
    sign = -1.0 if entry.baseline is not None else 0.0

    def emit(record: Record, frame: Frame) -> None:
        before = len(frame.items)
        known = name.get(record, frame, text)
        if known is None:
            return
        hertz = rate.need(record, frame, _rate)
        sent = samples.need(record, frame, _samples)
        factor = _maybe(scale, record, frame, _number)
        moved = _maybe(shift, record, frame, _number) or 0.0
        units = _maybe(unit, record, frame, text)
        if hertz is None or sent is None or len(frame.items) != before:
            return
        factor = 1.0 if factor is None else factor
        offset = moved * sign * factor if sign else moved
        frame.items.append(
            WaveformSent(known, hertz, sent, frame.time_ns, frame.seq, factor, offset, units, frame.device)
        )

    return emit


def _condition(sent: object) -> str:
    if isinstance(sent, str) and _NAME.fullmatch(sent):
        return sent
    raise UnknownWordError("expected a condition of small letters, digits and _; see `map`", sent)


def _priority(sent: object) -> Priority:
    if sent in get_args(Priority):
        return cast("Priority", sent)
    raise UnknownWordError(f"expected one of {', '.join(get_args(Priority))}; see `map`", sent)


def _kind(sent: object) -> Kind:
    if sent in get_args(Kind):
        return cast("Kind", sent)
    raise UnknownWordError(f"expected one of {', '.join(get_args(Kind))}; see `map`", sent)


def _parameter(sent: object) -> str:
    if isinstance(sent, str) and sent in PARAMETERS:
        return sent
    raise UnknownWordError("expected a name of the vocabulary; see `map`", sent)


def _state(sent: object) -> str:
    if isinstance(sent, str) and sent in _STATES:
        return sent
    raise UnknownWordError(f"expected one of {', '.join(_STATES)}; see `map`", sent)


def _beacon(sent: object) -> str:
    name = text(sent)
    if 1 <= len(name) <= 64:
        return name
    raise ValueError("expected 1 to 64 characters")


def _dbm(sent: object) -> int:
    power = number_in(sent, texts=True)
    if power.is_integer() and -1000 <= power <= 1000:
        return int(power)
    raise ValueError("expected whole dBm")


def _percent(sent: object) -> float:
    percent = number_in(sent, texts=True)
    if 0 <= percent <= 100:
        return percent
    raise ValueError("expected 0 to 100")


def _seconds(sent: object) -> float:
    seconds = number_in(sent, texts=True)
    if 0 < seconds <= 86_400:
        return seconds
    raise ValueError("expected above 0 to 86400 seconds")


def _rate(sent: object) -> float:
    rate = number_in(sent, texts=True)
    if 0 < rate <= 20_000:
        return rate
    raise ValueError("expected above 0 to 20000 samples a second")


def _number(sent: object) -> float:
    return number_in(sent, texts=True)


def _samples(sent: object) -> list[float | None]:
    elements = sent.split() if isinstance(sent, str) else sent
    if not isinstance(elements, list) or not 1 <= len(elements) <= _MAX_SAMPLES:
        raise ValueError(f"expected 1 to {_MAX_SAMPLES} samples, found {found(sent)}")
    return [None if sample is None else number_in(sample, texts=True) for sample in elements]

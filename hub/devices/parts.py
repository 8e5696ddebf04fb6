"""Alarms, statuses, sightings and waveforms of a record, compiled."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar, cast, get_args

from msgspec import Struct

from hub.devices.content import Alarm, Alarms, Meaning, Sighting, Status, Waveform
from hub.devices.decode import AlarmSent, Item, Refused, SightingSent, StatusSent, WaveformSent
from hub.devices.expression import Failed
from hub.devices.field import (
    Record,
    UnknownWordError,
    converted,
    is_one_of,
    number_in,
    place_of,
    renames,
    scalars,
    shown,
    source,
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


_Get = Callable[[Record, Frame], _T | None]
"""Returns what is there, or None for nothing, null and what was refused, which is noted in its place."""


def _maybe(pick: Pick | None, convert: Callable[[object], _T], *, words: bool = False) -> _Get[_T]:
    """Compile a part that may be absent. `words`: there are few, and what they mean is remembered."""
    if pick is None:
        return lambda _record, _frame: None
    if pick.value is not None and not renames(pick):
        with suppress(ValueError):
            constant = convert(pick.value)
            return lambda _record, _frame: constant
    read = converted(pick, convert, words=words)

    def get(record: Record, frame: Frame) -> _T | None:
        try:
            made = read(record)
        except ValueError as error:
            frame.refuse(where(pick, record), str(error), word_of(error))
            return None
        return None if made is MISSING else cast("_T | None", made)

    return get


def _needed(pick: Pick, convert: Callable[[object], _T], *, words: bool = False) -> _Get[_T]:
    """Compile a part that must be there: nothing and null are refused too."""
    get = _maybe(pick, convert, words=words)

    def need(record: Record, frame: Frame) -> _T | None:
        before = len(frame.items)
        got = get(record, frame)
        if got is None and len(frame.items) == before:
            frame.refuse(where(pick, record), "is missing")
        return got

    return need


def alarm(entry: Alarm) -> Emit:
    """Compile an alarm."""
    path, get = place_of(entry), source(entry)
    present, absent = scalars(entry.present), scalars(entry.absent)
    # What most devices send: looked up without a call. What is in both is absent.
    of_text: dict[object, Presence] = {**dict.fromkeys(present, "present"), **dict.fromkeys(absent, "absent")}
    refuses = entry.other == "refuse"
    condition = _needed(entry.condition, _condition, words=True)
    priority = _maybe(entry.priority, _priority, words=True)
    kind = _maybe(entry.kind, _kind, words=True)
    parameter, words = _maybe(entry.parameter, _parameter, words=True), _maybe(entry.text, text)

    def emit(record: Record, frame: Frame) -> None:
        sent = get(record)
        if sent is MISSING or sent is None:
            return
        presence: Presence | None
        if type(sent) is str:
            presence = of_text.get(sent)
        elif is_one_of(sent, absent):
            presence = "absent"
        else:
            presence = "present" if is_one_of(sent, present) else None
        if presence is None:
            if refuses or isinstance(sent, Failed):
                reason = f"neither present nor absent: found {found(sent)}"
                frame.refuse(path.below(record.place), reason, shown(sent))
            return
        name = condition(record, frame)
        # An alarm counts even where its priority or its text is unusable.
        grade = priority(record, frame) or "medium"
        said = (words(record, frame) or "")[:200] if presence == "present" else ""
        of = parameter(record, frame)
        sort = kind(record, frame) or "technical"
        if name is not None:
            frame.items.append(AlarmSent(name, presence, grade, sort, of, said, frame.time_ns, frame.device))

    return emit


def alarms(entry: Alarms) -> Emit:
    """Compile a list of alarms: each condition that `map` knows is present or absent."""
    path = place_of(entry)
    follow = path.getter()
    words_said = _maybe(entry.text, text)
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
        said = (words_said(record, frame) or "")[:200] if present else ""
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
    state, battery = _needed(entry.state, _state, words=True), _maybe(entry.battery, _percent)
    firmware, interval = _maybe(entry.firmware, text), _maybe(entry.interval_s, _seconds)

    def emit(record: Record, frame: Frame) -> None:
        said = state(record, frame)
        charge = battery(record, frame)
        version = firmware(record, frame)
        seconds = interval(record, frame)
        if said is not None:
            version = version[:64] if version else None
            frame.items.append(StatusSent(said, frame.time_ns, charge, version, seconds, frame.device))

    return emit


def sighting(entry: Sighting) -> Emit:
    """Compile a sighting."""
    beacon, rssi = _needed(entry.beacon, _beacon), _needed(entry.rssi, _dbm)
    tx_power, battery = _maybe(entry.tx_power, _dbm), _maybe(entry.battery, _percent)

    def emit(record: Record, frame: Frame) -> None:
        heard = beacon(record, frame)
        strength = rssi(record, frame)
        power = tx_power(record, frame)
        charge = battery(record, frame)
        if heard is not None and strength is not None:
            frame.items.append(SightingSent(heard, strength, frame.time_ns, power, charge, frame.device))

    return emit


def waveform(entry: Waveform) -> Emit:
    """Compile a waveform: any fault but that of a single sample costs the window."""
    name, unit = _maybe(entry.waveform, text), _maybe(entry.unit, text)
    samples, rate = _needed(entry.samples, _samples), _needed(entry.rate, _rate)
    scale, shift = _maybe(entry.scale, _number), _maybe(entry.baseline or entry.offset, _number)
    sign = -1.0 if entry.baseline is not None else 0.0

    def emit(record: Record, frame: Frame) -> None:
        before = len(frame.items)
        known = name(record, frame)
        if known is None:
            return
        hertz = rate(record, frame)
        sent = samples(record, frame)
        factor = scale(record, frame)
        moved = shift(record, frame) or 0.0
        units = unit(record, frame)
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

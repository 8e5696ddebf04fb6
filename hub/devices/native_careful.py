"""The careful reader of the native format: refuses what is wrong, with its place, and keeps the rest."""

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar, cast, get_args

from hub.devices.decode import AlarmSent, Item, Observed, Refused, SightingSent, StatusSent, WaveformSent
from hub.devices.join import join
from hub.devices.payload import UnreadableError, found, number, parse
from hub.devices.timestamp import NotATimeError, epoch_ns, rfc3339_ns
from hub.model import Kind, Presence, Priority
from hub.vocabulary import PARAMETERS, unknown

MAX_SEQ: Final = 2**63 - 1
MAX_SAMPLES: Final = 20_000
MAX_REFUSED: Final = 100
"""Refusals told of one payload; it is kept whole in the rejects anyway."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_T = TypeVar("_T")
Members = dict[str, object]
Refuse = Callable[[str, str], None]
"""Takes a path and a reason."""


def observations(payload: bytes) -> list[Item]:
    """Read the channel `observations`; observations of one time and sequence number become one."""

    def read(members: Members, path: str, refuse: Refuse) -> Iterator[Item]:
        values = _values(members, path, refuse)
        units = _units(members, values, path, refuse)
        quality = _quality(members, values, path, refuse)
        time_ns, seq = _time(members, path, refuse), _seq(members, path, refuse)
        if values:
            yield Observed(values, time_ns, seq, units or None, quality or None)

    return join(_read(payload, read))


def waveforms(payload: bytes) -> list[Item]:
    """Read the channel `waveforms`: an unusable sample becomes None, any other fault costs the window."""

    def read(members: Members, path: str, refuse: Refuse) -> Iterator[Item]:
        usable = True

        def fail(place: str, reason: str) -> None:
            nonlocal usable
            usable = False
            refuse(place, reason)

        waveform = _required(members, path, "waveform", _waveform, fail)
        rate = _required(members, path, "rate", _between(0, 20_000, above=True), fail)
        scale = _optional(members, path, "scale", number, fail)
        offset = _optional(members, path, "offset", number, fail)
        unit = _optional(members, path, "unit", _text(32), fail)
        samples = _samples(members, path, fail, refuse)
        if usable and waveform is not None and rate is not None:
            time_ns, seq = _time(members, path, refuse), _seq(members, path, refuse)
            scaled = (1.0 if scale is None else scale, 0.0 if offset is None else offset)
            yield WaveformSent(waveform, rate, samples, time_ns, seq, *scaled, unit)

    return _read(payload, read)


def alarms(payload: bytes) -> list[Item]:
    """Read the channel `alarms`."""

    def read(members: Members, path: str, refuse: Refuse) -> Iterator[Item]:
        time_ns = _time(members, path, refuse)
        for alarm, place in _elements(members, path, "alarms", refuse):
            condition = _required(alarm, place, "condition", _condition, refuse)
            presence = _required(alarm, place, "state", _one_of(get_args(Presence)), refuse)
            # An alarm counts even where one of its adjectives is unusable.
            priority = _optional(alarm, place, "priority", _one_of(get_args(Priority)), refuse) or "medium"
            kind = _optional(alarm, place, "kind", _one_of(get_args(Kind)), refuse) or "technical"
            parameter = _optional(alarm, place, "parameter", _parameter, refuse)
            text = _optional(alarm, place, "text", _text(200), refuse) or ""
            if condition is not None and presence is not None:
                yield AlarmSent(
                    condition,
                    cast("Presence", presence),
                    cast("Priority", priority),
                    cast("Kind", kind),
                    parameter,
                    text,
                    time_ns,
                )

    return _read(payload, read)


def sightings(payload: bytes) -> list[Item]:
    """Read the channel `sightings`."""

    def read(members: Members, path: str, refuse: Refuse) -> Iterator[Item]:
        time_ns = _time(members, path, refuse)
        for heard, place in _elements(members, path, "sightings", refuse):
            beacon = _required(heard, place, "beacon", _text(64, least=1), refuse)
            rssi = _required(heard, place, "rssi", _whole(-127, 20), refuse)
            tx_power = _optional(heard, place, "tx_power", _whole(-1000, 1000), refuse)
            battery = _optional(heard, place, "battery", _between(0, 100), refuse)
            if beacon is not None and rssi is not None:
                yield SightingSent(beacon, rssi, time_ns, tx_power, battery)

    return _read(payload, read)


def status(payload: bytes) -> list[Item]:
    """Read the channel `status`."""

    def read(members: Members, path: str, refuse: Refuse) -> Iterator[Item]:
        state = _required(members, path, "state", _one_of(("online", "offline", "standby")), refuse)
        time_ns = _time(members, path, refuse)
        battery = _optional(members, path, "battery", _between(0, 100), refuse)
        firmware = _optional(members, path, "firmware", _text(64), refuse)
        interval_s = _optional(members, path, "interval", _between(0, 86_400, above=True), refuse)
        if state is not None:
            yield StatusSent(state, time_ns, battery, firmware, interval_s)

    return _read(payload, read)


def _read(payload: bytes, read: Callable[[Members, str, Refuse], Iterator[Item]]) -> list[Item]:
    try:
        root = parse(payload)
    except UnreadableError as error:
        return [Refused("$", str(error))]
    items: list[Item] = []
    refused = 0

    def refuse(path: str, reason: str) -> None:
        nonlocal refused
        refused += 1
        if refused <= MAX_REFUSED:
            items.append(Refused(path, reason))

    elements = root if isinstance(root, list) else [root]
    if not elements:
        refuse("$", "is an empty array: send at least one object")
    for position, element in enumerate(elements):
        path = f"$[{position}]" if isinstance(root, list) else "$"
        if isinstance(element, dict):
            items += read(element, path, refuse)
        else:
            refuse(path, f"expected an object, found {found(element)}")
    if refused > MAX_REFUSED:
        items.append(Refused("$", f"{refused - MAX_REFUSED} more parts can't be used"))
    return items


def _values(members: Members, path: str, refuse: Refuse) -> dict[str, float | str | None]:
    sent = members.get("values")
    if not isinstance(sent, dict):
        found_ = "is missing: send" if "values" not in members else f"is {found(sent)}, expected"
        refuse(f"{path}.values", f'{found_} an object such as {{"heart_rate": 72}}')
        return {}
    if not sent:
        refuse(f"{path}.values", "is empty: send at least one value")
    values: dict[str, float | str | None] = {}
    for name, value in sent.items():
        try:
            values[name] = _value(name, value)
        except ValueError as error:
            refuse(f"{path}.values.{name[:64]}", str(error))
    return values


def _value(name: str, value: object) -> float | str | None:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise ValueError(unknown(name[:64]))
    if parameter.kind == "waveform":
        raise ValueError(f"{name} is a waveform: send it on the channel waveforms")
    if value is None:
        return None
    if parameter.is_number:
        return number(value)
    if isinstance(value, str) and parameter.holds(value):
        return value
    raise ValueError(f"expected {parameter.expected}, found {found(value)}")


def _units(
    members: Members, values: dict[str, float | str | None], path: str, refuse: Refuse
) -> dict[str, str]:
    units: dict[str, str] = {}
    for name, unit in _members(members, path, "units", refuse):
        if isinstance(unit, str):
            if name not in PARAMETERS or unit != PARAMETERS[name].unit:
                units[name] = unit
        else:
            # A number in a unit that can't be read is no value.
            values.pop(name, None)
            refuse(f"{path}.units.{name[:64]}", f"expected a UCUM unit, found {found(unit)}")
    return units


def _quality(
    members: Members, values: dict[str, float | str | None], path: str, refuse: Refuse
) -> dict[str, str]:
    quality: dict[str, str] = {}
    for name, grade in _members(members, path, "quality", refuse):
        if grade in ("questionable", "invalid"):
            quality[name] = str(grade)
        elif grade != "valid":
            refuse(f"{path}.quality.{name[:64]}", "expected valid, questionable or invalid")
            if name in values:
                quality[name] = "questionable"
    return quality


def _members(members: Members, path: str, key: str, refuse: Refuse) -> Iterator[tuple[str, object]]:
    sent = members.get(key)
    if isinstance(sent, dict):
        yield from sent.items()
    elif sent is not None:
        refuse(f"{path}.{key}", f"expected an object, found {found(sent)}")


def _elements(members: Members, path: str, key: str, refuse: Refuse) -> Iterator[tuple[Members, str]]:
    sent = members.get(key)
    if not isinstance(sent, list) or not sent:
        refuse(f"{path}.{key}", "expected an array of at least one object")
        return
    for position, element in enumerate(sent):
        if isinstance(element, dict):
            yield element, f"{path}.{key}[{position}]"
        else:
            refuse(f"{path}.{key}[{position}]", f"expected an object, found {found(element)}")


def _time(members: Members, path: str, refuse: Refuse) -> int:
    sent = members.get("time")
    try:
        return _converted_time(sent)
    except NotATimeError as error:
        refuse(f"{path}.time", f"{error}; the values are kept with the time of receipt")
        return 0


def _converted_time(sent: object) -> int:
    if sent is None:
        return 0
    if isinstance(sent, str):
        return rfc3339_ns(sent)
    if not isinstance(sent, bool) and isinstance(sent, int | float) and sent == sent // 1:
        return epoch_ns(int(sent), "ms")
    raise NotATimeError(f"expected RFC 3339 or whole milliseconds since the epoch, found {found(sent)}")


def _seq(members: Members, path: str, refuse: Refuse) -> int:
    seq = _optional(members, path, "seq", _whole(0, MAX_SEQ), refuse)
    return -1 if seq is None else seq


def _samples(members: Members, path: str, fail: Refuse, refuse: Refuse) -> list[float | None]:
    sent = members.get("samples")
    if not isinstance(sent, list) or not 1 <= len(sent) <= MAX_SAMPLES:
        fail(f"{path}.samples", f"expected an array of 1 to {MAX_SAMPLES} numbers")
        return []
    samples: list[float | None] = []
    for position, sample in enumerate(sent):
        try:
            samples.append(None if sample is None else number(sample))
        except ValueError as error:
            samples.append(None)
            refuse(f"{path}.samples[{position}]", str(error))
    return samples


def _required(
    members: Members, path: str, key: str, convert: Callable[[object], _T], refuse: Refuse
) -> _T | None:
    if members.get(key) is None:
        refuse(f"{path}.{key}", "is missing")
        return None
    return _optional(members, path, key, convert, refuse)


def _optional(
    members: Members, path: str, key: str, convert: Callable[[object], _T], refuse: Refuse
) -> _T | None:
    sent = members.get(key)
    if sent is None:
        return None
    try:
        return convert(sent)
    except ValueError as error:
        refuse(f"{path}.{key}", str(error))
        return None


def _text(most: int, least: int = 0) -> Callable[[object], str]:
    def convert(value: object) -> str:
        if isinstance(value, str) and least <= len(value) <= most:
            return value
        raise ValueError(f"expected a string of {least} to {most} characters, found {found(value)}")

    return convert


def _one_of(names: tuple[str, ...]) -> Callable[[object], str]:
    def convert(value: object) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise ValueError(f"expected one of {', '.join(names)}")

    return convert


def _condition(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError("expected small letters, digits and _, at most 63, for instance occlusion")


def _parameter(value: object) -> str:
    if isinstance(value, str):
        if value in PARAMETERS:
            return value
        raise ValueError(unknown(value[:64]))
    raise ValueError(f"expected a name of the vocabulary, found {found(value)}")


def _waveform(value: object) -> str:
    name = _parameter(value)
    if PARAMETERS[name].kind != "waveform":
        raise ValueError(f"{name} is no waveform: send it on the channel observations")
    return name


def _between(low: float, high: float, *, above: bool = False) -> Callable[[object], float]:
    def convert(value: object) -> float:
        sent = number(value)
        if low <= sent <= high and not (above and sent == low):
            return sent
        raise ValueError(f"expected {'above ' if above else ''}{low} to {high}")

    return convert


def _whole(low: int, high: int) -> Callable[[object], int]:
    def convert(value: object) -> int:
        sent = number(value)
        if not sent.is_integer():
            raise ValueError("expected a whole number")
        whole = value if isinstance(value, int) else int(sent)
        if low <= whole <= high:
            return whole
        raise ValueError(f"expected {low} to {high}")

    return convert

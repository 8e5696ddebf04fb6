"""`[[read.value]]` compiled: one value of one parameter, or of the parameter that the payload names."""

import re
from collections.abc import Callable, Sequence
from math import isfinite, isnan
from typing import Final

from hub.devices.content import GRADES, Named, Value
from hub.devices.definition import Definition
from hub.devices.field import (
    Record,
    UnknownWordError,
    field,
    number_in,
    place_of,
    shown,
    source,
    text,
    where,
    word_of,
)
from hub.devices.parts import Frame
from hub.devices.path import MISSING
from hub.devices.payload import Unusable, found, number
from hub.devices.place import Scalar
from hub.vocabulary import MDC_UNITS, PARAMETERS, VOCABULARY, Parameter, by_mdc, by_mdc_name, unknown

_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,40}")
_LOOK_UPS: Final[dict[str, Callable[[str], Parameter | None]]] = {
    "mdc": lambda name: by_mdc(name) or by_mdc_name(name),
    "name": PARAMETERS.get,
}


class Values:
    """What one record gave so far."""

    __slots__ = ("ignored", "quality", "units", "values")

    def __init__(self) -> None:
        self.ignored = False
        """Whether there is something that the definition says to ignore."""
        self.values: dict[str, float | str | None] = {}
        self.units: dict[str, str] = {}
        self.quality: dict[str, str] = {}


ReadValue = Callable[[Record, Values, Frame], None]
Scaled = tuple[Parameter, str, float, float]
"""A parameter, its constant unit or an empty text, scale and offset."""


def value(entry: Value, definition: Definition) -> ReadValue:
    """Compile a value."""
    path, get = place_of(entry), source(entry)
    fixed, target_of = _parameter(entry)
    convert = _converter(entry, definition)
    unit_of = _unit_reader(entry)
    grade_of = _grade_reader(entry)

    def read(record: Record, values: Values, frame: Frame) -> None:
        sent = get(record)
        if sent is MISSING:
            return
        try:
            target = fixed or target_of(record)
            if target is None:
                values.ignored = True
                return
            parameter, unit, scale, offset = target
            usable = convert(sent, parameter)
            name = parameter.name
            if name in values.values:
                frame.refuse(path.below(record.place), f"a second value of {name} in one record")
                return
            if type(usable) is float:
                usable = usable * scale + offset
                if unit_of is not None:
                    unit = unit_of(record, parameter)
                if unit and unit != parameter.unit:
                    values.units[name] = unit
        except ValueError as error:
            frame.refuse(path.below(record.place), str(error), word_of(error))
            return
        values.values[name] = usable
        if grade_of is not None:
            grade_of(record, name, values, frame)

    return read


def _unit_reader(entry: Value) -> Callable[[Record, Parameter], str] | None:
    if entry.unit is None or entry.unit.value is not None:
        return None
    get = field(entry.unit)
    of_mdc = isinstance(entry.parameter, Named) and entry.parameter.codes == "mdc"

    def unit_of(record: Record, parameter: Parameter) -> str:
        sent = get(record)
        if sent is MISSING or sent is None:
            raise ValueError("nothing names its unit: a number without one means nothing here")
        unit = text(sent)
        if of_mdc:
            unit = MDC_UNITS.get(unit, unit)
        if unit not in parameter.units:
            taken = [one for one in parameter.units if one not in VOCABULARY.spellings]
            raise UnknownWordError(f"its unit is none of {', '.join(taken)} or their usual spellings", unit)
        return unit

    return unit_of


def _grade_reader(entry: Value) -> Callable[[Record, str, Values, Frame], None] | None:
    if entry.quality is None:
        return None
    pick = entry.quality
    get = field(pick)

    def grade(record: Record, name: str, values: Values, frame: Frame) -> None:
        try:
            sent = get(record)
        except ValueError as error:
            frame.refuse(where(pick, record), str(error), word_of(error))
            values.quality[name] = "questionable"
            return
        if sent is MISSING or sent is None or sent == "valid":
            return
        if sent == "no-value":
            values.values[name] = None
            values.units.pop(name, None)
        elif sent in ("questionable", "invalid"):
            values.quality[name] = str(sent)
        else:
            # A grade that can't be read is doubt, and a doubted value still alarms.
            expected = f"expected {', '.join(GRADES)}; see `map`"
            frame.refuse(where(pick, record), expected, shown(sent))
            values.quality[name] = "questionable"

    return grade


def _parameter(entry: Value) -> tuple[Scaled | None, Callable[[Record], Scaled | None]]:
    """Return the parameter that the definition fixes, or None and the function that finds it in a record."""
    constant = str(entry.unit.value) if entry.unit is not None and entry.unit.value is not None else ""
    named = entry.parameter
    if not isinstance(named, Named):
        fixed: Scaled = (PARAMETERS[named], constant, entry.scale, entry.offset)
        return fixed, lambda _: fixed
    get_name = source(named)
    targets: dict[str, Scaled] = {
        sent: (
            PARAMETERS[target.parameter],
            target.unit or constant,
            entry.scale * target.scale,
            entry.offset * target.scale + target.offset,
        )
        for sent, target in named.map.items()
    }

    look_up = _LOOK_UPS.get(named.codes or "")
    scaled = constant, entry.scale, entry.offset

    def get(record: Record) -> Scaled | None:
        sent = get_name(record)
        if type(sent) is str and (target := targets.get(sent)) is not None:
            return target
        if sent is MISSING or sent is None:
            raise ValueError("nothing names its parameter")
        if isinstance(sent, Unusable):
            raise ValueError(sent.reason)  # noqa: TRY004 - of what was sent, not of the program
        name = text(sent)
        target = targets.get(name)
        if target is None and look_up is not None:
            known = look_up(name)
            if known is not None and known.kind != "waveform":
                target = targets[name] = (known, *scaled)
        if target is None and named.other == "refuse":
            if named.codes == "mdc":
                raise UnknownWordError("the vocabulary has no parameter for this MDC code", name)
            if named.codes == "name":
                raise ValueError(unknown(_shown(name)))
            raise UnknownWordError("its parameter is not in the map of the definition; see `other`", name)
        return target

    return None, get


def _shown(name: str) -> str:
    # A code or a name of a metric, but what stands in its place is not the hub's to know.
    return name if _CODE.fullmatch(name) else "that it gives"


def _no_value(sentinels: Sequence[Scalar]) -> Callable[[object], bool]:
    """Compile what tells whether something else than a plain number means "no value"."""
    words = frozenset(sentinel for sentinel in sentinels if isinstance(sentinel, str))
    flags = frozenset(sentinel for sentinel in sentinels if isinstance(sentinel, bool))

    def is_no_value(sent: object) -> bool:
        if isinstance(sent, str):
            return sent.strip() in words
        if isinstance(sent, bool):
            return sent in flags
        return sent is None or (type(sent) is float and isnan(sent) and "NaN" in words)

    return is_no_value


def _converter(entry: Value, definition: Definition) -> Callable[[object, Parameter], float | str | None]:
    sentinels = [*definition.no_value, *entry.no_value]
    is_no_value = _no_value(sentinels)
    numbers = frozenset(
        float(sentinel)
        for sentinel in sentinels
        if isinstance(sentinel, int | float) and not isinstance(sentinel, bool)
    )
    texts = definition.text_numbers

    def convert(sent: object, parameter: Parameter) -> float | str | None:
        is_plain = type(sent) is int or (type(sent) is float and isfinite(sent))  # as most are
        if not is_plain and is_no_value(sent):
            return None
        if parameter.is_number:
            usable = number(sent) if is_plain else number_in(sent, texts=texts)
            return None if usable in numbers else usable
        word = text(sent)
        code = entry.map.get(word, word)
        if parameter.longest:
            code = code.strip()
            if not code:
                return None
        if not parameter.holds(code):
            known = f"one of {', '.join(entry.map)}" if entry.map else parameter.expected
            reason = f"expected {known}, found another {found(sent).removeprefix('a ')}"
            raise UnknownWordError(reason, "" if parameter.longest else word)
        return code

    return convert

"""`[[read.value]]` compiled: one value of one parameter, or of the parameter that the payload names."""

from collections.abc import Callable
from math import isnan

from hub.devices.definition import Definition, Named, Value
from hub.devices.field import Record, field, number_in, place_of, text, where
from hub.devices.parts import Frame
from hub.devices.path import MISSING
from hub.devices.payload import found
from hub.vocabulary import PARAMETERS, Parameter


class Values:
    """What one record gave so far."""

    __slots__ = ("quality", "units", "values")

    def __init__(self) -> None:
        self.values: dict[str, float | str | None] = {}
        self.units: dict[str, str] = {}
        self.quality: dict[str, str] = {}


ReadValue = Callable[[Record, Values, Frame], None]
Scaled = tuple[Parameter, str, float, float]
"""A parameter, its constant unit or an empty text, scale and offset."""


def value(entry: Value, definition: Definition) -> ReadValue:
    """Compile a value."""
    path = place_of(entry)
    follow = path.getter()
    fixed, target_of = _parameter(entry)
    convert = _converter(entry, definition)
    unit_of = _unit_reader(entry)
    grade_of = _grade_reader(entry)

    def read(record: Record, values: Values, frame: Frame) -> None:
        sent = follow(record.value, record.root)
        if sent is MISSING:
            return
        try:
            target = fixed or target_of(record)
            if target is None:
                return
            parameter, unit, scale, offset = target
            usable = convert(sent, parameter)
            if parameter.name in values.values:
                frame.refuse(path.below(record.place), f"a second value of {parameter.name} in one record")
                return
            if type(usable) is float:
                usable = usable * scale + offset
                unit = unit_of(record, parameter) if unit_of is not None else unit
                if unit and unit != parameter.unit:
                    values.units[parameter.name] = unit
        except ValueError as error:
            frame.refuse(path.below(record.place), str(error))
            return
        values.values[parameter.name] = usable
        if grade_of is not None:
            grade_of(record, parameter.name, values, frame)

    return read


def _unit_reader(entry: Value) -> Callable[[Record, Parameter], str] | None:
    if entry.unit is None or entry.unit.value is not None:
        return None
    get = field(entry.unit)

    def unit_of(record: Record, parameter: Parameter) -> str:
        sent = get(record)
        if sent is MISSING or sent is None:
            raise ValueError("nothing names its unit: a number without one means nothing here")
        unit = text(sent)
        if unit not in parameter.units:
            raise ValueError(f"its unit is none of {', '.join(parameter.units)}")
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
        except ValueError:
            sent = "unreadable"
        if sent is MISSING or sent is None or sent == "valid":
            return
        if sent == "no-value":
            values.values[name] = None
            values.units.pop(name, None)
        elif sent in ("questionable", "invalid"):
            values.quality[name] = str(sent)
        else:
            # A grade that can't be read is doubt, and a doubted value still alarms.
            frame.refuse(where(pick, record), "expected valid, questionable, invalid or no-value; see `map`")
            values.quality[name] = "questionable"

    return grade


def _parameter(entry: Value) -> tuple[Scaled | None, Callable[[Record], Scaled | None]]:
    """Return the parameter that the definition fixes, or None and the function that finds it in a record."""
    constant = str(entry.unit.value) if entry.unit is not None and entry.unit.value is not None else ""
    named = entry.parameter
    if not isinstance(named, Named):
        fixed: Scaled = (PARAMETERS[named], constant, entry.scale, entry.offset)
        return fixed, lambda _: fixed
    follow = place_of(named).getter()
    targets: dict[str, Scaled] = {
        sent: (
            PARAMETERS[target.parameter],
            target.unit or constant,
            entry.scale * target.scale,
            entry.offset * target.scale + target.offset,
        )
        for sent, target in named.map.items()
    }

    def get(record: Record) -> Scaled | None:
        sent = follow(record.value, record.root)
        if sent is MISSING or sent is None:
            raise ValueError("nothing names its parameter")
        target = targets.get(text(sent))
        if target is None and named.other == "refuse":
            raise ValueError("its parameter is not in the map of the definition; see `other`")
        return target

    return None, get


def _converter(entry: Value, definition: Definition) -> Callable[[object, Parameter], float | str | None]:
    sentinels = [*definition.no_value, *entry.no_value]
    words = frozenset(sentinel for sentinel in sentinels if isinstance(sentinel, str))
    numbers = frozenset(
        float(sentinel)
        for sentinel in sentinels
        if isinstance(sentinel, int | float) and not isinstance(sentinel, bool)
    )
    flags = frozenset(sentinel for sentinel in sentinels if isinstance(sentinel, bool))
    texts = definition.text_numbers

    def convert(sent: object, parameter: Parameter) -> float | str | None:
        if sent is None:
            return None
        if isinstance(sent, str):
            if sent.strip() in words:
                return None
        elif isinstance(sent, bool):
            if sent in flags:
                return None
        elif type(sent) is float and isnan(sent) and "NaN" in words:
            return None
        if parameter.coded is None:
            usable = number_in(sent, texts=texts)
            return None if usable in numbers else usable
        word = text(sent)
        code = entry.map.get(word, word)
        if code not in parameter.coded:
            known = ", ".join(entry.map or sorted(parameter.coded))
            raise ValueError(f"expected one of {known}, found another {found(sent).removeprefix('a ')}")
        return code

    return convert

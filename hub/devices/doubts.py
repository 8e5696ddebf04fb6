"""What a clinician would ask about a definition that is without errors: warnings of `hub devices check`."""

import re
from collections.abc import Iterator
from typing import Final

from hub.devices.content import Named, Value
from hub.devices.definition import Definition, Read
from hub.devices.guess import VALUE, words
from hub.vocabulary import PARAMETERS, by_loinc, by_mdc, by_mdc_name

Key = tuple[str | int, ...]
Doubt = tuple[Key, str]

# What a vendor's name of a field says that it is, and the parameters that it can then be.
_NAMES: Final = (
    (r"diast|(?:^|[^a-z])dia(?:[^a-z]|$)|bp_?low", "a diastolic pressure", r"_diastolic$"),
    (r"syst|(?:^|[^a-z])sys(?:[^a-z]|$)|bp_?high", "a systolic pressure", r"_systolic$"),
    (r"heart_?-?rate|(?<!ml_)(?<![a-z])hr(?![a-z])", "a heart rate", r"heart_rate|pulse_rate"),
    (r"pulse_?-?rate|(?:^|[^a-z])pr(?:[^a-z]|$)", "a pulse rate", r"pulse_rate|heart_rate"),
    (r"spo2|sp_?o2|sat_?o2", "an oxygen saturation", r"spo2"),
    (
        r"resp(?:iratory)?_?-?rate|(?:^|[^a-z])rr(?:[^a-z]|$)",
        "a respiratory rate",
        r"respiratory|ventilator_rate",
    ),
    (r"temp(?:erature)?(?:[^a-z]|$)", "a temperature", r"temperature"),
    (r"battery", "a battery", r"^battery$"),
)
_SETTING: Final = re.compile(
    r"(?:^|[^a-z])(?:set|settings?|setpoints?|targets?|limits?|presets?)(?:[^a-z]|$)"
)
_PAIRS: Final = {"nibp": "cuff", "arterial": "arterial", "pulmonary": "pulmonary artery"}
_LOINC: Final = re.compile(r"\d{3,5}-\d")


def doubts(definition: Definition) -> Iterator[Doubt]:
    """Return what is doubtful, each with the key it is about."""
    readers = [entry for entry in definition.read if entry.value]
    if readers and not all(entry.time or definition.time for entry in readers):
        yield ("time",), "no time: every reading gets the time of its receipt, whenever it was measured"
    for at, entry in enumerate(definition.read):
        yield from _of_values(at, entry)
        yield from _of_pressures(at, entry)


def _of_values(at: int, entry: Read) -> Iterator[Doubt]:
    for position, value in enumerate(entry.value):
        key: Key = ("read", at, "value", position)
        for shown, name, has_unit in _targets(value):
            yield from _of_target((*key, "parameter"), shown, name, has_unit=has_unit)


def _targets(value: Value) -> Iterator[tuple[str, str, bool]]:
    """Return what a value may be: the vendor's name, the hub's, and whether a unit is given."""
    has_unit = value.unit is not None
    if isinstance(value.parameter, Named):
        for name, target in value.parameter.map.items():
            yield name, target.parameter, has_unit or bool(target.unit)
    else:
        yield value.path or value.jmespath or "", value.parameter, has_unit


def _called(shown: str) -> str:
    """Return what a field is called: the last name of its path that says more than that it holds a value."""
    names = [name.strip('"') for name in re.split(r"[.\[\]|]+", shown)]
    return next((name for name in reversed(names) if name and words(name) not in VALUE), shown)


def _of_target(key: Key, shown: str, name: str, *, has_unit: bool) -> Iterator[Doubt]:
    parameter = PARAMETERS[name]
    whole, called = _small(shown), _small(_called(shown))
    if not has_unit and parameter.unit == "Cel":
        yield (
            key,
            f"{name} has no unit: taken as Cel, and 98.6 would be refused as implausible; say which it is",
        )
    elif not has_unit and parameter.unit and parameter.unit != "1":
        unit = parameter.unit
        yield (
            key,
            f'{name} has no unit: taken as {unit}; write unit = "{unit}" if that is what the device sends',
        )
    if parameter.kind == "measurement" and _SETTING.search(whole):
        yield key, f"{shown!r} is called like a setting, and goes to {name}, a measurement"
    owner = by_mdc(shown) or by_mdc_name("MDC_" + shown.removeprefix("NOM_").removeprefix("MDC_"))
    if owner is None and _LOINC.fullmatch(shown):
        owner = by_loinc(shown)
    if owner is not None and owner.name != name and not _share_a_code(owner.name, name):
        yield key, f"{shown} is the code of {owner.name}, and goes to {name}"
        return
    for pattern, meaning, expected in _NAMES:
        if re.search(pattern, called) and not re.search(expected, name):
            yield key, f"{shown!r} is called like {meaning}, and goes to {name}: is that right?"
            break


def _small(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _share_a_code(one: str, other: str) -> bool:
    codes = {code.code for code in PARAMETERS[one].loinc}
    return any(code.code in codes for code in PARAMETERS[other].loinc)


def _of_pressures(at: int, entry: Read) -> Iterator[Doubt]:
    names = {name for value in entry.value for _, name, _ in _targets(value)}
    for prefix, meaning in _PAIRS.items():
        systolic, diastolic = f"{prefix}_systolic" in names, f"{prefix}_diastolic" in names
        if systolic != diastolic:
            there, missing = ("systolic", "diastolic") if systolic else ("diastolic", "systolic")
            yield ("read", at, "value"), f"{meaning} pressure has a {there} and no {missing} value"

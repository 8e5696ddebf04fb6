"""The parameters that the hub knows: the only place that ties names, codes, displays, units and ranges.

The data is `vocabulary.toml`; it is read and checked once, when this module is imported.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

MDC_SYSTEM = "urn:iso:std:iso:11073:10101"
LOINC_SYSTEM = "http://loinc.org"
UCUM_SYSTEM = "http://unitsofmeasure.org"
SNOMED_SYSTEM = "http://snomed.info/sct"

ParameterKind = Literal["measurement", "setting", "device-status", "waveform"]
Equipment = Literal["", "pump"]

_FILE = Path(__file__).with_name("vocabulary.toml")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class VocabularyError(ValueError):
    """The vocabulary contradicts itself; `problems` holds every contradiction, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Conversion(Struct, frozen=True):
    """How a value in an accepted unit becomes one in the stored unit: value * scale + offset."""

    scale: float
    offset: float = 0.0


class Code(Struct, frozen=True):
    """One code of a parameter, in LOINC or MDC."""

    code: str
    display: str = ""
    """The code system's own text, for MDC the reference id; empty where it is not known for sure."""
    unit: str = ""
    """UCUM unit that the code is for, where not the parameter's own (mass and moles of glucose)."""
    verified: bool = True
    """False where only one source or memory says so."""
    note: str = ""


class Parameter(Struct, frozen=True):
    """One thing that a device measures, is set to, or says about itself."""

    name: str
    display: str
    kind: ParameterKind
    unit: str
    """UCUM; empty for texts."""
    units: dict[str, Conversion]
    """Every accepted unit as sent, the stored one and vendors' spellings included."""
    low: float
    high: float
    """Plausible range in `unit`, ends included. A text has none: low is above high."""
    source: str
    """Where the range comes from."""
    loinc: tuple[Code, ...]
    """The preferred code first; empty where there is none, see `no_code`."""
    mdc: tuple[Code, ...]
    no_code: dict[str, str]
    """By code system (`loinc`, `mdc`): why there is no code."""
    coded: frozenset[str] | None = None
    """The values of a coded parameter; None for the others."""
    meanings: dict[str, str] = {}
    """What each coded value means, to be shown."""
    snomed: tuple[str, ...] = ()
    longest: int = 0
    """Most characters of a parameter that is free text, for instance a drug's name; 0 for the others."""
    equipment: Equipment = ""
    """What kind of device it tells about where a bed may have several, each with its own value."""

    @property
    def is_number(self) -> bool:
        """Tell whether its values are numbers, of a waveform its samples; if not, they are texts."""
        return self.coded is None and not self.longest

    @property
    def expected(self) -> str:
        """Say what its texts may be."""
        if self.coded is not None:
            return f"one of {', '.join(sorted(self.coded))}"
        return f"a text of 1 to {self.longest} printable characters"

    def holds(self, text: str) -> bool:
        """Tell whether a text may be its value."""
        if self.coded is not None:
            return text in self.coded
        return 0 < len(text) <= self.longest and text.isprintable()


class Vocabulary(Struct, frozen=True):
    """All parameters, with what the checks need to know about codes and units."""

    parameters: dict[str, Parameter]
    panels: dict[str, str]
    """Codes, as `system:code`, that group parameters and are never a parameter's own."""
    foreign: dict[str, str]
    """Codes, as `system:code`, of something else, that public tables give to a parameter."""
    shared: dict[str, list[str]]
    """The exceptions: codes, as `system:code`, that may serve these parameters together."""
    spellings: dict[str, str]
    """Vendors' spelling to UCUM."""
    mdc_units: dict[str, str] = {}
    """MDC's codes and reference ids of units to UCUM."""


class _UnitEntry(Struct, forbid_unknown_fields=True):
    code: int
    unit: str


class _CodeEntry(Struct, forbid_unknown_fields=True):
    code: str | int
    id: str = ""
    display: str = ""
    unit: str = ""
    verified: bool = True
    note: str = ""


class _NoCode(Struct, forbid_unknown_fields=True):
    none: str


class _ConversionEntry(Struct, forbid_unknown_fields=True):
    scale: str
    offset: str = "0"


class _Entry(Struct, forbid_unknown_fields=True):
    display: str
    kind: ParameterKind
    loinc: list[_CodeEntry] | _NoCode
    mdc: list[_CodeEntry] | _NoCode
    unit: str = ""
    accept: dict[str, _ConversionEntry] = {}
    range: tuple[float, float] | None = None
    source: str = ""
    coded: dict[str, str] = {}
    text: int = 0
    equipment: Equipment = ""
    snomed: list[str] = []


class _File(Struct, forbid_unknown_fields=True):
    panels: dict[str, str]
    foreign: dict[str, str]
    shared: dict[str, list[str]]
    spellings: dict[str, str]
    mdc_units: dict[str, _UnitEntry]
    conversions: dict[str, dict[str, _ConversionEntry]]
    parameter: dict[str, _Entry]


def load(document: Mapping[str, object]) -> Vocabulary:
    """Build a vocabulary from its parsed TOML. Raises VocabularyError with every contradiction in it."""
    try:
        file = msgspec.convert(document, _File)
        parameters = {name: _parameter(name, entry, file) for name, entry in file.parameter.items()}
    except (msgspec.ValidationError, ValueError, ZeroDivisionError) as error:
        raise VocabularyError([str(error)]) from error
    mdc_units = {name: entry.unit for name, entry in file.mdc_units.items()} | {
        str(entry.code): entry.unit for entry in file.mdc_units.values()
    }
    vocabulary = Vocabulary(parameters, file.panels, file.foreign, file.shared, file.spellings, mdc_units)
    problems = sweep(vocabulary)
    if problems:
        raise VocabularyError(problems)
    return vocabulary


def sweep(vocabulary: Vocabulary) -> list[str]:
    """Return every contradiction: codes, displays, units and ranges that don't belong together."""
    problems: list[str] = []
    for parameter in vocabulary.parameters.values():
        problems += [f"{parameter.name}: {problem}" for problem in _faults(parameter)]
    problems += _codes_in_conflict(vocabulary)
    return problems


def suggest(name: str) -> str:
    """Return a `did you mean` for an unknown name, or an empty text where nothing is near."""
    near = get_close_matches(name.lower().replace("-", "_").replace(" ", "_"), PARAMETERS, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def unknown(name: str) -> str:
    """Return the sentence that tells a person about a name that isn't in the vocabulary."""
    near = suggest(name)
    return f"{name} is not in the vocabulary" + (f"; {near}" if near else "")


def by_mdc(code: str | int) -> Parameter | None:
    """Return the parameter of an MDC code (context-free, for instance 147842)."""
    return _BY_MDC.get(str(code))


def by_mdc_name(name: str) -> Parameter | None:
    """Return the parameter of an MDC reference id (for instance MDC_ECG_HEART_RATE)."""
    return _BY_MDC_NAME.get(name)


def by_loinc(code: str) -> Parameter | None:
    """Return the parameter of a LOINC code; of a shared one the first that the vocabulary lists."""
    return _BY_LOINC.get(code)


def _parameter(name: str, entry: _Entry, file: _File) -> Parameter:
    low, high = entry.range or (inf, -inf)
    return Parameter(
        name=name,
        display=entry.display,
        kind=entry.kind,
        unit=entry.unit,
        units=_units(entry, file),
        low=low,
        high=high,
        source=entry.source,
        loinc=_codes(entry.loinc),
        mdc=_codes(entry.mdc),
        no_code=_reasons(entry),
        coded=frozenset(entry.coded) if entry.coded else None,
        meanings=entry.coded,
        snomed=tuple(entry.snomed),
        longest=entry.text,
        equipment=entry.equipment,
    )


def _units(entry: _Entry, file: _File) -> dict[str, Conversion]:
    if not entry.unit:
        return {}
    units = {entry.unit: Conversion(1.0)}
    for unit, conversion in (*file.conversions.get(entry.unit, {}).items(), *entry.accept.items()):
        units[unit] = Conversion(_exact(conversion.scale), _exact(conversion.offset))
    spelled = {spelling: units[unit] for spelling, unit in file.spellings.items() if unit in units}
    return spelled | units


def _exact(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(Fraction(numerator) / Fraction(denominator or "1"))


def _codes(entries: list[_CodeEntry] | _NoCode) -> tuple[Code, ...]:
    if isinstance(entries, _NoCode):
        return ()
    return tuple(
        Code(str(entry.code), entry.id or entry.display, entry.unit, entry.verified, entry.note)
        for entry in entries
    )


def _reasons(entry: _Entry) -> dict[str, str]:
    systems = {"loinc": entry.loinc, "mdc": entry.mdc}
    return {system: codes.none for system, codes in systems.items() if isinstance(codes, _NoCode)}


def _faults(parameter: Parameter) -> Iterator[str]:
    if not _NAME.fullmatch(parameter.name):
        yield "a name has small letters, digits and _, and begins with a letter"
    if not parameter.display.strip():
        yield "has no display"
    if parameter.is_number:
        yield from _faults_of_number(parameter)
    elif parameter.unit or (parameter.coded and parameter.longest):
        yield "is more than one of a number with a unit, coded values and free text"
    yield from _faults_of_codes(parameter)


def _faults_of_number(parameter: Parameter) -> Iterator[str]:
    if not parameter.unit:
        yield "has neither a unit nor coded values, and is no text"
    if not parameter.low < parameter.high:
        yield "has an empty plausible range"
    if not parameter.source:
        yield "doesn't say where its plausible range comes from"
    if any(not conversion.scale > 0 for conversion in parameter.units.values()):
        yield "has a conversion whose scale is not above 0"


def _faults_of_codes(parameter: Parameter) -> Iterator[str]:
    for system, codes in (("loinc", parameter.loinc), ("mdc", parameter.mdc)):
        if not codes and not parameter.no_code.get(system):
            yield f"has no {system} code and no reason for it"
    for code in parameter.mdc:
        if not code.display.startswith("MDC_"):
            yield f"MDC code {code.code} has no reference id"
    for code in parameter.loinc:
        if code.unit and code.unit not in parameter.units:
            yield f"LOINC code {code.code} is for {code.unit}, which is not an accepted unit"


def _codes_in_conflict(vocabulary: Vocabulary) -> Iterator[str]:
    owners: dict[str, list[str]] = {}
    for parameter in vocabulary.parameters.values():
        for system, codes in (("loinc", parameter.loinc), ("mdc", parameter.mdc)):
            for code in codes:
                owners.setdefault(f"{system}:{code.code}", []).append(parameter.name)
    yield from _units_in_conflict(vocabulary)
    for code_name, names in owners.items():
        for kind, reserved in (("groups parameters", vocabulary.panels), ("means", vocabulary.foreign)):
            if code_name in reserved:
                yield f"{names[0]}: {code_name} {kind}: {reserved[code_name]}"
        if len(names) > 1:
            yield from _shared(vocabulary, code_name, names)


def _units_in_conflict(vocabulary: Vocabulary) -> Iterator[str]:
    accepted = {unit for parameter in vocabulary.parameters.values() for unit in parameter.units}
    for name, unit in vocabulary.mdc_units.items():
        if unit not in accepted:
            yield f"{name}: no parameter accepts the unit {unit}"


def _shared(vocabulary: Vocabulary, code_name: str, names: list[str]) -> Iterator[str]:
    if sorted(names) != sorted(vocabulary.shared.get(code_name, [])):
        yield f"{code_name} serves {' and '.join(names)}: one code, one parameter"
    elif len({vocabulary.parameters[name].kind for name in names}) > 1:
        yield f"{code_name} serves {' and '.join(names)}: a setting and a measurement never share a code"


def _index(codes: Mapping[str, tuple[Code, ...]]) -> dict[str, Parameter]:
    index: dict[str, Parameter] = {}
    for name, entries in codes.items():
        for entry in entries:
            index.setdefault(entry.code, PARAMETERS[name])
    return index


VOCABULARY = load(tomllib.loads(_FILE.read_text(encoding="utf-8")))
PARAMETERS: dict[str, Parameter] = VOCABULARY.parameters
_BY_MDC = _index({name: parameter.mdc for name, parameter in PARAMETERS.items()})
_BY_MDC_NAME = {code.display: known for known in PARAMETERS.values() for code in known.mdc}
MDC_UNITS: dict[str, str] = VOCABULARY.mdc_units
_BY_LOINC = _index({name: parameter.loinc for name, parameter in PARAMETERS.items()})

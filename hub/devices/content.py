"""What a record gives, as a definition writes it: values, alarms, statuses, sightings, waveforms."""

import re
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from hub.devices.place import (
    Beside,
    Entry,
    Pick,
    Place,
    Scalar,
    Source,
    Word,
    as_list,
    as_path,
    as_word,
    named_map,
)
from hub.model import Kind, Priority
from hub.vocabulary import PARAMETERS, unknown

GRADES: Final = ("valid", "questionable", "invalid", "no-value")
_CONDITION = re.compile(r"[a-z][a-z0-9_]{0,62}")


def _known_parameter(name: str) -> str:
    _check_parameter(name, "")
    return name


class Target(Entry):
    """What one name of a `map` of parameters means."""

    parameter: Annotated[str, AfterValidator(_known_parameter)]
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_parameter(self.parameter, self.unit)
        return self


def _as_target(sent: object) -> object:
    return {"parameter": sent} if isinstance(sent, str) else sent


class Named(Place):
    """A parameter that another place of the payload names."""

    map: Annotated[dict[str, Annotated[Target, BeforeValidator(_as_target)]], BeforeValidator(named_map)] = {}
    codes: Literal["mdc", "name"] | None = None
    """What is looked up in the vocabulary where `map` lacks it: codes and reference ids of MDC, whose units
    are then taken too, or the vocabulary's own names."""
    other: Literal["refuse", "ignore"] = "refuse"
    """What to do with a name that neither has."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.map and self.codes is None:
            raise ValueError('give a map, or codes = "mdc" or "name" to look the name up in the vocabulary')
        return self


NAME, MAP = "<name>", "<map>"
"""How pydantic names the two forms of `parameter` in a fault; no key of a file."""


def known_grades(quality: Beside | None) -> Beside | None:
    """Return a quality whose `map` leads to qualities alone. Raises ValueError."""
    wrong = sorted(set(quality.map.values()) - set(GRADES)) if quality else []
    if wrong:
        raise ValueError(f"quality is one of {', '.join(GRADES)}, not {', '.join(wrong)}")
    return quality


class Value(Place):
    """One value: where it is, which parameter it is of, in which unit."""

    parameter: Annotated[
        Annotated[str, AfterValidator(_known_parameter), Tag(NAME)] | Annotated[Named, Tag(MAP)],
        Discriminator(lambda sent: NAME if isinstance(sent, str) else MAP),
    ]
    unit: Annotated[Beside | None, BeforeValidator(as_word)] = None
    """UCUM; that of the `[[read]]`, else the vocabulary's unit where absent."""
    scale: float = 1.0
    offset: float = 0.0
    """Applied before the unit: value = sent * scale + offset."""
    map: Annotated[dict[str, str], BeforeValidator(named_map)] = {}
    """For coded parameters and texts: from what is sent to what the vocabulary takes."""
    quality: Annotated[Beside | None, BeforeValidator(as_path), AfterValidator(known_grades)] = None
    """Gives `valid`, `questionable`, `invalid` or `no-value`; that of the `[[read]]` where absent."""
    no_value: list[Scalar] = []
    """What means "no value" here, beside what the definition says for all."""

    def completed(self, unit: Beside | None, quality: Beside | None) -> "Value":
        """Return the value with what it takes from its `[[read]]`. Raises ValueError."""
        number = isinstance(self.parameter, Named) or PARAMETERS[self.parameter].is_number
        own = self.unit or (unit if number else None)
        if own is not None and own.value is not None and isinstance(self.parameter, str):
            _check_parameter(self.parameter, str(own.value))
        grade = self.quality or quality
        picks = {"unit": own and own.of(self.path), "quality": grade and grade.of(self.path)}
        return self.model_copy(update=picks)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.parameter, Named):
            return self
        _check_parameter(self.parameter, str(self.unit.value) if self.unit and self.unit.value else "")
        parameter = PARAMETERS[self.parameter]
        wrong = sorted(word for word in set(self.map.values()) if not parameter.holds(word))
        if parameter.is_number and self.map:
            raise ValueError(f"{self.parameter} is a number: a map is for coded parameters and texts")
        if not parameter.is_number and wrong:
            raise ValueError(f"{self.parameter} takes {parameter.expected}, not {', '.join(wrong)}")
        return self


def _known_condition(name: str) -> str:
    if not _CONDITION.fullmatch(name):
        raise ValueError("condition: use small letters, digits and _, a letter first")
    return name


class Alarm(Place):
    """A device's own alarm: a flag or a text that says whether a condition is present."""

    condition: Word
    present: Annotated[list[Scalar], BeforeValidator(as_list)] = [True]
    absent: Annotated[list[Scalar], BeforeValidator(as_list)] = [False]
    other: Literal["refuse", "ignore"] = "refuse"
    """What to do with what is neither."""
    priority: Word = Pick(value="medium")
    kind: Word = Pick(value="technical")
    """`technical` or `physiological`."""
    parameter: Annotated[Pick | None, BeforeValidator(as_word)] = None
    """A name of the vocabulary."""
    text: Annotated[Pick | None, BeforeValidator(as_word)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [] if self.parameter is None else [self.parameter.value, *self.parameter.map.values()]
        for name in names:
            if name is not None and name not in PARAMETERS:
                raise ValueError(unknown(str(name)))
        for key, word, words in (("kind", self.kind, Kind), ("priority", self.priority, Priority)):
            if word.value is not None and word.value not in get_args(words):
                raise ValueError(f"{key}: use one of {', '.join(get_args(words))}")
        if self.condition.value is not None:
            _known_condition(str(self.condition.value))
        if any(type(one) is type(two) and one == two for one in self.present for two in self.absent):
            raise ValueError("present and absent share a value: which of them is it?")
        return self


class Meaning(Entry):
    """What one word of a list of alarms means; what it lacks is that of the list."""

    condition: Annotated[str, AfterValidator(_known_condition)]
    priority: Priority | None = None
    kind: Kind | None = None
    parameter: Annotated[str, AfterValidator(_known_parameter)] | None = None
    text: str = ""


def _as_meaning(sent: object) -> object:
    return {"condition": sent} if isinstance(sent, str) else sent


class Alarms(Place):
    """All alarms that a device has, as a list of its words: what is not in the list is absent."""

    map: Annotated[dict[str, Annotated[Meaning, BeforeValidator(_as_meaning)]], Field(min_length=1)]
    other: Literal["refuse", "ignore"] = "refuse"
    """What to do with a word that `map` lacks."""
    priority: Priority = "medium"
    kind: Kind = "technical"
    parameter: Annotated[str, AfterValidator(_known_parameter)] | None = None
    text: Annotated[Pick | None, BeforeValidator(as_word)] = None


class Status(Entry):
    """The state that a device says it is in."""

    state: Word
    battery: Annotated[Pick | None, BeforeValidator(as_path)] = None
    firmware: Annotated[Pick | None, BeforeValidator(as_path)] = None
    interval_s: Annotated[Pick | None, BeforeValidator(as_path)] = None


class Sighting(Entry):
    """A beacon that a gateway heard; the gateway is the device."""

    beacon: Source
    rssi: Source
    tx_power: Annotated[Pick | None, BeforeValidator(as_path)] = None
    battery: Annotated[Pick | None, BeforeValidator(as_path)] = None


class Waveform(Entry):
    """A window of samples: an array of numbers, or a text of numbers with blanks between."""

    waveform: Word
    samples: Source
    rate: Source
    scale: Annotated[Pick | None, BeforeValidator(as_path)] = None
    offset: Annotated[Pick | None, BeforeValidator(as_path)] = None
    baseline: Annotated[Pick | None, BeforeValidator(as_path)] = None
    """The sample that means 0; in place of `offset`."""
    unit: Annotated[Pick | None, BeforeValidator(as_word)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.offset is not None and self.baseline is not None:
            raise ValueError("give offset or baseline, not both")
        names = [*self.waveform.map.values()] or [str(self.waveform.value)]
        for name in names:
            if name not in PARAMETERS:
                raise ValueError(unknown(name))
            if PARAMETERS[name].kind != "waveform":
                raise ValueError(f"{name} is no waveform")
        return self


def _check_parameter(name: str, unit: str) -> None:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise ValueError(unknown(name))
    if parameter.kind == "waveform":
        raise ValueError(f"{name} is a waveform: it goes into [[read.waveform]]")
    if unit and unit not in parameter.units:
        accepted = ", ".join(parameter.units) or "no unit"
        raise ValueError(f"{name} in {unit!r} can't be converted: accepted is {accepted}")

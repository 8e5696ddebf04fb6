"""A device definition: what a TOML file in `definitions/` may say. Data only, nothing is ever evaluated.

`docs/reference/definitions.md` describes the language by example.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from hub.devices.formats import FORMATS
from hub.devices.native import DECODERS
from hub.devices.path import InvalidPathError, Path
from hub.model import Kind, Priority
from hub.mqtt.topics import TopicError, TopicPattern, is_id
from hub.vocabulary import PARAMETERS, unknown

_CONDITION = re.compile(r"[a-z][a-z0-9_]{0,62}")
Scalar = str | int | float | bool
TimeStyle = Literal["rfc3339", "s", "ms", "us", "ns", "hl7", "strptime"]


def _check_path(path: str | None, jmespath: str | None, *, many: bool = False) -> None:
    if path is None and jmespath is None:
        return
    try:
        checked = Path(path or jmespath or "", jmes=path is None)
        if not many:
            checked.getter()
    except InvalidPathError as error:
        raise ValueError(str(error)) from None


class Entry(BaseModel):
    """What every table of the language has in common: no unknown keys, no conversions of type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Pick(Entry):
    """Where one thing comes from: a place in the payload, a part of the topic, or the definition itself."""

    path: str | None = None
    jmespath: str | None = None
    topic: str | None = None
    """Name of a part of the topic pattern."""
    value: Scalar | None = None
    """A constant."""
    replace: dict[str, str] = {}
    """Texts replaced before `map` is looked up, for instance the colons of a MAC address."""
    suffix: str = ""
    """Cut from the end of a text, for instance `/sec`."""
    upper: bool = False
    """Small letters become capitals: gateways write one address in either."""
    map: dict[str, str] = {}
    """From what is found (numbers and true/false as text) to what the hub calls it."""
    other: Literal["refuse", "ignore", "keep"] = "refuse"
    """What to do with what `map` lacks."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("path", "jmespath", "topic", "value") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of path, jmespath, topic, value")
        _check_path(self.path, self.jmespath)
        return self


class Place(Entry):
    """One place in a record."""

    path: str | None = None
    jmespath: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.jmespath is None):
            raise ValueError("give exactly one of path, jmespath")
        _check_path(self.path, self.jmespath)
        return self


class Each(Entry):
    """All the records in a payload."""

    path: str | None = None
    jmespath: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.jmespath is None):
            raise ValueError("give exactly one of path, jmespath")
        _check_path(self.path, self.jmespath, many=True)
        return self


def _as_path(sent: object) -> object:
    return {"path": sent} if isinstance(sent, str) else sent


def _as_word(sent: object) -> object:
    return {"value": sent} if isinstance(sent, str) else sent


def _as_paths(sent: object) -> object:
    return [_as_path(one) for one in sent] if isinstance(sent, list) else [_as_path(sent)]


def _as_list(sent: object) -> object:
    return sent if isinstance(sent, list) else [sent]


Source = Annotated[Pick, BeforeValidator(_as_path)]
"""A text alone is a path into the payload."""
Sources = Annotated[list[Pick], BeforeValidator(_as_paths)]
"""Alternatives: the first that is there counts."""
Word = Annotated[Pick, BeforeValidator(_as_word)]
"""A text alone is the word itself."""


class Test(Place):
    """A condition on a payload or an element: without `equals` and `any_of` it must be there and not null."""

    equals: Scalar | None = None
    any_of: list[Scalar] = []
    exists: bool = True


class Time(Place):
    """Where the time is and how it is written."""

    style: TimeStyle = "rfc3339"
    pattern: str = ""
    """For `strptime`."""
    zone: str = ""
    """For texts without one: an IANA name, or `site` for the zone of the hub's settings."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.style == "strptime") != bool(self.pattern):
            raise ValueError("style strptime needs a pattern, and only it has one")
        if self.style == "strptime" and "%z" not in self.pattern and not self.zone:
            raise ValueError('times without a zone need one: zone = "site" or an IANA name')
        return self

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in ("", "site"):
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f"{zone!r} is no IANA time zone, for instance Europe/Berlin") from None
        return zone


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

    map: dict[str, Annotated[Target, BeforeValidator(_as_target)]] = {}
    codes: Literal["mdc", "name"] | None = None
    """What is looked up in the vocabulary where `map` lacks it: MDC codes, or the vocabulary's own names."""
    other: Literal["refuse", "ignore"] = "refuse"
    """What to do with a name that neither has."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.map and self.codes is None:
            raise ValueError('give a map, or codes = "mdc" or "name" to look the name up in the vocabulary')
        return self


NAME, MAP = "<name>", "<map>"
"""How pydantic names the two forms of `parameter` in a fault; no key of a file."""


class Value(Place):
    """One value: where it is, which parameter it is of, in which unit."""

    parameter: Annotated[
        Annotated[str, AfterValidator(_known_parameter), Tag(NAME)] | Annotated[Named, Tag(MAP)],
        Discriminator(lambda sent: NAME if isinstance(sent, str) else MAP),
    ]
    unit: Annotated[Pick | None, BeforeValidator(_as_word)] = None
    """UCUM; the vocabulary's unit where absent."""
    scale: float = 1.0
    offset: float = 0.0
    """Applied before the unit: value = sent * scale + offset."""
    map: dict[str, str] = {}
    """For coded parameters and texts: from what is sent to what the vocabulary takes."""
    quality: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    """Gives `valid`, `questionable`, `invalid` or `no-value`."""
    no_value: list[Scalar] = []
    """What means "no value" here, beside what the definition says for all."""

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


class Alarm(Place):
    """A device's own alarm: a flag or a text that says whether a condition is present."""

    condition: Word
    present: Annotated[list[Scalar], BeforeValidator(_as_list)] = [True]
    absent: Annotated[list[Scalar], BeforeValidator(_as_list)] = [False]
    other: Literal["refuse", "ignore"] = "refuse"
    """What to do with what is neither."""
    priority: Word = Pick(value="medium")
    kind: Word = Pick(value="technical")
    """`technical` or `physiological`."""
    parameter: Annotated[Pick | None, BeforeValidator(_as_word)] = None
    """A name of the vocabulary."""
    text: Annotated[Pick | None, BeforeValidator(_as_word)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [] if self.parameter is None else [self.parameter.value, *self.parameter.map.values()]
        for name in names:
            if name is not None and name not in PARAMETERS:
                raise ValueError(unknown(str(name)))
        for key, word, words in (("kind", self.kind, Kind), ("priority", self.priority, Priority)):
            if word.value is not None and word.value not in get_args(words):
                raise ValueError(f"{key}: use one of {', '.join(get_args(words))}")
        if self.condition.value is not None and not _CONDITION.fullmatch(str(self.condition.value)):
            raise ValueError("condition: use small letters, digits and _, a letter first")
        if any(type(one) is type(two) and one == two for one in self.present for two in self.absent):
            raise ValueError("present and absent share a value: which of them is it?")
        return self


class Status(Entry):
    """The state that a device says it is in."""

    state: Word
    battery: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    firmware: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    interval_s: Annotated[Pick | None, BeforeValidator(_as_path)] = None


class Sighting(Entry):
    """A beacon that a gateway heard; the gateway is the device."""

    beacon: Source
    rssi: Source
    tx_power: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    battery: Annotated[Pick | None, BeforeValidator(_as_path)] = None


class Waveform(Entry):
    """A window of samples: an array of numbers, or a text of numbers with blanks between."""

    waveform: Word
    samples: Source
    rate: Source
    scale: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    offset: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    baseline: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    """The sample that means 0; in place of `offset`."""
    unit: Annotated[Pick | None, BeforeValidator(_as_word)] = None

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


class Read(Entry):
    """How one kind of record is read. Keys that it lacks are taken from the definition."""

    each: Annotated[Each, BeforeValidator(_as_path)] = Each(path="$")
    """The records in the payload, `[*]` for every element; the payload itself where absent."""
    when: Annotated[list[Test], BeforeValidator(_as_list)] = []
    """All must hold for a record to be of this kind."""
    ignore: bool = False
    """Records of this kind hold nothing to store."""
    device: Sources = []
    channel: Annotated[Pick | None, BeforeValidator(_as_word)] = None
    time: Annotated[list[Time], BeforeValidator(_as_paths)] = []
    seq: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    value: list[Value] = []
    alarm: list[Alarm] = []
    waveform: list[Waveform] = []
    status: Status | None = None
    sighting: Sighting | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        reads = bool(self.value or self.alarm or self.waveform or self.status or self.sighting)
        if reads == self.ignore:
            raise ValueError("give values, alarms, waveforms, a status or a sighting; or ignore = true")
        return self


class Topic(Entry):
    """One topic pattern that devices of this kind publish on."""

    pattern: str
    channel: str = "observations"
    device: str = ""
    """The device as made of parts of the pattern, for instance `{group}__{node}`; `{device}` where absent."""
    format: str = "json"
    """What the payload is written in: a reader in code that makes of it what paths lead through."""
    decoder: str = ""
    """Name of a decoder in code, in place of `read`."""

    @field_validator("pattern")
    @classmethod
    def _valid_pattern(cls, pattern: str) -> str:
        try:
            TopicPattern(pattern)
        except TopicError as error:
            raise ValueError(str(error)) from None
        return pattern

    @field_validator("format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if name not in FORMATS:
            raise ValueError(f"no format {name!r}: there are {', '.join(FORMATS)}")
        return name

    @model_validator(mode="after")
    def _device_of_parts(self) -> Self:
        parts = TopicPattern(self.pattern).names
        for name in re.findall(r"{([^{}]*)}", self.device):
            if name not in parts:
                raise ValueError(f"device: the pattern {self.pattern!r} has no part {{{name}}}")
        return self

    @property
    def names_device(self) -> bool:
        """Whether the topic says which device publishes on it."""
        return bool(self.device) or "device" in TopicPattern(self.pattern).names

    @field_validator("decoder")
    @classmethod
    def _known_decoder(cls, decoder: str) -> str:
        if decoder and decoder not in DECODERS:
            raise ValueError(f"no decoder {decoder!r}: there are {', '.join(DECODERS)}")
        return decoder


class Definition(Entry):
    """One device model or format."""

    title: str = Field(min_length=1)
    source: str = Field(min_length=1)
    """Where the format is described, and what it was tried on."""
    interval_s: float = Field(gt=0, le=86_400)
    """Seconds between two messages of a device; 10 s more is silence."""
    topic: list[Topic] = Field(min_length=1)
    site: str = ""
    area: str = ""
    """Where the topic has no such part; the hub's site and `main` where both are absent."""
    when: Annotated[list[Test], BeforeValidator(_as_list)] = []
    """What must hold for a payload to be of this format, where several share a topic."""
    device: Sources = []
    """Which device a record is of, the first that is there; the topic's where absent."""
    time: Annotated[list[Time], BeforeValidator(_as_paths)] = []
    """The first that is there counts."""
    gateway: Literal["registered", "any"] = "registered"
    """Under which gateways a device that a payload names counts: the one registered for it, or any."""
    seq: Annotated[Pick | None, BeforeValidator(_as_path)] = None
    no_value: list[Scalar] = []
    text_numbers: bool = False
    """Numbers may be sent as texts."""
    read: list[Read] = []

    @field_validator("site", "area")
    @classmethod
    def _ids(cls, name: str) -> str:
        if name and not is_id(name):
            raise ValueError(f"{name!r}: use 1 to 64 of the characters A-Z a-z 0-9 _ -")
        return name

    @model_validator(mode="after")
    def _known_parts(self) -> Self:
        for topic in self.topic:
            parts = TopicPattern(topic.pattern).names
            for pick in _picks(self):
                if pick.topic is not None and pick.topic not in parts and not topic.decoder:
                    raise ValueError(f"the pattern {topic.pattern!r} has no part {{{pick.topic}}}")
        return self

    @model_validator(mode="after")
    def _decodable(self) -> Self:
        if any(not topic.decoder for topic in self.topic) and not self.read:
            raise ValueError("say how to read a payload: [[read]], or a decoder for every topic")
        named = bool(self.device) or all(read.device or read.ignore for read in self.read)
        for topic in self.topic:
            if not topic.names_device and (topic.decoder or not named):
                raise ValueError("no device: name one as {device} in the pattern or by `device`")
        return self


def _picks(entry: object) -> Iterator[Pick]:
    if isinstance(entry, Pick):
        yield entry
    elif isinstance(entry, Entry):
        for name in type(entry).model_fields:
            yield from _picks(getattr(entry, name))
    elif isinstance(entry, list):
        for one in entry:
            yield from _picks(one)


def _check_parameter(name: str, unit: str) -> None:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise ValueError(unknown(name))
    if parameter.kind == "waveform":
        raise ValueError(f"{name} is a waveform: it goes into [[read.waveform]]")
    if unit and unit not in parameter.units:
        accepted = ", ".join(parameter.units) or "no unit"
        raise ValueError(f"{name} in {unit!r} can't be converted: accepted is {accepted}")

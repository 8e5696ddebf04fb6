"""A device definition: what a TOML file in `definitions/` may say. Data only, nothing is ever evaluated.

`docs/reference/definitions.md` describes the language by example.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from hub.devices.content import Alarm, Alarms, Sighting, Status, Value, Waveform, known_grades
from hub.devices.field import renamed, spelled
from hub.devices.formats import FORMATS
from hub.devices.native import DECODERS
from hub.devices.path import MISSING
from hub.devices.place import (
    Beside,
    Each,
    Entry,
    Pick,
    Scalar,
    Sources,
    Test,
    Time,
    as_list,
    as_path,
    as_paths,
    as_word,
)
from hub.mqtt.topics import TopicError, TopicPattern, is_id


class Read(Entry):
    """How one kind of record is read. Keys that it lacks are taken from the definition."""

    each: Annotated[Each, BeforeValidator(as_path)] = Each(path="$")
    """The records in the payload, `[*]` for every element; the payload itself where absent."""
    when: Annotated[list[Test], BeforeValidator(as_list)] = []
    """All must hold for a record to be of this kind."""
    ignore: bool = False
    """Records of this kind hold nothing to store."""
    device: Sources = []
    channel: Annotated[Pick | None, BeforeValidator(as_word)] = None
    time: Annotated[list[Time], BeforeValidator(as_paths)] = []
    seq: Annotated[Pick | None, BeforeValidator(as_path)] = None
    empty: Literal["refuse", "ok"] = "refuse"
    """Whether a payload is right where the array that `each` goes over is empty."""
    unit: Annotated[Beside | None, BeforeValidator(as_word)] = None
    quality: Annotated[Beside | None, BeforeValidator(as_path), AfterValidator(known_grades)] = None
    """Of the values that have none of their own; `^.` begins beside each."""
    value: list[Value] = []
    alarm: list[Alarm] = []
    alarms: list[Alarms] = []
    waveform: list[Waveform] = []
    status: Status | None = None
    sighting: Sighting | None = None

    @model_validator(mode="after")
    def _values_completed(self) -> Self:
        self.__dict__["value"] = [value.completed(self.unit, self.quality) for value in self.value]
        return self

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        reads = any((self.value, self.alarm, self.alarms, self.waveform, self.status, self.sighting))
        if reads == self.ignore:
            raise ValueError("give values, alarms, waveforms, a status or a sighting; or ignore = true")
        return self


Part = Annotated[Pick | None, BeforeValidator(as_word)]
_PART: Final = re.compile(r"\{([^{}]*)\}")


class Topic(Entry):
    """One topic pattern that devices of this kind publish on."""

    pattern: str
    channel: str = "observations"
    site: Part = None
    area: Part = None
    device: Part = None
    """Each as made of parts of the pattern, for instance `{group}__{node}`, or as a table of one part with
    `replace`, `upper` or `map`; the part of that name where absent."""
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
    def _made_of_parts(self) -> Self:
        parts = TopicPattern(self.pattern).names
        for name in ("site", "area", "device"):
            pick: Pick | None = getattr(self, name)
            if pick is None:
                continue
            if pick.topic is None and pick.value is None:
                raise ValueError(f"{name}: is made of the topic: give a text with parts, or topic")
            for part in _PART.findall(str(pick.value or "")) if pick.topic is None else [pick.topic]:
                if part not in parts:
                    raise ValueError(f"{name}: the pattern {self.pattern!r} has no part {{{part}}}")
            example = spelled(_PART.sub("x", str(pick.value or "x")), pick)
            for made in pick.map.values() if pick.map else [example]:
                if not is_id(made):
                    raise ValueError(f"{name}: {made!r} is none: use the characters A-Z a-z 0-9 _ -")
        return self

    def part(self, name: str, parts: dict[str, str]) -> str | None:
        """Return the site, the area or the device that a topic with these parts means; it may be no id.

        None where the topic doesn't say. Raises ValueError where a `map` lacks what it says.
        """
        pick: Pick | None = getattr(self, name)
        if pick is None:
            return parts.get(name)
        sent = parts[pick.topic] if pick.topic is not None else str(pick.value).format_map(parts)
        made = renamed(sent, pick)
        return None if made is MISSING else str(made)

    @property
    def names_device(self) -> bool:
        """Whether the topic says which device publishes on it."""
        return self.device is not None or "device" in TopicPattern(self.pattern).names

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
    when: Annotated[list[Test], BeforeValidator(as_list)] = []
    """What must hold for a payload to be of this format, where several share a topic."""
    device: Sources = []
    """Which device a record is of, the first that is there; the topic's where absent."""
    time: Annotated[list[Time], BeforeValidator(as_paths)] = []
    """The first that is there counts."""
    gateway: Literal["registered", "any"] = "registered"
    """Under which gateways a device that a payload names counts: the one registered for it, or any."""
    seq: Annotated[Pick | None, BeforeValidator(as_path)] = None
    maps: dict[str, dict[str, object]] = {}
    """Maps that several keys `map` name."""
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
            for pick in _picks([self.device, self.seq, self.read]):
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

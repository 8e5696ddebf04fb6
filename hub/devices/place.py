"""Where things are in a payload or a topic, as a definition writes it: places, picks, tests, times."""

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hub.devices.path import BESIDE, InvalidPathError, Path, beside

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


def named_map(sent: object, info: ValidationInfo) -> object:
    """Take a text for the name of a map of the definition's `[maps]`, which are the validation's context."""
    if not isinstance(sent, str):
        return sent
    maps = info.context if isinstance(info.context, dict) else {}
    if sent not in maps:
        raise ValueError(f"no map {sent!r}: [maps] has {', '.join(maps) or 'none'}")
    return maps[sent]


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
    map: Annotated[dict[str, str], BeforeValidator(named_map)] = {}
    """From what is found (numbers and true/false as text) to what the hub calls it; or the name of a map."""
    other: Literal["refuse", "ignore", "keep"] = "refuse"
    """What to do with what `map` lacks."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("path", "jmespath", "topic", "value") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of path, jmespath, topic, value")
        _check_path(self._plain(), self.jmespath)
        return self

    def _plain(self) -> str | None:
        return self.path


class Beside(Pick):
    """A pick whose path may begin beside the value that it is of, with `^.`."""

    def of(self, value: str | None) -> Pick:
        """Return the pick for the value at a path. Raises ValueError where that is no plain path."""
        if self.path is None or not self.path.startswith(BESIDE):
            return self
        if value is None:
            raise ValueError(
                f"{self.path!r} is beside a plain `path`, and a value is at JMESPath: give a path of its own"
            )
        return self.model_copy(update={"path": beside(self.path, value)})

    def _plain(self) -> str | None:
        return self.path and self.path.removeprefix(BESIDE)


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


def as_path(sent: object) -> object:
    """Take a text alone for a path."""
    return {"path": sent} if isinstance(sent, str) else sent


def as_word(sent: object) -> object:
    """Take a text alone for the word itself."""
    return {"value": sent} if isinstance(sent, str) else sent


def as_paths(sent: object) -> object:
    """Take one place for an array of one."""
    return [as_path(one) for one in sent] if isinstance(sent, list) else [as_path(sent)]


def as_list(sent: object) -> object:
    """Take one thing for an array of one."""
    return sent if isinstance(sent, list) else [sent]


Source = Annotated[Pick, BeforeValidator(as_path)]
"""A text alone is a path into the payload."""
Sources = Annotated[list[Pick], BeforeValidator(as_paths)]
"""Alternatives: the first that is there counts."""
Word = Annotated[Pick, BeforeValidator(as_word)]
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

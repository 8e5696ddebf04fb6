"""The ward file: sites, wards, beds and devices as first provisioned, in TOML.

Its reference is docs/reference/ward-file.md.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from hub.ward.model import AgeGroup

_TOPIC_ID = r"^[A-Za-z0-9_-]{1,64}$"
_DEVICE_ID = r"^[!-~]{1,128}$"
_SERIES = r"^[A-Za-z0-9_-]*#+[A-Za-z0-9_-]*$"

TopicId = Annotated[str, StringConstraints(pattern=_TOPIC_ID)]
DeviceId = Annotated[str, StringConstraints(pattern=_DEVICE_ID)]
"""Wider than a topic's: a gateway's payload may name a device by its address."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
Metres = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]

_EXPECTED = {
    _TOPIC_ID: "1 to 64 letters, digits, _ or -",
    _DEVICE_ID: "1 to 128 printable characters without spaces",
    _SERIES: "letters, digits, _ or - around one run of #",
}


class WardFileError(ValueError):
    """All that is wrong with a ward file: one line a fault, each with its key and what was expected."""

    def __init__(self, source: str, faults: list[str]) -> None:
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))
        self.faults = faults


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Site(_Section):
    """The hospital or branch that the file is about."""

    id: TopicId
    name: Text | None = None


class BedSeries(_Section):
    """Beds by number: `#` in the pattern stands for a digit, zero-filled."""

    count: int = Field(ge=1, le=100_000)
    pattern: Annotated[str, StringConstraints(pattern=_SERIES, max_length=64)]

    def ids(self) -> list[str]:
        """Return the beds' ids, counted from 1."""
        head, digits, tail = re.split(r"(#+)", self.pattern)
        return [f"{head}{number:0{len(digits)}d}{tail}" for number in range(1, self.count + 1)]


class Ward(_Section):
    """A ward and its beds."""

    id: TopicId
    name: Text | None = None
    area: TopicId | None = None
    """Routing hint in the topics of its devices; the ward's id where it is left out."""
    beds: list[TopicId] = Field(min_length=1)

    @field_validator("beds", mode="before")
    @classmethod
    def _series(cls, beds: Any) -> Any:  # noqa: ANN401
        if not isinstance(beds, dict):
            return beds
        try:
            return BedSeries.model_validate(beds).ids()
        except ValidationError as error:
            raise ValueError("; ".join(_faults(error))) from None


class Device(_Section):
    """A device as provisioned; with `bed`, where it stands at first."""

    id: DeviceId
    definition: Text
    bed: TopicId | None = None
    area: TopicId | None = None
    """The bed's ward's area where it is left out; required where there is no bed."""
    interval_s: float | None = Field(default=None, gt=0, le=86_400)
    gateway: DeviceId | None = None
    since: AwareDatetime | None = None
    """From when on it stands there; always, where it is left out."""


class Patient(_Section):
    """A patient to begin with: for demonstrations and trials."""

    name: Text = Field(repr=False)
    identifier: Text = Field(repr=False)
    """Medical record number: by it the hub knows at the next start that the patient is there already."""
    bed: TopicId | None = None
    birth_date: date | None = Field(default=None, repr=False)
    age_group: AgeGroup = "adult"
    pregnant: bool = False
    spo2_scale: int = Field(default=1, ge=1, le=2)
    since: AwareDatetime | None = None
    """From when on the patient is in the bed; from the start of the hub, where it is left out."""


class Zone(_Section):
    """A room, a corridor or a way out: the beds in it, the gateways that hang there, and where it is.

    A rectangle (`x`, `y`, `width`, `height`) or a `polygon`, in metres on the plan of its ward, x to the
    right and y downwards; where there is neither, the hub lays it out.
    """

    id: TopicId
    name: Text | None = None
    ward: TopicId | None = None
    beds: list[TopicId] = []
    gateways: list[DeviceId] = []
    forbidden: bool = False
    """Whether a patient's beacon there is an alarm."""
    x: Metres | None = None
    y: Metres | None = None
    width: Length | None = None
    height: Length | None = None
    polygon: list[tuple[Metres, Metres]] = Field(default=[], max_length=100)

    @property
    def outline(self) -> tuple[tuple[float, float], ...]:
        """Return its corners in order; none where the file doesn't draw it."""
        if self.x is None or self.y is None or self.width is None or self.height is None:
            return tuple(self.polygon)
        right, bottom = self.x + self.width, self.y + self.height
        return ((self.x, self.y), (right, self.y), (right, bottom), (self.x, bottom))


class Beacon(_Section):
    """A beacon and what it goes with. Which patient, says where the device of the same id is placed."""

    id: DeviceId
    kind: Literal["patient", "staff", "asset"]
    name: Text | None = Field(default=None, repr=False)
    """Of staff and assets."""
    ward: TopicId | None = None
    """Where an asset belongs."""


class WardFile(_Section):
    """One site with its wards, devices, zones, beacons and, for a demonstration, patients."""

    site: Site
    ward: list[Ward] = Field(min_length=1)
    device: list[Device] = []
    patient: list[Patient] = []
    zone: list[Zone] = []
    beacon: list[Beacon] = []

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = list(self._contradictions())
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def areas(self) -> dict[str, str]:
        """Return the area of each bed."""
        return {bed: ward.area or ward.id for ward in self.ward for bed in ward.beds}

    def _contradictions(self) -> Iterator[str]:
        beds = Counter(bed for ward in self.ward for bed in ward.beds)
        yield from (
            f"ward: bed {bed!r} is listed {n} times: expected once" for bed, n in beds.items() if n > 1
        )
        yield from _twice("ward", "id", [ward.id for ward in self.ward])
        yield from _twice("device", "id", [device.id for device in self.device])
        yield from self._contradictions_of_zones()
        yield from _twice("beacon", "id", [beacon.id.replace(":", "").upper() for beacon in self.beacon])
        wards = {ward.id for ward in self.ward}
        places: list[Zone | Beacon] = [*self.zone, *self.beacon]
        for place in places:
            if place.ward is not None and place.ward not in wards:
                known = ", ".join(sorted(wards))
                yield f"{place.id}: ward {place.ward!r} is none of this file: expected one of {known}"
        yield from _twice("patient", "identifier", [patient.identifier for patient in self.patient])
        yield from _twice("patient", "bed", [patient.bed for patient in self.patient if patient.bed])
        for device in self.device:
            if device.bed is not None and device.bed not in beds:
                yield f"device {device.id!r}.bed: expected a bed of a [[ward]], got {device.bed!r}"
            if device.bed is None and device.area is None:
                yield f"device {device.id!r}.area: expected an area, since the device has no bed"
        for number, patient in enumerate(self.patient):
            if patient.bed is not None and patient.bed not in beds:
                yield f"patient[{number}].bed: expected a bed of a [[ward]], got {patient.bed!r}"

    def _contradictions_of_zones(self) -> Iterator[str]:
        yield from _twice("zone", "id", [zone.id for zone in self.zone])
        yield from _twice("zone", "gateways", [name for zone in self.zone for name in zone.gateways])
        yield from _twice("zone", "beds", [bed for zone in self.zone for bed in zone.beds])
        ward_of = {bed: ward.id for ward in self.ward for bed in ward.beds}
        for zone in self.zone:
            rectangle = (zone.x, zone.y, zone.width, zone.height)
            if any(one is not None for one in rectangle) and (None in rectangle or zone.polygon):
                yield f"zone {zone.id!r}: expected x, y, width and height together, or a polygon instead"
            if zone.polygon and len(set(zone.polygon)) < 3:
                yield f"zone {zone.id!r}.polygon: expected at least three corners, [x, y] in metres"
            for bed in zone.beds:
                if bed not in ward_of:
                    yield f"zone {zone.id!r}.beds: expected beds of a [[ward]], got {bed!r}"
                elif ward_of[bed] != zone.ward:
                    yield f"zone {zone.id!r}.ward: expected {ward_of[bed]!r}, the ward of its bed {bed!r}"


def load(path: Path, definitions: Collection[str] | None = None) -> WardFile:
    """Read a ward file. Raises WardFileError with all faults at once."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WardFileError(str(path), [f"can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise WardFileError(str(path), ["is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise WardFileError(str(path), [f"is not TOML: {error}"]) from None
    return parse(data, str(path), definitions)


def parse(data: dict[str, Any], source: str, definitions: Collection[str] | None = None) -> WardFile:
    """Validate a ward file's content; with `definitions`, devices may name those alone."""
    faults: list[str] = []
    try:
        ward_file = WardFile.model_validate(data)
    except ValidationError as error:
        faults = list(_faults(error))
        # What is well formed is checked for contradictions all the same, so that one run tells everything.
        broken = {tuple(fault["loc"][:2]) for fault in error.errors() if fault["loc"]}
        if broken and {section for section, *_ in broken} <= {"device", "patient"}:
            rest = {
                key: [entry for number, entry in enumerate(value) if (key, number) not in broken]
                if key in {"device", "patient"} and isinstance(value, list)
                else value
                for key, value in data.items()
            }
            try:
                WardFile.model_validate(rest)
            except ValidationError as more:
                faults += _faults(more)
    if definitions is not None:
        faults += _unknown_definitions(data, definitions)
    if faults:
        raise WardFileError(source, faults)
    return ward_file


def _unknown_definitions(data: dict[str, Any], definitions: Collection[str]) -> Iterator[str]:
    devices = data.get("device")
    for number, device in enumerate(devices if isinstance(devices, list) else ()):
        named = device.get("definition") if isinstance(device, dict) else None
        if isinstance(named, str) and named not in definitions:
            known = ", ".join(sorted(definitions))
            yield f"device[{number}].definition: expected one of {known}; got {named!r}"


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        if not fault["loc"]:
            yield from str(fault["ctx"]["error"]).splitlines()
            continue
        key = ""
        for part in fault["loc"]:
            key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
        expected = _EXPECTED.get(fault.get("ctx", {}).get("pattern", ""))
        message = f"expected {expected}" if expected else fault["msg"]
        # A patient's fields are never quoted.
        got = (
            "" if fault["type"] == "missing" or key.startswith("patient") else f", got {fault['input']!r:.80}"
        )
        yield f"{key}: {message}{got}"


def _twice(section: str, key: str, values: list[str]) -> Iterator[str]:
    for value, n in Counter(values).items():
        if n > 1:
            shown = "one value" if key == "identifier" else repr(value)
            yield f"{section}.{key}: {shown} is given {n} times: expected once"


def since_ns(since: datetime | None, otherwise_ns: int) -> int:
    """Return a time of the file in nanoseconds."""
    return otherwise_ns if since is None else round(since.timestamp() * 1e6) * 1000

"""The shapes of the API's answers. They are encoded by msgspec and described by its JSON Schemas."""

from datetime import date, datetime
from typing import Any

from msgspec import Struct, json
from starlette.responses import Response

from hub.api.problems import documented
from hub.api.services import Part
from hub.events import Bed, ToldAlarm, ToldEvent
from hub.model import Value
from hub.waves import Window


class Ward(Struct, frozen=True):
    """A ward and its beds."""

    site: str
    ward: str
    name: str
    beds: list[str]


class Wards(Struct, frozen=True):
    """Every ward."""

    wards: list[Ward]


class Beds(Struct, frozen=True):
    """Beds with their current values, as the stream's `vitals` tells them."""

    time: datetime
    beds: list[Bed]


class PatientIdentifier(Struct, frozen=True):
    """A number by which others know a patient."""

    system: str
    value: str


class Patient(Struct, frozen=True):
    """A patient and where they are now."""

    id: str
    """Surrogate id."""
    name: str
    identifiers: list[PatientIdentifier]
    birth_date: date | None
    age_group: str
    site: str | None
    ward: str | None
    bed: str | None


class Patients(Struct, frozen=True):
    """Every patient."""

    patients: list[Patient]


class DeviceAnswer(Struct, frozen=True):
    """A device, how it is provisioned and where it is now."""

    site: str
    device: str
    definition: str
    area: str
    registered: bool
    """False for one that knocked and that nobody has placed yet."""
    interval_s: float | None
    gateway: str | None
    first_seen: datetime | None
    last_topic: str | None
    ward: str | None
    bed: str | None
    patient: str | None


class Devices(Struct, frozen=True):
    """Devices."""

    devices: list[DeviceAnswer]


class Exceptional(Struct, frozen=True):
    """What is not simply valid about a value."""

    quality: str
    """questionable, invalid or no-value."""
    value: Value | None
    """As the device sent it, in the vocabulary's unit."""


class ReadingAnswer(Struct, frozen=True):
    """The values that a device determined at one time."""

    time: datetime
    """Corrected determination time."""
    seq: int
    channel: str
    values: dict[str, Value]
    exceptions: dict[str, Exceptional]
    device_time: datetime | None
    """What the device said."""
    received: datetime


class SiteReading(ReadingAnswer, frozen=True):
    """The same, and of which device."""

    device: str


class SiteReadings(Struct, frozen=True):
    """Readings of every device of a site, oldest first."""

    readings: list[SiteReading]
    next: str | None
    """Give it as `cursor` for what follows; null at the end."""


class Readings(Struct, frozen=True):
    """Readings, oldest first."""

    readings: list[ReadingAnswer]
    next: str | None
    """Give it as `cursor` for what follows; null at the end."""


class Point(Struct, frozen=True):
    """One step of a trend."""

    time: datetime
    """Start of the step."""
    minimum: float
    mean: float
    maximum: float
    count: int


class Trend(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """One parameter over time; steps without a value are left out."""

    parameter: str
    unit: str
    start: datetime
    end: datetime
    step_s: float
    points: list[Point]


class Windows(Struct, frozen=True):
    """Windows of a waveform, oldest first."""

    windows: list[Window]


class Alarms(Struct, frozen=True):
    """Alarms, the newest first."""

    alarms: list[ToldAlarm]
    last_event_id: str
    """Open the stream with it to miss nothing that happens after this answer."""
    next: int | None
    """Give it as `cursor` for older ones; null at the end."""


class AlarmEvents(Struct, frozen=True):
    """What happened to alarms, in sequence."""

    events: list[ToldEvent]
    next: int
    """Give it as `after` for what follows."""


class Reject(Struct, frozen=True):
    """Something of a message that could not be used."""

    id: int
    topic: str
    path: str
    """Where in the payload."""
    reason: str
    received: datetime
    site: str | None
    device: str | None
    payload: str
    encoding: str
    """How the payload is written: utf-8, or base64 where it is not text."""


class Rejects(Struct, frozen=True):
    """Rejects, newest first."""

    rejects: list[Reject]
    next: int | None
    """Give it as `before` for older ones; null at the end."""


class ReplayAnswer(Struct, frozen=True):
    """What came of a replay."""

    accepted: int
    rejected: int
    """Rejected again: the definition does not take them yet."""
    gone: int
    """No longer kept."""


class Alive(Struct, frozen=True):
    """The process runs and answers."""

    status: str


class Ready(Struct, frozen=True):
    """Whether the line works, and how each part is."""

    ready: bool
    parts: list[Part]


def answer(content: Struct, status: int = 200) -> Response:
    """Render an answer."""
    return Response(json.encode(content), status, media_type="application/json")


def described(shape: type[Struct], *errors: int, example: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a route's decorator needs: OpenAPI responses, and no pydantic model."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}
    if example is not None:
        content["example"] = example
    success = {200: {"description": (shape.__doc__ or "").strip(), "content": {"application/json": content}}}
    return {"response_model": None, "responses": {**success, **documented(*errors)}}

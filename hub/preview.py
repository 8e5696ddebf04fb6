"""What the hub makes of one message, from decoding to FHIR and line protocol. Stores and tells nothing."""

import time
from collections.abc import Iterator
from typing import TypedDict

import msgspec

from hub.clock import ClockLimits
from hub.devices.catalog import Catalog
from hub.duplicates import Duplicates
from hub.events import moment
from hub.fhir.observation import observations
from hub.intake import Intake
from hub.model import Batch, Message, Reading
from hub.roster import Roster
from hub.stores.lines import Lines
from hub.stores.store import StoreRefused
from hub.vocabulary import PARAMETERS


class Value(TypedDict):
    """One value of one parameter."""

    device: str
    parameter: str
    value: float | str | None
    """In the vocabulary's unit; None for "no value"."""
    unit: str
    time: str
    """RFC 3339; the time of receipt where the device sent none."""
    quality: str
    """valid, questionable, invalid or no-value."""


class Reject(TypedDict):
    """What of the payload can't be used."""

    path: str
    reason: str


class Preview(TypedDict):
    """One message, ready for JSON."""

    topic: str
    definition: str | None
    """None where no definition takes the topic."""
    readings: list[Value]
    statuses: list[dict[str, object]]
    alarms: list[dict[str, object]]
    sightings: list[dict[str, object]]
    waveforms: list[dict[str, object]]
    """Without their samples, whose number is told."""
    rejects: list[Reject]
    fhir: list[dict[str, object]]
    """The Observations, of no patient: who a device is at is the registry's to say."""
    line_protocol: list[str]


class Previewer:
    """Shows message after message, as one hub would take them: formats that remember do."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._roster = Roster(
            catalog,
            max_devices=100_000,
            provisioned=lambda _site, _device: ("", "", 0.0),
            on_new=lambda _device, _topic: None,
        )
        self._lines = Lines()

    def show(self, topic: str, payload: bytes, received_ns: int | None = None) -> Preview:
        """Show one message. Without `received_ns` it is taken to arrive when it was sent."""
        route = self._catalog.resolve(topic)
        if route is not None and received_ns is None:
            items = route.decode(payload)
            received_ns = max((getattr(item, "time_ns", 0) for item in items), default=0)
        intake = Intake(self._roster, Duplicates(), ClockLimits())
        taken = intake.take([Message(topic, payload)], received_ns or time.time_ns())
        batch = taken.batch
        return Preview(
            topic=topic,
            definition=None if route is None else route.definition,
            readings=[value for reading in batch.readings for value in _values(reading)],
            statuses=[_plain(one) for one in batch.statuses],
            alarms=[_plain(one) for one in batch.device_alarms],
            sightings=[_plain(one) for one in batch.sightings],
            waveforms=[_plain(one) | {"samples": len(one.samples)} for one in batch.waveforms],
            rejects=[Reject(path=one.path, reason=one.reason) for told in taken.refused for one in told],
            fhir=[msgspec.json.decode(one) for reading in batch.readings for one in observations(reading)],
            line_protocol=self._rendered(batch),
        )

    def _rendered(self, batch: Batch) -> list[str]:
        try:
            return self._lines.render([batch])
        except StoreRefused as error:
            return [f"# {error}"]


def _values(reading: Reading) -> Iterator[Value]:
    exceptions = reading.exceptions or {}
    for name in dict.fromkeys([*reading.values, *exceptions]):
        quality, kept = exceptions.get(name, ("valid", None))
        yield Value(
            device=reading.device,
            parameter=name,
            value=reading.values.get(name, kept),
            unit=PARAMETERS[name].unit,
            time=_time(reading.time_ns),
            quality=quality,
        )


def _plain(item: msgspec.Struct) -> dict[str, object]:
    """Return the members of an item that say something, times as text."""
    members: dict[str, object] = {}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if name == "time_ns":
            members["time"] = _time(value)
        elif value is not None and name not in ("received_ns", "samples", "seq"):
            members[name] = value
    return members


def _time(time_ns: int) -> str:
    return moment(time_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")

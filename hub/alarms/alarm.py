"""An alarm condition and the events of its life."""

from hashlib import blake2b
from typing import Literal

from msgspec import Struct

from hub.model import Kind, Presence, Priority, Value

Happening = Literal["start", "update", "escalate", "de-escalate", "end"]


class Alarm(Struct, frozen=True, gc=False):
    """One alarm condition of one device, from its onset to its end (IEEE 11073 BICEPS: AlertCondition)."""

    id: str
    kind: Kind
    priority: Priority
    condition: str
    """For instance limit_high, limit_low, no_valid_value, device_offline, device_silent, clock_off."""
    site: str
    device: str
    onset_ns: int
    """When the condition began, corrected device time."""
    presence: Presence
    text: str
    parameter: str | None = None
    value: Value | None = None
    """The value that the newest event is about; None when there is none."""
    limit: float | None = None
    unit: str | None = None
    ended_ns: int | None = None


class AlarmEvent(Struct, frozen=True, gc=False):
    """One change of one alarm: what goes to the event log and, as told, to the nurse stations."""

    sequence: int
    """Rises by one an event, without gaps, for the life of the hub's data directory."""
    event: Happening
    time_ns: int
    """Hub time."""
    alarm: Alarm
    ward: str | None = None
    bed: str | None = None
    patient: str | None = None
    """Where the device was placed when the event happened; the patient's surrogate id."""


def alarm_id(site: str, device: str, parameter: str | None, condition: str, onset_ns: int) -> str:
    """Return the id that follows from what the alarm is, so that redelivery continues the same alarm."""
    identity = f"{site}/{device}/{parameter or ''}/{condition}/{onset_ns}".encode()
    return "al-" + blake2b(identity, digest_size=8).hexdigest()

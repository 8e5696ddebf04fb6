"""An alarm: its condition, its signal, and the events of its life (terms of IEEE 11073 BICEPS)."""

from hashlib import blake2b
from typing import Literal

from msgspec import Struct

from hub.model import Kind, Presence, Priority, Value

Happening = Literal[
    "start",
    "update",
    "escalate",
    "de-escalate",
    "end",
    "signalled",
    "acknowledged",
    "audio-paused",
    "signal-off",
    "re-alarmed",
    "latched",
    "reset",
    "reassigned",
    "commented",
]
"""What happened to an alarm.

start, update, escalate, de-escalate: of the condition. signalled: the signal delay is over. latched: the
condition is gone, the signal stays until a person resets it. reset: a person did. end: the alarm's life is
over, condition and signal: nothing follows it.
"""

SignalPresence = Literal["off", "on", "acknowledged", "latched"]
Activation = Literal["on", "paused", "off"]
"""paused: seen, not heard, for a while. off: listed only, until a time that the person gave."""

PATIENT_CHANGED = "the patient was discharged or transferred, or the device was moved"
"""Why a patient's alarms end with the stay."""

RANK: dict[Priority, int] = {"information": 0, "low": 1, "medium": 2, "high": 3}


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
    level: int = 1
    """1: warning, 2: critical."""
    changed_ns: int = 0
    """Corrected device time up to which the condition has been judged; older readings don't move it."""
    patient: str | None = None
    """Whose condition it is (surrogate id); None for a technical one."""
    devices: tuple[str, ...] = ()
    """The ids of the devices that a lost gateway or broker took with it."""
    until_ns: int | None = None
    """When standby or transport is over, hub time."""
    origin: Literal["hub", "device"] = "hub"
    """Who decided that the condition is present."""
    part: str = ""
    """The part of the device that reports on its own, for instance a pump's channel; empty for the whole."""
    ended_why: str | None = None
    """Set where something other than the condition itself ended it; a latched signal ends with it."""


class Signal(Struct, frozen=True, gc=False):
    """What people see and hear of an alarm, and what they did about it. All times are hub time."""

    presence: SignalPresence = "on"
    priority: Priority = "medium"
    """As shown: a latched or still latching signal keeps the highest that the condition had."""
    activation: Activation = "on"
    activation_until_ns: int | None = None
    """When a pause or a switching off is over."""
    due_ns: int | None = None
    """When the signal is generated; None once it was."""
    raised_ns: int | None = None
    """When the signal was first generated."""
    acknowledged_by: str | None = None
    acknowledged_ns: int | None = None
    acknowledged_until_ns: int | None = None
    """When it comes back if the condition is still present."""
    assigned: str | None = None
    """Who is asked to respond."""
    step: int = 0
    """How far the alarm has gone up the escalation chain."""
    step_due_ns: int | None = None
    """When it goes on to the next one."""
    count: int = 1
    """How often the condition came in this episode."""
    quiet_ns: int | None = None
    """Since when a condition that comes and goes is absent; the episode ends when it stays so."""
    under: str | None = None
    """The alarm under which this one is listed instead of being signalled by itself."""


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
    signal: Signal | None = None
    who: str | None = None
    """The person, or `hub`."""
    why: str | None = None
    """A reason or a comment."""


def alarm_id(site: str, device: str, parameter: str | None, condition: str, onset_ns: int) -> str:
    """Return the id that follows from what the alarm is, so that redelivery continues the same alarm."""
    identity = f"{site}/{device}/{parameter or ''}/{condition}/{onset_ns}".encode()
    return "al-" + blake2b(identity, digest_size=8).hexdigest()

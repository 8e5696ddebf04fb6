"""What a decoder makes of one payload, before units, plausibility, time and identity are judged."""

from collections.abc import Callable

from msgspec import Struct

from hub.model import Kind, Presence, Priority


class Observed(Struct, frozen=True, gc=False):
    """Values that one device sent for one time."""

    values: dict[str, float | str | None]
    """Vocabulary names; None for "no value"."""
    time_ns: int = 0
    """What the device said, nanoseconds since the epoch; 0 where it said nothing."""
    seq: int = -1
    """-1 where the format has none."""
    units: dict[str, str] | None = None
    """UCUM by name, where not the vocabulary's."""
    quality: dict[str, str] | None = None
    """`questionable` or `invalid` by name."""
    device: str | None = None
    """None for the device that the topic names."""
    channel: str = "observations"


class WaveformSent(Struct, frozen=True, gc=False):
    """One window of samples as sent."""

    waveform: str
    rate: float
    samples: list[float | None]
    time_ns: int = 0
    seq: int = -1
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    device: str | None = None


class StatusSent(Struct, frozen=True, gc=False):
    """The state that a device says it is in."""

    state: str
    """`online`, `offline` or `standby`."""
    time_ns: int = 0
    battery: float | None = None
    firmware: str | None = None
    interval_s: float | None = None
    device: str | None = None


class AlarmSent(Struct, frozen=True, gc=False):
    """One alarm condition as the device tells it."""

    condition: str
    presence: Presence
    priority: Priority = "medium"
    kind: Kind = "technical"
    parameter: str | None = None
    text: str = ""
    time_ns: int = 0
    device: str | None = None


class SightingSent(Struct, frozen=True, gc=False):
    """One beacon heard; the gateway is the device."""

    beacon: str
    rssi: int
    time_ns: int = 0
    tx_power: int | None = None
    battery: float | None = None
    device: str | None = None
    """The gateway, where the payload names it."""


class Refused(Struct, frozen=True, gc=False):
    """A part of the payload that can't be used. Path and reason hold no patient data."""

    path: str
    """`$` for the whole payload."""
    reason: str
    device: str | None = None
    found: str = ""
    """The code, unit or word that nobody knows, where that is what is wrong: for the device and for whoever
    decodes the payload, never for a log."""


Item = Observed | WaveformSent | StatusSent | AlarmSent | SightingSent | Refused

Decode = Callable[[bytes], list[Item]]
"""Decode one payload. Never raises: what can't be used comes back as Refused. An empty list means that the
message holds nothing to store (a gateway's own heartbeat, for instance)."""

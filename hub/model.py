"""The frozen values that travel along the line.

All times are integers since 1970-01-01T00:00:00Z; a name's suffix gives the unit (`_ns`, `_ms`, `_s`).
What is journalled is encoded as MessagePack arrays: members may be appended with a default, never
reordered or removed, or `FORMAT_VERSION` rises.
"""

from typing import Literal

from msgspec import Struct

FORMAT_VERSION = 1
"""Version of the journal row. Readers accept this one and the one before."""

Value = float | str
"""A number in the vocabulary's unit, or the code of a coded parameter."""

Quality = Literal["questionable", "invalid", "no-value"]
"""How good a value is, where it is not simply valid.

questionable: still a value, still alarms. invalid: kept, never shown or alarmed as a value.
no-value: the device said that it has none.
"""

Presence = Literal["present", "absent"]
Priority = Literal["high", "medium", "low", "information"]
Kind = Literal["physiological", "technical"]


class Message(Struct, frozen=True, gc=False):
    """One MQTT PUBLISH as it came from a broker."""

    topic: str
    payload: bytes
    packet_id: int = 0
    """0 for QoS 0, which needs no acknowledgement."""
    retained: bool = False
    duplicate: bool = False
    full_size: int = 0
    """Bytes of the payload as sent, where only its beginning was kept; 0 where `payload` is whole."""


class Reading(Struct, frozen=True, array_like=True, gc=False):
    """The values that one device determined at one time: one message, one line in a store.

    Its identity is site, device, channel and `time_ns`; the digits of `time_ns` below the millisecond
    come from `seq`, so two messages of one device in one millisecond stay two.
    """

    site: str
    device: str
    channel: str
    """`observations`, or the part of a device (for instance a pump's channel) that reports on its own."""
    time_ns: int
    """Corrected determination time; below the millisecond: digits from `seq`."""
    device_time_ns: int
    """What the device said; 0 where it said nothing."""
    received_ns: int
    seq: int
    """The device's sequence number, or a hash of the payload where the format has none."""
    values: dict[str, Value]
    """Valid and questionable values by vocabulary name, in the vocabulary's unit."""
    exceptions: dict[str, tuple[Quality, Value | None]] | None = None
    """What is not simply valid, by vocabulary name. questionable: the value is in `values` too.
    invalid: the value as sent, here only. no-value: None."""


class Waveform(Struct, frozen=True, array_like=True, gc=False):
    """One evenly sampled window of one waveform."""

    site: str
    device: str
    waveform: str
    """Vocabulary name."""
    time_ns: int
    """Corrected time of the first sample; below the millisecond: digits from `seq`."""
    received_ns: int
    seq: int
    rate: float
    """Samples a second."""
    scale: float
    offset: float
    unit: str
    """UCUM unit of sample * scale + offset."""
    samples: list[float | None]


class DeviceStatus(Struct, frozen=True, array_like=True, gc=False):
    """What state a device says it is in, or its last will."""

    site: str
    device: str
    time_ns: int
    received_ns: int
    state: Literal["online", "offline", "standby"]
    battery: float | None = None
    """Per cent."""
    firmware: str | None = None
    interval_s: float | None = None
    """Seconds between two observations that the device declares."""
    retained: bool = False


class DeviceAlarm(Struct, frozen=True, array_like=True, gc=False):
    """One alarm condition that a device raised or ended itself."""

    site: str
    device: str
    time_ns: int
    received_ns: int
    condition: str
    presence: Presence
    priority: Priority = "medium"
    kind: Kind = "technical"
    parameter: str | None = None
    text: str = ""


class Sighting(Struct, frozen=True, array_like=True, gc=False):
    """A beacon as one gateway heard it."""

    site: str
    gateway: str
    beacon: str
    time_ns: int
    received_ns: int
    rssi: int
    """dBm."""
    tx_power: int | None = None
    """dBm at 1 m."""
    battery: float | None = None
    """Per cent."""


class ZoneChange(Struct, frozen=True, array_like=True, gc=False):
    """A beacon came into a zone, or out of every gateway's hearing: what its history is made of."""

    site: str
    device: str
    """The beacon."""
    time_ns: int
    received_ns: int
    change: Literal["entered", "lost", "away"]
    zone: str | None = None
    """entered: the zone. lost: the zone of before. away: None."""


class Rejection(Struct, frozen=True, array_like=True, gc=False):
    """What of a message could not be used, and why. Kept, counted, told to the device, replayable."""

    topic: str
    payload: bytes
    """The whole payload as it came; only its beginning where `reason` says so."""
    path: str
    """Where in the payload, for instance `$.values.temperature`; `$` for the whole of it."""
    reason: str
    """What was wrong and what was expected. Holds no patient data."""
    received_ns: int
    site: str | None = None
    device: str | None = None


class Batch(Struct, array_like=True):
    """What the line made of one batch of messages: the unit that is journalled and acknowledged."""

    version: int
    received_ns: int
    readings: list[Reading]
    waveforms: list[Waveform]
    statuses: list[DeviceStatus]
    device_alarms: list[DeviceAlarm]
    sightings: list[Sighting]
    rejections: list[Rejection]
    zone_changes: list[ZoneChange] = []
    """Last, and none by default: a hub that knows nothing of them reads the rows, too."""

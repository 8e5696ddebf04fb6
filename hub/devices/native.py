"""Decoders of the native format: what is right in one typed pass, anything else by the careful reader.

The fast pass takes a message only if nothing in it needs a word: any doubt (a wrong type, an unknown name,
a key that may occur twice) leaves the whole message to `native_careful`, which refuses just the bad part.
The shapes are those of `hub/contracts/*.schema.json`.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hub.devices import native_careful
from hub.devices.decode import AlarmSent, Decode, Item, Observed, SightingSent, StatusSent, WaveformSent
from hub.devices.timestamp import NotATimeError, epoch_ns, rfc3339_ns
from hub.model import Kind, Presence, Priority
from hub.vocabulary import PARAMETERS

Time = int | str | None
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)] | None
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,62}$")]
Quality = Literal["valid", "questionable", "invalid"]
Percent = Annotated[float, Meta(ge=0, le=100)]

_NUMBERS: Final = frozenset(
    name for name, known in PARAMETERS.items() if known.kind != "waveform" and known.coded is None
)
_CODES: Final = {name: known.coded for name, known in PARAMETERS.items() if known.coded is not None}
_WAVEFORMS: Final = frozenset(name for name, known in PARAMETERS.items() if known.kind == "waveform")
_FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NotATimeError)


class _Observation(Struct, frozen=True, gc=False):
    values: Annotated[dict[str, float | None], Meta(min_length=1)]
    time: Time = None
    seq: Seq = None
    units: dict[str, str] | None = None
    quality: dict[str, Quality] | None = None


class _Coded(Struct, frozen=True, gc=False):
    values: Annotated[dict[str, float | str | None], Meta(min_length=1)]
    time: Time = None
    seq: Seq = None
    units: dict[str, str] | None = None
    quality: dict[str, Quality] | None = None


class _Waveform(Struct, frozen=True, gc=False):
    waveform: str
    rate: Annotated[float, Meta(gt=0, le=20_000)]
    samples: Annotated[list[float | None], Meta(min_length=1, max_length=20_000)]
    time: Time = None
    seq: Seq = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None


class _Alarm(Struct, frozen=True, gc=False):
    condition: Name
    state: Presence
    priority: Priority = "medium"
    kind: Kind = "technical"
    parameter: Name | None = None
    text: Annotated[str, Meta(max_length=200)] = ""


class _Alarms(Struct, frozen=True, gc=False):
    alarms: Annotated[list[_Alarm], Meta(min_length=1)]
    time: Time = None
    seq: Seq = None


class _Sighting(Struct, frozen=True, gc=False):
    beacon: Annotated[str, Meta(min_length=1, max_length=64)]
    rssi: Annotated[int, Meta(ge=-127, le=20)]
    tx_power: int | None = None
    battery: Percent | None = None


class _Sightings(Struct, frozen=True, gc=False):
    sightings: Annotated[list[_Sighting], Meta(min_length=1)]
    time: Time = None
    seq: Seq = None


class _Status(Struct, frozen=True, gc=False):
    state: Literal["online", "offline", "standby"]
    time: Time = None
    battery: Percent | None = None
    firmware: Annotated[str, Meta(max_length=64)] | None = None
    interval: Annotated[float, Meta(gt=0, le=86_400)] | None = None


class _Doubt(Exception):  # noqa: N818 - not an error: the careful reader will see
    """The fast pass can't vouch for this message."""


_observations: Final = msgspec.json.Decoder(_Observation).decode
_coded_observations: Final = msgspec.json.Decoder(_Coded | list[_Coded]).decode
_waveforms: Final = msgspec.json.Decoder(_Waveform | list[_Waveform]).decode
_alarms: Final = msgspec.json.Decoder(_Alarms | list[_Alarms]).decode
_sightings: Final = msgspec.json.Decoder(_Sightings | list[_Sightings]).decode
_status: Final = msgspec.json.Decoder(_Status).decode


def decode_observations(payload: bytes) -> list[Item]:
    """Decode the channel `observations`."""
    try:
        sent = _observations(payload)
        if _NUMBERS.issuperset(sent.values):
            if _keys(sent) != payload.count(b'":'):
                return native_careful.observations(payload)
            return [_observed(sent)]
    except _FAULTS:
        pass
    # Coded values, arrays and whatever is wrong.
    try:
        return _observed_many(_coded_observations(payload), payload)
    except (*_FAULTS, _Doubt):
        return native_careful.observations(payload)


def decode_waveforms(payload: bytes) -> list[Item]:
    """Decode the channel `waveforms`."""
    try:
        sent = _waveforms(payload)
        windows = sent if isinstance(sent, list) else [sent]
        if not windows or any(window.waveform not in _WAVEFORMS for window in windows):
            return native_careful.waveforms(payload)
        return [
            WaveformSent(
                window.waveform,
                window.rate,
                window.samples,
                _time_ns(window.time),
                _seq(window.seq),
                window.scale,
                window.offset,
                window.unit,
            )
            for window in windows
        ]
    except _FAULTS:
        return native_careful.waveforms(payload)


def decode_alarms(payload: bytes) -> list[Item]:
    """Decode the channel `alarms`."""
    try:
        sent = _alarms(payload)
        reports = sent if isinstance(sent, list) else [sent]
        items: list[Item] = []
        for report in reports:
            time_ns = _time_ns(report.time)
            for alarm in report.alarms:
                if alarm.parameter is not None and alarm.parameter not in PARAMETERS:
                    return native_careful.alarms(payload)
                items.append(
                    AlarmSent(
                        alarm.condition,
                        alarm.state,
                        alarm.priority,
                        alarm.kind,
                        alarm.parameter,
                        alarm.text,
                        time_ns,
                    )
                )
        return items or native_careful.alarms(payload)
    except _FAULTS:
        return native_careful.alarms(payload)


def decode_sightings(payload: bytes) -> list[Item]:
    """Decode the channel `sightings`."""
    try:
        sent = _sightings(payload)
        reports = sent if isinstance(sent, list) else [sent]
        items: list[Item] = []
        for report in reports:
            time_ns = _time_ns(report.time)
            items += [
                SightingSent(heard.beacon, heard.rssi, time_ns, heard.tx_power, heard.battery)
                for heard in report.sightings
            ]
        return items or native_careful.sightings(payload)
    except _FAULTS:
        return native_careful.sightings(payload)


def decode_status(payload: bytes) -> list[Item]:
    """Decode the channel `status`."""
    try:
        sent = _status(payload)
        time_ns = _time_ns(sent.time)
        return [StatusSent(sent.state, time_ns, sent.battery, sent.firmware, sent.interval)]
    except _FAULTS:
        return native_careful.status(payload)


DECODERS: Final[dict[str, Decode]] = {
    "native-observations": decode_observations,
    "native-waveforms": decode_waveforms,
    "native-alarms": decode_alarms,
    "native-sightings": decode_sightings,
    "native-status": decode_status,
}
"""The decoders that a definition may name in place of data."""


def _observed(sent: _Observation | _Coded) -> Observed:
    seq = sent.seq
    quality = sent.quality
    if quality is not None:
        quality = {name: grade for name, grade in quality.items() if grade != "valid"} or None
    return Observed(sent.values, _time_ns(sent.time), -1 if seq is None else seq, sent.units, quality)  # type: ignore[arg-type] # dict is invariant


def _observed_many(sent: _Coded | list[_Coded], payload: bytes) -> list[Item]:
    elements = sent if isinstance(sent, list) else [sent]
    if not elements or sum(map(_keys, elements)) != payload.count(b'":'):
        raise _Doubt
    for element in elements:
        if not all(_is_right(name, value) for name, value in element.values.items()):
            raise _Doubt
    observed = [_observed(element) for element in elements]
    # Two of one time and sequence number would be taken for one reading: the careful reader joins them.
    if len({(one.time_ns, one.seq) for one in observed}) != len(observed):
        raise _Doubt
    return list[Item](observed)


def _is_right(name: str, value: float | str | None) -> bool:
    if name in _NUMBERS:
        return not isinstance(value, str)
    codes = _CODES.get(name)
    return codes is not None and (value is None or value in codes)


def _keys(sent: _Observation | _Coded) -> int:
    """Count the keys of an observation: fewer than the payload has means an unknown one or one twice."""
    count = 1 + len(sent.values)
    if sent.time is not None:
        count += 1
    if sent.seq is not None:
        count += 1
    if sent.units is not None:
        count += 1 + len(sent.units)
    if sent.quality is not None:
        count += 1 + len(sent.quality)
    return count


def _time_ns(time: Time) -> int:
    if time is None:
        return 0
    return rfc3339_ns(time) if isinstance(time, str) else epoch_ns(time, "ms")


def _seq(seq: int | None) -> int:
    return -1 if seq is None else seq

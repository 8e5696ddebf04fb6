"""Decoders of the native format: what is right in one typed pass, anything else by the careful reader.

The fast pass takes a message only if nothing in it needs a word: any doubt (a wrong type, an unknown name,
a key that may occur twice) leaves the whole message to `native_careful`, which refuses just the bad part.
The shapes are those of `hub/contracts/*.schema.json`. The channels that are seldom used have no fast pass.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hub.devices import native_careful
from hub.devices.decode import Decode, Item, Observed, WaveformSent
from hub.devices.timestamp import NotATimeError, epoch_ns, rfc3339_ns
from hub.vocabulary import PARAMETERS

Time = int | str | None
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)] | None
Quality = Literal["valid", "questionable", "invalid"]

_NUMBERS: Final = frozenset(
    name for name, known in PARAMETERS.items() if known.kind != "waveform" and known.is_number
)
_TEXTS: Final = {name: known for name, known in PARAMETERS.items() if not known.is_number}
_UNITS: Final = {name: known.unit for name, known in PARAMETERS.items()}
_WAVEFORMS: Final = frozenset(name for name, known in PARAMETERS.items() if known.kind == "waveform")
_FAR_MS: Final = 2**43
"""The year 2248: times before it need no look at what the stores can hold."""
_FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NotATimeError)


class _Observation(Struct, frozen=True, gc=False):
    values: Annotated[dict[str, float | None], Meta(min_length=1)]
    time: Time = None
    seq: Seq = None
    units: dict[str, str] | None = None
    quality: dict[str, Quality] | None = None


class _Worded(Struct, frozen=True, gc=False):
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
    scale: float | None = None
    offset: float | None = None
    unit: str | None = None


class _Doubt(Exception):  # noqa: N818 - not an error: the careful reader will see
    """The fast pass can't vouch for this message."""


_observations: Final = msgspec.json.Decoder(_Observation).decode
_worded_observations: Final = msgspec.json.Decoder(_Worded | list[_Worded]).decode
_waveforms: Final = msgspec.json.Decoder(_Waveform | list[_Waveform]).decode


def decode_observations(payload: bytes) -> list[Item]:
    """Decode the channel `observations`."""
    try:
        sent = _observations(payload)
        if _NUMBERS.issuperset(sent.values):
            if _keys(sent) != payload.count(b'":'):
                return native_careful.observations(payload)
            time, seq = sent.time, sent.seq
            if (
                type(time) is int
                and 0 < time < _FAR_MS
                and seq is not None
                and sent.units is None
                and sent.quality is None
            ):  # what nearly all devices send
                return [Observed(sent.values, time * 1_000_000, seq)]  # type: ignore[arg-type] # dict is invariant
            return [_observed(sent)]
    except _FAULTS:
        pass
    # Texts, arrays and whatever is wrong.
    try:
        return _observed_many(_worded_observations(payload), payload)
    except (*_FAULTS, _Doubt):
        return native_careful.observations(payload)


def decode_waveforms(payload: bytes) -> list[Item]:
    """Decode the channel `waveforms`."""
    try:
        sent = _waveforms(payload)
        windows = sent if isinstance(sent, list) else [sent]
        if not windows or sum(map(_members, windows)) != payload.count(b'":'):
            return native_careful.waveforms(payload)
        return [_window(window) for window in windows]
    except (*_FAULTS, _Doubt):
        return native_careful.waveforms(payload)


DECODERS: Final[dict[str, Decode]] = {
    "native-observations": decode_observations,
    "native-waveforms": decode_waveforms,
    "native-alarms": native_careful.alarms,
    "native-sightings": native_careful.sightings,
    "native-status": native_careful.status,
}
"""The decoders that a definition may name in place of data."""


def _observed(sent: _Observation | _Worded) -> Observed:
    seq = sent.seq
    quality = sent.quality
    if quality is not None:
        quality = {name: grade for name, grade in quality.items() if grade != "valid"} or None
    units = sent.units
    if units is not None:
        units = {name: unit for name, unit in units.items() if unit != _UNITS.get(name)} or None
    return Observed(sent.values, _time_ns(sent.time), -1 if seq is None else seq, units, quality)  # type: ignore[arg-type] # dict is invariant


def _observed_many(sent: _Worded | list[_Worded], payload: bytes) -> list[Item]:
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
    known = _TEXTS.get(name)
    return known is not None and (value is None or (isinstance(value, str) and known.holds(value)))


def _window(sent: _Waveform) -> WaveformSent:
    if sent.waveform not in _WAVEFORMS:
        raise _Doubt
    return WaveformSent(
        sent.waveform,
        sent.rate,
        sent.samples,
        _time_ns(sent.time),
        -1 if sent.seq is None else sent.seq,
        1.0 if sent.scale is None else sent.scale,
        0.0 if sent.offset is None else sent.offset,
        sent.unit,
    )


def _keys(sent: _Observation | _Worded) -> int:
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


def _members(sent: _Waveform) -> int:
    optional = (sent.time, sent.seq, sent.scale, sent.offset, sent.unit)
    return 3 + sum(member is not None for member in optional)


def _time_ns(time: Time) -> int:
    if time is None:
        return 0
    return rfc3339_ns(time) if isinstance(time, str) else epoch_ns(time, "ms")

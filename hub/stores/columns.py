"""Readings as columns of numbers and back: what a column store takes in and gives out."""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from msgspec import json

from hub.model import DeviceAlarm, DeviceStatus, Quality, Reading, Sighting, Value, Waveform, ZoneChange
from hub.stores.samples import pack
from hub.stores.store import StoreRefused
from hub.vocabulary import PARAMETERS

T = TypeVar("T")

Columns = dict[str, "np.ndarray[Any, Any]"]
"""Arrays of one length. Times are split: `_time_ms`, and `_sub` for the digits below (ns).

A reading's `_sub` is what they differ from the last six digits of `_seq`.
"""

Key = Callable[[str], int]
DeviceKey = Callable[[str, str], int]

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a vocabulary name looks like; the store's own columns begin with an underscore."""

_exceptions = json.Decoder(dict[str, tuple[Quality, Value | None]])


def text(name: str, value: Value | None = None) -> bool:
    """Tell whether a parameter holds texts; of a name that the vocabulary lacks, the value decides."""
    parameter = PARAMETERS.get(name)
    return isinstance(value, str) if parameter is None else not parameter.is_number


def reading_columns(
    readings: Sequence[Reading], device: DeviceKey, name: Key
) -> tuple[Columns, dict[str, bool]]:
    """Return columns of distinct readings, and of each parameter's column whether it holds text.

    The first of two with one identity is kept. Raises StoreRefused where a value doesn't fit its column.
    """
    devices = [device(r.site, r.device) for r in readings]
    channels = [name(r.channel) for r in readings]
    times = [r.time_ns for r in readings]
    identities = dict.fromkeys(zip(devices, channels, times, strict=True))
    if len(identities) < len(readings):
        once = distinct(readings, lambda r: (r.site, r.device, r.channel, r.time_ns))
        return reading_columns(once, device, name)
    values = [r.values for r in readings]
    parameters: dict[str, Value] = {}
    for sent in values:
        parameters |= sent
    texts = {parameter: text(parameter, value) for parameter, value in parameters.items()}
    time_ns = _integers(times)
    device_time_ns = _integers([r.device_time_ns for r in readings])
    ms, seq = time_ns // 1_000_000, _integers([r.seq for r in readings])
    columns: Columns = {
        "_device": np.array(devices, np.int32),
        "_channel": np.array(channels, np.int32),
        "_time_ms": ms,
        # All three compress to next to nothing: the digits below the millisecond are those of the sequence,
        # a device's clock offset stays, and so does, nearly, the time that a message takes.
        "_sub": (time_ns % 1_000_000 - np.fmod(seq, 1_000_000)).astype(np.int32),
        "_received": _integers([r.received_ns for r in readings]) - time_ns,
        "_device_time": np.ma.array(ms * 1_000_000 - device_time_ns, mask=device_time_ns == 0),
        "_seq": seq,
    }
    for parameter, is_text in texts.items():
        columns[parameter] = _values([sent.get(parameter) for sent in values], parameter, is_text)
    if any(r.exceptions for r in readings):
        columns["_exceptions"] = _objects(
            [json.encode(r.exceptions).decode() if r.exceptions else None for r in readings]
        )
    return columns, texts


def readings_from(rows: Iterable[Sequence[Any]], parameters: Sequence[str]) -> list[Reading]:
    """Return readings from rows of site, device, channel, the columns below, and the parameters.

    `_time_ms`, the digits below it (ns), and then as `reading_columns` makes them: `_received`,
    `_device_time`, `_seq`, `_exceptions`.
    """
    found = []
    for site, device, channel, ms, sub, received, device_time, seq, exceptions, *values in rows:
        time_ns = ms * 1_000_000 + sub
        present = {p: v for p, v in zip(parameters, values, strict=True) if v is not None}
        found.append(
            Reading(
                site,
                device,
                channel,
                time_ns,
                0 if device_time is None else ms * 1_000_000 - device_time,
                time_ns + received,
                seq,
                present,
                _exceptions.decode(exceptions) if exceptions else None,
            )
        )
    return found


def distinct(items: Sequence[T], identity: Callable[[T], Hashable]) -> list[T]:
    """Return the first item of each identity, in order."""
    first: dict[Hashable, T] = {}
    for item in items:
        first.setdefault(identity(item), item)
    return list(first.values())


def waveform_columns(waveforms: Sequence[Waveform], device: DeviceKey, name: Key) -> Columns:
    """Return columns of waveform windows."""
    columns = _at([(w.site, w.device, w.time_ns, w.received_ns) for w in waveforms], device)
    return columns | {
        "_waveform": np.array([name(w.waveform) for w in waveforms], np.int32),
        "_seq": _integers([w.seq for w in waveforms]),
        "_rate": np.array([w.rate for w in waveforms], np.float64),
        "_scale": np.array([w.scale for w in waveforms], np.float64),
        "_offset": np.array([w.offset for w in waveforms], np.float64),
        "_unit": _objects([w.unit for w in waveforms]),
        "_samples": _objects([pack(w.samples) for w in waveforms]),
    }


def status_columns(statuses: Sequence[DeviceStatus], device: DeviceKey) -> Columns:
    """Return columns of device states."""
    columns = _at([(s.site, s.device, s.time_ns, s.received_ns) for s in statuses], device)
    return columns | {
        "_state": _objects([s.state for s in statuses]),
        "_battery": np.array([s.battery for s in statuses], np.float64),
        "_firmware": _objects([s.firmware for s in statuses]),
        "_interval_s": np.array([s.interval_s for s in statuses], np.float64),
        "_retained": np.array([s.retained for s in statuses], np.bool_),
    }


def alarm_columns(alarms: Sequence[DeviceAlarm], device: DeviceKey) -> Columns:
    """Return columns of devices' own alarm conditions."""
    columns = _at([(a.site, a.device, a.time_ns, a.received_ns) for a in alarms], device)
    return columns | {
        "_condition": _objects([a.condition for a in alarms]),
        "_presence": _objects([a.presence for a in alarms]),
        "_priority": _objects([a.priority for a in alarms]),
        "_kind": _objects([a.kind for a in alarms]),
        "_parameter": _objects([a.parameter for a in alarms]),
        "_text": _objects([a.text for a in alarms]),
    }


def sighting_columns(sightings: Sequence[Sighting], device: DeviceKey) -> Columns:
    """Return columns of beacons heard; `_device` is the gateway."""
    columns = _at([(s.site, s.gateway, s.time_ns, s.received_ns) for s in sightings], device)
    return columns | {
        "_beacon": _objects([s.beacon for s in sightings]),
        "_rssi": np.array([s.rssi for s in sightings], np.int32),
        "_tx_power": np.array([s.tx_power for s in sightings], np.float64),
        "_battery": np.array([s.battery for s in sightings], np.float64),
    }


def zone_change_columns(changes: Sequence[ZoneChange], device: DeviceKey) -> Columns:
    """Return columns of changes of zone; `_device` is the beacon."""
    columns = _at([(c.site, c.device, c.time_ns, c.received_ns) for c in changes], device)
    return columns | {
        "_change": _objects([c.change for c in changes]),
        "_zone": _objects([c.zone for c in changes]),
    }


def _at(items: Sequence[tuple[str, str, int, int]], device: DeviceKey) -> Columns:
    """Return the columns that every kind has, from site, device, time and receipt (ns)."""
    time_ns = _integers([item[2] for item in items])
    return {
        "_device": np.array([device(item[0], item[1]) for item in items], np.int32),
        "_time_ms": time_ns // 1_000_000,
        "_sub": (time_ns % 1_000_000).astype(np.int32),
        "_received": _integers([item[3] for item in items]) - time_ns,
    }


def _integers(values: Sequence[int]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    try:
        return np.array(values, np.int64)
    except OverflowError as error:
        raise StoreRefused("a time or sequence number is beyond 64 bits") from error


def _objects(values: Sequence[str | bytes | None]) -> "np.ndarray[Any, Any]":
    return np.array([*values, None], object)[:-1]  # the None keeps numpy from looking into the values


def _values(values: Sequence[Value | None], parameter: str, is_text: bool) -> "np.ndarray[Any, Any]":
    if NAME.fullmatch(parameter) is None:
        raise StoreRefused(f"{parameter[:64]!r} is no vocabulary name")
    if is_text:
        if not all(value is None or isinstance(value, str) for value in values):
            raise StoreRefused(f"{parameter} holds text, found a number")
        return _objects(values)  # type: ignore[arg-type]  # strings, as just seen
    try:
        return np.array(values, np.float64)
    except ValueError as error:
        raise StoreRefused(f"{parameter} is a number, found text") from error

"""InfluxDB line protocol: every kind of item as one line with nanoseconds, and names back from tags. Pure.

Tags are site and device, and the channel where it isn't `observations`; a reading has one field a parameter,
always of one type: numbers are floats, codes strings. What isn't simply valid has `<parameter>__quality`
(1 questionable, 2 invalid, 3 no value); the number of an invalid value is in `<parameter>__invalid`, never in
the parameter's own field. `meta__*` are integers: sequence number, receipt minus time, time minus what the
device said (ns).
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from hub.model import (
    Batch,
    DeviceAlarm,
    DeviceStatus,
    Quality,
    Reading,
    Sighting,
    Value,
    Waveform,
    ZoneChange,
)
from hub.stores.samples import pack, unpack
from hub.stores.store import StoreRefused
from hub.vocabulary import PARAMETERS

MILLISECOND_NS = 1_000_000
OBSERVATIONS = "observations"

CODES: dict[Quality, int] = {"questionable": 1, "invalid": 2, "no-value": 3}
QUALITIES: dict[int, Quality] = {code: quality for quality, code in CODES.items()}

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TEXT = {name for name, parameter in PARAMETERS.items() if not parameter.is_number}
_NUMBERS = {name: f"{name}=" for name in PARAMETERS if name not in _TEXT}
"""Field keys of known numbers. Names of the vocabulary need no escapes."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\%]")
_ENCODED = re.compile(r"%([0-9A-F]{2})")
_TAG = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_EMPTY = "%"


_QUOTED = str.maketrans({"\\": r"\\", '"': r"\""})


def encode(name: str) -> str:
    r"""Return a name as a tag can carry it; `decode` undoes it.

    Line protocol has no way to write control characters and a closing backslash: they become %XX, as does %
    itself. An empty name becomes %.
    """
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name) or _EMPTY


def decode(encoded: str) -> str:
    """Undo `encode`."""
    return "" if encoded == _EMPTY else _ENCODED.sub(lambda found: chr(int(found[1], 16)), encoded)


def tag(name: str) -> str:
    """Return a tag's value, encoded and escaped."""
    return encode(name).translate(_TAG)


def quote(value: str) -> str:
    """Return a string field's value; a control character becomes a space: some readers split at line ends."""
    return '"' + _CONTROL.sub(" ", value).translate(_QUOTED) + '"'


class Lines:
    """Renders batches; remembers what begins each device's lines.

    `numbers_only`: without waveforms and without string fields, which VictoriaMetrics would take for zeros.
    """

    def __init__(self, *, numbers_only: bool = False) -> None:
        self._numbers_only = numbers_only
        self._heads: dict[tuple[str, str, str], str] = {}

    def render(self, batches: Iterable[Batch]) -> list[str]:
        """Return a line an item. Raises StoreRefused for what has no place in the measurements."""
        lines: list[str] = []
        for batch in batches:
            lines += [self.reading(reading) for reading in batch.readings]
            if not self._numbers_only:
                lines += [waveform_line(waveform) for waveform in batch.waveforms]
            lines += [status_line(status, self._numbers_only) for status in batch.statuses]
            lines += [alarm_line(alarm, self._numbers_only) for alarm in batch.device_alarms]
            lines += [sighting_line(sighting) for sighting in batch.sightings]
            lines += [zone_change_line(change) for change in batch.zone_changes]
        return lines

    def reading(self, reading: Reading) -> str:
        """Return the line of a reading."""
        key = (reading.site, reading.device, reading.channel)
        head = self._heads.get(key)
        if head is None:
            head = self._head(key)
        time_ns = reading.time_ns
        numbers = _NUMBERS
        try:
            fields = [
                numbers[name] + repr(value) if value.__class__ is float else _field(name, value)
                for name, value in reading.values.items()
            ]
        except KeyError:  # a name that the vocabulary lacks
            fields = [_field(name, value) for name, value in reading.values.items()]
        if reading.exceptions:
            fields += _exceptions(reading.exceptions)
        if self._numbers_only:
            fields = [field for field in fields if field[-1] != '"']
        fields.append(f"meta__seq={reading.seq}i,meta__received={reading.received_ns - time_ns}i")
        told = reading.device_time_ns
        if told:
            fields.append(f"meta__device_time={time_ns // MILLISECOND_NS * MILLISECOND_NS - told}i")
        return f"{head} {','.join(fields)} {time_ns}"

    def _head(self, key: tuple[str, str, str]) -> str:
        site, device, channel = key
        head = f"vitals,device={tag(device)},site={tag(site)}"
        if channel != OBSERVATIONS:
            head = f"vitals,channel={tag(channel)},device={tag(device)},site={tag(site)}"
        if len(self._heads) > 100_000:
            self._heads.clear()
        self._heads[key] = head
        return head


def _field(name: str, value: Value, suffix: str = "") -> str:
    parameter = PARAMETERS.get(name)
    if parameter is None and NAME.fullmatch(name) is None:
        raise StoreRefused(f"{name[:64]!r} is no vocabulary name")
    is_text = isinstance(value, str)
    if parameter is not None and is_text != (name in _TEXT):
        raise StoreRefused(
            f"{name} holds {'text, found a number' if name in _TEXT else 'a number, found text'}"
        )
    return f"{name}{suffix}={quote(value) if isinstance(value, str) else repr(float(value))}"


def _exceptions(exceptions: Mapping[str, tuple[Quality, Value | None]]) -> Iterable[str]:
    for name, (quality, value) in exceptions.items():
        if NAME.fullmatch(name) is None:
            raise StoreRefused(f"{name[:64]!r} is no vocabulary name")
        yield f"{name}__quality={CODES[quality]}i"
        if quality == "invalid" and value is not None:
            yield _field(name, value, "__invalid")


def waveform_line(waveform: Waveform) -> str:
    """Return the line of a window; its samples are base64 of `samples.pack`."""
    w = waveform
    return (
        f"waveforms,device={tag(w.device)},site={tag(w.site)},waveform={tag(w.waveform)}"
        f" rate={float(w.rate)!r},scale={float(w.scale)!r},offset={float(w.offset)!r},unit={quote(w.unit)},"
        f'samples="{b64encode(pack(w.samples)).decode()}",'
        f"meta__seq={w.seq}i,meta__received={w.received_ns - w.time_ns}i {w.time_ns}"
    )


def status_line(status: DeviceStatus, numbers_only: bool = False) -> str:
    """Return the line of a device's state; `online` is a number, to be drawn."""
    s = status
    fields = [f"online={int(s.state == 'online')}i", f"retained={'true' if s.retained else 'false'}"]
    if s.battery is not None:
        fields.append(f"battery={float(s.battery)!r}")
    if s.interval_s is not None:
        fields.append(f"interval_s={float(s.interval_s)!r}")
    fields.append(f"meta__received={s.received_ns - s.time_ns}i")
    if not numbers_only:
        fields.append(f"state={quote(s.state)}")
        if s.firmware is not None:
            fields.append(f"firmware={quote(s.firmware)}")
    return f"status,device={tag(s.device)},site={tag(s.site)} {','.join(fields)} {s.time_ns}"


def alarm_line(alarm: DeviceAlarm, numbers_only: bool = False) -> str:
    """Return the line of a device's own alarm condition; `present` is a number, to be drawn."""
    a = alarm
    fields = [f"present={int(a.presence == 'present')}i", f"meta__received={a.received_ns - a.time_ns}i"]
    if not numbers_only:
        fields += [f"priority={quote(a.priority)}", f"kind={quote(a.kind)}", f"text={quote(a.text)}"]
        if a.parameter is not None:
            fields.append(f"parameter={quote(a.parameter)}")
    tags = f"condition={tag(a.condition)},device={tag(a.device)},presence={a.presence},site={tag(a.site)}"
    return f"device_alarm,{tags} {','.join(fields)} {a.time_ns}"


def sighting_line(sighting: Sighting) -> str:
    """Return the line of a beacon heard; `device` is the gateway."""
    s = sighting
    fields = [f"rssi={s.rssi}i"]
    if s.tx_power is not None:
        fields.append(f"tx_power={s.tx_power}i")
    if s.battery is not None:
        fields.append(f"battery={float(s.battery)!r}")
    fields.append(f"meta__received={s.received_ns - s.time_ns}i")
    head = f"sighting,beacon={tag(s.beacon)},device={tag(s.gateway)},site={tag(s.site)}"
    return f"{head} {','.join(fields)} {s.time_ns}"


def zone_change_line(change: ZoneChange) -> str:
    """Return the line of a change of zone; `device` is the beacon, `in_zone` a number, to be drawn."""
    c = change
    zone = "" if c.zone is None else f",zone={tag(c.zone)}"
    head = f"zone_change,change={c.change},device={tag(c.device)},site={tag(c.site)}{zone}"
    fields = f"in_zone={int(c.change == 'entered')}i,meta__received={c.received_ns - c.time_ns}i"
    return f"{head} {fields} {c.time_ns}"


def zone_change_from(
    site: str, device: str, time_ns: int, tags: Mapping[str, Any], received_ns: int
) -> ZoneChange:
    """Return the change of a line's tags."""
    zone = tags.get("zone")
    return ZoneChange(
        site, device, time_ns, received_ns, tags["change"], None if zone is None else decode(zone)
    )


def reading_from(
    site: str, device: str, channel: str | None, time_ns: int, fields: Mapping[str, Any]
) -> Reading:
    """Return the reading of a line's fields; None stands for a field that the line doesn't have."""
    values: dict[str, Value] = {}
    codes: dict[str, int] = {}
    invalid: dict[str, Value] = {}
    for key, value in fields.items():
        if value is None or key.startswith("meta__"):
            continue
        name, _, what = key.partition("__")
        if what == "quality":
            codes[name] = int(value)
            continue
        into = invalid if what == "invalid" else values
        into[name] = value if isinstance(value, str) else float(value)
    exceptions: dict[str, tuple[Quality, Value | None]] = {}
    for name, code in codes.items():
        quality = QUALITIES[code]
        exceptions[name] = (quality, {"questionable": values, "invalid": invalid}.get(quality, {}).get(name))
    told = fields.get("meta__device_time")
    return Reading(
        site,
        device,
        OBSERVATIONS if channel is None else decode(channel),
        time_ns,
        0 if told is None else time_ns // MILLISECOND_NS * MILLISECOND_NS - int(told),
        time_ns + int(fields.get("meta__received") or 0),
        int(fields.get("meta__seq") or 0),
        values,
        exceptions or None,
    )


def waveform_from(site: str, device: str, waveform: str, time_ns: int, fields: Mapping[str, Any]) -> Waveform:
    """Return the window of a line's fields."""
    return Waveform(
        site,
        device,
        waveform,
        time_ns,
        time_ns + fields["meta__received"],
        fields["meta__seq"],
        float(fields["rate"]),
        float(fields["scale"]),
        float(fields["offset"]),
        fields["unit"],
        unpack(b64decode(fields["samples"])),
    )

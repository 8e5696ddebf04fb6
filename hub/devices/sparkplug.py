"""Sparkplug B: protobuf payloads whose metrics are named at birth and by alias afterwards.

Eclipse Sparkplug 3.0.0, sections 5 (messages) and 6 (payloads). What comes out of a message:

    {"type": "DDATA", "time": ms, "seq": …, "devices": [{"id"}],
     "metrics": [{"name", "time": ms, "value", "grade", "unit", "historical"}]}

Metrics of the node's own control and `bdSeq` are left out. `devices` are those that a death ends. `grade` is
the property `Quality` (192 good, 0 bad, 500 stale), `unit` the property `engUnit`.
"""

import struct
from collections.abc import Iterator
from typing import Final

from hub.devices.births import Birth, Births, Key
from hub.devices.payload import UnreadableError, Unusable

Fields = dict[int, list[int | bytes]]
"""What a protobuf message holds, by tag: the field's number times 8, and its wire type."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
"""Bits of the signed integer types: they are sent as their two's complement."""
_BOOLEAN: Final = 11
_SCALARS: Final = range(1, 16)
_GRADES: Final = {192: "valid", 500: "no-value", 0: "invalid"}
_CONTROL: Final = ("Node Control/", "Device Control/", "Node Info/")
_DEATH: Final = "bdSeq"
_MAX_METRICS: Final = 10_000


class Parser:
    """Reads what comes on one topic, and notes births, gaps and deaths."""

    def __init__(self, topic: str, births: Births) -> None:
        levels = topic.split("/")
        self._type = levels[2]
        self._group, self._node = levels[1], levels[3]
        self._device = levels[4] if len(levels) > 4 else ""
        self._births = births

    def parse(self, payload: bytes) -> object:
        """Read one message. Raises UnreadableError."""
        fields = _fields(payload)
        time_ms, seq = _integer(fields, 1), _integer(fields, 3)
        sent = fields.get(2 << 3 | _BYTES, [])
        if len(sent) > _MAX_METRICS:
            raise UnreadableError(f"has more than {_MAX_METRICS} metrics: publish them in several messages")
        metrics = [_fields(one) for one in sent if isinstance(one, bytes)]
        key = (self._group, self._node, self._device)
        root: dict[str, object] = {
            "type": self._type,
            "time": time_ms,
            "seq": seq,
            "metrics": [],
            "devices": [],
        }
        if self._type == "NDEATH":
            root["devices"] = [{"id": device} for device in self._dead(metrics)]
            return root
        if self._type == "DDEATH":
            root["devices"] = [{"id": _id(self._group, self._node, self._device)}]
        if self._type in ("NBIRTH", "DBIRTH"):
            self._births.add(key, _birth(metrics, time_ms or 0))
        if seq is not None:
            self._births.follows(self._group, self._node, time_ms or 0, seq, born=self._type == "NBIRTH")
        if metrics:
            root["metrics"] = list(self._metrics(key, metrics, time_ms))
        return root

    def _dead(self, metrics: list[Fields]) -> Iterator[str]:
        """Return the devices that a node's last will ends: none where it belongs to an earlier birth."""
        births = self._births.of((self._group, self._node, ""))
        will = next((_integer(one, 11, 10) for one in metrics if _text(one, 1) == _DEATH), None)
        if births and will is not None and births[-1].death not in (-1, will):
            return
        yield _id(self._group, self._node)
        for device in self._births.devices(self._group, self._node):
            yield _id(self._group, self._node, device)

    def _metrics(self, key: Key, metrics: list[Fields], time_ms: int | None) -> Iterator[dict[str, object]]:
        births = [self._births.at(key, time_ms or 0)]
        if self._device:
            births.append(self._births.at((self._group, self._node, ""), time_ms or 0))
        known = [birth for birth in births if birth is not None]
        for fields in metrics:
            name = _name(fields, known)
            if name is None:
                self._births.want(self._group, self._node)
                unnamed = Unusable("its alias was named by no birth: the node is asked for a rebirth")
                yield {"name": unnamed, "value": unnamed}
                continue
            if name == _DEATH or name.startswith(_CONTROL):
                continue
            kind = _integer(fields, 4)
            if kind is None:
                kind = next((birth.types[name] for birth in known if name in birth.types), None)
            properties = _properties(fields)
            found: dict[str, object] = {
                "name": name,
                "time": _integer(fields, 3) or time_ms,
                "value": None if _integer(fields, 7) else _value(fields, kind),
                "grade": _GRADES.get(quality, "questionable")
                if isinstance(quality := properties.get("Quality", 192), int)
                else "questionable",
                "historical": bool(_integer(fields, 5)),
            }
            if unit := properties.get("engUnit"):
                found["unit"] = unit
            yield found


def rebirth_command(now_ms: int) -> bytes:
    """Return the payload that asks a node, on its NCMD topic, to publish its births again."""
    metric = _string(1, b"Node Control/Rebirth") + _tagged(3, now_ms) + _tagged(4, _BOOLEAN) + _tagged(14, 1)
    return _tagged(1, now_ms) + _string(2, metric)


def _id(*parts: str) -> str:
    return "__".join(part for part in parts if part)


def _birth(metrics: list[Fields], time_ms: int) -> Birth:
    names: dict[int, str] = {}
    types: dict[str, int] = {}
    death = -1
    for fields in metrics:
        name, alias, kind = _text(fields, 1), _integer(fields, 2), _integer(fields, 4)
        if not name:
            continue
        if name == _DEATH:
            number = _integer(fields, 11, 10)
            death = -1 if number is None else number
        if alias is not None:
            names[alias] = name
        if kind is not None:
            types[name] = kind
    return Birth(time_ms, death, names, types)


def _name(fields: Fields, births: list[Birth]) -> str | None:
    name = _text(fields, 1)
    if name:
        return name
    alias = _integer(fields, 2)
    if alias is None:
        return None
    return next((birth.names[alias] for birth in births if alias in birth.names), None)


def _value(fields: Fields, kind: int | None) -> object:
    """Return the value of a metric or of a property: a number, a flag, a text, or why it is none."""
    if kind is not None and kind not in _SCALARS:
        return Unusable("a value of several parts: publish each as a metric of its own")
    single = fields.get(12 << 3 | _FIXED32, [None])[-1]
    if isinstance(single, int):
        return _float32(single)
    double = fields.get(13 << 3 | _FIXED64, [None])[-1]
    if isinstance(double, int):
        return struct.unpack("<d", double.to_bytes(8, "little"))[0]
    flag = _integer(fields, 14)
    if flag is not None:
        return bool(flag)
    text = _bytes(fields, 15)
    if text is not None:
        return _decoded(text)
    whole = _integer(fields, 10, 11)
    if whole is None:
        return Unusable("no value: set is_null where there is none")
    bits = _SIGNED.get(kind or 0)
    if bits is None:
        return whole
    whole &= (1 << bits) - 1
    return whole - (1 << bits) if whole >> (bits - 1) else whole


def _properties(fields: Fields) -> dict[str, object]:
    """Return the scalar properties of a metric."""
    sent = _bytes(fields, 9)
    if sent is None:
        return {}
    of_set = _fields(sent)
    keys = [_decoded(key) for key in of_set.get(1 << 3 | _BYTES, []) if isinstance(key, bytes)]
    found: dict[str, object] = {}
    for key, value in zip(keys, of_set.get(2 << 3 | _BYTES, []), strict=False):
        if isinstance(value, bytes) and isinstance(key, str):
            inner = _fields(value)
            # The same members as a metric's, numbered from 3 (int, long, float, double, boolean, string).
            as_metric: Fields = {tag + (7 << 3): one for tag, one in inner.items() if 3 <= tag >> 3 <= 8}
            found[key] = None if _integer(inner, 2) else _value(as_metric, _integer(inner, 1))
    return found


def _float32(bits: int) -> float:
    """Return the shortest number that is this float32: 36.8, not 36.79999923706055."""
    raw = bits.to_bytes(4, "little")
    value: float = struct.unpack("<f", raw)[0]
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == raw:
                return short
        except OverflowError:
            break
    return value


def _decoded(text: bytes) -> str | Unusable:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return Unusable("a text that is not UTF-8")


def _text(fields: Fields, number: int) -> str:
    sent = _bytes(fields, number)
    decoded = _decoded(sent) if sent else ""
    return decoded if isinstance(decoded, str) else ""


def _bytes(fields: Fields, number: int) -> bytes | None:
    sent = fields.get(number << 3 | _BYTES, [None])[-1]
    return sent if isinstance(sent, bytes) else None


def _integer(fields: Fields, *numbers: int) -> int | None:
    for number in numbers:
        sent = fields.get(number << 3, [None])[-1]
        if isinstance(sent, int):
            return sent
    return None


def _fields(message: bytes) -> Fields:
    """Take a protobuf message apart. Raises UnreadableError."""
    fields: Fields = {}
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        wire = tag & 7
        if tag < 8:
            raise UnreadableError(f"is not Sparkplug B: a field without a number at byte {at}")
        value: int | bytes
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _BYTES:
            size, at = _varint(message, at)
            value = message[at : at + size]
            at += size
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
            value = int.from_bytes(message[at : at + size], "little")
            at += size
        else:
            raise UnreadableError(f"is not Sparkplug B: a field of wire type {wire} at byte {at}")
        if at > end:
            raise UnreadableError("is not Sparkplug B: it ends within a field")
        fields.setdefault(tag, []).append(value)
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise UnreadableError("is not Sparkplug B: a number without an end")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def _tagged(number: int, value: int) -> bytes:
    return _written(number << 3 | _VARINT) + _written(value)


def _string(number: int, value: bytes) -> bytes:
    return _written(number << 3 | _BYTES) + _written(len(value)) + value


def _written(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)

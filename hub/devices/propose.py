"""Proposes a definition from sample payloads, for a person to finish: behind `hub devices new`.

Names of fields are guessed by what vendors call them, times and devices by how they look. Every guess is
marked, and what nothing was guessed for is listed.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from hub.devices.payload import parse
from hub.mqtt.topics import TopicPattern
from hub.vocabulary import PARAMETERS, VOCABULARY, by_mdc, by_mdc_name

_PARAMETERS: Final = (
    (r"dia(?:stolic)?|bp_?low|ndia", "nibp_diastolic"),
    (r"sys(?:tolic)?|bp_?high|nsys", "nibp_systolic"),
    (r"map|mean", "nibp_mean"),
    (r"etco2", "etco2"),
    (r"fio2", "fio2"),
    (r"sp_?o2|sat_?o2|saturation|oxygen_?saturation", "spo2"),
    (r"(?:pulse|puls)(?:_?rate)?|pr", "pulse_rate"),
    (r"(?:heart|cardiac|ecg)_?rate|hr|heart", "heart_rate"),
    (r"resp(?:iration|iratory)?(?:_?rate)?|rr", "respiratory_rate"),
    (r"(?:room|ambient)_?temp(?:erature)?", "ambient_temperature"),
    (r"(?:body_?)?temp(?:erature)?(?:_?\d|_?c|_?f)?|t1", "temperature"),
    (r"humidity", "ambient_humidity"),
    (r"(?:blood_?)?glucose|sugar", "glucose_capillary"),
    (r"cvp", "cvp"),
    (r"peep", "peep"),
    (r"(?:infusion|flow)_?rate.*", "pump_flow_rate"),
    (r"volume_?infused.*", "pump_volume_infused"),
    (r"(?:volume_?)?remaining.*", "pump_volume_remaining"),
    (r"drip_?rate", "drip_rate"),
    (r"batt(?:ery)?.*", "battery"),
    (r"(?:body_?)?weight", "body_weight"),
)
_TIME: Final = re.compile(r"(?:.*_)?(?:date_?time|time_?stamp|time|date|ts|at)(?:_utc)?")
_DEVICE: Final = re.compile(
    r"(?:.*_)?(?:device_?id|deviceid|device|serial(?:_?n.*)?|mac|imei|monitor_?id|sn)"
)
_NAME: Final = re.compile(r".*(?:name|code|type|param(?:eter)?|id|observation.*|attribute|key)")
_UNIT: Final = re.compile(r".*units?")
_STYLES: Final = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)", ""),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?", 'zone = "site"'),
    (
        r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d\.\d+",
        'style = "strptime", pattern = "%d-%m-%Y %H:%M:%S.%f", zone = "site"',
    ),
    (r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d", 'style = "strptime", pattern = "%d-%m-%Y %H:%M:%S", zone = "site"'),
    (r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d", 'style = "strptime", pattern = "%d.%m.%Y %H:%M:%S", zone = "site"'),
    (r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", 'style = "strptime", pattern = "%d/%m/%Y %H:%M:%S", zone = "site"'),
    (r"\d{14}(?:\.\d+)?(?:[+-]\d{4})?", 'style = "hl7", zone = "site"'),
    (r"\d{9,10}(?:\.\d+)?", 'style = "s"'),
    (r"\d{12,13}", 'style = "ms"'),
    (r"\d{15,16}", 'style = "us"'),
    (r"\d{18,19}", 'style = "ns"'),
)
_NO_VALUES: Final = ("-", "--", "---", "", "NaN", "null", "N/A", "-999", "-99.9", "-32768")
_NUMBER: Final = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*")

Object = dict[str, object]


class _Leaf(Struct, frozen=True):
    """One place of a record that holds something, with all that the samples hold there."""

    path: str
    name: str
    """Its last name, in small letters with _ between words."""
    values: list[object]

    @property
    def numeric(self) -> bool:
        """Whether it holds a number in some sample."""
        return any(_is_number(value) for value in self.values)


def propose(payloads: Sequence[bytes], topic: str, title: str) -> str:
    """Return a definition as TOML text. Raises UnreadableError for a sample that is no JSON.

    `topic` is a pattern, `{device}` where the topic names the device.
    """
    each, records = _records([parse(payload) for payload in payloads])
    leaves = _leaves(records)
    lines = [
        "# Proposed from samples. Lines with `guess` need a person: the right parameter, the right unit?",
        "",
        f"title = {_text(title)}",
        'source = "say where the format is described, and what it was tried on"',
        "interval_s = 60 # guess: seconds between two messages of a device",
    ]
    if any(isinstance(value, str) and _NUMBER.fullmatch(value) for leaf in leaves for value in leaf.values):
        lines.append("text_numbers = true")
    found = [text for text in _NO_VALUES if any(_says(leaf, text) for leaf in leaves)]
    if found:
        words = ", ".join(text if _NUMBER.fullmatch(text) else _text(text) for text in found)
        lines.append(f"no_value = [{words}]")
    lines += _identity(leaves, topic)
    lines += ["", "[[topic]]", f"pattern = {_text(topic)}", "", "[[read]]"]
    if each != "$":
        lines.append(f"each = {_text(each)}")
    lines += _values(leaves)
    return "\n".join(lines) + "\n"


def guess(name: str) -> str | None:
    """Return the parameter that a field of this name usually is."""
    known = by_mdc(name) or by_mdc_name("MDC_" + name.removeprefix("NOM_").removeprefix("MDC_"))
    if known is not None and known.kind != "waveform":
        return known.name
    words = _words(name)
    if words in PARAMETERS and PARAMETERS[words].kind != "waveform":
        return words
    return next((parameter for pattern, parameter in _PARAMETERS if re.fullmatch(pattern, words)), None)


def _records(roots: Sequence[object]) -> tuple[str, list[Object]]:
    """Return the path to the records, and all of them."""
    if all(isinstance(root, list) for root in roots):
        inner = [element for root in roots if isinstance(root, list) for element in root]
        if inner and all(isinstance(element, list) for element in inner):
            return "[*][*]", [
                one for many in inner if isinstance(many, list) for one in many if isinstance(one, dict)
            ]
        return "[*]", [element for element in inner if isinstance(element, dict)]
    objects = [root for root in roots if isinstance(root, dict)]
    for path, name in (path for root in objects[:1] for path in _arrays(root, "")):
        found = [one for root in objects for one in _at(root, path) if isinstance(one, dict)]
        if found and any(guess(key) or _words(key) in ("value", "val") for one in found for key in one):
            return f"{name}[*]", found
    return "$", objects


def _arrays(node: Object, prefix: str) -> Iterator[tuple[list[str], str]]:
    for key, member in node.items():
        path = prefix + _quoted(key)
        if isinstance(member, list) and member and isinstance(member[0], dict):
            yield [*_keys(prefix), key], path
        elif isinstance(member, dict):
            yield from _arrays(member, path + ".")


def _keys(prefix: str) -> list[str]:
    return [key.strip('"') for key in prefix.split(".") if key]


def _at(node: object, path: Sequence[str]) -> list[object]:
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, list) else []


def _leaves(records: Sequence[Object]) -> list[_Leaf]:
    found: dict[str, _Leaf] = {}

    def walk(node: Object, prefix: str) -> None:
        for key, member in node.items():
            path = prefix + _quoted(key)
            if isinstance(member, dict):
                walk(member, path + ".")
            elif not isinstance(member, list):
                found.setdefault(path, _Leaf(path, _words(key), [])).values.append(member)

    for record in records:
        walk(record, "")
    return list(found.values())


def _identity(leaves: Sequence[_Leaf], topic: str) -> Iterator[str]:
    device = next((leaf for leaf in leaves if _DEVICE.fullmatch(leaf.name)), None)
    in_topic = "device" in TopicPattern(topic).names
    if device is not None:
        odd = {char for value in device.values for char in str(value) if not (char.isalnum() or char in "_-")}
        replace = ", ".join(f"{_text(char)} = {_text('' if char == ':' else '-')}" for char in sorted(odd))
        entry = f"{{ path = {_text(device.path)}, replace = {{ {replace} }} }}" if odd else _text(device.path)
        if in_topic:
            yield f"# guess: {device.path} names the device too; the topic goes first here"
            yield f"# device = {entry}"
        else:
            yield f"device = {entry} # guess"
    elif not in_topic:
        yield 'device = "?" # nothing looks like a device: give a path, or {device} in the pattern'
    time = next((leaf for leaf in leaves if _TIME.fullmatch(leaf.name) and _style(leaf) is not None), None)
    if time is None:
        yield "# no time was found: readings get the time of their receipt"
        return
    style = _style(time)
    rest = f", {style}" if style else ""
    yield f"time = {{ path = {_text(time.path)}{rest} }} # guess"


def _style(leaf: _Leaf) -> str | None:
    sent = next((value for value in leaf.values if value not in (None, "")), None)
    if not isinstance(sent, str | int | float) or isinstance(sent, bool):
        return None
    return next((style for pattern, style in _STYLES if re.fullmatch(pattern, str(sent).strip())), None)


def _values(leaves: Sequence[_Leaf]) -> Iterator[str]:
    named = _named(leaves)
    if named is not None:
        yield from named
        return
    units = {leaf.path.rpartition(".")[0]: leaf for leaf in leaves if _UNIT.fullmatch(leaf.name)}
    unguessed: list[str] = []
    lines: list[str] = []
    taken: set[str] = set()
    for leaf in leaves:
        if _TIME.fullmatch(leaf.name) or not leaf.numeric:
            continue
        above = leaf.path.rpartition(".")[0]
        parameter = guess(leaf.path.rpartition(".")[2].strip('"'))
        if parameter is None and leaf.name in ("value", "val"):
            parameter = guess(above.rpartition(".")[2].strip('"'))
        if parameter is None or parameter in taken or not PARAMETERS[parameter].is_number:
            unguessed.append(leaf.path)
            continue
        taken.add(parameter)
        unit = units.get(above) if above else None
        lines.append(
            f"  {{ path = {_text(leaf.path)}, parameter = {_text(parameter)},"
            f" {_unit(parameter, unit, leaf.values)} }}, # guess"
        )
    yield from (
        ["value = [", *lines, "]"]
        if lines
        else ['value = [{ path = "?", parameter = "?" }] # nothing looked like a parameter of the vocabulary']
    )
    if unguessed:
        yield f"# numbers that nothing was guessed for: {', '.join(unguessed)}"


def _unit(parameter: str, sent: _Leaf | None, values: Sequence[object]) -> str:
    if sent is not None:
        return f"unit = {{ path = {_text(sent.path)} }}"
    return f"unit = {_text(_plausible_unit(parameter, values))}"


def _plausible_unit(parameter: str, values: Sequence[object]) -> str:
    """Return the first unit in which the samples are plausible: 98.6 is no temperature in Celsius."""
    known = PARAMETERS[parameter]
    numbers = [float(value) for value in values if isinstance(value, int | float | str) and _is_number(value)]
    for unit, conversion in {known.unit: known.units[known.unit], **known.units}.items():
        if unit in VOCABULARY.spellings:
            continue
        if all(
            known.low <= number * conversion.scale + conversion.offset <= known.high for number in numbers
        ):
            return unit
    return known.unit


def _named(leaves: Sequence[_Leaf]) -> list[str] | None:
    """Return how to read records of a name and a value, where that is what they are."""
    value = next((leaf for leaf in leaves if leaf.name in ("value", "val", "reading", "result")), None)
    if value is None or "." in value.path:
        return None
    names = [
        leaf for leaf in leaves if _NAME.fullmatch(leaf.name) and all(isinstance(v, str) for v in leaf.values)
    ]
    scored = [
        (sum(guess(str(one)) is not None for one in set(map(str, leaf.values))), leaf) for leaf in names
    ]
    best, name = max(scored, key=lambda pair: pair[0], default=(0, None))
    if name is None or best == 0:
        return None
    unit = next((leaf for leaf in leaves if _UNIT.fullmatch(leaf.name)), None)
    lines = ["", "[[read.value]]", f"path = {_text(value.path)}"]
    if unit is not None:
        lines.append(f"unit = {{ path = {_text(unit.path)} }} # guess")
    lines += ["", "[read.value.parameter]", f"path = {_text(name.path)}", "", "[read.value.parameter.map]"]
    for sent in dict.fromkeys(map(str, name.values)):
        parameter = guess(sent)
        if parameter is None:
            lines.append(f"# {_text(sent)} = ? nothing was guessed; it is refused until it is here")
        elif unit is not None:
            lines.append(f"{_text(sent)} = {_text(parameter)} # guess")
        else:
            target = f"{{ parameter = {_text(parameter)}, unit = {_text(PARAMETERS[parameter].unit)} }}"
            lines.append(f"{_text(sent)} = {target} # guess")
    return lines


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)


def _says(leaf: _Leaf, text: str) -> bool:
    """Tell whether a place that holds numbers elsewhere holds this text, or this number, here."""
    if text == "" and not leaf.numeric:
        return False
    return any(str(value) == text for value in leaf.values) and (leaf.numeric or guess(leaf.name) is not None)


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()).strip("_")


def _quoted(key: str) -> str:
    return f'"{key}"' if re.search(r"[.\[\]]", key) else key


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

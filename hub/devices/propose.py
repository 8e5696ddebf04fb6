"""Proposes a definition from sample payloads, for a person to finish: behind `hub devices new`.

Names of fields are guessed by what vendors call them, times and devices by how they look. Every guess is
marked, and all that the samples hold is listed.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from msgspec import Struct

from hub.devices.content import GRADES
from hub.devices.guess import (
    ALARMS,
    DEVICE,
    FLAG,
    GOOD,
    QUALITY,
    TIME,
    UNIT,
    VALUE,
    guess,
    scale,
    time_style,
    unit,
    words,
)
from hub.devices.payload import parse
from hub.mqtt.topics import TopicPattern
from hub.vocabulary import PARAMETERS, VOCABULARY, by_mdc, by_mdc_name

_NO_VALUES: Final = ("-", "--", "---", "", "NaN", "null", "N/A", "-999", "-99.9", "-32768")
_NUMBER: Final = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*")
_MAX_LISTED: Final = 200
_USUAL_S: Final = 60
_LONGEST_S: Final = 3600
_SHOWN: Final = 40
"""Characters of a sample's value that are listed."""

Object = dict[str, object]


class _Leaf(Struct, frozen=True):
    """One place of a record that holds something, with all that the samples hold there."""

    path: str
    names: tuple[str, ...]
    """The names that lead to it, in small letters with _ between words."""
    values: list[object]

    @property
    def name(self) -> str:
        """Its last name."""
        return self.names[-1]

    @property
    def above(self) -> str:
        """The path of what it is a member of."""
        return _parent(self.path)

    @property
    def numeric(self) -> bool:
        """Whether it holds a number in some sample."""
        return any(_is_number(value) for value in self.values)

    @property
    def style(self) -> str | None:
        """How to read it as a time; None where it is called or looks otherwise."""
        sent = next((value for value in self.values if value not in (None, "")), None)
        return time_style(sent) if TIME.fullmatch(self.name) else None

    @property
    def parameter(self) -> str | None:
        """What it is of: by its own name, or by that above a name such as `value`."""
        said = next((name for name in reversed(self.names) if name not in VALUE), None)
        return None if said is None else guess(said)


class _Group(Struct, frozen=True):
    """One kind of record: where they are, and what they hold."""

    each: str
    leaves: list[_Leaf]
    lists: dict[str, list[object]]
    """Arrays of words by path: alarms perhaps."""

    @property
    def time(self) -> _Leaf | None:
        """What looks like the time of a record."""
        return next((leaf for leaf in self.leaves if leaf.style is not None), None)

    def around(self, leaf: _Leaf, names: frozenset[str]) -> str | None:
        """Return the path of what is called so, beside a leaf or around it; `^.` where it is beside."""
        above = leaf.above
        for found in (one for one in self.leaves if one.name in names and one.above == above):
            if above or leaf.name in VALUE:
                return f"^.{found.path.rpartition('.')[2]}"
        while above:
            above = _parent(above)
            for found in (one for one in self.leaves if one.name in names and one.above == above):
                if above:
                    return found.path
        return None


def propose(payloads: Sequence[bytes], topic: str, title: str) -> str:
    """Return a definition as TOML text. Raises UnreadableError for a sample that is no JSON.

    `topic` is a pattern, `{device}` where the topic names the device.
    """
    groups = _groups([parse(payload) for payload in payloads])
    leaves = [leaf for group in groups for leaf in group.leaves]
    lines = [
        "# Proposed from samples. Lines with `guess` need a person: the right parameter, the right unit?",
        "",
        f"title = {_text(title)}",
        'source = "say where the format is described, and what it was tried on"',
        f"interval_s = {_interval(groups)} # guess: seconds between two messages of a device",
    ]
    if any(isinstance(value, str) and _NUMBER.fullmatch(value) for leaf in leaves for value in leaf.values):
        lines.append("text_numbers = true")
    found = [text for text in _NO_VALUES if any(_says(leaf, text) for leaf in leaves)]
    found += sorted({text for leaf in leaves for text in _below_nothing(leaf)} - {*found})
    if found:
        said = ", ".join(text if _NUMBER.fullmatch(text) else _text(text) for text in found)
        lines.append(f"no_value = [{said}]")
    lines += _identity(groups, topic)
    lines += ["", "[[topic]]", f"pattern = {_text(topic)}"]
    reads = [read for group in groups for read in _reads(group, own_time=group is not groups[0])]
    if any('map = "quality"' in read for read in reads):
        lines += ["", "[maps.quality] # guess: what else does it say?", *_qualities(groups)]
    nothing = ["", "[[read]]", 'value = [{ path = "?", parameter = "?" }] # nothing looked like a parameter']
    text = "\n".join([*lines, *(reads or nothing)])
    return "\n".join([text, *_listed(groups, text)]) + "\n"


def _groups(roots: Sequence[object]) -> list[_Group]:
    """Return the kinds of records: the payload itself, and what its arrays of objects hold."""
    groups: dict[str, _Group] = {}

    def walk(node: object, each: str, path: str, names: tuple[str, ...]) -> None:
        group = groups.setdefault(each, _Group(each, [], {}))
        if isinstance(node, dict):
            for key, member in node.items():
                below = f"{path}.{_quoted(key)}" if path else _quoted(key)
                walk(member, each, below, (*names, words(key)))
        elif isinstance(node, list) and any(isinstance(one, dict | list) for one in node):
            outer = "" if each == "$" else f"{each}." if path else each
            for one in node:
                walk(one, f"{outer}{path}[*]", "", names[-1:])
        elif isinstance(node, list):
            group.lists.setdefault(path, []).extend(node)
        elif path:
            known = next((leaf for leaf in group.leaves if leaf.path == path), None)
            if known is None:
                known = _Leaf(path, names, [])
                group.leaves.append(known)
            known.values.append(node)

    for root in roots:
        walk(root, "$", "", ())
    return [group for group in groups.values() if group.leaves or group.lists]


def _identity(groups: Sequence[_Group], topic: str) -> Iterator[str]:
    """Return which device and when: where the payload itself says so, for all records."""
    in_topic = "device" in TopicPattern(topic).names
    device = next((leaf for group in groups for leaf in group.leaves if DEVICE.fullmatch(leaf.name)), None)
    many = device is not None and len(set(map(str, device.values))) > 1
    if device is not None and (not in_topic or many):
        yield f"device = {_address(device)} # guess"
    elif device is not None:
        yield f"# guess: {device.path} names the device too; the topic goes first here"
        yield f"# device = {_address(device)}"
    elif not in_topic:
        yield 'device = "?" # nothing looks like a device: give a path, or {device} in the pattern'
    time = groups[0].time if groups else None
    if time is not None:
        yield f"time = {_time(time, whole=groups[0].each == '$' and len(groups) > 1)} # guess"
    elif not any(group.time for group in groups):
        yield "# no time was found: readings get the time of their receipt"


def _interval(groups: Sequence[_Group]) -> int:
    """Return how far the times of the samples are apart, usually; a minute where they don't tell."""
    time = groups[0].time if groups else None
    told = [] if time is None else [_seconds(value) for value in time.values]
    moments = sorted({one for one in told if one is not None})
    steps = sorted(after - before for before, after in pairwise(moments))
    usual = round(steps[len(steps) // 2]) if len(steps) > 1 else 0
    return usual if 1 <= usual <= _LONGEST_S else _USUAL_S


def _seconds(value: object) -> float | None:
    """Return a time that is an RFC 3339 text, or a number of whatever part of a second."""
    text = str(value)
    if re.fullmatch(r"\d{10}(?:\d{3}){0,3}", text):
        return int(text) * 10.0 ** (10 - len(text))
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _address(leaf: _Leaf) -> str:
    odd = {char for value in leaf.values for char in str(value) if not (char.isalnum() or char in "_-")}
    if not odd:
        return _text(leaf.path)
    replace = ", ".join(f"{_text(char)} = {_text('' if char == ':' else '-')}" for char in sorted(odd))
    return f"{{ path = {_text(leaf.path)}, replace = {{ {replace} }} }}"


def _time(leaf: _Leaf, *, whole: bool) -> str:
    path = f"$.{leaf.path}" if whole else leaf.path
    return f"{{ path = {_text(path)}" + (f", {leaf.style}" if leaf.style else "") + " }"


def _reads(group: _Group, *, own_time: bool) -> Iterator[str]:
    """Return how to read one kind of record; nothing where nothing is guessed of it."""
    body = _named(group) or [*_values(group), *_alarms(group), *_flags(group)]
    begin = ["", "[[read]]", *([] if group.each == "$" else [f"each = {_text(group.each)}"])]
    if body:
        yield from begin
        if own_time and group.time is not None:
            yield f"time = {_time(group.time, whole=False)} # guess"
        yield from body
    rssi = next((leaf for leaf in group.leaves if leaf.name == "rssi" and leaf.numeric), None)
    beacon = next((leaf for leaf in group.leaves if DEVICE.fullmatch(leaf.name)), None)
    if rssi is not None and beacon is not None:
        sighting = f"{{ beacon = {_address(beacon)}, rssi = {_text(rssi.path)} }}"
        yield from [*begin, f"sighting = {sighting} # guess"]


def _values(group: _Group) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for leaf in group.leaves:
        parameter = leaf.parameter
        if parameter is None or parameter in found or leaf.style is not None or not _fits(leaf, parameter):
            continue
        keys = [f"path = {_text(leaf.path)}", f"parameter = {_text(parameter)}"]
        if PARAMETERS[parameter].is_number:
            keys += _unit(group, leaf, parameter)
        grade = group.around(leaf, QUALITY)
        if grade is not None:
            keys.append(f'quality = {{ path = {_text(grade)}, map = "quality" }}')
        found[parameter] = keys
    shared = [
        key
        for key in next(iter(found.values()), [])
        if '{ path = "^.' in key and len(found) > 1 and all(key in keys for keys in found.values())
    ]
    yield from (f"{key} # guess" for key in shared)
    if found:
        rows = [", ".join(key for key in keys if key not in shared) for keys in found.values()]
        yield from ["value = [", *(f"  {{ {row} }}, # guess" for row in rows), "]"]


def _qualities(groups: Sequence[_Group]) -> Iterator[str]:
    """Return a map of every word that a quality has: what isn't known to be good is doubtful."""
    said = [word for group in groups for leaf in group.leaves if leaf.name in QUALITY for word in leaf.values]
    for word in dict.fromkeys(str(one) for one in said if isinstance(one, str | int)):
        small = word.lower()
        grade = "valid" if small in GOOD else small if small in GRADES else "questionable"
        yield f"{_text(word)} = {_text(grade)}"


def _fits(leaf: _Leaf, parameter: str) -> bool:
    known = PARAMETERS[parameter]
    return leaf.numeric if known.is_number else known.longest > 0 and not leaf.numeric


def _unit(group: _Group, leaf: _Leaf, parameter: str) -> list[str]:
    """Return the unit: what a field beside the value says, else its name, else how the values look."""
    sent = group.around(leaf, UNIT)
    if sent is not None:
        return [f"unit = {{ path = {_text(sent)} }}"]
    named = unit(leaf.name)
    if named in PARAMETERS[parameter].units:
        return [f"unit = {_text(named or '')}"]
    times = scale(leaf.name)
    scaled = [] if times == 1 else [f"scale = {1 / times:g}"]
    return [f"unit = {_text(_plausible_unit(parameter, leaf.values, 1 / times))}", *scaled]


def _plausible_unit(parameter: str, values: Sequence[object], factor: float) -> str:
    """Return the first unit in which the samples are plausible: 98.6 is no temperature in Celsius."""
    known = PARAMETERS[parameter]
    numbers = [
        float(value) * factor
        for value in values
        if isinstance(value, int | float | str) and _is_number(value)
    ]
    for name, conversion in {known.unit: known.units[known.unit], **known.units}.items():
        if name in VOCABULARY.spellings:
            continue
        if all(
            known.low <= number * conversion.scale + conversion.offset <= known.high for number in numbers
        ):
            return name
    return known.unit


def _alarms(group: _Group) -> Iterator[str]:
    for path, said in group.lists.items():
        texts = [word for word in dict.fromkeys(said) if isinstance(word, str)]
        if "alarm" in path.lower() and texts:
            conditions = ", ".join(f"{_text(word)} = {_text(_condition(word))}" for word in texts)
            yield f"alarms = [{{ path = {_text(path)}, map = {{ {conditions} }} }}] # guess: which priority?"


def _flags(group: _Group) -> Iterator[str]:
    """Return how to read what is true while a condition is there: of one name, or named beside it."""
    flags = [leaf for leaf in group.leaves if all(isinstance(value, bool) for value in leaf.values)]
    if flags and ALARMS.search(group.each.lower()):
        named = next(
            (leaf for leaf in group.leaves if all(isinstance(one, str) for one in leaf.values)), None
        )
        if named is not None:
            said = dict.fromkeys(str(one) for one in named.values)
            conditions = ", ".join(f"{_text(word)} = {_text(_condition(word))}" for word in said)
            condition = f"{{ path = {_text(named.path)}, map = {{ {conditions} }} }}"
            yield from ['empty = "ok"', "", "[[read.alarm]] # guess: which priority? which other words?"]
            yield from [f"path = {_text(flags[0].path)}", f"condition = {condition}"]
            return
    for leaf in flags:
        if FLAG.fullmatch(leaf.name):
            yield from ["", "[[read.alarm]] # guess: which priority?", f"path = {_text(leaf.path)}"]
            yield f"condition = {_text(_condition(leaf.name))}"


def _condition(word: str) -> str:
    return re.sub(r"^[^a-z]+", "", words(word))[:63] or "alarm"


def _named(group: _Group) -> list[str] | None:
    """Return how to read records of a name and a value, where that is what they are."""
    value = next((leaf for leaf in group.leaves if leaf.name in VALUE and not leaf.above), None)
    names = [
        leaf for leaf in group.leaves if leaf.values and all(isinstance(one, str) for one in leaf.values)
    ]
    scored = [
        (sum(guess(one) is not None for one in dict.fromkeys(map(str, leaf.values))), leaf)
        for leaf in names
        if leaf is not value and leaf.name not in UNIT | QUALITY
    ]
    best, name = max(scored, key=lambda pair: pair[0], default=(0, None))
    if value is None or name is None or best == 0:
        return None
    sent_unit = next((leaf for leaf in group.leaves if leaf.name in UNIT and not leaf.above), None)
    grade = next((leaf for leaf in group.leaves if leaf.name in QUALITY and not leaf.above), None)
    lines = ["", "[[read.value]]", f"path = {_text(value.path)}"]
    if sent_unit is not None:
        lines.append(f"unit = {{ path = {_text(sent_unit.path)} }} # guess")
    if grade is not None:
        lines.append(f'quality = {{ path = {_text(grade.path)}, map = "quality" }} # guess')
    said = list(dict.fromkeys(map(str, name.values)))
    in_mdc = [one for one in said if by_mdc(one) or by_mdc_name(one)]
    lines += ["", "[read.value.parameter]", f"path = {_text(name.path)}"]
    if in_mdc:
        lines.append('codes = "mdc"')
    rest = [one for one in said if one not in in_mdc]
    if rest:
        lines += ["", "[read.value.parameter.map]"]
    for one in rest:
        parameter = guess(one)
        if parameter is None:
            lines.append(f"# {_text(one)} = ? nothing was guessed; it is refused until it is here")
        elif sent_unit is not None:
            lines.append(f"{_text(one)} = {_text(parameter)} # guess")
        else:
            target = f"{{ parameter = {_text(parameter)}, unit = {_text(PARAMETERS[parameter].unit)} }}"
            lines.append(f"{_text(one)} = {target} # guess")
    return lines


def _listed(groups: Sequence[_Group], proposed: str) -> Iterator[str]:
    """Return every place of the samples with what it first holds, as comments."""
    places: list[str] = []
    for group in groups:
        lists = [_Leaf(path, ("",), [said]) for path, said in group.lists.items()]
        for leaf in [*group.leaves, *lists]:
            place = f"{group.each}.{leaf.path}".removeprefix("$.").removesuffix(".")
            shown = json.dumps(leaf.values[0], ensure_ascii=True, default=str)
            cut = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
            unguessed = leaf.numeric and _text(leaf.path) not in proposed.replace("$.", "")
            places.append(f"#   {place} = {cut}" + ("    (nothing was guessed)" if unguessed else ""))
    yield from ["", "# All that the samples hold, with the first value of each:", *places[:_MAX_LISTED]]
    if len(places) > _MAX_LISTED:
        yield f"#   and {len(places) - _MAX_LISTED} more"


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)


def _says(leaf: _Leaf, text: str) -> bool:
    """Tell whether a place that holds numbers elsewhere holds this text, or this number, here."""
    if text == "" and not leaf.numeric:
        return False
    return any(str(value) == text for value in leaf.values) and (leaf.numeric or leaf.parameter is not None)


def _below_nothing(leaf: _Leaf) -> Iterator[str]:
    """Return numbers that stand for no value: below 0 where nothing measured can be."""
    parameter = None if leaf.parameter is None else PARAMETERS[leaf.parameter]
    if parameter is not None and parameter.is_number and parameter.low >= 0:
        for value in leaf.values:
            if isinstance(value, int | float | str) and _is_number(value) and float(value) < 0:
                yield str(value).strip()


def _parent(path: str) -> str:
    """Return the path of what holds a member; a quoted name may hold dots."""
    return path[: len(path) - len(re.split(r'\.(?=(?:[^"]*"[^"]*")*[^"]*$)', path)[-1])].removesuffix(".")


def _quoted(key: str) -> str:
    return f'"{key}"' if re.search(r"[.\[\]]", key) else key


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

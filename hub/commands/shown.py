"""How `hub devices decode` prints what the hub makes of a message."""

import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from hub.preview import Preview, Value


class Section(StrEnum):
    """What `--only` can ask for."""

    READINGS = "readings"
    STATUSES = "statuses"
    ALARMS = "alarms"
    SIGHTINGS = "sightings"
    WAVEFORMS = "waveforms"
    REJECTS = "rejects"
    CLOCKS = "clocks"
    UNREGISTERED = "unregistered"
    FHIR = "fhir"
    LINE_PROTOCOL = "line_protocol"


def as_json(shown: Preview, only: list[Section]) -> str:
    """Return a message as one line of JSON, of the sections alone those in `only` where there are any."""
    sections = {section.value for section in Section}
    members = {
        name: member for name, member in shown.items() if not only or name not in sections or name in only
    }
    return json.dumps(members, ensure_ascii=False)


def as_text(shown: Preview, only: list[Section]) -> Iterator[str]:
    """Return a message as lines for a person."""
    if shown["definition"] is None:
        yield f"{shown['topic']}: {shown['rejects'][0]['reason']}"
    else:
        place = f"site {shown['site']}, area {shown['area']}, received {shown['received']}"
        yield f"{shown['topic']}: {shown['definition']}, {place}"
    for section in only or Section:
        items: list[Any] = shown[section.value]
        if items or section in _ALWAYS:
            yield _HEADINGS.get(section, section.value)
        for item in items:
            yield from ("  " + line for line in _TEXTS.get(section, _members)(item).splitlines())
    yield ""


def _reading(value: Value) -> str:
    sent = value["value"]
    told = "no value" if sent is None else f"{sent:g}" if isinstance(sent, float) else sent
    part = f"/{value['channel']}" if "channel" in value else ""
    said = f"device {value['device_time'] or 'no time'}  corrected {value['time']}"
    return (
        f"{value['device']}{part}  {value['parameter']} = {told} {value['unit']}  {said}  {value['quality']}"
    )


def _alarm(alarm: Mapping[str, object]) -> str:
    of = f" of {alarm['parameter']}" if "parameter" in alarm else ""
    text = f"  {alarm['text']}" if "text" in alarm else ""
    grade = f"{alarm['priority']}, {alarm['kind']}{of}"
    return f"{alarm['device']}  {alarm['condition']} {alarm['presence']}  {grade}  {alarm['time']}{text}"


def _reject(reject: Mapping[str, str]) -> str:
    found = f"; found {reject['found']}" if "found" in reject else ""
    return f"{reject['path']}: {reject['reason']}{found}"


def _members(item: Mapping[str, object]) -> str:
    return "  ".join(f"{name} {member}" for name, member in item.items())


_ALWAYS: Final = (Section.READINGS, Section.REJECTS, Section.FHIR, Section.LINE_PROTOCOL)
"""Told even where there is nothing, so that nothing can be missed."""
_HEADINGS: Final = {
    Section.UNREGISTERED: "would be refused",
    Section.FHIR: "FHIR",
    Section.LINE_PROTOCOL: "line protocol",
}
_TEXTS: Final[dict[Section, Callable[[Any], str]]] = {
    Section.READINGS: _reading,
    Section.ALARMS: _alarm,
    Section.WAVEFORMS: lambda wave: _members({**wave, "samples": f"{len(wave['samples'])} of them"}),
    Section.REJECTS: _reject,
    Section.CLOCKS: lambda clock: f"{clock['device']}: {clock['told']}",
    Section.UNREGISTERED: lambda one: f"{one['device']}: {one['reason']}; register with `{one['command']}`",
    Section.FHIR: lambda resource: json.dumps(resource, ensure_ascii=False, indent=2),
    Section.LINE_PROTOCOL: str,
}

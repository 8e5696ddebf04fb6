"""Converts templates of the IoMT connector to a definition: behind `hub devices import-iomt`.

A device content template says where values are, a FHIR mapping which code and unit each has. What of them has
no counterpart here is reported, never guessed: the connector matches at any depth and maps to any code, the
hub reads records at one place and knows the parameters of its vocabulary.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from hub.devices.guess import guess
from hub.devices.payload import UnreadableError, parse
from hub.vocabulary import Parameter, by_loinc, by_mdc

_FILTER: Final = re.compile(r"\$\.\.\[\?\((.+)\)\]|to_array\(@\)\[\?(.+)\]")
_EXISTS: Final = re.compile(r"@?\.?([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)")
_EQUALS: Final = re.compile(r"@?\.?([A-Za-z_][\w.-]*)\s*==\s*'([^']*)'")
_PATH: Final = re.compile(r"(?:\$\.)?(?:matchedToken\.)?([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)")
_ENVELOPE: Final = ("Properties.", "SystemProperties.")
_KINDS: Final = ("JsonPathContent", "IotJsonPathContent", "IotCentralJsonPathContent", "CalculatedContent")

Template = dict[str, Any]


class Imported(Struct, frozen=True):
    """A definition as TOML, and what could not be converted."""

    text: str
    unconverted: list[str]


class _Meaning(Struct, frozen=True):
    """What a FHIR mapping says of one value."""

    codes: list[tuple[str, str]]
    """System and code."""
    unit: str


def convert(content: bytes, mapping: bytes, *, topic: str, title: str, each: str = "") -> Imported:
    """Convert a pair of files. `each` is where the records are, `Body[*]` for messages in IoT Hub's envelope.

    Raises UnreadableError where a file is no JSON object.
    """
    unconverted: list[str] = []
    meanings = _meanings(_collection(content=False, file=mapping, unconverted=unconverted), unconverted)
    reads: list[str] = []
    for number, (kind, template) in enumerate(
        _collection(content=True, file=content, unconverted=unconverted)
    ):
        name = str(template.get("typeName") or f"template {number}")
        try:
            reads += _read(kind, template, name, meanings.get(name), each, unconverted)
        except _Unconvertible as reason:
            unconverted.append(f"{name}: {reason}")
    lines = [
        "# Converted from templates of the IoMT connector. Look at every line, and try it on payloads:",
        "#     hub devices check THIS --samples payload.json",
        "",
        f"title = {_text(title)}",
        'source = "templates of an IoMT connector; say what it was tried on"',
        "interval_s = 60 # how often does a device send?",
        "text_numbers = true # the connector took texts too",
        "",
        "[[topic]]",
        f"pattern = {_text(topic)}",
        *reads,
    ]
    return Imported(
        "\n".join(lines) + "\n", unconverted if reads else [*unconverted, "nothing was converted"]
    )


class _Unconvertible(Exception):  # noqa: N818 - a finding, told to a person
    """A template that has no counterpart here; the text says why."""


def _collection(*, content: bool, file: bytes, unconverted: list[str]) -> list[tuple[str, Template]]:
    root = parse(file)
    which = "device content" if content else "FHIR mapping"
    if not isinstance(root, dict):
        raise UnreadableError(f"the {which} template is no object")
    entries = [root]
    if "collection" in str(root.get("templateType", "")).lower():
        sent = root.get("template")
        if not isinstance(sent, list):
            unconverted.append(f"{which}: `template` is no list")
            return []
        entries = sent
    found: list[tuple[str, Template]] = []
    for position, entry in enumerate(entries):
        inner = entry.get("template") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(inner, dict):
            unconverted.append(f"{which}, template {position}: has no `template` object")
        else:
            found.append((str(entry.get("templateType", "")), inner))
    return found


def _meanings(
    templates: Sequence[tuple[str, Template]], unconverted: list[str]
) -> dict[str, dict[str, _Meaning]]:
    meanings: dict[str, dict[str, _Meaning]] = {}
    for kind, template in templates:
        name = str(template.get("typeName", ""))
        if kind != "CodeValueFhir" or not name:
            unconverted.append(
                f"FHIR mapping {name or kind!r}: only CodeValueFhir with a typeName is known here"
            )
            continue
        entries = [template, *(one for one in template.get("components") or [] if isinstance(one, dict))]
        for entry in entries:
            value = entry.get("value")
            if not isinstance(value, dict) or not value.get("valueName"):
                continue
            codes = [
                (str(code.get("system", "")), str(code.get("code", "")))
                for code in entry.get("codes") or []
                if isinstance(code, dict)
            ]
            meaning = _Meaning(codes, str(value.get("unit") or ""))
            meanings.setdefault(name, {})[str(value["valueName"])] = meaning
    return meanings


def _read(
    kind: str,
    template: Template,
    name: str,
    meanings: dict[str, _Meaning] | None,
    each: str,
    unconverted: list[str],
) -> list[str]:
    if kind not in _KINDS:
        raise _Unconvertible(f"{kind or 'no templateType'} is none of {', '.join(_KINDS)}")
    if meanings is None:
        raise _Unconvertible("the FHIR mapping has no such typeName")
    tests = list(_tests(_expression(template.get("typeMatchExpression"))))
    values: list[str] = []
    for entry in template.get("values") or []:
        try:
            values.append(_value(entry, meanings))
        except _Unconvertible as reason:
            unconverted.append(f"{name}: {reason}")
    if not values:
        return []
    lines = ["", f"# {name}", "[[read]]"]
    if each:
        lines.append(f"each = {_text(each)}")
    lines.append(f"when = [{', '.join(tests)}]")
    if template.get("deviceIdExpression"):
        lines.append(f"device = {_text(_path(template['deviceIdExpression']))}")
    if template.get("timestampExpression"):
        lines.append(f'time = {{ path = {_text(_path(template["timestampExpression"]))}, zone = "site" }}')
    return [*lines, "value = [", *values, "]"]


def _value(entry: object, meanings: dict[str, _Meaning]) -> str:
    if not isinstance(entry, dict) or not entry.get("valueName") or not entry.get("valueExpression"):
        raise _Unconvertible("a value without valueName and valueExpression")
    name = str(entry["valueName"])
    meaning = meanings.get(name)
    if meaning is None:
        raise _Unconvertible(f"value {name}: the FHIR mapping doesn't have it")
    path = _path(entry["valueExpression"])
    parameter = _parameter(name, path, meaning)
    unit = meaning.unit if meaning.unit in parameter.units else ""
    if meaning.unit and not unit:
        accepted = ", ".join(parameter.units)
        raise _Unconvertible(f"value {name}: {parameter.name} in {meaning.unit!r}; accepted is {accepted}")
    named = f", unit = {_text(unit)}" if unit else ""
    doubt = "" if unit else " # the mapping names no unit: give the one that the device sends"
    return f"  {{ path = {_text(path)}, parameter = {_text(parameter.name)}{named} }},{doubt}"


def _parameter(name: str, path: str, meaning: _Meaning) -> Parameter:
    for system, code in meaning.codes:
        known = by_loinc(code) if "loinc" in system else by_mdc(code) if "11073" in system else None
        if known is None or not known.is_number:
            continue
        called = guess(name) or guess(path.rpartition(".")[2])
        if called is not None and not _agree(called, known.name):
            raise _Unconvertible(
                f"value {name}: is called like {called} and coded {code}, which is {known.name}:"
                " the mapping is probably wrong, write the line yourself"
            )
        return known
    codes = ", ".join(code for _, code in meaning.codes) or "no code"
    raise _Unconvertible(f"value {name}: the vocabulary has no parameter for {codes}")


def _agree(called: str, coded: str) -> bool:
    return (
        called.startswith(coded)
        or coded.startswith(called)
        or {called, coded} == {"heart_rate", "pulse_rate"}
    )


def _tests(expression: str) -> Iterator[str]:
    found = _FILTER.fullmatch(expression.strip())
    if found is None:
        raise _Unconvertible(f"typeMatchExpression {expression!r}: only [?(@name && …)] is known here")
    condition = found[1] or found[2]
    if "||" in condition:
        raise _Unconvertible(f"typeMatchExpression {expression!r}: write a [[read]] for each side of ||")
    for part in condition.split("&&"):
        equals, exists = _EQUALS.fullmatch(part.strip()), _EXISTS.fullmatch(part.strip())
        if equals is not None:
            yield f"{{ path = {_text(equals[1])}, equals = {_text(equals[2])} }}"
        elif exists is not None:
            yield f"{{ path = {_text(exists[1])} }}"
        else:
            raise _Unconvertible(f"typeMatchExpression: {part.strip()!r} is no name")


def _path(sent: object) -> str:
    expression = _expression(sent)
    found = _PATH.fullmatch(expression.strip())
    if found is None:
        raise _Unconvertible(f"{expression!r} is no plain path; a definition takes JMESPath in its place")
    return f"$.{found[1]}" if found[1].startswith(_ENVELOPE) else found[1]


def _expression(sent: object) -> str:
    if isinstance(sent, dict):
        sent = sent.get("value")
    if not isinstance(sent, str) or not sent:
        raise _Unconvertible("an expression is missing")
    return sent


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

"""Reads definition files, and tells every fault with its line and key."""

import re
import tomllib
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from hub.devices.definition import MAP, NAME, Definition
from hub.devices.doubts import doubts
from hub.devices.problem import Problem

Key = tuple[str | int, ...]

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\s]+?)\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT: Final = re.compile(r"""\s*["']?([A-Za-z0-9_\-]+)["']?\s*(?:\.[^=]*)?=""")
_TOML_LINE: Final = re.compile(r"\(at line (\d+)")


def read(path: Path) -> tuple[Definition | None, list[Problem]]:
    """Read one file: the definition where it has no error, and all that is wrong or doubtful."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem(str(path), 0, "", f"can't be read: {error}")]
    return parse(text, str(path))


def parse(text: str, file: str) -> tuple[Definition | None, list[Problem]]:
    """Do what `read` does for a text; `file` is what the problems name."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _TOML_LINE.search(str(error))
        line = int(at[1]) if at else len(text.splitlines())
        return None, [Problem(file, line, "", f"is not TOML: {error}")]
    lines = _lines(text)
    try:
        definition = Definition.model_validate(document)
    except ValidationError as error:
        return None, [_problem(file, lines, dict(fault)) for fault in error.errors()]
    doubtful = [
        Problem(file, _line(lines, key), _shown(key), message, "warning")
        for key, message in doubts(definition)
    ]
    return definition, doubtful


def _problem(file: str, lines: dict[Key, int], fault: dict[str, object]) -> Problem:
    location = fault["loc"]
    assert isinstance(location, tuple)  # noqa: S101 - pydantic's promise
    # Members of a union are named by pydantic, not by the file.
    key: Key = tuple(step for step in location if step not in (NAME, MAP))
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "is no key of the language here"
    elif fault["type"] == "missing":
        message = "is missing"
    return Problem(file, _line(lines, key), _shown(key), message)


def _lines(text: str) -> dict[Key, int]:
    """Find the line of every table and of every key that has a line of its own."""
    lines: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            table = _table(header[2].split("."), header[1] == "[[", counts)
            lines[table] = number
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            lines.setdefault((*table, assignment[1]), number)
    return lines


def _table(names: list[str], is_array: bool, counts: dict[Key, int]) -> Key:
    table: Key = ()
    for position, name in enumerate(names):
        table = (*table, name.strip())
        if position == len(names) - 1 and is_array:
            counts[table] = counts.get(table, -1) + 1
        if table in counts:
            table = (*table, counts[table])
    return table


def _line(lines: dict[Key, int], key: Key) -> int:
    while key:
        if key in lines:
            return lines[key]
        key = key[:-1]
    return 0


def _shown(key: Key) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).removeprefix(".")

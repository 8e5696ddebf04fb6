"""Reads definition files, and tells every fault with its line and key."""

import re
import tomllib
from collections.abc import Callable
from datetime import date, time
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hub.devices.content import MAP, NAME
from hub.devices.definition import Definition
from hub.devices.doubts import doubts
from hub.devices.lines import Key, lines
from hub.devices.payload import found
from hub.devices.problem import Problem, Severity

_SCALARS: Final = ("str", "int", "float", "bool")
_EXPECTED: Final = {
    "string_type": "a text",
    "int_type": "a number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_SAID: Final = {
    "extra_forbidden": "is no key of the language here",
    "missing": "is missing",
    "string_too_short": "is empty",
    "too_short": "give at least one",
}
_TOML_LINE: Final = re.compile(r"\(at line (\d+)")


def read(path: Path) -> tuple[Definition | None, list[Problem]]:
    """Read one file: the definition where it has no error, and all that is wrong or doubtful."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem(str(path), 0, "", f"can't be read: {error}")]
    return parse(text, str(path))


Tell = Callable[[Key, str, Severity], Problem]
"""Makes of a key, a message and a severity a problem with its place in the file."""


def teller(path: Path) -> Tell:
    """Return what tells of the keys of a file that `read` could read."""
    known = lines(path.read_text(encoding="utf-8-sig"))
    return lambda key, message, severity: Problem(
        str(path), _line(known, key), _shown(key), message, severity
    )


def parse(text: str, file: str) -> tuple[Definition | None, list[Problem]]:
    """Do what `read` does for a text; `file` is what the problems name."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _TOML_LINE.search(str(error))
        line = int(at[1]) if at else len(text.splitlines())
        return None, [Problem(file, line, "", f"is not TOML: {error}")]
    known = lines(text)
    try:
        definition = Definition.model_validate(document, context=document.get("maps"))
    except ValidationError as error:
        return None, list(dict.fromkeys(_problem(file, known, fault) for fault in error.errors()))
    doubtful = [
        Problem(file, _line(known, key), _shown(key), message, "warning")
        for key, message in doubts(definition)
    ]
    return definition, doubtful


def _problem(file: str, known: dict[Key, int], fault: ErrorDetails) -> Problem:
    # Members of a union are named by pydantic, not by the file.
    key: Key = tuple(step for step in fault["loc"] if step not in (NAME, MAP))
    if key and key[-1] in _SCALARS and key not in known:
        key = key[:-1]
        expected = "expected a text, a number or true or false"
        return Problem(file, _line(known, key), _shown(key), f"{expected}, found {_found(fault['input'])}")
    return Problem(file, _line(known, key), _shown(key), _words(fault))


def _words(fault: ErrorDetails) -> str:
    """Say what pydantic says as a person would."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, found {_found(fault['input'])}"
    if kind == "literal_error":
        sent = fault["input"]
        return (
            f"expected {context['expected']}, found {repr(sent) if isinstance(sent, str) else _found(sent)}"
        )
    if kind == "greater_than":
        return f"expected above {context['gt']:g}"
    if kind == "less_than_equal":
        return f"expected at most {context['le']:g}"
    return _SAID.get(kind) or fault["msg"].removeprefix("Value error, ")


def _found(sent: object) -> str:
    if isinstance(sent, date | time):
        return "a date or a time"
    return "a text" if isinstance(sent, str) else found(sent).replace("an object", "a table")


def _line(known: dict[Key, int], key: Key) -> int:
    """Return the line of a key, or of the nearest thing around it that the file has."""
    line = 0
    at: Key = ()
    for step in key:
        if (*at, step) in known:
            at = (*at, step)
            line = known[at]
        elif step != 0:  # one table stands for an array of one
            break
    return line


def _shown(key: Key) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).removeprefix(".")

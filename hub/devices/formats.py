"""What payloads are written in: readers in code that make of one what paths lead through.

Everything else about a format is data: a definition names its format and reads what comes out.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from hub.devices import hl7v2, sparkplug
from hub.devices.births import Births
from hub.devices.payload import UnreadableError, Unusable, parse

_MAX_LEVELS: Final = 8
_AMBIGUOUS: Final = Unusable("a name that stands for a value and for members: send one of them")


class Source(Struct, frozen=True):
    """What a reader of a format may know beside the payload."""

    topic: str
    births: Births
    """What Sparkplug nodes said at their births; the only state that outlives a payload."""


Parse = Callable[[bytes], object]
"""Return a payload as dicts, lists and scalars, Unusable in place of what can't be used.

Raises UnreadableError where nothing can be used, and nothing else.
"""


def _dotted(payload: bytes) -> object:
    try:
        return _nested(parse(payload))
    except RecursionError:
        raise UnreadableError("is nested too deeply: flatten it") from None


def _nested(value: object) -> object:
    """Return members whose names have dots as members of members: `{"a.b": 1}` as `{"a": {"b": 1}}`."""
    if isinstance(value, list):
        return [_nested(element) for element in value]
    if not isinstance(value, dict):
        return value
    nested: dict[str, object] = {}
    for name, member in value.items():
        *levels, last = name.split(".", _MAX_LEVELS)
        at = nested
        for level in levels:
            inner = at.setdefault(level, {})
            if not isinstance(inner, dict):
                at[level], inner = _AMBIGUOUS, {}
            at = inner
        at[last] = _AMBIGUOUS if last in at else _nested(member)
    return nested


def _text(payload: bytes) -> object:
    try:
        return {"text": payload.decode("utf-8-sig").strip()}
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8 at byte {error.start}") from None


FORMATS: Final[dict[str, Callable[[Source], Parse]]] = {
    "json": lambda _: parse,
    "dotted-json": lambda _: _dotted,
    "text": lambda _: _text,
    "hl7v2": lambda _: hl7v2.parse,
    "sparkplug-b": lambda source: sparkplug.Parser(source.topic, source.births).parse,
}
"""The formats that a definition may name."""

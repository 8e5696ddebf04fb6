"""JSON as devices really send it: read so that what is wrong in one place costs that place alone."""

import json
import re
from math import isfinite
from typing import Final

import msgspec
from msgspec import Struct

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_MAX_DIGITS: Final = 400  # float ends at 1.8e308; a longer integer is no value that a device means


class UnreadableError(ValueError):
    """A payload of which nothing can be used; the message says why."""


class Unusable(Struct, frozen=True, gc=False):
    """Stands where a payload holds something that can't be used, so that the rest of it can be."""

    reason: str


def parse(payload: bytes) -> object:
    """Return the parsed JSON, with Unusable in place of what is ambiguous or broken. Raises UnreadableError.

    A UTF-8 byte order mark is skipped. NaN and Infinity come back as floats, for `number` to refuse.
    """
    try:
        value = _decode(payload)
        if _is_plain(payload) and _keys(value, payload) == payload.count(b'":'):
            return value
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        pass
    return _parse_carefully(payload)


def _is_plain(payload: bytes) -> bool:
    """Tell whether every key is followed by its colon at once, and no text can hold half a surrogate pair."""
    # One byte is looked for ten times as fast as two, and most payloads are a single line without escapes.
    return not (
        b'" ' in payload
        or (b"\n" in payload and b'"\n' in payload)
        or (b"\r" in payload and b'"\r' in payload)
        or (b"\t" in payload and b'"\t' in payload)
        or (b"\\" in payload and b"\\u" in payload)
    )


def _keys(value: object, payload: bytes) -> int:
    """Count the keys of a parsed payload: fewer than a plain one has means a key that came twice."""
    if type(value) is dict and payload.count(b"{") == 1:
        return len(value)
    # Written again, it has as many `":` as it has keys, and within texts as many as the payload has: quotes
    # there are escaped alike.
    return _encode(value).count(b'":')


def _parse_carefully(payload: bytes) -> object:
    try:
        text = str(payload, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8 at byte {error.start}") from None
    if not text.strip():
        raise UnreadableError("is empty")
    try:
        value = _loads(text)
        return _without_surrogates(value) if _SURROGATE.search(text) else value
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise UnreadableError("is nested too deeply: flatten it") from None


def number(value: object) -> float:
    """Return a JSON number as a float. Raises ValueError saying what was found instead."""
    if type(value) is float and isfinite(value):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            converted = float(value)
        except OverflowError:
            raise ValueError("is too large a number") from None
        if isfinite(converted):
            return converted
        raise ValueError("is not a finite number: send null for no value")
    raise ValueError(f"expected a number, found {found(value)}")


def found(value: object) -> str:
    """Name what was found in a place, without its content: that could be a patient's."""
    if isinstance(value, Unusable):
        return value.reason
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _loads(text: str) -> object:
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses to convert integers of thousands of digits; the message around them is still good.
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                members[key] = Unusable("a key that occurs twice: send it once")
            seen.add(key)
    return members


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object)


def _integer(digits: str) -> int | Unusable:
    return int(digits) if len(digits) <= _MAX_DIGITS else Unusable("a number of too many digits")


def _without_surrogates(value: object) -> object:
    """Replace texts that can't be written as UTF-8: half of a surrogate pair, from a cut string."""
    if isinstance(value, dict):
        return {_writable(key): _without_surrogates(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(element) for element in value]
    if isinstance(value, str) and _writable(value) != value:
        return Unusable("half of a surrogate pair")
    return value


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()

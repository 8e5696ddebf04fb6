"""What devices write as a time, as nanoseconds since 1970-01-01T00:00:00Z.

A time is taken as the device gives it: whether a clock can be right is judged later. Only one thing is
changed: exactly 0, which elsewhere means "no time", becomes 1 ns, so that a clock reset to 1970 is seen.
"""

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

MAX_NS: Final = 2**63 - 1
"""The year 2262: what a signed 64-bit nanosecond, the time of every store, can hold."""

_SCALES: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d")
_HL7: Final = re.compile(
    r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:\.(\d{1,9}))?)?(?:([+-]\d\d)([0-5]\d))?", re.ASCII
)
_TAIL: Final = re.compile(r"(?:\.(\d+))?([Zz]|([+-])(\d\d):?([0-5]\d))?", re.ASCII)
_CACHED: Final = 4096

# Thousands of devices send in the same second and with the same milliseconds: looking up both halves of
# "2026-11-24T02:43:12" + ".123Z" costs a fifth of what parsing them does.
_seconds: dict[str, int] = {}
_fractions: dict[str, int] = {}


class NotATimeError(ValueError):
    """A text or number that isn't a time in the expected style; the message says what is expected."""


def rfc3339_ns(text: str) -> int:
    """Return the time of an RFC 3339 text with a zone. Raises NotATimeError."""
    try:
        return (_seconds[text[:19]] + _fractions[text[19:]]) or 1
    except KeyError:
        return iso_ns(text, None)


@lru_cache(maxsize=_CACHED)
def iso_ns(text: str, zone: tzinfo | None) -> int:
    """Return the time of an RFC 3339 text; `zone` is for texts without one, None refuses them.

    Digits beyond the nanosecond are cut. Of an hour that a zone has twice, the first is taken.
    """
    head, tail = text[:19], text[19:]
    found = _TAIL.fullmatch(tail)
    if found is None or not (head.isascii() and _LOCAL.fullmatch(head)):
        raise NotATimeError("expected RFC 3339, for instance 2026-11-24T02:43:12.123Z")
    fraction, zoned, sign, hours, minutes = found.groups()
    ns = int(f"{fraction or '':0<9}"[:9])
    if not zoned:
        if zone is None:
            raise NotATimeError("has no zone: give one, Z or +01:00")
        return _bounded(_second(head, zone) * 1_000_000_000 + ns)
    if sign:
        if int(hours) > 23:
            raise NotATimeError("the zone's offset is beyond 23:59")
        offset_s = int(hours) * 3600 + int(minutes) * 60
        ns += (-offset_s if sign == "+" else offset_s) * 1_000_000_000
    base = _second(head, UTC) * 1_000_000_000
    time_ns = _bounded(base + ns)
    _remember(_seconds, head, base)
    _remember(_fractions, tail, ns)
    return time_ns


@lru_cache(maxsize=_CACHED)
def hl7_ns(text: str, zone: tzinfo | None) -> int:
    """Return the time of an HL7 v2 DTM, at least to the minute: `20210425230331.496-0400`.

    `zone` is for texts without one, None refuses them. Raises NotATimeError.
    """
    found = _HL7.fullmatch(text)
    if found is None:
        raise NotATimeError(
            "expected an HL7 time to the minute at least, for instance 20210425230331.496-0400"
        )
    year, month, day, hour, minute, second, fraction, offset, minutes = found.groups()
    iso = f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}.{fraction or '0'}"
    return iso_ns(iso + (f"{offset}:{minutes}" if offset else ""), zone)


def epoch_ns(number: float, unit: str) -> int:
    """Return the time of a number of `s`, `ms`, `us` or `ns` since the epoch. Raises NotATimeError."""
    if isinstance(number, bool):
        raise NotATimeError(f"expected {unit} since 1970-01-01T00:00:00Z, not true or false")
    try:
        scaled = _scaled(number, _SCALES[unit])
    except (OverflowError, ValueError):
        raise NotATimeError("is not a finite number") from None
    return _bounded(scaled)


def pattern_ns(text: str, pattern: str, zone: tzinfo) -> int:
    """Return the time of a text in a `strptime` pattern, in `zone` where it names none.

    Raises NotATimeError.
    """
    try:
        return _bounded(_by_pattern(text, pattern, zone))
    except (ValueError, OverflowError):
        raise NotATimeError(f"expected the pattern {pattern}") from None


def _scaled(number: float, scale: int) -> int:
    if isinstance(number, int):
        return number * scale
    # A float of seconds in this century is exact to a microsecond at best.
    return round(number * (scale // 1000)) * 1000 if scale >= 1000 else round(number * scale)


@lru_cache(maxsize=_CACHED)
def _by_pattern(text: str, pattern: str, zone: tzinfo) -> int:
    moment = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone follows, where the text has none
    whole = moment.replace(microsecond=0)
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=zone)
    return int(whole.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


@lru_cache(maxsize=_CACHED)
def _second(head: str, zone: tzinfo) -> int:
    leap = head.endswith(":60")  # RFC 3339 allows it; the epoch doesn't count it
    text = head[:-2] + "59" if leap else head
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=zone)
        return int(moment.timestamp()) + leap
    except (ValueError, OverflowError):
        raise NotATimeError("is no date and time that exists") from None


def _bounded(time_ns: int) -> int:
    if not -MAX_NS <= time_ns <= MAX_NS:
        raise NotATimeError("is outside the years 1678 to 2262; is the unit right?")
    return time_ns or 1


def _remember(cache: dict[str, int], text: str, value: int) -> None:
    if len(cache) >= _CACHED:
        cache.clear()
    cache[text] = value

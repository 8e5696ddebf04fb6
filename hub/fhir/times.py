"""Times as FHIR writes them, and the spans of time that a date stands for in a search."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND_NS = 1_000_000_000
_MS_NS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)


def instant(time_ns: int) -> str:
    """Return a FHIR instant in UTC, to the millisecond."""
    ms = time_ns // _MS_NS
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=4_096)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def nanoseconds(text: str) -> int:
    """Return the beginning of a FHIR date or time. Raises ValueError that says what is expected."""
    return span(text)[0]


def span(text: str) -> tuple[int, int]:
    """Return the first nanosecond of a FHIR date and the one after its last; without a zone it is UTC.

    Raises ValueError that says what is expected.
    """
    match = _DATE.fullmatch(text.replace(" ", "+"))
    if match is None:
        raise ValueError(
            "expected a date such as 2026, 2026-11, 2026-11-24 or 2026-11-24T02:43:12Z (write + as %2B)"
        )
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if not 1800 <= int(year) <= 2260:
        raise ValueError("expected a year from 1800 to 2260")
    text = f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    try:
        start = datetime.fromisoformat(text + (zone or "+00:00").replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(f"not a date: {error}") from error
    start_ns = (start - _EPOCH) // timedelta(seconds=1) * SECOND_NS
    if fraction is not None:
        start_ns += int(fraction.ljust(9, "0"))
        # What the hub writes has milliseconds; what it reads may be finer.
        return start_ns, start_ns + 10 ** (9 - max(3, len(fraction)))
    if second is not None or minute is not None:
        return start_ns, start_ns + (SECOND_NS if second is not None else 60 * SECOND_NS)
    if day is not None:
        end = start + timedelta(days=1)
    elif month is not None:
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    else:
        end = start.replace(year=start.year + 1)
    return start_ns, (end - _EPOCH) // timedelta(seconds=1) * SECOND_NS

"""Down-sampling: a trend's steps, and the minutes into which old readings are rolled up."""

from collections.abc import Iterable

from hub.model import Quality, Value
from hub.stores.store import TrendPoint

Exceptions = dict[str, tuple[Quality, Value | None]]

MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000

COARSE_NS = 10 * MINUTE_NS
"""Steps from here on are made of minutes where there are some: a minute then misses its step by little."""

Summary = tuple[int, int, float, float, float]
"""Start (ns), count, sum, minimum, maximum of some values."""


def step_ns(start_ns: int, end_ns: int, points: int) -> int:
    """Return the length of a step so that at most `points` cover the range; at least a millisecond."""
    return max(1_000_000, -(-(end_ns - start_ns) // max(1, points)))


def roll_up(summaries: Iterable[Summary], start_ns: int, step: int) -> list[TrendPoint]:
    """Merge summaries into the steps that they begin in, oldest first; empty ones are left out."""
    steps: dict[int, list[float]] = {}
    for begin_ns, count, total, low, high in summaries:
        if not count:
            continue
        into = steps.setdefault((begin_ns - start_ns) // step, [0, 0.0, low, high])
        into[0] += count
        into[1] += total
        into[2] = min(into[2], low)
        into[3] = max(into[3], high)
    return [
        TrendPoint(start_ns + index * step, low, total / count, high, int(count))
        for index, (count, total, low, high) in sorted(steps.items())
    ]

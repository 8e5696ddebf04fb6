"""A high-dynamic-range histogram of times, as Gil Tene's HdrHistogram has it.

Microseconds up to 2,047 have a bucket each; above, each doubling has 1,024 buckets, so a value is known to
one part in a thousand, from 1 µs to over an hour, in one list of counts.
"""

from collections.abc import Iterable, Mapping

_EXACT = 2048
_HALF = 1024
_MAX_US = (1 << 32) - 1
_SIZE = _EXACT + _HALF * (32 - 11)


class Histogram:
    """Counts of times in microseconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * _SIZE
        self.total = 0

    def record(self, microseconds: int) -> None:
        """Count one time; below 0 counts as 0, above 71 minutes as that."""
        if 0 <= microseconds < _EXACT:
            self.counts[microseconds] += 1
        elif microseconds < 0:
            self.counts[0] += 1
        else:
            microseconds = min(microseconds, _MAX_US)
            shift = microseconds.bit_length() - 11
            self.counts[(shift << 10) + (microseconds >> shift)] += 1
        self.total += 1

    def add(self, sparse: Mapping[int, int]) -> None:
        """Add the counts of another histogram, as its `sparse` gives them."""
        for place, count in sparse.items():
            self.counts[place] += count
            self.total += count

    def sparse(self) -> dict[int, int]:
        """Return what is counted, by bucket."""
        return {place: count for place, count in enumerate(self.counts) if count}

    def clear(self) -> None:
        """Forget everything."""
        self.counts = [0] * _SIZE
        self.total = 0

    def percentile_ms(self, percent: float) -> float | None:
        """Return the time that `percent` of all are not above, milliseconds; None where there is none."""
        if not self.total:
            return None
        wanted = max(self.total * percent / 100, 1)
        seen = 0
        for place, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return highest_us(place) / 1000
        return None

    def buckets_ms(self, edges_ms: Iterable[float]) -> list[int]:
        """Count between edges: below the first, ..., from the last on."""
        edges = [edge * 1000 for edge in edges_ms]
        found = [0] * (len(edges) + 1)
        for place, count in enumerate(self.counts):
            if count:
                found[sum(edge <= highest_us(place) for edge in edges)] += count
        return found


def highest_us(place: int) -> int:
    """Return the highest time that bucket `place` counts, microseconds."""
    if place < _EXACT:
        return place
    shift = (place >> 10) - 1
    return (((place & (_HALF - 1)) + _HALF + 1) << shift) - 1

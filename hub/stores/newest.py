"""The newest readings of a device: which count, and how to look for them backwards in time."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from hub.model import Reading

_FIRST_NS = 60_000_000_000
_GROWTH = 16

Read = Callable[[int, int], Awaitable[list[Reading]]]
"""Return every reading from a start up to an end (ns), oldest first."""


def holds(reading: Reading, parameters: Sequence[str]) -> bool:
    """Tell whether a reading says anything of one of the parameters, be it that there is no value."""
    if not parameters:
        return True
    exceptions = reading.exceptions or {}
    return any(name in reading.values or name in exceptions for name in parameters)


def backwards(start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """Cut [start_ns, end_ns) into windows, the last first, each longer than the one before."""
    length_ns = _FIRST_NS
    while start_ns < end_ns:
        begin_ns = max(start_ns, end_ns - length_ns)
        yield begin_ns, end_ns
        end_ns, length_ns = begin_ns, length_ns * _GROWTH


async def walk_back(
    read: Read, start_ns: int, end_ns: int, limit: int, parameters: Sequence[str]
) -> list[Reading]:
    """Return the newest readings that say something of the parameters, newest first, at most `limit`."""
    found: list[Reading] = []
    for begin_ns, until_ns in backwards(start_ns, end_ns):
        window = await read(begin_ns, until_ns)
        found += [reading for reading in reversed(window) if holds(reading, parameters)]
        if len(found) >= limit:
            break
    return found[:limit]

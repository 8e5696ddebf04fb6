"""Readings and waveforms of several devices in order of time, page by page, forwards or backwards."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from heapq import heappop, heappush
from typing import Literal

from hub.api.fhir.whose import Span
from hub.model import Reading, Waveform
from hub.stores.newest import holds
from hub.stores.store import Store

Direction = Literal["oldest", "newest"]
Key = tuple[int, str, str, str]
"""Where an item stands: time (negative where the newest come first), site, device, channel.

For a waveform the channel is its name behind a ~, which no channel has.
"""
Item = Reading | Waveform

_MINUTE_NS = 60_000_000_000


def key_of(item: Item, direction: Direction) -> Key:
    """Return where an item stands."""
    channel = item.channel if isinstance(item, Reading) else f"~{item.waveform}"
    return (item.time_ns if direction == "oldest" else -item.time_ns, item.site, item.device, channel)


async def walk(
    store: Store,
    spans: Sequence[Span],
    direction: Direction,
    *,
    chunk: int,
    parameters: Sequence[str] = (),
    waveforms: Sequence[str] = (),
    start: Key | None = None,
) -> AsyncIterator[tuple[Item, Span]]:
    """Give the readings of spans that don't overlap, in order, from the place `start` on (it included).

    With `parameters` only readings that hold one of them; with `waveforms` their windows too.
    `chunk` readings of a device are read at a time; 0 for none.
    """
    waiting = sorted(spans, key=lambda span: span.start_ns if direction == "oldest" else -span.end_ns)
    waiting.reverse()
    heap: list[tuple[Key, int, Item]] = []
    sources: list[_Source] = []
    while heap or waiting:
        while waiting and (not heap or _begins(waiting[-1], direction) <= heap[0][0][0]):
            span = waiting.pop()
            opened: list[_Source] = [_Waves(store, span, direction, start, name) for name in waveforms]
            if chunk:
                opened.append(_Readings(store, span, direction, start, chunk, parameters))
            for source in opened:
                sources.append(source)
                first = await source.next()
                if first is not None:
                    heappush(heap, (key_of(first, direction), len(sources) - 1, first))
        if not heap:
            continue
        _, number, reading = heappop(heap)
        following = await sources[number].next()
        if following is not None:
            heappush(heap, (key_of(following, direction), number, following))
        yield reading, sources[number].span


def _begins(span: Span, direction: Direction) -> int:
    return span.start_ns if direction == "oldest" else 1 - span.end_ns


class _Source(ABC):
    """What one span holds, read piece by piece."""

    def __init__(self, store: Store, span: Span, direction: Direction, start: Key | None) -> None:
        self.span = span
        self._store = store
        self._direction = direction
        self._start = start
        self._low_ns, self._high_ns = span.start_ns, span.end_ns
        if start is not None and direction == "oldest":
            self._low_ns = max(self._low_ns, start[0])
        elif start is not None:
            self._high_ns = min(self._high_ns, 1 - start[0])
        self._ready: list[Item] = []
        self._over = self._low_ns >= self._high_ns

    async def next(self) -> Item | None:
        """Return the next item, None at the end."""
        while not self._ready and not self._over:
            self._keep(await self._read())
        return self._ready.pop() if self._ready else None

    def _keep(self, found: Sequence[Item]) -> None:
        start = self._start
        kept = [one for one in found if start is None or key_of(one, self._direction) >= start]
        kept.reverse()
        # They are in order of time already; what is of one time isn't in any.
        if len({one.time_ns for one in kept}) < len(kept):
            kept.sort(key=lambda one: key_of(one, self._direction), reverse=True)
        self._ready = kept

    @abstractmethod
    async def _read(self) -> Sequence[Item]:
        """Read the next piece, in order of time, and note where the one after it begins."""


class _Readings(_Source):
    """Readings of one span, in chunks."""

    def __init__(
        self,
        store: Store,
        span: Span,
        direction: Direction,
        start: Key | None,
        chunk: int,
        parameters: Sequence[str],
    ) -> None:
        super().__init__(store, span, direction, start)
        self._chunk = chunk
        self._parameters = parameters

    async def _read(self) -> Sequence[Item]:
        span, chunk = self.span, self._chunk
        if self._direction == "oldest":
            found = await self._store.readings(span.site, span.device, self._low_ns, self._high_ns, chunk)
        else:
            found = await self._store.newest(
                span.site, span.device, self._low_ns, self._high_ns, chunk, self._parameters
            )
        if len(found) < chunk:
            self._over = True
        else:
            # Of the last time there may be more, on other channels: it is left to the next chunk.
            last_ns = found[-1].time_ns
            found = [one for one in found if one.time_ns != last_ns]
            if not found:
                self._chunk *= 2
            elif self._direction == "oldest":
                self._low_ns = last_ns
            else:
                self._high_ns = last_ns + 1
        return [one for one in found if holds(one, self._parameters)]


class _Waves(_Source):
    """Windows of one waveform in one span: a minute's at a time, or more where there are none."""

    def __init__(self, store: Store, span: Span, direction: Direction, start: Key | None, name: str) -> None:
        super().__init__(store, span, direction, start)
        self._name = name
        self._length_ns = _MINUTE_NS

    async def _read(self) -> Sequence[Item]:
        if self._direction == "oldest":
            part = (self._low_ns, min(self._high_ns, self._low_ns + self._length_ns))
            self._low_ns = part[1]
        else:
            part = (max(self._low_ns, self._high_ns - self._length_ns), self._high_ns)
            self._high_ns = part[0]
        found = await self._store.waveforms(self.span.site, self.span.device, self._name, *part)
        # Four times as far where nothing was: a stay without waveforms takes few looks.
        self._length_ns = _MINUTE_NS if found else self._length_ns * 4
        self._over = self._low_ns >= self._high_ns
        return found if self._direction == "oldest" else found[::-1]

"""The drain between the journal and one store: rows go over in order, each at least once, none is dropped."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

from msgspec import Struct

from hub.failpoint import failpoint
from hub.journal import Journal, JournalError
from hub.journal_writer import count_items
from hub.model import FORMAT_VERSION, Batch, Rejection
from hub.rejects import refused
from hub.stores.store import Store, StoreRefused, StoreUnavailable

log = logging.getLogger(__name__)

DrainState = Literal["ok", "down"]

FIRST_PAUSE_S = 0.25
SETTLE_EVERY_S = 1.0
BUSY_ITEMS = 500
"""A store that got so many at its last write is busy."""
BUSY_LINGER_S = 0.75
"""So much longer a new row waits for company on its way to a busy store."""
STAND_BACK_S = 3.0
"""A row is so old at the most when it makes way for others that aren't recorded yet."""
_MUCH = 300
"""Items that wait for the disk: more than come in 20 ms at 10,000 messages a second."""
_LOOKS, _LOOK_S = 5, 0.02


class Lag(Struct, frozen=True):
    """How far a store is behind the journal."""

    items: int
    """Readings, windows, statuses, alarms, sightings and zone changes that the store does not have."""
    oldest_ns: int | None
    """When the oldest of them was received; None where there is none."""


class Drain:
    """Takes journal rows to one store at the store's own pace.

    Order: a row's write begins after the rows before it are stored. Delivery: at least once; the store makes
    it once. Where the journal's cursor and the store's own position differ, the store's counts, for it was
    committed with the data: further on after a crash between write and advance, further back after the store
    was restored from a backup or replaced. Row ids never recur, not even in a new journal, so a position
    beyond all rows is one of rows that are gone. A store that takes `settle_s` to make rows durable gets them
    again after it was restarted: the journal's cursor stays behind for as long.
    Errors: after `StoreUnavailable` the same rows again, after a growing, jittered pause; after
    `StoreRefused` halves of them, down to the one item, which goes to the rejects.
    """

    def __init__(
        self,
        journal: Journal,
        store: Store,
        *,
        items: int = 5_000,
        max_bytes: int = 8 << 20,
        linger_s: float = 0.25,
        back_off_s: float = 10.0,
        on_state: Callable[[DrainState, str], None] | None = None,
    ) -> None:
        self.store = store
        self.state: DrainState = "ok"
        self.cursor = 0
        """Id of the last row that the store has."""
        self.lag = Lag(0, None)
        """As of the last look; `look` takes a fresh one."""
        self.rows_written = 0
        self.items_refused = 0
        self._journal = journal
        self._items = items
        self._max_bytes = max_bytes
        self._linger_s = linger_s
        """How long a new row waits for company on its way to a store at rest: every write has its price."""
        self._back_off_s = back_off_s
        self._on_state = on_state
        self._failures = 0
        self._busy = False
        self._connected = False
        self._safe = 0
        """What the journal's cursor says: behind `cursor` while the store may still lose what it took."""

    async def run(self) -> None:
        """Drain until cancelled; what is not over by then stays in the journal. Starts the store too."""
        self._journal.register(self.store.name)
        while True:
            try:
                if not self._connected:
                    await self._connect()
                await self._step()
            except StoreUnavailable as error:
                await self._pause(str(error), error.retry_after_s)
            except (StoreRefused, JournalError) as error:  # a person must act; it may be mended meanwhile
                await self._pause(str(error), self._back_off_s)

    async def look(self) -> Lag:
        """Return how far the store is behind now."""
        self.lag = Lag(*await self._journal.lag(self.cursor))
        return self.lag

    async def _connect(self) -> None:
        """Start the store, or see whether it is back, and find where to go on."""
        await self.store.start()
        position = await self.store.position()
        self._safe = await self._journal.position(self.store.name) if position is None else position
        self.cursor = self._safe
        self._connected = True
        if not (await self.look()).items:
            self._available()

    async def _step(self) -> None:
        """Take the next rows over."""
        if self._safe < self.cursor:
            await self._settle()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_EVERY_S):
                    await self._journal.wait_beyond(self.cursor)
        else:
            await self._journal.wait_beyond(self.cursor)
        if (await self.look()).items < self._items:
            await self._gather()
        while self._makes_way() and await self._line_is_busy():
            pass
        rows = await self._journal.read(self.cursor, max_items=self._items, max_bytes=self._max_bytes)
        if not rows:
            return
        last = rows[-1][0]
        failpoint("drain:before-write")
        rejections: list[Rejection] = []
        try:
            await self.store.write(rows)
        except StoreRefused as error:
            items = [item for _, batch in rows for item in _single(batch)]
            rejections = await self._bisect(items, str(error))
        failpoint("drain:after-write")
        settled = last if self.store.settle_s == 0 else self._safe
        if settled > self._safe or rejections:
            await self._journal.advance(self.store.name, settled, rejections)
            self._safe = settled
        failpoint("drain:after-advance")
        if rejections:
            # Only now that the rejects are durable may the store's own position pass them.
            await self.store.write([(last, _batch())])
        self.cursor = last
        self._busy = sum(count_items(batch) for _, batch in rows) >= BUSY_ITEMS
        self.rows_written += len(rows)
        self.items_refused += len(rejections)
        self._available()
        await self.look()

    async def _gather(self) -> None:
        """Let rows come together; a journal that is full waits for no more."""
        if self._journal.state == "ok":
            await asyncio.sleep(self._linger_s)
        if self._journal.state == "ok" and self._busy:
            await asyncio.sleep(BUSY_LINGER_S)

    def _makes_way(self) -> bool:
        """Tell whether the rows here may wait: not old ones, nor where the line waits for room."""
        oldest_ns = self.lag.oldest_ns
        age_s = 0.0 if oldest_ns is None else (time.time_ns() - oldest_ns) / 1e9
        return self._busy and age_s < STAND_BACK_S and self._journal.state == "ok"

    async def _line_is_busy(self) -> bool:
        """Watch the line for a moment: devices wait for what it does, and nobody for what is drained here."""
        most = 0
        for _ in range(_LOOKS):
            most = max(most, self._journal.pending_messages)
            await asyncio.sleep(_LOOK_S)
        return most > _MUCH

    async def _settle(self) -> None:
        """Let the journal's cursor follow what the store can't lose any more; connect anew where it did."""
        position = await self.store.position()
        if position is not None and position > self._safe:
            await self._journal.advance(self.store.name, position)
            self._safe = position

    async def _bisect(self, items: list[Batch], reason: str) -> list[Rejection]:
        """Store all but what the store refuses even alone, and return that. Moves no position (row id 0)."""
        if len(items) <= 1:
            log.warning("%s refuses an item, see the rejects: %s", self.store.name, reason)
            return [refused(self.store.name, item, reason, time.time_ns()) for item in items]
        rejections: list[Rejection] = []
        for half in (items[: len(items) // 2], items[len(items) // 2 :]):
            try:
                await self.store.write([(0, item) for item in half])
            except StoreRefused as error:
                rejections += await self._bisect(half, str(error))
        return rejections

    async def _pause(self, reason: str, at_least_s: float) -> None:
        self._connected = False
        with suppress(JournalError):
            await self.look()
        if self.state == "ok":
            self._change("down", f"{self.store.name} can't take readings, spooling: {reason}")
        pause_s = min(self._back_off_s, FIRST_PAUSE_S * 2**self._failures) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._failures = min(self._failures + 1, 16)
        await asyncio.sleep(max(pause_s, at_least_s))

    def _available(self) -> None:
        self._failures = 0
        if self.state == "down":
            self._change("ok", f"{self.store.name} back, {self.lag.items:,} readings to drain")

    def _change(self, state: DrainState, text: str) -> None:
        self.state = state
        log.log(logging.INFO if state == "ok" else logging.WARNING, "%s", text)
        if self._on_state is not None:
            self._on_state(state, text)


def _batch() -> Batch:
    return Batch(FORMAT_VERSION, 0, [], [], [], [], [], [])


def _single(batch: Batch) -> Iterator[Batch]:
    """Take a batch apart into batches of one item."""
    for kind in ("readings", "waveforms", "statuses", "device_alarms", "sightings", "zone_changes"):
        for item in getattr(batch, kind):
            one = _batch()
            one.received_ns = batch.received_ns
            setattr(one, kind, [item])
            yield one

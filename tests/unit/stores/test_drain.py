"""The drain, with a real journal and a small store in memory that can be told to fail."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.journal import Journal
from hub.model import Batch, Reading, Sighting
from hub.rejects import replayable
from hub.stores.drain import BUSY_ITEMS, STAND_BACK_S, Drain
from hub.stores.duckdb import DuckDBStore
from hub.stores.store import StoreRefused, StoreUnavailable

TIME_NS = 1_790_000_000_000_000_000


def reading(seq: int, **values: float | str) -> Reading:
    return Reading(
        "north", "d", "observations", TIME_NS + seq, 0, TIME_NS, seq, values or {"heart_rate": 72.0}
    )


def batch(*readings: Reading) -> Batch:
    return Batch(1, TIME_NS, list(readings), [], [], [], [], [])


class MemoryStore:
    """Keeps what is written; is down or refuses at the test's word."""

    name = "memory"
    settle_s = 0.0

    def __init__(self) -> None:
        self.down = False
        self.bad: set[int] = set()
        self.seen: list[int] = []
        self.kept: dict[int, Reading] = {}
        self.knows_position = True
        self.held: int | None = None
        self.sightings = 0

    async def start(self) -> None:
        if self.down:
            raise StoreUnavailable("down", 0.01)

    async def stop(self) -> None:
        pass

    async def position(self) -> int | None:
        return self.held if self.knows_position else None

    async def write(self, rows: Sequence[tuple[int, Batch]]) -> None:
        if self.down:
            raise StoreUnavailable("down", 0.01)
        readings = [reading for _, batch in rows for reading in batch.readings]
        if any(reading.seq in self.bad for reading in readings):
            raise StoreRefused("a bad reading is among them")
        self.seen += [reading.seq for reading in readings]
        self.kept |= {reading.seq: reading for reading in readings}
        self.sightings += sum(len(batch.sightings) for _, batch in rows)
        self.held = max(self.held or 0, *(row_id for row_id, _ in rows)) or None


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.db", keep_recent=0)
    await opened.start()
    yield opened
    await opened.stop()


@asynccontextmanager
async def running(drain: Drain) -> AsyncIterator[Drain]:
    task = asyncio.create_task(drain.run())
    try:
        yield drain
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def drain(journal: Journal, store: MemoryStore, states: list[str] | None = None, items: int = 50) -> Drain:
    told = [] if states is None else states
    return Drain(
        journal,
        store,
        items=items,
        linger_s=0.0,
        back_off_s=0.02,
        on_state=lambda state, text: told.append(text),
    )  # type: ignore[arg-type]  # only what a drain calls


async def test_rows_go_over_in_order_and_the_cursor_follows(journal: Journal) -> None:
    store = MemoryStore()
    async with running(drain(journal, store)) as draining:
        ids = await asyncio.gather(
            *[journal.append(batch(reading(2 * n), reading(2 * n + 1))) for n in range(200)]
        )
        await until(lambda: draining.cursor == ids[-1])
        assert store.seen == list(range(400))
        assert await journal.position("memory") == ids[-1]
        assert draining.rows_written == 200
        assert (await draining.look()).items == 0


async def test_an_outage_spools_and_is_told_once_each_way(journal: Journal) -> None:
    store, states = MemoryStore(), []
    async with running(drain(journal, store, states)) as draining:
        first = await journal.append(batch(reading(0)))
        await until(lambda: draining.cursor == first)
        store.down = True
        for n in range(1, 120):
            await journal.append(batch(reading(n)))
        await until(lambda: draining.state == "down")
        await asyncio.sleep(0.1)
        lag = await draining.look()
        assert (lag.items, lag.oldest_ns) == (119, TIME_NS)
        store.down = False
        await until(lambda: draining.cursor == journal.newest)
    assert store.seen == list(range(120))
    assert [text.split(",")[0] for text in states] == ["memory can't take readings", "memory back"]


async def test_a_store_that_is_down_at_start_is_told_and_caught_up_later(journal: Journal) -> None:
    store, states = MemoryStore(), []
    store.down = True
    async with running(drain(journal, store, states)) as draining:
        await until(lambda: draining.state == "down")
        store.down = False
        await until(lambda: draining.state == "ok")
    assert len(states) == 2


async def test_what_a_store_refuses_goes_to_the_rejects_and_holds_nothing_up(journal: Journal) -> None:
    store = MemoryStore()
    store.bad = {3, 77, 78}
    for start in range(0, 100, 10):
        await journal.append(batch(*[reading(n) for n in range(start, start + 10)]))
    async with running(drain(journal, store)) as draining:
        await until(lambda: draining.cursor == journal.newest)
        await until(lambda: store.held == journal.newest)
    assert sorted(store.kept) == [n for n in range(100) if n not in store.bad]
    rejected = await journal.rejected()
    again = [replayable(r.rejection) for r in rejected]
    assert [b.readings[0].seq for b in again if b] == [78, 77, 3]
    assert {(r.rejection.device, r.rejection.reason, r.rejection.topic) for r in rejected} == {
        ("d", "a bad reading is among them", "$store/memory")
    }
    assert draining.items_refused == 3


async def test_the_position_of_a_store_counts_more_than_the_cursor_of_the_journal(journal: Journal) -> None:
    ids = await asyncio.gather(*[journal.append(batch(reading(n))) for n in range(10)])
    await journal.advance("memory", ids[4])
    ahead = MemoryStore()
    ahead.held = ids[7]
    async with running(drain(journal, ahead)) as draining:
        await until(lambda: draining.cursor == ids[9])
    assert ahead.seen == [8, 9]
    restored = MemoryStore()
    restored.held = ids[1]
    async with running(drain(journal, restored)) as draining:
        await until(lambda: restored.seen[-1:] == [9])
    assert restored.seen == list(range(2, 10))


async def test_a_store_that_knows_no_position_goes_on_at_the_cursor(journal: Journal) -> None:
    ids = await asyncio.gather(*[journal.append(batch(reading(n))) for n in range(10)])
    await journal.advance("memory", ids[4])
    store = MemoryStore()
    store.knows_position = False
    async with running(drain(journal, store)) as draining:
        await until(lambda: draining.cursor == ids[9])
    assert store.seen == [5, 6, 7, 8, 9]


async def test_every_kind_of_item_can_be_refused_alone(journal: Journal) -> None:
    store = MemoryStore()
    store.bad = {1}
    mixed = batch(reading(0), reading(1))
    mixed.sightings.append(Sighting("north", "gateway-1", "ac:23", TIME_NS, TIME_NS, -60))
    await journal.append(mixed)
    async with running(drain(journal, store)) as draining:
        await until(lambda: draining.cursor == journal.newest)
    assert list(store.kept) == [0]
    assert store.sightings == 1


DRAINER = """
import asyncio, sys
from pathlib import Path
from hub.journal import Journal
from hub.stores.drain import BUSY_ITEMS, STAND_BACK_S, Drain
from hub.stores.duckdb import DuckDBStore
async def main():
    journal = Journal(Path(sys.argv[1]))
    await journal.start()
    store = DuckDBStore(Path(sys.argv[2]))
    drain = Drain(journal, store, items=100, linger_s=0)
    asyncio.create_task(drain.run())
    while drain.cursor != journal.newest:
        await asyncio.sleep(0.01)
asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["before-write:2", "after-write:1", "after-write:3", "after-advance:2"])
async def test_a_kill_between_any_two_steps_of_a_drain_loses_and_doubles_nothing(
    tmp_path: Path, point: str
) -> None:
    journal = Journal(tmp_path / "journal.db")
    await journal.start()
    batches = [batch(*[reading(n) for n in range(start, start + 20)]) for start in range(0, 1000, 20)]
    batches[7].readings.append(reading(5000, heart_rate="high"))  # refused: heart_rate is a number
    await asyncio.gather(*[journal.append(b) for b in batches])
    killed = subprocess.run(  # noqa: ASYNC221 - the loop has nothing else to do
        [sys.executable, "-c", DRAINER, str(tmp_path / "journal.db"), str(tmp_path / "series.duckdb")],
        env={**os.environ, "HUB_FAILPOINT": f"drain:{point}"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    store = DuckDBStore(tmp_path / "series.duckdb")
    async with running(Drain(journal, store, items=100, linger_s=0.0)) as draining:
        await until(lambda: draining.cursor == journal.newest)
    found = await store.readings("north", "d", 0, 2**62)
    rejected = await journal.rejected()
    await store.stop()
    await journal.stop()
    assert [r.seq for r in found] == list(range(1000))
    assert {replayable(r.rejection).readings[0].seq for r in rejected} == {5000}  # type: ignore[union-attr]


async def test_a_busy_store_makes_way_for_a_busy_line_but_not_for_long(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    async with running(Drain(journal, store, linger_s=0.0)):
        many = [reading(seq) for seq in range(BUSY_ITEMS)]
        await journal.append(batch(*many))
        await until(lambda: len(store.kept) == BUSY_ITEMS)
        monkeypatch.setattr(journal, "pending_messages", 100_000)
        begun_ns = time.time_ns()
        late = batch(reading(BUSY_ITEMS))
        late.received_ns = begun_ns
        await journal.append(late)
        await until(lambda: BUSY_ITEMS in store.kept)
        assert time.time_ns() - begun_ns >= STAND_BACK_S * 1e9
        monkeypatch.setattr(journal, "state", "full")  # the line waits for the room that these rows take
        late.readings = [reading(BUSY_ITEMS + 1)]
        late.received_ns = time.time_ns() + 3_600_000_000_000  # so that it never gets old
        await journal.append(late)
        async with asyncio.timeout(20):
            await until(lambda: BUSY_ITEMS + 1 in store.kept)

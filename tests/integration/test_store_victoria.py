"""VictoriaMetrics loses its last seconds when it is killed; the drain sends them again."""

import asyncio
from pathlib import Path

import pytest

from hub.journal import Journal
from hub.model import Batch, Reading
from hub.stores.drain import Drain
from hub.stores.store import StoreUnavailable, Total
from hub.stores.victoria import VictoriaSettings, VictoriaStore
from tests.databases import victoria_metrics

pytestmark = pytest.mark.integration

TIME_NS = 1_790_000_000_000_000_000


def batch(seq: int) -> Batch:
    time_ns = TIME_NS + seq * 1_000_000_000
    reading = Reading(
        "north", "d", "observations", time_ns, 0, time_ns, seq, {"heart_rate": float(seq % 100)}
    )
    return Batch(1, TIME_NS, [reading], [], [], [], [], [])


async def test_kills_while_it_is_written_to_lose_and_double_nothing(tmp_path: Path) -> None:
    server = victoria_metrics(tmp_path)
    await asyncio.to_thread(server.start)
    journal = Journal(tmp_path / "journal.db", keep_recent=0)
    await journal.start()
    store = VictoriaStore(VictoriaSettings(url=server.url, settle_s=12))  # type: ignore[arg-type]  # pydantic parses it
    drain = Drain(journal, store, linger_s=0.05, back_off_s=0.2)
    draining = asyncio.create_task(drain.run())
    try:
        sent = 0
        for _ in range(3):
            for _ in range(150):
                await journal.append(batch(sent))
                sent += 1
                await asyncio.sleep(0.005)
            await journal.trim()
            server.kill()
            await asyncio.to_thread(server.start)
        last = await journal.append(batch(sent))
        sent += 1
        while await journal.position(store.name) < last:
            await asyncio.sleep(0.1)
    finally:
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
    server.kill()  # once more: what the journal may forget by now must be on its disk
    await asyncio.to_thread(server.start)
    await store.start()
    totals = await store.totals("north", "d")
    await store.stop()
    await journal.stop()
    server.stop()
    assert totals == {"heart_rate": Total(sent, sum(float(n % 100) for n in range(sent)))}


async def test_a_position_is_told_only_for_what_the_running_process_took_long_ago(tmp_path: Path) -> None:
    server = victoria_metrics(tmp_path)
    await asyncio.to_thread(server.start)
    store = VictoriaStore(VictoriaSettings(url=server.url, settle_s=1))  # type: ignore[arg-type]
    await store.start()
    assert await store.position() is None
    await store.write([(7, batch(1))])
    assert await store.position() is None
    await asyncio.sleep(1.1)
    assert await store.position() == 7
    await store.write([(8, batch(2))])
    server.kill()
    await asyncio.to_thread(server.start)
    with pytest.raises(StoreUnavailable, match="was restarted"):
        await store.position()
    await store.start()
    assert await store.position() is None
    await store.stop()
    server.stop()


async def test_an_erasure_that_was_cut_short_is_finished_by_the_next(tmp_path: Path) -> None:
    server = victoria_metrics(tmp_path)
    await asyncio.to_thread(server.start)
    store = VictoriaStore(VictoriaSettings(url=server.url))  # type: ignore[arg-type]
    await store.start()
    await store.write([(n + 1, batch(n)) for n in range(20)])
    await store._client.request("GET", "/internal/force_flush", {})
    delete, deletions = store._delete, 0

    async def cut_short(selector: str) -> None:
        nonlocal deletions
        deletions += 1
        await delete(selector)
        raise StoreUnavailable("cut")

    store._delete = cut_short  # type: ignore[method-assign]  # what a crash after the first deletion leaves behind
    with pytest.raises(StoreUnavailable):
        await store.erase("north", "d", TIME_NS, TIME_NS + 5_000_000_000)
    assert deletions == 1
    assert await store.readings("north", "d", 0, 2**62) == []
    store._delete = delete  # type: ignore[method-assign]
    await store.erase("north", "d", TIME_NS, TIME_NS + 5_000_000_000)
    assert [reading.seq for reading in await store.readings("north", "d", 0, 2**62)] == list(range(5, 20))
    await store.stop()
    server.stop()

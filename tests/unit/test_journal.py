"""The journal's promises, on a real file."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from hub import journal_file
from hub.journal import Journal, JournalError
from hub.model import FORMAT_VERSION, Batch, Message, Reading, Rejection

TIME_NS = 1_790_000_000_000_000_000


def reading(seq: int, device: str = "monitor-1") -> Reading:
    time_ns = TIME_NS + seq * 1_000_000_000
    return Reading("north", device, "observations", time_ns, time_ns, time_ns, seq, {"heart_rate": 72.0})


def batch(*readings: Reading, rejections: list[Rejection] | None = None) -> Batch:
    return Batch(FORMAT_VERSION, TIME_NS, list(readings), [], [], [], [], rejections or [])


def rejection(reason: str = "not JSON", device: str = "monitor-1", received_ns: int = TIME_NS) -> Rejection:
    return Rejection(
        "wards/v1/north/a/monitor-1/observations", b"{", "$", reason, received_ns, "north", device
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.db", keep_recent=0)
    await opened.start()
    yield opened
    await opened.stop()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_rows_come_back_as_they_were_and_in_order_after_a_restart(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal.db")
    await first.start()
    ids = await asyncio.gather(*[first.append(batch(reading(n), reading(n + 1))) for n in range(250)])
    await first.stop()
    again = Journal(tmp_path / "journal.db")
    await again.start()
    rows = await again.read(0)
    await again.stop()
    assert [row_id for row_id, _ in rows] == ids == sorted(set(ids))
    assert [row for _, row in rows] == [batch(reading(n), reading(n + 1)) for n in range(250)]


async def test_a_new_or_restored_journal_never_gives_out_an_id_that_an_older_one_used(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    last = 0
    for _ in range(3):
        journal = Journal(path)
        await journal.start()
        row_id = await journal.append(batch(reading(1)))
        await journal.stop()
        assert row_id > last
        last = row_id
        path.unlink()


async def test_appends_resolve_in_order_also_those_without_a_row(journal: Journal) -> None:
    order: list[int] = []
    futures = []
    for n in range(60):
        future = journal.append(batch() if n % 3 else batch(reading(n)))
        future.add_done_callback(lambda _, n=n: order.append(n))
        futures.append(future)
    ids = await asyncio.gather(*futures)
    await asyncio.sleep(0)
    assert order == list(range(60))
    assert len(await journal.read(0)) == 20
    assert ids == sorted(ids)
    assert ids[-1] == journal.newest
    assert journal.pending_batches == journal.pending_messages == journal.pending_bytes == 0


async def test_another_connection_sees_a_row_as_soon_as_append_has_resolved(journal: Journal) -> None:
    for n in range(5):
        await journal.append(batch(reading(n)))
        with sqlite3.connect(journal.path) as other:
            assert other.execute("SELECT count(*) FROM rows").fetchone() == (n + 1,)
        other.close()


async def test_a_batch_that_cannot_be_encoded_fails_alone(journal: Journal) -> None:
    bad = msgspec.structs.replace(reading(1), seq=2**70)
    failed, good = journal.append(batch(bad)), journal.append(batch(reading(2)))
    with pytest.raises(JournalError, match="can't be encoded"):
        await failed
    await good
    assert [row.readings[0].seq for _, row in await journal.read(0)] == [2]
    assert journal.pending_batches == journal.pending_messages == 0


async def test_reading_stops_at_each_limit_but_gives_at_least_one_row(journal: Journal) -> None:
    await asyncio.gather(*[journal.append(batch(reading(n), reading(n + 1))) for n in range(10)])
    assert len(await journal.read(0, limit=3)) == 3
    assert len(await journal.read(0, max_items=4)) == 2
    assert len(await journal.read(0, max_bytes=1)) == 1


async def test_a_full_journal_keeps_what_is_pending_and_resolves_once_a_store_has_drained(
    tmp_path: Path,
) -> None:
    states: list[str] = []
    journal = Journal(
        tmp_path / "journal.db",
        quota_bytes=1 << 20,
        keep_recent=0,
        on_state=lambda state, _: states.append(state),
    )
    await journal.start()
    journal.register("duckdb")
    payload = [reading(n) for n in range(1000)]
    futures = [journal.append(batch(*payload)) for _ in range(30)]
    await until(lambda: journal.state == "full")
    assert not futures[-1].done()
    assert journal.pending_messages > 0
    after = 0
    while not futures[-1].done():
        if rows := await journal.read(after):
            after = rows[-1][0]
            await journal.advance("duckdb", after)
            await journal.trim()
        await asyncio.sleep(0.01)
    await asyncio.gather(*futures)
    await journal.stop()
    assert states[0] == "full"
    assert states[-1] == "ok"
    assert states == ["full", "ok"] * (len(states) // 2)
    assert journal.pending_bytes == journal.pending_messages == 0


@contextmanager
def no_file_may_grow_beyond(size: int):
    """A disk that refuses writes, without root: the process's limit on file sizes (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_refuses_writes_holds_appends_back_and_loses_none(journal: Journal) -> None:
    await journal.append(batch(reading(0)))
    with no_file_may_grow_beyond(4096):
        futures = [journal.append(batch(reading(n))) for n in range(1, 50)]
        await until(lambda: journal.state == "failing")
        assert not any(future.done() for future in futures)
    ids = await asyncio.gather(*futures)
    assert journal.state == "ok"
    assert len(set(ids)) == 49
    assert [row.readings[0].seq for _, row in await journal.read(0)] == list(range(50))


async def test_stopping_while_the_disk_refuses_tells_those_who_wait(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    await journal.start()
    with no_file_may_grow_beyond(4096):
        future = journal.append(batch(reading(1)))
        await until(lambda: journal.state == "failing")
        await journal.stop()
    with pytest.raises(JournalError, match="not recorded"):
        await future


async def test_trimming_waits_for_the_slowest_store_and_keeps_the_recent(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", keep_recent=3)
    await journal.start()
    ids = await asyncio.gather(*[journal.append(batch(reading(n))) for n in range(10)])
    await journal.trim()
    assert len(await journal.read(0)) == 10, "no store is registered: nothing may go"
    journal.register("duckdb")
    journal.register("influx")
    await journal.advance("duckdb", ids[9])
    await journal.trim()
    assert len(await journal.read(0)) == 10
    await journal.advance("influx", ids[4])
    await journal.trim()
    assert [row_id for row_id, _ in await journal.read(0)] == ids[5:]
    await journal.advance("influx", ids[9])
    await journal.trim()
    assert [row_id for row_id, _ in await journal.read(0)] == ids[7:]
    assert [b.readings[0].seq for b in await journal.recent(2)] == [8, 9]
    assert (await journal.lag(ids[7]))[0] == 2
    assert await journal.lag(ids[9]) == (0, None)
    await journal.stop()


async def test_the_file_gives_pages_back_after_a_long_backlog(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", keep_recent=0)
    await journal.start()
    journal.register("duckdb")
    many = [reading(n) for n in range(5000)]
    futures = [journal.append(batch(*many)) for _ in range(60)]
    await asyncio.gather(*futures)
    await journal.advance("duckdb", journal.newest)
    await journal.trim()
    await journal.stop()
    assert (tmp_path / "journal.db").stat().st_size < 20 << 20


async def test_a_drain_that_waits_notices_rows_of_this_and_of_another_process(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path / "journal.db"), Journal(tmp_path / "journal.db")
    await journal.start()
    await other.start()
    waiting = asyncio.create_task(journal.wait_beyond(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    first = await journal.append(batch(reading(1)))
    assert await waiting == first
    waiting = asyncio.create_task(journal.wait_beyond(first))
    second = await other.append(batch(reading(2)))
    assert await waiting == second > first
    assert [row.readings[0].seq for _, row in await journal.read(0)] == [1, 2]
    await other.stop()
    await journal.stop()


async def test_cursors_survive_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    await journal.start()
    assert await journal.position("influx") == 0
    await journal.advance("influx", 42)
    await journal.stop()
    await (journal := Journal(tmp_path / "journal.db")).start()
    assert await journal.position("influx") == 42
    await journal.stop()


async def test_raw_messages_are_kept_up_to_their_limit_newest_last(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", raw_bytes=100_000)
    await journal.start()
    for n in range(50):
        await journal.append(batch(reading(n)), [Message("a/b", bytes(5000)), Message("a/c", b"%d" % n)])
    kept = await journal.raw()
    await journal.stop()
    assert kept[-1].messages == [("a/b", bytes(5000)), ("a/c", b"49")]
    assert 10 <= len(kept) <= 20


async def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database, whatever else it may be" * 100)
    with pytest.raises(JournalError, match=r"damaged.*moving the file"):
        await Journal(path).start()
    assert path.read_bytes().startswith(b"not a database")


async def test_a_damaged_page_is_found_at_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (journal := Journal(path)).start()
    await asyncio.gather(*[journal.append(batch(reading(n))) for n in range(500)])
    await journal.stop()
    content = bytearray(path.read_bytes())
    content[-8192:-4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        await Journal(path).start()
    assert path.read_bytes() == content


async def test_a_folder_that_is_missing_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="check that its folder exists"):
        await Journal(tmp_path / "none" / "journal.db").start()


async def test_a_file_of_a_newer_hub_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (journal := Journal(path)).start()
    await journal.stop()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalError, match="newer hub; start that version again"):
        await Journal(path).start()


async def test_a_row_of_a_newer_format_is_refused_with_what_to_do(journal: Journal) -> None:
    await journal.append(batch(reading(1)))
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE rows SET version = 99")
    db.close()
    with pytest.raises(JournalError, match=r"format 99.*start the hub version that wrote it"):
        await journal.read(0)


# A batch of format 1 with one reading, as the first release wrote it.
VERSION_1 = bytes.fromhex(
    "9801cf18d75b8423f300009199a56e6f727468a96d6f6e69746f722d31ac6f62736572766174696f6e73cf18d75b845f8dca00"
    "cf18d75b845f8dca00cf18d75b845f8dca000182aa68656172745f72617465cb4052000000000000a473706f32cb4058400000"
    "00000082a473706f3292ac7175657374696f6e61626c65cb4058400000000000ab74656d706572617475726592a86e6f2d7661"
    "6c7565c09090909090"
)


async def test_rows_of_the_first_format_are_still_read(journal: Journal) -> None:
    with sqlite3.connect(journal.path) as db:
        db.execute(
            "INSERT INTO rows (version, received_ns, before, items, batch) VALUES (1, 0, 0, 1, ?)",
            (VERSION_1,),
        )
    db.close()
    [(_, row)] = await journal.read(0)
    [found] = row.readings
    assert (found.site, found.device, found.channel, found.seq) == ("north", "monitor-1", "observations", 1)
    assert found.values == {"heart_rate": 72.0, "spo2": 97.0}
    assert found.exceptions == {"spo2": ("questionable", 97.0), "temperature": ("no-value", None)}


def test_this_format_and_the_one_before_have_a_reader() -> None:
    assert set(journal_file.READERS) >= {
        version for version in (FORMAT_VERSION - 1, FORMAT_VERSION) if version
    }


async def test_rejects_are_written_with_their_batch_listed_counted_and_deleted(journal: Journal) -> None:
    await journal.append(batch(reading(1), rejections=[rejection("not JSON"), rejection("unknown unit")]))
    await journal.append(batch(rejections=[rejection("not JSON", device="pump-7")]))
    assert len(await journal.read(0)) == 1, "rejections alone make no row"
    rejected = await journal.rejected()
    assert [r.rejection.device for r in rejected] == ["pump-7", "monitor-1", "monitor-1"]
    assert await journal.rejected_by_reason() == {"not JSON": 2, "unknown unit": 1}
    [pump] = await journal.rejected(site="north", device="pump-7")
    assert pump.rejection == rejection("not JSON", device="pump-7")
    assert await journal.rejected(limit=1, before=rejected[0].id) == [rejected[1]]
    assert await journal.rejected_by_ids([pump.id, 10**9]) == [pump]
    assert await journal.delete_rejected([pump.id]) == 1
    assert await journal.rejected(device="pump-7") == []


async def test_rejects_are_bounded_by_age_and_by_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", rejects_days=1, rejects_bytes=10_000)
    await journal.start()
    day_ns = 86_400 * 10**9
    await journal.reject([rejection("old", received_ns=TIME_NS - 2 * day_ns), rejection("new")])
    await journal.trim(TIME_NS)
    assert await journal.rejected_by_reason() == {"new": 1}
    for n in range(500):
        await journal.append(batch(rejections=[rejection(f"r{n}")]))
    kept = await journal.rejected(limit=1000)
    await journal.stop()
    assert kept[0].rejection.reason == "r499"
    assert 40 < len(kept) < 100


def holds(folder: Path, what: bytes) -> bool:
    return any(what in file.read_bytes() for file in folder.iterdir())


async def test_erasing_leaves_no_byte_of_a_device_and_time_and_all_the_rest(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", keep_recent=0)
    await journal.start()
    for n in range(50):
        readings = [reading(n, "erased-device"), reading(n, "other")]
        raw = [Message("wards/v1/north/a/erased-device/observations", b"{}")]
        await journal.append(batch(*readings, rejections=[rejection(device="erased-device")]), raw)
    await journal.erase("north", "erased-device", TIME_NS, TIME_NS + 10**12)
    rows = await journal.read(0)
    assert {one.device for _, row in rows for one in row.readings} == {"other"}
    assert sum(len(row.readings) for _, row in rows) == 50
    assert await journal.rejected() == []
    assert await journal.raw() == []
    assert not holds(tmp_path, b"erased-device")
    await journal.append(batch(reading(51)))
    await journal.stop()

"""What is DuckDB's own; the promises of every store are in tests/integration/test_store_contract.py."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.model import Batch, DeviceAlarm, DeviceStatus, Reading, Sighting, ZoneChange
from hub.stores.duckdb import DuckDBStore
from hub.stores.store import Retention, StoreRefused, StoreUnavailable

DAY_NS = 86_400_000_000_000
TIME_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS


def reading(seq: int, device: str = "monitor-1", **values: float | str) -> Reading:
    time_ns = TIME_NS + seq * 1_000_000_000 + seq % 1_000_000
    return Reading(
        "north",
        device,
        "observations",
        time_ns,
        time_ns - 7,
        time_ns + 12_345_678,
        seq,
        values or {"heart_rate": 72.0},
    )


def batch(*readings: Reading) -> Batch:
    return Batch(1, TIME_NS, list(readings), [], [], [], [], [])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    opened = DuckDBStore(tmp_path / "series.duckdb")
    await opened.start()
    yield opened
    await opened.stop()


def rows(store: DuckDBStore, statement: str) -> list[tuple[object, ...]]:
    assert store._db is not None
    return store._db.execute(statement).fetchall()


def file_names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def test_the_position_moves_with_the_data_and_not_for_a_part_of_a_row(store: DuckDBStore) -> None:
    assert await store.position() == 0
    await store.write([(41, batch(reading(1))), (42, batch(reading(2)))])
    await store.write([(0, batch(reading(3)))])
    assert await store.position() == 42
    await store.write([(40, batch(reading(4)))])
    assert await store.position() == 42
    await store.stop()
    await store.start()
    assert await store.position() == 42
    assert len(await store.readings("north", "monitor-1", TIME_NS, TIME_NS + DAY_NS)) == 4


async def test_a_refused_row_leaves_nothing_behind_and_the_next_is_taken(store: DuckDBStore) -> None:
    await store.write([(1, batch(reading(1, acvpu="A")))])
    with pytest.raises(StoreRefused, match="acvpu holds text"):
        await store.write([(2, batch(reading(2, "pump-1"), reading(3, "pump-2", acvpu=1.0)))])
    with pytest.raises(StoreRefused, match="no vocabulary name"):
        await store.write([(2, batch(reading(3, "pump-3", **{'x"; DROP TABLE readings; --': 1.0})))])
    assert await store.position() == 1
    assert rows(store, "SELECT device FROM devices") == [("monitor-1",)]
    await store.write([(3, batch(reading(2, "pump-1")))])
    assert [r.seq for r in await store.readings("north", "pump-1", TIME_NS, TIME_NS + DAY_NS)] == [2]


async def test_a_number_beyond_64_bits_is_refused(store: DuckDBStore) -> None:
    odd = Reading("north", "d", "observations", 2**80, 0, 0, 1, {"heart_rate": 1.0})
    with pytest.raises(StoreRefused, match="64 bits"):
        await store.write([(1, batch(odd))])


async def test_a_parameter_that_comes_later_gets_its_column_and_is_absent_before(store: DuckDBStore) -> None:
    await store.write([(1, batch(reading(1)))])
    await store.write([(2, batch(reading(2, spo2=97.0, acvpu="V"), reading(3, volume_infused=0.0)))])
    found = await store.readings("north", "monitor-1", TIME_NS, TIME_NS + DAY_NS)
    assert [r.values for r in found] == [
        {"heart_rate": 72.0},
        {"spo2": 97.0, "acvpu": "V"},
        {"volume_infused": 0.0},
    ]


async def test_what_comes_again_after_its_day_was_compacted_is_still_one(store: DuckDBStore) -> None:
    many = [reading(n) for n in range(100)]
    await store.write([(1, batch(*many))])
    await store.expire(TIME_NS + 3 * DAY_NS, Retention())
    assert rows(store, "SELECT count(*) FROM readings_old") == [(100,)]
    late = reading(50, "monitor-2")
    await store.write([(2, batch(*many, late, reading(3 * 86_400)))])
    await store.expire(TIME_NS + 3 * DAY_NS, Retention())
    assert await store.readings("north", "monitor-1", TIME_NS, TIME_NS + DAY_NS) == many
    assert await store.readings("north", "monitor-2", TIME_NS, TIME_NS + DAY_NS) == [late]
    [point] = await store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + DAY_NS, 1)
    assert point.count == 100


async def test_compaction_makes_the_file_small_and_sorted(store: DuckDBStore, tmp_path: Path) -> None:
    for start in range(0, 30_000, 5_000):
        await store.write(
            [(start + 1, batch(*[reading(n, f"m-{n % 7}") for n in range(start, start + 5_000)]))]
        )
    before = await store.size_bytes()
    await store.expire(TIME_NS + 3 * DAY_NS, Retention())
    after = await store.size_bytes()
    assert before is not None
    assert after is not None
    assert after < before
    await store.start()
    order = rows(store, "SELECT _device, _time_ms FROM readings_old")
    assert order == sorted(order)  # type: ignore[type-var]
    assert file_names(tmp_path) <= {"series.duckdb", "series.duckdb.wal"}


async def test_statuses_device_alarms_and_sightings_are_kept_once(store: DuckDBStore) -> None:
    status = DeviceStatus("north", "pump-1", TIME_NS, TIME_NS + 5, "online", 88.0, "1.2", 5.0, True)
    alarm = DeviceAlarm(
        "north", "pump-1", TIME_NS, TIME_NS, "occlusion", "present", "high", "technical", None, "x"
    )
    sighting = Sighting("north", "gateway-1", "ac:23", TIME_NS, TIME_NS, -54, -59, None)
    both = Batch(1, TIME_NS, [], [], [status, status], [alarm], [sighting], [])
    for row_id in (1, 2):
        await store.write([(row_id, both)])
    assert rows(store, "SELECT _state, _battery, _firmware, _interval_s, _retained FROM statuses") == [
        ("online", 88.0, "1.2", 5.0, True)
    ]
    assert rows(store, "SELECT _condition, _presence, _priority, _text FROM device_alarms") == [
        ("occlusion", "present", "high", "x")
    ]
    assert rows(store, "SELECT _beacon, _rssi, _tx_power, _battery FROM sightings") == [
        ("ac:23", -54, -59.0, None)
    ]


async def test_a_file_of_before_zone_changes_were_kept_takes_them(store: DuckDBStore) -> None:
    rows(store, "DROP TABLE zone_changes")
    await store.stop()
    await store.start()
    change = ZoneChange("north", "AC233F000001", TIME_NS, TIME_NS, "entered", "room-1")
    await store.write([(1, Batch(1, TIME_NS, [], [], [], [], [], [], [change]))])
    assert await store.zone_changes("north", "AC233F000001", 0, 2**62, 1) == [change]


async def test_a_file_that_another_process_has_open_is_named(store: DuckDBStore, tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom hub.stores.duckdb import DuckDBStore\n"
        "asyncio.run(DuckDBStore(Path(sys.argv[1])).start())"
    )
    other = subprocess.run(  # noqa: ASYNC221 - the loop has nothing else to do
        [sys.executable, "-c", code, str(tmp_path / "series.duckdb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "open in another process" in other.stderr


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "series.duckdb"
    path.write_bytes(b"something else" * 1000)
    store = DuckDBStore(path)
    with pytest.raises((StoreRefused, StoreUnavailable), match=r"series\.duckdb"):
        await store.start()
    await store.stop()
    assert path.read_bytes() == b"something else" * 1000


@contextmanager
def no_file_may_grow_beyond(size: int) -> Iterator[None]:
    """A disk that refuses writes, without root: the process's limit on file sizes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_refuses_writes_is_unavailable_and_nothing_is_lost_or_doubled(
    store: DuckDBStore,
) -> None:
    await store.write([(1, batch(*[reading(n) for n in range(100)]))])
    row = batch(*[reading(n, f"m-{n}") for n in range(100, 200)])
    with no_file_may_grow_beyond(4096):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"series\.duckdb"):
                await store.write([(2, row)])
    assert await store.position() == 1
    await store.write([(2, row)])
    assert await store.position() == 2
    assert rows(store, "SELECT count(*), count(DISTINCT _device) FROM readings") == [(200, 101)]


WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from hub.model import Batch, Reading
from hub.stores.duckdb import DuckDBStore
async def main():
    store = DuckDBStore(Path(sys.argv[1]))
    await store.start()
    for n in range(1, 8):
        times = range(n * 1000, n * 1000 + 50)
        readings = [Reading("north", "monitor-1", "observations", t, 0, 0, t, {"spo2": 97.0}) for t in times]
        await store.write([(n, Batch(1, 0, readings, [], [], [], [], []))])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_what_write_took_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "series.duckdb"
    killed = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)  # noqa: ASYNC221 - as above
    assert killed.returncode == -signal.SIGKILL
    store = DuckDBStore(path)
    await store.start()
    assert await store.position() == 7
    assert len(await store.readings("north", "monitor-1", 0, 2**62)) == 350
    await store.stop()


EXPIRER = """
import asyncio, sys
from pathlib import Path
from hub.stores.duckdb import DuckDBStore
from hub.stores.store import Retention
async def main():
    store = DuckDBStore(Path(sys.argv[1]))
    await store.start()
    await store.expire(int(sys.argv[2]), Retention())
    await store.stop()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "point", ["duckdb:before-commit:1", "duckdb:before-commit:3", "duckdb:before-replace"]
)
async def test_a_kill_while_compacting_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    path = tmp_path / "series.duckdb"
    store = DuckDBStore(path)
    await store.start()
    many = [reading(n * 43) for n in range(3 * 2_000)]  # three days
    await store.write([(7, batch(*many))])
    await store.stop()
    killed = subprocess.run(  # noqa: ASYNC221 - the loop has nothing else to do
        [sys.executable, "-c", EXPIRER, str(path), str(TIME_NS + 9 * DAY_NS)],
        env={**os.environ, "HUB_FAILPOINT": point},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    await store.start()
    await store.expire(TIME_NS + 9 * DAY_NS, Retention())
    assert await store.position() == 7
    assert await store.readings("north", "monitor-1", TIME_NS, TIME_NS + 9 * DAY_NS) == many
    points = await store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + 9 * DAY_NS, 3)
    assert sum(point.count for point in points) == len(many)
    await store.stop()

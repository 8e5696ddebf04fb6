"""The score log on a real file, and a hub's scores over its restart."""

import sqlite3

import pytest
from test_system import NOW, SECOND, WARD, Hub, admit

from hub.alarms.book import BookUnusable
from hub.alarms.early_warning import AGAIN_NS, RECENT_NS, Assessment
from hub.alarms.news2 import Inputs, score
from hub.alarms.score_log import Scored, ScoreLog
from hub.ward.wardfile import parse

FULL = {
    "respiratory_rate": 16.0, "spo2": 97.0, "on_oxygen": False, "systolic": 120.0,
    "consciousness": "A", "temperature": 37.0,
}  # fmt: skip


def assessed(second: float, pulse: float | None = 70.0, excluded: str | None = None) -> Assessment:
    found = None if excluded else score(Inputs(**FULL, pulse=pulse))
    return Assessment(NOW + round(second * SECOND), found, {"pulse": 1.5}, {"pulse": "mon-1"}, excluded)


@pytest.fixture
async def log(tmp_path):
    log = ScoreLog(tmp_path / "scores.sqlite")
    await log.start()
    yield log
    await log.stop()


async def test_scores_come_back_whole_by_patient_and_time_the_newest_where_there_are_too_many(log):
    kept = [assessed(second, 70.0 + second) for second in range(10)]
    await log.add(Scored("pt-1", one) for one in kept)
    await log.add([Scored("pt-2", assessed(3, None)), Scored("pt-2", assessed(4, excluded="pregnant"))])
    assert await log.of("pt-1", 0, 2**62) == kept
    assert await log.of("pt-1", NOW + 2 * SECOND, NOW + 5 * SECOND) == kept[2:5]
    assert await log.of("pt-1", 0, 2**62, limit=3) == kept[-3:]
    assert await log.totals("pt-2", 0, 2**62) == [(NOW + 3 * SECOND, None), (NOW + 4 * SECOND, None)]
    assert [total for _, total in await log.totals("pt-1", 0, 2**62)] == [one.score.total for one in kept]


async def test_a_restart_loses_none(tmp_path):
    for _ in range(2):
        log = ScoreLog(tmp_path / "scores.sqlite")
        await log.start()
        if not await log.since(0):
            await log.add([Scored("pt-1", assessed(1)), Scored("pt-2", assessed(2))])
        assert await log.since(NOW + 2 * SECOND) == [Scored("pt-2", assessed(2))]
        await log.stop()


async def test_what_the_disk_refused_is_written_with_the_next(log, tmp_path):
    holder = sqlite3.connect(tmp_path / "scores.sqlite", isolation_level=None)
    await log._run(lambda: log._db.execute("PRAGMA busy_timeout = 10").fetchall())
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BookUnusable, match="make room"):
        await log.add([Scored("pt-1", assessed(1))])
    holder.execute("ROLLBACK")
    holder.close()
    await log.add([Scored("pt-1", assessed(2))])
    assert await log.of("pt-1", 0, 2**62) == [assessed(1), assessed(2)]


async def test_retention_and_erasure_leave_nothing(log, tmp_path):
    await log.add(
        [Scored("pt-secret", assessed(1)), Scored("pt-1", assessed(1)), Scored("pt-1", assessed(5))]
    )
    await log.expire(NOW + 2 * SECOND)
    assert await log.of("pt-1", 0, 2**62) == [assessed(5)]
    await log.add([Scored("pt-secret", assessed(6))])
    await log.erase("pt-secret")
    assert await log.of("pt-secret", 0, 2**62) == []
    assert not [file for file in tmp_path.iterdir() if b"pt-secret" in file.read_bytes()]


async def test_a_file_of_a_newer_hub_is_left_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / "newer.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BookUnusable, match="newer hub"):
        await ScoreLog(tmp_path / "newer.sqlite").start()


@pytest.fixture
async def hub(tmp_path):
    hub = Hub(tmp_path)
    await hub.registry.start()
    await hub.registry.seed(parse(WARD, "ward.toml"))
    await hub.start()
    yield hub
    await hub.stop()
    await hub.registry.stop()


async def test_the_score_history_survives_a_restart_and_goes_on_without_a_break(hub):
    patient = await admit(hub)
    for second, rate in ((0, 16.0), (10, 26.0), (20, 26.0)):
        hub.reads("mon-1", second, respiratory_rate=rate)
        await hub.alarms.sweep()
    before = await hub.alarms.scores.of(patient, 0, 2**62)
    assert [one.score.at_least for one in before] == [0, 3], "one a change"
    await hub.stop()
    await hub.start()
    assert hub.alarms.early_warning.recent(patient) == before
    hub.reads("mon-1", 30, respiratory_rate=26.0)
    await hub.alarms.sweep()
    assert await hub.alarms.scores.of(patient, 0, 2**62) == before, "nothing has changed over the restart"
    hub.reads("mon-1", 40, respiratory_rate=16.0)
    await hub.alarms.sweep()
    assert [one.score.at_least for one in await hub.alarms.scores.of(patient, 0, 2**62)] == [0, 3, 0]


async def test_a_score_that_stays_is_kept_every_quarter_of_an_hour_and_memory_holds_hours_alone(hub):
    patient = await admit(hub)
    for beat in range(24 * 4 + 1):
        hub.reads("mon-1", beat * AGAIN_NS / SECOND, respiratory_rate=16.0)
        hub.now_ns += SECOND // 2
        await hub.alarms.sweep()
    kept = await hub.alarms.scores.of(patient, 0, 2**62)
    assert len(kept) == 24 * 4 + 1
    recent = hub.alarms.early_warning.recent(patient)
    assert len(recent) == RECENT_NS // AGAIN_NS + 1

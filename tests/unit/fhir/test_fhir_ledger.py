"""The ledger keeps accesses that come together in one piece."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from hub.api.fhir.ledger import Ledger, LedgerUnavailable
from hub.fhir.audit import Access


def _access(number: int) -> Access:
    return Access(0, number, "R", "search-type", f"Observation/{number}", "ehr", "it", "192.0.2.7", 200)


@pytest.fixture
async def ledger(tmp_path):
    ledger = Ledger(tmp_path / "fhir.db")
    await ledger.start()
    yield ledger
    await ledger.stop()


async def test_accesses_that_come_at_once_are_all_kept_in_their_order(ledger):
    await asyncio.gather(*(ledger.record(_access(number)) for number in range(501)))
    kept = await ledger.accesses(limit=1_000)
    assert [one.time_ns for one in kept] == list(range(500, -1, -1))
    assert [one.id for one in kept] == list(range(501, 0, -1))


async def test_an_access_is_in_the_file_once_it_was_waited_for(ledger):
    for number in range(3):
        await ledger.record(_access(number))
        with closing(sqlite3.connect(ledger.path)) as other:
            assert other.execute("SELECT count(*), max(time_ns) FROM access").fetchone() == (
                number + 1,
                number,
            )


async def test_what_is_under_way_is_kept_before_the_file_is_closed(ledger):
    recording = [asyncio.create_task(ledger.record(_access(number))) for number in range(450)]
    await asyncio.sleep(0)
    await ledger.stop()
    await asyncio.gather(*recording)
    await ledger.start()
    assert len(await ledger.accesses(limit=1_000)) == 450


async def test_who_does_not_wait_any_more_keeps_nobody_from_being_kept(ledger):
    recording = [asyncio.create_task(ledger.record(_access(number))) for number in range(3)]
    await asyncio.sleep(0)
    recording[1].cancel()
    await asyncio.gather(*recording, return_exceptions=True)
    assert [one.time_ns for one in await ledger.accesses()] == [2, 1, 0]


async def test_everybody_is_told_when_nothing_can_be_kept_and_it_goes_on_after_that(ledger):
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("ALTER TABLE access RENAME TO away")
        told = await asyncio.gather(
            *(ledger.record(_access(number)) for number in range(3)), return_exceptions=True
        )
        other.execute("ALTER TABLE away RENAME TO access")
    assert [type(one) for one in told] == [LedgerUnavailable] * 3
    assert "no such table" in str(told[0])
    await ledger.record(_access(7))
    assert [one.time_ns for one in await ledger.accesses()] == [7]


async def test_other_changes_stay_whole_after_accesses(ledger):
    await ledger.record(_access(1))

    def half(db: sqlite3.Connection) -> None:
        with db:
            db.execute("INSERT INTO cursor VALUES ('half', 1)")
            raise sqlite3.OperationalError

    with pytest.raises(LedgerUnavailable):
        await ledger._do(half)
    assert await ledger.position("half") is None


async def test_a_closed_ledger_says_so(ledger):
    await ledger.stop()
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.record(_access(1))

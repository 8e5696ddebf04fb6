"""Rejects run again: what is accepted is journalled once and leaves them, all else stays as it was."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from line_parts import CATALOG, NOW, SECOND, body, topic

from hub.clock import ClockLimits
from hub.journal import Journal
from hub.model import FORMAT_VERSION, Batch, Message, Reading, Rejection
from hub.rejects import refused, too_large
from hub.replay import Replay


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.db", keep_recent=0)
    await opened.start()
    yield opened
    await opened.stop()


def make_replay(journal: Journal, offset_ns: int = 0) -> Replay:
    return Replay(
        journal,
        CATALOG,
        ClockLimits(),
        provisioned=lambda _site, _device: ("", "", 0.0),
        offset_of=lambda _: offset_ns,
    )


def rejection(payload: bytes, device: str = "mon-1", reason: str = "unit not accepted") -> Rejection:
    return Rejection(topic(device), payload, "$", reason, NOW + 5 * SECOND, "main", device)


async def ids_of(journal: Journal) -> list[int]:
    return [one.id for one in reversed(await journal.rejected())]


async def test_what_is_accepted_now_is_journalled_at_its_own_time_and_leaves_the_rejects(
    journal: Journal,
) -> None:
    good, bad = body(NOW, 7, heart_rate=72), b"{"
    await journal.reject([rejection(good), rejection(bad)])
    first, second = await ids_of(journal)
    done = await make_replay(journal).by_ids([first, second, 999])
    assert (done.accepted, done.rejected, done.gone) == (1, 1, 1)
    (batch,) = await journal.recent(100)
    (reading,) = batch.readings
    assert (reading.device, reading.seq, reading.values) == ("mon-1", 7, {"heart_rate": 72.0})
    assert reading.time_ns // 1_000_000 == NOW // 1_000_000
    assert reading.received_ns == NOW + 5 * SECOND, "when it first came"
    assert await ids_of(journal) == [second]


async def test_all_rejects_are_run_page_by_page_or_those_of_one_device(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.replay.PAGE", 3)
    await journal.reject([rejection(body(NOW, seq), f"mon-{seq % 2}") for seq in range(10)])
    replay = make_replay(journal)
    done = await replay.all(device="mon-1")
    assert (done.accepted, done.rejected) == (5, 0)
    done = await replay.all()
    assert (done.accepted, done.rejected) == (5, 0)
    readings = [reading for batch in await journal.recent(100) for reading in batch.readings]
    assert sorted(reading.seq for reading in readings) == list(range(10))
    assert await ids_of(journal) == []


async def test_a_message_that_is_still_wrong_in_part_stays_whole_in_the_rejects(journal: Journal) -> None:
    await journal.reject([rejection(body(NOW, 1, heart_rate=72, no_such_thing=1))])
    done = await make_replay(journal).by_ids(await ids_of(journal))
    assert (done.accepted, done.rejected) == (0, 1)
    assert len(await ids_of(journal)) == 1
    assert await journal.recent(100) == []


async def test_the_beginning_of_a_message_that_was_too_large_is_never_taken_for_all_of_it(
    journal: Journal,
) -> None:
    beginning = body(NOW, 1)
    cut = too_large(Message(topic(), beginning, full_size=3_000_000))
    await journal.reject([rejection(beginning, reason=cut)])
    done = await make_replay(journal).by_ids(await ids_of(journal))
    assert (done.accepted, done.rejected) == (0, 1)
    assert await journal.recent(100) == []


async def test_the_devices_clock_offset_counts_as_it_is_known_now(journal: Journal) -> None:
    behind_ns = 3600 * SECOND
    await journal.reject([rejection(body(NOW - behind_ns, 1))])
    await make_replay(journal, offset_ns=-behind_ns).by_ids(await ids_of(journal))
    (batch,) = await journal.recent(100)
    assert batch.readings[0].time_ns // 1_000_000 == NOW // 1_000_000


async def test_what_a_store_refused_goes_to_the_stores_again_as_it_was(journal: Journal) -> None:
    reading = Reading("main", "mon-1", "observations", NOW, NOW, NOW, 1, {"heart_rate": 72.0})
    one = Batch(FORMAT_VERSION, NOW, [reading], [], [], [], [], [])
    await journal.reject([refused("influxdb", one, "field type conflict", NOW)])
    done = await make_replay(journal).by_ids(await ids_of(journal))
    assert done.accepted == 1
    assert await journal.recent(100) == [one]

"""Erasing one device's readings of a period from the journal's own file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.journal import Journal
from hub.journal_erasure import _erase_batch
from hub.model import (
    FORMAT_VERSION,
    Batch,
    DeviceAlarm,
    DeviceStatus,
    Message,
    Reading,
    Rejection,
    Sighting,
    Waveform,
    ZoneChange,
)

T = 1_790_000_000_000_000_000
SECRET = "Erika-" * 50


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.db", keep_recent=0)
    await opened.start()
    yield opened
    await opened.stop()


def reading(device: str, time_ns: int, seq: int = 1) -> Reading:
    return Reading("main", device, "observations", time_ns, time_ns, time_ns, seq, {"heart_rate": 72.0})


def everything(device: str, time_ns: int, text: str = "") -> Batch:
    """Return a batch with one of each kind."""
    return Batch(
        FORMAT_VERSION,
        time_ns,
        [reading(device, time_ns)],
        [Waveform("main", device, "pleth", time_ns, time_ns, 1, 125.0, 1.0, 0.0, "", [1.0, 2.0])],
        [DeviceStatus("main", device, time_ns, time_ns, "online", firmware=text)],
        [DeviceAlarm("main", device, time_ns, time_ns, "occlusion", "present", text=text)],
        [Sighting("main", device, "beacon-1", time_ns, time_ns, -60)],
        [],
        [ZoneChange("main", device, time_ns, time_ns, "entered", "room-1")],
    )


def left(batches: list[Batch]) -> list[tuple[str, int]]:
    found = []
    for batch in batches:
        items = [*batch.readings, *batch.waveforms, *batch.statuses, *batch.device_alarms]
        items += batch.zone_changes
        found += [(item.device, item.time_ns) for item in items]
        found += [(item.gateway, item.time_ns) for item in batch.sightings]
    return sorted(found)


async def test_everything_of_the_device_in_the_period_goes_and_nothing_else(journal: Journal) -> None:
    for time_ns in (T - 1, T, T + 99, T + 100):
        for device in ("mon-1", "mon-2"):
            await journal.append(everything(device, time_ns))
    await journal.erase("main", "mon-1", T, T + 100)
    kept = [("mon-1", T - 1), ("mon-1", T + 100)]
    kept += [("mon-2", time_ns) for time_ns in (T - 1, T, T + 99, T + 100)]
    assert left(await journal.recent(10**6)) == sorted(kept * 6)
    await journal.erase("north", "mon-2", T - 1, T + 101)
    assert left(await journal.recent(10**6)) == sorted(kept * 6), "another site's device of that name"


async def test_what_gateways_heard_of_an_erased_beacon_goes(journal: Journal) -> None:
    for time_ns in (T - 1, T, T + 100):
        await journal.append(everything("gw-1", time_ns))
    await journal.erase("main", "beacon-1", T, T + 100)
    (_, middle, _) = batches = await journal.recent(10**6)
    assert [len(batch.sightings) for batch in batches] == [1, 0, 1]
    assert len(middle.readings) == 1, "the gateway's own stays"


async def test_raw_messages_since_then_go_and_rejects_of_the_device_or_of_nobody(journal: Journal) -> None:
    def rejection(device: str | None, received_ns: int) -> Rejection:
        return Rejection(f"of/{device}", b"{", "$", "wrong", received_ns, device and "main", device)

    for received_ns in (T - 1, T, T + 500):
        batch = everything("mon-2", received_ns)
        for device in ("mon-1", "mon-2", None):
            batch.rejections.append(rejection(device, received_ns))
        await journal.append(batch, [Message("of/mon-1", b"%d" % received_ns)])
    await journal.erase("main", "mon-1", T, T + 100)
    raw = await journal.raw()
    assert [row.messages for row in raw] == [[("of/mon-1", b"%d" % (T - 1))]]
    kept = {(one.rejection.device, one.rejection.received_ns) for one in await journal.rejected()}
    assert kept == {("mon-1", T - 1), (None, T - 1), ("mon-2", T - 1), ("mon-2", T), ("mon-2", T + 500)}


async def test_what_was_erased_can_not_be_read_from_the_files(journal: Journal, tmp_path: Path) -> None:
    def in_files() -> bool:
        return any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())

    batch = everything("mon-1", T, SECRET)
    batch.rejections.append(Rejection("t", SECRET.encode(), "$", "wrong", T, "main", "mon-1"))
    await journal.append(batch, [Message("t", SECRET.encode())])
    assert in_files()
    await journal.erase("main", "mon-1", T, T + 1)
    assert not in_files()


async def test_the_journal_goes_on_as_before_after_an_erasure(journal: Journal) -> None:
    ids = [await journal.append(everything("mon-1", T + number)) for number in range(3)]
    await journal.erase("main", "mon-1", T, T + 1)
    later = await journal.append(everything("mon-1", T + 7))
    assert [row_id for row_id, _ in await journal.read(0)] == [*ids, later], (
        "a cursor still means the same rows"
    )
    assert left(await journal.recent(10**6))[-1] == ("mon-1", T + 7)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 20)), max_size=20),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_a_batch_keeps_exactly_what_is_not_asked_for(
    items: list[tuple[str, int]], start_ns: int, end_ns: int
) -> None:
    readings = [reading(device, time_ns) for device, time_ns in items]
    batch = Batch(FORMAT_VERSION, 0, list(readings), [], [], [], [], [])
    kept = [one for one in readings if not (one.device == "a" and start_ns <= one.time_ns < end_ns)]
    assert _erase_batch(batch, "main", "a", start_ns, end_ns) == (kept != readings)
    assert batch.readings == kept

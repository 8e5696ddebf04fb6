import asyncio
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model import Batch, Reading
from hub.stores.duckdb import DuckDBStore
from hub.stores.newest import holds
from hub.stores.recent import Recent
from hub.stores.store import Retention, StoreRefused

MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000
TIME_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS
EVER = (0, 2**62)


def reading(at: int, channel: str = "observations", device: str = "mon-1", **values: float) -> Reading:
    time_ns = TIME_NS + at * 1_000_000
    return Reading("north", device, channel, time_ns, 0, time_ns + 5, 0, values or {"heart_rate": float(at)})


class Naive:
    """What a store promises, in the most direct way."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str, int], Reading] = {}

    def write(self, readings):
        for one in readings:
            self.stored.setdefault((one.device, one.channel, one.time_ns), one)

    def within(self, device, start_ns, end_ns):
        found = [r for r in self.stored.values() if r.device == device and start_ns <= r.time_ns < end_ns]
        return sorted(found, key=lambda r: r.time_ns)

    def newest(self, device, start_ns, end_ns, limit, parameters):
        found = [r for r in self.within(device, start_ns, end_ns) if holds(r, parameters)]
        return found[::-1][:limit]


times = st.integers(0, 30)
written = st.lists(
    st.builds(
        lambda at, channel, device, spo2: reading(at, channel, device, **({"spo2": 97.0} if spo2 else {})),
        times,
        st.sampled_from(["observations", "a"]),
        st.sampled_from(["mon-1", "mon-2", "mon-3"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)
asked = st.tuples(
    st.sampled_from(["mon-1", "mon-2", "mon-3"]),
    times,
    times,
    st.integers(1, 6),
    st.sampled_from([(), ("spo2",)]),
    st.booleans(),
)


@given(st.lists(st.one_of(written, asked, st.none()), max_size=25), st.booleans())
def test_it_says_what_the_store_says_or_nothing(steps, all_of_time):
    store, recent = Naive(), Recent(devices=2, most=4)
    for step in steps:
        if step is None:
            store.stored = {key: one for key, one in store.stored.items() if one.time_ns % 2_000_000}
            recent.forget()
        elif isinstance(step, list):
            store.write(step)
            recent.add(step)
        else:
            device, first, last, limit, parameters, newest = step
            start_ns, end_ns = (
                EVER if all_of_time else (TIME_NS + first * 1_000_000, TIME_NS + last * 1_000_000)
            )
            if not recent.knows("north", device):
                recent.keep("north", device, store.newest(device, *EVER, recent.most, ()))
            if newest:
                found = recent.newest("north", device, start_ns, end_ns, limit, parameters)
                wanted = store.newest(device, start_ns, end_ns, limit, parameters)
            else:
                found = recent.readings("north", device, start_ns, end_ns, limit)
                wanted = store.within(device, start_ns, end_ns)[:limit]
            if found is not None:
                # Of several channels at the last time a limit may leave out either.
                assert [one.time_ns for one in found] == [one.time_ns for one in wanted]
                assert all(one in store.within(device, start_ns, end_ns) for one in found)
                assert len({(one.channel, one.time_ns) for one in found}) == len(found)
        assert len(recent._rings) <= 2
        assert all(len(ring.readings) <= 4 + 1 for ring in recent._rings.values())


def test_what_was_asked_once_is_answered_without_a_look():
    recent = Recent(most=4)
    recent.keep("north", "mon-1", [reading(at) for at in (9, 8, 7, 6)])
    recent.add([reading(10), reading(10), reading(5), reading(10, "a")])
    newest = recent.newest("north", "mon-1", *EVER, 3)
    assert [(one.time_ns - TIME_NS) // 1_000_000 for one in newest] == [10, 10, 9]
    assert recent.newest("north", "mon-1", *EVER, 6) is None
    assert recent.newest("north", "mon-2", *EVER, 1) is None
    assert recent.readings("north", "mon-1", TIME_NS, TIME_NS + DAY_NS, 9) is None
    assert recent.readings("north", "mon-9", TIME_NS + DAY_NS, *EVER[1:], 9) == []


def test_who_was_asked_for_longest_ago_goes_first():
    recent = Recent(devices=2)
    for device in ("a", "b"):
        recent.keep("north", device, [])
    assert recent.newest("north", "a", *EVER, 1) == []
    recent.keep("north", "c", [])
    assert [recent.knows("north", device) for device in ("a", "b", "c")] == [True, False, True]


@pytest.fixture
async def store(tmp_path: Path):
    opened = DuckDBStore(tmp_path / "series.duckdb")
    await opened.start()
    yield opened
    await opened.stop()


async def newest(store, count=3, *parameters):
    found = await store.newest("north", "mon-1", *EVER, count, parameters)
    return [(one.time_ns - TIME_NS) // 1_000_000 for one in found]


async def write(store, *readings):
    await store.write([(1, Batch(1, TIME_NS, list(readings), [], [], [], [], []))])


async def test_the_store_tells_what_was_written_erased_refused_and_expired_since_it_was_asked(store):
    await write(store, *(reading(at) for at in range(200)))
    assert await newest(store) == [199, 198, 197]
    assert await newest(store, 100) == list(range(199, 99, -1))
    await write(store, reading(201), reading(200), reading(199, heart_rate=1.0), reading(3, "a"))
    assert await newest(store) == [201, 200, 199]
    (again,) = await store.readings("north", "mon-1", TIME_NS + 199_000_000, TIME_NS + 199_000_001)
    assert again.values == {"heart_rate": 199.0}
    with pytest.raises(StoreRefused):
        await write(store, reading(202), reading(203, **{"Not A Name": 1.0}))
    assert await newest(store) == [201, 200, 199]
    await store.erase("north", "mon-1", TIME_NS + 200_000_000, TIME_NS + DAY_NS)
    assert await newest(store) == [199, 198, 197]
    await store.stop()
    await store.start()
    assert await newest(store) == [199, 198, 197]
    await store.expire(TIME_NS + 10 * DAY_NS, Retention(1, 1, 1))
    assert await newest(store) == []


async def test_what_was_asked_once_is_answered_while_the_store_is_at_work(store):
    await write(store, *(reading(at) for at in range(9)))
    assert await newest(store) == [8, 7, 6]
    over = threading.Event()
    work = asyncio.create_task(store._do(lambda _: over.wait(30)))
    try:
        await asyncio.sleep(0)
        assert await asyncio.wait_for(newest(store), 10) == [8, 7, 6]
        last = store.readings("north", "mon-1", TIME_NS + 8_000_000, TIME_NS + DAY_NS)
        assert len(await asyncio.wait_for(last, 10)) == 1
        assert not work.done()
    finally:
        over.set()
        await work


def test_who_asks_in_the_middle_of_a_change_takes_a_look():
    recent = Recent()
    recent.keep("north", "mon-1", [reading(1)])
    with recent._changing:
        assert recent.newest("north", "mon-1", *EVER, 1) is None
        assert recent.readings("north", "mon-1", *EVER, 1) is None
    assert recent.newest("north", "mon-1", *EVER, 1) == [reading(1)]


async def test_what_is_asked_for_is_found_in_what_was_moved_and_beyond_the_last_minutes(store):
    day = 24 * 60 * 60 * 1000
    await write(store, reading(0, spo2=90.0), reading(1), reading(2 * day, heart_rate=1.0))
    await store.expire(TIME_NS + 2 * DAY_NS, Retention(30, 30, 30))
    await store.stop()
    await store.start()
    assert await newest(store, 5) == [2 * day, 1, 0]
    assert await newest(store, 1, "spo2") == [0]
    assert await newest(store, 1, "temperature") == []
    late = await store.newest("north", "mon-1", TIME_NS, TIME_NS + MINUTE_NS, 1)
    assert [one.time_ns for one in late] == [TIME_NS + 1_000_000]


async def test_a_name_that_is_another_parameters_text_does_not_count(store):
    one = Reading(
        "north", "mon-1", "observations", TIME_NS, 0, TIME_NS, 0, {}, {"pump_drug": ("invalid", "spo2")}
    )
    await write(store, one)
    assert await store.newest("north", "mon-1", *EVER, 1, ("spo2",)) == []
    assert await store.newest("north", "mon-1", *EVER, 1, ("pump_drug",)) == [one]

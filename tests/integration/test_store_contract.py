"""The promises of hub/stores/store.py, kept by DuckDB, a real InfluxDB 1.6 and a real VictoriaMetrics."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr

from hub.model import Batch, Reading, Sighting, Waveform, ZoneChange
from hub.stores.duckdb import DuckDBStore
from hub.stores.influx import InfluxSettings, InfluxStore
from hub.stores.store import Retention, Store, StoreRefused, StoreUnavailable, Total
from hub.stores.victoria import VictoriaSettings, VictoriaStore
from tests.databases import Server, WriteShim, influxd, victoria_metrics

pytestmark = pytest.mark.integration

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS
TIME_NS = 1_790_000_000 * SECOND_NS // DAY_NS * DAY_NS


def reading(seq: int, device: str = "monitor-1", at_ns: int | None = None, **values: float | str) -> Reading:
    ms_ns = TIME_NS + seq * SECOND_NS if at_ns is None else at_ns
    time_ns = ms_ns + seq % 1_000_000
    return Reading(
        "north",
        device,
        "observations",
        time_ns,
        ms_ns - 3_000_000,
        ms_ns + 42_000_000,
        seq,
        values or {"heart_rate": 72.0},
    )


def batch(*readings: Reading) -> Batch:
    return Batch(1, TIME_NS, list(readings), [], [], [], [], [])


class Case:
    """A store with what stands behind it."""

    def __init__(self, store: Store, server: Server | None) -> None:
        self.store = store
        self.server = server
        self.kind = type(store).__name__
        self._row = 0

    async def write(self, *readings: Reading) -> None:
        self._row += 1
        await self.store.write([(self._row, batch(*readings))])

    async def settle(self) -> None:
        """VictoriaMetrics shows what it took after a second; a test needn't wait for it."""
        if isinstance(self.store, VictoriaStore):
            await self.store._client.request("GET", "/internal/force_flush", {})

    async def readings(
        self, device: str = "monitor-1", start_ns: int = 0, end_ns: int = 2**62
    ) -> list[Reading]:
        await self.settle()
        return await self.store.readings("north", device, start_ns, end_ns)


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Case]:
    async with AsyncExitStack() as stack:
        server: Server | None = None
        store: Store
        if kind == "duckdb":
            store = DuckDBStore(folder / "series.duckdb")
        elif kind == "influxdb":
            server = influxd(folder)
            shim = WriteShim(server.url)
            await shim.start()
            stack.push_async_callback(shim.stop)
            store = InfluxStore(InfluxSettings(url=shim.url, bucket="wards"))  # type: ignore[arg-type]  # pydantic parses it
        else:
            server = victoria_metrics(folder)
            store = VictoriaStore(VictoriaSettings(url=server.url, settle_s=1))  # type: ignore[arg-type]
        if server is not None:
            await asyncio.to_thread(server.start)
            stack.callback(server.stop)
        await store.start()
        stack.push_async_callback(store.stop)
        yield Case(store, server)


@pytest.fixture(params=["duckdb", "influxdb", "victoriametrics"])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    async with opened(request.param, tmp_path) as one:
        yield one


def as_kept(case: Case, one: Reading) -> Reading:
    """What a store gives back: VictoriaMetrics has neither text nor anything below the millisecond."""
    if case.kind != "VictoriaStore":
        return one
    numbers = {name: value for name, value in one.values.items() if not isinstance(value, str)}
    ms_ns = one.time_ns // 1_000_000 * 1_000_000
    return msgspec.structs.replace(
        one, time_ns=ms_ns, received_ns=ms_ns + one.received_ns - one.time_ns, values=numbers
    )


async def test_readings_come_back_as_they_were_in_order_and_within_their_time(case: Case) -> None:
    sent = [reading(n, heart_rate=60.0 + n, temperature=36.8, acvpu="V") for n in range(10)]
    sent[3] = msgspec.structs.replace(sent[3], device_time_ns=0)
    await case.write(*reversed(sent))
    kept = [as_kept(case, one) for one in sent]
    assert await case.readings() == kept
    some = await case.readings(start_ns=kept[2].time_ns, end_ns=kept[5].time_ns)
    assert some == kept[2:5]
    assert await case.store.readings("north", "monitor-1", 0, 2**62, limit=4) == kept[:4]
    assert await case.readings("monitor-2") == []
    assert await case.store.readings("south", "monitor-1", 0, 2**62) == []


async def test_the_readings_of_a_site_are_those_of_all_its_devices_and_of_no_other(case: Case) -> None:
    here = [reading(n, f"monitor-{n % 3}", heart_rate=60.0 + n) for n in range(9)]
    here[4] = msgspec.structs.replace(here[4], channel="pump-a", values={"spo2": 97.0})
    there = msgspec.structs.replace(reading(2, heart_rate=99.0), site="south")
    await case.write(*reversed(here), there)
    await case.settle()
    kept = [as_kept(case, one) for one in here]
    assert await case.store.site_readings("north", 0, 2**62) == kept
    assert await case.store.site_readings("north", kept[2].time_ns, kept[6].time_ns) == kept[2:6]
    assert await case.store.site_readings("north", 0, 2**62, limit=4) == kept[:4]
    assert await case.store.site_readings("south", 0, 2**62) == [as_kept(case, there)]
    assert await case.store.site_readings("east", 0, 2**62) == []


async def test_the_newest_readings_come_newest_first_and_by_parameter(case: Case) -> None:
    sent = [reading(n, heart_rate=60.0 + n) for n in range(0, 3000, 100)]
    sent[5] = reading(500, heart_rate=65.0, temperature=36.5)
    sent[20] = msgspec.structs.replace(
        reading(2000, heart_rate=80.0), exceptions={"temperature": ("no-value", None)}
    )
    await case.write(*sent)
    await case.settle()
    kept = [as_kept(case, one) for one in sent]

    async def newest(limit: int, *parameters: str, end_ns: int = TIME_NS + DAY_NS) -> list[Reading]:
        return await case.store.newest("north", "monitor-1", TIME_NS - DAY_NS, end_ns, limit, parameters)

    assert await newest(3) == kept[:-4:-1]
    assert await newest(12) == kept[:-13:-1]
    assert await newest(100) == kept[::-1]
    assert await newest(1, "temperature") == [kept[20]]
    assert await newest(5, "temperature") == [kept[20], kept[5]]
    assert await newest(1, "temperature", end_ns=kept[20].time_ns) == [kept[5]]
    assert await newest(2, "spo2", "heart_rate", end_ns=kept[3].time_ns) == [kept[2], kept[1]]
    assert await newest(5, "spo2") == []
    assert await case.store.newest("north", "monitor-2", 0, 2**62, 5) == []


async def test_the_same_reading_again_in_this_batch_or_another_stays_one(case: Case) -> None:
    sent = [reading(n, heart_rate=60.0 + n) for n in range(20)]
    await case.write(*sent, *sent[:5])
    await case.write(*sent)
    await case.store.write([(1, batch(*sent))])
    assert await case.readings() == [as_kept(case, one) for one in sent]
    assert await case.store.totals("north", "monitor-1") == {
        "heart_rate": Total(20, sum(60.0 + n for n in range(20)))
    }
    [point] = await case.store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + DAY_NS, 1)
    assert point.count == 20


async def test_two_readings_of_one_millisecond_stay_two(case: Case) -> None:
    await case.write(reading(1, at_ns=TIME_NS, heart_rate=70.0))
    await case.write(reading(2, at_ns=TIME_NS, heart_rate=71.0))
    found = await case.readings()
    if case.kind == "VictoriaStore":
        assert len(found) == 1, "it keeps milliseconds, as its docstring says"
        return
    assert [(one.seq, one.values) for one in found] == [(1, {"heart_rate": 70.0}), (2, {"heart_rate": 71.0})]


async def test_two_channels_of_a_device_at_one_time_stay_two(case: Case) -> None:
    one = reading(1, "pump-1", infusion_rate=5.0)
    two = msgspec.structs.replace(one, channel="channel-2", values={"infusion_rate": 7.0})
    await case.write(one, two)
    found = await case.readings("pump-1")
    assert {(r.channel, r.values["infusion_rate"]) for r in found} == {
        ("observations", 5.0),
        ("channel-2", 7.0),
    }
    assert await case.store.totals("north", "pump-1") == {"infusion_rate": Total(2, 12.0)}


async def test_no_value_and_invalid_are_never_given_out_as_values(case: Case) -> None:
    odd = msgspec.structs.replace(
        reading(1, spo2=88.0),
        exceptions={
            "heart_rate": ("invalid", 999.0),
            "spo2": ("questionable", 88.0),
            "temperature": ("no-value", None),
        },
    )
    nothing = msgspec.structs.replace(reading(2), values={}, exceptions={"heart_rate": ("no-value", None)})
    await case.write(odd, nothing, reading(3, heart_rate=70.0))
    assert await case.readings() == [
        as_kept(case, one) for one in (odd, nothing, reading(3, heart_rate=70.0))
    ]
    totals = await case.store.totals("north", "monitor-1")
    assert totals == {"heart_rate": Total(1, 70.0), "spo2": Total(1, 88.0)}
    [point] = await case.store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + MINUTE_NS, 1)
    assert (point.count, point.minimum, point.maximum) == (1, 70.0, 70.0)


async def test_a_trend_has_minimum_mean_and_maximum_of_each_step(case: Case) -> None:
    await case.write(*[reading(n, heart_rate=float(n)) for n in range(100) if not 40 <= n < 60])
    await case.settle()
    points = await case.store.trend(
        "north", "monitor-1", "heart_rate", TIME_NS + 5 * SECOND_NS, TIME_NS + 105 * SECOND_NS, 5
    )
    assert [(p.time_ns - TIME_NS) // SECOND_NS for p in points] == [5, 25, 45, 65, 85]
    assert [(p.minimum, p.mean, p.maximum, p.count) for p in points] == [
        (5.0, 14.5, 24.0, 20),
        (25.0, 32.0, 39.0, 15),
        (60.0, 62.0, 64.0, 5),
        (65.0, 74.5, 84.0, 20),
        (85.0, 92.0, 99.0, 15),
    ]
    assert await case.store.trend("north", "monitor-1", "spo2", TIME_NS, TIME_NS + DAY_NS, 5) == []
    assert await case.store.trend("north", "monitor-9", "heart_rate", TIME_NS, TIME_NS + DAY_NS, 5) == []


async def test_erasing_takes_a_device_and_a_time_and_nothing_else(case: Case) -> None:
    mine = [reading(n, heart_rate=60.0 + n) for n in range(10)]
    others = [reading(n, "monitor-2", heart_rate=60.0 + n) for n in range(10)]
    await case.write(*mine, *others)
    await case.settle()
    await case.store.erase("north", "monitor-1", mine[3].time_ns, mine[7].time_ns)
    left = [*mine[:3], *mine[7:]]
    assert await case.readings() == [as_kept(case, one) for one in left]
    assert await case.readings("monitor-2") == [as_kept(case, one) for one in others]
    expected = Total(6, sum(float(one.values["heart_rate"]) for one in left))
    assert await case.store.totals("north", "monitor-1") == {"heart_rate": expected}
    await case.write(reading(20, heart_rate=99.0))
    assert [one.seq for one in await case.readings()] == [0, 1, 2, 7, 8, 9, 20]


async def test_old_readings_leave_their_trend_behind_and_the_rest_stays(case: Case) -> None:
    if case.kind == "VictoriaStore":
        await case.write(reading(1))
        await case.store.expire(TIME_NS + 30 * DAY_NS, Retention(readings_days=10))
        assert await case.readings() == [as_kept(case, reading(1))], "retention is the server's own"
        return
    old = [reading(n, heart_rate=float(n % 50), acvpu="A") for n in range(600)]
    mid = [reading(n + 5 * 86_400, heart_rate=100.0) for n in range(60)]
    new = [reading(n + 20 * 86_400, heart_rate=200.0) for n in range(60)]
    await case.write(*old, *mid, *new)
    now_ns = TIME_NS + 20 * DAY_NS + DAY_NS // 2
    before = await case.store.totals("north", "monitor-1")
    for _ in range(2):
        await case.store.expire(now_ns, Retention(readings_days=17, trends_days=100))
        assert await case.readings() == [*mid, *new]
        assert await case.store.totals("north", "monitor-1") == before
    points = await case.store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + 10 * MINUTE_NS, 5)
    assert [(p.minimum, p.maximum, p.count) for p in points] == [(0.0, 49.0, 120)] * 5
    assert sum(p.mean * p.count for p in points) == sum(float(n % 50) for n in range(600))
    whole = await case.store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + 30 * DAY_NS, 30)
    assert [((p.time_ns - TIME_NS) // DAY_NS, p.count, p.maximum) for p in whole] == [
        (0, 600, 49.0),
        (5, 60, 100.0),
        (20, 60, 200.0),
    ]
    await case.store.erase("north", "monitor-1", TIME_NS, TIME_NS + 5 * MINUTE_NS)
    [*_, point] = await case.store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + DAY_NS, 1)
    assert point.count == 300
    await case.store.expire(now_ns, Retention(readings_days=17, trends_days=10))
    assert await case.store.trend("north", "monitor-1", "heart_rate", TIME_NS, TIME_NS + DAY_NS, 1) == []


HOSTILE = [
    "plain",
    "two words",
    "comma,equals=",
    "quote\"s and 's",
    "back\\slash\\",
    "\\,\\=\\ ",
    "new\nline",
    "tab\there",
    "percent%2C%",
    "Ünïcødé 监护仪 🫀",
    "'; DROP MEASUREMENT vitals; --",
    '{a=~".*"}',
    "nul\x00",
    "",
]


async def test_hostile_names_come_back_and_touch_no_others(case: Case) -> None:
    sent = {}
    for n, name in enumerate(HOSTILE):
        one = msgspec.structs.replace(
            reading(n, name, heart_rate=float(n)), site=name, channel=name or "observations"
        )
        sent[name] = one
    await case.write(*sent.values())
    await case.settle()
    for name, one in sent.items():
        assert await case.store.readings(name, name, 0, 2**62) == [as_kept(case, one)]
        assert await case.store.totals(name, name) == {"heart_rate": Total(1, one.values["heart_rate"])}  # type: ignore[arg-type]
    await case.store.erase("two words", "two words", 0, TIME_NS + DAY_NS)
    await case.settle()
    assert await case.store.readings("two words", "two words", 0, 2**62) == []
    assert len(await case.store.readings("plain", "plain", 0, 2**62)) == 1


async def test_a_reading_that_does_not_fit_is_refused_and_the_others_can_be_written(case: Case) -> None:
    with pytest.raises(StoreRefused):
        await case.write(reading(1), reading(2, heart_rate="high"))
    await case.write(reading(1))
    assert [one.seq for one in await case.readings()] == [1]


async def test_what_was_written_survives_a_kill_of_influxdb(tmp_path: Path) -> None:
    """DuckDB's kill is in tests/unit/stores/test_duckdb.py, VictoriaMetrics' in test_store_victoria.py."""
    async with opened("influxdb", tmp_path) as case:
        assert case.server is not None
        sent = [reading(n) for n in range(2000)]
        for start in range(0, 2000, 200):
            await case.write(*sent[start : start + 200])
        case.server.kill()
        with pytest.raises(StoreUnavailable):
            await case.write(reading(5000))
        with pytest.raises(StoreUnavailable):
            await case.readings()
        await asyncio.to_thread(case.server.start)
        await case.store.start()
        assert await case.readings() == sent
        await case.write(reading(5000))
        assert len(await case.readings()) == 2001


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    stores: list[Store] = [
        InfluxStore(InfluxSettings(url="http://127.0.0.1:9", bucket="wards")),  # type: ignore[arg-type]
        VictoriaStore(VictoriaSettings(url="http://127.0.0.1:9")),  # type: ignore[arg-type]
    ]
    for store in stores:
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9 can't be reached"):
            await store.start()
        with pytest.raises(StoreUnavailable):
            await store.write([(1, batch(reading(1)))])
        await store.stop()
        with pytest.raises(StoreUnavailable, match="not started"):
            await store.readings("north", "monitor-1", 0, 1)


async def test_waveforms_come_back_and_the_window_again_stays_one(case: Case) -> None:
    samples = [2048.0, 2050.5, None, -3.0] * 60
    windows = []
    for n in range(3):
        time_ns = TIME_NS + n * SECOND_NS + n
        window = Waveform(
            "north", "monitor-1", "ecg_ii", time_ns, time_ns + 9, n, 250.0, 0.005, -10.24, "mV", samples
        )
        windows.append(window)
    both = Batch(1, TIME_NS, [], windows, [], [], [], [])
    await case.store.write([(1, both)])
    await case.store.write([(2, both)])
    found = await case.store.waveforms("north", "monitor-1", "ecg_ii", TIME_NS, windows[2].time_ns)
    assert found == ([] if case.kind == "VictoriaStore" else windows[:2])
    assert await case.store.waveforms("north", "monitor-1", "pleth", 0, 2**62) == []
    if case.kind != "VictoriaStore":
        await case.store.expire(TIME_NS + 4 * DAY_NS, Retention(waveforms_days=3))
        assert await case.store.waveforms("north", "monitor-1", "ecg_ii", 0, 2**62) == []


def zone_change(second: int, change: str, zone: str | None, device: str = "AC233F000001") -> ZoneChange:
    time_ns = TIME_NS + second * SECOND_NS
    return ZoneChange("north", device, time_ns, time_ns + 42_000_000, change, zone)  # type: ignore[arg-type]


async def test_changes_of_zone_come_back_newest_first_and_once_and_expire_with_readings(case: Case) -> None:
    sent = [
        zone_change(0, "entered", "room-1"),
        zone_change(60, "entered", "way out, lift=2"),
        zone_change(90, "lost", "way out, lift=2"),
        zone_change(360, "away", None),
    ]
    other = zone_change(60, "entered", "room-2", "AC233F000002")
    for row_id in (1, 2):
        await case.store.write([(row_id, Batch(1, TIME_NS, [], [], [], [], [], [], [*sent, other]))])
    await case.settle()
    changes = case.store.zone_changes
    assert await changes("north", "AC233F000001", 0, 2**62, 10) == sent[::-1]
    assert await changes("north", "AC233F000001", 0, 2**62, 2) == [sent[3], sent[2]]
    assert await changes("north", "AC233F000001", sent[1].time_ns, sent[3].time_ns, 10) == [sent[2], sent[1]]
    assert await changes("south", "AC233F000001", 0, 2**62, 10) == []
    assert await changes("north", "nobody", 0, 2**62, 10) == []
    if case.kind != "VictoriaStore":
        await case.store.expire(TIME_NS + 11 * DAY_NS, Retention(readings_days=10))
        assert await changes("north", "AC233F000002", 0, 2**62, 10) == []


async def test_erasing_a_beacon_takes_its_changes_and_what_gateways_heard_of_it(case: Case) -> None:
    sent = [zone_change(second, "entered", f"room-{second}") for second in (1, 2, 3)]
    heard = [
        Sighting("north", "gw-1", beacon, TIME_NS + second * SECOND_NS, TIME_NS, -60)
        for second in (1, 2, 3)
        for beacon in ("AC233F000001", "AC233F000002")
    ]
    await case.store.write([(1, Batch(1, TIME_NS, [], [], [], [], heard, [], sent))])
    await case.settle()
    await case.store.erase("north", "AC233F000001", sent[1].time_ns, sent[2].time_ns)
    await case.settle()
    assert await case.store.zone_changes("north", "AC233F000001", 0, 2**62, 10) == [sent[2], sent[0]]
    assert await sightings(case.store) == [
        (beacon, second)
        for beacon, seconds in (("AC233F000001", (1, 3)), ("AC233F000002", (1, 2, 3)))
        for second in seconds
    ]


async def sightings(store: Store) -> list[tuple[str, int]]:
    """Return beacon and second of every sighting; no store gives them out otherwise."""
    found: list[tuple[str, int]] = []
    if isinstance(store, DuckDBStore):
        rows = await store._do(lambda db: db.execute("SELECT _beacon, _time_ms FROM sightings").fetchall())
        found = [(beacon, ms // 1000) for beacon, ms in rows]
    elif isinstance(store, InfluxStore):
        [series] = await store._client.query('SELECT * FROM "sighting"')
        found = [(row["beacon"], row["time"] // SECOND_NS) for one in series for row in one.rows]
    elif isinstance(store, VictoriaStore):
        for part in await store._export('{__name__="sighting_rssi"}', None, None):
            found += [(part.metric["beacon"], ms // 1000) for ms in part.timestamps]
    return sorted((beacon, second - TIME_NS // SECOND_NS) for beacon, second in found)


COLUMNS = {"HR": "heart_rate", "PULSE": "pulse_rate", "RESP": "respiratory_rate", "SpO2": "spo2"}


async def test_counts_and_sums_of_real_patients_are_exact(case: Case, recorded: Path) -> None:
    facts = json.loads((recorded / "numerics" / "bidmc_facts.json").read_text())["files"]
    for row_id, file in enumerate(sorted((recorded / "numerics" / "bidmc").glob("*.csv")), 1):
        with file.open() as lines:
            rows = [{k.strip(): v for k, v in row.items()} for row in csv.DictReader(lines)]
        sent = []
        for n, row in enumerate(rows):
            numbers = {COLUMNS[column]: float(row[column]) for column in COLUMNS}
            values = {name: value for name, value in numbers.items() if value == value}
            missing = {name: ("no-value", None) for name in numbers if name not in values}
            sent.append(
                msgspec.structs.replace(reading(n, file.name), values=values, exceptions=missing or None)
            )
        await case.store.write([(row_id, batch(*sent))])
    await case.settle()
    assert len(facts) == 20
    for name, fact in facts.items():
        totals = await case.store.totals("north", name)
        for column, parameter in COLUMNS.items():
            found = totals.get(parameter, Total(0, 0.0))
            assert (found.count, found.sum) == (fact[column]["valid"], fact[column]["sum"]), (name, parameter)


async def test_a_server_that_is_no_influxdb_is_told(tmp_path: Path) -> None:
    async with opened("victoriametrics", tmp_path) as victoria:
        assert victoria.server is not None
        wrong = InfluxStore(InfluxSettings(url=victoria.server.url, bucket="x", token=SecretStr("t")))  # type: ignore[arg-type]
        with pytest.raises(StoreRefused, match='kind "victoriametrics"'):
            await wrong.start()
        await wrong.stop()

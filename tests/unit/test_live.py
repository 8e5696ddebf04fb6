import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from msgspec import to_builtins

from hub.device import MAX_CHANNELS, Device
from hub.events import Scope
from hub.live import Live
from hub.model import Reading

SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND

VITALS = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "hub/contracts/stream-vitals.schema.json").read_text()),
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)


@dataclass(frozen=True)
class At:
    bed: str | None


@dataclass(frozen=True)
class Place:
    site: str
    ward: str
    bed: str
    patient: str | None


@dataclass
class Places:
    at: dict[str, str | None] = field(default_factory=lambda: {"mon-1": "icu-01", "mon-2": "icu-01"})
    places: list[Place] = field(
        default_factory=lambda: [
            Place("main", "icu", "icu-01", "pt-1"),
            Place("main", "icu", "icu-02", None),
            Place("main", "west", "west-01", "pt-2"),
        ]
    )
    version: int = 1

    def placement(self, site, device):
        return At(self.at.get(device))

    def beds(self):
        return self.places


@dataclass
class Screens:
    looking: list[Scope] = field(default_factory=lambda: [Scope()])
    frames: list[tuple[Scope, dict]] = field(default_factory=list)

    def scopes(self):
        return self.looking

    def publish(self, frame, scope):
        head, data, end = frame.decode().split("\n", 2)
        assert (head, end) == ("event: vitals", "\n")
        document = json.loads(data.removeprefix("data: "))
        VITALS.validate(document)
        self.frames.append((scope, document))

    def beds(self):
        return [[bed["bed"] for bed in document["beds"]] for _, document in self.frames]


def device(name="mon-1", interval_s=1.0):
    return Device("main", name, "east", "native", interval_s)


def reading(time_ns=NOW, exceptions=None, device="mon-1", received_ns=None, **values):
    received_ns = time_ns if received_ns is None else received_ns
    return Reading("main", device, "observations", time_ns, time_ns, received_ns, 1, values, exceptions)


def tick(live, screens, now_ns):
    return list(live.tick(screens, now_ns))


def shown(live, now_ns, name="heart_rate", bed="icu-01"):
    value = live.bed(now_ns, "main", bed).values[name]
    return value.value, value.quality


@pytest.fixture
def places():
    return Places()


@pytest.fixture
def live(places):
    return Live(places)


@pytest.fixture
def screens():
    return Screens()


def test_a_bed_shows_the_newest_value_with_unit_age_and_device(live):
    live.update(device(), reading(heart_rate=72.0))
    bed = live.bed(NOW + 2 * SECOND, "main", "icu-01")
    assert (bed.ward, bed.patient) == ("icu", "pt-1")
    value = bed.values["heart_rate"]
    assert (value.value, value.unit, value.age_s, value.device) == (72.0, "/min", 2.0, "mon-1")


def test_an_older_reading_moves_only_what_nothing_newer_was_said_about(live):
    monitor = device()
    live.update(monitor, reading(heart_rate=72.0))
    live.update(monitor, reading(NOW - SECOND, heart_rate=60.0, spo2=97.0))
    assert shown(live, NOW) == (72.0, "valid")
    assert shown(live, NOW, "spo2") == (97.0, "valid")


@pytest.mark.parametrize("quality", ["invalid", "no-value"])
def test_what_is_not_a_value_never_shows_a_number(live, quality):
    monitor = device()
    live.update(monitor, reading(heart_rate=72.0))
    live.update(monitor, reading(NOW + SECOND, {"heart_rate": (quality, 900.0)}))
    assert shown(live, NOW + SECOND) == (None, quality)


def test_a_questionable_value_is_shown_as_questionable(live):
    live.update(device(), reading(NOW, {"heart_rate": ("questionable", 72.0)}, heart_rate=72.0))
    assert shown(live, NOW) == (72.0, "questionable")


def test_a_first_reading_without_any_value_shows_that_there_is_none(live):
    live.update(device(), reading(NOW, {"heart_rate": ("no-value", None)}))
    assert shown(live, NOW) == (None, "no-value")


@pytest.mark.parametrize(("interval_s", "limit_s"), [(1.0, 10), (60.0, 180)])
def test_a_value_older_than_three_intervals_and_ten_seconds_is_stale(live, interval_s, limit_s):
    live.update(device(interval_s=interval_s), reading(heart_rate=72.0))
    assert shown(live, NOW + limit_s * SECOND - 1) == (72.0, "valid")
    assert shown(live, NOW + limit_s * SECOND) == (None, "stale")


def test_a_parameter_that_is_measured_rarely_has_an_age_of_its_own(places):
    live = Live(places, stale_after_s={"nibp_systolic": 1800})
    live.update(device(), reading(heart_rate=72.0, nibp_systolic=120.0))
    assert shown(live, NOW + 60 * SECOND) == (None, "stale")
    assert shown(live, NOW + 60 * SECOND, "nibp_systolic") == (120.0, "valid")


def test_a_time_ahead_of_the_hub_does_not_keep_a_value_fresh(live):
    live.update(device(), reading(NOW + 3600 * SECOND, received_ns=NOW, heart_rate=72.0))
    assert shown(live, NOW + 10 * SECOND) == (None, "stale")


def test_of_several_devices_the_newest_valid_value_wins(live):
    live.update(device("mon-1"), reading(heart_rate=72.0))
    live.update(device("mon-2"), reading(NOW + SECOND, device="mon-2", heart_rate=80.0))
    assert shown(live, NOW + SECOND) == (80.0, "valid")


def test_a_valid_value_wins_over_a_newer_one_that_is_none(live):
    live.update(device("mon-1"), reading(heart_rate=72.0))
    live.update(device("mon-2"), reading(NOW + SECOND, {"heart_rate": ("invalid", 900.0)}, device="mon-2"))
    assert shown(live, NOW + SECOND) == (72.0, "valid")


@pytest.mark.parametrize("order", [("mon-1", "mon-2"), ("mon-2", "mon-1")])
def test_of_values_of_the_same_time_the_lower_device_id_wins(live, order):
    for name in order:
        live.update(device(name), reading(device=name, heart_rate=70.0 + int(name[-1])))
    assert shown(live, NOW) == (71.0, "valid")


def test_a_device_without_a_bed_is_at_no_bed(live, places, screens):
    live.update(device("mon-9"), reading(device="mon-9", heart_rate=72.0))
    assert all(not bed.values for bed in live.beds(NOW))
    assert live.bed(NOW, "main", "mon-9") is None


def test_beds_are_all_beds_of_a_scope_empty_ones_too(live):
    assert [bed.bed for bed in live.beds(NOW)] == ["icu-01", "icu-02", "west-01"]
    assert [bed.bed for bed in live.beds(NOW, Scope("main", "icu"))] == ["icu-01", "icu-02"]
    assert live.beds(NOW, Scope("other")) == []


def test_a_tick_sends_the_beds_that_changed_and_no_others(live, screens):
    tick(live, screens, NOW)
    screens.frames.clear()
    live.update(device(), reading(heart_rate=72.0))
    tick(live, screens, NOW)
    tick(live, screens, NOW + SECOND)
    assert screens.beds() == [["icu-01"]]
    assert screens.frames[0][1]["kind"] == "update"


def test_a_bed_is_rendered_once_for_all_scopes_and_not_at_all_when_nobody_looks(live, screens):
    tick(live, screens, NOW)
    screens.frames.clear()
    monitor = device()
    screens.looking = [Scope(), Scope("main"), Scope("main", "icu"), Scope("main", "west")]
    before = live.rendered
    live.update(monitor, reading(heart_rate=72.0))
    tick(live, screens, NOW)
    assert live.rendered == before + 1
    assert [scope for scope, _ in screens.frames] == [Scope(), Scope("main"), Scope("main", "icu")]
    screens.looking = []
    live.update(monitor, reading(NOW + 1, heart_rate=73.0))
    tick(live, screens, NOW)
    assert live.rendered == before + 1


def test_a_value_that_becomes_stale_is_a_change(live, screens):
    monitor = device()
    live.update(monitor, reading(heart_rate=72.0))
    tick(live, screens, NOW)
    live.update(monitor, reading(NOW + 5 * SECOND, heart_rate=73.0))
    tick(live, screens, NOW + 5 * SECOND)
    screens.frames.clear()
    tick(live, screens, NOW + 14 * SECOND)
    assert screens.frames == []
    tick(live, screens, NOW + 15 * SECOND)
    (_, document) = screens.frames[0]
    value = document["beds"][0]["values"]["heart_rate"]
    assert (value["value"], value["quality"]) == (None, "stale")
    screens.frames.clear()
    tick(live, screens, NOW + 60 * SECOND)
    assert screens.frames == []


def test_a_value_that_came_before_its_device_was_placed_is_told_when_it_becomes_stale(live, places, screens):
    live.update(device("spare"), reading(device="spare", heart_rate=72.0))
    tick(live, screens, NOW)
    places.at["spare"] = "west-01"
    places.version += 1
    tick(live, screens, NOW + SECOND)
    screens.frames.clear()
    tick(live, screens, NOW + 10 * SECOND)
    (_, document) = screens.frames[0]
    assert document["beds"][0]["values"]["heart_rate"]["quality"] == "stale"


def test_when_a_device_moves_every_client_gets_a_snapshot_and_the_old_bed_is_empty(live, places, screens):
    live.update(device(), reading(heart_rate=72.0))
    tick(live, screens, NOW)
    screens.frames.clear()
    places.at["mon-1"] = "west-01"
    places.version += 1
    tick(live, screens, NOW)
    (_, document) = screens.frames[0]
    assert document["kind"] == "snapshot"
    assert {bed["bed"]: list(bed["values"]) for bed in document["beds"]} == {
        "icu-01": [],
        "icu-02": [],
        "west-01": ["heart_rate"],
    }


def test_a_move_reaches_the_clients_also_when_somebody_else_looked_first(live, places, screens):
    tick(live, screens, NOW)
    screens.frames.clear()
    places.version += 1
    live.beds(NOW)
    tick(live, screens, NOW)
    assert [document["kind"] for _, document in screens.frames] == ["snapshot"]


def test_a_reading_without_anything_in_it_changes_nothing(live, screens):
    tick(live, screens, NOW)
    screens.frames.clear()
    live.update(device(), reading())
    tick(live, screens, NOW)
    assert screens.frames == []


async def test_a_fault_in_a_tick_is_logged_once_each_way_and_the_next_tick_goes_on(live, screens, caplog):
    caplog.set_level("INFO")
    ticks = 0

    def now_ns():
        nonlocal ticks
        ticks += 1
        if ticks <= 3:
            raise ZeroDivisionError
        return NOW

    running = asyncio.create_task(live.run(screens, now_ns, 0.001))
    for _ in range(2000):
        if ticks > 5:
            break
        await asyncio.sleep(0.001)
    running.cancel()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert screens.frames[0][1]["kind"] == "snapshot"


def test_snapshots_between_two_ticks_share_one_rendering_and_what_changed_since_follows(live, screens):
    monitor = device()
    live.update(monitor, reading(heart_rate=72.0))
    tick(live, screens, NOW)
    tick(live, screens, NOW)
    before = live.rendered
    for _ in range(5):
        live.snapshot(NOW, Scope())
        live.snapshot(NOW, Scope("main", "icu"))
    assert live.rendered == before + 3
    live.update(monitor, reading(NOW + 1, heart_rate=80.0))
    screens.frames.clear()
    tick(live, screens, NOW + 1)
    assert screens.frames[0][1]["beds"][0]["values"]["heart_rate"]["value"] == 80.0


def test_many_changed_beds_are_sent_in_chunks_so_that_alarms_do_not_wait(screens):
    beds = [Place("main", "icu", f"b{n:03}", None) for n in range(500)]
    live = Live(Places({f"mon-{n}": f"b{n:03}" for n in range(500)}, beds))
    tick(live, screens, NOW)
    for n in range(500):
        live.update(device(f"mon-{n}"), reading(device=f"mon-{n}", heart_rate=72.0))
    assert tick(live, screens, NOW) == [25] * 20


def test_beds_have_the_shape_of_the_contract(live):
    live.update(device(), reading(NOW, {"spo2": ("invalid", 130.0)}, heart_rate=72.0))
    live.update(device("mon-2"), reading(device="mon-2", pump_flow_rate=4.2, pump_drug="Noradrenaline"))
    live.update(device(), channel_reading("a", pump_flow_rate=5.0))
    beds = to_builtins(live.beds(NOW), builtin_types=())
    VITALS.validate({"kind": "snapshot", "time": "2026-11-24T02:43:12.600Z", "beds": beds})


def infusions(live, now_ns, name="pump_flow_rate", bed="icu-01"):
    pumps = live.bed(now_ns, "main", bed).pumps
    return [(pump.device, pump.channel, pump.values[name].value, pump.values[name].quality) for pump in pumps]


def test_each_pump_at_a_bed_keeps_its_own_values(live):
    first, second = device("mon-2", 5.0), device("mon-1", 5.0)
    live.update(first, reading(device="mon-2", pump_flow_rate=4.2, pump_drug="Noradrenaline"))
    live.update(second, reading(NOW + SECOND, pump_flow_rate=80.0, occlusion="present", heart_rate=72.0))
    bed = live.bed(NOW + SECOND, "main", "icu-01")
    assert infusions(live, NOW + SECOND) == [("mon-1", None, 80.0, "valid"), ("mon-2", None, 4.2, "valid")]
    assert bed.pumps[0].values["occlusion"].value == "present"
    assert bed.pumps[1].values["pump_drug"].value == "Noradrenaline"
    assert "occlusion" not in bed.pumps[1].values
    assert list(bed.values) == ["heart_rate"]


def test_a_pump_that_is_taken_away_is_at_the_bed_no_longer(live, places):
    live.update(device("mon-2", 5.0), reading(device="mon-2", pump_flow_rate=4.2))
    places.at["mon-2"] = "icu-02"
    places.version += 1
    assert infusions(live, NOW) == []
    assert infusions(live, NOW, bed="icu-02") == [("mon-2", None, 4.2, "valid")]


def test_the_emptiest_battery_of_a_bed_is_shown_and_each_pump_has_its_own(live):
    live.update(device("mon-2"), reading(device="mon-2", pump_flow_rate=4.2, battery=8.0))
    live.update(device("mon-1"), reading(NOW + SECOND, heart_rate=72.0, battery=100.0))
    bed = live.bed(NOW + SECOND, "main", "icu-01")
    assert (bed.values["battery"].value, bed.values["battery"].device) == (8.0, "mon-2")
    assert bed.pumps[0].values["battery"].value == 8.0


def channel_reading(channel, time_ns=NOW, exceptions=None, **values):
    return Reading("main", "mon-1", channel, time_ns, time_ns, time_ns, 1, values, exceptions)


def test_two_channels_of_one_pump_keep_their_own_values():
    live = Live(Places())
    pump = device()
    live.update(pump, channel_reading("a", pump_flow_rate=5.0))
    live.update(pump, channel_reading("b", pump_flow_rate=20.0))
    live.update(pump, channel_reading("a", NOW + SECOND, {"pump_flow_rate": ("no-value", None)}))
    assert (pump.latest_in("a")["pump_flow_rate"].value, pump.latest_in("a")["pump_flow_rate"].quality) == (
        None,
        "no-value",
    )
    assert (pump.latest_in("b")["pump_flow_rate"].value, pump.latest_in("b")["pump_flow_rate"].quality) == (
        20.0,
        "valid",
    )
    assert pump.latest == {}
    assert infusions(live, NOW + SECOND) == [("mon-1", "a", None, "no-value"), ("mon-1", "b", 20.0, "valid")]
    assert infusions(live, NOW + 60 * SECOND) == [
        ("mon-1", "a", None, "stale"),
        ("mon-1", "b", None, "stale"),
    ]


def test_a_value_of_a_channel_is_told_again_when_it_becomes_stale():
    live, screens = Live(Places()), Screens()
    tick(live, screens, NOW)
    live.update(device(), channel_reading("a", pump_flow_rate=5.0))
    tick(live, screens, NOW)
    screens.frames.clear()
    tick(live, screens, NOW + 11 * SECOND)
    assert screens.beds() == [["icu-01"]]


def test_made_up_channels_do_not_fill_memory():
    live, pump = Live(Places()), device()
    for number in range(3 * MAX_CHANNELS):
        live.update(pump, channel_reading(f"c{number}", pump_flow_rate=float(number)))
    assert len(pump.channels) == MAX_CHANNELS
    assert pump.latest_in(f"c{3 * MAX_CHANNELS - 1}")["pump_flow_rate"].value == 3.0 * MAX_CHANNELS - 1


def test_with_a_scaled_clock_what_is_on_its_way_is_not_stale():
    """At 100 times real time a message that takes 0.3 s is 30 s old on arrival."""
    live = Live(Places(), stale_floor_s=10.0 * 100)
    live.update(device(), reading(heart_rate=72.0))
    assert shown(live, NOW + 30 * SECOND) == (72.0, "valid")
    assert shown(live, NOW + 1000 * SECOND) == (None, "stale")

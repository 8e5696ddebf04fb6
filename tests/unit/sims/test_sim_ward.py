import json

from device_sims.devices.monitor import Monitor
from device_sims.ward import Plan, build, plan_beds


def test_beds_are_named_ward_by_ward_and_never_twice() -> None:
    names = [bed.name for bed in plan_beds(50, 1)]
    assert names[:2] == ["icu-01", "icu-02"]
    assert names[6] == "hdu-01"
    assert names[24] == "w05-01"
    assert len(set(names)) == 50


def test_the_same_seed_gives_the_same_ward() -> None:
    assert plan_beds(12, 7) == plan_beds(12, 7)
    assert plan_beds(12, 7) != plan_beds(12, 8)


def test_the_first_patient_of_the_mix_leaves_the_limits_within_six_seconds_for_every_seed() -> None:
    for seed in range(20):
        plan = Plan("main", plan_beds(1, seed))
        bed, monitor = build(plan)[0]
        assert isinstance(monitor, Monitor)
        rates = []
        for second in range(7):
            said = monitor.tick(bed.begin_s + second, 1_795_488_192_123)
            rates.append(json.loads(said[0].payload)["values"]["heart_rate"])
        assert rates[0] <= 120
        assert rates[-1] > 120


def test_scenarios_are_dealt_in_turn_and_begin_ahead_of_their_truth() -> None:
    beds = plan_beds(4, 1, ["sepsis", "occlusion"], lead_s=60)
    assert [bed.scenario.name for bed in beds] == ["sepsis", "occlusion"] * 2
    assert beds[1].begin_s == 300 - 60
    assert plan_beds(1, 1, ["occlusion"])[0].begin_s == 0


def test_every_device_of_a_ward_has_its_own_name() -> None:
    beds = plan_beds(20, 1, ["wandering", "stable"])
    ids = [device.id for _, device in build(Plan("main", beds, thermometers=2))]
    assert len(ids) == len(set(ids))
    assert {
        "mon-icu-01",
        "pump-icu-01",
        "pump-icu-01-3",
        "vent-icu-01",
        "gw-icu-corridor",
        "therm-icu-02",
    } <= set(ids)


def test_devices_speak_the_formats_that_the_plan_names() -> None:
    plan = Plan(
        "main",
        plan_beds(1, 1, ["wandering"]),
        monitor_format="philips",
        pump_format="iomt",
        gateway_format="minew",
    )
    topics = {p.topic for _, device in build(plan) for p in device.tick(0.0, 1_795_488_192_123)}
    assert {"intellivue/mon-icu-01/Numeric", "iomt/telemetry/icu/pump-icu-01"} <= topics
    assert any(topic.startswith("/gw/") for topic in topics)

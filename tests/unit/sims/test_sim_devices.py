import json
from itertools import pairwise
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from device_sims.devices.gateway import Beacon, Gateway
from device_sims.devices.monitor import Monitor, PhilipsMonitor
from device_sims.devices.pump import IomtPump, Pump
from device_sims.devices.thermometer import Thermometer
from device_sims.devices.ventilator import Ventilator
from device_sims.physiology import Patient
from device_sims.scenario import PumpPlan

CONTRACTS = Path(__file__).parents[3] / "hub" / "contracts"
NOW = 1_795_488_192_123


def native_devices() -> list:
    patient = Patient(1)
    beacon = Beacon("AC233F8C7CEE", lambda _t: "room-1")
    return [
        Monitor("main", "icu", "mon-1", patient, waveforms=True, nibp_s=30),
        Pump("main", "icu", "pump-1", PumpPlan(120, 20, occlusion_s=30)),
        Ventilator("main", "icu", "vent-1", patient),
        Thermometer("main", "icu", "therm-1", patient, fahrenheit=True),
        Gateway("main", "icu", "gw-1", "room-1", [beacon]),
    ]


@pytest.mark.parametrize("device", native_devices(), ids=lambda device: device.id)
def test_everything_a_native_device_says_is_what_the_contract_has(device) -> None:
    said = [device.will, *device.birth(NOW)]
    for second in range(0, 120, 2):
        said += device.tick(second, NOW + 1000 * second)
    said += device.farewell(NOW)
    channels = set()
    for publication in said:
        head, version, site, _area, name, channel = publication.topic.split("/")
        assert (head, version, site, name) == ("wards", "v1", "main", device.id)
        schema = json.loads((CONTRACTS / f"{channel}.schema.json").read_text())
        Draft202012Validator(schema).validate(json.loads(publication.payload))
        assert publication.retain == (channel == "status")
        channels.add(channel)
    assert "status" in channels
    assert len(channels) > 1


@pytest.mark.parametrize("device", native_devices(), ids=lambda device: device.id)
def test_numbers_of_messages_rise_by_one(device) -> None:
    said = [p for t in range(30) for p in device.tick(t, NOW + 1000 * t)]
    numbers = [json.loads(publication.payload)["seq"] for publication in said]
    assert numbers == list(range(1, len(said) + 1))


def test_the_cuff_inflates_at_its_interval_only() -> None:
    monitor = Monitor("main", "icu", "mon-1", Patient(1), nibp_s=60)
    said = [json.loads(monitor.tick(t, NOW)[0].payload)["values"] for t in range(121)]
    inflated = [t for t, values in enumerate(said) if "nibp_mean" in values]
    assert len(inflated) == 2
    assert inflated[1] - inflated[0] == 60


def test_leads_off_is_null_and_motion_is_questionable() -> None:
    off = Patient(1, drives={"leads_off": ((0, 1),)})
    values = json.loads(Monitor("main", "icu", "m", off).tick(5, NOW)[0].payload)["values"]
    assert values["heart_rate"] is None
    moving = Patient(1, drives={"motion": ((0, 1),)})
    body = json.loads(Monitor("main", "icu", "m", moving).tick(5, NOW)[0].payload)
    assert body["quality"]["spo2"] == "questionable"


def test_the_curve_of_the_next_second_goes_on_where_the_last_ended() -> None:
    monitor = Monitor("main", "icu", "m", Patient(1, drives={"asystole": ((60, 0), (61, 1))}), waveforms=True)
    beats = 0
    for t in range(60):
        curve = next(p for p in monitor.tick(t, NOW) if b"ecg_ii" in p.payload)
        samples = json.loads(curve.payload)["samples"]
        beats += sum(a <= 120 < b for a, b in pairwise(samples))
        assert curve.qos == 0
    vitals = [Patient(1).vitals(t).heart_rate for t in range(60)]
    assert beats == pytest.approx(sum(vitals) / 60, abs=2)
    flat = next(p for p in monitor.tick(70, NOW) if b"ecg_ii" in p.payload)
    assert set(json.loads(flat.payload)["samples"]) == {0}


def test_a_pump_tells_an_alarm_once_and_again_after_a_reconnect() -> None:
    pump = Pump("main", "icu", "pump-1", PumpPlan(100, 500, occlusion_s=10))
    alarms = [p for t in range(0, 60, 5) for p in pump.tick(t, NOW) if p.topic.endswith("alarms")]
    assert len(alarms) == 1
    assert json.loads(alarms[0].payload)["alarms"][0] == {
        "condition": "occlusion",
        "state": "present",
        "priority": "high",
        "text": "Downstream occlusion, pump stopped",
    }
    pump.birth(NOW)
    assert any(p.topic.endswith("alarms") for p in pump.tick(60, NOW))


def test_the_iomt_pump_sends_the_fields_of_its_format() -> None:
    pump = IomtPump("icu", "pump-1", PumpPlan(100, 500, occlusion_s=10))
    (said,) = pump.tick(60, NOW)
    body = json.loads(said.payload)
    assert said.topic == "iomt/telemetry/icu/pump-1"
    assert body["occlusion_detected"] is True
    assert body["alarm_type"] == "OCCLUSION"
    assert body["pressure_psi"] == pytest.approx(90 / 6.894757, abs=0.01)
    assert body["infusion_rate_ml_hr"] == 0
    assert body["medication"] == "Ringer's lactate"


def test_the_philips_monitor_sends_strings_and_a_dash_for_no_value() -> None:
    patient = Patient(1, drives={"probe_off": ((0, 1),)})
    (said,) = PhilipsMonitor("monitor-7", patient).tick(5, NOW)
    values = {record["PhysioID"]: record["Value"] for record in json.loads(said.payload)}
    assert said.retain
    assert said.topic == "intellivue/monitor-7/Numeric"
    assert values["NOM_PULS_OXIM_SAT_O2"] == "-"
    assert values["NOM_RESP_RATE"].isdigit()
    assert json.loads(said.payload)[0]["Timestamp"] == "24-11-2026 02:43:12.123"


def test_a_gateway_hears_the_beacons_of_its_room_stronger_than_of_the_next() -> None:
    here, there = Beacon("AC233F000001", lambda _t: "a"), Beacon("AC233F000002", lambda _t: "b")
    gateway = Gateway("main", "icu", "gw", "a", [here, there])
    heard: dict[str, list[int]] = {}
    for t in range(200):
        for publication in gateway.tick(t, NOW):
            for sighting in json.loads(publication.payload)["sightings"]:
                heard.setdefault(sighting["beacon"], []).append(sighting["rssi"])
    assert len(heard["AC233F000001"]) == 200
    assert 0 < len(heard["AC233F000002"]) < 100
    assert min(heard["AC233F000001"]) > max(heard["AC233F000002"])


def test_a_gateway_that_hears_no_beacon_still_says_that_it_lives() -> None:
    gateway = Gateway("main", "icu", "gw", "a", [Beacon("AC233F000001", lambda _t: "")])
    (said,) = gateway.tick(0, NOW)
    assert said.topic.endswith("/status")
    assert json.loads(said.payload)["state"] == "online"


def test_a_minew_gateway_sends_its_own_record_first() -> None:
    gateway = Gateway("main", "icu", "gw", "a", [Beacon("AC233F000001", lambda _t: "a")], minew=True)
    (said,) = gateway.tick(0, NOW)
    records = json.loads(said.payload)
    assert [record["type"] for record in records] == ["Gateway", "iBeacon"]
    assert records[1]["mac"] == "AC233F000001"
    assert gateway.will is None

"""The simulators share no decoding with the hub: what they send must still be what its definitions take."""

import pytest

from device_sims.devices.gateway import Beacon, Gateway
from device_sims.devices.monitor import Monitor, PhilipsMonitor
from device_sims.devices.pump import IomtPump, Pump
from device_sims.devices.thermometer import Thermometer
from device_sims.devices.ventilator import Ventilator
from device_sims.physiology import Patient
from device_sims.recordings import Recording
from device_sims.replay import Device, message
from device_sims.scenario import PumpPlan
from hub.devices.catalog import Catalog
from hub.devices.decode import Observed, Refused

NOW = 1_795_488_192_123
PLAN = PumpPlan(100, 500, occlusion_s=10)


def devices() -> list:
    patient = Patient(1)
    beacons = [Beacon("AC233F8C7CEE", lambda _t: "a")]
    return [
        (Monitor("main", "icu", "m", patient, waveforms=True), "heart_rate"),
        (PhilipsMonitor("m", patient), "heart_rate"),
        (Pump("main", "icu", "p", PLAN), "pump_flow_rate"),
        (IomtPump("icu", "p", PLAN), "pump_flow_rate"),
        (Ventilator("main", "icu", "v", patient), "tidal_volume"),
        (Thermometer("main", "icu", "t", patient, fahrenheit=True), "temperature"),
        (Gateway("main", "icu", "g", "a", beacons), None),
        (Gateway("main", "icu", "g", "a", beacons, minew=True), None),
    ]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load(site="main")


@pytest.mark.parametrize(("device", "parameter"), devices(), ids=lambda v: type(v).__name__)
def test_the_hub_takes_all_that_a_simulated_device_says(catalog: Catalog, device, parameter) -> None:
    said = [device.will] if device.will else []
    said += device.birth(NOW) + device.farewell(NOW)
    for second in (0, 30, 60):
        said += device.tick(second, NOW + 1000 * second)
    seen = set()
    for publication in said:
        route = catalog.resolve(publication.topic)
        assert route is not None, catalog.explain(publication.topic)
        for item in route.decode(publication.payload):
            assert not isinstance(item, Refused), item
            if isinstance(item, Observed):
                seen |= set(item.values)
    assert parameter is None or parameter in seen


def test_the_hub_takes_a_replayed_mimic2_row(catalog: Catalog) -> None:
    recording = Recording("mimic2", 60.0, [0], [{"HR": 80.5, "ABPSys": 120.0, "NBPSys": None}])
    _, payload = message(recording, 0, NOW)
    device = Device("main", "icu", "mimic-1")
    route = catalog.resolve(f"mimic2/v1/{device.site}/{device.id}/numerics")
    (item,) = route.decode(payload)
    assert item.values["heart_rate"] == 80.5

"""Each sample of the shared description of real devices, read from it as it stands."""

import json
import re

import pytest

from hub.devices.catalog import Catalog
from hub.devices.decode import AlarmSent, Observed, Refused, SightingSent, StatusSent, WaveformSent

TOPICS = {
    "teleicu": "teleicu/gw-1/observations",
    "iomt": "devices/gw-1/messages/events/",
    "qube": "CM4_BLE_GW_TX",
    "minew": "/gw/AC233FC001EA/status",
    "openmqttgateway": "home/gw-1/BTtoMQTT/45E174126E00",
    "vscapture": "intellivue/capture-1/Numeric",
}


@pytest.fixture
def samples(recorded):
    page = recorded.parent / "formats" / "real-devices.md"
    if not page.is_file():
        pytest.skip("the description of real devices (../shared/formats) is not on this machine")
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`(\{\"id\":[^`]+\})`", text)
    return [*re.findall(r"```json\n(.+?)\n```", text, re.DOTALL), *inline]


@pytest.fixture
def decoded(samples):
    catalog = Catalog.load()

    def of(name, marks):
        (sample,) = (one for one in samples if all(mark in one for mark in marks))
        json.loads(sample)
        items = catalog.resolve(TOPICS[name]).decode(sample.encode())
        assert not [item for item in items if isinstance(item, Refused)]
        return items

    return of


def values(items):
    return [(item.device, item.values) for item in items if isinstance(item, Observed)]


def test_the_monitor_gateways_arrays_of_arrays(decoded):
    items = decoded("teleicu", ["observation_id"])
    ((device, read),) = values(items)
    assert device == "192-168-1-14"
    assert read == {"heart_rate": 72.0, "nibp_systolic": 120.0, "nibp_diastolic": 80.0, "nibp_mean": 93.0}
    (wave,) = (item for item in items if isinstance(item, WaveformSent))
    assert (wave.waveform, wave.rate, wave.samples) == ("ecg_ii", 250.0, [2048.0, 2050.0, 2061.0])
    assert [item.state for item in items if isinstance(item, StatusSent)] == ["offline"]
    assert all(item.presence == "absent" for item in items if isinstance(item, AlarmSent))


def test_the_flat_payload_of_the_connector(decoded):
    items = decoded("iomt", ["measurementdatetime"])
    assert values(items) == [("device1", {"nibp_systolic": 120.0, "nibp_diastolic": 80.0})]


def test_the_bedside_gateways_blood_pressure(decoded):
    items = decoded("qube", ["WBP_JUMPER"])
    assert values(items) == [
        ("FF2209083131", {"nibp_systolic": 120.0, "nibp_diastolic": 78.0, "pulse_rate": 71.0})
    ]
    assert items[0].time_ns == 1_739_360_702_000_000_000


def test_the_bluetooth_gateways_array(decoded):
    items = decoded("minew", ["gatewayFree"])
    assert [item.beacon for item in items if isinstance(item, SightingSent)] == [
        "AC233FA018E3",
        "AC233F8C7CEE",
    ]
    assert values(items) == [
        ("AC233FA018E3", {"ambient_temperature": 26.69, "ambient_humidity": 65.14, "battery": 100.0})
    ]


def test_the_other_gateways_single_sighting(decoded):
    (item,) = decoded("openmqttgateway", ["servicedata"])
    assert (item.beacon, item.rssi) == ("45E174126E00", -89)


def test_the_captured_monitors_texts(decoded):
    items = decoded("vscapture", ["PhysioID"])
    assert values(items) == [("monitor-7", {"pulse_rate": 72.0})]


def test_what_is_no_json_of_the_connectors_files_is_told_with_its_place(recorded):
    folder = recorded / "iomt-fhir/test/Microsoft.Health.Fhir.Ingest.Template.UnitTests/TestInput"
    (refused,) = Catalog.load().resolve(TOPICS["iomt"]).decode((folder / "data_InvalidJson.txt").read_bytes())
    assert refused.path == "$"
    assert re.search(r"is not JSON at character \d+", refused.reason)

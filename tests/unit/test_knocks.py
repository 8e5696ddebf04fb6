"""A device that a payload names counts under its registered gateway alone; others are remembered."""

import json

import pytest

from hub.clock import ClockLimits
from hub.devices.catalog import Catalog
from hub.duplicates import Duplicates
from hub.intake import Intake
from hub.knocks import EVERY_NS, MAX_KNOCKS, MAX_PAYLOAD, Knocks
from hub.model import Message
from hub.roster import Roster
from hub.ward.model import DeviceEntry

T0 = 1_795_488_192_000_000_000
IOMT = "devices/gw-1/messages/events/"


class Ward:
    """A registry in memory, and the line's first step before it."""

    def __init__(self):
        self.devices = {}
        self.new = []
        self.knocks = Knocks(lambda site, device: self.devices.get((site, device)), self.told)
        catalog = Catalog.load()
        roster = Roster(
            catalog,
            max_devices=100,
            provisioned=lambda _site, _device: ("", "", 0.0),
            on_new=lambda device, topic: self.new.append((device.id, topic)),
        )
        self.intake = Intake(roster, Duplicates(), ClockLimits(), self.knocks)
        self.now_ns = T0

    def told(self, site, device, definition, area, topic):
        self.new.append((device, definition, topic))

    def register(self, device, gateway=None, *, registered=True):
        entry = DeviceEntry("main", device, "iomt-flat", "main", None, gateway, registered, None, None)
        self.devices[("main", device)] = entry

    def take(self, topic, payload):
        self.now_ns += EVERY_NS
        return self.intake.take([Message(topic, json.dumps(payload).encode())], self.now_ns)


@pytest.fixture
def ward():
    return Ward()


def payload(rate=72, device="w-1"):
    return {"heartRate": rate, "deviceId": device}


def test_a_device_counts_under_its_registered_gateway(ward):
    ward.register("w-1", "gw-1")
    taken = ward.take(IOMT, payload())
    assert [(reading.device, reading.values) for reading in taken.batch.readings] == [
        ("w-1", {"heart_rate": 72.0})
    ]
    assert not taken.batch.rejections


@pytest.mark.parametrize("gateway", ["gw-2", None])
def test_under_another_gateway_it_does_not_count(ward, gateway):
    ward.register("w-1", gateway)
    taken = ward.take(IOMT, payload())
    assert not taken.batch.readings
    (rejection,) = taken.batch.rejections
    assert "another gateway" in rejection.reason
    assert rejection.device == "gw-1"


def test_an_unregistered_device_is_refused_listed_and_told_how_to_be_registered(ward):
    for rate in (72, 74):
        taken = ward.take(IOMT, payload(rate))
        assert not taken.batch.readings
        assert "hub devices add w-1 --gateway gw-1" in taken.batch.rejections[0].reason
    assert ward.new == [("gw-1", IOMT), ("w-1", "iomt-envelope+iomt-flat", IOMT)]
    knock = ward.knocks.last("main", "w-1")
    assert json.loads(knock.payload)["heartRate"] == 74
    assert (knock.gateway, knock.topic) == ("gw-1", IOMT)


def test_a_gateways_alarms_and_sightings_of_others_do_not_count_either(ward):
    beacon = [{"type": "S1", "mac": "AC233FA018E3", "rssi": -54, "temperature": 26.7, "humidity": 65.1}]
    taken = ward.take("gw/gw-7/status", beacon)
    assert [sighting.gateway for sighting in taken.batch.sightings] == ["gw-7"]
    assert not taken.batch.readings
    assert len(taken.batch.rejections) == 1


def test_a_device_that_publishes_itself_needs_no_registration(ward):
    taken = ward.take(IOMT, payload(device="gw-1"))
    assert [reading.device for reading in taken.batch.readings] == ["gw-1"]


def test_the_last_payload_of_an_unregistered_device_is_kept_until_it_is_registered(ward):
    ward.take("iomt/telemetry/icu/pump-7", {"battery_percent": 88})
    assert b"88" in ward.knocks.last("main", "pump-7").payload
    ward.register("pump-7")
    ward.take("iomt/telemetry/icu/pump-7", {"battery_percent": 87})
    assert ward.knocks.last("main", "pump-7") is None


def test_only_so_much_of_so_many_is_kept(ward):
    for number in range(MAX_KNOCKS + 10):
        ward.knocks.heard("main", f"d{number}", "t", b"x" * 2 * MAX_PAYLOAD, T0)
    assert ward.knocks.last("main", "d0") is None
    assert len(ward.knocks.last("main", f"d{MAX_KNOCKS}").payload) == MAX_PAYLOAD


def test_the_definitions_that_fit_a_payload_are_found():
    catalog = Catalog.load()
    assert catalog.fitting(b'{"infusion_rate_ml_hr":12.5,"battery_percent":88}')[0] == "pump-telemetry"
    assert catalog.fitting(b'{"values":{"spo2":97}}')[0] == "native"
    assert (
        catalog.fitting(b'[{"PhysioID":"NOM_TEMP","Value":"37","DeviceID":"m"}]')[0] == "intellivue-vscapture"
    )
    assert catalog.fitting(b"\x00\x01") == []

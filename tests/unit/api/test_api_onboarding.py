"""Unknown devices with what they last sent, registering them, and where beacons are."""

from dataclasses import replace

import pytest
from conftest import NOW, WARD, http

from hub.alarms.conditions import Conditions
from hub.api.app import create_api
from hub.device import Device
from hub.devices.catalog import Catalog
from hub.knocks import Knocks
from hub.location.places import Places
from hub.location.whereabouts import Whereabouts
from hub.model import Sighting
from hub.ward.wardfile import parse

BEACON = "AC233F000001"
PUMP = b'{"infusion_rate_ml_hr":12.5,"battery_percent":88}'


@pytest.fixture
def catalog():
    return Catalog.load()


@pytest.fixture
def api(hospital, catalog):
    knocks = Knocks(hospital.registry.device, lambda *_: None)
    knocks.heard("main", "pump-99", "iomt/telemetry/icu/pump-99", PUMP, NOW)
    conditions = Conditions(lambda _device: hospital.alarms.rules, lambda *_: None)
    whereabouts = Whereabouts(
        placement=hospital.registry.placement,
        find=lambda _site, _device: None,
        recall=lambda site, device: Device(site, device, "main", "native", 0.0),
        conditions=conditions,
        tell=lambda *_: None,
        backlog_ns=60_000_000_000,
    )
    zone = {"id": "room-1", "name": "Room 1", "ward": "icu", "gateways": ["gw-1"]}
    beacon = {"id": BEACON, "kind": "asset", "name": "Cart", "ward": "icu"}
    whereabouts.settle(Places(parse({**WARD, "zone": [zone], "beacon": [beacon]}, "ward.toml")))
    whereabouts.take([Sighting("main", "gw-1", BEACON, NOW, NOW, -55)], NOW)
    services = replace(
        hospital.services,
        knocks=knocks,
        fitting=catalog.fitting,
        definitions=tuple(catalog.definitions),
        whereabouts=whereabouts,
    )
    return create_api(services)


async def test_an_unknown_device_is_told_with_its_last_payload_and_what_would_read_it(biomed):
    told = (await biomed.get("/api/v1/devices/main/pump-99/knock")).json()
    assert told["payload"] == PUMP.decode()
    assert told["fits"][0] == "pump-telemetry"
    assert told["topic"] == "iomt/telemetry/icu/pump-99"
    assert (await biomed.get("/api/v1/devices/main/nobody/knock")).status_code == 404


async def test_a_device_is_registered_with_gateway_and_place(client, hospital, api):
    secret = await hospital.tokens.create("engineer", "biomed")
    body = {"definition": "pump-telemetry", "area": "icu", "gateway": "gw-9", "bed": "icu-01"}
    async with http(api, secret) as biomed:
        told = await biomed.put("/api/v1/devices/main/pump-99", json=body)
        assert told.status_code == 200, told.text
        assert (told.json()["gateway"], told.json()["bed"], told.json()["registered"]) == (
            "gw-9",
            "icu-01",
            True,
        )
        for wrong in ({"definition": "nothing"}, {**body, "bed": "nowhere"}, {**body, "area": "a b"}, {}):
            assert (await biomed.put("/api/v1/devices/main/pump-99", json=wrong)).status_code in (404, 422)
    assert hospital.registry.device("main", "pump-99").gateway == "gw-9"
    assert (await client.put("/api/v1/devices/main/pump-99", json=body)).status_code == 403


async def test_where_beacons_are_is_told_by_scope(client):
    (told,) = (await client.get("/api/v1/locations")).json()["locations"]
    assert (told["beacon"], told["kind"], told["name"]) == (BEACON, "asset", "Cart")
    assert (told["zone"], told["zone_name"], told["ward"], told["away"]) == ("room-1", "Room 1", "icu", False)
    assert (told["last_zone"], told["last_zone_name"]) == ("room-1", "Room 1")
    assert (await client.get("/api/v1/locations?site=main&ward=west")).json()["locations"] == []
    one = await client.get(f"/api/v1/locations/main/{BEACON}")
    assert one.json() == told
    assert (await client.get("/api/v1/locations/main/FFFFFFFFFFFF")).status_code == 404

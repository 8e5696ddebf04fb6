"""A hub as it runs: Sparkplug over a kill, identities under gateways, rooms, diagnostics, rejects again."""

import asyncio
import json
import time

import aiomqtt
import httpx
import pytest

from hub.ward.registry import Registry
from tests import sparkplug as made
from tests.crash.hub_process import HubProcess

pytestmark = pytest.mark.integration
WARD = """
[site]
id = "main"
[[ward]]
id = "icu"
beds = ["icu-01"]
[[device]]
id = "AC233F000001"
definition = "minew-gateway"
bed = "icu-01"
[[patient]]
name = "Test Patient"
identifier = "mrn-1"
bed = "icu-01"
[[zone]]
id = "room-1"
ward = "icu"
gateways = ["gw-room"]
[[zone]]
id = "exit"
gateways = ["gw-exit"]
forbidden = true
"""
NODE = "spBv1.0/icu"


@pytest.fixture
async def hub(tmp_path):
    (tmp_path / "ward.toml").write_text(WARD)
    hub = HubProcess(tmp_path, settings=f'ward_file = "{tmp_path / "ward.toml"}"')
    hub.start()
    await hub.ready()
    yield hub
    hub.stop()


async def until(ask, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (found := await ask()):
        if time.monotonic() > deadline:
            raise AssertionError("it never came")
        await asyncio.sleep(0.05)
    return found


def now_ms():
    return int(time.time() * 1000)


async def publish(hub, topic, payload):
    async with aiomqtt.Client("127.0.0.1", hub.mqtt_port) as client:
        await client.publish(topic, payload if isinstance(payload, bytes) else json.dumps(payload), qos=1)


async def stored(hub, client, device):
    found = await client.get(f"/api/v1/devices/main/{device}/readings")
    return [] if found.status_code == 404 else [one["values"] for one in found.json()["readings"]]


async def test_a_sparkplug_birth_outlives_a_kill_and_a_gap_asks_for_a_rebirth(hub):
    birth = made.payload(
        {"name": "bdSeq", "datatype": made.INT64, "long_value": 1},
        {"name": "heart_rate", "alias": 7, "datatype": made.INT32, "int_value": 70},
        time=now_ms(),
        seq=0,
    )
    device = "icu__edge-1"
    async with httpx.AsyncClient(base_url=hub.url, headers=hub.headers) as client:
        await publish(hub, f"{NODE}/NBIRTH/edge-1", birth)
        await until(lambda: _has(stored(hub, client, device), {"heart_rate": 70.0}))
        await asyncio.sleep(1)  # written behind the line, within a fifth of a second
        hub.kill()
        hub.start()
        await hub.ready()
        data = made.payload({"alias": 7, "int_value": 72}, time=now_ms(), seq=1)
        await publish(hub, f"{NODE}/NDATA/edge-1", data)
        await until(lambda: _has(stored(hub, client, device), {"heart_rate": 72.0}))
        async with aiomqtt.Client("127.0.0.1", hub.mqtt_port) as node:
            await node.subscribe(f"{NODE}/NCMD/edge-1", qos=1)
            lost = made.payload({"alias": 7, "int_value": 73}, time=now_ms(), seq=5)
            await node.publish(f"{NODE}/NDATA/edge-1", lost, qos=1)
            message = await asyncio.wait_for(anext(aiter(node.messages)), 20)
        (metric,) = made.Payload.FromString(message.payload).metrics
        assert (metric.name, metric.boolean_value) == ("Node Control/Rebirth", True)
        await until(lambda: _has(stored(hub, client, device), {"heart_rate": 73.0}))


async def _has(readings, values):
    return values in await readings


async def test_a_payloads_device_counts_once_it_is_registered_and_its_reject_is_run_again(hub):
    topic, payload = "devices/gw-1/messages/events/", {"heartRate": 72, "deviceId": "w-1"}
    payload["endDate"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    async with (
        httpx.AsyncClient(base_url=hub.url, headers=hub.headers) as client,
        aiomqtt.Client("127.0.0.1", hub.mqtt_port) as gateway,
    ):
        await gateway.subscribe("wards/v1/main/main/gw-1/diagnostics", qos=1)
        await publish(hub, topic, payload)
        told = json.loads((await asyncio.wait_for(anext(aiter(gateway.messages)), 20)).payload)
        assert "hub devices add w-1 --gateway gw-1" in told["rejects"][0]["reason"]

        async def knocked():
            found = await client.get("/api/v1/devices/main/w-1/knock")
            return found.json() if found.status_code == 200 else None

        assert "iomt-flat" in (await until(knocked))["fits"]

        async def listed():
            found = (await client.get("/api/v1/devices/unassigned")).json()["devices"]
            return "w-1" in [one["device"] for one in found]

        await until(listed)
        body = {"definition": "iomt-flat", "gateway": "gw-1", "bed": "icu-01"}
        assert (await client.put("/api/v1/devices/main/w-1", json=body)).status_code == 200
        (reject,) = (await client.get("/api/v1/rejects")).json()["rejects"]
        done = (await client.post("/api/v1/rejects/replay", json={"ids": [reject["id"]]})).json()
        assert done["accepted"] == 1
        await until(lambda: _has(stored(hub, client, "w-1"), {"heart_rate": 72.0}))


async def test_a_patient_who_leaves_is_seen_moving_and_alarms(hub):
    async with httpx.AsyncClient(base_url=hub.url, headers=hub.headers, timeout=30) as client:
        moves = []

        async def listen():
            async with client.stream("GET", "/api/v1/stream") as answer:
                name = ""
                async for line in answer.aiter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: ") and name == "location":
                        moves.append(json.loads(line.removeprefix("data: ")))

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.5)

        async def heard(gateway, strength, reports):
            for _ in range(reports):
                sighting = {"beacon": "AC233F000001", "rssi": strength}
                await publish(
                    hub, f"wards/v1/main/icu/{gateway}/sightings", {"time": now_ms(), "sightings": [sighting]}
                )
                await asyncio.sleep(0.25)

        await heard("gw-room", -55, 4)

        async def at(zone):
            found = await client.get("/api/v1/locations/main/AC233F000001")
            return found.status_code == 200 and found.json()["zone"] == zone and found.json()

        where = await until(lambda: at("room-1"))
        assert (where["kind"], where["ward"]) == ("patient", "icu")
        assert where["patient"]
        await heard("gw-exit", -50, 40)
        await until(lambda: at("exit"))

        async def wandering():
            present = (await client.get("/api/v1/alarms")).json()["alarms"]
            return [one for one in present if one["condition"] == "wandering"]

        (alarm,) = await until(wandering)
        assert (alarm["device"], alarm["bed"], alarm["priority"]) == ("AC233F000001", "icu-01", "high")
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert [(one["change"], one["zone"]) for one in moves] == [
            ("entered", "room-1"),
            ("left", "room-1"),
            ("entered", "exit"),
        ]


async def test_where_a_patient_was_outlives_a_kill_and_goes_with_the_patient(hub):
    beacon = "/api/v1/locations/main/AC233F000001"
    async with httpx.AsyncClient(base_url=hub.url, headers=hub.headers, timeout=30) as client:

        async def heard(gateway, strength, reports):
            for _ in range(reports):
                sighting = {"beacon": "AC233F000001", "rssi": strength}
                topic = f"wards/v1/main/icu/{gateway}/sightings"
                await publish(hub, topic, {"time": now_ms(), "sightings": [sighting]})
                await asyncio.sleep(0.25)

        async def zones():
            found = (await client.get(f"{beacon}/history")).raise_for_status().json()
            return [(one["zone"], one["patients"]) for one in found["stays"]]

        await heard("gw-room", -55, 4)
        ((zone, (patient,)),) = await until(zones)
        assert zone == "room-1"
        hub.kill()
        hub.start()
        await hub.ready()
        where = (await client.get(beacon)).json()
        assert (where["zone"], where["patient"]) == ("room-1", patient), "before anybody has heard it again"
        await heard("gw-room", -55, 4)
        await heard("gw-exit", -50, 30)

        async def both():
            return len(await zones()) > 1 and await zones()

        assert await until(both) == [("room-1", [patient]), ("exit", [patient])]
        registry = Registry(f"sqlite:///{hub.data / 'registry.sqlite'}")
        await registry.start()
        await registry.discharge(patient, time.time_ns())
        await registry.erase_patient(patient)

        async def erased():
            return patient not in await registry.unfinished_erasures()

        await until(erased, 60)
        await registry.stop()
        assert await zones() == []

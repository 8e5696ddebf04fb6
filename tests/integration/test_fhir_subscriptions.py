"""Subscriptions by rest-hook and websocket, and exports, against real sockets."""

import asyncio
import contextlib
import json
import socket

import httpx
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from hub.api.fhir import exports, subscriptions
from hub.fhir.subscription import CONTENT, FILTER, HEARTBEAT
from hub.fhir.validate import validate
from hub.model import Batch, DeviceStatus
from tests.fhir_hub import MINUTE, NOW, SECOND, fhir_hub, vitals

pytestmark = pytest.mark.integration


class Receiver:
    """An EHR's endpoint: keeps what it takes, and takes nothing while `status` says so."""

    def __init__(self):
        self.taken = []
        self.headers = []
        self.status = 200
        self.refused = 0
        self.url = ""

    async def take(self, request):
        if self.status != 200:
            self.refused += 1
            return Response(status_code=self.status)
        self.taken.append(json.loads(await request.body()))
        self.headers.append(dict(request.headers))
        return Response(status_code=200)

    def events(self):
        return [event for bundle in self.taken for event in numbers(bundle)]


def status_of(bundle):
    return {one["name"]: one for one in bundle["entry"][0]["resource"]["parameter"]}


def kind_of(bundle):
    return status_of(bundle)["type"]["valueCode"]


def numbers(bundle):
    return [
        int(part["valueString"])
        for one in bundle["entry"][0]["resource"]["parameter"]
        if one["name"] == "notification-event"
        for part in one["part"]
        if part["name"] == "event-number"
    ]


def focuses(bundle):
    return [entry["request"]["url"] for entry in bundle["entry"][1:]]


@contextlib.asynccontextmanager
async def served(app):
    """Serve an application on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        )
        server.capture_signals = contextlib.nullcontext
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
async def receiver():
    receiver = Receiver()
    async with served(Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])) as url:
        receiver.url = f"{url}/hook"
        yield receiver


@pytest.fixture
async def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(subscriptions, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(subscriptions, "_LAST_PAUSE_S", 0.05)
    async with fhir_hub(tmp_path) as hub:
        running = asyncio.create_task(hub.interface.run())
        yield hub
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def ehr(hub):
    async with await hub.client() as client:
        yield client


def subscription(topic, endpoint="", filters=(), content="full-resource", heartbeat=None):
    channel = {
        "type": "rest-hook" if endpoint else "websocket",
        "payload": "application/fhir+json",
        "_payload": {"extension": [{"url": CONTENT, "valueCode": content}]},
    }
    if endpoint:
        channel |= {"endpoint": endpoint, "header": ["Authorization: Bearer ehr-secret"]}
    if heartbeat:
        channel["extension"] = [{"url": HEARTBEAT, "valueUnsignedInt": heartbeat}]
    resource = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": f"urn:wardhub:topic:{topic}",
        "channel": channel,
    }
    if filters:
        resource["_criteria"] = {"extension": [{"url": FILTER, "valueString": one} for one in filters]}
    return resource


async def subscribe(client, *args, **options):
    answer = await client.post("/Subscription", json=subscription(*args, **options))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def until(condition, what="it"):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} never happened")


async def tell(hub, *readings, statuses=()):
    """Let the journal hold readings, as the line does."""
    await hub.journal.append(Batch(1, NOW, list(readings), [], list(statuses), [], [], []))


async def test_a_rest_hook_shakes_hands_and_gets_every_observation_once_in_order(hub, ehr, receiver):
    ann = await hub.admit("Ann", "icu-01")
    filters = [f"Observation?patient=Patient/{ann}", "Observation?code=http://loinc.org|8867-4,2708-6"]
    name = await subscribe(ehr, "vitals", receiver.url, filters)
    await until(lambda: receiver.taken, "the handshake")
    assert kind_of(receiver.taken[0]) == "handshake"
    assert receiver.headers[0]["authorization"] == "Bearer ehr-secret"
    await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(20)))
    await tell(hub, *(vitals(n, NOW + n * SECOND, device="mon-2") for n in range(20)))
    await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(20)))  # redelivered: the same events
    await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(20, 25)))
    await until(lambda: len(receiver.events()) >= 50, "fifty events")
    await asyncio.sleep(0.1)
    assert receiver.events() == list(range(1, 51))
    told = [bundle for bundle in receiver.taken if kind_of(bundle) == "event-notification"]
    for bundle in told:
        assert validate(bundle) == []
        for entry in bundle["entry"][1:]:
            assert entry["resource"]["subject"]["reference"] == f"Patient/{ann}"
            assert validate(entry["resource"]) == []
    ids = [one for bundle in told for one in focuses(bundle)]
    assert len(set(ids)) == 50
    state = (await ehr.get(f"/Subscription/{name}")).json()
    assert state["status"] == "active"
    assert "ehr-secret" not in json.dumps(state)
    assert validate(state) == []


async def test_a_receiver_that_is_away_loses_nothing(hub, ehr, receiver):
    await hub.admit("Ann", "icu-01")
    await subscribe(ehr, "vitals", receiver.url, ["Observation?code=8867-4"])
    await until(lambda: receiver.taken, "the handshake")
    receiver.status = 503
    await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(300)))
    await until(lambda: receiver.refused >= 3, "refusals")
    receiver.status = 200
    await until(lambda: len(receiver.events()) == 300, "every event")
    assert receiver.events() == list(range(1, 301))


async def test_after_a_restart_delivery_goes_on_where_it_was(tmp_path, receiver, monkeypatch):
    monkeypatch.setattr(subscriptions, "_FIRST_PAUSE_S", 0.01)
    for round_ in range(2):
        async with fhir_hub(tmp_path) as hub:
            running = asyncio.create_task(hub.interface.run())
            if round_ == 0:
                async with await hub.client() as client:
                    await subscribe(client, "vitals", receiver.url, ["Observation?code=8867-4"])
                await until(lambda: receiver.taken, "the handshake")
                await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(5)))
                await until(lambda: len(receiver.events()) == 5, "five events")
                receiver.status = 503
                await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(5, 9)))
                await until(lambda: receiver.refused, "a refusal")
            else:
                receiver.status = 200
                await until(lambda: len(receiver.events()) == 9, "the other four")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert receiver.events() == list(range(1, 10))


async def test_the_journal_is_read_for_those_who_subscribe_and_from_then_on(hub, ehr, receiver, monkeypatch):
    monkeypatch.setattr(subscriptions, "_IDLE_S", 0.3)
    read, looks = hub.journal.read, []

    async def watched(after, **limits):
        looks.append(after)
        return await read(after, **limits)

    monkeypatch.setattr(hub.journal, "read", watched)
    for n in range(3):
        await tell(hub, vitals(n, NOW + n * SECOND))
    await asyncio.sleep(0.7)
    assert looks == []
    assert await hub.journal.position("fhir-subscriptions") == hub.journal.newest, (
        "the journal may be trimmed"
    )
    await tell(hub, vitals(3, NOW + 3 * SECOND))
    await subscribe(ehr, "vitals", receiver.url, ["Observation?code=8867-4"], content="id-only")
    await tell(hub, vitals(4, NOW + 4 * SECOND))
    await until(lambda: receiver.events() == [1], "the event of after the subscription")
    await asyncio.sleep(0.4)
    assert receiver.events() == [1]


async def test_alarms_and_device_states_are_topics_of_their_own(hub, ehr, receiver):
    ann = await hub.admit("Ann", "icu-01")
    await subscribe(
        ehr, "alarm", receiver.url, ["DetectedIssue?ward=Location/ward..main..icu"], content="id-only"
    )
    await subscribe(ehr, "device-status", receiver.url, ["Device?ward=ward..main..icu"])
    await until(lambda: len(receiver.taken) == 2, "both handshakes")
    await hub.alarm(of=ann)
    await hub.alarm("end", of=ann)
    await tell(hub, statuses=[DeviceStatus("main", "mon-1", NOW, NOW, "offline")])
    await until(lambda: len(receiver.events()) == 3, "three events")
    told = [one for bundle in receiver.taken for one in focuses(bundle)]
    assert sorted(told) == ["DetectedIssue/al-1", "DetectedIssue/al-1", "Device/main..mon-1"]
    entries = [entry for bundle in receiver.taken for entry in bundle["entry"][1:]]
    device = next(entry["resource"] for entry in entries if "resource" in entry)
    assert device["status"] == "inactive"
    assert sum("resource" in entry for entry in entries) == 1


async def test_what_was_missed_can_be_asked_for_and_the_state_too(hub, ehr, receiver):
    name = await subscribe(ehr, "vitals", receiver.url, ["Observation?code=8867-4"], content="id-only")
    await until(lambda: receiver.taken, "the handshake")
    await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(10)))
    await until(lambda: len(receiver.events()) == 10, "ten events")
    again = (await ehr.get(f"/Subscription/{name}/$events?eventsSinceNumber=4&eventsUntilNumber=6")).json()
    assert numbers(again) == [4, 5, 6]
    assert validate(again) == []
    state = (await ehr.get(f"/Subscription/{name}/$status")).json()
    assert status_of(state)["events-since-subscription-start"]["valueString"] == "10"
    assert (await ehr.get(f"/Subscription/{name}/$events?eventsSinceNumber=x")).status_code == 400


async def test_a_quiet_subscription_gets_heartbeats(hub, ehr, receiver):
    await subscribe(ehr, "alarm", receiver.url, heartbeat=1)
    await until(lambda: len(receiver.taken) >= 2, "a heartbeat")
    assert [kind_of(one) for one in receiver.taken[:2]] == ["handshake", "heartbeat"]


async def test_a_websocket_gets_what_its_token_binds_it_to(hub, ehr):
    async with served(hub.api) as url:
        secret = await hub.tokens.create("browser", "it")
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(base_url=f"{url}/fhir", headers=headers) as client:
            name = await subscribe(client, "vitals", "", ["Observation?code=8867-4"], content="empty")
            binding = (await client.get(f"/Subscription/{name}/$get-ws-binding-token")).json()
            assert validate(binding) == []
        parts = {one["name"]: one for one in binding["parameter"]}
        address, token = parts["websocket-url"]["valueUrl"], parts["token"]["valueString"]
        async with websockets.connect(address) as stranger:
            await stranger.send("bind-with-token sub-x.1.2")
            with pytest.raises(websockets.ConnectionClosed):
                await stranger.recv()
        async with websockets.connect(address) as client:
            await client.send(f"bind-with-token {token}")
            assert kind_of(json.loads(await client.recv())) == "handshake"
            await tell(hub, *(vitals(n, NOW + n * SECOND) for n in range(3)))
            found = []
            while len(found) < 3:
                bundle = json.loads(await asyncio.wait_for(client.recv(), 10))
                found += numbers(bundle)
                assert len(bundle["entry"]) == 1
            assert found == [1, 2, 3]


BAD = [
    ({"criteria": "Observation?code=1"}, 422),
    ({"channel": {"type": "email", "endpoint": "mailto:a@b"}}, 422),
    ({"channel": {"type": "rest-hook", "endpoint": "ftp://x"}}, 422),
    ({"channel": {"type": "rest-hook", "endpoint": "http://x", "header": ["no colon"]}}, 422),
    ({"channel": {"type": "pigeon"}}, 400),
    ({"_criteria": {"extension": [{"url": FILTER, "valueString": "Observation?colour=red"}]}}, 422),
    ({"resourceType": "Patient"}, 400),
]


@pytest.mark.parametrize(("change", "status"), BAD)
async def test_what_cant_be_subscribed_to_is_refused(hub, ehr, change, status):
    answer = await ehr.post("/Subscription", json={**subscription("vitals"), **change})
    assert answer.status_code == status, answer.text
    assert validate(answer.json()) == []


async def test_a_subscription_is_its_makers_alone(hub, ehr, receiver):
    name = await subscribe(ehr, "alarm", receiver.url)
    async with await hub.client("biomed") as other:
        for path in ("", "/$status", "/$events", "/$get-ws-binding-token"):
            assert (await other.get(f"/Subscription/{name}{path}")).status_code == 404
        assert (await other.delete(f"/Subscription/{name}")).status_code == 404
        assert (await other.get("/Subscription")).json()["total"] == 0
    assert (await ehr.get("/Subscription")).json()["total"] == 1
    async with await hub.client("nurse") as nurse:
        assert (await nurse.post("/Subscription", json=subscription("alarm"))).status_code == 403
    assert (await ehr.delete(f"/Subscription/{name}")).status_code == 200
    assert (await ehr.get(f"/Subscription/{name}")).status_code == 404


# Exports.


async def exported(client, path, **parameters):
    answer = await client.get(path, params=parameters, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    where = answer.headers["content-location"].partition("/fhir")[2]
    for _ in range(1000):
        state = await client.get(where)
        if state.status_code != 202:
            return where, state
        assert "resources" in state.headers["x-progress"]
        await asyncio.sleep(0.01)
    raise AssertionError("the export never ended")


async def test_an_export_holds_every_resource_once(hub, ehr):
    ann = await hub.admit("Ann", "icu-01")
    await hub.admit("Bob", "icu-02", mrn="2")
    await hub.alarm(of=ann)
    await hub.write(
        *(vitals(n, NOW - 30 * MINUTE + n * SECOND) for n in range(600)),
        *(vitals(n, NOW - 30 * MINUTE + n * SECOND, device="mon-2") for n in range(400)),
    )
    hub.clock.ns += MINUTE
    where, state = await exported(ehr, "/$export")
    manifest = state.json()
    counts = {one["type"]: one["count"] for one in manifest["output"]}
    assert counts["Patient"] == 2
    assert counts["Observation"] == 3000
    for output in manifest["output"]:
        file = await ehr.get(output["url"])
        assert file.headers["content-type"] == "application/fhir+ndjson"
        lines = [json.loads(line) for line in file.text.splitlines()]
        assert len(lines) == len({one["id"] for one in lines}) == output["count"]
        assert all(validate(one) == [] for one in lines[:5])
    async with await hub.client("biomed") as other:
        assert (await other.get(where)).status_code == 404
    assert (await ehr.delete(where)).status_code == 202
    assert (await ehr.get(where)).status_code == 404
    assert (await ehr.get(manifest["output"][0]["url"])).status_code == 404


async def test_an_export_of_patients_and_since_a_time(hub, ehr):
    await hub.admit("Ann", "icu-01")
    await hub.write(*(vitals(n, NOW - 30 * MINUTE + n * SECOND, heart_rate=60.0) for n in range(100)))
    hub.clock.ns += MINUTE
    _, state = await exported(ehr, "/Patient/$export", _type="Observation", _since="2026-11-24T02:14:02Z")
    (output,) = state.json()["output"]
    assert (output["type"], output["count"]) == ("Observation", 50)


async def test_exports_are_refused_where_they_are_too_many_or_of_unknown_kinds(hub, ehr, monkeypatch):
    assert (await ehr.get("/$export?_type=Medication")).status_code == 400
    assert (await ehr.get("/$export?_outputFormat=csv")).status_code == 400
    assert (await ehr.get("/$export?_since=x")).status_code == 400
    assert (await ehr.get("/$export", headers={"Prefer": "return=minimal"})).status_code == 400
    monkeypatch.setattr(exports, "AT_ONCE", 0)
    assert (await ehr.get("/$export")).status_code == 429
    async with await hub.client("viewer") as viewer:
        assert (await viewer.get("/export/export-1")).status_code == 404

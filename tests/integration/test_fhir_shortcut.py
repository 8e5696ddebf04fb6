"""What goes past the framework is answered as the framework's own routes answer."""

import asyncio
import gzip
import socket

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from hub.api import protocol
from hub.api.fhir.shortcut import Shortcut
from hub.api.protocol import Protocol
from hub.stores.store import StoreUnavailable
from tests.fhir_hub import MINUTE, NOW, SECOND, fhir_hub, vitals

PATHS = [
    "/Observation?device=Device/main..mon-1&_count=20",
    "/Observation?device=Device/main..mon-1&_count=2",
    "/Observation?patient={who}&code=8867-4&_count=1000",
    "/Observation?patient={who}&_include=Observation:patient",
    "/Observation?device=Device/main..mon-1&_summary=count",
    "/Observation?patient=nobody",
    "/Observation?colour=red&_count=many",
    "/Observation?_format=xml",
    "/Observation/$lastn?patient={who}&category=vital-signs",
    "/Observation/$lastn?patient={who}",
]


def _client(api, secret, **headers):
    transport = httpx.ASGITransport(api, client=("192.0.2.7", 40000), raise_app_exceptions=False)
    authorization = {} if secret is None else {"Authorization": secret}
    return httpx.AsyncClient(
        transport=transport, base_url="http://hub:8080/fhir", headers=authorization | headers
    )


async def _both(hub, path, secret, **headers):
    """Return a request's answer and record, past the framework and through it."""
    found = []
    for api in (hub.api, lambda *asgi: FastAPI.__call__(hub.api, *asgi)):
        async with _client(api, secret, **headers) as client, client.stream("GET", path) as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])
        kept = await hub.ledger.accesses(limit=1)
        record = (kept[0].what, kept[0].interaction, kept[0].status, kept[0].client, kept[0].role)
        record += (kept[0].address, kept[0].patient)
        found.append((answer.status_code, sorted(answer.headers.multi_items()), raw, record))
    return found


@pytest.fixture
async def hub(tmp_path):
    async with fhir_hub(tmp_path) as hub:
        await hub.write(*(vitals(n, NOW - 30 * MINUTE + n * SECOND) for n in range(500)))
        yield hub


@pytest.fixture
def taken(monkeypatch):
    """Return the paths of requests that go past the framework."""
    paths: list[str] = []
    call = Shortcut.__call__

    async def noted(self, scope, receive, send):
        paths.append(scope["path"])
        await call(self, scope, receive, send)

    monkeypatch.setattr(Shortcut, "__call__", noted)
    return paths


@pytest.mark.parametrize("encoding", ["identity", "gzip, deflate"])
@pytest.mark.parametrize("path", PATHS)
async def test_both_ways_answer_alike(hub, taken, path, encoding):
    who = await hub.admit("Ann", "icu-01")
    secret = await hub.tokens.create("ehr", "nurse")
    asked = path.format(who=who)
    past, through = await _both(hub, asked, f"Bearer {secret}", **{"Accept-Encoding": encoding})
    assert past == through
    assert len(taken) == 1
    zipped = ("content-encoding", "gzip") in past[1]
    assert zipped == (encoding != "identity" and len(gzip.decompress(past[2]) if zipped else past[2]) >= 2000)
    assert past[3][1] == ("operation" if "$" in path else "search-type")


@pytest.mark.parametrize("secret", ["Bearer wh_wrong", "Bearer", "Basic YTpi", "Bearer whf_e30.e30"])
async def test_both_ways_refuse_who_is_not_known(hub, taken, secret):
    past, through = await _both(hub, PATHS[0], secret)
    assert past == through
    assert past[0] == 401
    assert len(taken) == 1


async def test_both_ways_refuse_a_token_that_was_revoked_or_has_expired(hub, taken):
    secret = await hub.tokens.create("ehr", "nurse", NOW + SECOND)
    assert [one[0] for one in await _both(hub, PATHS[0], f"Bearer {secret}")] == [200, 200]
    hub.clock.ns += 2 * SECOND
    assert [one[0] for one in await _both(hub, PATHS[0], f"Bearer {secret}")] == [401, 401]
    other = await hub.tokens.create("other", "nurse")
    await hub.tokens.revoke("other")
    assert [one[0] for one in await _both(hub, PATHS[0], f"Bearer {other}")] == [401, 401]
    assert len(taken) == 3


@pytest.mark.parametrize("error", [StoreUnavailable("away", 7.0), RuntimeError("unheard of")])
async def test_both_ways_tell_of_failures_alike(hub, taken, monkeypatch, error):
    async def fail(*_args, **_named):
        raise error

    monkeypatch.setattr(hub.store, "newest", fail)
    secret = await hub.tokens.create("ehr", "nurse")
    past, through = await _both(hub, PATHS[0], f"Bearer {secret}")
    assert past == through
    assert past[0] == (503 if isinstance(error, StoreUnavailable) else 500)
    assert b"unheard" not in past[2]
    assert len(taken) == 1


async def test_who_comes_without_a_token_or_with_a_body_goes_through_the_framework(hub, taken):
    secret = await hub.tokens.create("ehr", "nurse")
    async with _client(hub.api, f"Bearer {secret}") as client, _client(hub.api, None) as nobody:
        assert (await nobody.get("/Observation")).status_code == 401
        assert (await client.request("GET", PATHS[0], content=b"{}")).status_code == 200
        assert (await client.post("/Observation/_search", data={"patient": "nobody"})).status_code == 404
        assert (await client.get("/metadata")).status_code == 200
    assert taken == []


async def test_over_a_connection_it_is_the_same_in_one_piece(hub, monkeypatch):
    pieces: list[int] = []
    answer_whole = protocol._answer

    async def noted(cycle, status, headers, body):
        pieces.append(status)
        await answer_whole(cycle, status, headers, body)

    monkeypatch.setattr(protocol, "_answer", noted)
    secret = await hub.tokens.create("ehr", "nurse")
    config = uvicorn.Config(hub.api, http=Protocol, lifespan="off", log_config=None, server_header=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve([listening]))
        headers = {"Authorization": f"Bearer {secret}", "Host": "hub:8080"}
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/fhir"
        async with httpx.AsyncClient(headers=headers) as near, _client(hub.api, f"Bearer {secret}") as plain:
            for path in (PATHS[0], PATHS[5], PATHS[6]):
                answer, other = await near.get(url + path), await plain.get(path)
                assert answer.status_code == other.status_code
                assert answer.content == other.content
                found = [one for one in answer.headers.multi_items() if one[0] != "date"]
                assert sorted(found) == sorted(other.headers.multi_items())
        server.should_exit = True
        await task
    assert pieces == [200, 404, 400]


async def test_a_question_that_was_asked_before_is_answered_anew(hub):
    secret = f"Bearer {await hub.tokens.create('ehr', 'nurse')}"
    at = NOW - 20 * MINUTE
    async with _client(hub.api, secret) as client:
        first = (await client.get(PATHS[0])).json()
        await hub.write(vitals(500, at))
        second = (await client.get(PATHS[0])).json()
        elsewhere = (await client.get(PATHS[0], headers={"Host": "other:9000"})).json()
    newest = [one["resource"]["effectiveDateTime"] for one in second["entry"]]
    assert newest[0] > first["entry"][0]["resource"]["effectiveDateTime"]
    assert newest == [one["resource"]["effectiveDateTime"] for one in elsewhere["entry"]]
    assert {one["fullUrl"][:16] for one in second["entry"]} == {"http://hub:8080/"}
    assert {one["fullUrl"][:18] for one in elsewhere["entry"]} == {"http://other:9000/"}
    assert [one["url"][:18] for one in elsewhere["link"]] == ["http://other:9000/"] * 2


async def test_who_takes_it_easily_does_not_change_what_others_are_told(hub):
    secret = f"Bearer {await hub.tokens.create('ehr', 'nurse')}"
    path = "/Observation?device=Device/main..mon-1&colour=red&_count=2"
    async with _client(hub.api, secret) as client:
        statuses = [
            (await client.get(path, headers=headers)).status_code
            for headers in ({}, {"Prefer": "handling=lenient"}, {}, {"Prefer": "return=minimal"})
        ]
    assert statuses == [400, 200, 400, 400]


async def test_one_and_the_same_question_is_answered_by_what_each_may_see(hub):
    path = "/Observation?patient={who}&_include=Observation:patient"
    who = await hub.admit("Ann", "icu-01")
    nurse, viewer = await hub.tokens.create("a", "nurse"), await hub.tokens.create("b", "viewer")
    statuses = []
    for secret in (nurse, viewer, nurse):
        async with _client(hub.api, f"Bearer {secret}") as client:
            statuses.append((await client.get(path.format(who=who))).status_code)
    assert statuses == [200, 403, 200]

import pytest

from hub.stores.store import StoreRefused
from hub.ward.model import RegistryUnavailable


def parameters(problem):
    return [(fault.get("parameter"), fault["detail"]) for fault in problem["errors"]]


@pytest.mark.parametrize(
    ("path", "params", "parameter", "detail"),
    [
        ("/beds", {"sight": "main"}, "sight", "there is no such parameter here"),
        ("/beds", {"site": "ma in"}, "site", "pattern"),
        ("/beds/main/icu$", {}, "bed", "pattern"),
        ("/devices/main/mon-1/readings", {"limit": "0"}, "limit", "greater than or equal to 1"),
        ("/devices/main/mon-1/readings", {"limit": "10001"}, "limit", "less than or equal to 10000"),
        ("/devices/main/mon-1/readings", {"limit": "many"}, "limit", "valid integer"),
        ("/devices/main/mon-1/readings", {"cursor": "x"}, "cursor", "pattern"),
        ("/devices/main/mon-1/readings", {"from": "2026-11-24"}, "from", "expected RFC 3339 with a zone"),
        ("/devices/main/mon-1/readings", {"from": "2026-11-24T02:43:12"}, "from", "expected RFC 3339"),
        ("/devices/main/mon-1/readings", {"from": "1795488192"}, "from", "expected RFC 3339"),
        ("/devices/main/mon-1/readings", {"from": "2026-13-24T02:43:12Z"}, "from", "month must be in 1..12"),
        ("/devices/main/mon-1/readings", {"from": "1066-10-14T09:00:00Z"}, "from", "from 1970 to 2261"),
        (
            "/trends",
            {"parameter": "heart_rat", "device": "mon-1", "site": "main"},
            "parameter",
            "did you mean heart_rate?",
        ),
        ("/trends", {"parameter": "ecg_ii", "device": "mon-1", "site": "main"}, "parameter", "not a number"),
        ("/trends", {"device": "mon-1", "site": "main"}, "parameter", "required"),
        (
            "/trends",
            {"parameter": "heart_rate", "device": "mon-1", "site": "main", "points": "0"},
            "points",
            "greater",
        ),
        (
            "/trends",
            {"parameter": "heart_rate", "device": "mon-1", "site": "main", "points": "10001"},
            "points",
            "less",
        ),
        ("/alarms", {"priority": "urgent"}, "priority", "'high', 'medium', 'low' or 'information'"),
        ("/alarms/events", {"after": "-1"}, "after", "greater"),
        ("/rejects", {"limit": "1001"}, "limit", "less"),
    ],
)
async def test_a_wrong_parameter_is_named_with_what_was_expected(biomed, path, params, parameter, detail):
    response = await biomed.get("/api/v1" + path, params=params)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "urn:wardhub:problem:invalid-request"
    assert problem["instance"] == "/api/v1" + path
    assert len(problem["errors"]) == 1
    assert problem["errors"][0]["parameter"] == parameter
    assert detail in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ({"from": "2026-11-24T02:00:00Z", "to": "2026-11-24T02:00:00Z"}, "expected a time before `to`"),
        ({"from": "2026-11-24T02:43:13Z"}, "expected a time before `to` (which is now if absent)"),
        ({"from": "1990-11-24T02:00:00Z"}, "at most"),
    ],
)
async def test_a_span_must_have_its_start_before_its_end(client, params, detail):
    response = await client.get("/api/v1/devices/main/mon-1/readings", params=params)
    assert response.status_code == 422
    assert detail in response.json()["detail"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"patient": "p", "bed": "b", "site": "main"},
        {"bed": "icu-01"},
        {"patient": "p", "site": "main"},
        {"patient": "p", "device": "pump-1"},
    ],
)
async def test_a_trend_is_of_one_patient_bed_or_device(client, params):
    response = await client.get("/api/v1/trends", params={"parameter": "heart_rate"} | params)
    assert response.status_code == 422
    assert "give patient" in response.text or "site goes with" in response.text


async def test_a_ward_needs_its_site(client):
    response = await client.get("/api/v1/beds", params={"ward": "icu"})
    assert response.status_code == 422
    assert "ward needs site" in response.json()["detail"]


async def test_a_zone_may_be_an_offset(client):
    params = {"from": "2026-11-24T10:00:00.123456789+08:00", "to": "2026-11-24T02:30:00z"}
    assert (await client.get("/api/v1/devices/main/mon-1/readings", params=params)).status_code == 200


async def test_a_wrong_body_is_pointed_at(biomed):
    response = await biomed.post("/api/v1/rejects/replay", json={"ids": [1, "x"], "all": True})
    assert response.status_code == 422
    assert {fault["pointer"] for fault in response.json()["errors"]} == {"/ids/1", "/all"}
    response = await biomed.post(
        "/api/v1/rejects/replay", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert response.json()["errors"] == [{"detail": "expected JSON", "pointer": ""}]


async def test_errors_never_repeat_what_was_sent(biomed):
    response = await biomed.post("/api/v1/rejects/replay", json={"ids": ["Ada Example"]})
    assert "Ada" not in response.text


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(client):
    response = await client.get("/api/v1/bets")
    assert (response.status_code, response.json()["type"]) == (404, "urn:wardhub:problem:not-found")
    response = await client.delete("/api/v1/beds")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.json()["detail"].startswith("DELETE is not possible here")


async def test_a_store_that_is_away_is_a_503_that_says_when_to_try_again(client, broken_store):
    response = await client.get("/api/v1/devices/main/mon-1/readings")
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")
    assert response.json()["type"] == "urn:wardhub:problem:store-unavailable"
    assert "10.0.0.7" not in response.text


async def test_a_store_that_refuses_is_a_502(client, hospital):
    hospital.store.error = StoreRefused("no such database: vitals")
    response = await client.get("/api/v1/devices/main/mon-1/readings")
    assert response.status_code == 502
    assert "vitals" not in response.text


async def test_a_registry_that_is_away_is_a_503(hospital, with_services):
    class Away:
        async def wards(self):
            raise RegistryUnavailable("postgresql://10.0.0.8 refused")

    secret = await hospital.tokens.create("station", "nurse")
    async with with_services(secret, registry=Away()) as client:
        response = await client.get("/api/v1/wards")
    assert response.status_code == 503
    assert "10.0.0.8" not in response.text


async def test_a_fault_of_the_hub_shows_no_internals(hospital, with_services):
    class Broken:
        async def wards(self):
            raise ZeroDivisionError("Ada Example")

    secret = await hospital.tokens.create("station", "nurse")
    async with with_services(secret, registry=Broken()) as client:
        response = await client.get("/api/v1/wards")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "Ada" not in response.text
    assert "ZeroDivision" not in response.text


async def test_a_stream_beyond_the_most_clients_is_a_503(hospital, client):
    while hospital.services.stream.clients < 500:
        hospital.services.stream.open(object())
    response = await client.get("/api/v1/stream")
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")

import pytest

from hub.api import (
    alarm_actions,
    alarm_limits,
    alarm_load,
    alarm_shifts,
    alarm_transport,
    alarm_trials,
    alarms,
    devices,
    health,
    locations,
    onboarding,
    places,
    rejects,
    rooms,
    scores,
    streams,
    trends,
)
from hub.api.app import MAX_BODY_BYTES
from hub.events import Scope
from hub.metrics import CONTENT_TYPE

OPEN = {"/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"}
FILLED = {
    "site": "main",
    "ward": "icu",
    "bed": "icu-01",
    "patient": "p",
    "device": "mon-1",
    "waveform": "ecg_ii",
    "alarm": "al-1",
    "change_id": "1",
    "assignment": "1",
    "beacon": "AC233F000001",
}


def operations(api):
    """Every method and path that the application has, as its document lists them."""
    return [(method.upper(), path) for path, methods in api.openapi()["paths"].items() for method in methods]


def test_the_document_lists_every_route(api):
    parts = (
        alarm_actions,
        alarm_limits,
        alarm_load,
        alarm_shifts,
        alarm_transport,
        alarm_trials,
        alarms,
        devices,
        locations,
        onboarding,
        places,
        rejects,
        rooms,
        scores,
        streams,
        trends,
    )
    served = {"/api/v1" + route.path for part in parts for route in part.router.routes}
    served |= {route.path for route in health.router.routes}
    assert served == {path for _, path in operations(api)}


async def test_every_data_route_refuses_without_a_token_and_with_a_wrong_one(api, anonymous):
    walked = 0
    for method, path in operations(api):
        if path in OPEN:
            continue
        for headers in (
            {},
            {"Authorization": "Bearer wh_wrong"},
            {"Authorization": "Basic bnVyc2U6bnVyc2U="},
        ):
            response = await anonymous.request(method, path.format(**FILLED), headers=headers)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"].startswith('Bearer realm="wardhub"')
            assert response.headers["content-type"] == "application/problem+json"
            walked += 1
    assert walked >= 3 * 17


async def test_a_token_in_the_url_opens_nothing(hospital, anonymous):
    secret = await hospital.tokens.create("station", "nurse")
    for name in ("token", "access_token", "Authorization"):
        assert (await anonymous.get("/api/v1/beds", params={name: secret})).status_code == 401


async def test_a_revoked_token_is_refused(hospital, client):
    assert (await client.get("/api/v1/beds")).status_code == 200
    await hospital.tokens.revoke("nurse station")
    response = await client.get("/api/v1/beds")
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_role_that_may_not_is_told_which_role_is_needed(client, hospital):
    response = await client.post("/api/v1/rejects/replay", json={"ids": [1]})
    assert response.status_code == 403
    assert response.json()["detail"] == "this needs a token of the role biomed or it; yours has nurse"
    assert hospital.replays == []


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 401),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, 401),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}, 401),
    ],
)
async def test_metrics_need_a_token_unless_scraped_on_the_machine_itself(
    hospital, api, peer, headers, status
):
    import httpx

    transport = httpx.ASGITransport(api, client=(peer, 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as scraper:
        response = await scraper.get("/metrics", headers=headers)
    assert response.status_code == status
    if status == 200:
        assert response.headers["content-type"] == CONTENT_TYPE


async def test_metrics_open_with_a_token_from_anywhere(client):
    assert (await client.get("/metrics")).status_code == 200


async def test_answers_carry_security_headers_and_no_cors(client):
    for path in ("/api/v1/beds", "/api/v1/nothing", "/healthz"):
        response = await client.get(path, headers={"Origin": "http://elsewhere.example"})
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in response.headers


async def test_a_body_beyond_the_limit_is_refused(biomed, hospital):
    response = await biomed.post("/api/v1/rejects/replay", content=b"x" * (MAX_BODY_BYTES + 1))
    assert response.status_code == 413
    assert response.json()["type"] == "urn:wardhub:problem:content-too-large"

    async def endless():
        for _ in range(100):
            yield b" " * 1000

    response = await biomed.post(
        "/api/v1/rejects/replay", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413
    assert hospital.replays == []


async def test_a_stream_that_was_refused_takes_no_place(hospital, anonymous):
    await anonymous.get("/api/v1/stream")
    assert hospital.services.stream.clients == 0
    assert Scope() not in hospital.services.stream.scopes()

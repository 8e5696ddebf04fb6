import re
from dataclasses import replace

import httpx
import pytest
from argon2 import PasswordHasher

from hub.api.app import create_api
from hub.api.sign_in import EitherSecret, SignIn, actions_of
from hub.sessions import Sessions, SessionTimes
from hub.tokens import ROLES
from hub.users import Users

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
PASSWORD = "correct horse battery"
EVERYBODY = frozenset(ROLES)
CARERS = frozenset({"nurse", "charge-nurse"})

# Who may call what. A route that is not here fails `test_every_route_has_roles`: decide, then add it.
ALLOWED = {
    "GET /api/v1/wards": EVERYBODY,
    "GET /api/v1/wards/{site}/{ward}": EVERYBODY,
    "GET /api/v1/beds": EVERYBODY,
    "GET /api/v1/beds/{site}/{bed}": EVERYBODY,
    "GET /api/v1/patients": EVERYBODY,
    "GET /api/v1/patients/{patient}": EVERYBODY,
    "GET /api/v1/devices": EVERYBODY,
    "GET /api/v1/devices/unassigned": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/readings": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/waveforms/{waveform}": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/waveforms/{waveform}/stream": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/knock": EVERYBODY,
    "PUT /api/v1/devices/{site}/{device}": {"biomed", "it"},
    "GET /api/v1/locations": EVERYBODY,
    "GET /api/v1/locations/{site}/{beacon}": EVERYBODY,
    "GET /api/v1/trends": EVERYBODY,
    "GET /api/v1/alarms": EVERYBODY,
    "GET /api/v1/alarms/events": EVERYBODY,
    "GET /api/v1/alarms/load": EVERYBODY,
    "GET /api/v1/alarms/export.csv": EVERYBODY,
    "GET /api/v1/alarms/{alarm}": EVERYBODY,
    "POST /api/v1/alarms/{alarm}/acknowledge": CARERS,
    "POST /api/v1/alarms/{alarm}/pause": CARERS,
    "POST /api/v1/alarms/{alarm}/off": CARERS,
    "POST /api/v1/alarms/{alarm}/resume": CARERS,
    "POST /api/v1/alarms/{alarm}/reset": CARERS,
    "POST /api/v1/alarms/{alarm}/comment": CARERS,
    "POST /api/v1/alarms/{alarm}/handover": CARERS,
    "POST /api/v1/alarms/replay": CARERS | {"biomed"},
    "GET /api/v1/limits": EVERYBODY,
    "GET /api/v1/limits/changes": EVERYBODY,
    "POST /api/v1/limits/changes": CARERS | {"biomed"},
    "POST /api/v1/limits/changes/{change_id}/end": CARERS | {"biomed"},
    "GET /api/v1/assignments": EVERYBODY,
    "POST /api/v1/assignments": CARERS,
    "DELETE /api/v1/assignments/{assignment}": CARERS,
    "GET /api/v1/patients/{patient}/news2": EVERYBODY,
    "POST /api/v1/patients/{patient}/charted": CARERS,
    "POST /api/v1/devices/{site}/{device}/transport": CARERS,
    "DELETE /api/v1/devices/{site}/{device}/transport": CARERS,
    "GET /api/v1/news2": EVERYBODY,
    "GET /api/v1/stream": EVERYBODY,
    "GET /api/v1/rejects": EVERYBODY,
    "POST /api/v1/rejects/replay": {"biomed", "it"},
    "GET /api/v1/session": EVERYBODY,
    "POST /api/v1/session": EVERYBODY,
    "DELETE /api/v1/session": EVERYBODY,
    "POST /api/v1/session/touch": EVERYBODY,
}
OPEN = {"/healthz", "/readyz", "/metrics"}
FILLED = {
    "site": "main",
    "ward": "icu",
    "bed": "icu-01",
    "patient": "p",
    "beacon": "AC233F000001",
    "device": "mon-1",
    "waveform": "ecg_ii",
    "alarm": "al-1",
    "change_id": "1",
    "assignment": "1",
}


class Clock:
    now_ns = START

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def held(tmp_path, clock):
    url = f"sqlite:///{tmp_path / 'users.sqlite'}"
    users = Users(url, clock, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    sessions = Sessions(url, clock, SessionTimes(idle_s=600, signed_s=3600, shown_s=86_400))
    await users.start()
    await sessions.start()
    for role in ROLES:
        await users.add(role, f"{role.title()} Person", role, PASSWORD)
    yield SignIn(users, sessions)
    await sessions.stop()
    await users.stop()


@pytest.fixture
def station(hospital, held, clock):
    """The application with people signing in."""
    either = EitherSecret(hospital.tokens, held.sessions)
    return create_api(replace(hospital.services, tokens=either, now_ns=clock), held)


def browser(api, base="http://127.0.0.1:8080"):
    transport = httpx.ASGITransport(api, client=("127.0.0.1", 40000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=base)


async def sign_in(page, role="nurse"):
    response = await page.post("/api/v1/session", json={"user": role, "password": PASSWORD})
    assert response.status_code == 200, response.text
    page.headers["X-CSRF-Token"] = response.json()["csrf"]
    return response


async def test_a_session_opens_the_api_and_signing_out_closes_it(station):
    async with browser(station) as page:
        assert (await page.get("/api/v1/beds")).status_code == 401
        told = (await sign_in(page)).json()
        assert (told["name"], told["role"], told["active"]) == ("Nurse Person", "nurse", True)
        assert (await page.get("/api/v1/beds")).status_code == 200
        assert (await page.get("/api/v1/session")).json() == told
        secret = page.cookies["wardhub"]
        assert (await page.delete("/api/v1/session")).status_code == 204
        assert "wardhub" not in page.cookies
        page.cookies["wardhub"] = secret
        assert (await page.get("/api/v1/beds")).status_code == 401
        assert (await page.get("/api/v1/session")).status_code == 401


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(station):
    async with browser(station) as page:
        answers = [
            await page.post("/api/v1/session", json={"user": user, "password": "wrong password"})
            for user in ("nurse", "nobody")
        ]
    assert [one.status_code for one in answers] == [401, 401]
    assert answers[0].content == answers[1].content
    assert not any("set-cookie" in one.headers for one in answers)


async def test_guessing_is_slowed_down(station):
    async with browser(station) as page:
        for _ in range(5):
            await page.post("/api/v1/session", json={"user": "nurse", "password": "wrong password"})
        response = await page.post("/api/v1/session", json={"user": "nurse", "password": PASSWORD})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "60"


async def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http(station):
    async with browser(station, "https://hub.example") as page:
        cookie = (await sign_in(page)).headers["set-cookie"]
        assert cookie.startswith("__Host-wardhub=ws_")
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert {"httponly", "secure", "samesite=strict", "path=/"} <= parts
        assert not any(part.startswith("domain") for part in parts)
        assert (await page.get("/api/v1/beds")).status_code == 200
    async with browser(station, "http://hub.example") as page:
        cookie = (await sign_in(page)).headers["set-cookie"]
        assert "secure" in cookie.lower(), "behind a proxy that ends TLS"


async def test_a_change_needs_what_only_the_page_knows(station):
    async with browser(station) as page:
        await sign_in(page, "biomed")
        token = page.headers.pop("X-CSRF-Token")
        for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": token[:-1]}, {"X-CSRF-Token": "\u00e9"}):
            raw = {name: value.encode("latin-1") for name, value in headers.items()}
            response = await page.post("/api/v1/rejects/replay", json={"ids": [1]}, headers=raw)
            assert response.status_code == 403
            assert response.json()["type"] == "urn:wardhub:problem:csrf"
        from_elsewhere = {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"}
        response = await page.post("/api/v1/rejects/replay", json={"ids": [1]}, headers=from_elsewhere)
        assert response.status_code == 403
        response = await page.post(
            "/api/v1/rejects/replay", json={"ids": [1]}, headers={"X-CSRF-Token": token}
        )
        assert response.status_code == 200


async def test_another_site_cannot_sign_its_own_user_in(station):
    async with browser(station) as page:
        body = {"user": "nurse", "password": PASSWORD}
        response = await page.post("/api/v1/session", json=body, headers={"Sec-Fetch-Site": "cross-site"})
        assert response.status_code == 403
        assert "set-cookie" not in response.headers


async def test_programs_need_no_csrf_token(hospital, station):
    secret = await hospital.tokens.create("robot", "it")
    async with browser(station) as program:
        response = await program.post(
            "/api/v1/rejects/replay", json={"ids": [1]}, headers={"Authorization": f"Bearer {secret}"}
        )
    assert response.status_code == 200


async def test_a_locked_session_shows_the_wall_and_nothing_else(station, clock):
    async with browser(station) as page:
        await sign_in(page, "biomed")
        clock.now_ns += 600 * SECOND
        for path in ("wards", "beds", "beds/main/icu-01", "alarms", "alarms/events"):
            assert (await page.get(f"/api/v1/{path}")).status_code == 200, path
        for path in ("patients", "patients/p", "devices", "rejects", "trends?patient=p&parameter=spo2"):
            response = await page.get(f"/api/v1/{path}")
            assert response.status_code == 401, path
            assert response.json()["type"] == "urn:wardhub:problem:session-locked"
        assert (await page.post("/api/v1/rejects/replay", json={"ids": [1]})).status_code == 401
        assert (await page.post("/api/v1/session/touch")).status_code == 401
        told = (await page.get("/api/v1/session")).json()
        assert (told["active"], told["name"], told["actions"]) == (False, "", [])
        await sign_in(page, "nurse")
        assert (await page.get("/api/v1/devices")).status_code == 200


async def test_touching_keeps_a_session_awake(station, clock):
    async with browser(station) as page:
        await sign_in(page)
        for _ in range(4):
            clock.now_ns += 400 * SECOND
            assert (await page.post("/api/v1/session/touch")).status_code == 204
        assert (await page.get("/api/v1/patients")).status_code == 200


async def test_signing_in_ends_the_session_that_the_station_had(station, held):
    async with browser(station) as page:
        await sign_in(page)
        old = page.cookies["wardhub"]
        await sign_in(page, "charge-nurse")
        assert page.cookies["wardhub"] != old
        assert held.sessions.verify(old, START) is None


def operations(api):
    return [(method.upper(), path) for path, ways in api.openapi()["paths"].items() for method in ways]


def test_every_route_has_roles(station):
    served = {f"{method} {path}" for method, path in operations(station) if path not in OPEN}
    assert served == set(ALLOWED)


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_refuses_the_roles_that_may_not_and_lets_the_others_pass(station, role):
    async with browser(station) as page:
        for method, path in operations(station):
            if path in OPEN or path.endswith("/stream"):
                continue
            await sign_in(page, role)
            response = await page.request(method, path.format(**FILLED), json={})
            refused = response.status_code == 403
            assert refused == (role not in ALLOWED[f"{method} {path}"]), (method, path, response.text)


@pytest.mark.parametrize("role", ROLES)
def test_the_page_is_told_exactly_the_changes_that_its_role_may_ask_for(station, role):
    expected = {
        re.sub(r"\{[^}]*\}", "{}", route)
        for route, roles in ALLOWED.items()
        if role in roles and not route.startswith("GET")
    }
    assert set(actions_of(station, role)) == expected


async def test_the_page_loads_nothing_from_another_host(station):
    async with browser(station) as page:
        response = await page.get("/")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "http" not in policy
    assert "*" not in policy
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", response.text)

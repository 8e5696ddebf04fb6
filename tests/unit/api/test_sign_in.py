import re

import pytest

from tests.unit.api.stations import PASSWORD, SECOND, START, Clock, Station, openid, sign_in


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def station(hospital, tmp_path, clock):
    station = Station(tmp_path, clock, openid())
    yield await station.open(hospital)
    await station.close()


async def test_a_session_opens_the_api_and_signing_out_closes_it(station):
    async with station.browser() as page:
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
    async with station.browser() as page:
        answers = [
            await page.post("/api/v1/session", json={"user": user, "password": "wrong password"})
            for user in ("nurse", "nobody")
        ]
    assert [one.status_code for one in answers] == [401, 401]
    assert answers[0].content == answers[1].content
    assert not any("set-cookie" in one.headers for one in answers)


async def test_guessing_is_slowed_down(station):
    async with station.browser() as page:
        for _ in range(5):
            await page.post("/api/v1/session", json={"user": "nurse", "password": "wrong password"})
        response = await page.post("/api/v1/session", json={"user": "nurse", "password": PASSWORD})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "60"


async def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http(station):
    async with station.browser("https://hub.example") as page:
        cookie = (await sign_in(page)).headers["set-cookie"]
        assert cookie.startswith("__Host-wardhub=ws_")
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert {"httponly", "secure", "samesite=strict", "path=/"} <= parts
        assert not any(part.startswith("domain") for part in parts)
        assert (await page.get("/api/v1/beds")).status_code == 200
    async with station.browser("http://hub.example") as page:
        cookie = (await sign_in(page)).headers["set-cookie"]
        assert "secure" in cookie.lower(), "behind a proxy that ends TLS"


async def test_a_change_needs_what_only_the_page_knows(station):
    async with station.browser() as page:
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
    async with station.browser() as page:
        body = {"user": "nurse", "password": PASSWORD}
        response = await page.post("/api/v1/session", json=body, headers={"Sec-Fetch-Site": "cross-site"})
        assert response.status_code == 403
        assert "set-cookie" not in response.headers


async def test_programs_need_no_csrf_token(hospital, station):
    secret = await hospital.tokens.create("robot", "it")
    async with station.browser() as program:
        response = await program.post(
            "/api/v1/rejects/replay", json={"ids": [1]}, headers={"Authorization": f"Bearer {secret}"}
        )
    assert response.status_code == 200


async def test_a_locked_session_shows_the_wall_and_nothing_else(station, clock):
    async with station.browser() as page:
        await sign_in(page, "biomed")
        clock.now_ns += 600 * SECOND
        for path in (
            "wards",
            "rooms",
            "wards/main/icu/rooms",
            "beds",
            "beds/main/icu-01",
            "alarms",
            "alarms/events",
        ):
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
    async with station.browser() as page:
        await sign_in(page)
        for _ in range(4):
            clock.now_ns += 400 * SECOND
            assert (await page.post("/api/v1/session/touch")).status_code == 204
        assert (await page.get("/api/v1/patients")).status_code == 200


async def test_signing_in_ends_the_session_that_the_station_had(station):
    async with station.browser() as page:
        await sign_in(page)
        old = page.cookies["wardhub"]
        await sign_in(page, "charge-nurse")
        assert page.cookies["wardhub"] != old
        assert station.sessions.verify(old, START) is None


async def test_the_page_loads_nothing_from_another_host(station):
    async with station.browser() as page:
        response = await page.get("/")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "http" not in policy
    assert "*" not in policy
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", response.text)


async def test_who_comes_and_goes_and_who_was_refused_is_audited_and_no_made_up_name(station):
    async with station.browser() as page:
        await sign_in(page)
        await page.delete("/api/v1/session")
        for user in ("it", "what I thought was the password field"):
            await page.post("/api/v1/session", json={"user": user, "password": "wrong password"})
    assert station.audit.told == [
        ("login", "nurse", "nurse", 200),
        ("logout", "nurse", "nurse", 200),
        ("login", "it", "", 401),
        ("login", "", "", 401),
    ]
    assert {one.address for one in station.audit} == {"127.0.0.1"}
    assert {one.what for one in station.audit} == {"session"}


async def test_whoever_knows_the_password_may_change_it_and_every_session_ends(station):
    body = {"user": "Nurse", "password": PASSWORD, "new_password": "battery horse staple"}
    async with station.browser() as other, station.browser() as page:
        await sign_in(other)
        response = await page.post("/api/v1/session/password", json=body)
        assert response.status_code == 204, response.text
        assert (await other.get("/api/v1/session")).status_code == 401
        assert (await page.post("/api/v1/session/password", json=body)).status_code == 401
        old = {"user": "nurse", "password": PASSWORD}
        assert (await page.post("/api/v1/session", json=old)).status_code == 401
        new = {"user": "nurse", "password": "battery horse staple"}
        assert (await page.post("/api/v1/session", json=new)).status_code == 200
    assert ("password", "nurse", "nurse", 200) in station.audit.told


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"new_password": "short"}, 422),
        ({"new_password": PASSWORD}, 422),
        ({"password": "wrong password"}, 401),
        ({"user": "nobody"}, 401),
    ],
)
async def test_a_password_that_is_refused_stays_as_it_was(station, changes, status):
    body = {"user": "nurse", "password": PASSWORD, "new_password": "battery horse staple"}
    async with station.browser() as page:
        response = await page.post("/api/v1/session/password", json=body | changes)
        assert response.status_code == status, response.text
        await sign_in(page)
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert (await page.post("/api/v1/session/password", json=body, headers=foreign)).status_code == 403


async def test_guessing_by_changing_the_password_is_slowed_down_too(station):
    body = {"user": "nurse", "password": "wrong password", "new_password": "battery horse staple"}
    async with station.browser() as page:
        for _ in range(5):
            await page.post("/api/v1/session/password", json=body)
        response = await page.post("/api/v1/session", json={"user": "nurse", "password": PASSWORD})
    assert response.status_code == 429
    assert station.audit.told[-1] == ("login", "nurse", "", 429)


async def test_every_session_of_a_person_can_be_ended_at_once(station):
    async with station.browser() as one, station.browser() as two, station.browser() as other:
        for page, role in ((one, "nurse"), (two, "nurse"), (other, "it")):
            await sign_in(page, role)
        assert sorted(session.user for session in await station.sessions.entries()) == [
            "it",
            "nurse",
            "nurse",
        ]
        assert await station.sessions.end("nurse") == 2
        assert [(await page.get("/api/v1/session")).status_code for page in (one, two, other)] == [
            401,
            401,
            200,
        ]
        assert await station.sessions.end("nurse") == 0

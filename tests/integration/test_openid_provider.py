"""Signing in at a certified OpenID provider: the hub, the provider and the browser each by themselves."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.crash.hub_process import HubProcess
from tests.openid import SECRET, CertifiedProvider, Person, missing

if missing() and os.environ.get("CI") != "true":
    pytest.skip(missing(), allow_module_level=True)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PASSWORD = "correct horse battery"
PEOPLE = {
    "anna": {"name": "Anna Berg", "preferred_username": "Anna.Berg", "groups": ["icu-nurses", "choir"]},
    "otto": {"name": "Otto Roth", "preferred_username": "otto.roth", "groups": ["it-staff"]},
    "gast": {"name": "A Guest", "preferred_username": "guest", "groups": ["visitors"]},
}
PARTS = '[oidc]\nissuer = "{issuer}"\nclient_id = "wardhub"\n{client}\nhub_url = "{hub}"\n'
PARTS += 'scopes = ["openid", "profile", "groups"]\n[oidc.role_map]\nit-staff = "it"\nicu-nurses = "nurse"\n'
BASIC = f'client_secret = "{SECRET}"'
POST = f'client_secret = "{SECRET}"\nclient_auth = "post"'


class Hospital:
    """A hub and the provider that its people sign in at."""

    def __init__(self, folder: Path, method: str, client: str, claims_in_token: bool) -> None:
        self.hub = HubProcess(folder)
        self.provider = CertifiedProvider(
            folder, self.hub.url, PEOPLE, method=method, claims_in_token=claims_in_token
        )
        self.config = folder / "hub.toml"
        text = PARTS.format(issuer=self.provider.issuer, client=client, hub=self.hub.url)
        self.config.write_text(f"{self.config.read_text()}\n{text}")

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hub.cli", *arguments, "--config", str(self.config)]
        environment = {**os.environ, "COLUMNS": "250"}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, input=stdin, timeout=120, env=environment
        )

    async def come_back(self, page: httpx.AsyncClient, person: Person) -> str:
        """Lead somebody to the provider and back; return the address to come back to."""
        begun = await page.post("/api/v1/session/oidc")
        assert begun.status_code == 200, begun.text
        url = begun.json()["url"]
        return await asyncio.to_thread(person.follow, url, f"{self.hub.url}/api/v1/session/oidc/callback")

    async def sign_in(self, page: httpx.AsyncClient, person: Person) -> str:
        """Return where the page is led to."""
        response = await page.get(await self.come_back(page, person))
        assert response.status_code == 303
        if response.headers["location"] == "/?sign-in=done":
            page.headers["X-CSRF-Token"] = (await page.get("/api/v1/session")).json()["csrf"]
        return response.headers["location"]


@pytest.fixture(
    params=[
        ("client_secret_basic", BASIC, True),
        ("client_secret_post", POST, False),
        ("none", "", True),
    ],
    ids=["secret in the header", "secret in the body, claims at userinfo", "public client"],
)
async def hospital(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hospital]:
    hospital = Hospital(tmp_path, *request.param)
    hospital.hub.start()
    try:
        await hospital.hub.ready()
        yield hospital
    finally:
        hospital.hub.kill()
        hospital.provider.stop()


@pytest.fixture
async def page(hospital: Hospital) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=hospital.hub.url, timeout=30) as page:
        yield page


@pytest.fixture
def people() -> Iterator[dict[str, Person]]:
    people = {name: Person(name) for name in PEOPLE}
    yield people
    for person in people.values():
        person.close()


async def test_people_of_the_hospital_come_in_act_in_their_role_and_go(
    hospital: Hospital, page: httpx.AsyncClient, people: dict[str, Person]
) -> None:
    anna = people["anna"]
    answer = await hospital.come_back(page, anna)
    assert (await page.get(answer)).headers["location"] == "/?sign-in=done"
    told = (await page.get("/api/v1/session")).json()
    assert (told["user"], told["name"], told["role"]) == ("anna.berg", "Anna Berg", "nurse")
    assert (await page.get("/api/v1/patients")).status_code == 200
    assert (await page.get("/api/v1/rejects")).status_code == 403

    # The answer is worth nothing a second time, to nobody.
    async with httpx.AsyncClient(base_url=hospital.hub.url) as thief:
        assert (await thief.get(answer)).headers["location"] == "/?sign-in=expired"
        assert (await thief.get("/api/v1/session")).status_code == 401

    # The provider knows her still, and asks again all the same: the screen is shared.
    assert anna.asked == 1
    assert await hospital.sign_in(page, anna) == "/?sign-in=done"
    assert anna.asked == 2

    response = await page.delete("/api/v1/session")
    assert response.status_code == 200
    url = response.json()["provider_url"]
    assert await asyncio.to_thread(anna.follow, url, f"{hospital.hub.url}/") == f"{hospital.hub.url}/"
    assert (await page.get("/api/v1/session")).status_code == 401

    assert await hospital.sign_in(page, people["gast"]) == "/?sign-in=no-role"
    assert (await page.get("/api/v1/session")).status_code == 401
    assert "groups holds visitors; oidc.role_map knows it-staff, icu-nurses" in hospital.hub.log.read_text()

    # Who runs the hub sees who is in, and shows them out.
    assert await hospital.sign_in(page, people["otto"]) == "/?sign-in=done"
    listed = await asyncio.to_thread(hospital.command, "user", "sessions")
    assert [word for word in ("otto.roth", "Otto Roth", "OpenID", "acts") if word not in listed.stdout] == []
    events = (await page.get("/fhir/AuditEvent")).json()["entry"]
    ended = await asyncio.to_thread(hospital.command, "user", "sign-out", "otto.roth")
    assert ended.stdout == "1 session of otto.roth ended\n"
    for _ in range(300):
        if (await page.get("/api/v1/session")).status_code == 401:
            break
        await asyncio.sleep(0.1)
    assert (await page.get("/api/v1/session")).status_code == 401
    gone = await asyncio.to_thread(hospital.command, "user", "sign-out", "otto.roth")
    assert (gone.returncode, "is signed in" in gone.stderr) == (1, True)

    audited = [one["resource"] for one in events if one["resource"]["type"]["code"] == "110114"]
    told = [
        (one["subtype"][0]["display"], one["agent"][0]["who"]["display"], one["outcome"]) for one in audited
    ]
    assert told == [
        ("Login", "anna.berg", "0"),
        ("Login", "unknown", "4"),
        ("Login", "anna.berg", "0"),
        ("Logout", "anna.berg", "0"),
        ("Login", "guest", "4"),
        ("Login", "otto.roth", "0"),
    ]


@pytest.mark.parametrize("hospital", [("client_secret_basic", BASIC, True)], indirect=True, ids=["basic"])
async def test_a_provider_that_is_away_keeps_nobody_from_their_alarms(
    hospital: Hospital, page: httpx.AsyncClient, people: dict[str, Person]
) -> None:
    added = await asyncio.to_thread(
        hospital.command,
        "user",
        "add",
        "berta",
        "--full-name",
        "Berta",
        "--password-file",
        "-",
        stdin=PASSWORD,
    )
    assert added.returncode == 0, added.stderr
    good = await asyncio.to_thread(hospital.command, "doctor", "--json", "--messages", "100")
    assert f"{hospital.provider.issuer} answers" in good.stdout

    hospital.provider.stop()
    assert hospital.hub.stop() == 0
    hospital.hub.start()
    await hospital.hub.ready()
    response = await page.post("/api/v1/session/oidc")
    assert response.json()["type"] == "urn:wardhub:problem:provider-unavailable"
    assert (await page.get("/api/v1/session/methods")).json() == {"local": True, "openid": ""}
    body = {"user": "berta", "password": PASSWORD}
    assert (await page.post("/api/v1/session", json=body)).status_code == 200
    assert (await page.get("/api/v1/alarms")).status_code == 200
    bad = await asyncio.to_thread(hospital.command, "doctor", "--json", "--messages", "100")
    assert bad.returncode == 1
    assert "see to oidc.issuer, and that this machine reaches it" in bad.stdout

    hospital.provider.start()
    assert await hospital.sign_in(page, people["anna"]) == "/?sign-in=done"
    log = hospital.hub.log.read_text()
    assert log.count("people can't sign in by OpenID Connect: ") == 1
    assert log.count("people can sign in by OpenID Connect again") == 1

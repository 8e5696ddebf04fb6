"""Nurse stations for tests: the application with people signing in, and browsers in front of it."""

from dataclasses import replace

import httpx
from argon2 import PasswordHasher

from hub.api.app import create_api
from hub.api.sign_in import EitherSecret, SignIn
from hub.openid.provider import Provider
from hub.openid.settings import OpenIdSettings
from hub.sessions import Sessions, SessionTimes
from hub.tokens import ROLES
from hub.users import Users

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
PASSWORD = "correct horse battery"
HUB = "http://127.0.0.1:8080"


class Clock:
    now_ns = START

    def __call__(self):
        return self.now_ns

    def seconds(self):
        return self.now_ns / SECOND


class Audit(list):
    """What was recorded."""

    async def __call__(self, access):
        self.append(access)

    @property
    def told(self):
        return [(one.interaction, one.client, one.role, one.status) for one in self]


def openid(issuer="http://127.0.0.1:9", **changes):
    """Settings of a provider; by default of one that never answers."""
    given = {
        "issuer": issuer,
        "client_id": "wardhub",
        "client_secret": "a secret of the client",
        "hub_url": HUB,
        "role_map": {"it-staff": "it", "icu-nurses": "nurse", "icu-leads": "charge-nurse"},
        "timeout_s": 5,
    }
    return OpenIdSettings(**(given | changes))


class Station:
    """An application where somebody of each role may sign in."""

    def __init__(self, folder, clock, settings):
        url = f"sqlite:///{folder / 'users.sqlite'}"
        self.clock = clock
        self.users = Users(url, clock, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.sessions = Sessions(url, clock, SessionTimes(idle_s=600, signed_s=3600, shown_s=86_400))
        self.provider = None if settings is None else Provider(settings, clock.seconds)
        self.audit = Audit()
        self.api = None

    async def open(self, hospital):
        await self.users.start()
        await self.sessions.start()
        for role in ROLES:
            await self.users.add(role, f"{role.title()} Person", role, PASSWORD)
        services = replace(
            hospital.services, tokens=EitherSecret(hospital.tokens, self.sessions), now_ns=self.clock
        )
        self.api = create_api(services, SignIn(self.users, self.sessions, self.provider, self.audit))
        return self

    async def close(self):
        await self.sessions.stop()
        await self.users.stop()

    def browser(self, base=HUB):
        transport = httpx.ASGITransport(self.api, client=("127.0.0.1", 40000), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=base)


async def sign_in(page, role="nurse"):
    """Sign in as the user who is called like the role."""
    response = await page.post("/api/v1/session", json={"user": role, "password": PASSWORD})
    assert response.status_code == 200, response.text
    page.headers["X-CSRF-Token"] = response.json()["csrf"]
    return response

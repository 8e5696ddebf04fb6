"""Signing in at a nurse station, and out again: who may, what is kept of it, and what they may do then."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection
from starlette.responses import Response

from hub.api.access import roles_of
from hub.api.answers import answer, described
from hub.api.cookies import SAFE, SESSION, CookieSessions, refuse_other_sites
from hub.api.fhir.ledger import LedgerUnavailable
from hub.api.problems import Problem, documented, invalid
from hub.api.services import Hub
from hub.fhir.audit import Access, AtTheDoor
from hub.sessions import Person, Session, Sessions, csrf_token, digest_of
from hub.tokens import Tokens
from hub.users import LONGEST_PASSWORD, SHORTEST_PASSWORD, TooManyAttempts, User, Users
from hub.ward.model import RegistryRefused

if TYPE_CHECKING:
    from hub.openid.provider import Provider

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api/v1/session", tags=["session"])


class Caller(Protocol):
    """Who asks, as hub.api.services.Token."""

    @property
    def name(self) -> str:
        """Of the user or the token."""

    @property
    def role(self) -> str:
        """One of hub.tokens.ROLES."""


class SignIn:
    """How people come in: as local users, by the hospital's OpenID provider, or either way.

    `record` keeps in the audit who came and went, and who tried to.
    """

    def __init__(
        self,
        users: Users,
        sessions: Sessions,
        provider: "Provider | None" = None,
        record: Callable[[Access], Awaitable[None]] | None = None,
    ) -> None:
        self.users = users
        self.sessions = sessions
        self.provider = provider
        self._record = record

    @property
    def takes_local_users(self) -> bool:
        """Whether local users may sign in."""
        return self.provider is None or self.provider.settings.local_users

    async def open(
        self,
        request: Request,
        person: Person,
        before: str | None,
        subject: str | None = None,
        id_token: str | None = None,
    ) -> str:
        """Begin a session in place of the one with the digest `before`; return its secret."""
        if before:
            await self.sessions.close(before)
        secret = await self.sessions.open(person, subject, id_token)
        await self.note(request, "login", person.name, person.role)
        return secret

    async def note(
        self, request: Request, what: AtTheDoor, name: str = "", role: str = "", status: int = 200
    ) -> None:
        """Keep in the audit what somebody did at the door, or tried to. No name: nobody is known."""
        if self._record is not None:
            address = request.client.host if request.client else ""
            now_ns = request.app.state.services.now_ns()
            path = request.url.path.removeprefix("/api/v1/")
            try:
                await self._record(Access(0, now_ns, "E", what, path, name, role, address, status))
            except LedgerUnavailable as error:  # care goes before the book
                log.error("a sign-in could not be recorded: %s", error)  # noqa: TRY400 - the cause is the disk


class EitherSecret:
    """Checks secrets of tokens and of sessions; a `hub.api.services.TokenCheck`."""

    def __init__(self, tokens: Tokens, sessions: Sessions) -> None:
        self._tokens = tokens
        self._sessions = sessions

    def verify(self, secret: str, now_ns: int) -> Caller | None:
        """Return whose secret it is."""
        return self._sessions.verify(secret, now_ns) or self._tokens.verify(secret, now_ns)


class Credentials(BaseModel):
    """A user and a password."""

    model_config = ConfigDict(extra="forbid")

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=LONGEST_PASSWORD)


class NewPassword(Credentials):
    """A user, the password, and the one in its place."""

    new_password: str = Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)


class SignInMethods(Struct, frozen=True):
    """How people sign in at this hub."""

    local: bool
    """With user and password."""
    openid: str | None
    """Text of the button that leads to the provider, empty for the page's own; null: there is none."""


class SessionAnswer(Struct, frozen=True):
    """Who is signed in at this station, and what they may do."""

    user: str
    name: str
    role: str
    csrf: str
    """Goes into the header X-CSRF-Token of everything that changes something."""
    active: bool
    """False once the session is locked: it shows alarms and values, and does nothing."""
    idle_s: int
    """It is locked when nobody has touched the station for so long."""
    actions: list[str]
    """Every change that this role may ask for, and every read that not all may: method and path, `{}` for
    each parameter."""


class SignedOut(Struct, frozen=True):
    """The session is over here, and still open at the provider."""

    provider_url: str
    """Where the browser goes to end it there."""


async def sign_in_of(connection: HTTPConnection) -> SignIn:
    """Return how people come in at the application that a request came to."""
    held: SignIn = connection.app.state.sign_in
    return held


Door = Annotated[SignIn, Depends(sign_in_of)]
"""The parameter by which a route gets it."""


@router.get("/methods", summary="Tell how people sign in", **described(SignInMethods))
async def methods(door: Door) -> Response:
    """Before anybody is signed in: what the page offers."""
    button = None if door.provider is None else door.provider.settings.button
    return answer(SignInMethods(door.takes_local_users, button))


@router.post("", summary="Sign in", **described(SessionAnswer, 401, 403, 422, 503))
async def sign_in(hub: Hub, request: Request, credentials: Credentials, door: Door) -> Response:
    """Begin a session. The cookie lasts longer than the right to act: see `active`."""
    user = await _checked(request, door, credentials, "login")
    before = SESSION.of(request)
    secret = await door.open(request, user, None if before is None else digest_of(before))
    session = door.sessions.verify(secret, hub.now_ns())
    if session is None:
        raise Problem(503, "try-again", "the session ended at once; sign in again")
    response = _told(hub.now_ns(), request, door, secret, session)
    SESSION.give(response, request, secret, door.sessions.times.shown_s)
    return response


@router.post(
    "/password",
    status_code=204,
    summary="Change the own password",
    response_class=Response,
    responses=documented(401, 403, 422, 503),
)
async def change_password(request: Request, passwords: NewPassword, door: Door) -> Response:
    """Give a local user another password, by who knows the old one. Every session of theirs ends."""
    user = await _checked(request, door, passwords, "password")
    if passwords.new_password == passwords.password:
        raise invalid("new_password", "expected another one than before")
    try:
        await door.users.change(user.name, password=passwords.new_password)
    except RegistryRefused as error:
        raise invalid("new_password", str(error)) from error
    await door.sessions.follow()
    await door.note(request, "password", user.name, user.role)
    return Response(status_code=204)


@router.get("", summary="Tell who is signed in", **described(SessionAnswer, 401))
async def who(hub: Hub, request: Request, door: Door) -> Response:
    """The session of the cookie."""
    secret, session = _required(hub.now_ns(), request, door)
    return _told(hub.now_ns(), request, door, secret, session)


@router.post(
    "/touch",
    status_code=204,
    summary="Tell that somebody is there",
    response_class=Response,
    responses=documented(401),
)
async def touch(hub: Hub, request: Request, door: Door) -> Response:
    """Keep the session from being locked. The page calls it after a key or a click, at most every 30 s."""
    _, session = _required(hub.now_ns(), request, door)
    await door.sessions.touch(session)
    return Response(status_code=204)


_SIGNED_OUT: Final = described(SignedOut, 401)
_SIGNED_OUT["responses"][204] = {"description": "It is over here, and that is all."}


@router.delete("", summary="Sign out", **_SIGNED_OUT)
async def sign_out(hub: Hub, request: Request, door: Door) -> Response:
    """End the session of the cookie, its streams too; tell where it may be ended at the provider."""
    _, session = _required(hub.now_ns(), request, door)
    id_token = await door.sessions.close(session.sha256)
    await door.note(request, "logout", session.user, session.role)
    url = None if door.provider is None or id_token is None else await door.provider.sign_out_url(id_token)
    response = Response(status_code=204) if url is None else answer(SignedOut(url))
    SESSION.take_back(response, request)
    return response


def install(api: FastAPI, door: SignIn) -> None:
    """Add signing in to an application."""
    api.state.sign_in = door
    api.include_router(router)
    api.add_middleware(CookieSessions, sessions=door.sessions)


def actions_of(api: FastAPI, role: str) -> list[str]:
    """Return the changes that a role may ask for and the reads that not all may, as `GET /api/v1/rejects`."""
    found = set()
    for route in iter_route_contexts(api.routes):
        if not isinstance(route.original_route, APIRoute):
            continue
        checks = roles_of(route.dependant)
        methods = (route.methods or set()) - (frozenset() if checks else SAFE)
        if all(role in allowed for allowed in checks):
            path = re.sub(r"\{[^}]*\}", "{}", route.path or "")
            found |= {f"{method} {path}" for method in methods}
    return sorted(found)


async def _checked(
    request: Request, door: SignIn, credentials: Credentials, what: Literal["login", "password"]
) -> User:
    """Return the user whose password this is. Raises Problem; keeps in the audit who it was refused to."""
    refuse_other_sites(request)
    if not door.takes_local_users:
        raise Problem(
            403, "no-local-users", "sign in with the hospital account: local users are off (oidc.local_users)"
        )
    name = credentials.user.strip().lower()
    try:
        user = await door.users.check(name, credentials.password)
    except TooManyAttempts as error:
        await _note_refusal(request, door, name, what, 429)
        headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        raise Problem(429, "too-many-attempts", str(error), headers=headers) from error
    if user is None:
        await _note_refusal(request, door, name, what, 401)
        raise Problem(401, "wrong-credentials", "user or password is wrong")
    return user


async def _note_refusal(
    request: Request, door: SignIn, name: str, what: Literal["login", "password"], status: int
) -> None:
    # A name that nobody has may be a password in the wrong field.
    await door.note(request, what, name if await door.users.exists(name) else "", status=status)


def _told(now_ns: int, request: Request, door: SignIn, secret: str, session: Session) -> Response:
    active = door.sessions.is_active(session, now_ns)
    return answer(
        SessionAnswer(
            user=session.user,
            name=session.full_name if active else "",
            role=session.role,
            csrf=csrf_token(secret),
            active=active,
            idle_s=door.sessions.times.idle_s,
            actions=actions_of(request.app, session.role) if active else [],
        )
    )


def _required(now_ns: int, request: Request, door: SignIn) -> tuple[str, Session]:
    secret = SESSION.of(request)
    session = None if secret is None else door.sessions.verify(secret, now_ns)
    if secret is None or session is None:
        raise Problem(401, "not-signed-in", "nobody is signed in at this station")
    return secret, session

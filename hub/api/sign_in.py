"""Signing in at a nurse station: a session in a cookie, guarded against requests forged by other sites.

A browser's cookie stands for a bearer token: the middleware puts the session's secret where a program would
put its token, so that every route treats both alike. What it adds for cookies: a change needs the page's
`X-CSRF-Token`, and a locked session reads what the screen on the wall shows and nothing else.
"""

import hmac
import re
from typing import Annotated, Final, Protocol

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.api.access import HasRole
from hub.api.answers import answer, described
from hub.api.problems import Problem, documented, respond
from hub.api.services import Hub
from hub.sessions import Session, Sessions, csrf_token
from hub.tokens import Tokens
from hub.users import LONGEST_PASSWORD, TooManyAttempts, User, Users

router = APIRouter(prefix="/api/v1/session", tags=["session"])

COOKIE: Final = "__Host-wardhub"
COOKIE_ON_LOOPBACK: Final = "wardhub"
"""On a machine's own http address, where a browser may take no secure cookie."""
CSRF_HEADER: Final = "X-CSRF-Token"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ON_THE_WALL: Final = re.compile(
    r"/api/v1/(stream|news2|wards(/[^/]+/[^/]+)?|beds(/[^/]+/[^/]+)?|alarms(/events)?|session(/touch)?)"
)
"""What a locked session may still read: values and alarms by bed, no names."""


class Caller(Protocol):
    """Who asks, as hub.api.services.Token."""

    @property
    def name(self) -> str:
        """Of the user or the token."""

    @property
    def role(self) -> str:
        """One of hub.tokens.ROLES."""


class SignIn:
    """Users and sessions of one hub."""

    def __init__(self, users: Users, sessions: Sessions) -> None:
        self.users = users
        self.sessions = sessions


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
    """Every change that this role may ask for: method and path, `{}` for each parameter."""


async def _sign_in_of(connection: HTTPConnection) -> SignIn:
    held: SignIn = connection.app.state.sign_in
    return held


SignedIn = Annotated[SignIn, Depends(_sign_in_of)]


class CookieSessions:
    """Turns a session's cookie into a bearer token, once it is clear that the page itself asked."""

    def __init__(self, app: ASGIApp, sign_in: SignIn) -> None:
        self._app = app
        self._sessions = sign_in.sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        secret = _cookie_of(connection)
        if secret is None or "authorization" in connection.headers or _is_sign_in(scope):
            await self._app(scope, receive, send)
            return
        now_ns = scope["app"].state.services.now_ns()
        session = self._sessions.verify(secret, now_ns)
        problem = None if session is None else self._problem(scope, secret, session, now_ns)
        if problem is not None:
            await respond(Request(scope), problem)(scope, receive, send)
            return
        headers = [*scope["headers"], (b"authorization", b"Bearer " + secret.encode("latin-1", "replace"))]
        await self._app({**scope, "headers": headers}, receive, send)

    def _problem(self, scope: Scope, secret: str, session: Session, now_ns: int) -> Problem | None:
        safe = scope["method"] in _SAFE
        if not safe and not _sent_by_the_page(Headers(scope=scope), secret):
            detail = f"a change needs the header {CSRF_HEADER} with `csrf` of GET /api/v1/session"
            return Problem(403, "csrf", detail)
        if self._sessions.is_active(session, now_ns):
            return None
        if scope["path"] == "/api/v1/session" or (safe and _ON_THE_WALL.fullmatch(scope["path"])):
            return None
        return Problem(401, "session-locked", "nobody used this station for a while: sign in again")


@router.post("", summary="Sign in", **described(SessionAnswer, 401, 422, 503))
async def sign_in(hub: Hub, request: Request, credentials: Credentials, held: SignedIn) -> Response:
    """Begin a session. The cookie lasts longer than the right to act: see `active`."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "csrf", "only the hub's own page signs in")
    try:
        user: User | None = await held.users.check(credentials.user.strip().lower(), credentials.password)
    except TooManyAttempts as error:
        headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        raise Problem(429, "too-many-attempts", str(error), headers=headers) from error
    if user is None:
        raise Problem(401, "wrong-credentials", "user or password is wrong")
    before = _cookie_of(request)
    old = None if before is None else held.sessions.verify(before, hub.now_ns())
    if old is not None:
        await held.sessions.close(old)
    secret = await held.sessions.open(user)
    session = held.sessions.verify(secret, hub.now_ns())
    if session is None:
        raise Problem(503, "try-again", "the session ended at once; sign in again")
    response = _told(hub.now_ns(), request, held, secret, session)
    secure = _needs_secure(request)
    response.set_cookie(
        COOKIE if secure else COOKIE_ON_LOOPBACK,
        secret,
        max_age=held.sessions.times.shown_s,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return response


@router.get("", summary="Tell who is signed in", **described(SessionAnswer, 401))
async def who(hub: Hub, request: Request, held: SignedIn) -> Response:
    """The session of the cookie."""
    secret, session = _required(hub.now_ns(), request, held)
    return _told(hub.now_ns(), request, held, secret, session)


@router.post(
    "/touch",
    status_code=204,
    summary="Tell that somebody is there",
    response_class=Response,
    responses=documented(401),
)
async def touch(hub: Hub, request: Request, held: SignedIn) -> Response:
    """Keep the session from being locked. The page calls it after a key or a click, at most every 30 s."""
    _, session = _required(hub.now_ns(), request, held)
    await held.sessions.touch(session)
    return Response(status_code=204)


@router.delete("", status_code=204, summary="Sign out", response_class=Response, responses=documented(401))
async def sign_out(hub: Hub, request: Request, held: SignedIn) -> Response:
    """End the session of the cookie, its streams too."""
    _, session = _required(hub.now_ns(), request, held)
    await held.sessions.close(session)
    response = Response(status_code=204)
    secure = _needs_secure(request)
    response.delete_cookie(
        COOKIE if secure else COOKIE_ON_LOOPBACK, path="/", secure=secure, httponly=True, samesite="strict"
    )
    return response


def install(api: FastAPI, held: SignIn) -> None:
    """Add signing in to an application."""
    api.state.sign_in = held
    api.include_router(router)
    api.add_middleware(CookieSessions, sign_in=held)


def actions_of(api: FastAPI, role: str) -> list[str]:
    """Return every change that a role may ask for, as `POST /api/v1/alarms/{}/acknowledge`."""
    found = set()
    for route in iter_route_contexts(api.routes):
        if not isinstance(route.original_route, APIRoute):
            continue
        checks = [one.call for one in route.dependant.dependencies if isinstance(one.call, HasRole)]
        if all(role in check.roles for check in checks):
            path = re.sub(r"\{[^}]*\}", "{}", route.path or "")
            found |= {f"{method} {path}" for method in (route.methods or set()) - _SAFE}
    return sorted(found)


def _told(now_ns: int, request: Request, held: SignIn, secret: str, session: Session) -> Response:
    active = held.sessions.is_active(session, now_ns)
    return answer(
        SessionAnswer(
            user=session.user,
            name=session.full_name if active else "",
            role=session.role,
            csrf=csrf_token(secret),
            active=active,
            idle_s=held.sessions.times.idle_s,
            actions=actions_of(request.app, session.role) if active else [],
        )
    )


def _required(now_ns: int, request: Request, held: SignIn) -> tuple[str, Session]:
    secret = _cookie_of(request)
    session = None if secret is None else held.sessions.verify(secret, now_ns)
    if secret is None or session is None:
        raise Problem(401, "not-signed-in", "nobody is signed in at this station")
    return secret, session


def _is_sign_in(scope: Scope) -> bool:
    """Signing in needs no session, and takes the place of one that ended."""
    return bool(scope["path"] == "/api/v1/session" and scope["method"] == "POST")


def _cookie_of(connection: HTTPConnection) -> str | None:
    name = COOKIE if _needs_secure(connection) else COOKIE_ON_LOOPBACK
    return connection.cookies.get(name)


def _needs_secure(connection: HTTPConnection) -> bool:
    """Tell whether the cookie goes over a network: anything but plain http on this machine does.

    Behind a proxy that ends TLS the hub sees http and the hospital's name; over plain http from elsewhere
    a browser refuses the cookie, and nobody's session is sent in the clear.
    """
    return not (connection.url.scheme == "http" and connection.url.hostname in _LOOPBACK)


def _sent_by_the_page(headers: Headers, secret: str) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    return hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), csrf_token(secret).encode())

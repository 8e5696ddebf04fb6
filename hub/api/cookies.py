"""The session's cookie: a browser's stand-in for a bearer token, guarded against requests that others forge.

A middleware puts the session's secret where a program would put its token, so that every route treats both
alike. What it adds for cookies: a change needs the page's `X-CSRF-Token`, and a locked session reads what the
screen on the wall shows and nothing else.
"""

import hmac
import re
from typing import Final, Literal

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.api.problems import Problem, respond
from hub.sessions import Session, Sessions, csrf_token

CSRF_HEADER: Final = "X-CSRF-Token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ON_THE_WALL: Final = re.compile(
    r"/api/v1/(stream|news2|rooms|wards(/[^/]+/[^/]+(/rooms)?)?|beds(/[^/]+/[^/]+)?|alarms(/events)?|session(/touch)?)"
)
"""What a locked session may still read: rooms, values and alarms by bed, no names."""
_WITHOUT_SESSION: Final = frozenset(
    {
        ("POST", "/api/v1/session"),
        ("GET", "/api/v1/session/methods"),
        ("POST", "/api/v1/session/password"),
        ("POST", "/api/v1/session/oidc"),
        ("GET", "/api/v1/session/oidc/callback"),
    }
)
"""Signing in needs no session, and takes the place of one that ended."""


class Cookie:
    """A cookie that goes to this host alone, and out of reach of scripts.

    Behind a proxy that ends TLS the hub sees http and the hospital's name; so everything but plain http on
    this machine makes the cookie secure. Over plain http from elsewhere a browser refuses it then, and
    nobody's session is sent in the clear.
    """

    def __init__(self, name: str, same_site: Literal["strict", "lax"]) -> None:
        self._name = name
        self._same_site: Literal["strict", "lax"] = same_site

    def of(self, connection: HTTPConnection) -> str | None:
        """Return what a browser sent."""
        return connection.cookies.get(self._name_for(connection))

    def give(self, response: Response, connection: HTTPConnection, value: str, seconds: int) -> None:
        """Let a browser keep it."""
        response.set_cookie(
            self._name_for(connection),
            value,
            max_age=seconds,
            path="/",
            secure=_needs_secure(connection),
            httponly=True,
            samesite=self._same_site,
        )

    def take_back(self, response: Response, connection: HTTPConnection) -> None:
        """Let a browser forget it."""
        response.delete_cookie(
            self._name_for(connection),
            path="/",
            secure=_needs_secure(connection),
            httponly=True,
            samesite=self._same_site,
        )

    def _name_for(self, connection: HTTPConnection) -> str:
        # A browser takes the prefix from a secure address alone: nobody else in the domain can set it.
        return f"__Host-{self._name}" if _needs_secure(connection) else self._name


SESSION: Final = Cookie("wardhub", "strict")


class CookieSessions:
    """Turns a session's cookie into a bearer token, once it is clear that the page itself asked."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        secret = SESSION.of(connection)
        needless = (scope["method"], scope["path"]) in _WITHOUT_SESSION
        if secret is None or "authorization" in connection.headers or needless:
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
        safe = scope["method"] in SAFE
        headers = Headers(scope=scope)
        if not safe and not (_is_from_here(headers) and _knows_csrf(headers, secret)):
            detail = f"a change needs the header {CSRF_HEADER} with `csrf` of GET /api/v1/session"
            return Problem(403, "csrf", detail)
        if self._sessions.is_active(session, now_ns):
            return None
        if scope["path"] == "/api/v1/session" or (safe and _ON_THE_WALL.fullmatch(scope["path"])):
            return None
        return Problem(401, "session-locked", "nobody used this station for a while: sign in again")


def refuse_other_sites(request: Request) -> None:
    """Let only the hub's own page sign in: another site could sign its own user in. Raises Problem."""
    if not _is_from_here(request.headers):
        raise Problem(403, "csrf", "only the hub's own page signs in")


def _is_from_here(headers: Headers) -> bool:
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _knows_csrf(headers: Headers, secret: str) -> bool:
    return hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), csrf_token(secret).encode())


def _needs_secure(connection: HTTPConnection) -> bool:
    return not (connection.url.scheme == "http" and connection.url.hostname in _LOOPBACK)

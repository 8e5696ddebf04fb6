"""The way past the framework's layers, for the questions that EHRs ask again and again.

Routing, layers and dependencies would take more of the main thread than the answer does, and the line needs
that thread. The routes themselves stay where they are: they are described, and take whoever comes with a
cookie or a body. Both ways give the same answers.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hub.api.fhir import reading
from hub.api.fhir.access import Caller, audited, authenticated
from hub.api.fhir.errors import answer_to, internal
from hub.api.fhir.http import GZIP_FROM, GZIP_LEVEL, expect_json
from hub.api.fhir.query import repeated
from hub.api.fhir.services import FhirServices
from hub.api.headers import SECURITY_HEADERS
from hub.api.protocol import whole_answer

Handler = Callable[[Request, FhirServices, Caller], Awaitable[Response]]

_HANDLERS: Final[Mapping[str, tuple[str, Handler]]] = {
    "/Observation": ("search-type", reading.search_observations),
    "/Observation/$lastn": ("operation", reading.lastn),
}
"""By path: the interaction as the audit names it, and what answers."""
_WITH_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
_APART_FROM: Final = 128 * 1024
"""Larger answers are compressed in another thread: it takes longer than a change of threads."""
_VARY: Final = (b"vary", b"Accept-Encoding")
_SECURITY_HEADERS: Final = [
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]


class Shortcut:
    """Answers requests that `takes` lets pass, as the application under `prefix` would."""

    def __init__(self, app: FastAPI, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._handlers = {
            prefix + path: audited(_checked(handler), interaction, path.removeprefix("/"))
            for path, (interaction, handler) in _HANDLERS.items()
        }

    def takes(self, scope: Scope) -> bool:
        """Tell whether a request is one of these: with a token, without a body."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in self._handlers:
            return False
        names = {name for name, _ in scope["headers"]}
        return b"authorization" in names and names.isdisjoint(_WITH_BODY) and not scope.get("root_path")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        inner = {**scope, "app": self._app, "app_root_path": "", "root_path": self._prefix}
        request = Request(inner, receive)
        failure: Exception | None = None
        try:
            response = await self._handlers[scope["path"]](request)
        except Exception as error:  # noqa: BLE001 - every failure is told; what nobody expected is raised after it
            told = answer_to(error)
            failure = error if told is None else None
            response = internal() if told is None else told
        await _send(request, response, send)
        if failure is not None:
            raise failure


def _checked(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def check(request: Request) -> Response:
        expect_json(repeated(request).format, request.headers.get("accept", "*/*"))
        services: FhirServices = request.app.state.fhir
        return await handler(request, services, authenticated(request, services))

    return check


async def _send(request: Request, response: Response, send: Send) -> None:
    body, headers = bytes(response.body), list(response.raw_headers)
    if len(body) >= GZIP_FROM:
        headers.append(_VARY)
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = _gzip(body) if len(body) < _APART_FROM else await asyncio.to_thread(_gzip, body)
            headers = [one for one in headers if one[0] != b"content-length"]
            headers += [(b"content-encoding", b"gzip"), (b"content-length", str(len(body)).encode())]
    given = {name for name, _ in headers}
    headers += [one for one in _SECURITY_HEADERS if one[0] not in given]
    whole = whole_answer(send)
    if whole is not None:
        await whole(response.status_code, headers, body)
        return
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)

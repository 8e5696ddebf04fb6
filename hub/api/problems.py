"""Errors as RFC 9457 problem details: what is wrong, where, and what to do. Never internals."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from msgspec import Struct, json, to_builtins
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hub.alarms.book import BookUnusable
from hub.api.headers import SECURITY_HEADERS
from hub.stores.store import StoreRefused, StoreUnavailable
from hub.ward.model import NotInRegistry, RegistryUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Of RFC 9110, which Python follows from 3.13 on."""


class Fault(Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a request."""

    detail: str
    """What was expected."""
    parameter: str | None = None
    """The query or path parameter or header."""
    pointer: str | None = None
    """JSON Pointer into the body."""


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457)."""

    type: str
    """`urn:wardhub:problem:` and a name, stable for programs."""
    title: str
    status: int
    detail: str
    instance: str
    """The path of the request, without its query."""
    errors: list[Fault] = []


class Problem(HTTPException):
    """An error that a route tells the client."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.name = name
        self.errors = list(errors)


def _title(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase


def invalid(parameter: str, detail: str) -> Problem:
    """Return the problem of one query or path parameter."""
    return Problem(422, "invalid-request", f"{parameter}: {detail}", [Fault(detail, parameter=parameter)])


def missing(what: str) -> Problem:
    """Return the problem of something that does not exist."""
    return Problem(404, "not-found", what)


def log_unavailable() -> Problem:
    """Return the problem of old alarm events on a disk that is stuck or fails."""
    detail = "old events can't be read from the disk now; new alarms are told as ever, try again later"
    return Problem(503, "log-unavailable", detail, headers={"Retry-After": "5"})


def install(api: FastAPI) -> None:
    """Let every error leave the application as problem details."""
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(RequestValidationError, _validation)
    api.add_exception_handler(StoreUnavailable, _store_unavailable)
    api.add_exception_handler(StoreRefused, _store_refused)
    api.add_exception_handler(RegistryUnavailable, _registry_unavailable)
    api.add_exception_handler(BookUnusable, _book_unusable)
    api.add_exception_handler(NotInRegistry, _not_in_registry)
    api.add_exception_handler(Exception, _internal)


def respond(request: Request, problem: Problem) -> Response:
    """Render a problem."""
    details = ProblemDetails(
        type=f"urn:wardhub:problem:{problem.name}",
        title=_title(problem.status_code),
        status=problem.status_code,
        detail=problem.detail,
        instance=request.url.path,
        errors=problem.errors,
    )
    headers = {**SECURITY_HEADERS, **(problem.headers or {})}
    return Response(json.encode(details), problem.status_code, headers, MEDIA_TYPE)


async def _http(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return respond(request, error)
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    detail = {
        404: "there is nothing at this path; /api/v1/openapi.json lists what there is",
        405: f"{request.method} is not possible here; the Allow header tells what is",
        400: "the request could not be read",
        413: "the body is larger than this hub takes",
    }.get(status, HTTPStatus(status).description or _title(status))
    name = _title(status).lower().replace(" ", "-")
    return respond(request, Problem(status, name, detail, headers=headers))


async def _validation(request: Request, error: Exception) -> Response:
    faults = [_fault(one) for one in error.errors()] if isinstance(error, RequestValidationError) else []
    summary = "; ".join(f"{fault.parameter or fault.pointer or 'body'}: {fault.detail}" for fault in faults)
    return respond(request, Problem(422, "invalid-request", summary, faults))


def _fault(error: Mapping[str, Any]) -> Fault:
    """Return one of pydantic's errors without the input, which may hold anything."""
    where, *path = [str(part) for part in error["loc"]]
    detail = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        detail = "there is no such parameter here; /api/v1/openapi.json lists those that there are"
    elif error["type"] == "json_invalid":
        return Fault("expected JSON", pointer="")
    if where == "body":
        return Fault(detail, pointer="".join(f"/{part}" for part in path))
    return Fault(detail, parameter=path[0] if path else None)


async def _store_unavailable(request: Request, error: Exception) -> Response:
    retry_s = error.retry_after_s if isinstance(error, StoreUnavailable) else 0.0
    headers = {"Retry-After": str(max(1, round(retry_s)))}
    detail = "the time series store can't be reached; alarms and live values go on, try again later"
    return respond(request, Problem(503, "store-unavailable", detail, headers=headers))


async def _store_refused(request: Request, error: Exception) -> Response:
    log.error("the store refused a query for %s", type(error).__name__)
    detail = "the time series store refused the query; the hub's log tells an operator more"
    return respond(request, Problem(502, "store-refused", detail))


async def _registry_unavailable(request: Request, _error: Exception) -> Response:
    headers = {"Retry-After": "5"}
    detail = "the ward registry can't be reached; alarms and live values go on, try again later"
    return respond(request, Problem(503, "registry-unavailable", detail, headers=headers))


async def _book_unusable(request: Request, _error: Exception) -> Response:
    headers = {"Retry-After": "5"}
    detail = "the hub's disk can't be read or written; alarms and live values go on, try again later"
    return respond(request, Problem(503, "book-unusable", detail, headers=headers))


async def _not_in_registry(request: Request, _error: Exception) -> Response:
    return respond(request, missing("the ward registry holds no such thing"))


async def _internal(request: Request, _error: Exception) -> Response:
    return respond(request, Problem(500, "internal", "the hub failed at this request; its log tells more"))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI responses for these errors."""
    return {
        status: {
            "description": _title(status),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                    "example": to_builtins(_EXAMPLES[status]),
                }
            },
        }
        for status in statuses
    }


def _example(status: int, name: str, detail: str, *errors: Fault) -> ProblemDetails:
    problem = f"urn:wardhub:problem:{name}"
    return ProblemDetails(problem, _title(status), status, detail, "/api/v1/beds", list(errors))


_EXAMPLES = {
    401: _example(401, "unauthorized", "send a bearer token: Authorization: Bearer wh_…"),
    403: _example(403, "forbidden", "this needs a token of the role biomed or it"),
    404: _example(404, "not-found", "there is no bed icu-99 at main"),
    409: _example(
        409, "signal-refused", "only a latched signal can be reset; this condition is still present"
    ),
    413: _example(413, "content-too-large", "a body may have 65536 bytes at most"),
    422: _example(422, "invalid-request", "limit: 0", Fault("expected 1 to 1000", parameter="limit")),
    502: _example(502, "store-refused", "the time series store refused the query"),
    503: _example(503, "store-unavailable", "the time series store can't be reached"),
}

"""Errors as OperationOutcome: what is wrong, where, and what to change. Never internals."""

import logging
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hub.alarms.book import BookUnusable
from hub.api.headers import SECURITY_HEADERS
from hub.fhir.outcome import outcome
from hub.fhir.resource import encode
from hub.fhir.validate import Issue
from hub.stores.store import StoreRefused, StoreUnavailable
from hub.ward.model import NotInRegistry, PlacementConflict, RegistryRefused, RegistryUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/fhir+json"


class FhirError(HTTPException):
    """What a route tells the client is wrong."""

    def __init__(
        self, status: int, issues: Sequence[Issue], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, issues[0].diagnostics, dict(headers or {}))
        self.issues = list(issues)


def wrong(code: str, text: str, expression: str = "", status: int = 400) -> FhirError:
    """Return an error of one issue; the expression is a FHIRPath or names a search parameter."""
    return FhirError(status, [Issue(code, text, expression)])


def missing(what: str, expression: str = "") -> FhirError:
    """Return the error of something that isn't there; the expression as in `wrong`."""
    return wrong("not-found", what, expression, status=404)


def respond(issues: Sequence[Issue], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Render an OperationOutcome."""
    return Response(
        encode(outcome(issues)), status, {**SECURITY_HEADERS, **(headers or {})}, media_type=MEDIA_TYPE
    )


_TOLD = (
    StoreUnavailable,
    StoreRefused,
    RegistryUnavailable,
    NotInRegistry,
    RegistryRefused,
    BookUnusable,
)


def install(app: FastAPI) -> None:
    """Let every error leave the application as an OperationOutcome."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    for kind in _TOLD:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(Exception, _internal)


def told(error: Exception) -> tuple[int, list[Issue], dict[str, str]]:
    """Return how an error is told: status, issues, headers. Raises it again where it is none of these."""
    if isinstance(error, FhirError):
        return error.status_code, error.issues, dict(error.headers or {})
    if isinstance(error, HTTPException):
        code, text = {
            404: ("not-found", "there is nothing at this path; /fhir/metadata tells what there is"),
            405: ("not-supported", "this method is not possible here; /fhir/metadata tells what is"),
            413: ("too-long", "the body is larger than this hub takes"),
        }.get(error.status_code, ("processing", "the request could not be read"))
        return error.status_code, [Issue(code, text, "")], dict(error.headers or {})
    if isinstance(error, StoreUnavailable):
        text = "the time series store can't be reached; alarms and live values go on, try again later"
        retry_s = max(1, round(error.retry_after_s))
        return 503, [Issue("transient", text, "")], {"Retry-After": str(retry_s)}
    if isinstance(error, RegistryUnavailable | BookUnusable):
        what = "the ward registry" if isinstance(error, RegistryUnavailable) else "the hub's disk"
        text = f"{what} can't be reached; alarms and live values go on, try again later"
        return 503, [Issue("transient", text, "")], {"Retry-After": "5"}
    if isinstance(error, StoreRefused):
        log.error("the store refused a query of the FHIR interface")
        return (
            502,
            [Issue("processing", "the time series store refused the query; see the hub's log", "")],
            {},
        )
    if isinstance(error, NotInRegistry):
        return 404, [Issue("not-found", str(error), "")], {}
    if isinstance(error, PlacementConflict):
        return 409, [Issue("conflict", str(error), "")], {}
    if isinstance(error, RegistryRefused):
        return 422, [Issue("business-rule", str(error), "")], {}
    raise error


def answer_to(error: Exception) -> Response | None:
    """Return how an error is told; None for one that nobody expected."""
    if not isinstance(error, (HTTPException, *_TOLD)):
        return None
    status, issues, headers = told(error)
    return respond(issues, status, headers)


def internal() -> Response:
    """Tell that the hub failed, and nothing else."""
    return respond([Issue("exception", "the hub failed at this request; its log tells more", "")], 500)


async def _http(_request: Request, error: Exception) -> Response:
    status, issues, headers = told(error)
    return respond(issues, status, headers)


async def _known(_request: Request, error: Exception) -> Response:
    status, issues, headers = told(error)
    return respond(issues, status, headers)


async def _validation(_request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    issues = [Issue("invalid", str(one["msg"]), ".".join(map(str, one["loc"][1:]))) for one in faults]
    return respond(issues or [Issue("invalid", "the request could not be read", "")], 400)


async def _internal(_request: Request, _error: Exception) -> Response:
    return internal()

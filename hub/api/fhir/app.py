"""The FHIR application: all routes, their errors, their description; mounted under /fhir."""

import re
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import URL
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Scope

from hub import __version__
from hub.api.fhir import reading, smart, subscribing, writing
from hub.api.fhir.changes import WRITABLE
from hub.api.fhir.errors import MEDIA_TYPE, install
from hub.api.fhir.http import GZIP_FROM, GZIP_LEVEL, base_of, documented, respond
from hub.api.fhir.interface import FhirInterface
from hub.api.fhir.kinds import KINDS
from hub.api.fhir.selection import PARAMETERS_OF_SEARCH
from hub.api.fhir.shortcut import Shortcut
from hub.fhir.capability import OPERATIONS, Capability, capability_statement
from hub.fhir.resource import encode
from hub.fhir.times import instant

PREFIX = "/fhir"
MAX_BODY_BYTES = 2 << 20

_DESCRIPTION = """FHIR R4 (4.0.1): what the hub knows, for electronic health records.

Start at `/fhir/metadata`. Every other route needs a bearer token: one of `hub token create`, or a
short-lived one from `/fhir/auth/token`. Errors are OperationOutcomes.
"""
_TYPES = {
    "date": "date",
    "encounter": "reference",
    "patient": "reference",
    "subject": "reference",
    "device": "reference",
    "value-quantity": "quantity",
}


class _FhirApp(FastAPI):
    """FastAPI, with the kinds of resources as schemas."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for kind in (
                "Resource",
                "Observation",
                "OperationOutcome",
                "Bundle",
                "CapabilityStatement",
                "Subscription",
                "Parameters",
                *KINDS,
            ):
                names = {"type": "string"} if kind == "Resource" else {"const": kind}
                schemas[kind] = {
                    "type": "object",
                    "properties": {"resourceType": names},
                    "required": ["resourceType"],
                    "externalDocs": {"url": f"https://hl7.org/fhir/R4/{kind.lower()}.html"},
                }
            self.openapi_schema = document
        return self.openapi_schema


class _At(Mount):
    """A mount that takes its own address without a slash at the end too: that is where bundles are posted.

    And every path under it, line breaks included: what is wrong with it is told as FHIR tells it.
    """

    def __init__(self, path: str, app: ASGIApp, name: str) -> None:
        super().__init__(path, app=app, name=name)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a request is for the application."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and path == self.path:
            scope = {**scope, "path": scope["path"] + "/"}
            match, child = super().matches(scope)
            return match, {**child, "path": scope["path"]}
        return super().matches(scope)


def create_fhir(interface: FhirInterface) -> FastAPI:
    """Return the application. It opens nothing; it is served under PREFIX of another."""
    app = _FhirApp(
        title="wardhub FHIR",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.fhir = interface.services
    app.state.subscriptions = interface.subscriptions
    app.state.exports = interface.exports
    app.state.since = instant(interface.services.now_ns())
    install(app)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM, compresslevel=GZIP_LEVEL)
    app.include_router(reading.observing)  # asked for most
    app.include_router(_metadata)
    # Operations first: $export is no Patient.
    for part in (smart, subscribing, reading, writing):
        app.include_router(part.router)
    app.include_router(subscribing.sockets)
    return app


def mount(api: FastAPI, interface: FhirInterface) -> Shortcut:
    """Serve FHIR under PREFIX of an application; return the way past it for what is asked most."""
    app = create_fhir(interface)
    api.router.routes.append(_At(PREFIX, app=app, name="fhir"))
    return Shortcut(app, PREFIX)


_metadata = APIRouter()


@_metadata.get(
    "/metadata", summary="Get the CapabilityStatement", **documented("capabilities", "CapabilityStatement")
)
async def metadata(request: Request) -> Response:
    """What this server can do; open to everybody."""
    base = base_of(request)
    statement = capability_statement(
        _capabilities(),
        base=base,
        version=__version__,
        date=request.app.state.since,
        token_url=str(URL(f"{base}/auth/token")),
    )
    return respond(encode(statement))


def _capabilities() -> list[Capability]:
    observation = Capability(
        "Observation",
        ["read", "search-type"],
        {name: (_TYPES.get(name, "token"), "") for name in (*PARAMETERS_OF_SEARCH, "_id", "_lastUpdated")},
        tuple(reading.INCLUDES),
        {name: OPERATIONS[name] for name in ("lastn", "validate")},
    )
    found = [observation]
    for kind in KINDS.values():
        operations = {"validate": OPERATIONS["validate"]}
        if kind.name == "Patient":
            operations["everything"] = OPERATIONS["everything"]
            operations["export"] = OPERATIONS["patient-export"]
        found.append(
            Capability(
                kind.name,
                ["read", "search-type", *(["update"] if kind.name in WRITABLE else [])],
                {name: (one.type, one.documentation) for name, one in kind.parameters.items()},
                [f"{kind.name}:{name}" for name, one in kind.parameters.items() if one.type == "reference"],
                operations,
            )
        )
    operations = {name: OPERATIONS[name] for name in ("status", "events", "get-ws-binding-token")}
    found.append(
        Capability("Subscription", ["read", "create", "delete", "search-type"], operations=operations)
    )
    return found


__all__ = ["MAX_BODY_BYTES", "MEDIA_TYPE", "PREFIX", "create_fhir", "mount"]

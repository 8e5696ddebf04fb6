"""The application: all routes, their errors, their description."""

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from msgspec import Struct, json
from starlette.types import Receive, Scope, Send

from hub import __version__
from hub.api import (
    alarm_actions,
    alarm_limits,
    alarm_load,
    alarm_shifts,
    alarm_transport,
    alarm_trials,
    alarms,
    answers,
    devices,
    health,
    locations,
    onboarding,
    page,
    places,
    rejects,
    rooms,
    scores,
    sign_in,
    single_sign_on,
    streams,
    trends,
)
from hub.api.access import known
from hub.api.fhir import app as fhir_app
from hub.api.fhir.interface import FhirInterface
from hub.api.fhir.shortcut import Shortcut
from hub.api.headers import BodyLimit, SecurityHeaders
from hub.api.problems import ProblemDetails, install
from hub.api.services import Services
from hub.events import Bed, ToldEvent

MAX_BODY_BYTES = 64 * 1024

_DESCRIPTION = """What nurse stations and operators see of the hub.

Every route under `/api/v1` needs a bearer token (`hub token create`). Errors are problem details (RFC 9457).
Times are RFC 3339 in UTC. Values are in the vocabulary's units; a value that can't be relied on is null.
"""

_TAGS = [
    {"name": "places", "description": "Wards, beds with current values, floor plans, beacons."},
    {"name": "patients", "description": "Patients by surrogate id."},
    {"name": "devices", "description": "Devices, their readings and waveforms."},
    {"name": "trends", "description": "Parameters over time."},
    {"name": "alarms", "description": "Alarm conditions and their events."},
    {"name": "stream", "description": "Server-sent events."},
    {"name": "session", "description": "People at nurse stations."},
    {"name": "rejects", "description": "Messages that could not be used."},
    {"name": "health", "description": "For orchestrators and Prometheus."},
]

_SHAPES: list[type[Struct]] = [
    alarms.AlarmHistory,
    alarm_load.AlarmLoad,
    alarm_limits.LimitChange,
    alarm_limits.LimitChanges,
    alarm_limits.LimitsAnswer,
    alarm_trials.ReplayedAlarms,
    alarm_shifts.Shift,
    alarm_shifts.Shifts,
    alarm_transport.TransportAnswer,
    ToldEvent,
    answers.AlarmEvents,
    answers.Alarms,
    answers.Alive,
    answers.Beds,
    answers.DeviceAnswer,
    answers.Devices,
    answers.Patient,
    answers.Patients,
    answers.Readings,
    answers.SiteReadings,
    answers.Ready,
    answers.Rejects,
    answers.ReplayAnswer,
    answers.Trend,
    answers.Ward,
    answers.Wards,
    answers.Windows,
    onboarding.KnockAnswer,
    locations.LocationAnswer,
    locations.Locations,
    locations.LocationHistory,
    locations.ZoneStay,
    Bed,
    ProblemDetails,
    rooms.Plan,
    rooms.Plans,
    scores.BedScores,
    scores.Scores,
    sign_in.SessionAnswer,
    sign_in.SignInMethods,
    sign_in.SignedOut,
    single_sign_on.AtProvider,
]


class Api(FastAPI):
    """FastAPI, with the answers' shapes described by msgspec."""

    shortcut: Shortcut | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, past the framework where there is a way."""
        if self.shortcut is not None and self.shortcut.takes(scope):
            await self.shortcut(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                tags=self.openapi_tags,
                routes=self.routes,
                license_info=self.license_info,
            )
            _, shapes = json.schema_components(_SHAPES, ref_template="#/components/schemas/{name}")
            self._whole_examples(document)
            document.setdefault("components", {}).setdefault("schemas", {}).update(shapes)
            self.openapi_schema = document
        return self.openapi_schema

    def _whole_examples(self, document: dict[str, Any]) -> None:
        """Put the examples of answers in again: FastAPI leaves out what is null in them."""
        for route in iter_route_contexts(self.routes):
            if route.path not in document["paths"]:
                continue
            for method in route.methods or ():
                operation = document["paths"][route.path].get(method.lower(), {})
                for status, response in route.responses.items():
                    for media, content in response.get("content", {}).items():
                        if "example" in content:
                            told = operation["responses"][str(status)]["content"][media]
                            told["example"] = content["example"]


def create_api(
    services: Services, signing_in: sign_in.SignIn | None = None, fhir: FhirInterface | None = None
) -> FastAPI:
    """Return the application. It opens nothing: `hub.api.server` serves it.

    With `signing_in`, people sign in at its page; `services.tokens` must then take secrets of sessions too.
    With `fhir`, FHIR R4 is served under /fhir.
    """
    api = Api(
        title="wardhub",
        version=__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.services = services
    install(api)
    larger = {fhir_app.PREFIX: fhir_app.MAX_BODY_BYTES} if fhir is not None else {}
    api.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, larger=larger)
    api.add_middleware(SecurityHeaders)
    if fhir is not None:
        api.shortcut = fhir_app.mount(api, fhir)  # first: it takes one look, and EHRs ask often
    data = APIRouter(prefix="/api/v1", dependencies=[Depends(known)])
    # Fixed paths first: /devices/unassigned is no device.
    for part in (
        places,
        rooms,
        locations,
        streams,
        devices,
        onboarding,
        trends,
        alarm_load,
        alarms,
        alarm_actions,
        alarm_limits,
        alarm_trials,
        alarm_shifts,
        alarm_transport,
        scores,
        rejects,
    ):
        data.include_router(part.router)
    api.include_router(data)
    api.include_router(health.router)
    if signing_in is not None:
        sign_in.install(api, signing_in)
        if signing_in.provider is not None:
            single_sign_on.install(api)
    page.install(api)
    return api

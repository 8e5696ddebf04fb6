"""The streams: alarms and live values of a scope, and one live waveform."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi import Query as FromQuery
from pydantic import Field
from starlette.responses import Response

from hub.api.access import Credentials
from hub.api.devices import is_waveform
from hub.api.parameters import Id, InScope
from hub.api.problems import Problem, documented
from hub.api.services import Hub, Services
from hub.api.sse import EventStream
from hub.stream import StreamFull
from hub.waves import WavesFull

router = APIRouter(tags=["stream"])

_EXAMPLE = (
    "retry: 1000\n\n"
    'id: hub-1-5b1f0c9a-42\nevent: alarm\ndata: {"sequence":42,"event":"start",…}\n\n'
    'event: heartbeat\ndata: {"time":"2026-11-24T02:43:13Z","hub":"hub-1","sequence":42,…}\n\n'
)


class StreamQuery(InScope):
    """What to look at, and where to go on."""

    last_event_id: str | None = Field(
        default=None,
        max_length=200,
        description="Where to go on, on a first connection; the header Last-Event-ID goes before it.",
    )


def _described(what: str, *errors: int) -> dict[str, Any]:
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}
    responses = {200: {"description": what, "content": content}, **documented(*errors)}
    return {"response_class": Response, "response_model": None, "responses": responses}


@router.get(
    "/stream",
    summary="Stream alarms and live values",
    **_described(
        "Server-sent events `alarm`, `technical`, `vitals`, `reset`, `heartbeat`; their data are those of"
        " contracts/stream-*.schema.json. A client that gets no heartbeat for 5 s must show that the alarm"
        " path is broken.",
        401,
        422,
        503,
    ),
)
async def stream(
    hub: Hub,
    credentials: Credentials,
    query: Annotated[StreamQuery, FromQuery()],
    last_event_id: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Alarm and technical events, each once and in sequence after Last-Event-ID, and values as they change.

    It begins with a `reset` that holds every present alarm, or with the events since Last-Event-ID; then
    comes a snapshot of all beds.
    """
    try:
        client = hub.stream.open(query.scope, last_event_id or query.last_event_id)
    except StreamFull as error:
        raise _full(str(error)) from error
    return EventStream(
        client.frames(),
        allowed=_still_valid(hub, credentials),
        on_end=lambda: hub.stream.leave(client),
    )


@router.get(
    "/devices/{site}/{device}/waveforms/{waveform}/stream",
    summary="Stream a live waveform",
    **_described("Server-sent events `waveform`, one a window.", 401, 422, 503),
)
async def waveform_stream(hub: Hub, credentials: Credentials, site: Id, device: Id, waveform: Id) -> Response:
    """Windows as they arrive. A client that is too slow misses the oldest; their times show the gap."""
    is_waveform(waveform)
    try:
        viewer = hub.live.waves.open((site, device, waveform))
    except WavesFull as error:
        raise _full(str(error)) from error
    return EventStream(
        viewer.frames(),
        allowed=_still_valid(hub, credentials),
        on_end=lambda: hub.live.waves.leave(viewer),
    )


def _still_valid(hub: Services, credentials: Credentials) -> Callable[[], bool]:
    """Return a check for each frame: a token that was revoked or has expired ends its streams."""
    secret = "" if credentials is None else credentials.credentials
    return lambda: hub.tokens.verify(secret, hub.now_ns()) is not None


def _full(detail: str) -> Problem:
    return Problem(503, "too-many-clients", detail, headers={"Retry-After": "10"})

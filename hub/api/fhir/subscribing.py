"""Routes of subscriptions and exports."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect
from msgspec import json
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, Response

from hub.api.fhir.access import AuditedRoute, Caller, Known, allow
from hub.api.fhir.errors import FhirError, missing, wrong
from hub.api.fhir.exports import PATIENT_KINDS, SYSTEM_KINDS, Exports, Job
from hub.api.fhir.http import Body, base_of, documented, read_answer, respond, wants_json, written
from hub.api.fhir.query import Query, of_request
from hub.api.fhir.services import Fhir
from hub.api.fhir.subscriptions import Subscriptions
from hub.fhir.bundle import Entry, searchset
from hub.fhir.outcome import outcome
from hub.fhir.resource import encode
from hub.fhir.subscription import notification
from hub.fhir.times import instant
from hub.fhir.validate import validate

router = APIRouter(route_class=AuditedRoute, dependencies=[Depends(wants_json)])
sockets = APIRouter()

_BINDING_NS = 300_000_000_000
_WAITING = 200
"""Notifications that wait for a websocket; one that is slower than that is cut off."""


async def _subscriptions(connection: HTTPConnection) -> Subscriptions:
    found: Subscriptions = connection.app.state.subscriptions
    return found


async def _exports(connection: HTTPConnection) -> Exports:
    found: Exports = connection.app.state.exports
    return found


All = Annotated[Subscriptions, Depends(_subscriptions)]
Jobs = Annotated[Exports, Depends(_exports)]


# Subscriptions.


@router.post(
    "/Subscription",
    summary="Subscribe",
    status_code=201,
    **documented("create", "Subscription", 413, 415, 422, 429, body="Subscription", success=201),
)
async def create(request: Request, subscriptions: All, who: Known, resource: Body) -> Response:
    """Subscribe to `urn:wardhub:topic:vitals`, `…:alarm` or `…:device-status`, by rest-hook or websocket."""
    allow(who, "Subscription", "c")
    if resource.get("resourceType") != "Subscription":
        raise wrong("invalid", "expected a Subscription", "Resource.resourceType")
    issues = validate(resource)
    if issues:
        raise FhirError(400, issues)
    kept = await subscriptions.create(resource, who.name, base_of(request))
    return written(request, kept, created=True)


@router.get("/Subscription", summary="List subscriptions", **documented("search-type", "Bundle"))
async def listed(request: Request, subscriptions: All, who: Known) -> Response:
    """The subscriptions that the caller made, or all for who may see everything."""
    allow(who, "Subscription", "s")
    found = [
        subscriptions.resource(name) for name in subscriptions.names() if _owns(who, subscriptions, name)
    ]
    entries = [Entry("Subscription", one["id"], encode(one)) for one in found]
    base = base_of(request)
    return respond(searchset(base, entries, [("self", f"{base}/Subscription")], len(found)))


@router.get(
    "/Subscription/{id}", summary="Read a subscription", **documented("read", "Subscription", 304, 404)
)
async def read(request: Request, subscriptions: All, who: Known, id: str) -> Response:  # noqa: A002 - as FHIR names it
    """One subscription with its state."""
    _may(who, subscriptions, id, "r")
    resource = subscriptions.resource(id)
    return read_answer(request, encode(resource), resource["meta"]["versionId"])


@router.delete("/Subscription/{id}", summary="Unsubscribe", **documented("delete", "OperationOutcome", 404))
async def delete(subscriptions: All, who: Known, id: str) -> Response:  # noqa: A002
    """End a subscription and forget its events."""
    _may(who, subscriptions, id, "d")
    await subscriptions.delete(id)
    return respond(encode(outcome([])))


@router.get(
    "/Subscription/{id}/$status",
    summary="Tell a subscription's state",
    **documented("operation", "Bundle", 404),
)
async def status(request: Request, subscriptions: All, who: Known, id: str) -> Response:  # noqa: A002
    """The state, and how many events there were since the subscription began."""
    _may(who, subscriptions, id, "r")
    kept, asked, total, _ = await subscriptions.told(id, "query-status")
    return respond(notification(base_of(request), id, asked, kept.status, "query-status", total))


@router.get(
    "/Subscription/{id}/$events",
    summary="Get a subscription's events again",
    **documented(
        "operation",
        "Bundle",
        404,
        parameters=[("eventsSinceNumber", "First number."), ("eventsUntilNumber", "Last number.")],
    ),
)
async def events(request: Request, subscriptions: All, who: Known, id: str) -> Response:  # noqa: A002
    """Events by number, as far as they are kept: what a receiver asks for that sees a gap."""
    _may(who, subscriptions, id, "r")
    query = of_request(request)
    query.known(("eventsSinceNumber", "eventsUntilNumber"))
    first = _number(query, "eventsSinceNumber", 1)
    last = _number(query, "eventsUntilNumber", 2**62)
    kept, asked, total, found = await subscriptions.told(id, "query-event", first - 1, last)
    return respond(notification(base_of(request), id, asked, kept.status, "query-event", total, found))


@router.get(
    "/Subscription/{id}/$get-ws-binding-token",
    summary="Get a token that binds a websocket",
    **documented("operation", "Parameters", 404),
)
async def binding_token(request: Request, fhir: Fhir, subscriptions: All, who: Known, id: str) -> Response:  # noqa: A002
    """A token for five minutes: send `bind-with-token <token>` on the websocket."""
    _may(who, subscriptions, id, "r")
    expires_ns = fhir.now_ns() + _BINDING_NS
    url = base_of(request).replace("http", "ws", 1) + "/websocket"
    parameters: list[dict[str, Any]] = [
        {"name": "token", "valueString": subscriptions.binding_token(id, expires_ns)},
        {"name": "expiration", "valueDateTime": instant(expires_ns)},
        {"name": "subscription", "valueString": id},
        {"name": "websocket-url", "valueUrl": url},
    ]
    return respond(json.encode({"resourceType": "Parameters", "parameter": parameters}))


@sockets.websocket("/websocket")
async def websocket(socket: WebSocket) -> None:
    """Notifications of a subscription, once it is bound by a token."""
    subscriptions: Subscriptions = socket.app.state.subscriptions
    await socket.accept()
    queue: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
    try:
        async with asyncio.timeout(30):
            line = await socket.receive_text()
        command, _, token = line.strip().partition(" ")
        name = subscriptions.bound(token.strip()) if command == "bind-with-token" else None
        if name is None:
            await socket.close(4401, "send bind-with-token and a token that holds")
            return
        await socket.send_text(subscriptions.attach(name, queue.put_nowait).decode())
        try:
            await _forward(socket, queue)
        finally:
            subscriptions.detach(name, queue.put_nowait)
    except (WebSocketDisconnect, TimeoutError):
        return


async def _forward(socket: WebSocket, queue: asyncio.Queue[bytes]) -> None:
    """Send what comes until the client goes; what the client says means nothing."""
    receiving = asyncio.create_task(_until_gone(socket))
    try:
        while not receiving.done():
            waiting = asyncio.create_task(queue.get())
            await asyncio.wait({waiting, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await socket.send_text(waiting.result().decode())
            else:
                waiting.cancel()
    finally:
        receiving.cancel()


async def _until_gone(socket: WebSocket) -> None:
    try:
        while True:
            await socket.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return


def _owns(who: Caller, subscriptions: Subscriptions, name: str) -> bool:
    return who.may("AuditEvent", "r") or subscriptions.owner(name) == who.name


def _may(who: Caller, subscriptions: Subscriptions, name: str, permission: Any) -> None:  # noqa: ANN401 - a Permission
    allow(who, "Subscription", permission)
    if not _owns(who, subscriptions, name):
        raise missing(f"there is no Subscription {name[:64]}", "Subscription.id")


def _number(query: Query, name: str, default: int) -> int:
    text = query.one(name)
    if text is None:
        return default
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise wrong("value", "expected a number", name)
    return max(1, int(text))


# Exports.


def _export_route(path: str, kinds: tuple[str, ...]) -> None:
    async def export(request: Request, jobs: Jobs, who: Known) -> Response:
        query = of_request(request)
        for kind in [text for texts in query.every("_type") for text in texts] or kinds:
            allow(who, kind, "r")
            allow(who, kind, "s")
        if "respond-async" not in request.headers.get("prefer", "respond-async"):
            raise wrong("not-supported", "an export is asynchronous: send Prefer: respond-async", "Prefer")
        job = jobs.begin(who.name, str(request.url), query, kinds)
        headers = {"Content-Location": f"{base_of(request)}/export/{job.id}"}
        return respond(encode(outcome([])), 202, headers=headers)

    router.add_api_route(
        path,
        export,
        summary="Export as NDJSON",
        status_code=202,
        **documented(
            "operation",
            "OperationOutcome",
            429,
            success=202,
            parameters=[("_type", "Kinds, with commas."), ("_since", "Only what the hub got since.")],
        ),
    )


_export_route("/$export", SYSTEM_KINDS)
_export_route("/Patient/$export", PATIENT_KINDS)


@router.get(
    "/export/{job_id}",
    summary="Ask how an export is coming on",
    **documented("operation", "OperationOutcome", 202, 404, 500),
)
async def export_state(request: Request, jobs: Jobs, who: Known, job_id: str) -> Response:
    """202 with X-Progress while it runs, then the manifest."""
    job = _job(jobs, who, job_id)
    if job.state == "running":
        headers = {"X-Progress": job.progress[:100], "Retry-After": "2"}
        return respond(encode(outcome([])), 202, headers=headers)
    if job.issue is not None:
        return respond(encode(outcome([job.issue])), 500)
    url = f"{base_of(request)}/export/{job.id}"
    manifest = {
        "transactionTime": instant(job.began_ns),
        "request": job.request,
        "requiresAccessToken": True,
        "output": [
            {"type": kind, "url": f"{url}/{kind}.ndjson", "count": count}
            for kind, count in job.counts.items()
        ],
        "error": [],
    }
    return Response(json.encode(manifest), media_type="application/json")


@router.delete(
    "/export/{job_id}",
    summary="End an export",
    status_code=202,
    **documented("operation", "OperationOutcome", 404, success=202),
)
async def export_end(jobs: Jobs, who: Known, job_id: str) -> Response:
    """End an export, and remove its files."""
    jobs.cancel(_job(jobs, who, job_id))
    return respond(encode(outcome([])), 202)


@router.get(
    "/export/{job_id}/{name}", summary="Get a file", **documented("operation", "OperationOutcome", 404)
)
async def export_file(jobs: Jobs, who: Known, job_id: str, name: str) -> Response:
    """One file of an export: a resource a line."""
    path = jobs.file(_job(jobs, who, job_id), name)
    if path is None:
        raise missing("there is no such file")
    return FileResponse(path, media_type="application/fhir+ndjson")


def _job(jobs: Exports, who: Caller, job_id: str) -> Job:
    job = jobs.job(job_id, who.name)
    if job is None:
        raise missing("there is no such export")
    return job

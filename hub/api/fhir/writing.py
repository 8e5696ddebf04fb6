"""Routes that write: PUT of who lies where, transactions, $validate."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from hub.api.fhir import kinds
from hub.api.fhir.access import AuditedRoute, Caller, Known, allow
from hub.api.fhir.changes import WRITABLE, Done, Put, Step, check
from hub.api.fhir.changes import Known as KnownThings
from hub.api.fhir.errors import told, wrong
from hub.api.fhir.http import Body, documented, expect_version, respond, wants_json, written
from hub.api.fhir.kinds import KINDS
from hub.api.fhir.query import Query, tokens_of
from hub.api.fhir.services import Fhir, FhirServices
from hub.fhir.bundle import responses
from hub.fhir.ids import parts_of
from hub.fhir.outcome import outcome
from hub.fhir.resource import Resource, encode
from hub.fhir.validate import Issue, validate

router = APIRouter(route_class=AuditedRoute, dependencies=[Depends(wants_json)])

MOST_ENTRIES = 1_000


@router.post(
    "/$validate",
    summary="Validate a resource",
    **documented("operation", "OperationOutcome", 415, body="Resource"),
)
async def validate_any(who: Known, resource: Body) -> Response:
    """Check a resource, alone or in a Parameters as `resource`. The answer is 200 whatever is found."""
    return _validated(who, resource, None)


def _validate_route(kind: str) -> None:
    async def validate_kind(who: Known, resource: Body) -> Response:
        return _validated(who, resource, kind)

    router.add_api_route(
        f"/{kind}/$validate",
        validate_kind,
        methods=["POST"],
        summary=f"Validate {kind}",
        **documented("operation", "OperationOutcome", 415, body="Resource"),
    )


for _kind in ("Observation", *KINDS):
    _validate_route(_kind)


def _validated(_who: Caller, sent: Mapping[str, Any], kind: str | None) -> Response:
    resource: object = sent
    if sent.get("resourceType") == "Parameters" and kind != "Parameters":
        parameters = sent.get("parameter")
        inner = [
            one["resource"]
            for one in (parameters if isinstance(parameters, list) else [])
            if isinstance(one, dict) and one.get("name") == "resource" and "resource" in one
        ]
        resource = inner[0] if inner else sent
    issues = validate(resource)
    if kind is not None and isinstance(resource, dict) and resource.get("resourceType") != kind:
        issues = [Issue("invalid", f"expected a {kind}", "Resource.resourceType"), *issues]
    return respond(encode(outcome(issues)))


def _put_routes(kind: str) -> None:
    async def put(request: Request, fhir: Fhir, who: Known, id: str, resource: Body) -> Response:  # noqa: A002 - as FHIR names it
        allow(who, kind, "u")
        return await _put(request, fhir, Put(kind, resource, id))

    async def put_by_condition(request: Request, fhir: Fhir, who: Known, resource: Body) -> Response:
        allow(who, kind, "u")
        allow(who, kind, "c")
        return await _put(request, fhir, Put(kind, resource, None, request.url.query))

    answers = documented("update", kind, 201, 404, 405, 409, 412, 413, 415, 422, body=kind)
    router.add_api_route(f"/{kind}/{{id}}", put, methods=["PUT"], summary=f"Update {kind}", **answers)
    conditional = documented(
        "update",
        kind,
        201,
        404,
        409,
        412,
        413,
        415,
        422,
        body=kind,
        parameters=[("identifier", "system|value: which one is meant; a new one where there is none.")],
    )
    router.add_api_route(
        f"/{kind}",
        put_by_condition,
        methods=["PUT"],
        summary=f"Create or update {kind} by identifier",
        **conditional,
    )


for _kind in WRITABLE:
    _put_routes(_kind)


async def _put(request: Request, fhir: FhirServices, put: Put) -> Response:
    check(put)
    if "if-match" in request.headers and put.id is not None:
        expect_version(request, await KINDS[put.kind].read(fhir, put.id))
    (done,) = await apply(fhir, [(put, None)])
    resource = await KINDS[done.kind].read(fhir, done.id)
    request.state.patient = kinds.patient_of(resource)
    return written(request, resource, created=done.created)


async def apply(fhir: FhirServices, puts: list[tuple[Put, str | None]]) -> list[Done]:
    """Apply puts, each with its fullUrl, in one step: all or none."""
    known = await _known(fhir)
    done = await fhir.registry.together(lambda changes: Step(changes, known).apply(puts))
    for one in done:
        if one.identifiers is not None:
            await fhir.ledger.identify(one.kind, one.id, one.identifiers)
    return done


async def _known(fhir: FhirServices) -> KnownThings:
    identifiers = {kind: await fhir.ledger.identifiers(kind) for kind in ("Encounter", "Location", "Device")}
    locations = {}
    for resource in await KINDS["Location"].load(fhir, Query(())):
        what, site, *rest = parts_of(resource["id"]) or _long(fhir, resource)
        bed = rest[0] if what == "bed" else None
        own = [pair for pair in tokens_of(resource["identifier"]) if pair[0] == "urn:wardhub:location"]
        locations[resource["id"]] = (site, bed, own)
    return KnownThings(identifiers, locations)


def _long(fhir: FhirServices, resource: Resource) -> tuple[str, ...]:
    """Return the parts of a Location whose id is a hash."""
    from hub.fhir.location import bed_id

    for entry in fhir.registry.beds():
        if bed_id(entry.site, entry.bed) == resource["id"]:
            return ("bed", entry.site, entry.bed)
    return ("place", "", "")


@router.post(
    "/",
    summary="Apply a transaction or batch",
    **documented("transaction", "Bundle", 404, 405, 409, 412, 413, 415, 422, body="Bundle"),
)
async def transaction(fhir: Fhir, who: Known, bundle: Body) -> Response:
    """A transaction of PUTs of Patient, Location, Encounter and Device: all or none.

    References may name another entry's fullUrl (`urn:uuid:…`) or be conditional
    (`Patient?identifier=system|value`). A batch applies each entry by itself.
    """
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") not in ("transaction", "batch"):
        raise wrong("invalid", "expected a Bundle of type transaction or batch", "Bundle.type")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        raise wrong("too-long", f"expected at most {MOST_ENTRIES} entries", "Bundle.entry", status=413)
    if bundle["type"] == "batch":
        return respond(
            responses("batch", [await _alone(fhir, who, index, one) for index, one in enumerate(entries)])
        )
    puts = [_entry(who, index, one) for index, one in enumerate(entries)]
    for put, _ in puts:
        check(put)
    done = await apply(fhir, puts)
    return respond(responses("transaction", [await _answer(fhir, one) for one in done]))


_Response = tuple[int, str | None, str | None, bytes | None]


async def _alone(fhir: FhirServices, who: Caller, index: int, entry: object) -> _Response:
    try:
        put, url = _entry(who, index, entry)
        check(put)
        (done,) = await apply(fhir, [(put, url)])
        return await _answer(fhir, done)
    except Exception as error:  # noqa: BLE001 - told as this entry's outcome; what is none of ours is raised again
        status, issues, _ = told(error)
        return status, None, None, encode(outcome(issues))


async def _answer(fhir: FhirServices, done: Done) -> _Response:
    resource = await KINDS[done.kind].read(fhir, done.id)
    version = resource["meta"]["versionId"]
    return 201 if done.created else 200, f"{done.kind}/{done.id}", f'W/"{version}"', None


def _entry(who: Caller, index: int, entry: object) -> tuple[Put, str | None]:
    path = f"Bundle.entry[{index}]"
    request = entry.get("request") if isinstance(entry, dict) else None
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(request, dict) or not isinstance(resource, dict) or not isinstance(entry, dict):
        raise wrong("required", "an entry has a resource and a request", path)
    method, url = request.get("method"), str(request.get("url", ""))
    kind = url.partition("?")[0].partition("/")[0]
    own_id = url.partition("?")[0].partition("/")[2] or None
    condition = url.partition("?")[2]
    if method == "POST":
        condition = str(request.get("ifNoneExist", "")).rpartition("?")[2]
        if not condition:
            text = "a POST needs ifNoneExist (identifier=system|value), or use a conditional PUT"
            raise wrong("required", text, f"{path}.request.ifNoneExist")
    elif method != "PUT":
        raise wrong("not-supported", "expected PUT or POST", f"{path}.request.method")
    if kind not in WRITABLE:
        raise wrong("not-supported", f"expected one of {', '.join(WRITABLE)}", f"{path}.request.url")
    allow(who, kind, "u")
    if own_id is None:
        allow(who, kind, "c")
    put = Put(kind, resource, own_id, condition, f"{path}.resource")
    full_url = entry.get("fullUrl")
    return put, full_url if isinstance(full_url, str) else None

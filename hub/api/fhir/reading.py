"""Routes that read: metadata, read, search, $lastn, $everything."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends
from msgspec import Struct, json
from starlette.requests import Request
from starlette.responses import Response

from hub.api.fhir import directory, kinds, observations, scores
from hub.api.fhir.access import AuditedRoute, Caller, Known, allow
from hub.api.fhir.errors import wrong
from hub.api.fhir.http import base_of, documented, read_answer, respond, wants_json
from hub.api.fhir.kinds import KINDS, Kind
from hub.api.fhir.observations import Found
from hub.api.fhir.query import Query, link, of_request, repeated, seal, unseal
from hub.api.fhir.selection import PARAMETERS_OF_SEARCH, Selection, select
from hub.api.fhir.services import Fhir, FhirServices
from hub.api.fhir.walk import Direction
from hub.fhir.bundle import Entry, searchset
from hub.fhir.codes import GROUPS
from hub.fhir.resource import Resource, encode

observing = APIRouter(route_class=AuditedRoute, dependencies=[Depends(wants_json)])
"""Routes of Observations."""
router = APIRouter(route_class=AuditedRoute, dependencies=[Depends(wants_json)])
"""All others."""

_PAGING = [
    ("_count", "Resources on a page, at most 1000; 0 for the number alone."),
    ("_cursor", "From the link to the next page; opaque."),
    ("_include", "Referenced resources to bring along, such as Observation:patient."),
    ("_summary", "count for the number alone."),
    (
        "_sort",
        "date or -date; for others than Observations _id or -_id too, and date where it is a parameter.",
    ),
    ("_lastUpdated", "When the hub received or made it, with prefixes."),
    ("_id", "Resource ids."),
]
INCLUDES = {
    "Observation:patient": ("Patient",),
    "Observation:subject": ("Patient", "Device"),
    "Observation:device": ("DeviceMetric",),
    "Observation:encounter": ("Encounter",),
}
"""What a search brings along, and the kinds that one must be allowed to read for it."""
_LASTN = ("patient", "subject", "code", "category", "max")
_EVERYTHING = ("start", "end", "_count", "_cursor")


@observing.get(
    "/Observation/$lastn",
    summary="Get the newest Observations of each kind",
    **documented(
        "operation",
        "Bundle",
        404,
        parameters=[(name, "As in a search; max is the number of each kind.") for name in _LASTN],
    ),
)
async def lastn(request: Request, fhir: Fhir, who: Known) -> Response:
    """The newest Observations of a subject, at most `max` of each code, grouped by code, newest first."""
    allow(who, "Observation", "s")
    query = repeated(request)
    query.known(_LASTN)
    found, selection = await observations.last(fhir, query)
    _note(request, selection)
    links = [("self", link(base_of(request), "Observation/$lastn", query))]
    return respond(searchset(base_of(request), [one.entry for one in found], links, len(found)))


@observing.get(
    "/Observation",
    summary="Search Observations",
    **documented(
        "search-type", "Bundle", 404, parameters=[(name, "") for name in PARAMETERS_OF_SEARCH] + _PAGING
    ),
)
async def search_observations(request: Request, fhir: Fhir, who: Known) -> Response:
    """Observations of patients and devices, the newest first."""
    return await _observations(request, fhir, who, repeated(request))


@observing.post(
    "/Observation/_search",
    summary="Search Observations by form",
    **documented("search-type", "Bundle", 404),
)
async def post_observations(request: Request, fhir: Fhir, who: Known) -> Response:
    """As GET, with the parameters in the body: they may name a patient, and a body is in no log."""
    return await _observations(request, fhir, who, of_request(request, await _form(request)))


@observing.get(
    "/Observation/{id}",
    summary="Read an Observation",
    **documented("read", "Observation", 304, 404),
)
async def read_observation(request: Request, fhir: Fhir, who: Known, id: str) -> Response:  # noqa: A002 - as FHIR names it
    """One Observation by id."""
    allow(who, "Observation", "r")
    if id.startswith(scores.KIND + ".."):
        resource, request.state.patient = await scores.read(fhir, id)
        return read_answer(request, encode(resource), resource["meta"]["versionId"])
    content, request.state.patient = await observations.read(fhir, id)
    return read_answer(request, content, json.decode(content)["meta"]["versionId"])


@router.get(
    "/Patient/{id}/$everything",
    summary="Get everything about a patient",
    **documented("operation", "Bundle", 404, parameters=[(name, "") for name in _EVERYTHING]),
)
async def everything(request: Request, fhir: Fhir, who: Known, id: str) -> Response:  # noqa: A002
    """A patient with Encounters, devices, alarms, and page by page what devices determined meanwhile.

    Settings and measurements of devices are among it while the device was the patient's.
    """
    for kind in ("Patient", "Observation", "Encounter"):
        allow(who, kind, "r")
    query = of_request(request)
    query.known(("start", "end"))
    entry = await directory.patient(fhir.registry, id)
    request.state.patient = entry.id
    start_ns = query.within_one("start")[0]
    end_ns = min(query.within_one("end")[1], fhir.now_ns() + 86_400_000_000_000)
    spans = await fhir.whose.of_patient(entry.id, start_ns, end_ns)
    selection = Selection(spans, dict(GROUPS), [], [], of_some=False)
    cursor = query.one("_cursor")
    head = [] if cursor else await _about(fhir, entry.id)
    return await _page(request, fhir, query, selection, f"Patient/{id}/$everything", head=head)


def _search_route(kind: Kind) -> None:
    parameters = [(name, one.documentation) for name, one in kind.parameters.items()]

    async def search(request: Request, fhir: Fhir, who: Known) -> Response:
        return await _resources(request, fhir, who, kind, of_request(request))

    async def post(request: Request, fhir: Fhir, who: Known) -> Response:
        return await _resources(request, fhir, who, kind, of_request(request, await _form(request)))

    async def read(request: Request, fhir: Fhir, who: Known, id: str) -> Response:  # noqa: A002
        allow(who, kind.name, "r")
        resource = await kind.read(fhir, id)
        request.state.patient = kinds.patient_of(resource)
        return read_answer(request, encode(resource), resource["meta"]["versionId"])

    answers = documented("search-type", "Bundle", 404, parameters=parameters + _PAGING)
    router.add_api_route(f"/{kind.name}", search, summary=f"Search {kind.name}", **answers)
    router.add_api_route(
        f"/{kind.name}/_search",
        post,
        methods=["POST"],
        summary=f"Search {kind.name} by form",
        **documented("search-type", "Bundle", 404),
    )
    router.add_api_route(
        f"/{kind.name}/{{id}}", read, summary=f"Read {kind.name}", **documented("read", kind.name, 304, 404)
    )


for _kind in KINDS.values():
    _search_route(_kind)


async def _form(request: Request) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise wrong("not-supported", "send application/x-www-form-urlencoded", "Content-Type")
    try:
        return parse_qsl((await request.body()).decode(), keep_blank_values=True)
    except ValueError:
        raise wrong("structure", "expected a form in UTF-8", "") from None


async def _observations(request: Request, fhir: FhirServices, who: Caller, query: Query) -> Response:
    allow(who, "Observation", "s")
    ids = query.once(_ids)
    if ids:
        found = [Entry("Observation", text, (await observations.read(fhir, text))[0]) for text in ids]
        links = [("self", link(base_of(request), "Observation", query))]
        return respond(searchset(base_of(request), found, links, len(found)))
    selection = await select(fhir, query)
    _note(request, selection)
    if query.once(scores.asked):
        return await _scores(request, fhir, query, selection)
    return await _page(request, fhir, query, selection, "Observation")


async def _page(
    request: Request,
    fhir: FhirServices,
    query: Query,
    selection: Selection,
    path: str,
    head: Sequence[Entry] = (),
) -> Response:
    base = base_of(request)
    if query.once(_counts_only):
        links = [("self", link(base, path, query, query.one("_cursor")))]
        return respond(searchset(base, [], links, await observations.count(fhir, selection)))
    asked = query.once(_paging)
    links = [("self", link(base, path, query, asked.cursor))]
    after = None if asked.cursor is None else unseal(fhir.key, asked.cursor)
    page: list[Found] = []
    async for one in observations.find(fhir, selection, asked.direction, expected=asked.count, after=after):
        if len(page) == asked.count:
            links.append(("next", link(base, path, query, seal(fhir.key, page[-1].position))))
            break
        page.append(one)
    total = await observations.count(fhir, selection) if asked.with_total else None
    included = await _included(fhir, request.state.caller, asked.included, page) if asked.included else []
    return respond(searchset(base, [*head, *(one.entry for one in page), *included], links, total))


class _Paging(Struct, frozen=True):
    count: int
    cursor: str | None
    direction: Direction
    with_total: bool
    included: frozenset[str]


def _ids(query: Query) -> list[str]:
    query.known(PARAMETERS_OF_SEARCH)
    return [text for texts in query.every("_id") for text in texts]


def _counts_only(query: Query) -> bool:
    return query.counts_only


def _paging(query: Query) -> _Paging:
    return _Paging(
        query.count,
        query.one("_cursor"),
        observations.direction_of(query),
        query.one("_total") == "accurate",
        frozenset(text for texts in query.every("_include") for text in texts),
    )


async def _scores(request: Request, fhir: FhirServices, query: Query, selection: Selection) -> Response:
    """Return scores, a page at a time; the cursor is how many were told."""
    found = await scores.search(fhir, query, selection.patients)
    if observations.direction_of(query) == "oldest":
        found.reverse()
    cursor = query.one("_cursor")
    start = 0 if cursor is None else int(unseal(fhir.key, cursor)[0])
    links = [("self", link(base_of(request), "Observation", query, cursor))]
    if query.counts_only:
        return respond(searchset(base_of(request), [], links, len(found)))
    page = found[start : start + query.count]
    if start + len(page) < len(found):
        after = seal(fhir.key, [start + len(page)])
        links.append(("next", link(base_of(request), "Observation", query, after)))
    entries = [Entry("Observation", one["id"], encode(one)) for one in page]
    return respond(searchset(base_of(request), entries, links, len(found)))


async def _included(
    fhir: FhirServices, caller: Caller, wanted: frozenset[str], page: Sequence[Found]
) -> list[Entry]:
    unknown = wanted - set(INCLUDES)
    if unknown:
        raise wrong("not-supported", f"expected one of {', '.join(INCLUDES)}", "_include")
    for kind in {kind for name in wanted for kind in INCLUDES[name]}:
        allow(caller, kind, "r")
    found: dict[tuple[str, str], Resource] = {}
    if wanted & {"Observation:patient", "Observation:subject"}:
        for who in {one.span.attribution.patient for one in page if one.span.attribution.patient}:
            found["Patient", who] = await KINDS["Patient"].read(fhir, who)
    if "Observation:encounter" in wanted:
        for text in {one.span.attribution.encounter for one in page if one.span.attribution.encounter}:
            found["Encounter", text] = await KINDS["Encounter"].read(fhir, text)
    entries = {}
    if wanted & {"Observation:device", "Observation:subject"}:
        entries = {(one.site, one.id): one for one in await fhir.registry.devices()}
    for one in page:
        _, site, device, channel, group = one.position
        entry = entries.get((site, device))
        if entry is None:
            continue
        if "Observation:device" in wanted:
            metric = kinds.metric(fhir, entry, GROUPS[group], observations.channel_of(channel))
            found["DeviceMetric", metric["id"]] = metric
        if "Observation:subject" in wanted and not GROUPS[group].of_patient:
            resource = kinds.device_resource(fhir, entry)
            found["Device", resource["id"]] = resource
    return [
        Entry(resource["resourceType"], resource["id"], encode(resource), "include")
        for resource in found.values()
    ]


async def _resources(request: Request, fhir: FhirServices, who: Caller, kind: Kind, query: Query) -> Response:
    allow(who, kind.name, "s")
    if "patient" in kind.parameters:
        await _note_patient(request, fhir, query)
    found = await kinds.search(fhir, kind, query)
    base = base_of(request)
    cursor = query.one("_cursor")
    links = [("self", link(base, kind.name, query, cursor))]
    if query.counts_only:
        return respond(searchset(base, [], links, len(found)))
    total = len(found)
    position, descending = kinds.order(kind, query)
    if cursor is not None:
        time_ns, own_id = unseal(fhir.key, cursor)
        after = (int(time_ns), str(own_id))
        found = [one for one in found if (position(one) < after if descending else position(one) > after)]
    page = found[: query.count]
    if len(found) > len(page):
        links.append(("next", link(base, kind.name, query, seal(fhir.key, position(page[-1])))))
    entries = [Entry(kind.name, one["id"], encode(one)) for one in page]
    return respond(
        searchset(base, [*entries, *await _references(fhir, who, kind, query, page)], links, total)
    )


async def _references(
    fhir: FhirServices, who: Caller, kind: Kind, query: Query, page: Sequence[Resource]
) -> list[Entry]:
    found: dict[str, Entry] = {}
    for name in (text for texts in query.every("_include") for text in texts):
        source, _, parameter = name.partition(":")
        one = kind.parameters.get(parameter)
        if source != kind.name or one is None or one.type != "reference":
            raise wrong("not-supported", f"expected {kind.name} and one of its references", "_include")
        for resource in page:
            for text in kinds.references_of(one.values(resource)):
                target, _, own = text.partition("/")
                if target in KINDS and text not in found:
                    allow(who, target, "r")
                    content = encode(await KINDS[target].read(fhir, own))
                    found[text] = Entry(target, own, content, "include")
    return list(found.values())


async def _about(fhir: FhirServices, who: str) -> list[Entry]:
    """Return what there is of a patient beside Observations."""
    resource = await KINDS["Patient"].read(fhir, who)
    found: list[Resource] = [resource]
    query: Any = Query([("patient", f"Patient/{resource['id']}")])
    for name in ("Encounter", "Device", "DetectedIssue", "Flag"):
        found += await kinds.search(fhir, KINDS[name], query)
    return [Entry(one["resourceType"], one["id"], encode(one)) for one in found]


def _note(request: Request, selection: Selection) -> None:
    if len(selection.patients) == 1:
        request.state.patient = selection.patients[0]


async def _note_patient(request: Request, fhir: FhirServices, query: Query) -> None:
    """Let the audit know whose data is asked for, where it is one patient's."""
    asked = query.references("patient", "Patient") or [
        choices
        for choices in query.references("subject", "Patient", "Device", "Location")
        if choices[0][0] == "Patient"
    ]
    if len(asked) == 1 and len(asked[0]) == 1:
        request.state.patient = (await directory.patient(fhir.registry, asked[0][0][1], "patient")).id

"""The kinds of resources beside Observation: where they come from and by what they are found."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from hub.alarms.alarm import AlarmEvent
from hub.alarms.log import LogUnavailable
from hub.api.fhir import directory
from hub.api.fhir.errors import missing, wrong
from hub.api.fhir.query import Query, matches_date, tokens_of
from hub.api.fhir.services import FhirServices
from hub.fhir import alarm, audit, device, encounter, location, patient
from hub.fhir.codes import GROUP_OF, GROUPS, Group
from hub.fhir.encounter import Chain
from hub.fhir.ids import OBSERVATIONS, parts_of, resource_id
from hub.fhir.resource import Resource, identified
from hub.fhir.times import span
from hub.ward.model import DeviceEntry

ParameterType = Literal["token", "reference", "date", "string"]
_ALARM_EVENTS: Final = 10_000
"""Newest events that ended alarms are looked for in."""
_ACCESSES: Final = 10_000
"""Newest accesses that a search of AuditEvents sees beyond patient and date."""


class Parameter(Struct, frozen=True):
    """One search parameter."""

    type: ParameterType
    values: Callable[[Resource], object]
    """Returns what of a resource is compared: codings, references, a date or Period, texts."""
    targets: tuple[str, ...] = ()
    documentation: str = ""


class Kind(Struct, frozen=True):
    """One kind of resource."""

    name: str
    load: Callable[[FhirServices, Query], Awaitable[list[Resource]]]
    """Returns what a search may find; may use the query to return less."""
    parameters: Mapping[str, Parameter]
    read: Callable[[FhirServices, str], Awaitable[Resource]]
    writable: bool = False


async def search(services: FhirServices, kind: Kind, query: Query) -> list[Resource]:
    """Return the resources that a search means, in the order that it asks for; else by id."""
    query.known(kind.parameters)
    found = await kind.load(services, query)
    ids = {text for texts in query.every("_id") for text in texts}
    if ids:
        found = [one for one in found if one["id"] in ids]
    updated = query.dates("_lastUpdated")
    if updated:
        found = [one for one in found if _updated(one, query)]
    for name, parameter in kind.parameters.items():
        test = _test(query, name, parameter)
        found = [one for one in found if test(parameter.values(one))]
    key, descending = order(kind, query)
    return sorted(found, key=key, reverse=descending)


def order(kind: Kind, query: Query) -> tuple[Callable[[Resource], tuple[int, str]], bool]:
    """Return by what a search sorts, which differs for any two resources, and whether from the end.

    By `date` it is the beginning; what has none comes as if from the beginning of time.
    """
    text = query.one("_sort") or "_id"
    name, dated = text.removeprefix("-"), kind.parameters.get("date")
    if name == "_id":
        return lambda one: (0, str(one["id"])), text != name
    if name != "date" or dated is None:
        expected = "_id or -_id" if dated is None else "_id, -_id, date or -date"
        raise wrong("not-supported", f"expected {expected}", "_sort")

    def begins(one: Resource) -> tuple[int, str]:
        value = dated.values(one)
        return (0 if value is None else _span(value)[0], str(one["id"]))

    return begins, text != name


def patient_of(resource: Resource) -> str | None:
    """Return the id of the patient whom a resource is about."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    for name in ("patient", "subject"):
        text = str(resource.get(name, {}).get("reference", ""))
        if text.startswith("Patient/"):
            return text.removeprefix("Patient/")
    return None


def _updated(resource: Resource, query: Query) -> bool:
    text = resource["meta"].get("lastUpdated")
    return text is not None and matches_date(query.dates("_lastUpdated"), *span(text))


def _test(query: Query, name: str, parameter: Parameter) -> Callable[[object], bool]:
    """Return the test of one parameter as the query gives it."""
    if not query.every(name):
        return lambda _: True
    if parameter.type == "token":
        choices = query.tokens(name)
        return lambda value: all(
            any(one.takes(*coding) for one in alternatives for coding in tokens_of(value))
            for alternatives in choices
        )
    if parameter.type == "reference":
        wanted = [
            {f"{kind}/{text}" for kind, text in one} for one in query.references(name, *parameter.targets)
        ]
        return lambda value: all(not one.isdisjoint(references_of(value)) for one in wanted)
    if parameter.type == "date":
        tests = query.dates(name)
        return lambda value: value is not None and matches_date(tests, *_span(value))
    texts = [[text.casefold() for text in alternatives] for alternatives in query.every(name)]
    return lambda value: all(
        any(part.startswith(text) for text in alternatives for part in _words(value))
        for alternatives in texts
    )


def references_of(value: object) -> set[str]:
    """Return the references in a Reference or a list of them."""
    if isinstance(value, list):
        return {one for item in value for one in references_of(item)}
    return {str(value["reference"])} if isinstance(value, Mapping) and "reference" in value else set()


def _span(value: object) -> tuple[int, int]:
    if isinstance(value, Mapping):
        start_ns = span(value["start"])[0] if "start" in value else 0
        return start_ns, span(value["end"])[1] if "end" in value else 2**62
    return span(str(value))


def _words(value: object) -> list[str]:
    texts = [str(one).casefold() for one in value] if isinstance(value, list) else [str(value).casefold()]
    return [part for text in texts for part in (text, *text.split())]


# Patients.


async def _patients(services: FhirServices, _query: Query) -> list[Resource]:
    return [patient.patient(entry) for entry in await services.registry.patients() if not entry.erasing]


async def _patient(services: FhirServices, text: str) -> Resource:
    entry = await directory.patient(services.registry, text)
    if entry.erasing:
        raise missing(f"there is no Patient {text[:64]}", "Patient.id")
    return patient.patient(entry)


# Locations.


async def _locations(services: FhirServices, _query: Query) -> list[Resource]:
    wards = await services.registry.wards()
    sites = dict.fromkeys(entry.site for entry in wards)
    known = await services.ledger.identifiers("Location")
    found = [
        *(location.site(site) for site in sites),
        *(location.ward(entry) for entry in wards),
        *(location.bed(entry) for entry in services.registry.beds()),
        *_rooms(services, sites),
    ]
    return [identified(one, known.get(one["id"], ())) for one in found]


def _rooms(services: FhirServices, sites: Collection[str]) -> Iterator[Resource]:
    places = services.places()
    if places.site in sites:
        for zone in places.zones.values():
            yield location.room(places.site, zone.id, zone.name, zone.ward)


async def _location(services: FhirServices, text: str) -> Resource:
    return _one(await _locations(services, Query(())), "Location", text)


# Encounters.


async def _encounters(services: FhirServices, _query: Query) -> list[Resource]:
    known = await services.ledger.identifiers("Encounter")
    now_ns = services.now_ns()
    return [
        encounter.encounter(chain, now_ns, known.get(chain.id, ()))
        for chain in await directory.encounters(services.registry)
    ]


async def _encounter(services: FhirServices, text: str) -> Resource:
    return await rendered_encounter(services, await directory.encounter(services.registry, text))


async def rendered_encounter(services: FhirServices, chain: Chain) -> Resource:
    """Render an Encounter with the identifiers that others gave it."""
    known = await services.ledger.identifiers("Encounter")
    return encounter.encounter(chain, services.now_ns(), known.get(chain.id, ()))


# Devices and their metrics.


async def _devices(services: FhirServices, _query: Query) -> list[Resource]:
    known = await services.ledger.identifiers("Device")
    found = [device_resource(services, entry) for entry in await services.registry.devices()]
    return [identified(one, known.get(one["id"], ())) for one in found]


async def _device(services: FhirServices, text: str) -> Resource:
    entry = await directory.device(services.registry, text)
    if entry is None:
        raise missing(f"there is no Device {text[:64]}", "Device.id")
    known = await services.ledger.identifiers("Device")
    return identified(device_resource(services, entry), known.get(text, ()))


def device_resource(services: FhirServices, entry: DeviceEntry) -> Resource:
    """Render a device where it is now, of the kind that its readings say."""
    record = services.find_device(entry.site, entry.id)
    names = record.latest if record is not None else ()
    return device.device(entry, services.registry.placement(entry.site, entry.id), of=names)


def metric(services: FhirServices, entry: DeviceEntry, group: Group, channel: str = OBSERVATIONS) -> Resource:
    """Render a metric of a device, with what the running hub knows of it."""
    record = services.find_device(entry.site, entry.id)
    return device.metric(
        entry,
        group,
        channel=channel,
        state=None if record is None else record.state,
        interval_s=entry.interval_s if record is None else record.interval_s,
        limits=None if record is None or record.limits is None else record.limits.by_parameter,
    )


async def _metrics(services: FhirServices, query: Query) -> list[Resource]:
    wanted = {
        text for name in ("source", "parent") for one in query.references(name, "Device") for _, text in one
    }
    found = []
    for entry in await services.registry.devices():
        if wanted and device.device_id(entry.site, entry.id) not in wanted:
            continue
        record = services.find_device(entry.site, entry.id)
        names = dict.fromkeys(
            GROUP_OF[name].name for name in (record.latest if record else ()) if name in GROUP_OF
        )
        found += [metric(services, entry, GROUPS[name]) for name in names]
    return found


async def _metric(services: FhirServices, text: str) -> Resource:
    parts = parts_of(text)
    if parts is not None and len(parts) in (3, 4) and parts[2] in GROUPS:
        entry = services.registry.device(parts[0], parts[1])
        if entry is not None:
            return metric(services, entry, GROUPS[parts[2]], *parts[3:])
    elif parts is None:
        for entry in await services.registry.devices():  # the id is a hash: of a long device id
            for group in GROUPS.values():
                if resource_id(entry.site, entry.id, group.name) == text:
                    return metric(services, entry, group)
    raise missing(f"there is no DeviceMetric {text[:64]}", "DeviceMetric.id")


# Alarms.


async def alarm_events(services: FhirServices) -> list[AlarmEvent]:
    """Return the newest event of every alarm that is present, and of those that ended not long ago."""
    log = services.log
    newest: dict[str, AlarmEvent] = {}
    try:
        for told in await log.after(max(0, log.last_sequence - _ALARM_EVENTS), _ALARM_EVENTS):
            newest[told.event.alarm.id] = told.event
    except LogUnavailable:
        newest = {}  # what is present comes from memory
    newest |= {event.alarm.id: event for event in log.present()}
    return list(newest.values())


async def _issues(services: FhirServices, _query: Query) -> list[Resource]:
    return [alarm.detected_issue(event) for event in await alarm_events(services)]


async def _flags(services: FhirServices, _query: Query) -> list[Resource]:
    return [alarm.flag(event) for event in await alarm_events(services)]


async def _issue(services: FhirServices, text: str) -> Resource:
    return _one(await _issues(services, Query(())), "DetectedIssue", text)


async def _flag(services: FhirServices, text: str) -> Resource:
    return _one(await _flags(services, Query(())), "Flag", text)


# Accesses.


async def _accesses(services: FhirServices, query: Query) -> list[Resource]:
    patients = [text for one in query.references("patient", "Patient") for _, text in one]
    start_ns, end_ns = query.within("date")
    who = None
    if len(patients) == 1:
        who = (await directory.patient(services.registry, patients[0], "patient")).id
    found = await services.ledger.accesses(patient=who, start_ns=start_ns, end_ns=end_ns, limit=_ACCESSES)
    return [audit.audit_event(access, services.hub) for access in found]


async def _audited(services: FhirServices, text: str) -> Resource:
    number = text.removeprefix("access-")
    access = None
    if number.isdecimal() and number.isascii() and len(number) < 19:
        access = await services.ledger.access(int(number))
    if access is None:
        raise missing(f"there is no AuditEvent {text[:64]}", "AuditEvent.id")
    return audit.audit_event(access, services.hub)


def _one(found: Iterable[Resource], kind: str, text: str) -> Resource:
    for one in found:
        if one["id"] == text:
            return one
    raise missing(f"there is no {kind} {text[:64]}", f"{kind}.id")


def _member(name: str) -> Callable[[Resource], object]:
    return lambda resource: resource.get(name)


def _token(name: str, documentation: str = "") -> Parameter:
    return Parameter("token", _member(name), documentation=documentation)


def _ref(name: str, *targets: str) -> Parameter:
    return Parameter("reference", _member(name), targets)


def _names(resource: Resource) -> object:
    return [one.get("text", "") for one in resource.get("name", ())]


def _places(resource: Resource) -> object:
    return [one["location"] for one in resource.get("location", ())]


def _people(resource: Resource) -> object:
    return [one.get("what") for one in resource.get("entity", ())]


def _clients(resource: Resource) -> object:
    return [one["who"]["display"] for one in resource.get("agent", ())]


def _device_types(resource: Resource) -> object:
    found: list[Any] = resource.get("type", [])
    return found


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "Patient",
            _patients,
            {
                "identifier": _token("identifier"),
                "name": Parameter("string", _names),
                "birthdate": Parameter("date", _member("birthDate")),
                "active": _token("active"),
            },
            _patient,
            writable=True,
        ),
        Kind(
            "Location",
            _locations,
            {
                "identifier": _token("identifier"),
                "name": Parameter("string", _member("name")),
                "partof": _ref("partOf", "Location"),
                "status": _token("status"),
                "operational-status": _token("operationalStatus"),
                "type": _token("physicalType", "site, ward, room or bed: si, wa, ro, bd"),
            },
            _location,
            writable=True,
        ),
        Kind(
            "Encounter",
            _encounters,
            {
                "identifier": _token("identifier"),
                "patient": _ref("subject", "Patient"),
                "subject": _ref("subject", "Patient"),
                "status": _token("status"),
                "class": _token("class"),
                "date": Parameter("date", _member("period")),
                "location": Parameter("reference", _places, ("Location",)),
            },
            _encounter,
            writable=True,
        ),
        Kind(
            "Device",
            _devices,
            {
                "identifier": _token("identifier"),
                "patient": _ref("patient", "Patient"),
                "location": _ref("location", "Location"),
                "type": Parameter("token", _device_types),
                "status": _token("status"),
            },
            _device,
            writable=True,
        ),
        Kind(
            "DeviceMetric",
            _metrics,
            {
                "source": _ref("source", "Device"),
                "parent": _ref("parent", "Device"),
                "type": _token("type"),
                "category": _token("category"),
            },
            _metric,
        ),
        Kind(
            "DetectedIssue",
            _issues,
            {
                "identifier": _token("identifier"),
                "patient": _ref("patient", "Patient"),
                "code": _token("code"),
                "identified": Parameter("date", _member("identifiedPeriod")),
                "author": _ref("author", "Device"),
                "implicated": _ref("implicated", "DeviceMetric"),
            },
            _issue,
        ),
        Kind(
            "Flag",
            _flags,
            {
                "identifier": _token("identifier"),
                "patient": _ref("subject", "Patient"),
                "subject": _ref("subject", "Patient", "Location"),
                "date": Parameter("date", _member("period")),
                "author": _ref("author", "Device"),
            },
            _flag,
        ),
        Kind(
            "AuditEvent",
            _accesses,
            {
                "patient": Parameter("reference", _people, ("Patient",)),
                "date": Parameter("date", _member("recorded")),
                "agent-name": Parameter("string", _clients),
                "action": _token("action"),
                "outcome": _token("outcome"),
                "subtype": _token("subtype"),
            },
            _audited,
        ),
    )
}
"""By name."""

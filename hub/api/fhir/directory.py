"""From ids to what they stand for, and whose a device's readings were."""

from collections.abc import Sequence

from msgspec import Struct

from hub.api.fhir.errors import missing
from hub.api.fhir.services import FhirServices, Registry
from hub.fhir.device import device_id
from hub.fhir.encounter import Chain, chains
from hub.fhir.ids import device_key, parts_of, resource_id
from hub.fhir.observation import NOBODY, Attribution
from hub.ward.model import FOREVER, DeviceEntry, NotInRegistry, PatientEntry, StayEntry


class Span(Struct, frozen=True):
    """While one device's readings belonged to one patient, or to nobody."""

    site: str
    device: str
    start_ns: int
    end_ns: int
    attribution: Attribution


async def device(registry: Registry, text: str) -> DeviceEntry | None:
    """Return the device of a Device id; from memory, unless the id is a hash."""
    parts = parts_of(text)
    if parts is not None:
        return registry.device(*parts) if len(parts) == 2 else None
    for entry in await registry.devices():
        if device_id(entry.site, entry.id) == text:
            return entry
    return None


async def device_by_key(services: FhirServices, key: str) -> DeviceEntry | None:
    """Return the device of an Observation id's key."""
    if key not in services.device_keys:
        entries = await services.registry.devices()
        services.device_keys.clear()
        services.device_keys.update({device_key(one.site, one.id): one for one in entries})
    return services.device_keys.get(key)


async def patient(registry: Registry, text: str) -> PatientEntry:
    """Return the patient of a Patient id."""
    try:
        return await registry.patient(text)
    except NotInRegistry:
        for entry in await registry.patients():
            if resource_id(entry.id) == text:
                return entry
    raise missing(f"there is no Patient {text[:64]}")


async def encounters(registry: Registry) -> list[Chain]:
    """Return the Encounters of every patient."""
    stays: dict[str, list[StayEntry]] = {}
    for stay in await registry.all_stays():
        stays.setdefault(stay.patient, []).append(stay)
    return [chain for own in stays.values() for chain in chains(own)]


async def encounter(registry: Registry, text: str) -> Chain:
    """Return the stays of an Encounter id."""
    for chain in await encounters(registry):
        if chain.id == text:
            return chain
    raise missing(f"there is no Encounter {text[:64]}")


async def spans_of_patient(registry: Registry, who: str, start_ns: int, end_ns: int) -> list[Span]:
    """Return when which devices read a patient, cut where an Encounter begins or ends."""
    found = []
    known = chains(await registry.stays(who))
    for period in await registry.device_periods_of_patient(who, start_ns, end_ns):
        found += _cut(period.site, period.device, period.start_ns, period.end_ns, who, known)
    return found


async def spans_of_device(
    registry: Registry, site: str, device: str, start_ns: int, end_ns: int
) -> list[Span]:
    """Return whose one device's readings were, without gaps: nobody's in between."""
    found: list[Span] = []
    known: dict[str, list[Chain]] = {}
    cursor = start_ns
    for period in await registry.placements(site, device, start_ns, end_ns):
        if cursor < period.start_ns:
            found.append(Span(site, device, cursor, period.start_ns, NOBODY))
        cursor = period.end_ns
        if period.patient is None:
            found.append(Span(site, device, period.start_ns, period.end_ns, NOBODY))
            continue
        if period.patient not in known:
            known[period.patient] = chains(await registry.stays(period.patient))
        who = period.patient
        found += _cut(site, device, period.start_ns, period.end_ns, who, known[who])
    if cursor < end_ns:
        found.append(Span(site, device, cursor, end_ns, NOBODY))
    return _joined(found)


async def attribution_at(registry: Registry, site: str, device: str, time_ns: int) -> Attribution:
    """Return whose a reading of this time is."""
    spans = await spans_of_device(registry, site, device, time_ns, time_ns + 1)
    return spans[0].attribution if spans else NOBODY


def _cut(site: str, device: str, start_ns: int, end_ns: int, who: str, known: Sequence[Chain]) -> list[Span]:
    found = []
    cursor = start_ns
    for chain in known:
        begin = max(cursor, chain.start_ns)
        end = min(end_ns, FOREVER if chain.end_ns is None else chain.end_ns)
        if begin >= end:
            continue
        if cursor < begin:
            found.append(Span(site, device, cursor, begin, Attribution(who)))
        found.append(Span(site, device, begin, end, Attribution(who, chain.id)))
        cursor = end
    if cursor < end_ns:
        found.append(Span(site, device, cursor, end_ns, Attribution(who)))
    return found


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and last.end_ns == span.start_ns and last.attribution == span.attribution:
            joined[-1] = Span(span.site, span.device, last.start_ns, span.end_ns, span.attribution)
        else:
            joined.append(span)
    return joined

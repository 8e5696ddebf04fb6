"""From ids to what they stand for."""

from hub.api.fhir.errors import missing
from hub.api.fhir.services import FhirServices, Registry
from hub.fhir.device import device_id
from hub.fhir.encounter import Chain, chains
from hub.fhir.ids import device_key, parts_of, resource_id
from hub.ward.model import DeviceEntry, NotInRegistry, PatientEntry, StayEntry


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


async def patient(registry: Registry, text: str, asked_by: str = "Patient.id") -> PatientEntry:
    """Return the patient of a Patient id; an error names what asked for it."""
    try:
        return await registry.patient(text)
    except NotInRegistry:
        for entry in await registry.patients():
            if resource_id(entry.id) == text:
                return entry
    raise missing(f"there is no Patient {text[:64]}", asked_by)


async def encounters(registry: Registry) -> list[Chain]:
    """Return the Encounters of every patient."""
    stays: dict[str, list[StayEntry]] = {}
    for stay in await registry.all_stays():
        stays.setdefault(stay.patient, []).append(stay)
    return [chain for own in stays.values() for chain in chains(own)]


async def encounter(registry: Registry, text: str, asked_by: str = "Encounter.id") -> Chain:
    """Return the stays of an Encounter id; an error names what asked for it."""
    for chain in await encounters(registry):
        if chain.id == text:
            return chain
    raise missing(f"there is no Encounter {text[:64]}", asked_by)

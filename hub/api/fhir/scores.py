"""NEWS2 scores as Observations: of a patient, by their code, as long as the hub keeps them."""

import re

from hub.api.fhir import directory
from hub.api.fhir.errors import missing
from hub.api.fhir.query import Query
from hub.api.fhir.services import FhirServices
from hub.fhir.encounter import chains
from hub.fhir.ids import parts_of
from hub.fhir.resource import Resource, versioned
from hub.fhir.score import TOTAL, news2
from hub.fhir.times import instant
from hub.vocabulary import SNOMED_SYSTEM

_TIME = re.compile(r"[0-3]?[0-9a-f]{1,15}")
KIND = "news2"
"""First part of the ids of scores."""


def asked(query: Query) -> bool:
    """Tell whether a search is for scores: they are found by their code alone."""
    choices = query.tokens("code") or query.tokens("combo-code")
    return bool(choices) and all(any(one.takes(SNOMED_SYSTEM, TOTAL) for one in some) for some in choices)


async def search(services: FhirServices, query: Query, patients: tuple[str, ...]) -> list[Resource]:
    """Return the scores of patients that a search means, the newest first."""
    start_ns, end_ns = query.within("date")
    if any(not any(one.takes(None, "final") for one in some) for some in query.tokens("status")):
        return []
    holes = query.without("date")
    found = [
        one
        for who in patients
        for one in await _of(services, who, start_ns, end_ns)
        if not any(low <= one[0] < high for low, high in holes)
    ]
    return [resource for _, resource in sorted(found, key=lambda one: one[0], reverse=True)]


async def read(services: FhirServices, text: str) -> tuple[Resource, str]:
    """Return one score and whose it is (surrogate id)."""
    parts = parts_of(text)
    if parts is not None and len(parts) == 3 and parts[0] == KIND:
        who = (await directory.patient(services.registry, parts[1])).id
        time_ns = int(parts[2], 16) if _TIME.fullmatch(parts[2]) else 0
        for _, resource in await _of(services, who, time_ns, time_ns + 1):
            if resource["id"] == text:
                return resource, who
    raise missing(f"there is no Observation {text[:64]}", "Observation.id")


async def _of(services: FhirServices, who: str, start_ns: int, end_ns: int) -> list[tuple[int, Resource]]:
    stays = chains(await services.registry.stays(who))
    found = []
    for one in await services.scores(who, start_ns, end_ns):
        if one.score is None:
            continue  # NEWS2 is not for this patient
        encounter = next((chain.id for chain in stays if chain.holds(one.time_ns)), None)
        resource = news2(one.score, who, one.time_ns, encounter)
        found.append((one.time_ns, versioned(resource, instant(one.time_ns))))
    return found

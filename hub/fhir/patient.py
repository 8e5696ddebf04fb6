"""Patients: as the registry knows them, and what of a Patient resource the registry keeps."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from hub.fhir.ids import resource_id
from hub.fhir.resource import Resource, versioned
from hub.ward.model import AgeGroup, Identifier, PatientEntry

_OWN = "urn:wardhub:identifier:"
KEPT = frozenset({"resourceType", "id", "meta", "identifier", "name", "birthDate", "active"})
"""Elements of a Patient that the hub keeps; the rest it does not need and does not take."""


def system_uri(system: str) -> str:
    """Return the system of an identifier as FHIR wants it: a URI."""
    return system if ":" in system else _OWN + system


def system_of(uri: str) -> str:
    """Return the system of an identifier as the registry has it."""
    return uri.removeprefix(_OWN)


def patient(entry: PatientEntry) -> Resource:
    """Render a patient."""
    resource: Resource = {
        "resourceType": "Patient",
        "id": resource_id(entry.id),
        "active": True,
        "name": [{"text": entry.name}],
    }
    if entry.identifiers:
        resource["identifier"] = [
            {"system": system_uri(one.system), "value": one.value} for one in entry.identifiers
        ]
    if entry.birth_date is not None:
        resource["birthDate"] = entry.birth_date.isoformat()
    return versioned(resource)


def identifiers(resource: Mapping[str, Any]) -> tuple[Identifier, ...]:
    """Return a Patient's identifiers that have a value."""
    return tuple(
        Identifier(str(one["value"]), system_of(str(one.get("system", "mrn"))))
        for one in resource.get("identifier", ())
        if one.get("value")
    )


def name(resource: Mapping[str, Any]) -> str:
    """Return a Patient's name as one text: the official or usual one first; empty where there is none."""
    ranks = {"official": 0, "usual": 1}
    names = sorted(resource.get("name", ()), key=lambda one: ranks.get(str(one.get("use")), 2))
    for one in names:
        text = one.get("text") or " ".join([*one.get("given", ()), one.get("family", "")]).strip()
        if text:
            return str(text)
    return ""


def birth_date(resource: Mapping[str, Any]) -> date | None:
    """Return a Patient's date of birth, None where it is not known to the day."""
    try:
        return date.fromisoformat(str(resource.get("birthDate", "")))
    except ValueError:
        return None


def age_group(born: date | None, today: date) -> AgeGroup:
    """Return whose limits hold: neonatal for 28 days, paediatric below 16 years, else adult."""
    if born is None:
        return "adult"
    if (today - born).days <= 28:
        return "neonatal"
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    return "paediatric" if years < 16 else "adult"

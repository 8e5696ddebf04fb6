"""Accesses as AuditEvents (profile of IHE BALP: who, what, when, whose, with which result)."""

from typing import Literal

from msgspec import Struct

from hub.fhir.ids import resource_id
from hub.fhir.resource import Resource, reference, versioned
from hub.fhir.times import instant

Action = Literal["C", "R", "U", "D", "E"]
AtTheDoor = Literal["login", "logout", "password"]
"""What people do to come in, in Access.interaction."""

_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_INTERACTION = "http://hl7.org/fhir/restful-interaction"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_AUTHENTICATION = ("110114", "User Authentication")
_DOOR: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "login": (_AUTHENTICATION, ("110122", "Login")),
    "logout": (_AUTHENTICATION, ("110123", "Logout")),
    "password": (("110113", "Security Alert"), ("110137", "User Security Attributes Changed")),
}
"""Type and subtype of AtTheDoor, codes of DICOM PS3.16 (CID 400 and 401)."""
_OUTCOME_TEXT = {"0": "Success", "4": "Minor failure", "8": "Serious failure"}


class Access(Struct, frozen=True):
    """One access to the hub's data."""

    id: int
    time_ns: int
    action: Action
    interaction: str
    """Of FHIR's restful-interaction, for instance search-type; operation where it is none of them; or of
    AtTheDoor."""
    what: str
    """Kind or reference of what was asked for; no search values, which may name a patient."""
    client: str
    """Name of the token or of the person; empty where nobody was known."""
    role: str
    address: str
    """Network address of the client; empty where unknown."""
    status: int
    """HTTP status of the answer."""
    patient: str | None = None
    """Surrogate id."""


def audit_event(access: Access, hub: str) -> Resource:
    """Render an access."""
    code = "0" if access.status < 400 else ("4" if access.status < 500 else "8")
    client: Resource = {
        "type": {"coding": [{"system": _DICOM, "code": "110153", "display": "Source Role ID"}]},
        "who": {"display": access.client or "unknown"},
        "role": [{"text": access.role}] if access.role else [{"text": "none"}],
        "requestor": True,
    }
    if access.address:
        client["network"] = {"address": access.address, "type": "2"}
    server: Resource = {
        "type": {"coding": [{"system": _DICOM, "code": "110152", "display": "Destination Role ID"}]},
        "who": {"display": hub},
        "requestor": False,
    }
    entities: list[Resource] = [
        {
            "type": {"system": _ENTITY, "code": "2", "display": "System Object"},
            "name": access.what,
        }
    ]
    if access.patient is not None:
        entities.append(
            {
                "what": reference("Patient", resource_id(access.patient)),
                "type": {"system": _ENTITY, "code": "1", "display": "Person"},
                "role": {"system": _ROLE, "code": "1", "display": "Patient"},
            }
        )
    return versioned(
        {
            "resourceType": "AuditEvent",
            "id": f"access-{access.id}",
            **_kind(access.interaction),
            "action": access.action,
            "recorded": instant(access.time_ns),
            "outcome": code,
            "outcomeDesc": f"{_OUTCOME_TEXT[code]} ({access.status})",
            "agent": [client, server],
            "source": {"observer": {"display": hub}},
            "entity": entities,
        },
        instant(access.time_ns),
    )


def _kind(interaction: str) -> Resource:
    if interaction not in _DOOR:
        return {
            "type": {"system": _TYPE, "code": "rest", "display": "RESTful Operation"},
            "subtype": [{"system": _INTERACTION, "code": interaction}],
        }
    (kind, kind_text), (what, what_text) = _DOOR[interaction]
    return {
        "type": {"system": _DICOM, "code": kind, "display": kind_text},
        "subtype": [{"system": _DICOM, "code": what, "display": what_text}],
    }

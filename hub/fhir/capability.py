"""The CapabilityStatement: what the server can do."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from hub.fhir.resource import Resource


class Capability(Struct, frozen=True):
    """What can be done with one kind of resource."""

    kind: str
    interactions: Sequence[str]
    parameters: Mapping[str, tuple[str, str]] = {}
    """Search parameters by name: type and documentation, which may be empty."""
    includes: Sequence[str] = ()
    operations: Mapping[str, str] = {}
    """By name, without $: the definition."""


_OPERATION = "http://hl7.org/fhir/OperationDefinition/"
OPERATIONS = {
    "lastn": _OPERATION + "Observation-lastn",
    "everything": _OPERATION + "Patient-everything",
    "validate": _OPERATION + "Resource-validate",
    "export": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export",
    "patient-export": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export",
    "status": "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status",
    "events": "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-events",
    "get-ws-binding-token": (
        "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/"
        "backport-subscription-get-ws-binding-token"
    ),
}


def capability_statement(
    capabilities: Sequence[Capability], *, base: str, version: str, date: str, token_url: str
) -> Resource:
    """Render the statement of a server at `base`. `date` is when it began to be so."""
    oauth: dict[str, Any] = {
        "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
        "extension": [{"url": "token", "valueUri": token_url}],
    }
    service = {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
            }
        ]
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "wardhub", "version": version},
        "implementation": {"description": "Ward device hub", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "security": {"extension": [oauth], "service": [service]},
                "resource": [_resource(one) for one in capabilities],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
                "operation": [
                    {"name": name, "definition": OPERATIONS[name]} for name in ("export", "validate")
                ],
            }
        ],
    }


def _resource(one: Capability) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "type": one.kind,
        "interaction": [{"code": code} for code in one.interactions],
        "versioning": "versioned-update" if "update" in one.interactions else "no-version",
        "readHistory": False,
    }
    if "update" in one.interactions:
        resource["updateCreate"] = False
        resource["conditionalUpdate"] = True
    if "read" in one.interactions:
        resource["conditionalRead"] = "not-match"
    if one.includes:
        resource["searchInclude"] = list(one.includes)
    if one.parameters:
        resource["searchParam"] = [
            {"name": name, "type": kind, **({"documentation": text} if text else {})}
            for name, (kind, text) in one.parameters.items()
        ]
    if one.operations:
        resource["operation"] = [
            {"name": name, "definition": definition} for name, definition in one.operations.items()
        ]
    return resource

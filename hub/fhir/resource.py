"""What every resource has: an id, a version that follows from its content, references."""

from collections.abc import Iterable
from typing import Any

from msgspec import json

from hub.fhir.observation import version
from hub.ward.model import Identifier

Resource = dict[str, Any]
"""A resource as JSON has it."""


def versioned(resource: Resource, updated: str | None = None) -> Resource:
    """Return the resource with the version of its content in `meta`, and with when it was last updated."""
    content = {name: value for name, value in resource.items() if name != "meta"}
    meta = {name: value for name, value in resource.get("meta", {}).items() if name != "versionId"}
    if updated is not None:
        meta["lastUpdated"] = updated
    meta = {"versionId": version(json.encode([content, meta])), **meta}
    return {"resourceType": content.pop("resourceType"), "id": content.pop("id"), "meta": meta, **content}


def identified(resource: Resource, identifiers: Iterable[Identifier]) -> Resource:
    """Return a resource with identifiers that others gave it."""
    given = [{"system": one.system, "value": one.value} for one in identifiers]
    return versioned({**resource, "identifier": [*resource["identifier"], *given]}) if given else resource


def reference(kind: str, resource_id: str) -> dict[str, str]:
    """Return a reference to a resource of this server."""
    return {"reference": f"{kind}/{resource_id}"}


def encode(resource: Resource) -> bytes:
    """Return a resource as JSON text."""
    return json.encode(resource)

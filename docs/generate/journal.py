"""The contract of a journal row, from the structs that are encoded."""

import json

import msgspec

from hub.model import FORMAT_VERSION, Batch


def pages() -> dict[str, str]:
    """Return the JSON Schema: MessagePack arrays, described as JSON arrays whose places have names."""
    schema = msgspec.json.schema(Batch)
    for name, part in schema["$defs"].items():
        struct = _struct(name)
        for place, field in zip(part["prefixItems"], struct.__struct_fields__, strict=True):
            place["title"] = field
        part["description"] = " ".join(part.get("description", "").split())
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:wardhub:contract:journal-row:{FORMAT_VERSION}",
        **schema,
    }
    return {
        "hub/contracts/journal-row.schema.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    }


def _struct(name: str) -> type[msgspec.Struct]:
    import hub.model

    struct: type[msgspec.Struct] = getattr(hub.model, name)
    return struct

"""Writes the AsyncAPI document, the JSON Schemas and their page from hub/contracts."""

import json
from pathlib import Path
from typing import Any

from hub import __version__

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "hub" / "contracts"
BASE = "wards/v1/{site}/{area}/{device}"
CHANNELS = {
    # channel: direction, QoS, retained
    "observations": ("receive", 1, False),
    "waveforms": ("receive", 1, False),
    "alarms": ("receive", 1, False),
    "sightings": ("receive", 1, False),
    "status": ("receive", 1, True),
    "diagnostics": ("send", 1, False),
}
PARAMETERS = {
    "site": "The hospital or branch.",
    "area": "A routing hint given at provisioning; never where the patient is.",
    "device": "The device's identity: what its certificate or user name says.",
}

INTRODUCTION = """\
# Payloads

<!-- Generated from hub/contracts by docs/generate/contracts.py; don't edit. -->

What a device publishes, and what it is told, channel by channel. The JSON Schemas are in [schemas](schemas),
the whole as an AsyncAPI 3.0 document in [asyncapi.json](asyncapi.json). Values have the names of the
[vocabulary](vocabulary.md). Members that the hub doesn't know are ignored: later versions may add some.
"""


def pages() -> dict[str, str]:
    """Return the text of each page by its path."""
    schemas = {name: _schema(name) for name in CHANNELS}
    found = {"docs/reference/asyncapi.json": _text(asyncapi(schemas))}
    for file in sorted(CONTRACTS.glob("*.schema.json")):
        found[f"docs/reference/schemas/{file.name}"] = file.read_text(encoding="utf-8")
    found["docs/reference/payloads.md"] = _page(schemas)
    return found


def asyncapi(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the document: the hub receives what devices send."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "wardhub devices",
            "version": __version__,
            "description": "What bedside devices publish over MQTT, and what the hub tells them.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "broker.example:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "3.1.1",
                "description": "Any MQTT broker; devices may use every version that it takes.",
            }
        },
        "channels": {
            name: {
                "address": f"{BASE}/{name}",
                "title": schemas[name]["title"],
                "description": schemas[name]["description"],
                "parameters": {part: {"description": text} for part, text in PARAMETERS.items()},
                "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            }
            for name in CHANNELS
        },
        "operations": {
            f"{action}_{name}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
                "bindings": {"mqtt": {"qos": qos, "retain": retained, "bindingVersion": "0.2.0"}},
            }
            for name, (action, qos, retained) in CHANNELS.items()
        },
        "components": {
            "messages": {
                name: {
                    "name": name,
                    "contentType": "application/json",
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-07",
                        "schema": _inlined(schemas[name]),
                    },
                    "examples": [{"payload": example} for example in schemas[name].get("examples", [])],
                }
                for name in CHANNELS
            }
        },
    }


def _schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CONTRACTS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return document


def _inlined(schema: dict[str, Any]) -> Any:
    """Return a schema whose references to its own definitions are replaced by what they name.

    Within the AsyncAPI document `#/$defs/…` would mean another place.
    """
    definitions = schema.get("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(one) for one in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref", "")
        if reference.startswith("#/$defs/"):
            return inlined(definitions[reference.removeprefix("#/$defs/")])
        return {key: inlined(value) for key, value in node.items()}

    without = {
        key: value for key, value in schema.items() if key not in ("$defs", "$schema", "$id", "examples")
    }
    return inlined(without)


def _page(schemas: dict[str, dict[str, Any]]) -> str:
    parts = [INTRODUCTION]
    for name, schema in schemas.items():
        action, qos, retained = CHANNELS[name]
        way = "device to hub" if action == "receive" else "hub to device"
        parts.append(f"\n## `{name}`\n\n{schema['description']}\n\n")
        parts.append(f"{way}, QoS {qos}, {'retained' if retained else 'not retained'}\n\n")
        parts += _rows(_report(_inlined(schema)))
        for example in schema.get("examples", [])[:1]:
            parts.append("\n```json\n" + json.dumps(example, ensure_ascii=False, indent=1) + "\n```\n")
    return "".join(parts)


def _report(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the object that a payload is, or is an array of."""
    for one in schema.get("oneOf", []):
        if one.get("type") == "object":
            return dict(one)
    return schema


def _rows(report: dict[str, Any]) -> list[str]:
    rows = ["| member | type | | meaning |\n| --- | --- | --- | --- |\n"]
    required = report.get("required", [])
    for name, member in report.get("properties", {}).items():
        meaning = str(member.get("description", "")).replace("|", "\\|")
        needed = "required" if name in required else ""
        rows.append(f"| `{name}` | {_type(member)} | {needed} | {meaning} |\n")
        inner = member.get("items", member)
        for key, deep in inner.get("properties", {}).items() if isinstance(inner, dict) else ():
            needed = "required" if key in inner.get("required", []) else ""
            meaning = str(deep.get("description", "")).replace("|", "\\|")
            rows.append(f"| `{name}[].{key}` | {_type(deep)} | {needed} | {meaning} |\n")
    return rows


def _type(member: dict[str, Any]) -> str:
    if "enum" in member:
        return ", ".join(f"`{one}`" for one in member["enum"])
    if "oneOf" in member:
        return " or ".join(dict.fromkeys(_type(one) for one in member["oneOf"]))
    kind = member.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

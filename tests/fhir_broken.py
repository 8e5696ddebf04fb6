"""Resources that are broken on purpose, each in one way: what no validator may let pass."""

import copy
from typing import Any

CATEGORY = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
UCUM = "http://unitsofmeasure.org"
PROFILE = "http://hl7.org/fhir/StructureDefinition/"

HEART_RATE: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "hr",
    "meta": {"profile": [PROFILE + "heartrate"]},
    "status": "final",
    "category": [{"coding": [CATEGORY]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/pt-1"},
    "effectiveDateTime": "2026-11-24T02:43:12.123Z",
    "valueQuantity": {"value": 72, "unit": "/min", "system": UCUM, "code": "/min"},
}
BLOOD_PRESSURE: dict[str, Any] = {
    **{
        name: HEART_RATE[name]
        for name in ("resourceType", "status", "category", "subject", "effectiveDateTime")
    },
    "id": "bp",
    "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
    "component": [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": value, "unit": "mm[Hg]", "system": UCUM, "code": "mm[Hg]"},
        }
        for code, value in (("8480-6", 120), ("8462-4", 80))
    ],
}
ABSENT = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "error"}]}


def _with(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    resource = copy.deepcopy(base)
    for name, value in changes.items():
        if value is None:
            del resource[name]
        else:
            resource[name] = value
    return resource


def _quantity(**changes: Any) -> dict[str, Any]:
    return _with(HEART_RATE, valueQuantity=_with(HEART_RATE["valueQuantity"], **changes))


BROKEN: dict[str, dict[str, Any]] = {
    "a status that is none": _with(HEART_RATE, status="bogus"),
    "no status": _with(HEART_RATE, status=None),
    "no code": _with(HEART_RATE, code=None),
    "an element that isn't one": _with(HEART_RATE, colour="red"),
    "a value and a reason for none": _with(HEART_RATE, dataAbsentReason=ABSENT),
    "a vital sign without a subject": _with(HEART_RATE, subject=None),
    "a vital sign without a time": _with(HEART_RATE, effectiveDateTime=None),
    "neither a value nor a reason": _with(HEART_RATE, valueQuantity=None),
    "a time without a zone": _with(HEART_RATE, effectiveDateTime="2026-11-24T02:43:12"),
    "a time that is none": _with(HEART_RATE, effectiveDateTime="24.11.2026"),
    "a unit that is no UCUM": _quantity(code="bpm"),
    "a value that is text": _quantity(value="seventy"),
    "a comparator that is none": _quantity(comparator="~"),
    "an empty element": _with(HEART_RATE, code={}),
    "a list where there is one": _with(HEART_RATE, subject=[{"reference": "Patient/pt-1"}]),
    "a gender that is none": {"resourceType": "Patient", "gender": "f"},
    "an Encounter of no class": {"resourceType": "Encounter", "status": "finished"},
    "a bed status that is none": {"resourceType": "Location", "status": "closed"},
    "a transaction without requests": {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "A"}]}}],
    },
    "a resource that is none": {"resourceType": "Observations", "status": "final"},
}
"""What both the hub and the second validator reject."""

BROKEN_BEYOND: dict[str, dict[str, Any]] = {
    "a vital sign of a device": _with(HEART_RATE, subject={"reference": "Device/mon-1"}),
    "a device that is a patient": _with(HEART_RATE, device={"reference": "Patient/pt-1"}),
    "oximetry without 2708-6": _with(
        HEART_RATE,
        meta={"profile": [PROFILE + "vitalsigns"]},
        code={"coding": [{"system": "http://loinc.org", "code": "59408-5"}]},
        valueQuantity={"value": 97, "unit": "%", "system": UCUM, "code": "%"},
    ),
    "another unit than the profile's": _quantity(code="/s", unit="/s"),
    "a blood pressure without diastolic": _with(BLOOD_PRESSURE, component=BLOOD_PRESSURE["component"][:1]),
    "a blood pressure with a value of its own": _with(
        BLOOD_PRESSURE, valueQuantity=BLOOD_PRESSURE["component"][0]["valueQuantity"]
    ),
    "a component without a value": _with(
        BLOOD_PRESSURE,
        component=[BLOOD_PRESSURE["component"][0], {"code": BLOOD_PRESSURE["component"][1]["code"]}],
    ),
    "a period that ends before it begins": {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "IMP"},
        "period": {"start": "2026-11-24", "end": "2026-11-23"},
    },
    "two values": _with(HEART_RATE, valueString="72"),
    "a unit's code without its system": _quantity(system=None),
}
"""What the hub rejects beyond that: the second validator knows fewer rules."""

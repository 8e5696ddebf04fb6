"""A NEWS2 score as an Observation with components, in the SNOMED CT codes of the NHS specification."""

from typing import Any

from hub.alarms.news2 import RESPONSES, Score
from hub.fhir.codes import ABSENT_SYSTEM, category
from hub.fhir.ids import resource_id
from hub.fhir.times import instant
from hub.vocabulary import SNOMED_SYSTEM

TOTAL = "1104051000000101"
_SPO2_SCALE = {1: "1104311000000102", 2: "1104321000000108"}
_PARTS = {
    "respiratory_rate": ("1104301000000104", "NEWS2 respiration rate score"),
    "spo2": ("", "NEWS2 oxygen saturation score"),
    "on_oxygen": ("1104331000000105", "NEWS2 air or oxygen score"),
    "systolic": ("1104341000000101", "NEWS2 systolic blood pressure score"),
    "pulse": ("1104351000000103", "NEWS2 pulse score"),
    "consciousness": ("1104361000000100", "NEWS2 consciousness score"),
    "temperature": ("1104371000000107", "NEWS2 temperature score"),
}


def news2(score: Score, patient: str, time_ns: int, encounter: str | None = None) -> dict[str, Any]:
    """Render the score of a patient (surrogate id) at a time.

    Without all seven parts there is no total: it is absent, the note says what the known parts amount to.
    """
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": resource_id("news2", patient, f"{time_ns:x}"),
        "meta": {"lastUpdated": instant(time_ns)},
        "status": "final",
        "category": [category("survey")],
        "code": _concept(TOTAL, "NEWS2 total score"),
        "subject": {"reference": f"Patient/{resource_id(patient)}"},
        "effectiveDateTime": instant(time_ns),
        "issued": instant(time_ns),
    }
    if encounter:
        resource["encounter"] = {"reference": f"Encounter/{encounter}"}
    if score.total is None:
        resource["dataAbsentReason"] = _unknown()
        missing = ", ".join(sorted(score.problems))
        resource["note"] = [{"text": f"Incomplete ({missing}): the known parts score {score.at_least}."}]
    else:
        resource["valueInteger"] = score.total
        if score.risk is not None:
            resource["note"] = [{"text": f"Risk {score.risk}: {RESPONSES[score.risk]}."}]
    resource["component"] = [_component(name, points, score) for name, points in score.scores.items()]
    return resource


def _component(name: str, points: int | None, score: Score) -> dict[str, Any]:
    code, display = _PARTS[name]
    if name == "spo2":
        code = _SPO2_SCALE.get(score.spo2_scale, "")
        display = f"NEWS2 oxygen saturation score, scale {score.spo2_scale}"
    value = {"dataAbsentReason": _unknown()} if points is None else {"valueInteger": points}
    return {"code": _concept(code, display) if code else {"text": display}, **value}


def _concept(code: str, text: str) -> dict[str, Any]:
    return {"coding": [{"system": SNOMED_SYSTEM, "code": code}], "text": text}


def _unknown() -> dict[str, Any]:
    return {"coding": [{"system": ABSENT_SYSTEM, "code": "unknown", "display": "Unknown"}]}

import json

import pytest

from hub.fhir.validate import is_ucum, validate
from hub.vocabulary import PARAMETERS
from tests.fhir_broken import BLOOD_PRESSURE, BROKEN, BROKEN_BEYOND, HEART_RATE

FAULTS = {
    "Bundle-father.json": "'tbl' is no UCUM unit",
    "DeviceMetric-example.json": "expected a reference to Device, found DeviceDefinition",
    "DeviceUseStatement-example.json": "found Procedure",
}
"""Faults that the official examples really have, against R4's own definitions."""


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_resource_is_rejected_by_both(kind, second_validator):
    issues = validate(BROKEN[kind])
    assert issues
    assert all(issue.severity == "error" and issue.expression for issue in issues)
    if kind != "a resource that is none":  # the second one has no schema to try it against
        assert second_validator.faults(BROKEN[kind])


@pytest.mark.parametrize("kind", BROKEN_BEYOND)
def test_the_hub_rejects_what_the_second_validator_lets_pass(kind):
    assert validate(BROKEN_BEYOND[kind])


def test_enough_is_broken():
    assert len(BROKEN) >= 15


@pytest.mark.parametrize("resource", [HEART_RATE, BLOOD_PRESSURE], ids=["heart rate", "blood pressure"])
def test_what_the_broken_ones_are_made_of_is_whole(resource, second_validator):
    assert validate(resource) == []
    assert second_validator.faults(resource) == []


def test_the_path_names_the_element():
    paths = {issue.expression for issue in validate(BROKEN_BEYOND["a component without a value"])}
    assert paths == {"Observation.component[1]"}
    paths = {issue.expression for issue in validate(BROKEN["a unit that is no UCUM"])}
    assert "Observation.value.code" in paths


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, {"resourceType": 5}, {"resourceType": "Element"}])
def test_what_is_no_resource_is_rejected(value):
    assert validate(value)


def test_the_official_examples_are_valid_but_for_their_own_faults(recorded, second_validator):
    walked = 0
    for path in sorted((recorded / "fhir" / "r4_examples").glob("*.json")):
        resource = json.loads(path.read_text(encoding="utf-8"))
        issues = validate(resource)
        if path.name in FAULTS:
            assert len(issues) == 1
            assert FAULTS[path.name] in issues[0].diagnostics
        else:
            assert issues == [], path.name
        if resource["resourceType"] != "Bundle":
            units = [fault for fault in second_validator.faults(resource) if "is no UCUM unit" not in fault]
            assert units == [], path.name
        walked += 1
    assert walked == 90


def test_every_unit_of_the_vocabulary_is_ucum():
    assert all(is_ucum(parameter.unit) for parameter in PARAMETERS.values() if parameter.unit)
    for wrong in ("mmHg", "bpm", "breaths/min", "°C", "", "mm[Hg"):
        assert not is_ucum(wrong)

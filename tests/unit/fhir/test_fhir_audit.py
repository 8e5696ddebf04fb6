import pytest

from hub.fhir.audit import Access, audit_event
from hub.fhir.validate import validate

DICOM = "http://dicom.nema.org/resources/ontology/DCM"


def access(interaction, **changes):
    given = {
        "id": 7,
        "time_ns": 1_790_000_000_000_000_000,
        "action": "E",
        "interaction": interaction,
        "what": "session",
        "client": "anna.berg",
        "role": "nurse",
        "address": "192.0.2.7",
        "status": 200,
    }
    return Access(**(given | changes))


@pytest.mark.parametrize(
    ("interaction", "kind", "subtype"),
    [("login", "110114", "110122"), ("logout", "110114", "110123"), ("password", "110113", "110137")],
)
def test_coming_and_going_is_told_in_the_codes_of_dicom(interaction, kind, subtype):
    event = audit_event(access(interaction), "hub-1")
    assert validate(event) == []
    assert (event["type"]["system"], event["type"]["code"]) == (DICOM, kind)
    assert [(one["system"], one["code"]) for one in event["subtype"]] == [(DICOM, subtype)]
    assert event["agent"][0]["who"] == {"display": "anna.berg"}
    assert event["outcome"] == "0"


def test_a_sign_in_that_was_refused_is_a_failure_of_somebody_unknown():
    event = audit_event(access("login", client="", role="", status=401), "hub-1")
    assert validate(event) == []
    assert event["outcome"] == "4"
    assert event["agent"][0]["who"] == {"display": "unknown"}


def test_every_other_access_is_restful():
    event = audit_event(access("search-type", action="R"), "hub-1")
    assert event["type"]["code"] == "rest"
    assert event["subtype"][0]["code"] == "search-type"

from datetime import date

import pytest

from hub.alarms.alarm import Alarm, AlarmEvent, Signal
from hub.alarms.limits import DEFAULTS, load_limits
from hub.alarms.news2 import Inputs, score
from hub.fhir import alarm, device, encounter, location, patient
from hub.fhir.audit import Access, audit_event
from hub.fhir.codes import GROUPS
from hub.fhir.ids import parts_of, resource_id
from hub.fhir.outcome import outcome
from hub.fhir.resource import identified
from hub.fhir.score import news2
from hub.fhir.times import instant, span
from hub.fhir.validate import Issue, validate
from hub.ward.model import (
    BedEntry,
    DeviceEntry,
    Identifier,
    PatientEntry,
    Placement,
    StayEntry,
    WardEntry,
)

SECOND = 1_000_000_000
AT = 1_795_488_192 * SECOND
MONITOR = DeviceEntry("main", "00-11-22-ff-fe-33-44-55", "native", "icu", 1.0, None, True, AT, None)
ALARM = Alarm(
    "al-1", "physiological", "high", "limit_low", "main", "mon-1", AT, "present", "SpO2 low",
    "spo2", 82.0, 90.0,
    patient="pt-1",
)  # fmt: skip
LIMITS = load_limits(DEFAULTS).of("adult")


def stay(number, bed, start, end):
    return StayEntry(
        number, "main", bed, "pt-1", AT + start * SECOND, None if end is None else AT + end * SECOND
    )


def event(happening="start", of=ALARM, **where):
    return AlarmEvent(1, happening, AT + SECOND, of, "icu", "icu-01", **where)


def technical(**changes):
    from msgspec.structs import replace

    members = {
        "kind": "technical",
        "condition": "device_silent",
        "parameter": None,
        "patient": None,
        "value": None,
    }
    return replace(ALARM, **{**members, **changes})


(CHAIN,) = encounter.chains([stay(1, "icu-01", 0, 60), stay(2, "icu-02", 60, None)])
WHO = PatientEntry(
    id="pt-1",
    name="A. Nobody",
    identifiers=(Identifier("123"), Identifier("9", "urn:oid:1.2.3")),
    birth_date=date(1950, 2, 3),
)
RESOURCES = {
    "site": location.site("main"),
    "ward": location.ward(WardEntry("main", "icu", "Intensive care", "icu", ("icu-01",))),
    "bed": location.bed(BedEntry("main", "icu", "icu-01", "pt-1")),
    "empty bed": location.bed(BedEntry("main", "icu", "icu_02", None)),
    "room": location.room("main", "room-1", "Room 1", "icu"),
    "way out": location.room("main", "exit", "Way out", None),
    "patient": patient.patient(WHO),
    "patient without anything": patient.patient(PatientEntry(id="pt-2", name="B")),
    "encounter": encounter.encounter(CHAIN, AT + 70 * SECOND, [Identifier("V1", "urn:visit")]),
    "finished encounter": encounter.encounter(
        encounter.chains([stay(3, "icu-01", 0, 9)])[0], AT + 70 * SECOND
    ),
    "planned encounter": encounter.encounter(CHAIN, AT - SECOND),
    "device": device.device(MONITOR, Placement("icu", "icu-01", "pt-1"), of=["heart_rate"]),
    "device in store": identified(
        device.device(MONITOR, Placement(None, None, None), of=["pump_mode"]), [Identifier("7", "urn:asset")]
    ),
    **{
        f"metric {group.name}": device.metric(
            MONITOR, group, state="online", interval_s=1.0, limits=LIMITS.by_parameter
        )
        for group in GROUPS.values()
    },
    "alarm": alarm.detected_issue(event()),
    "acknowledged alarm": alarm.detected_issue(event(signal=Signal(acknowledged_by="n", acknowledged_ns=AT))),
    "technical alarm": alarm.detected_issue(event(of=technical())),
    "ended alarm": alarm.detected_issue(event("end", technical(ended_ns=AT - 5, priority="information"))),
    "flag": alarm.flag(event()),
    "flag of a bed": alarm.flag(event(of=technical())),
    "flag of a site": alarm.flag(AlarmEvent(1, "end", AT, technical())),
    "complete score": news2(
        score(
            Inputs(
                respiratory_rate=16, spo2=96, on_oxygen=False, systolic=120, pulse=80, consciousness="A",
                temperature=37.0,
            )
        ),
        "pt-1", AT, "stay-1",
    ),
    "incomplete score": news2(score(Inputs(respiratory_rate=26, spo2=90, spo2_scale=2)), "pt-1", AT),
    "score without a scale": news2(score(Inputs(spo2_scale=3)), "pt-1", AT),
    "audit": audit_event(
        Access(1, AT, "R", "search-type", "Observation", "ehr", "viewer", "192.0.2.1", 200, "pt-1"), "hub-1"
    ),
    "audit of a sign-in": audit_event(
        Access(3, AT, "E", "login", "session/oidc", "anna.berg", "nurse", "192.0.2.7", 200), "hub-1"
    ),
    "audit of nobody": audit_event(Access(2, AT, "U", "update", "Device/a", "", "", "", 401), "hub-1"),
    "outcome": outcome([Issue("value", "expected a date", "Observation.effective")]),
    "outcome without issues": outcome([]),
}  # fmt: skip


@pytest.mark.parametrize("kind", RESOURCES)
def test_every_resource_is_valid(kind, second_validator):
    assert validate(RESOURCES[kind]) == []
    assert second_validator.faults(RESOURCES[kind]) == []


def test_stays_that_follow_each_other_are_one_encounter():
    one, two = encounter.chains(
        [stay(3, "icu-01", 100, 110), stay(1, "icu-01", 0, 60), stay(2, "icu-02", 60, 90)]
    )
    assert (one.id, two.id) == ("stay-1", "stay-3")
    assert one.holds(AT)
    assert one.holds(AT + 89 * SECOND)
    assert not one.holds(AT + 90 * SECOND)
    moved = RESOURCES["encounter"]
    assert [place["status"] for place in moved["location"]] == ["completed", "active"]
    assert moved["status"] == "in-progress"


def test_an_incomplete_score_has_no_total():
    incomplete = RESOURCES["incomplete score"]
    assert "valueInteger" not in incomplete
    assert incomplete["component"][0]["valueInteger"] == 3
    assert "dataAbsentReason" in incomplete["component"][2]
    assert RESOURCES["complete score"]["valueInteger"] == 0


def test_a_metric_tells_the_limits_in_force():
    (extension,) = RESOURCES["metric heart-rate"]["extension"]
    told = {part["url"]: part.get("valueQuantity", {}).get("value") for part in extension["extension"]}
    sides = {
        f"{limit.side}-{level}": limit.bound
        for side in LIMITS.by_parameter["heart_rate"]
        for level, limit in (("warning", side.warning), ("critical", side.critical))
        if limit is not None
    }
    assert sides
    assert {name: told[name] for name in sides} == sides


def test_a_device_with_an_eui_64_says_so():
    values = {one["system"]: one["value"] for one in RESOURCES["device"]["identifier"]}
    assert values[device.EUI64] == "001122FFFE334455"


@pytest.mark.parametrize(
    "parts", [("main", "mon-1"), ("a_b", "c..d"), ("x" * 30, "y" * 30), ("é", "1"), ("a", "b", "c")]
)
def test_an_id_has_the_characters_of_fhir_and_tells_its_parts(parts):
    import re

    text = resource_id(*parts)
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", text)
    assert parts_of(text) == parts


def test_ids_of_long_names_differ_and_tell_nothing():
    one, other = resource_id("main", "x" * 128), resource_id("main", "x" * 127)
    assert one != other
    assert max(len(one), len(other)) <= 64
    assert parts_of(one) is None


def test_no_two_things_have_one_id():
    near = [("a", "b"), ("a..b",), ("a.", "b"), ("a", ".b"), ("a.2e", "b"), ("a-b",), ("ab",), ("a_b",)]
    assert len({resource_id(*parts) for parts in near}) == len(near)


def test_a_date_stands_for_all_of_its_span():
    day = 86_400 * SECOND
    start, end = span("2026-11-24")
    assert (instant(start), end - start) == ("2026-11-24T00:00:00.000Z", day)
    assert span("2026-12")[1] == span("2027-01")[0]
    assert span("2024-02")[1] - span("2024-02")[0] == 29 * day
    assert span("2026-11-24T08:00:00+08:00")[0] == start
    assert span("2026-11-24T00:00:00.123Z") == (start + 123_000_000, start + 124_000_000)
    for wrong in ("", "2026-13", "26-1-1", "2026-11-24T25:00:00Z", "1799", "now", "2026-02-30"):
        with pytest.raises(ValueError, match=r"expected|not a date"):
            span(wrong)


@pytest.mark.parametrize(
    ("born", "group"), [("2026-11-01", "neonatal"), ("2012-11-25", "paediatric"), ("2010-11-24", "adult")]
)
def test_age_says_whose_limits_hold(born, group):
    assert patient.age_group(date.fromisoformat(born), date(2026, 11, 24)) == group
    assert patient.age_group(None, date(2026, 11, 24)) == "adult"

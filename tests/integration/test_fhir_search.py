"""Search, read, $lastn and $everything over HTTP, on a real registry and a real store."""

import json
from collections import Counter
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from hub.alarms.early_warning import Assessment
from hub.alarms.news2 import Inputs, score
from hub.fhir.observation import groups_in
from hub.fhir.validate import validate
from hub.model import Waveform
from tests.fhir_check import SecondValidator, missing
from tests.fhir_hub import MINUTE, NOW, SECOND, fhir_hub, vitals

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

HOUR = 60 * MINUTE
BP = {"nibp_systolic": 120.0, "nibp_diastolic": 80.0, "nibp_mean": 93.0}


@pytest_asyncio.fixture(loop_scope="module")
async def hub(tmp_path):
    """A hub for one test, which may change it."""
    async with fhir_hub(tmp_path) as hub:
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def ehr(hub):
    async with await hub.client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ward(tmp_path_factory):
    """A ward that tests only look at: its hub, a client, and the ids of Ann, Bob and Cid."""
    async with fhir_hub(tmp_path_factory.mktemp("ward")) as hub, await hub.client() as client:
        people = await ward_of_two(hub)
        await hub.alarm(of=people[0])
        await hub.alarm(number=2, kind="technical", condition="device_silent", parameter=None)
        yield hub, client, people


async def ward_of_two(hub):
    """Ann in icu-01 with monitor and pump for an hour, Bob in icu-02; Ann's monitor was Cid's before."""
    cid = await hub.admit("Cid", "icu-01", NOW - 3 * HOUR, mrn="3")
    await hub.registry.discharge(cid, NOW - 2 * HOUR)
    ann = await hub.admit("Ann", "icu-01", NOW - HOUR, mrn="1")
    bob = await hub.admit("Bob", "icu-02", NOW - HOUR, mrn="2")
    await hub.write(
        *(vitals(n, NOW - HOUR + n * SECOND) for n in range(1, 101)),
        *(vitals(n, NOW - HOUR + n * SECOND, device="mon-2") for n in range(1, 51)),
        *(vitals(n, NOW - 150 * MINUTE + n * SECOND, heart_rate=50.0) for n in range(5)),
        *(vitals(n, NOW - 90 * MINUTE + n * SECOND, heart_rate=44.0) for n in range(3)),
        *(
            vitals(
                n, NOW - HOUR + n * 5 * SECOND, device="pump-1", pump_flow_rate=12.5, pump_status="infusing"
            )
            for n in range(1, 11)
        ),
        vitals(200, NOW - 30 * MINUTE, **BP),
        vitals(201, NOW - 29 * MINUTE, exceptions={"spo2": ("invalid", 250.0)}, heart_rate=71.0),
        vitals(202, NOW - 28 * MINUTE, exceptions={"heart_rate": ("questionable", 140.0)}, heart_rate=140.0),
    )
    return ann, bob, cid


async def search(client, path, **parameters):
    answer = await client.get(
        path, params={name.replace("__", "-"): value for name, value in parameters.items()}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def resources(bundle, mode="match"):
    return [one["resource"] for one in bundle.get("entry", []) if one["search"]["mode"] == mode]


async def pages(client, path, **parameters):
    found = []
    bundle = await search(client, path, **parameters)
    for _ in range(1000):
        found += resources(bundle)
        following = [one["url"] for one in bundle["link"] if one["relation"] == "next"]
        if not following:
            return found
        parts = urlsplit(following[0])
        answer = await client.get(f"{parts.scheme}://{parts.netloc}{parts.path}?{parts.query}")
        assert answer.status_code == 200
        bundle = answer.json()
    raise AssertionError("the pages never end")


async def test_a_patients_observations_are_those_of_the_stay_and_no_others(ward):
    _, ehr, (ann, bob, cid) = ward
    rates = {}
    for who in (ann, bob, cid):
        found = await pages(ehr, "/Observation", patient=who, code="8867-4", _count="30")
        assert {one["subject"]["reference"] for one in found} == {f"Patient/{who}"}
        rates[who] = sorted(one["valueQuantity"]["value"] for one in found if "valueQuantity" in one)
    assert len(rates[ann]) == 102  # 100, and the questionable and the one beside an invalid SpO2
    assert len(rates[bob]) == 50
    assert rates[cid] == [50] * 5
    assert 44 not in {rate for own in rates.values() for rate in own}


async def test_pages_give_every_observation_once_in_both_orders(ward):
    _, ehr, (ann, _, _) = ward
    expected = len(await pages(ehr, "/Observation", patient=ann, _count="1000"))
    for order in ("date", "-date"):
        found = await pages(ehr, "/Observation", patient=ann, _sort=order, _count="7")
        ids = [one["id"] for one in found]
        assert len(ids) == len(set(ids)) == expected
        times = [one["effectiveDateTime"] for one in found]
        assert times == sorted(times, reverse=order == "-date")


async def test_settings_and_device_measurements_are_found_by_device_and_by_encounter(ward):
    _, ehr, (ann, _, _) = ward
    assert not resources(await search(ehr, "/Observation", patient=ann, code="157784"))
    by_subject = resources(await search(ehr, "/Observation", subject="Device/main..pump-1", _count="100"))
    assert len(by_subject) == 20
    assert {one["subject"]["reference"] for one in by_subject} == {"Device/main..pump-1"}
    (stay,) = resources(await search(ehr, "/Encounter", patient=ann))
    encounter = f"Encounter/{stay['id']}"
    by_encounter = await pages(ehr, "/Observation", encounter=encounter, _count="1000")
    assert {one["id"] for one in by_subject} <= {one["id"] for one in by_encounter}
    assert {one["encounter"]["reference"] for one in by_encounter} == {encounter}
    metric = by_subject[0]["device"]["reference"]
    by_metric = resources(await search(ehr, "/Observation", device=metric, _count="100"))
    assert len(by_metric) == 10
    by_device = resources(await search(ehr, "/Observation", device="Device/main..pump-1", _count="100"))
    assert len(by_device) == 20


async def test_what_nobody_was_in_bed_for_is_the_devices_and_claims_no_profile(ward):
    _, ehr, _ = ward
    found = await pages(ehr, "/Observation", subject="Device/main..mon-1", code="8867-4")
    assert {one["valueQuantity"]["value"] for one in found} == {44}
    assert all("category" not in one and "profile" not in one["meta"] for one in found)
    assert not await pages(ehr, "/Observation", subject="Device/main..mon-1", category="vital-signs")


SEARCHES = [
    ({"code": "http://loinc.org|8867-4"}, 102),
    ({"code": "urn:iso:std:iso:11073:10101|147842"}, 102),
    ({"code": "http://loinc.org|147842"}, 0),
    ({"code": "8867-4,9279-1"}, 202),
    ({"code": "85354-9"}, 1),
    ({"combo-code": "8480-6"}, 1),
    ({"component-code": "8480-6"}, 1),
    ({"component-code": "8867-4"}, 0),
    ({"code": "8480-6"}, 0),
    ({"category": "vital-signs"}, 304),
    ({"category": "laboratory"}, 0),
    ({"status": "final", "code": "85354-9"}, 1),
    ({"status": "amended"}, 0),
    ({"code": "8867-4", "value-quantity": "gt98"}, 3),
    ({"code": "8867-4", "value-quantity": "140|http://unitsofmeasure.org|/min"}, 1),
    ({"code": "8867-4", "value-quantity": "le61"}, 5),
    ({"code": "8867-4", "value-quantity": "gt98||%"}, 0),
    ({"code": "2708-6", "date": "2026-11-24"}, 101),
    ({"code": "2708-6", "date": "2026-11-23"}, 0),
    ({"code": "8867-4", "date": "ge2026-11-24T02:13:12Z"}, 2),
    ({"code": "8867-4", "date": ["ge2026-11-24T01:43:20Z", "lt2026-11-24T01:43:30Z"]}, 10),
    ({"code": "8867-4", "date": "eq2026-11-24T01:43:20Z"}, 1),
    ({"code": "8867-4", "date": "le2026-11-24T01:43:13Z"}, 1),
    ({"code": "8867-4", "_lastUpdated": "lt2026-11-24T01:43:14Z"}, 1),
    ({"code": "8867-4", "date": "ne2026-11-24T01:43:20Z"}, 101),
    ({"code": "8867-4", "date": ["ge2026-11-24T02:13:12Z", "ne2026-11-24"]}, 0),
    ({"code": "8867-4", "_lastUpdated": "ne2026"}, 0),
]


@pytest.mark.parametrize(("parameters", "expected"), SEARCHES)
async def test_each_parameter_finds_what_it_means(ward, parameters, expected):
    _, ehr, (ann, _, _) = ward
    for order in ("date", "-date"):
        found = await pages(
            ehr, "/Observation", patient=f"Patient/{ann}", _sort=order, _count="500", **parameters
        )
        assert len(found) == expected
    counted = await search(ehr, "/Observation", patient=ann, _summary="count", **parameters)
    assert counted["total"] == expected
    assert "entry" not in counted


async def test_a_search_posted_as_a_form_is_the_same(ward):
    _, ehr, (ann, _, _) = ward
    answer = await ehr.post("/Observation/_search", data={"patient": ann, "code": "85354-9"})
    assert [one["code"]["coding"][0]["code"] for one in resources(answer.json())] == ["85354-9"]


async def test_includes_bring_what_is_referenced_once(ward):
    _, ehr, (ann, _, _) = ward
    wanted = ["Observation:patient", "Observation:device", "Observation:encounter"]
    bundle = await search(
        ehr, "/Observation", patient=ann, code="8867-4,85354-9", _count="20", _include=wanted
    )
    kinds = Counter(one["resourceType"] for one in resources(bundle, "include"))
    assert kinds == {"Patient": 1, "Encounter": 1, "DeviceMetric": 2}
    assert validate(bundle) == []


async def test_an_observation_is_read_by_its_id_and_known_by_its_version(ward):
    _, ehr, (ann, _, _) = ward
    found = await pages(ehr, "/Observation", patient=ann, _count="100")
    for one in found[::25]:
        answer = await ehr.get(f"/Observation/{one['id']}")
        assert answer.json() == one
        etag = answer.headers["etag"]
        assert etag == f'W/"{one["meta"]["versionId"]}"'
        again = await ehr.get(f"/Observation/{one['id']}", headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
    by_id = await search(ehr, "/Observation", _id=",".join(one["id"] for one in found[:3]))
    assert resources(by_id) == found[:3]


async def test_a_corrected_stay_corrects_whose_observation_it_is(hub, ehr):
    ann, bob, _ = await ward_of_two(hub)
    (one,) = resources(await search(ehr, "/Observation", patient=ann, code="85354-9"))
    (stay,) = await hub.registry.stays(ann)
    from hub.ward.model import PeriodChange

    change = PeriodChange(patient=bob)
    (bobs,) = await hub.registry.stays(bob)
    await hub.registry.correct_periods(
        [("stay", stay.id, change), ("stay", bobs.id, PeriodChange(patient=ann))], who="n", why="mixed up"
    )
    corrected = (await ehr.get(f"/Observation/{one['id']}")).json()
    assert corrected["id"] == one["id"]
    assert corrected["subject"]["reference"] == f"Patient/{bob}"
    assert corrected["meta"]["versionId"] != one["meta"]["versionId"]
    assert not resources(await search(ehr, "/Observation", patient=ann, code="85354-9"))


async def newest_of(hub, device, group, start_ns, end_ns, most=1):
    """The newest readings of a group as the store has them, by reading everything."""
    readings = await hub.store.readings("main", device, start_ns, end_ns, 1_000_000)
    return [one.time_ns for one in reversed(readings) if group in {g.name for g in groups_in(one)}][:most]


@pytest.mark.parametrize("restarted", [False, True])
async def test_lastn_equals_the_store(hub, ehr, restarted):
    ann, _, _ = await ward_of_two(hub)
    if restarted:
        hub.forget()
    for most in (1, 3):
        bundle = await search(ehr, "/Observation/$lastn", patient=ann, category="vital-signs", max=str(most))
        by_group = {}
        for one in resources(bundle):
            _, at, group = one["id"].split(".")
            by_group.setdefault(group, []).append(int(at, 16))
        assert set(by_group) == {"heart-rate", "spo2", "respiratory-rate", "blood-pressure"}
        for group, times in by_group.items():
            assert times == await newest_of(hub, "mon-1", group, NOW - HOUR, NOW, most)
    codes = await search(ehr, "/Observation/$lastn", patient=ann, code="2708-6")
    (absent,) = resources(codes)
    assert absent["dataAbsentReason"]["coding"][0]["code"] == "error"


async def test_lastn_of_a_device_and_of_a_patient_who_left(ward):
    _, ehr, (_, _, cid) = ward
    bundle = await search(ehr, "/Observation/$lastn", subject="Device/main..pump-1", category="therapy")
    assert {one["id"].split(".")[2] for one in resources(bundle)} == {"pump-flow-rate", "pump-status"}
    bundle = await search(ehr, "/Observation/$lastn", patient=cid, category="vital-signs")
    assert [one["valueQuantity"]["value"] for one in resources(bundle)] == [50]


async def test_waveforms_are_found_by_code_alone_and_read_by_id(hub, ehr):
    ann, _, _ = await ward_of_two(hub)
    windows = tuple(
        Waveform(
            "main", "mon-1", "ecg_ii", NOW - MINUTE + n * SECOND, NOW, n, 250.0, 0.005, 0.0, "mV", [1.0, None]
        )
        for n in range(5)
    )
    await hub.write(waveforms=windows)
    for order in ("date", "-date"):
        found = await pages(ehr, "/Observation", patient=ann, code="131330", _count="2", _sort=order)
        starts = [one["effectivePeriod"]["start"] for one in found]
        assert len(starts) == 5
        assert starts == sorted(starts, reverse=order == "-date")
    one = await ehr.get(f"/Observation/{found[0]['id']}")
    assert one.json() == found[0]
    assert not [one for one in await pages(ehr, "/Observation", patient=ann) if "valueSampledData" in one]
    assert (await search(ehr, "/Observation", patient=ann, code="131330", _summary="count"))["total"] == 5


async def test_early_warning_scores_are_found_by_their_code_and_read_by_id(hub, ehr):
    ann = await hub.admit("Ann", "icu-01")
    full = Inputs(
        respiratory_rate=16,
        spo2=96,
        on_oxygen=False,
        systolic=120,
        pulse=95,
        consciousness="A",
        temperature=37.0,
    )
    hub.assessments[ann] = [
        Assessment(NOW - 3 * MINUTE, score(Inputs(respiratory_rate=26)), {}, {}),
        Assessment(NOW - 2 * MINUTE, None, {}, {}, "NEWS2 is not for use in pregnancy"),
        Assessment(NOW - MINUTE, score(full), {}, {}),
    ]
    code = "http://snomed.info/sct|1104051000000101"
    for order in ("date", "-date"):
        found = await pages(ehr, "/Observation", patient=ann, code=code, _count="1", _sort=order)
        assert len(found) == 2
        assert all(validate(one) == [] for one in found)
    assert found[0]["valueInteger"] == 1
    assert found[0]["encounter"]["reference"].startswith("Encounter/stay-")
    assert "valueInteger" not in found[1]
    assert (await ehr.get(f"/Observation/{found[0]['id']}")).json() == found[0]
    assert (await ehr.get("/Observation/news2..x..y")).status_code == 404
    recent = await search(ehr, "/Observation", patient=ann, code=code, date="ge2026-11-24T02:41:30Z")
    assert recent["total"] == 1
    assert not await pages(ehr, "/Observation", code=code)


async def test_everything_holds_the_stay_the_devices_and_all_observations_once(ward):
    _, ehr, (ann, _, _) = ward
    found = await pages(ehr, f"/Patient/{ann}/$everything", _count="100")
    kinds = Counter(one["resourceType"] for one in found)
    assert kinds == {
        "Patient": 1,
        "Encounter": 1,
        "Device": 2,
        "DetectedIssue": 1,
        "Flag": 1,
        "Observation": 324,
    }
    assert len({(one["resourceType"], one["id"]) for one in found}) == len(found)


async def test_every_resource_that_is_served_is_valid(ward):
    _, ehr, _ = ward
    if missing():
        pytest.skip(missing())
    second = SecondValidator()
    try:
        checked = Counter()
        for kind in (
            "Patient",
            "Location",
            "Encounter",
            "Device",
            "DeviceMetric",
            "DetectedIssue",
            "Flag",
            "AuditEvent",
        ):
            bundle = await search(ehr, f"/{kind}", _count="200")
            assert validate(bundle) == []
            for one in resources(bundle):
                assert validate(one) == []
                assert second.faults(one) == []
                answer = await ehr.get(f"/{kind}/{one['id']}")
                assert answer.json() == one
                checked[kind] += 1
        for one in await pages(ehr, "/Observation", _count="200"):
            if checked[one["code"]["text"]] < 3:
                assert second.faults(one) == []
                checked[one["code"]["text"]] += 1
        statement = (await ehr.get("/metadata")).json()
        assert validate(statement) == []
        assert second.faults(statement) == []
    finally:
        second.close()
    assert all(checked[kind] for kind in ("Patient", "Location", "Encounter", "Device", "DeviceMetric"))
    assert all(checked[kind] for kind in ("DetectedIssue", "Flag", "AuditEvent", "Infusion rate"))


KINDS = [
    ("Patient", {"identifier": "urn:oid:1.2.36.146.595.217.0.1|1"}, 1),
    ("Patient", {"identifier": "1"}, 1),
    ("Patient", {"identifier": "other|1"}, 0),
    ("Patient", {"name": "an"}, 1),
    ("Patient", {"birthdate": "1950-02-03"}, 3),
    ("Patient", {"birthdate": "lt1950"}, 0),
    ("Patient", {"active": "true"}, 3),
    ("Location", {"type": "bd"}, 4),
    ("Location", {"partof": "Location/ward..main..icu"}, 4),
    ("Location", {"partof": "Location/ward..main..icu", "type": "ro"}, 1),
    ("Location", {"partof": "Location/site..main", "type": "ro", "name": "way"}, 1),
    ("Location", {"identifier": "urn:wardhub:location|main/zone:icu-01"}, 1),
    ("Location", {"operational-status": "O"}, 2),
    ("Location", {"identifier": "urn:wardhub:location|main/icu/icu_03"}, 1),
    ("Encounter", {"status": "in-progress"}, 2),
    ("Encounter", {"status": "finished"}, 1),
    ("Encounter", {"location": "Location/bed..main..icu-01"}, 2),
    ("Encounter", {"date": "ge2026-11-24T02:00:00Z"}, 2),
    ("Device", {"identifier": "urn:wardhub:device|main/pump-1"}, 1),
    ("Device", {"location": "bed..main..icu-01"}, 2),
    ("Device", {"type": "69985"}, 1),
    ("Device", {"status": "active"}, 4),
    ("DeviceMetric", {"source": "Device/main..pump-1"}, 2),
    ("DeviceMetric", {"type": "8867-4"}, 2),
    ("DetectedIssue", {"code": "limit_low"}, 1),
    ("DetectedIssue", {"identified": "ge2026-11-24"}, 2),
    ("Flag", {"author": "Device/main..mon-1"}, 2),
]


@pytest.mark.parametrize(("kind", "parameters", "expected"), KINDS)
async def test_other_kinds_are_found_by_their_parameters(ward, kind, parameters, expected):
    _, ehr, _ = ward
    bundle = await search(ehr, f"/{kind}", **parameters)
    assert bundle["total"] == len(resources(bundle)) == expected
    assert len(await pages(ehr, f"/{kind}", _count="1", **parameters)) == expected


async def test_what_has_a_time_comes_in_its_order_page_by_page(ward):
    _, ehr, (ann, _, _) = ward
    for _ in range(12):
        assert (await ehr.get(f"/Patient/{ann}")).status_code == 200
    newest = await pages(ehr, "/AuditEvent", patient=ann, subtype="read", _sort="-date", _count="5")
    numbers = [int(one["id"].removeprefix("access-")) for one in newest]
    assert len(numbers) >= 12
    assert numbers == sorted(numbers, reverse=True)
    oldest = await pages(ehr, "/AuditEvent", patient=ann, subtype="read", _sort="date", _count="5")
    assert [one["id"] for one in oldest] == [one["id"] for one in reversed(newest)]
    begun = await pages(ehr, "/Encounter", _sort="date", _count="1")
    starts = [one["period"]["start"] for one in begun]
    assert len(starts) > 1
    assert starts == sorted(starts)


async def test_a_devices_patient_comes_along(ward):
    _, ehr, (ann, _, _) = ward
    bundle = await search(
        ehr, "/Device", patient=f"Patient/{ann}", _include=["Device:patient", "Device:location"]
    )
    assert Counter(one["resourceType"] for one in resources(bundle)) == {"Device": 2}
    assert Counter(one["resourceType"] for one in resources(bundle, "include")) == {
        "Patient": 1,
        "Location": 1,
    }


BAD = [
    ("/Observation?colour=red", 400, "colour"),
    ("/Observation?code:in=x&patient=p", 400, "code:in"),
    ("/Observation?patient=nobody", 404, "patient"),
    ("/Observation?date=yesterday", 400, "date"),
    ("/Observation?date=zz2026", 400, "date"),
    ("/Observation?_count=-1", 400, "_count"),
    ("/Observation?_count=1e3", 400, "_count"),
    ("/Observation?_sort=code", 400, "_sort"),
    ("/Observation?_cursor=AAAA", 400, "_cursor"),
    ("/Observation?_include=Observation:performer", 400, "_include"),
    ("/Observation?_summary=text", 400, "_summary"),
    ("/Observation?value-quantity=high", 400, "value-quantity"),
    ("/Observation?value-quantity=5|http://x|g", 400, "value-quantity"),
    ("/Observation?subject=Group/1", 400, "subject"),
    ("/Observation?code=", 400, "code"),
    ("/Observation/$lastn?category=vital-signs", 400, "patient"),
    ("/Observation/$lastn?patient=p", 400, "code"),
    ("/Observation/$lastn?subject=p&code=1", 404, "subject"),
    ("/Observation?encounter=stay-99", 404, "encounter"),
    ("/Flag?patient=nobody", 404, "patient"),
    ("/AuditEvent?patient=nobody", 404, "patient"),
    ("/Observation/nothing", 404, "Observation.id"),
    ("/Observation/aaaaaaaaaaaaa.18eadaff71e65992.heart-rate", 404, "Observation.id"),
    ("/Subscription/nothing", 404, "Subscription.id"),
    ("/Patient/nobody", 404, "Patient.id"),
    ("/Patient?_sort=date", 400, "_sort"),
    ("/Device/nothing", 404, "Device.id"),
    ("/Location/nothing", 404, "Location.id"),
    ("/Patient?_sort=name", 400, "_sort"),
    ("/Encounter/stay-99", 404, "Encounter.id"),
    ("/AuditEvent/access-x", 404, "AuditEvent.id"),
    ("/DeviceMetric/main..mon-1..colour", 404, "DeviceMetric.id"),
    ("/Medication", 404, ""),
    ("/Observation/a%0Ab/$events", 404, ""),
    ("/Patient/p/$everything?colour=x", 400, "colour"),
]


@pytest.mark.parametrize(("path", "status", "expression"), BAD)
async def test_what_cant_be_done_is_told_with_where_and_why(ward, path, status, expression):
    _, ehr, _ = ward
    answer = await ehr.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/fhir+json"
    outcome = answer.json()
    assert validate(outcome) == []
    assert outcome["issue"][0]["diagnostics"]
    assert outcome["issue"][0].get("expression", [""]) == [expression]


async def test_an_unknown_parameter_is_left_out_where_the_client_is_lenient(ward):
    _, ehr, _ = ward
    answer = await ehr.get("/Patient?colour=red", headers={"Prefer": "handling=lenient"})
    assert answer.status_code == 200
    assert "colour" not in answer.json()["link"][0]["url"]


async def test_the_paging_of_10_000_observations_gives_each_once(hub, ehr):
    ann = await hub.admit("Ann", "icu-01", NOW - 3 * HOUR)
    for part in range(5):
        await hub.write(
            *(
                vitals(
                    part * 2000 + n,
                    NOW - 3 * HOUR + (part * 2000 + n) * SECOND,
                    heart_rate=float(n % 50 + 50),
                )
                for n in range(2000)
            )
        )
    found = await pages(ehr, "/Observation", patient=ann, code="8867-4", _count="1000")
    assert len(found) == len({one["id"] for one in found}) == 10_000


async def test_large_answers_are_compressed_where_the_client_wants_it(ward):
    _, ehr, (ann, _, _) = ward
    answer = await ehr.get("/Observation", params={"patient": ann, "_count": "100"})
    assert answer.headers["content-encoding"] == "gzip"
    plain = await ehr.get(
        "/Observation", params={"patient": ann, "_count": "100"}, headers={"Accept-Encoding": "identity"}
    )
    assert "content-encoding" not in plain.headers
    assert len(json.dumps(plain.json())) > 10_000

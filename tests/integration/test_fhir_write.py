"""How an EHR tells who lies where: conditional PUT, transactions, $validate, versions, access, audit."""

import asyncio
import base64
import json
from collections import Counter

import pytest

from hub.api.fhir.changes import WRITABLE
from hub.api.fhir.forgetting import Forgetting
from hub.api.fhir.kinds import KINDS
from hub.api.fhir.ledger import Subscribed
from hub.erasure import finish_erasures
from hub.fhir.validate import validate
from tests.fhir_broken import BROKEN, BROKEN_BEYOND, HEART_RATE
from tests.fhir_hub import MINUTE, MRN, NOW, SECOND, fhir_hub, vitals

pytestmark = pytest.mark.integration

VISIT = "urn:oid:1.2.3.visit"
FHIR = {"Content-Type": "application/fhir+json"}


@pytest.fixture
async def hub(tmp_path):
    async with fhir_hub(tmp_path) as hub:
        yield hub


@pytest.fixture
async def ehr(hub):
    async with await hub.client() as client:
        yield client


def person(mrn="77", family="Chalmers", **more):
    return {
        "resourceType": "Patient",
        "identifier": [{"system": MRN, "value": mrn}],
        "name": [{"use": "official", "family": family, "given": ["Peter"]}],
        **more,
    }


def stay(subject, bed="icu-01", visit="V1", status="in-progress", **more):
    return {
        "resourceType": "Encounter",
        "identifier": [{"system": VISIT, "value": visit}],
        "status": status,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": subject},
        "location": [{"location": {"reference": f"Location/bed..main..{bed}"}, "status": "active"}],
        **more,
    }


async def put(client, path, resource, status=200, **headers):
    answer = await client.put(path, json=resource, headers=headers)
    assert answer.status_code == status, answer.text
    return answer


async def test_a_patient_is_created_once_and_then_updated(hub, ehr):
    first = await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201)
    created = first.json()
    assert created["name"] == [{"text": "Peter Chalmers"}]
    assert first.headers["location"].endswith(f"/fhir/Patient/{created['id']}")
    again = await put(ehr, f"/Patient?identifier={MRN}|77", person(family="Windsor", birthDate="1974-12-25"))
    assert again.json()["id"] == created["id"]
    assert again.json()["birthDate"] == "1974-12-25"
    assert again.json()["meta"]["versionId"] != created["meta"]["versionId"]
    assert len(await hub.registry.patients()) == 1
    by_id = await put(ehr, f"/Patient/{created['id']}", person(family="Third"))
    assert by_id.json()["name"] == [{"text": "Peter Third"}]


async def test_an_identifier_of_the_address_is_kept_though_the_body_lacks_it(hub, ehr):
    await put(ehr, f"/Patient?identifier={MRN}|9", {"resourceType": "Patient", "name": [{"text": "A"}]}, 201)
    await put(ehr, f"/Patient?identifier={MRN}|9", {"resourceType": "Patient", "name": [{"text": "B"}]}, 200)


async def test_a_change_of_another_version_than_was_seen_is_refused(hub, ehr):
    one = (await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201)).json()
    path, seen = f"/Patient/{one['id']}", f'W/"{one["meta"]["versionId"]}"'
    await put(ehr, path, person(family="Windsor"), 200, **{"If-Match": seen})
    await put(ehr, path, person(family="Third"), 412, **{"If-Match": seen})


@pytest.mark.parametrize(
    ("prefer", "kind"), [("return=minimal", None), ("return=OperationOutcome", "OperationOutcome")]
)
async def test_the_answer_of_a_write_is_as_preferred(hub, ehr, prefer, kind):
    answer = await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201, Prefer=prefer)
    assert (answer.json()["resourceType"] if answer.content else None) == kind
    assert answer.headers["etag"]


async def test_an_encounter_admits_moves_and_discharges(hub, ehr):
    who = (await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201)).json()["id"]
    path = f"/Encounter?identifier={VISIT}|V1"
    admitted = (
        await put(ehr, path, stay(f"Patient/{who}", period={"start": "2026-11-24T01:00:00Z"}), 201)
    ).json()
    assert validate(admitted) == []
    assert hub.registry.placement("main", "mon-1").patient == who
    assert (await put(ehr, path, stay(f"Patient/{who}"))).json()["id"] == admitted["id"]
    moved = (await put(ehr, path, stay(f"Patient/{who}", bed="icu-02"))).json()
    assert moved["id"] == admitted["id"]
    assert [one["status"] for one in moved["location"]] == ["completed", "active"]
    assert hub.registry.placement("main", "mon-1").patient is None
    assert hub.registry.placement("main", "mon-2").patient == who
    ended = stay(f"Patient/{who}", bed="icu-02", status="finished", period={"end": "2026-11-24T03:00:00Z"})
    assert (await put(ehr, path, ended)).json()["period"]["end"] == "2026-11-24T03:00:00.000Z"
    hub.registry.refresh(NOW + 60 * MINUTE)
    assert hub.registry.placement("main", "mon-2").patient is None
    again = await put(ehr, path, stay(f"Patient/{who}"), 409)
    assert "new Encounter" in again.json()["issue"][0]["diagnostics"]


async def test_readings_follow_the_encounter(hub, ehr):
    await hub.write(*(vitals(n, NOW - 10 * MINUTE + n * SECOND) for n in range(100)))
    who = (await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201)).json()["id"]
    period = {"start": "2026-11-24T02:34:02Z"}  # 50 s after the first reading
    await put(ehr, f"/Encounter?identifier={VISIT}|V1", stay(f"Patient/{who}", period=period), 201)
    bundle = (
        await ehr.get("/Observation", params={"patient": who, "code": "8867-4", "_summary": "count"})
    ).json()
    assert bundle["total"] == 50


async def test_a_stay_that_was_entered_at_the_hub_is_taken_over(hub, ehr):
    who = await hub.admit("Ann", "icu-01")
    (own,) = await hub.registry.stays(who)
    answer = await put(ehr, f"/Encounter?identifier={VISIT}|V1", stay(f"Patient/{who}"), 201)
    assert answer.json()["id"] == f"stay-{own.id}"
    assert len(await hub.registry.stays(who)) == 1


async def test_a_bed_that_is_taken_is_a_conflict_and_nothing_changes(hub, ehr):
    await hub.admit("Ann", "icu-01")
    who = (await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201)).json()["id"]
    answer = await put(ehr, f"/Encounter?identifier={VISIT}|V1", stay(f"Patient/{who}"), 409)
    assert "is in bed icu-01" in answer.json()["issue"][0]["diagnostics"]
    assert await hub.registry.stays(who) == []


async def test_a_device_goes_where_it_is_put(hub, ehr):
    who = await hub.admit("Ann", "icu-01")
    device = {"resourceType": "Device", "location": {"reference": "Location/bed..main..icu-02"}}
    placed = (await put(ehr, "/Device?identifier=urn:wardhub:device|main/spare", device)).json()
    assert placed["location"]["reference"] == "Location/bed..main..icu-02"
    assert hub.registry.placement("main", "spare").bed == "icu-02"
    hub.clock.ns += SECOND
    worn = {"resourceType": "Device", "patient": {"reference": f"Patient/{who}"}}
    await put(ehr, f"/Device/{placed['id']}", worn)
    assert hub.registry.placement("main", "spare").bed == "icu-01"
    hub.clock.ns += SECOND
    await put(ehr, f"/Device/{placed['id']}", {"resourceType": "Device"})
    assert hub.registry.placement("main", "spare").bed is None


async def test_beds_and_devices_are_known_by_identifiers_of_the_ehr(hub, ehr):
    bed = {
        "resourceType": "Location",
        "identifier": [
            {"system": "urn:wardhub:location", "value": "main/icu/icu_03"},
            {"system": "urn:ehr:bed", "value": "B-3"},
        ],
    }
    named = await put(ehr, "/Location?identifier=urn:ehr:bed|B-3", bed)
    assert {one["value"] for one in named.json()["identifier"]} == {"main/icu/icu_03", "B-3"}
    who = (await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201)).json()["id"]
    encounter = stay(f"Patient?identifier={MRN}|77")
    encounter["location"] = [{"location": {"reference": "Location?identifier=urn:ehr:bed|B-3"}}]
    await put(ehr, f"/Encounter?identifier={VISIT}|V1", encounter, 201)
    (own,) = await hub.registry.stays(who)
    assert own.bed == "icu_03"


def entry(kind, condition, resource, url=None):
    return {
        **({"fullUrl": url} if url else {}),
        "resource": resource,
        "request": {"method": "PUT", "url": f"{kind}?identifier={condition}"},
    }


def admission(bed="icu-01", visit="V1"):
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            entry("Encounter", f"{VISIT}|{visit}", stay("urn:uuid:p", bed, visit)),
            entry("Patient", f"{MRN}|77", person(), "urn:uuid:p"),
            entry(
                "Device",
                "urn:wardhub:device|main/spare",
                {"resourceType": "Device", "patient": {"reference": "urn:uuid:p"}},
            ),
        ],
    }


async def test_a_transaction_applies_all_in_whatever_order_it_is_given(hub, ehr):
    answer = await ehr.post("", json=admission())
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert validate(bundle) == []
    assert [one["response"]["status"] for one in bundle["entry"]] == ["201", "201", "200"]
    who = bundle["entry"][1]["response"]["location"].removeprefix("Patient/")
    assert hub.registry.placement("main", "mon-1").patient == who
    assert hub.registry.placement("main", "spare").patient == who
    again = (await ehr.post("/", json=admission())).json()
    assert [one["response"]["status"] for one in again["entry"]] == ["200", "200", "200"]


async def test_a_transaction_that_fails_changes_nothing(hub, ehr):
    await hub.admit("Ann", "icu-01", mrn="1")
    answer = await ehr.post("", json=admission())
    assert answer.status_code == 409
    assert [one.name for one in await hub.registry.patients()] == ["Ann"]
    assert hub.registry.placement("main", "spare").bed is None


async def test_a_batch_applies_each_entry_by_itself(hub, ehr):
    await hub.admit("Ann", "icu-01", mrn="1")
    batch = {**admission(), "type": "batch"}
    batch["entry"] = [
        batch["entry"][1],
        {"request": {"method": "DELETE", "url": "Patient/1"}, "resource": {}},
    ]
    bundle = (await ehr.post("", json=batch)).json()
    assert [one["response"]["status"] for one in bundle["entry"]] == ["201", "400"]
    assert bundle["entry"][1]["resource"]["resourceType"] == "OperationOutcome"


def at_location(text):
    return {"resourceType": "Device", "location": {"reference": f"Location/{text}"}}


BAD = [
    ("PUT", "/Patient/p", person(), 405),
    ("PUT", "/Patient?name=A", person(), 412),
    ("PUT", "/Patient", person(), 412),
    ("PUT", "/Patient?identifier=|", person(), 412),
    ("PUT", f"/Patient?identifier={MRN}|7", {"resourceType": "Patient"}, 422),
    ("PUT", f"/Patient?identifier={MRN}|7", {"resourceType": "Device"}, 400),
    ("PUT", f"/Patient?identifier={MRN}|7", {"resourceType": "Patient", "gender": "f"}, 400),
    ("PUT", f"/Encounter?identifier={VISIT}|7", stay("Patient/nobody"), 422),
    ("PUT", f"/Encounter?identifier={VISIT}|7", stay(""), 400),
    ("PUT", "/Location?identifier=urn:x|1", {"resourceType": "Location"}, 422),
    ("PUT", "/Device?identifier=urn:x|1", {"resourceType": "Device"}, 422),
    ("PUT", "/Device/main..mon-1", at_location("ward..main..icu"), 422),
    ("PUT", "/Device/main..mon-1", at_location("x"), 422),
    ("PUT", "/Observation/x", HEART_RATE, 405),
    ("POST", "", {"resourceType": "Bundle", "type": "collection"}, 400),
    ("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": person()}]}, 400),
    ("POST", "", {"resourceType": "Patient"}, 400),
    ("POST", "/Patient", person(), 405),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "resource", "status"), BAD)
async def test_what_cant_be_taken_is_refused_with_where_and_why(hub, ehr, method, path, resource, status):
    answer = await ehr.request(method, path, json=resource)
    assert answer.status_code == status, answer.text
    assert validate(answer.json()) == []
    assert await hub.registry.patients() == []


async def test_other_media_types_and_broken_json_are_refused(hub, ehr):
    path = f"/Patient?identifier={MRN}|7"
    assert (
        await ehr.put(path, content=b"<Patient/>", headers={"Content-Type": "text/xml"})
    ).status_code == 415
    assert (await ehr.put(path, content=b"{", headers=FHIR)).status_code == 400
    assert (await ehr.put(path, content=b"[]", headers=FHIR)).status_code == 400
    assert (await ehr.put(path, content=b"\xff", headers=FHIR)).status_code == 400
    assert (await ehr.get("/Patient", headers={"Accept": "application/fhir+xml"})).status_code == 406
    assert (await ehr.get("/Patient?_format=xml")).status_code == 406
    assert (await ehr.get("/Patient?_format=json")).status_code == 200
    large = await ehr.put(path, content=b" " * (3 << 20), headers=FHIR)
    assert large.status_code == 413


EXAMPLES = {
    "SearchParameter": 56,
    "Observation": 16,
    "DeviceRequest": 4,
    "Bundle": 3,
    "Communication": 3,
    "Device": 2,
    "Flag": 2,
    "DeviceDefinition": 1,
    "DeviceMetric": 1,
    "DeviceUseStatement": 1,
    "Patient": 1,
}
"""How many of the 90 official examples there are of each kind; none of an Encounter or a Location."""
OWN_FAULTS = {"Bundle-father.json", "DeviceMetric-example.json", "DeviceUseStatement-example.json"}
"""What breaks R4's own rules; tests/unit/fhir/test_fhir_validate.py says how."""
PUT = {
    "Patient-example.json": "Patient?identifier=urn:oid:1.2.36.146.595.217.0.1|12345",
    # Devices enter when they first send: an example gives one that is there another identifier.
    "Device-example.json": "Device?identifier=urn:wardhub:device|main/spare",
    "Device-f001.json": "Device?identifier=urn:wardhub:device|main/mon-2",
}


def examples(recorded):
    paths = sorted((recorded / "fhir" / "r4_examples").glob("*.json"))
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


async def test_every_official_example_goes_through_validate(hub, ehr, recorded):
    kinds = Counter()
    for name, resource in examples(recorded).items():
        kinds[resource["resourceType"]] += 1
        answer = await ehr.post("/$validate", json=resource)
        assert answer.status_code == 200
        severities = {one["severity"] for one in answer.json()["issue"]}
        assert ("error" in severities) == (name in OWN_FAULTS), name
    assert kinds == EXAMPLES


async def test_every_official_example_of_a_kind_that_is_taken_goes_through_put_and_read(hub, ehr, recorded):
    taken = {name: one for name, one in examples(recorded).items() if one["resourceType"] in WRITABLE}
    assert set(taken) == set(PUT)
    for name, resource in taken.items():
        created = resource["resourceType"] == "Patient"
        kept = (await put(ehr, f"/{PUT[name]}", resource, 201 if created else 200)).json()
        again = (await ehr.get(f"/{resource['resourceType']}/{kept['id']}")).json()
        assert again == kept
        assert validate(again) == []
        given = {(one["system"], one["value"]) for one in resource["identifier"]}
        assert given <= {(one["system"], one["value"]) for one in again["identifier"]}
        path, wanted = f"/{resource['resourceType']}", {"identifier": "|".join(*given)}
        assert [one["resource"] for one in (await ehr.get(path, params=wanted)).json()["entry"]] == [again]
        # Again by its id, and as the same.
        same = {**resource, "id": kept["id"]}
        assert (await put(ehr, f"{path}/{kept['id']}", same)).json() == kept
    (patient,) = await hub.registry.patients()
    assert (patient.name, str(patient.birth_date)) == ("Peter James Chalmers", "1974-12-25")


async def test_an_official_example_of_another_kind_is_refused_and_changes_nothing(hub, ehr, recorded):
    walked = Counter()
    for name, resource in examples(recorded).items():
        kind = resource["resourceType"]
        if kind in WRITABLE:
            continue
        if kind == "Bundle":
            # Of a collection, a document, and reports to create.
            answer = await ehr.post("", json=resource)
            assert answer.status_code == 400, name
        else:
            answer = await ehr.put(f"/{kind}/{resource['id']}", json=resource)
            assert answer.status_code == (405 if kind in ("Observation", *KINDS) else 404), name
        assert answer.json()["resourceType"] == "OperationOutcome"
        walked[kind] += 1
    assert sum(walked.values()) == 87
    assert await hub.registry.patients() == []


@pytest.mark.parametrize("patient_first", [True, False])
async def test_the_example_patient_lies_where_the_ehr_says(hub, ehr, recorded, patient_first):
    """An Encounter and a Location of the same make as the examples, which has none of them."""
    patient = examples(recorded)["Patient-example.json"]
    bed = {
        "resourceType": "Location",
        "id": "example",
        "identifier": [
            {"system": "urn:wardhub:location", "value": "main/icu/icu-01"},
            {"value": "B1-S.F2", "system": "urn:ehr:bed"},
        ],
        "status": "active",
        "mode": "instance",
        "name": "South Wing, second floor",
    }
    encounter = {
        **stay("urn:uuid:patient"),
        "id": "example",
        "location": [{"location": {"reference": "Location?identifier=urn:ehr:bed|B1-S.F2"}}],
    }
    await put(ehr, "/Location?identifier=urn:wardhub:location|main/icu/icu-01", bed)
    entries = [
        entry("Patient", f"{MRN}|12345", patient, "urn:uuid:patient"),
        entry("Encounter", f"{VISIT}|V1", encounter),
    ]
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": entries[:: 1 if patient_first else -1],
    }
    answer = await ehr.post("", json=bundle)
    assert answer.status_code == 200, answer.text
    for one in answer.json()["entry"]:
        read = await ehr.get("/" + one["response"]["location"])
        assert validate(read.json()) == []
    assert hub.registry.placement("main", "mon-1").patient is not None
    found = (await ehr.get("/Location", params={"identifier": "urn:ehr:bed|B1-S.F2"})).json()
    assert found["entry"][0]["resource"]["operationalStatus"]["code"] == "O"


@pytest.mark.parametrize("kind", [*BROKEN, *BROKEN_BEYOND])
async def test_validate_tells_what_is_broken(hub, ehr, kind):
    broken = {**BROKEN, **BROKEN_BEYOND}[kind]
    answer = await ehr.post("/$validate", json=broken)
    assert answer.status_code == 200
    assert answer.json()["issue"][0]["severity"] == "error"
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": broken}]}
    assert (await ehr.post("/$validate", json=wrapped)).json() == answer.json()


async def test_validate_of_a_kind_wants_that_kind(hub, ehr):
    assert (await ehr.post("/Observation/$validate", json=HEART_RATE)).json()["issue"][0][
        "severity"
    ] == "information"
    assert (await ehr.post("/Patient/$validate", json=HEART_RATE)).json()["issue"][0]["severity"] == "error"


# Access and audit.

ROLES = {
    "viewer": (403, 403, 403),
    "nurse": (200, 403, 403),
    "charge-nurse": (200, 201, 403),
    "biomed": (403, 403, 403),
    "it": (200, 201, 200),
}


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_what_its_scopes_say(hub, role):
    read, write, audit = ROLES[role]
    async with await hub.client(role) as client:
        assert (await client.get("/Observation?patient=x&_summary=count")).status_code == 404
        assert (await client.get("/Patient")).status_code == read
        assert (await client.put(f"/Patient?identifier={MRN}|1", json=person("1"))).status_code == write
        assert (await client.get("/AuditEvent")).status_code == audit


async def test_every_route_but_those_of_discovery_needs_a_token(hub):
    document = None
    async with hub.http() as nobody, hub.http("wh_wrong") as wrong:
        document = (await nobody.get("/openapi.json")).json()
        walked = 0
        for path, methods in document["paths"].items():
            for method in methods:
                where = path.replace("{id}", "x")
                answers = [await one.request(method.upper(), where) for one in (nobody, wrong)]
                if path in ("/metadata", "/.well-known/smart-configuration"):
                    assert [one.status_code for one in answers] == [200, 200]
                elif path != "/auth/token":
                    assert [one.status_code for one in answers] == [401, 401], (method, path)
                    assert answers[0].headers["www-authenticate"].startswith("Bearer")
                    walked += 1
        assert walked > 30


def basic(name, secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


async def test_a_program_gets_a_short_lived_token_of_the_scopes_it_asked_for(hub):
    secret = await hub.tokens.create("monitoring", "it")
    async with hub.http() as nobody:
        configuration = (await nobody.get("/.well-known/smart-configuration")).json()
        path = configuration["token_endpoint"].removeprefix("http://hub/fhir")
        form = {"grant_type": "client_credentials", "scope": "system/Observation.rs system/Patient.read"}
        answer = await nobody.post(path, data=form, headers=basic("monitoring", secret))
        granted = answer.json()
        assert granted["scope"] == "system/Observation.rs system/Patient.rs"
        assert granted["expires_in"] == 300
        for wrong in (basic("monitoring", "wh_x"), basic("other", secret), {}, {"Authorization": "Basic !"}):
            assert (await nobody.post(path, data=form, headers=wrong)).status_code == 401
        bad = await nobody.post(path, data={**form, "scope": "launch"}, headers=basic("monitoring", secret))
        assert bad.json()["error"] == "invalid_scope"
        assert (await nobody.post(path, data={"grant_type": "password"})).status_code == 400
    async with hub.http(granted["access_token"]) as program:
        assert (await program.get("/Patient")).status_code == 200
        refused = await program.get("/Device")
        assert refused.status_code == 403
        assert "system/Device.s" in refused.json()["issue"][0]["diagnostics"]
        assert (await program.put(f"/Patient?identifier={MRN}|1", json=person("1"))).status_code == 403
        # Nor does it open another token.
        again = await program.post(path, data=form, headers=basic("monitoring", granted["access_token"]))
        assert again.status_code == 401
    async with hub.http(granted["access_token"][:-2] + "AA") as forged:
        assert (await forged.get("/Patient")).status_code == 401


async def test_what_a_search_brings_along_must_be_allowed_too(hub):
    await hub.admit("Ann", "icu-01")
    await hub.write(vitals(1, NOW, heart_rate=72.0))
    async with await hub.client("viewer") as viewer:
        for path in (
            "/Observation?_include=Observation:patient",
            "/Observation?_include=Observation:subject",
            "/Encounter?_include=Encounter:patient",
        ):
            answer = await viewer.get(path)
            assert answer.status_code == 403, path
            assert "Ann" not in answer.text
        assert (await viewer.get("/Observation?_include=Observation:device")).json()["entry"]
    async with await hub.client("nurse") as nurse:
        assert "Ann" in (await nurse.get("/Observation?_include=Observation:patient")).text


async def test_a_scope_never_gives_more_than_the_role(hub):
    secret = await hub.tokens.create("viewer", "viewer")
    async with hub.http() as nobody:
        form = {"grant_type": "client_credentials", "scope": "system/*.cruds system/Patient.cruds"}
        answer = await nobody.post("/auth/token", data=form, headers=basic("viewer", secret))
    assert all(scope.endswith(".rs") for scope in answer.json()["scope"].split())


async def test_every_access_is_audited_with_who_what_whose_and_how_it_ended(hub, ehr):
    who = await hub.admit("Ann", "icu-01")
    await ehr.get("/Observation", params={"patient": who, "code": "8867-4"})
    await ehr.get(f"/Patient/{who}")
    await ehr.get("/Patient/nobody")
    async with hub.http("wh_wrong") as stranger:
        await stranger.get(f"/Patient/{who}")
    await put(ehr, f"/Patient/{who}", person())
    await ehr.post("/Patient/_search", data={"identifier": "12345"})
    bundle = (await ehr.get("/AuditEvent")).json()
    events = [one["resource"] for one in bundle["entry"]]
    assert all(validate(one) == [] for one in events)
    told = sorted(
        (
            one["subtype"][0]["code"],
            one["action"],
            one["outcome"],
            one["agent"][0]["who"]["display"],
            one["entity"][0]["name"].replace(who, "ID"),
        )
        for one in events
    )
    assert told == sorted(
        [
            ("search-type", "R", "0", "ehr-it", "Observation"),
            ("read", "R", "0", "ehr-it", "Patient/ID"),
            ("read", "R", "4", "ehr-it", "Patient/nobody"),
            ("read", "R", "4", "unknown", "Patient/ID"),
            ("update", "U", "0", "ehr-it", "Patient/ID"),
            ("search-type", "R", "0", "ehr-it", "Patient/_search"),
        ]
    )
    of_ann = (await ehr.get("/AuditEvent", params={"patient": who})).json()
    assert of_ann["total"] == 3


async def test_an_access_that_cant_be_recorded_is_answered_all_the_same(hub, ehr, caplog):
    await hub.ledger.stop()
    assert (await ehr.get("/Patient")).status_code == 200
    assert "could not be recorded" in caplog.text
    await hub.ledger.start()


async def test_many_puts_of_one_identifier_at_once_make_one_patient(hub, ehr):
    answers = await asyncio.gather(
        *(ehr.put(f"/Patient?identifier={MRN}|77", json=person()) for _ in range(8))
    )
    assert sorted(one.status_code for one in answers) == [200] * 7 + [201]
    assert len(await hub.registry.patients()) == 1


async def test_an_erased_patient_is_gone_from_the_ledger_and_the_access_stays(hub, ehr):
    who = (await put(ehr, f"/Patient?identifier={MRN}|77", person(), 201)).json()["id"]
    path = f"/Encounter?identifier={VISIT}|V-secret"
    await put(ehr, path, stay(f"Patient/{who}", visit="V-secret"), 201)
    content = b'{"resourceType":"Observation","text":"of-the-patient"}'
    await hub.ledger.keep_subscription("sub-1", b"{}")
    await hub.ledger.add_events([Subscribed("sub-1", 0, "Observation/x", who, NOW, content)], 10)
    await hub.registry.discharge(who, NOW + SECOND)
    hub.clock.ns += MINUTE
    periods = await hub.registry.erase_patient(who)
    await finish_erasures(
        hub.registry,
        [hub.store],
        hub.journal,
        hub.log,
        draining=False,
        others=[Forgetting(hub.registry, hub.ledger)],
    )
    assert periods
    (event,) = await hub.ledger.events("sub-1", 0, 10)
    assert (event.resource, event.patient) == (b"", None)
    kept = b"".join(file.read_bytes() for file in hub.ledger.path.parent.glob("fhir.sqlite*"))
    assert b"V-secret" not in kept
    assert b"of-the-patient" not in kept
    assert await hub.ledger.accesses(patient=who)
    assert (await ehr.get(f"/Patient/{who}")).status_code == 404

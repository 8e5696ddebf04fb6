"""Other people's FHIR software against the running interface: SMART's client and FHIRPath."""

import asyncio

import pytest
from fhirclient import client as smart
from fhirclient.models.encounter import Encounter
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirpathpy import evaluate
from fhirpathpy.models import models

from tests.fhir_hub import MINUTE, MRN, NOW, SECOND, fhir_hub, vitals
from tests.integration.test_fhir_subscriptions import served

pytestmark = pytest.mark.integration


class Ehr:
    """fhirclient with a bearer token; it blocks, so its calls run in threads."""

    def __init__(self, url, secret):
        self.client = smart.FHIRClient(settings={"app_id": "test", "api_base": f"{url}/fhir"})
        self.client.server.session.headers["Authorization"] = f"Bearer {secret}"

    async def every(self, kind, **struct):
        """Follow the pages."""

        def perform():
            return list(kind.where(struct=struct).perform_resources_iter(self.client.server))

        return await asyncio.to_thread(perform)

    async def read(self, kind, name):
        return await asyncio.to_thread(kind.read, name, self.client.server)


INVARIANTS = (
    "dataAbsentReason.empty() or value.empty()",
    "value.empty() or component.code.where(coding.intersect(%resource.code.coding).exists()).empty()",
    "component.exists() or hasMember.exists() or value.exists() or dataAbsentReason.exists()",
    "Observation.effective.toString().length() >= 8",
)
"""obs-6, obs-7, vs-2 and vs-1 of R4, as its definitions write them."""


def each(bundle, path):
    """What a FHIRPath gives on every resource of a bundle, one after another."""
    resources = [one["resource"] for one in bundle["entry"]]
    return [found for one in resources for found in evaluate(one, path, {"resource": one}, models["r4"])]


@pytest.fixture
async def hub(tmp_path):
    async with fhir_hub(tmp_path) as hub:
        yield hub


@pytest.fixture
async def ehr(hub):
    async with served(hub.api) as url:
        yield Ehr(url, await hub.tokens.create("smart", "nurse"))


async def test_fhirclient_finds_a_patient_and_what_devices_told_of_them(hub, ehr):
    ann = await hub.admit("Ann", "icu-01")
    await hub.write(*(vitals(n, NOW - 30 * MINUTE + n * SECOND, heart_rate=60.0 + n % 5) for n in range(500)))
    (who,) = await ehr.every(Patient, identifier=f"{MRN}|12345")
    assert (who.id, who.name[0].text, who.birthDate.isostring) == (ann, "Ann", "1950-02-03")
    (stay,) = await ehr.every(Encounter, patient=ann)
    assert stay.status == "in-progress"
    narrow = await ehr.every(
        Observation, patient=ann, code="http://loinc.org|8867-4", date="ge2026-11-24T02:15:12Z", _count="1000"
    )
    assert len(narrow) == 380
    assert {one.subject.reference for one in narrow} == {f"Patient/{ann}"}
    assert all(one.valueQuantity.unit == "/min" for one in narrow)
    again = await ehr.read(Observation, narrow[0].id)
    assert again.as_json() == narrow[0].as_json()


async def test_fhirclient_pages_through_10_000_observations_and_meets_each_once(hub, ehr):
    await hub.admit("Ann", "icu-01", NOW - 180 * MINUTE)
    for part in range(5):
        await hub.write(
            *(
                vitals(part * 2000 + n, NOW - 175 * MINUTE + (part * 2000 + n) * SECOND, heart_rate=70.0)
                for n in range(2000)
            )
        )
    (who,) = await ehr.every(Patient, name="Ann")
    found = await ehr.every(Observation, patient=who.id, code="8867-4", _count="500")
    assert len(found) == len({one.id for one in found}) == 10_000
    times = [one.effectiveDateTime.isostring for one in found]
    assert times == sorted(times, reverse=True)


async def test_fhirclient_asks_for_the_newest_and_gets_what_the_store_has(hub, ehr):
    ann = await hub.admit("Ann", "icu-01")
    await hub.write(*(vitals(n, NOW - 10 * MINUTE + n * SECOND) for n in range(100)))

    def lastn():
        server = ehr.client.server
        path = f"Observation/$lastn?patient={ann}&category=vital-signs&max=2"
        return server.request_json(path)

    bundle = await asyncio.to_thread(lastn)
    stored = await hub.store.newest("main", "mon-1", 0, 2**62, 2)
    for code, name in (("8867-4", "heart_rate"), ("2708-6", "spo2"), ("9279-1", "respiratory_rate")):
        path = f"Observation.where(code.coding.where(code = '{code}').exists()).value.value"
        assert each(bundle, path) == [one.values[name] for one in stored]


async def test_fhirpath_reads_what_is_served_and_its_invariants_hold(hub, ehr):
    ann = await hub.admit("Ann", "icu-01")
    await hub.write(
        vitals(1, NOW - MINUTE, nibp_systolic=120.0, nibp_diastolic=80.0, nibp_mean=93.0),
        vitals(2, NOW - MINUTE + SECOND, exceptions={"spo2": ("invalid", 200.0)}, heart_rate=71.0),
    )
    bundle = await asyncio.to_thread(ehr.client.server.request_json, f"Observation?patient={ann}")
    systolic = "Observation.component.where(code.coding.where(code = '8480-6').exists()).value.value"
    assert each(bundle, systolic) == [120]
    assert each(bundle, "Observation.dataAbsentReason.coding.code") == ["error"]
    vital = "Observation.category.coding.where(code = 'vital-signs').count()"
    assert each(bundle, vital) == [1, 1, 1]
    for invariant in INVARIANTS:
        assert each(bundle, invariant) == [True, True, True]
    broken = [{"resource": {**bundle["entry"][0]["resource"], "effectiveDateTime": "2026"}}]
    assert each({"entry": broken}, INVARIANTS[-1]) == [False]

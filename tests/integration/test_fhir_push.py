"""The store that sends, drained from a real journal, against an EHR that may be away."""

import asyncio
import json

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.api.fhir.interface import PushedWard
from hub.fhir.validate import validate
from hub.model import Batch
from hub.stores.drain import Drain
from hub.stores.fhir import FhirStore, FhirStoreSettings
from tests.fhir_hub import MINUTE, MRN, NOW, SECOND, fhir_hub, vitals
from tests.integration.test_fhir_subscriptions import served, until

pytestmark = pytest.mark.integration

BP = {"nibp_systolic": 120.0, "nibp_diastolic": 80.0}


class Ehr:
    """A FHIR server that takes batches of conditional PUTs: a resource of the same identifier is replaced."""

    def __init__(self):
        self.kept = {}
        self.puts = 0
        self.away = False
        self.refuses = ""
        self.most = 10_000

    async def take(self, request):
        if self.away:
            return Response(status_code=503)
        bundle = json.loads(await request.body())
        assert validate(bundle) == []
        if len(bundle["entry"]) > self.most:
            return Response(status_code=413)
        answers = []
        for entry in bundle["entry"]:
            resource = entry["resource"]
            if resource["code"].get("text") == self.refuses:
                answers.append({"response": {"status": "422"}})
                continue
            self.puts += 1
            self.kept[entry["request"]["url"]] = resource
            answers.append({"response": {"status": "201 Created"}})
        return JSONResponse({"resourceType": "Bundle", "type": "batch-response", "entry": answers})

    def of(self, text):
        return [one for one in self.kept.values() if one["code"].get("text") == text]

    def samples(self, text):
        """Every sample of a parameter by its time, and how often a time was told."""
        found = {}
        for one in self.of(text):
            from hub.fhir.times import nanoseconds

            start, data = nanoseconds(one["effectivePeriod"]["start"]), one["valueSampledData"]
            for step, sample in enumerate(data["data"].split()):
                if sample != "E":
                    at = (start + round(step * data["period"] * 1_000_000)) // SECOND
                    found.setdefault(at, []).append(float(sample))
        return found


@pytest.fixture
async def ehr():
    ehr = Ehr()
    async with served(Starlette(routes=[Route("/fhir", ehr.take, methods=["POST"])])) as url:
        ehr.url = f"{url}/fhir"
        yield ehr


@pytest.fixture
async def hub(tmp_path):
    async with fhir_hub(tmp_path) as hub:
        yield hub


def pushing(hub, ehr, **settings):
    store = FhirStore(
        FhirStoreSettings(url=ehr.url, window_s=10, **settings), PushedWard(hub.registry, hub.log, hub.ledger)
    )
    return store, Drain(hub.journal, store, linger_s=0.01, back_off_s=0.05)


async def tell(hub, *readings):
    """A row of the journal for each reading, received as it was determined."""
    for one in readings:
        await hub.journal.append(Batch(1, one.received_ns, [one], [], [], [], [], []))


class Running:
    """A drain at work."""

    def __init__(self, store, drain):
        self.store, self.drain = store, drain

    async def __aenter__(self):
        self.task = asyncio.create_task(self.drain.run())

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.store.stop()


async def test_numbers_go_as_windows_and_spot_readings_at_once(hub, ehr):
    await hub.admit("Ann", "icu-01")
    async with Running(*pushing(hub, ehr)):
        await tell(hub, vitals(1, NOW, **BP), vitals(2, NOW, acvpu="V"), vitals(3, NOW, glucose=5.5))
        await until(lambda: len(ehr.kept) == 3, "the spot readings")
        await tell(hub, *(vitals(n, NOW + n * SECOND, heart_rate=60.0 + n, spo2=97.0) for n in range(1, 31)))
        await until(lambda: len(ehr.samples("Heart rate")) >= 27, "the windows")
    hearts = ehr.samples("Heart rate")
    assert all(values == [60.0 + at - NOW // SECOND] for at, values in hearts.items())
    (pressure,) = ehr.of("Blood pressure, cuff")
    assert pressure["subject"]["identifier"] == {"system": MRN, "value": "12345"}
    assert pressure["device"]["identifier"] == {"system": "urn:wardhub:device", "value": "main/mon-1"}
    for one in ehr.kept.values():
        assert validate(one) == []
        assert "encounter" not in one


async def test_an_ehr_that_was_away_gets_everything_and_delays_nothing_else(hub, ehr):
    await hub.admit("Ann", "icu-01")
    store, drain = pushing(hub, ehr)
    other = Drain(hub.journal, hub.store, linger_s=0.01)
    task = asyncio.create_task(other.run())
    async with Running(store, drain):
        ehr.away = True
        await tell(hub, *(vitals(n, NOW + n * SECOND, heart_rate=60.0 + n % 40) for n in range(120)))
        await tell(hub, *(vitals(200 + n, NOW + n * SECOND, **BP) for n in range(0, 120, 30)))
        await until(lambda: drain.state == "down", "the outage")
        await until(lambda: other.cursor == hub.journal.newest, "the other store")
        assert not ehr.kept
        ehr.away = False
        await tell(hub, vitals(999, NOW + 200 * SECOND, heart_rate=1.0))
        await until(lambda: len(ehr.samples("Heart rate")) >= 120 and drain.state == "ok", "everything")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    hearts = ehr.samples("Heart rate")
    assert [len(hearts[NOW // SECOND + n]) for n in range(120)] == [1] * 120
    assert len(ehr.of("Blood pressure, cuff")) == 4


async def test_what_is_sent_again_after_a_crash_makes_nothing_twice(hub, ehr):
    await hub.admit("Ann", "icu-01")
    readings = [vitals(n, NOW + n * SECOND, heart_rate=60.0 + n) for n in range(60)]
    await tell(hub, *readings[:37])
    async with Running(*pushing(hub, ehr)):
        await until(lambda: len(ehr.samples("Heart rate")) >= 20, "two windows")
    # The windows that were open are lost with the first store; a new one begins at the journal's cursor.
    store, drain = pushing(hub, ehr)
    async with Running(store, drain):
        await tell(hub, *readings[37:], vitals(99, NOW + 90 * SECOND, heart_rate=1.0))
        await until(lambda: len(ehr.samples("Heart rate")) >= 60, "all of them")
    hearts = ehr.samples("Heart rate")
    assert all(hearts[NOW // SECOND + n] == [60.0 + n] for n in range(60))
    assert ehr.puts >= len(ehr.kept)


async def test_a_window_ends_where_another_patient_begins(hub, ehr):
    await hub.admit("Ann", "icu-01", NOW - MINUTE, mrn="1")
    (ann,) = [one.id for one in await hub.registry.patients()]
    await hub.registry.discharge(ann, NOW + 5 * SECOND)
    await hub.admit("Bob", "icu-01", NOW + 5 * SECOND, mrn="2")
    await tell(hub, *(vitals(n, NOW + n * SECOND, heart_rate=70.0) for n in range(8)))
    await tell(hub, vitals(99, NOW + 60 * SECOND, heart_rate=1.0))
    async with Running(*pushing(hub, ehr)):
        await until(lambda: len(ehr.samples("Heart rate")) >= 8, "the windows")
    counts = {}
    for one in ehr.of("Heart rate"):
        who = one["subject"]["identifier"]["value"]
        counts[who] = counts.get(who, 0) + len(one["valueSampledData"]["data"].split())
    assert (counts["1"], counts["2"]) == (5, 3)


async def test_a_refused_resource_is_left_out_and_counted(hub, ehr, caplog):
    await hub.admit("Ann", "icu-01")
    ehr.refuses, ehr.most = "Consciousness (ACVPU)", 2
    store, drain = pushing(hub, ehr)
    await tell(hub, vitals(1, NOW, **BP), *(vitals(n, NOW + n * SECOND, acvpu="A") for n in range(5)))
    await tell(hub, *(vitals(n, NOW + n * SECOND, glucose=5.0) for n in range(20, 27)))
    async with Running(store, drain):
        await until(lambda: store.sent == 8, "the others")
    assert store.refused == 5
    assert len(ehr.of("Glucose, blood")) == 7
    assert sum("refuses a resource" in one.message for one in caplog.records) == 1


async def test_alarms_go_with_the_next_row(hub, ehr):
    ann = await hub.admit("Ann", "icu-01")
    async with Running(*pushing(hub, ehr)):
        await tell(hub, vitals(1, NOW, **BP))
        await until(lambda: ehr.kept, "the first reading")
        await hub.alarm(of=ann)
        await tell(hub, vitals(2, NOW + SECOND, **BP))
        await until(lambda: ehr.of("SpO2 low"), "the alarm")
        await hub.alarm("end", of=ann)
        await tell(hub, vitals(3, NOW + 2 * SECOND, **BP))
        await until(lambda: ehr.of("SpO2 low")[0]["status"] == "final", "its end")
    (issue,) = ehr.of("SpO2 low")
    assert issue["patient"]["identifier"]["value"] == "12345"
    assert validate(issue) == []


async def test_nothing_is_read_from_it(hub, ehr):
    from hub.stores.store import StoreRefused

    store, _ = pushing(hub, ehr)
    for reading in (
        store.readings("main", "mon-1", 0, 1),
        store.site_readings("main", 0, 1),
        store.newest("main", "mon-1", 0, 1, 1),
        store.trend("main", "mon-1", "spo2", 0, 1, 1),
        store.totals("main", "mon-1"),
        store.waveforms("main", "mon-1", "ecg_ii", 0, 1),
    ):
        with pytest.raises(StoreRefused, match="only sends"):
            await reading


async def test_doctor_tells_whether_a_fhir_server_answers(hub, ehr):
    from hub.doctor import _try_sending
    from hub.settings import FhirPushSettings

    async def metadata(_request):
        return JSONResponse({"resourceType": "CapabilityStatement", "software": {"name": "an EHR"}})

    async with served(Starlette(routes=[Route("/fhir/metadata", metadata)])) as url:
        (finding,) = await _try_sending("store: fhir", FhirPushSettings(url=f"{url}/fhir"))
        assert (finding.level, finding.found) == ("ok", "an EHR answers")
    (finding,) = await _try_sending("store: fhir", FhirPushSettings(url=ehr.url))
    assert finding.level == "error"

"""Every kind of resource that the demo's ward produces, as a client gets it, under both validators."""

import asyncio
import contextlib
import json
import subprocess
import sys

import httpx
import pytest

from hub.api.fhir.kinds import KINDS
from hub.fhir.codes import GROUPS
from hub.fhir.validate import validate
from hub.vocabulary import PARAMETERS
from tests import fhir_check
from tests.servers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

OF_EACH = 25
"""Observations of each code that are looked at; all of every other kind are."""
BEDS = 3
WAVES = [
    group.code["coding"][0]["code"]
    for group in GROUPS.values()
    if PARAMETERS[group.members[0]].kind == "waveform"
]
SUBSCRIPTION = {
    "resourceType": "Subscription",
    "status": "requested",
    "reason": "test",
    "criteria": "urn:wardhub:topic:vitals",
    "channel": {"type": "websocket", "payload": "application/fhir+json"},
}


@pytest.fixture(scope="module")
def second_validator():
    if fhir_check.missing():
        pytest.skip(fhir_check.missing())
    validator = fhir_check.SecondValidator()
    yield validator
    validator.close()


@contextlib.asynccontextmanager
async def demo(folder):
    """`hub demo`, and a client of its FHIR interface that may read everything."""
    port = free_port()
    command = [sys.executable, "-m", "hub.cli", "demo", "--beds", str(BEDS), "--data-dir", str(folder)]
    command += ["--port", str(port), "--mqtt-port", str(free_port())]
    with (folder / "demo.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=f"{url}/fhir", timeout=30) as client:
            await until(lambda: answers(client), folder)
            config = folder / "hub.toml"
            config.write_text(f'data_dir = "{folder}"\n')
            made = await asyncio.to_thread(
                subprocess.run,
                [*command[:3], "token", "create", "--name", "t", "--role", "it", "--config", str(config)],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            )
            client.headers["Authorization"] = f"Bearer {made.stdout.strip()}"
            yield client
    finally:
        process.terminate()
        await process.wait()


async def answers(client):
    try:
        return (await client.get("/metadata")).status_code == 200
    except httpx.HTTPError:
        return False


async def until(holds, folder):
    for _ in range(240):
        if await holds():
            return
        await asyncio.sleep(0.5)
    raise AssertionError((folder / "demo.log").read_text()[-2000:])


async def every(client, path, **parameters):
    """Return the resources of a search, page by page, and the pages themselves."""
    found, pages = [], []
    url, asked = path, parameters
    while url:
        answer = await client.get(url, params=asked)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        found += [entry["resource"] for entry in pages[-1].get("entry", ())]
        links = {link["relation"]: link["url"] for link in pages[-1]["link"]}
        url, asked = links.get("next"), None
    return found, pages


async def test_every_kind_that_the_demo_ward_produces_is_valid(tmp_path, second_validator):
    async with demo(tmp_path) as client:

        async def told():
            # An alarm takes until its delay is over; waveforms, pumps and a pressure come within seconds.
            if (await client.get("/DetectedIssue?_summary=count")).status_code != 200:
                return False  # the hub has not seen the token yet
            numbers = []
            waves, pressure = (
                f"/Observation?code={','.join(WAVES)}",
                "/Observation?code=http://loinc.org|85354-9",
            )
            for path in ("/DetectedIssue", "/Flag", "/DeviceMetric", waves, pressure):
                answer = (await client.get(path)).json()
                numbers.append(len(answer.get("entry", ())))
            return all(numbers)

        await until(told, tmp_path)
        resources, pages = [], []
        for kind in KINDS:
            found, more = await every(client, f"/{kind}", _count="200")
            assert found, kind
            resources += found
            pages += more
        devices = [one for one in resources if one["resourceType"] == "Device"]
        patients = [one for one in resources if one["resourceType"] == "Patient"]
        for device in devices:
            answer = await client.get(
                "/Observation",
                params={
                    "device": f"Device/{device['id']}",
                    "_count": "1000",
                    "_include": ["Observation:device", "Observation:subject", "Observation:encounter"],
                },
            )
            resources += [entry["resource"] for entry in answer.json().get("entry", ())]
        for code in WAVES:
            answer = await client.get("/Observation", params={"code": code, "_count": "5"})
            resources += [entry["resource"] for entry in answer.json().get("entry", ())]
        for patient in patients:
            scores = {"patient": patient["id"], "code": "http://snomed.info/sct|1104051000000101"}
            answer = await client.get("/Observation", params=scores)
            resources += [entry["resource"] for entry in answer.json().get("entry", ())]
        lasting = {"patient": patients[0]["id"], "category": "vital-signs"}
        for path, parameters in (
            ("/Observation/$lastn", lasting),
            (f"/Patient/{patients[0]['id']}/$everything", {"_count": "20"}),
        ):
            pages.append((await client.get(path, params=parameters)).json())
        refused = await client.get("/Patient/nobody")
        made = await client.post("/Subscription", json=SUBSCRIPTION)
        assert made.status_code == 201, made.text
        status = await client.get(f"/Subscription/{made.json()['id']}/$status")
        others = [refused.json(), made.json(), status.json(), (await client.get("/metadata")).json()]
        exported = await export(client)
    assert {one["resourceType"] for one in exported} == {*KINDS, "Observation"} - {"AuditEvent"}
    picked = chosen(resources)
    kinds = {}
    for one in [*picked, *others, *pages, *chosen(exported)]:
        kinds[one["resourceType"]] = kinds.get(one["resourceType"], 0) + 1
        assert validate(one) == [], json.dumps(one)
        assert second_validator.faults(one) == [], json.dumps(one)
    assert set(kinds) == {
        *KINDS,
        "Observation",
        "Bundle",
        "OperationOutcome",
        "Subscription",
        "CapabilityStatement",
    }
    codes = {one["code"]["text"] for one in picked if one["resourceType"] == "Observation"}
    of_patients = {one["id"] for one in patients}
    print(sorted(kinds.items()), sorted(codes), len(of_patients))
    # Numbers, codes, texts, components and waveforms, of patients and of devices.
    values = {name for one in picked for name in one if name.startswith("value") or name == "component"}
    assert values >= {"valueQuantity", "valueCodeableConcept", "valueSampledData", "component"}
    assert {
        one["subject"]["reference"].partition("/")[0]
        for one in picked
        if one["resourceType"] == "Observation"
    } == {"Patient", "Device"}


async def export(client):
    """Return what an export of the ward gives."""
    begun = await client.get("/$export")
    assert begun.status_code == 202, begun.text
    job = begun.headers["content-location"]
    for _ in range(240):
        answer = await client.get(job)
        if answer.status_code == 200:
            break
        await asyncio.sleep(0.5)
    found = []
    for output in answer.json()["output"]:
        lines = (await client.get(output["url"])).text.splitlines()
        assert len(lines) == output["count"]
        found += [json.loads(line) for line in lines]
    return found


def chosen(resources):
    """Return each resource once, and of Observations OF_EACH of a code."""
    seen, counts, found = set(), {}, []
    for one in resources:
        name = (one["resourceType"], one["id"])
        if name in seen:
            continue
        seen.add(name)
        if one["resourceType"] == "Observation":
            # By what it has too: those without a value are few.
            shape = (one["code"]["text"], *sorted(one))
            counts[shape] = counts.get(shape, 0) + 1
            if counts[shape] > OF_EACH:
                continue
        found.append(one)
    return found

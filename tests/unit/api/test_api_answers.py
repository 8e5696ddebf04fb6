import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from hub.api.services import Part
from hub.ward.model import PeriodChange

SECOND = 1_000_000_000
NOW = 1_795_488_192 * SECOND
MINUTE = 60 * SECOND
START = "2026-11-24T02:00:00Z"
START_NS = 1_795_485_600 * SECOND
END = "2026-11-24T03:00:00Z"


def validator(api, path, status):
    document = api.openapi()
    (answer,) = document["paths"][path]["get" if "replay" not in path else "post"]["responses"][str(status)][
        "content"
    ].values()
    return Draft202012Validator(
        {**answer["schema"], "components": document["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


@pytest.fixture
def get(api, client):
    return getter(api, client)


def getter(api, client):
    """Get a path of the document, check the answer against it, return it."""

    async def get(path, status=200, params=None, **names):
        response = await client.get(path.format(**names), params=params)
        assert response.status_code == status, response.text
        validator(api, path, status).validate(response.json())
        return response.json()

    return get


def test_the_document_is_valid_openapi(api):
    document = json.loads(json.dumps(api.openapi()))
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_operation_says_what_it_does_and_how_it_fails(api):
    tags = {tag["name"] for tag in api.openapi()["tags"]}
    for path, methods in api.openapi()["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]
            assert set(operation["tags"]) <= tags
            if path.startswith("/api/v1"):
                assert "401" in operation["responses"]
                assert operation["security"] == [{"token": []}]
                problem = operation["responses"]["422"]["content"]["application/problem+json"]
                assert problem["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}


async def test_wards_with_their_beds(get):
    answer = await get("/api/v1/wards")
    assert {ward["ward"]: ward["beds"] for ward in answer["wards"]} == {
        "icu": ["icu-01", "icu-02"],
        "west": ["west-01"],
    }
    assert (await get("/api/v1/wards/{site}/{ward}", site="main", ward="icu"))["name"] == "Intensive care"
    assert (
        "no ward nope at main"
        in (await get("/api/v1/wards/{site}/{ward}", 404, site="main", ward="nope"))["detail"]
    )


async def test_beds_with_current_values_and_none_where_there_is_none(hospital, get):
    monitor = hospital.device()
    hospital.live.update(monitor, hospital.reading(NOW - 60 * SECOND, spo2=97.0))
    hospital.live.update(monitor, hospital.reading(heart_rate=72.0))
    answer = await get("/api/v1/beds")
    assert [bed["bed"] for bed in answer["beds"]] == ["icu-01", "icu-02", "west-01"]
    values = answer["beds"][0]["values"]
    assert (values["heart_rate"]["value"], values["heart_rate"]["quality"]) == (72.0, "valid")
    assert (values["spo2"]["value"], values["spo2"]["quality"]) == (None, "stale")
    assert len((await get("/api/v1/beds", params={"site": "main", "ward": "west"}))["beds"]) == 1
    assert (await get("/api/v1/beds/{site}/{bed}", site="main", bed="icu-01"))["values"] == values
    await get("/api/v1/beds/{site}/{bed}", 404, site="main", bed="icu-99")


async def test_patients_by_surrogate_id(hospital, get):
    patient = await hospital.registry.add_patient("Ada Example")
    await hospital.registry.admit(patient, "main", "icu-01", NOW - MINUTE)
    answer = await get("/api/v1/patients")
    assert [(one["id"], one["bed"]) for one in answer["patients"]] == [(patient, "icu-01")]
    assert (await get("/api/v1/patients/{patient}", patient=patient))["name"] == "Ada Example"
    problem = await get("/api/v1/patients/{patient}", 404, patient="pt-unknown")
    assert problem["type"] == "urn:wardhub:problem:not-found"


async def test_devices_and_those_that_nobody_has_placed(hospital, get):
    await hospital.registry.knock("main", "new-1", "native", "icu", "wards/v1/main/icu/new-1/observations")
    answer = await get("/api/v1/devices")
    assert {one["device"]: one["bed"] for one in answer["devices"]} == {"mon-1": "icu-01", "new-1": None}
    answer = await get("/api/v1/devices/unassigned")
    assert [one["device"] for one in answer["devices"]] == ["new-1"]
    assert (await get("/api/v1/devices/{site}/{device}", site="main", device="mon-1"))["ward"] == "icu"
    await get("/api/v1/devices/{site}/{device}", 404, site="main", device="nope")


async def test_readings_come_in_pages_each_once(hospital, get):
    for n in range(25):
        hospital.store.add(START_NS + n * SECOND, seq=n, heart_rate=60.0 + n)
    hospital.store.add(START_NS + 9 * SECOND, channel="pump-a", seq=100, spo2=97.0)
    seen, cursor = [], None
    for _ in range(20):
        params = {"from": START, "to": END, "limit": 10} | ({"cursor": cursor} if cursor else {})
        page = await get(
            "/api/v1/devices/{site}/{device}/readings", params=params, site="main", device="mon-1"
        )
        assert len(page["readings"]) <= 10
        seen += [one["seq"] for one in page["readings"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == [*range(25), 100]


async def test_the_readings_of_a_site_name_their_device_and_come_in_pages_each_once(hospital, get):
    for n in range(25):
        hospital.store.add(START_NS + n // 3 * SECOND, device=f"mon-{n % 5}", seq=n, heart_rate=60.0 + n)
    seen, cursor = [], None
    while True:
        params = {"from": START, "to": END, "limit": 4} | ({"cursor": cursor} if cursor else {})
        page = await get("/api/v1/sites/{site}/readings", params=params, site="main")
        seen += [(one["device"], one["seq"], one["values"]["heart_rate"]) for one in page["readings"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen, key=lambda one: one[1]) == [(f"mon-{n % 5}", n, 60.0 + n) for n in range(25)]
    assert (await get("/api/v1/sites/{site}/readings", site="elsewhere"))["readings"] == []
    await get("/api/v1/sites/{site}/readings", 422, params={"from": "2020-01-01T00:00:00Z"}, site="main")


async def test_more_readings_of_one_time_than_a_page_takes_do_not_stop_the_paging(hospital, get):
    for n in range(5):
        hospital.store.add(START_NS, channel=f"c{n}", seq=n, heart_rate=60.0)
    hospital.store.add(START_NS + 1, seq=5, heart_rate=60.0)
    params = {"from": START, "to": END, "limit": 2}
    page = await get("/api/v1/devices/{site}/{device}/readings", params=params, site="main", device="mon-1")
    assert [one["seq"] for one in page["readings"]] == [0, 1, 2, 3, 4]
    params["cursor"] = page["next"]
    page = await get("/api/v1/devices/{site}/{device}/readings", params=params, site="main", device="mon-1")
    assert ([one["seq"] for one in page["readings"]], page["next"]) == ([5], None)


async def test_a_reading_shows_what_is_not_simply_valid(hospital, get):
    hospital.store.add(
        START_NS, exceptions={"spo2": ("invalid", 130.0), "temperature": ("no-value", None)}, heart_rate=72.0
    )
    params = {"from": START, "to": END}
    page = await get("/api/v1/devices/{site}/{device}/readings", params=params, site="main", device="mon-1")
    (reading,) = page["readings"]
    assert reading["values"] == {"heart_rate": 72.0}
    assert reading["exceptions"] == {
        "spo2": {"quality": "invalid", "value": 130.0},
        "temperature": {"quality": "no-value", "value": None},
    }


async def test_a_trend_of_a_device_has_minimum_mean_and_maximum_in_equal_steps(hospital, get):
    for n in range(60):
        hospital.store.add(START_NS + n * MINUTE, heart_rate=float(n))
    params = {
        "device": "mon-1",
        "site": "main",
        "parameter": "heart_rate",
        "from": START,
        "to": END,
        "points": 6,
    }
    trend = await get("/api/v1/trends", params=params)
    assert (trend["unit"], trend["step_s"], len(trend["points"])) == ("/min", 600.0, 6)
    assert trend["points"][1] == {
        "time": "2026-11-24T02:10:00Z",
        "minimum": 10.0,
        "mean": 14.5,
        "maximum": 19.0,
        "count": 10,
    }


async def test_a_patients_trend_holds_only_what_was_determined_while_the_device_was_the_patients(
    hospital, get
):
    first = await hospital.registry.add_patient("First")
    second = await hospital.registry.add_patient("Second")
    registry = hospital.registry
    placement = (await registry.device_placements("main", "mon-1"))[0]
    await registry.correct_period(
        "placement", placement.id, PeriodChange(from_ns=START_NS), who="test", why="began earlier"
    )
    stay = await registry.admit(first, "main", "icu-01", START_NS, START_NS + 25 * MINUTE)
    await registry.admit(second, "main", "icu-01", START_NS + 25 * MINUTE)
    for n in range(60):
        hospital.store.add(START_NS + n * MINUTE, heart_rate=60.0 if n < 25 else 120.0)
    params = {"parameter": "heart_rate", "from": START, "to": END, "points": 6}

    async def trend(**who):
        points = (await get("/api/v1/trends", params=params | who))["points"]
        return [
            (point["time"][14:16], point["minimum"], point["maximum"], point["count"]) for point in points
        ]

    assert await trend(patient=first) == [("00", 60, 60, 10), ("10", 60, 60, 10), ("20", 60, 60, 5)]
    assert (await trend(patient=second))[0] == ("20", 120, 120, 5)
    whole_bed = await trend(bed="icu-01", site="main")
    assert (whole_bed[2], sum(point[3] for point in whole_bed)) == (("20", 60, 120, 10), 60)
    await registry.correct_period(
        "stay", stay, PeriodChange(until_ns=START_NS + 15 * MINUTE), who="test", why="left earlier"
    )
    assert await trend(patient=first) == [("00", 60, 60, 10), ("10", 60, 60, 5)]


async def test_stored_windows_of_a_waveform(hospital, get):
    hospital.store.windows = [hospital.waveform(START_NS + n * SECOND) for n in range(3)]
    path = "/api/v1/devices/{site}/{device}/waveforms/{waveform}"
    names = {"site": "main", "device": "mon-1", "waveform": "ecg_ii"}
    params = {"from": START, "to": "2026-11-24T02:00:02Z"}
    answer = await get(path, params=params, **names)
    assert [one["samples"] for one in answer["windows"]] == [[1.0, None, 3.0]] * 2
    assert (await get(path, **names))["windows"] == []
    await get(path, 422, params={"from": START, "to": END}, **names)
    await get(path, 422, **(names | {"waveform": "heart_rate"}))


async def test_present_alarms_can_be_filtered(hospital, get):
    await hospital.alarm(1)
    await hospital.alarm(2, ward="west", bed="west-01", priority="low")
    await hospital.alarm(3, kind="technical", condition="device_offline")
    await hospital.alarm(4)
    await hospital.alarm(4, "end")

    async def alarms(**params):
        return [one["id"] for one in (await get("/api/v1/alarms", params=params))["alarms"]]

    assert await alarms() == ["al-3", "al-2", "al-1"]
    assert await alarms(site="main", ward="west") == ["al-2"]
    assert await alarms(bed="icu-01", kind="physiological") == ["al-1"]
    assert await alarms(priority="low") == ["al-2"]
    assert await alarms(site="other") == []
    answer = await get("/api/v1/alarms")
    assert answer["last_event_id"] == f"hub-1-{hospital.log.epoch}-5"


async def test_alarm_events_in_pages_fit_the_contract_of_the_stream(hospital, get):
    for number in range(1, 6):
        await hospital.alarm(number)
    schema = Path(__file__).parents[3] / "hub/contracts/stream-alarm.schema.json"
    contract = Draft202012Validator(json.loads(schema.read_text()))
    seen, after = [], 0
    while True:
        page = await get("/api/v1/alarms/events", params={"after": after, "limit": 2})
        if not page["events"]:
            break
        for event in page["events"]:
            contract.validate(event)
        seen += [event["sequence"] for event in page["events"]]
        after = page["next"]
    assert seen == [1, 2, 3, 4, 5]


async def test_rejects_newest_first_with_payload_and_reason(hospital, api, biomed):
    get = getter(api, biomed)
    await hospital.reject()
    await hospital.reject(b"\xff\x00")
    page = await get("/api/v1/rejects", params={"limit": 1})
    assert (page["rejects"][0]["encoding"], page["rejects"][0]["payload"]) == ("base64", "/wA=")
    page = await get("/api/v1/rejects", params={"before": page["next"], "device": "mon-1"})
    assert [(one["path"], one["encoding"]) for one in page["rejects"]] == [("$.values.spo2", "utf-8")]
    assert page["next"] is None
    assert (await get("/api/v1/rejects", params={"device": "nope"}))["rejects"] == []


async def test_rejects_are_run_again_by_who_may(hospital, api, biomed):
    response = await biomed.post("/api/v1/rejects/replay", json={"ids": [17, 18]})
    validator(api, "/api/v1/rejects/replay", 200).validate(response.json())
    assert response.json() == {"accepted": 2, "rejected": 0, "gone": 0}
    assert hospital.replays == [[17, 18]]


async def test_the_hub_is_ready_while_what_the_line_needs_works(hospital, api, anonymous):
    assert (await anonymous.get("/healthz")).json() == {"status": "alive"}
    hospital.parts.append(Part("store", "down", "readings wait in the journal"))
    response = await anonymous.get("/readyz")
    assert (response.status_code, response.json()["ready"]) == (200, True)
    hospital.parts.append(Part("journal", "down", "nothing is acknowledged", required=True))
    response = await anonymous.get("/readyz")
    assert (response.status_code, response.json()["ready"]) == (503, False)
    validator(api, "/readyz", 503).validate(response.json())
    assert response.json()["parts"][1]["meaning"] == "readings wait in the journal"


async def test_metrics_are_prometheus_text(hospital, client):
    hospital.services.metrics.gauge("hub_stream_clients", "Clients of the stream.", lambda: 3)
    text = (await client.get("/metrics")).text
    assert "# TYPE hub_stream_clients gauge\nhub_stream_clients 3.0" in text

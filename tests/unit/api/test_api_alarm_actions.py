"""What people do about alarms, over HTTP, on a real event log, book and registry."""

import csv
import io

import pytest
from conftest import NOW, SECOND, http

from hub.device import Device
from hub.events import moment
from hub.model import Reading


def at(seconds: float) -> str:
    return moment(NOW + round(seconds * SECOND)).isoformat()


@pytest.fixture
async def patient(hospital):
    patient = await hospital.registry.add_patient("Somebody")
    await hospital.registry.admit(patient, "main", "icu-01", NOW - 3600 * SECOND)
    return patient


@pytest.fixture
def monitor(hospital):
    hospital.heard["mon-1"] = Device("main", "mon-1", "icu", "native", 1.0)
    return hospital.heard["mon-1"]


def read(hospital, monitor, second=0, exceptions=None, **values):
    """Let the alarms see a reading."""
    time_ns = NOW + round(second * SECOND)
    monitor.time_ns = monitor.received_ns = time_ns
    reading = Reading("main", "mon-1", "observations", time_ns, time_ns, time_ns, 1, values, exceptions)
    hospital.alarms.conditions.observe(monitor, reading, time_ns)


async def present(client):
    return (await client.get("/api/v1/alarms")).json()["alarms"]


@pytest.fixture
async def alarm(hospital, monitor, patient, client):
    read(hospital, monitor, spo2=70.0)
    await hospital.log.told(1)
    (alarm,) = await present(client)
    return alarm["id"]


async def act(client, alarm, what, **body):
    return await client.post(f"/api/v1/alarms/{alarm}/{what}", json=body)


async def test_a_nurse_acknowledges_and_everybody_sees_who_and_until_when(client, alarm):
    response = await act(client, alarm, "acknowledge", why="on my way")
    assert response.status_code == 200
    told = response.json()
    assert (told["event"], told["who"], told["why"]) == ("acknowledged", "nurse station", "on my way")
    (shown,) = await present(client)
    assert shown["presence"] == "present"
    assert shown["signal"]["presence"] == "acknowledged"
    assert shown["signal"]["acknowledged_by"] == "nurse station"
    assert shown["signal"]["acknowledged_until"] == at(180).replace("+00:00", "Z")


async def test_every_act_is_in_the_alarms_history_in_order(client, alarm):
    await act(client, alarm, "pause", seconds=60)
    await act(client, alarm, "resume")
    await act(client, alarm, "off", why="probe moved", until=at(600))
    await act(client, alarm, "comment", text="doctor informed")
    await act(client, alarm, "handover", to="nurse-2", why="break")
    history = (await client.get(f"/api/v1/alarms/{alarm}")).json()
    assert [event["event"] for event in history["events"]] == [
        "start",
        "audio-paused",
        "re-alarmed",
        "signal-off",
        "commented",
        "reassigned",
    ]
    assert history["alarm"]["signal"]["activation"] == "off"
    assert history["alarm"]["signal"]["assigned"] == "nurse-2"
    assert [event["sequence"] for event in history["events"]] == list(range(1, 7))


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("pause", {"seconds": 500}, 409),
        ("pause", {"seconds": -1}, 422),
        ("off", {"why": "because", "until": at(7200)}, 409),
        ("off", {"until": at(60)}, 422),
        ("reset", {}, 409),
        ("resume", {}, 409),
        ("comment", {"text": ""}, 422),
        ("acknowledge", {"who": "somebody else"}, 422),
    ],
)
async def test_what_is_not_possible_is_refused_and_changes_nothing(client, alarm, what, body, status):
    before = await present(client)
    response = await act(client, alarm, what, **body)
    assert response.status_code == status
    assert response.json()["detail"]
    assert await present(client) == before


async def test_an_alarm_that_is_over_or_never_was_is_not_found(client, hospital, monitor, alarm):
    read(hospital, monitor, 5, spo2=97.0)
    await hospital.log.told(2)
    for name in (alarm, "al-0123456789abcdef"):
        assert (await act(client, name, "acknowledge")).status_code == 404
    assert (await client.get("/api/v1/alarms/al-0123456789abcdef")).status_code == 404
    assert (await client.get(f"/api/v1/alarms/{alarm}")).json()["alarm"]["presence"] == "absent"


@pytest.mark.parametrize("role", ["viewer", "it", "biomed"])
async def test_who_doesnt_care_for_patients_silences_nothing(hospital, api, alarm, role):
    secret = await hospital.tokens.create(role, role)
    async with http(api, secret) as other:
        assert (await act(other, alarm, "acknowledge")).status_code == 403
    assert hospital.log.present()[0].signal.presence == "on"


def limits(**changes):
    body = {
        "scope": "patient",
        "site": "main",
        "table": "spo2",
        "values": {"low": 88},
        "why": "COPD, target 88 to 92",
    }
    return {**body, **changes}


async def test_a_patients_limit_is_read_back_with_who_why_and_until(client, patient):
    body = limits(scope_id=patient, until=at(3600))
    changed = await client.post("/api/v1/limits/changes", json=body)
    assert changed.status_code == 200
    query = {"site": "main", "ward": "icu", "patient": patient}
    told = (await client.get("/api/v1/limits", params=query)).json()
    assert told["tables"]["spo2"]["low"] == 88
    (change,) = told["changes"]
    assert (change["who"], change["why"]) == ("nurse station", "COPD, target 88 to 92")
    others = (await client.get("/api/v1/limits", params={"site": "main", "ward": "icu"})).json()
    assert others["tables"]["spo2"]["low"] == 90


async def test_a_changed_limit_decides_at_once(client, hospital, monitor, patient):
    await client.post("/api/v1/limits/changes", json=limits(scope_id=patient))
    read(hospital, monitor, spo2=89.0)
    assert await present(client) == []
    (change,) = (await client.get("/api/v1/limits/changes")).json()["changes"]
    ended = await client.post(f"/api/v1/limits/changes/{change['id']}/end", json={"why": "target lifted"})
    assert ended.json()["ended_why"] == "target lifted"
    read(hospital, monitor, 1, spo2=89.0)
    await hospital.log.told(1)
    assert len(await present(client)) == 1
    kept = (await client.get("/api/v1/limits/changes", params={"ended": True})).json()["changes"]
    assert [one["id"] for one in kept] == [change["id"]]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"values": {"low": None}}, "until"),
        ({"values": {"low": 70}}, "critical_low < low"),
        ({"table": "spo3"}, "did you mean spo2"),
    ],
)
async def test_a_limit_that_is_wrong_or_switches_off_without_an_end_is_refused(
    client, patient, changes, detail
):
    response = await client.post("/api/v1/limits/changes", json=limits(scope_id=patient, **changes))
    assert response.status_code == 422
    assert detail in response.json()["detail"]
    assert (await client.get("/api/v1/limits/changes")).json()["changes"] == []


async def test_a_nurse_changes_a_patients_limits_and_not_the_wards(hospital, api, client):
    body = limits(scope="ward", scope_id="icu")
    assert (await client.post("/api/v1/limits/changes", json=body)).status_code == 403
    secret = await hospital.tokens.create("charge", "charge-nurse")
    async with http(api, secret) as charge:
        assert (await charge.post("/api/v1/limits/changes", json=body)).status_code == 200


async def test_an_alarm_asks_the_nurse_who_is_assigned_and_then_the_next(client, hospital, monitor, patient):
    for role, bed, who in (("nurse", "icu-01", "Ann"), ("nurse", None, "Ben"), ("second-nurse", None, "Cid")):
        shift = {"site": "main", "ward": "icu", "bed": bed, "role": role, "who": who}
        body = {**shift, "from": at(-60), "until": at(8 * 3600)}
        assert (await client.post("/api/v1/assignments", json=body)).status_code == 200
    read(hospital, monitor, spo2=70.0)
    asked = []
    for second in (0, 59, 60, 119, 120):
        hospital.alarms.signals.tick(NOW + second * SECOND)
        asked.append(hospital.alarms.signals._entries.copy().popitem()[1].signal.assigned)
    assert asked == ["Ann", "Ann", "Cid", "Cid", "charge-nurse"]
    shifts = (await client.get("/api/v1/assignments")).json()["assignments"]
    assert [one["who"] for one in shifts] == ["Ann", "Ben", "Cid"]
    assert (await client.delete(f"/api/v1/assignments/{shifts[0]['id']}")).status_code == 204
    assert len((await client.get("/api/v1/assignments")).json()["assignments"]) == 2


async def test_a_shift_that_makes_no_sense_is_refused(client):
    shift = {"site": "main", "ward": "icu", "role": "nurse", "who": "Ann"}
    for start, end in ((0, -60), (0, 90_000), (-7200, -3600)):
        body = {**shift, "from": at(start), "until": at(end)}
        assert (await client.post("/api/v1/assignments", json=body)).status_code == 422


async def test_charted_values_complete_the_score(client, hospital, monitor, patient):
    read(hospital, monitor, respiratory_rate=22.0, spo2=93.0, nibp_systolic=120.0, pulse_rate=95.0)
    hospital.live.update(
        monitor, hospital.reading(respiratory_rate=22.0, spo2=93.0, nibp_systolic=120.0, pulse_rate=95.0)
    )
    url = f"/api/v1/patients/{patient}"
    body = {"values": {"consciousness": "A", "on_oxygen": False}}
    incomplete = (await client.post(f"{url}/charted", json=body)).json()["now"]
    assert (incomplete["total"], incomplete["problems"]) == (None, {"temperature": "missing"})
    body = {"values": {"temperature": 37.5}}
    complete = (await client.post(f"{url}/charted", json=body)).json()["now"]
    assert (complete["total"], complete["risk"]) == (5, "medium")
    assert complete["sources"]["consciousness"] == "charted by nurse station"
    history = (await client.get(f"{url}/news2")).json()["history"]
    assert [one["total"] for one in history] == [None, 5]


@pytest.mark.parametrize(
    "body", [{"values": {"mood": "good"}}, {"values": {"on_oxygen": True}, "time": at(3600)}]
)
async def test_what_cant_be_charted_is_refused(client, patient, body):
    assert (await client.post(f"/api/v1/patients/{patient}/charted", json=body)).status_code == 422


async def test_transport_is_visible_and_ends(client, hospital, monitor):
    url = "/api/v1/devices/main/mon-1/transport"
    told = await client.post(url, json={"until": at(600), "why": "to theatre"})
    assert told.json()["until"] == at(600).replace("+00:00", "Z")
    await hospital.log.told(1)
    (shown,) = await present(client)
    assert (shown["condition"], shown["priority"]) == ("transport", "information")
    assert (await client.delete(url)).status_code == 204
    await hospital.log.told(2)
    assert await present(client) == []


async def test_the_load_says_what_the_events_say(client, hospital, monitor, patient):
    for second in range(0, 80, 20):
        read(hospital, monitor, second, heart_rate=130.0)
        read(hospital, monitor, second + 10, heart_rate=80.0)
        hospital.alarms.signals.tick(NOW + (second + 15) * SECOND)
    read(hospital, monitor, 200, spo2=70.0)
    await hospital.log.told(8)
    query = {"from": at(-3600), "to": at(3600)}
    load = (await client.get("/api/v1/alarms/load", params=query)).json()
    figures = load["figures"]
    assert figures["alarms"] == 4
    assert figures["by_priority"] == {"medium": 3, "high": 1}
    assert figures["top_parameters"][0] == {"name": "heart_rate", "alarms": 3, "share": 0.75}
    assert figures["chattering"] == 1
    assert figures["ended_by_themselves"] == 1.0
    assert load["beds"] == 3
    assert figures["alarms_a_bed_a_day"] == 16.0


async def test_the_export_has_one_line_an_event_and_no_formula(client, hospital, alarm):
    await act(client, alarm, "comment", text="=HYPERLINK(1)")
    text = (await client.get("/api/v1/alarms/export.csv", params={"from": at(-60), "to": at(60)})).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["event"] for row in rows] == ["start", "commented"]
    assert rows[1]["why"] == "'=HYPERLINK(1)"
    assert (rows[0]["priority"], rows[0]["bed"], rows[0]["value"]) == ("high", "icu-01", "70.0")


async def test_limits_are_tried_out_on_what_a_ward_stored_and_nothing_is_changed(client, hospital, patient):
    for second in range(600):
        hospital.store.add(
            NOW - (600 - second) * SECOND, seq=second, spo2=89.0 if second % 300 < 20 else 96.0
        )
    body = {"site": "main", "ward": "icu", "from": at(-600), "to": at(0)}
    body["changes"] = [{"table": "spo2", "values": {"low": 88}}]
    told = (await client.post("/api/v1/alarms/replay", json=body)).json()
    assert told["in_force"]["figures"]["alarms"] == 2
    assert told["tried"]["figures"]["alarms"] == 0
    assert told["tried"]["readings"] == 600
    assert (await client.get("/api/v1/limits/changes")).json()["changes"] == []
    body["changes"] = [{"table": "spo2", "values": {"low": 70}}]
    refused = await client.post("/api/v1/alarms/replay", json=body)
    assert refused.status_code == 422
    assert "critical_low < low" in refused.json()["detail"]

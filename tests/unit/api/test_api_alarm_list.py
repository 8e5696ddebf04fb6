"""The list of alarms: what each filter lets through, pages, the past, and what is refused."""

import asyncio
import sqlite3

import pytest
from conftest import NOW, SECOND

from hub.alarms.alarm import Alarm, Signal
from hub.events import moment


def at(seconds: float) -> str:
    return moment(NOW + round(seconds * SECOND)).isoformat()


@pytest.fixture
def record(hospital):
    """Let something happen to an alarm, told by the number of the alarm."""

    async def record(
        number, event="start", second=0.0, place=("icu", "icu-01", "pt-1"), signal=None, **facts
    ):
        facts = {"kind": "physiological", "priority": "medium", "condition": "limit_low"} | facts
        facts = {"site": "main", "device": "mon-1", "parameter": "spo2", "text": f"SpO2 {number}"} | facts
        presence = facts.pop("presence", "absent" if event == "end" else "present")
        alarm = Alarm(id=f"al-{number}", onset_ns=NOW, presence=presence, **facts)
        ward, bed, patient = place
        recorded = hospital.log.record(
            event,
            NOW + round(second * SECOND),
            alarm,
            ward=ward,
            bed=bed,
            patient=patient,
            signal=Signal(priority=alarm.priority) if signal is None else signal,
        )
        async with asyncio.timeout(10):
            await hospital.log.told(recorded.sequence)

    return record


@pytest.fixture
def listed(client):
    async def listed(**params):
        response = await client.get("/api/v1/alarms", params=params)
        assert response.status_code == 200, response.text
        return [int(one["id"].removeprefix("al-")) for one in response.json()["alarms"]]

    return listed


@pytest.fixture
async def ward(record, hospital):
    """Six alarms, each unlike the others in what the filters ask for."""
    await hospital.registry.add_device("main", "pump-1", "native", "theatre")
    await record(1, second=1, priority="high", condition="fast_fall")
    await record(2, second=2, place=("icu", "icu-02", "pt-2"), parameter="heart_rate", text="Heart rate 130")
    await record(3, second=3, place=("west", "west-01", "pt-3"), kind="technical", parameter=None)
    await record(4, second=4, device="pump-1", parameter="occlusion", condition="occlusion")
    taken = Signal("acknowledged", "medium", acknowledged_by="nurse-1", acknowledged_ns=NOW)
    await record(5, second=5)
    await record(5, "acknowledged", second=6, signal=taken)
    await record(6, second=6)
    await record(6, "end", second=60, signal=taken)


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"priority": "high"}, [1]),
        ({"priority": ["high", "medium"], "site": "main", "ward": "west"}, [3]),
        ({"kind": "technical"}, [3]),
        ({"parameter": "heart_rate"}, [2]),
        ({"parameter": ["heart_rate", "occlusion"]}, [4, 2]),
        ({"condition": "fast_fall"}, [1]),
        ({"site": "main", "ward": "icu", "bed": "icu-02"}, [2]),
        ({"site": "elsewhere"}, []),
        ({"patient": "pt-2"}, [2]),
        ({"device": "pump-1"}, [4]),
        ({"area": "theatre"}, [4]),
        ({"acknowledged": "true"}, [5]),
        ({"acknowledged": "false"}, [4, 3, 2, 1]),
        ({"text": "hEaRt"}, [2]),
        ({"from": at(2), "to": at(4)}, [3, 2]),
        ({"to": at(2)}, [1]),
        ({"state": "present"}, [5, 4, 3, 2, 1]),
        ({"state": "ended", "to": at(3600)}, [6]),
        ({"state": "all", "to": at(3600), "acknowledged": "true"}, [6, 5]),
        ({"state": "all", "from": at(2), "to": at(4)}, [3, 2]),
    ],
    ids=str,
)
async def test_each_filter_lets_through_what_it_names(ward, listed, params, found):
    assert await listed(**params) == found


async def test_the_state_tells_what_holds_the_signal(record, listed):
    await record(1, presence="absent", signal=Signal("latched", "high"))
    await record(2, signal=Signal(activation="paused"))
    await record(3, signal=Signal(activation="off"))
    assert await listed(state="latched") == [1]
    assert await listed(state="paused") == [2]
    assert await listed(state="off") == [3]
    assert await listed(state="present") == [3, 2]
    assert await listed(priority="high") == [1], "as the signal shows it"


@pytest.mark.parametrize("state", ["active", "all"])
async def test_pages_hold_each_alarm_once_while_others_begin_and_change(record, client, state):
    for number in range(1, 8):
        await record(number, place=("icu", f"icu-0{number % 2}", "pt-1"))
    seen, cursor = [], None
    for number in range(20, 40):
        params = {"state": state, "limit": 2, "bed": "icu-01", "to": at(60)}
        params |= {"cursor": cursor} if cursor else {}
        page = (await client.get("/api/v1/alarms", params=params)).json()
        assert len(page["alarms"]) <= 2
        seen += [one["id"] for one in page["alarms"]]
        cursor = page["next"]
        if cursor is None:
            break
        await record(number, place=("icu", "icu-01", "pt-1"))
        await record(1, "update", place=("icu", "icu-01", "pt-1"))
    assert seen == ["al-7", "al-5", "al-3", "al-1"]


async def test_what_lies_behind_many_others_is_found(record, hospital, listed, monkeypatch):
    monkeypatch.setattr("hub.api.alarms._ROWS", 2)
    monkeypatch.setattr("hub.api.alarms._PAGES", 2)
    await record(1, device="mon-9")
    for number in range(2, 8):
        await record(number)
    assert await listed(device="mon-9") == []


async def test_without_a_time_the_past_is_the_last_day(record, listed):
    await record(1, second=-2 * 86_400)
    await record(2)
    await record(2, "end")
    assert await listed(state="all") == [2]
    assert await listed() == [1]
    assert await listed(state="all", **{"from": at(-3 * 86_400)}) == [2, 1]


async def test_active_alarms_are_listed_while_the_disk_fails_and_the_past_says_that_it_cant_be(
    record, client, hospital, monkeypatch
):
    await record(1)

    def broken(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(hospital.log._file, "begun", broken)
    answer = await client.get("/api/v1/alarms", params={"from": at(-60)})
    assert [one["id"] for one in answer.json()["alarms"]] == ["al-1"]
    refused = await client.get("/api/v1/alarms", params={"state": "all"})
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:wardhub:problem:log-unavailable")
    assert refused.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("params", "parameter", "said"),
    [
        ({"state": "gone"}, "state", "'active', 'present'"),
        ({"priority": "urgent"}, "priority", "'high'"),
        ({"parameter": "heartrate"}, "parameter", "heart_rate"),
        ({"ward": "icu"}, None, "ward needs site"),
        ({"from": "yesterday"}, "from", "RFC 3339"),
        ({"from": at(60), "to": at(0)}, "from", "before `to`"),
        ({"state": "all", "from": at(-400 * 86_400)}, "from", "at most"),
        ({"limit": "0"}, "limit", "greater than or equal to 1"),
        ({"cursor": "x"}, "cursor", "integer"),
        ({"colour": "red"}, "colour", "openapi.json"),
    ],
    ids=str,
)
async def test_what_cant_be_asked_is_refused_with_the_parameter_and_what_was_expected(
    client, params, parameter, said
):
    refused = await client.get("/api/v1/alarms", params=params)
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    (fault, *_) = refused.json()["errors"]
    assert fault.get("parameter") == parameter
    assert said in fault["detail"]

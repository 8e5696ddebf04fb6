"""Where a beacon was, from the store: stays from changes, whose it was, pages, and where it was last."""

from dataclasses import replace

import pytest
from conftest import NOW, SECOND, WARD, http

from hub.alarms.conditions import Conditions
from hub.api.app import create_api
from hub.location.places import Places
from hub.location.whereabouts import Whereabouts
from hub.model import ZoneChange
from hub.ward.wardfile import parse

BEACON = "AC233F000001"
PATH = f"/api/v1/locations/main/{BEACON}"
HISTORY = f"{PATH}/history"
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND


def change(before_ns, kind, zone=None, beacon=BEACON):
    return ZoneChange("main", beacon, NOW - before_ns, NOW - before_ns, kind, zone)


@pytest.fixture
def api(hospital):
    whereabouts = Whereabouts(
        placement=hospital.registry.placement,
        find=lambda *_: None,
        recall=lambda *_: None,
        conditions=Conditions(lambda _device: hospital.alarms.rules, lambda *_: None),
        tell=lambda *_: None,
        backlog_ns=MINUTE,
    )
    zones = [
        {"id": "room-1", "name": "Room 1", "ward": "icu", "gateways": ["gw-1"]},
        {"id": "exit", "name": "Way out", "gateways": ["gw-2"]},
    ]
    beacons = [
        {"id": BEACON, "kind": "asset", "name": "Cart", "ward": "icu"},
        {"id": "AC233F000002", "kind": "staff", "name": "Porter"},
    ]
    whereabouts.settle(Places(parse({**WARD, "zone": zones, "beacon": beacons}, "ward.toml")))
    return create_api(replace(hospital.services, whereabouts=whereabouts))


def shown(history):
    return [(one["from"], one["to"], one["change"], one["zone"]) for one in history["stays"]]


async def test_changes_are_told_as_stays_from_the_one_that_held_already(client, hospital):
    hospital.store.changes = [
        change(2 * DAY, "entered", "exit"),
        change(30 * MINUTE, "entered", "room-1"),
        change(20 * MINUTE, "lost", "room-1"),
        change(15 * MINUTE, "away"),
        change(5 * MINUTE, "entered", "gone-room"),
        change(10 * MINUTE, "entered", "exit", beacon="AC233F000009"),
    ]
    told = (await client.get(HISTORY)).json()
    assert (told["site"], told["beacon"], told["kept"], told["more"]) == ("main", BEACON, True, False)
    assert shown(told) == [
        ("2026-11-22T02:43:12Z", "2026-11-24T02:13:12Z", "entered", "exit"),
        ("2026-11-24T02:13:12Z", "2026-11-24T02:23:12Z", "entered", "room-1"),
        ("2026-11-24T02:23:12Z", "2026-11-24T02:28:12Z", "lost", None),
        ("2026-11-24T02:28:12Z", "2026-11-24T02:38:12Z", "away", None),
        ("2026-11-24T02:38:12Z", None, "entered", "gone-room"),
    ]
    names = [(one["zone_name"], one["ward"]) for one in told["stays"]]
    assert names == [("Way out", None), ("Room 1", "icu"), (None, None), (None, None), (None, None)]


async def test_only_the_time_that_is_asked_for_is_told(client, hospital):
    hospital.store.changes = [change(n * MINUTE, "entered", f"room-{n}") for n in (1, 2, 3, 4)]
    span = "?from=2026-11-24T02:39:42Z&to=2026-11-24T02:41:12Z"  # 3.5 to 2 minutes before
    assert [one["zone"] for one in (await client.get(HISTORY + span)).json()["stays"]] == ["room-4", "room-3"]
    (last,) = (await client.get(HISTORY + "?from=2026-11-24T02:42:42Z")).json()["stays"]
    assert (last["zone"], last["to"]) == ("room-1", None)
    assert (await client.get(HISTORY + "?to=2026-11-24T02:00:00Z")).json()["stays"] == []


async def test_pages_go_back_without_a_gap_or_a_stay_twice(client, hospital):
    hospital.store.changes = [change(n * MINUTE, "entered", f"room-{n}") for n in range(1, 8)]
    pages, to = [], ""
    while True:
        page = (await client.get(f"{HISTORY}?limit=3&from=2026-11-24T02:00:00Z{to}")).json()
        pages.append([one["zone"] for one in page["stays"]])
        if not page["more"]:
            break
        to = f"&to={page['stays'][0]['from']}"
    assert pages == [["room-3", "room-2", "room-1"], ["room-6", "room-5", "room-4"], ["room-7"]]


async def test_each_stay_says_whose_the_beacon_was(client, hospital):
    registry = hospital.registry
    first, second = await registry.add_patient("A"), await registry.add_patient("B")
    await registry.add_device("main", BEACON, "native", "icu")
    await registry.place_device("main", BEACON, NOW - 60 * MINUTE, patient=first, until_ns=NOW - 20 * MINUTE)
    await registry.place_device("main", BEACON, NOW - 20 * MINUTE, patient=second)
    for bed, patient in (("icu-01", first), ("icu-02", second)):
        await registry.admit(patient, "main", bed, NOW - 60 * MINUTE)
    hospital.store.changes = [
        change(50 * MINUTE, "entered", "room-1"),
        change(30 * MINUTE, "entered", "exit"),
        change(10 * MINUTE, "entered", "room-1"),
    ]
    stays = (await client.get(HISTORY)).json()["stays"]
    assert [one["patients"] for one in stays] == [[first], [first, second], [second]]


async def test_of_staff_nothing_is_kept_and_that_is_said(client):
    told = (await client.get("/api/v1/locations/main/AC233F000002/history")).json()
    assert (told["kept"], told["stays"]) == (False, [])


async def test_what_is_wrong_with_the_question_or_the_store_is_a_problem(client, anonymous, broken_store):
    for query in ("from=yesterday", "limit=0", "limit=10001", "page=2", "from=2026-11-25T00:00:00Z"):
        answer = await client.get(f"{HISTORY}?{query}")
        assert answer.status_code == 422, query
        assert answer.headers["content-type"].startswith("application/problem+json")
    assert (await client.get(HISTORY)).status_code == 503
    assert (await client.get("/api/v1/locations/main/a:b/history")).status_code == 422
    assert (await anonymous.get(HISTORY)).status_code == 401


async def test_a_beacon_that_was_not_heard_since_the_start_was_last_where_the_store_says(client, hospital):
    assert (await client.get(PATH)).status_code == 404
    hospital.store.changes = [
        change(3 * DAY, "entered", "exit"),
        change(2 * DAY, "entered", "room-1"),
        change(2 * DAY - MINUTE, "lost", "room-1"),
        change(2 * DAY - 5 * MINUTE, "away"),
    ]
    told = (await client.get(PATH)).json()
    assert (told["zone"], told["last_zone"], told["last_zone_name"]) == (None, "room-1", "Room 1")
    assert (told["kind"], told["name"], told["away"]) == ("asset", "Cart", True)
    assert told["seen"] == "2026-11-22T02:44:12Z", "it was lost then: heard half a minute before"


async def test_the_example_of_the_description_has_the_shape_that_is_described(api):
    described = api.openapi()["paths"]["/api/v1/locations/{site}/{beacon}/history"]["get"]
    content = described["responses"]["200"]["content"]["application/json"]
    assert content["schema"]["$ref"].endswith("/LocationHistory")
    shapes = api.openapi()["components"]["schemas"]
    assert set(content["example"]) == set(shapes["LocationHistory"]["properties"])
    assert {key for stay in content["example"]["stays"] for key in stay} == set(
        shapes["ZoneStay"]["properties"]
    )


async def test_the_zones_of_a_beacon_at_another_site_are_not_told(hospital, api):
    hospital.store.changes = [change(MINUTE, "entered", "room-1")]
    async with http(api, await hospital.tokens.create("x", "nurse")) as client:
        assert (await client.get(f"/api/v1/locations/north/{BEACON}/history")).json()["stays"] == []

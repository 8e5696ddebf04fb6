"""Floor plans over the API, checked against the OpenAPI document."""

import pytest
from jsonschema import Draft202012Validator

from hub.location.places import Places
from hub.location.whereabouts import Whereabouts
from hub.ward.wardfile import parse

RECTANGLE = {"x": 0, "y": 0, "width": 5, "height": 4}
FILE = {
    "site": {"id": "main", "name": "Main"},
    "ward": [
        {"id": "icu", "name": "Intensive care", "beds": ["icu-01", "icu-02"]},
        {"id": "west", "name": "West", "beds": ["west-01"]},
    ],
    "zone": [
        {"id": "room-1", "ward": "icu", "beds": ["icu-01"], "gateways": ["gw-1"], **RECTANGLE},
        {"id": "exit", "name": "Way out", "gateways": ["gw-2"], "forbidden": True},
    ],
}


@pytest.fixture
async def get(hospital, api, with_services):
    whereabouts = Whereabouts(
        placement=hospital.registry.placement,
        find=lambda *_: None,
        recall=lambda *_: None,
        conditions=hospital.alarms.conditions,
        tell=lambda *_: None,
        backlog_ns=0,
    )
    whereabouts.settle(Places(parse(FILE, "ward.toml")))
    secret = await hospital.tokens.create("map", "viewer")
    async with with_services(secret, whereabouts=whereabouts) as client:

        async def get(path, template, status=200, **params):
            response = await client.get(path, params=params)
            assert response.status_code == status, response.text
            document = api.openapi()
            [content] = document["paths"][template]["get"]["responses"][str(status)]["content"].values()
            schema = {**content["schema"], "components": document["components"]}
            Draft202012Validator(schema).validate(response.json())
            return response.json()

        yield get


async def test_plans_of_all_wards_and_of_what_belongs_to_none(get):
    plans = (await get("/api/v1/rooms", "/api/v1/rooms"))["plans"]
    assert [(one["ward"], one["name"]) for one in plans] == [
        ("icu", "Intensive care"),
        ("west", "West"),
        (None, "Main"),
    ]
    assert [room["id"] for room in plans[0]["rooms"]] == ["room-1", "icu-02"]
    assert plans[0]["rooms"][0] == {
        "id": "room-1",
        "name": "room-1",
        "zone": "room-1",
        "forbidden": False,
        "beds": ["icu-01"],
        "gateways": ["gw-1"],
        "drawn": True,
        **RECTANGLE,
        "outline": [[0, 0], [5, 0], [5, 4], [0, 4]],
    }
    assert [(room["id"], room["forbidden"]) for room in plans[2]["rooms"]] == [("exit", True)]


async def test_plans_of_one_ward_come_with_the_way_out(get):
    plans = (await get("/api/v1/rooms", "/api/v1/rooms", site="main", ward="west"))["plans"]
    assert [one["ward"] for one in plans] == ["west", None]
    await get("/api/v1/rooms", "/api/v1/rooms", 422, ward="west")


async def test_one_wards_plan(get):
    template = "/api/v1/wards/{site}/{ward}/rooms"
    plan = await get("/api/v1/wards/main/icu/rooms", template)
    assert (plan["width"], plan["height"]) == (5, 12)  # the second bed is laid out below
    problem = await get("/api/v1/wards/main/nope/rooms", template, 404)
    assert "no ward nope at main" in problem["detail"]


async def test_without_a_ward_file_every_bed_has_a_room(client):
    answer = (await client.get("/api/v1/rooms")).json()
    assert [room["id"] for room in answer["plans"][0]["rooms"]] == ["icu-01", "icu-02"]

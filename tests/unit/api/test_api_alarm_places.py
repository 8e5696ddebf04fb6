"""Changes that name what is not there, or what no value can be: refused, with the place in the body."""

import json

import pytest
from conftest import NOW, SECOND, http

from hub.events import moment


def at(seconds: float) -> str:
    return moment(NOW + round(seconds * SECOND)).isoformat()


@pytest.fixture
async def charge(hospital, api):
    secret = await hospital.tokens.create("charge", "charge-nurse")
    async with http(api, secret) as client:
        yield client


@pytest.fixture
async def patient(hospital):
    patient = await hospital.registry.add_patient("Somebody")
    await hospital.registry.admit(patient, "main", "icu-01", NOW - 3600 * SECOND)
    return patient


WARD = {
    "scope": "ward",
    "site": "main",
    "scope_id": "icu",
    "table": "spo2",
    "values": {"low": 88},
    "why": "x",
}
SHIFT = {"site": "main", "ward": "icu", "bed": "icu-01", "role": "nurse", "who": "Ann"}
SHIFT |= {"from": at(-60), "until": at(3600)}
TRIAL = {"site": "main", "ward": "icu", "from": at(-60), "to": at(0)}
TRIAL |= {"changes": [{"table": "spo2", "values": {"low": 88}}]}


async def refused(client, path, body, pointer, said):
    answer = await client.post(f"/api/v1{path}", json=body)
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == pointer
    assert said in fault["detail"]


@pytest.mark.parametrize(
    ("changed", "pointer", "said"),
    [
        ({"scope_id": "icuu"}, "/scope_id", "no ward icuu at main"),
        ({"site": "elsewhere"}, "/site", "no site elsewhere"),
        ({"scope": "site", "scope_id": "icu"}, "/scope_id", "the site itself: main"),
        ({"table": "spo3"}, "/values", "did you mean spo2"),
        ({"values": {"low": 79}}, "/values", "critical_low < low"),
        ({"values": {"low": None}}, "/values", "until"),
        ({"until": at(-1)}, "/until", "in the future"),
    ],
    ids=str,
)
async def test_a_change_of_limits_that_would_hold_nowhere_is_refused(charge, changed, pointer, said):
    await refused(charge, "/limits/changes", WARD | changed, pointer, said)
    assert (await charge.get("/api/v1/limits/changes")).json()["changes"] == []


async def test_a_patients_limits_name_the_site_where_the_patient_is(charge, hospital, patient):
    body = WARD | {"scope": "patient", "scope_id": patient}
    await refused(charge, "/limits/changes", body | {"site": "north"}, "/site", "this patient is at main")
    assert (await charge.post("/api/v1/limits/changes", json=body)).status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_a_limit_that_is_no_number_is_refused_since_nothing_is_beyond_it(charge, number):
    body = json.dumps(WARD).replace("88", number)
    answer = await charge.post(
        "/api/v1/limits/changes", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert "finite" in answer.json()["detail"]


async def test_what_the_ward_set_is_switched_off_for_a_patient_only_with_an_end(charge, patient):
    added = await charge.post("/api/v1/limits/changes", json=WARD | {"values": {"high": 99}})
    assert added.status_code == 200
    body = WARD | {"scope": "patient", "scope_id": patient, "values": {"high": None}}
    await refused(charge, "/limits/changes", body, "/values", "switches an alarm off (high)")
    assert (await charge.post("/api/v1/limits/changes", json=body | {"until": at(60)})).status_code == 200


@pytest.mark.parametrize(
    ("changed", "pointer", "said"),
    [
        ({"ward": "icuu"}, "/ward", "no ward icuu at main"),
        ({"bed": "icu-99"}, "/bed", "no bed icu-99 in ward icu"),
        ({"bed": "west-01"}, "/bed", "no bed west-01 in ward icu"),
        ({"role": "nurze"}, "/role", "charge-nurse, nurse, second-nurse"),
        ({"until": at(90_000)}, "/until", "at most a day later"),
    ],
    ids=str,
)
async def test_an_assignment_that_nobody_would_be_asked_by_is_refused(charge, changed, pointer, said):
    await refused(charge, "/assignments", SHIFT | changed, pointer, said)
    assert (await charge.get("/api/v1/assignments")).json()["assignments"] == []


async def test_an_assignment_to_a_whole_ward_names_no_bed(charge):
    assert (await charge.post("/api/v1/assignments", json=SHIFT | {"bed": None})).status_code == 200


@pytest.mark.parametrize(
    ("changed", "pointer"), [({"ward": "icuu"}, "/ward"), ({"to": at(-61)}, "/to")], ids=str
)
async def test_limits_are_tried_out_on_a_ward_that_is_there(charge, changed, pointer):
    await refused(charge, "/alarms/replay", TRIAL | changed, pointer, "")


@pytest.mark.parametrize(
    ("params", "parameter"), [({"ward": "icuu"}, "ward"), ({"site": "elsewhere"}, "site")], ids=str
)
async def test_limits_of_a_place_that_isnt_there_are_not_the_defaults(charge, params, parameter):
    answer = await charge.get("/api/v1/limits", params={"site": "main"} | params)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"consciousness": "Z"}, "consciousness: expected A, C, V, P or U"),
        ({"spo2": 1000}, "spo2: outside 0 to 100 %"),
        ({"on_oxygen": "yes"}, "on_oxygen: expected true or false"),
        ({"consciousness": "A", "temperature": 370}, "temperature: outside"),
    ],
    ids=str,
)
async def test_a_charted_value_that_no_score_takes_is_refused_and_the_score_stands(
    charge, patient, values, said
):
    good = {"values": {"consciousness": "A", "on_oxygen": False}}
    assert (await charge.post(f"/api/v1/patients/{patient}/charted", json=good)).status_code == 200
    answer = await charge.post(f"/api/v1/patients/{patient}/charted", json={"values": values})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


async def test_scores_of_an_unknown_patient_are_not_found(charge, patient):
    assert (await charge.get("/api/v1/patients/pt-nobody/news2")).status_code == 404
    assert (await charge.get(f"/api/v1/patients/{patient}/news2")).status_code == 200

from datetime import datetime

import pytest

from hub.alarms.book import BookUnusable
from hub.alarms.early_warning import Assessment
from hub.alarms.news2 import Inputs, score
from hub.alarms.score_log import Scored
from hub.api.scores import trend

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOW = 1_795_488_192 * SECOND
WELL = {
    "respiratory_rate": 16.0,
    "spo2": 97.0,
    "on_oxygen": False,
    "systolic": 120.0,
    "pulse": 75.0,
    "consciousness": "A",
    "temperature": 36.8,
}


def assessed(hours: float, **changes) -> Assessment:
    return Assessment(round(hours * HOUR), score(Inputs(**(WELL | changes))), {}, {})


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], None),
        ([assessed(9.5)], "steady"),
        ([assessed(9.5, pulse=115.0)], "falling"),
        ([assessed(9.5, pulse=115.0), assessed(9.8)], "falling"),
        ([assessed(5.0, pulse=115.0)], None),
        ([assessed(9.5, on_oxygen=None)], None),
        ([assessed(10.0)], None),
    ],
)
def test_a_trend_compares_with_the_oldest_score_of_the_last_hours_that_stands_on_the_same_parts(
    history, expected
):
    assert trend(assessed(10.0), history) == expected


def test_a_score_that_gets_worse_rises():
    assert trend(assessed(10.0, spo2=90.0), [assessed(9.0)]) == "rising"


def test_what_is_not_for_a_patient_has_no_trend():
    assert trend(Assessment(HOUR, None, {}, {}, "under 16"), [assessed(0.5)]) is None


async def test_a_ward_without_scores_has_none(client):
    response = await client.get("/api/v1/news2")
    assert response.status_code == 200
    assert response.json() == {"scores": []}
    assert (await client.get("/api/v1/news2", params={"ward": "x y"})).status_code == 422


async def keep(hospital, patient, *scores):
    """Keep scores at minutes before NOW: (minutes, pulse), None for one that isn't complete."""
    for minutes, pulse in scores:
        one = Assessment(NOW - minutes * MINUTE, scored(pulse), {}, {})
        await hospital.alarms.scores.add([Scored(patient, one)])


def scored(pulse):
    return score(Inputs(**WELL | {"pulse": pulse}))


async def test_scores_of_any_time_are_read_back(client, hospital):
    patient = await hospital.registry.add_patient("Somebody")
    await keep(hospital, patient, (60 * 24 * 40, 95.0), (60, 70.0), (30, 135.0))
    url = f"/api/v1/patients/{patient}/news2"
    today = (await client.get(url)).json()
    assert [one["total"] for one in today["history"]] == [0, 3]
    assert (today["now"], today["more"]) == (None, False)
    month = (
        await client.get(url, params={"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"})
    ).json()
    assert [one["total"] for one in month["history"]] == [1]
    newest = (await client.get(url, params={"limit": 1})).json()
    assert ([one["total"] for one in newest["history"]], newest["more"]) == ([3], True)
    refused = await client.get(url, params={"from": "2027-01-01T00:00:00Z"})
    assert refused.status_code == 422


async def test_the_score_has_a_trend_in_which_a_total_holds_until_the_next_and_gaps_stay_gaps(
    client, hospital
):
    patient = await hospital.registry.add_patient("Somebody")
    await keep(hospital, patient, (58, 70.0), (50, 135.0), (45, None), (40, 95.0))
    params = {"patient": patient, "parameter": "news2", "points": 60}
    trend = (await client.get("/api/v1/trends", params=params)).json()
    assert (trend["parameter"], trend["unit"], trend["step_s"]) == ("news2", "{score}", 60)
    by_minute = {
        60 - (NOW // SECOND - int(datetime.fromisoformat(one["time"]).timestamp())) // 60: one["mean"]
        for one in trend["points"]
    }
    assert by_minute == {
        **dict.fromkeys(range(2, 10), 0.0),
        **dict.fromkeys(range(10, 15), 3.0),
        **dict.fromkeys(range(20, 36), 1.0),  # a quarter of an hour and a minute: then the next was due
    }


async def test_a_trend_of_scores_over_a_year_has_as_many_points_as_asked_for(client, hospital):
    patient = await hospital.registry.add_patient("Somebody")
    await keep(hospital, patient, *((minutes, 70.0) for minutes in range(1, 300 * 24 * 60, 600)))
    params = {"patient": patient, "parameter": "news2", "points": 100, "from": "2026-01-24T00:00:00Z"}
    points = (await client.get("/api/v1/trends", params=params)).json()["points"]
    assert 95 <= len(points) <= 100
    assert {one["maximum"] for one in points} == {0.0}


@pytest.mark.parametrize("params", [{"device": "mon-1", "site": "main"}, {"bed": "icu-01", "site": "main"}])
async def test_a_trend_of_scores_is_a_patients(client, params):
    answer = await client.get("/api/v1/trends", params={**params, "parameter": "news2"})
    assert (answer.status_code, "give patient" in answer.text) == (422, True)


async def test_scores_that_the_disk_keeps_from_being_read_are_told_as_that(client, hospital, monkeypatch):
    async def fails(*_):
        raise BookUnusable("scores.sqlite can't be read")

    monkeypatch.setattr(hospital.alarms.scores, "of", fails)
    answer = await client.get("/api/v1/patients/pt-1/news2")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:wardhub:problem:book-unusable")

import pytest

from hub.alarms.early_warning import Assessment
from hub.alarms.news2 import Inputs, score
from hub.api.scores import trend

HOUR = 3600 * 1_000_000_000
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

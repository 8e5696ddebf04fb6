import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vitalscore.scores.news2 import score_news2

from hub.alarms.news2 import SCORED, Inputs, News2InputInvalid, news2_json, not_for, score

NORMAL = {
    "respiratory_rate": 16,
    "spo2": 97,
    "on_oxygen": False,
    "systolic": 120,
    "pulse": 70,
    "consciousness": "A",
    "temperature": 37.0,
}

CHART = [
    ("respiratory_rate", {8: 3, 9: 1, 11: 1, 12: 0, 20: 0, 21: 2, 24: 2, 25: 3}),
    ("spo2", {91: 3, 92: 2, 93: 2, 94: 1, 95: 1, 96: 0, 100: 0}),
    ("on_oxygen", {True: 2, False: 0}),
    ("systolic", {90: 3, 91: 2, 100: 2, 101: 1, 110: 1, 111: 0, 219: 0, 220: 3}),
    ("pulse", {40: 3, 41: 1, 50: 1, 51: 0, 90: 0, 91: 1, 110: 1, 111: 2, 130: 2, 131: 3}),
    ("consciousness", {"A": 0, "C": 3, "V": 3, "P": 3, "U": 3}),
    ("temperature", {35.0: 3, 35.1: 1, 36.0: 1, 36.1: 0, 38.0: 0, 38.1: 1, 39.0: 1, 39.1: 2}),
]
CELLS = [(name, value, points) for name, cells in CHART for value, points in cells.items()]

rates = st.floats(1, 99)
inputs = st.fixed_dictionaries(
    {
        "respiratory_rate": rates,
        "spo2": st.floats(50, 100),
        "on_oxygen": st.booleans(),
        "systolic": st.floats(30, 280),
        "pulse": st.floats(1, 280),
        "consciousness": st.sampled_from("ACVPU"),
        "temperature": st.floats(25, 45),
        "spo2_scale": st.sampled_from([1, 2]),
    }
)


@pytest.mark.parametrize(("name", "value", "points"), CELLS)
def test_both_ends_of_every_band_score_by_the_chart(name, value, points):
    assert score(Inputs(**{**NORMAL, name: value})).scores[name] == points


SCALE_2 = {83: (3, 3), 84: (2, 2), 85: (2, 2), 86: (1, 1), 87: (1, 1), 88: (0, 0), 92: (0, 0)}
SCALE_2 |= {93: (0, 1), 94: (0, 1), 95: (0, 2), 96: (0, 2), 97: (0, 3), 100: (0, 3)}


@pytest.mark.parametrize(("spo2", "points"), SCALE_2.items())
def test_scale_2_scores_too_much_oxygen_only_on_oxygen(spo2, points):
    for on_oxygen in (False, True):
        result = score(Inputs(**{**NORMAL, "spo2": spo2, "on_oxygen": on_oxygen, "spo2_scale": 2}))
        assert result.scores["spo2"] == points[on_oxygen]


@given(inputs)
def test_no_fraction_falls_between_two_bands(values):
    result = score(Inputs(**values))
    assert result.total is not None
    assert all(points in (0, 1, 2, 3) for points in result.scores.values())
    assert result.total == sum(result.scores.values())
    assert 0 <= result.total <= 20


@given(inputs, st.sampled_from(["respiratory_rate", "spo2", "systolic", "pulse", "temperature"]))
def test_a_fraction_scores_as_one_of_its_two_neighbours_on_the_chart(values, name):
    step = 10 if name == "temperature" else 1
    neighbours = {math.floor(values[name] * step) / step, math.ceil(values[name] * step) / step}
    allowed = {score(Inputs(**{**values, name: value})).scores[name] for value in neighbours}
    assert score(Inputs(**values)).scores[name] in allowed


@given(inputs)
def test_whole_values_score_as_an_independent_implementation_does(values):
    whole = {name: round(v) if isinstance(v, float) else v for name, v in values.items()}
    whole["temperature"] = round(values["temperature"] * 10) / 10
    other = score_news2(
        whole["respiratory_rate"],
        whole["spo2"],
        whole["on_oxygen"],
        whole["systolic"],
        whole["pulse"],
        whole["consciousness"],
        whole["temperature"],
        use_spo2_scale2=whole["spo2_scale"] == 2,
    )
    assert score(Inputs(**whole)).total == other.total


def test_the_published_patient_scores_five_by_the_chart():
    patient = Inputs(
        respiratory_rate=21,
        spo2=93,
        on_oxygen=False,
        systolic=120,
        pulse=95,
        consciousness="A",
        temperature=37.5,
    )
    assert score(patient).total == 5


def test_a_device_temperature_between_the_charts_tenths_is_rounded_and_not_lost():
    assert score(Inputs(**{**NORMAL, "temperature": 38.05})).scores["temperature"] == 1
    assert score(Inputs(**{**NORMAL, "temperature": 38.04})).scores["temperature"] == 0


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("doubt", ["missing", "stale", "invalid"])
def test_what_is_missing_stale_or_invalid_is_named_and_never_counts_as_zero(name, doubt):
    values = dict(NORMAL)
    if doubt == "missing":
        del values[name]
        result = score(Inputs(**values))
    else:
        result = score(Inputs(**values, doubts={name: doubt}))
    assert result.total is None
    assert result.risk is None
    assert result.scores[name] is None
    assert result.problems[name].startswith(doubt)


@given(inputs, st.sets(st.sampled_from(SCORED), min_size=1))
def test_without_some_inputs_the_known_parts_are_a_lower_bound(values, left_out):
    whole = score(Inputs(**values))
    partly = score(Inputs(**{name: v for name, v in values.items() if name not in left_out}))
    assert partly.total is None
    assert partly.at_least <= whole.total


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 1000, True, "16"])
def test_an_implausible_value_is_invalid(value):
    result = score(Inputs(**{**NORMAL, "respiratory_rate": value}))
    assert result.total is None
    assert result.problems["respiratory_rate"].startswith("invalid")


def test_on_scale_2_a_high_saturation_needs_to_know_about_oxygen():
    values = {name: value for name, value in NORMAL.items() if name != "on_oxygen"}
    assert score(Inputs(**values, spo2_scale=2)).scores["spo2"] is None
    assert score(Inputs(**{**values, "spo2": 90}, spo2_scale=2)).scores["spo2"] == 0


@pytest.mark.parametrize(
    ("changes", "total", "risk"),
    [
        ({}, 0, "low"),
        ({"respiratory_rate": 21, "spo2": 95, "pulse": 95}, 4, "low"),
        ({"respiratory_rate": 25}, 3, "low-medium"),
        ({"respiratory_rate": 21, "spo2": 93, "pulse": 95}, 5, "medium"),
        ({"respiratory_rate": 25, "spo2": 91}, 6, "medium"),
        ({"respiratory_rate": 25, "spo2": 91, "pulse": 95}, 7, "high"),
    ],
)
def test_the_risk_follows_the_thresholds_of_the_chart(changes, total, risk):
    result = score(Inputs(**{**NORMAL, **changes}))
    assert (result.total, result.risk) == (total, risk)


@pytest.mark.parametrize(
    ("age", "pregnant", "excluded"), [(15.9, False, True), (16, False, False), (30, True, True)]
)
def test_there_is_no_score_under_16_nor_in_pregnancy(age, pregnant, excluded):
    assert (not_for(age, pregnant=pregnant) is not None) is excluded
    result = json.loads(news2_json(json.dumps([{**NORMAL, "age": age, "pregnant": pregnant}])))[0]
    assert (result["total"] is None) is excluded
    assert ("patient" in result["problems"]) is excluded


def test_the_command_scores_every_item_in_order_with_sub_scores():
    first, second = json.loads(news2_json(json.dumps([NORMAL, {**NORMAL, "consciousness": "V", "spo3": 1}])))
    assert first["total"] == 0
    assert first["complete"]
    assert (second["total"], second["risk"]) == (3, "low-medium")
    assert second["scores"]["consciousness"] == 3
    assert "spo3" in second["problems"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[{]"])
def test_what_is_no_array_of_inputs_is_refused_with_what_was_expected(text):
    with pytest.raises(News2InputInvalid, match="expected"):
        news2_json(text)


@given(
    st.dictionaries(
        st.sampled_from([*SCORED, "spo2_scale", "age", "pregnant", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_any_item_gives_a_score_or_says_what_is_wrong(item):
    result = json.loads(news2_json(json.dumps([item])))[0]
    assert result["complete"] or result["problems"]

import pytest

from device_sims.devices.pump import pump_state
from device_sims.errors import InputError
from device_sims.physiology import Vitals
from device_sims.scenario import Scenario, Truth, load, names, parse

HOLD_S = 10
FIELDS = {
    "heart_rate": "heart_rate",
    "respiratory_rate": "respiratory_rate",
    "spo2": "spo2",
    "temperature": "temperature",
    "nibp_systolic": "systolic",
    "glucose": "glucose",
}


def beyond(truth: Truth, vitals: Vitals) -> bool:
    value = getattr(vitals, FIELDS[truth.parameter])
    if value is None:
        return False
    return value < truth.limit if truth.condition == "limit_low" else value > truth.limit


def first_onset(scenario: Scenario, truth: Truth, seed: int) -> float | None:
    """The first second from which the limit is left for ten seconds in a row."""
    patient, step = scenario.patient(seed), 2 if scenario.duration_s <= 4000 else 5
    since = None
    for t in range(0, int(scenario.duration_s), step):
        if not beyond(truth, patient.vitals(t)):
            since = None
        elif since is None:
            since = t
        elif t - since >= HOLD_S:
            return since
    return None


PHYSIOLOGICAL = [(name, truth) for name in names() for truth in load(name).truth if truth.parameter]


@pytest.mark.parametrize(("name", "truth"), PHYSIOLOGICAL, ids=lambda v: getattr(v, "parameter", v))
def test_what_a_scenario_calls_true_begins_when_it_says(name: str, truth: Truth) -> None:
    scenario = load(name)
    for seed in range(8):
        onset = first_onset(scenario, truth, seed)
        assert onset is not None, seed
        assert truth.after_s <= onset <= truth.before_s, (seed, onset)


@pytest.mark.parametrize("name", ["stable", "end_of_infusion", "occlusion", "wandering", "lost_gateway"])
def test_a_patient_who_is_well_never_leaves_the_limits_for_ten_seconds(name: str) -> None:
    scenario = load(name)
    for parameter, low, high in (("heart_rate", 50, 120), ("respiratory_rate", 8, 30), ("spo2", 90, 101)):
        for condition, limit in (("limit_low", low), ("limit_high", high)):
            truth = Truth(condition, 0, 0, parameter, limit)
            assert [first_onset(scenario, truth, seed) for seed in range(4)] == [None] * 4, (
                parameter,
                condition,
            )


def test_pumps_do_what_their_scenarios_call_true() -> None:
    conditions = {
        "occlusion": lambda state: state.occluded,
        "near_end": lambda state: state.near_end,
        "end_of_infusion": lambda state: state.status == "completed",
    }
    told = 0
    for name in names():
        scenario = load(name)
        for truth in scenario.truth:
            if truth.parameter is None:
                present = conditions[truth.condition]
                seconds = range(int(scenario.duration_s))
                onset = next(t for t in seconds if present(pump_state(scenario.pump, t)))
                assert truth.after_s <= onset <= truth.before_s, (name, truth.condition, onset)
                told += 1
    assert told == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title = 1", "title"),
        ("nonsense", "scenario mine"),
        ("{} \n[drives]\nmagic = [[0, 1]]", "no drive magic"),
        ("{} \n[drives]\nfever = [[5, 1], [5, 2]]", "seconds rise"),
        ("{} \n[[truth]]\ncondition = 'occlusion'\nafter_s = 5\nbefore_s = 1", "before_s"),
        ("{} \n[beacon]\nrooms = []", "beacon.rooms"),
        ("{} \ncolour = 1", "colour"),
    ],
)
def test_a_scenario_that_is_wrong_is_told_by_its_key(text: str, told: str) -> None:
    head = "title = 'a'\nsummary = 'b'\nduration_s = 60\nage_years = 50"
    head += "" if "[[truth]]" in text else "\ntruth = []"
    with pytest.raises(InputError, match=told):
        parse("mine", text.format(head) if "{}" in text else text)


def test_an_unknown_scenario_is_told_with_the_ones_there_are() -> None:
    with pytest.raises(InputError, match="sepsis"):
        load("sepsys")

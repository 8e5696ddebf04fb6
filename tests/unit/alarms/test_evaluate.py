from hypothesis import given
from hypothesis import strategies as st

from hub.alarms.evaluate import ABSENT, ConditionState, evaluate
from hub.alarms.rules import Limit
from hub.clock import SECOND_NS

HIGH = Limit("heart_rate", "limit_high", "high", 120, "medium", 0, 2)
LOW = Limit("spo2", "limit_low", "low", 90, "medium", 10 * SECOND_NS, 1)


def run(limit, *samples):
    """Feed (second, value) samples; return the states."""
    state, states = ABSENT, []
    for second, value in samples:
        state = evaluate(state, value, (1000 + second) * SECOND_NS, limit)
        states.append(state)
    return states


def test_the_limit_itself_is_inside():
    assert run(HIGH, (0, 120)) == [ABSENT]


def test_without_a_delay_the_first_value_beyond_the_limit_begins_the_condition():
    assert run(HIGH, (0, 121)) == [ConditionState(1000 * SECOND_NS, present=True)]


def test_a_condition_must_last_for_its_delay_and_begins_when_it_was_first_seen():
    states = run(LOW, (0, 89), (9, 88), (10, 88))
    assert [state.present for state in states] == [False, False, True]
    assert states[-1].begun_ns == 1000 * SECOND_NS


def test_a_value_inside_the_limit_starts_the_delay_anew():
    assert [state.present for state in run(LOW, (0, 89), (9, 95), (10, 89), (19, 89), (20, 89))] == [
        False,
        False,
        False,
        False,
        True,
    ]


def test_a_present_condition_ends_only_inside_by_the_hysteresis():
    assert [state.present for state in run(HIGH, (0, 121), (1, 119), (2, 118))] == [True, True, False]


def test_no_valid_value_holds_a_present_and_a_pending_condition():
    assert [state.present for state in run(HIGH, (0, 121), (1, None))] == [True, True]
    assert [state.present for state in run(LOW, (0, 89), (5, None), (10, 89))] == [False, False, True]


def test_zero_is_a_value_and_alarms():
    assert run(Limit("heart_rate", "critical_low", "low", 40, "high", 0, 0), (0, 0.0))[0].present


@given(st.lists(st.none() | st.floats(0, 100), max_size=50))
def test_a_condition_is_present_only_after_values_beyond_the_limit_for_the_whole_delay(values):
    state, beyond_since = ABSENT, None
    for second, value in enumerate(values):
        before, state = state, evaluate(state, value, (second + 1) * SECOND_NS, LOW)
        if value is not None:
            beyond_since = None if value >= LOW.bound else (second if beyond_since is None else beyond_since)
        if state.present and not before.present:
            assert beyond_since is not None
            assert second - beyond_since >= 10

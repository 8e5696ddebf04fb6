from hypothesis import given
from hypothesis import strategies as st

from hub.stores.rollups import roll_up, step_ns
from hub.stores.store import TrendPoint


def test_parts_of_one_step_from_several_sources_become_one_point() -> None:
    parts = [
        (100, 2, 10.0, 4.0, 6.0),
        (199, 1, 20.0, 20.0, 20.0),
        (200, 1, 1.0, 1.0, 1.0),
        (300, 0, 0.0, 0.0, 0.0),
    ]
    assert roll_up(parts, 100, 100) == [
        TrendPoint(100, 4.0, 10.0, 20.0, 3),
        TrendPoint(200, 1.0, 1.0, 1.0, 1),
    ]


@given(st.integers(0, 10**18), st.integers(1, 10**17), st.integers(1, 5000))
def test_the_steps_cover_the_range_and_are_not_more_than_asked_for(
    start: int, length: int, points: int
) -> None:
    step = step_ns(start, start + length, points)
    assert step * points >= length
    assert -(-length // step) <= points

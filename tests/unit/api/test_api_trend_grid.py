from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hub.api.trends import Grid
from hub.stores.store import TrendPoint

START = 1_795_485_600_000_000_000


@st.composite
def spans(draw):
    length = draw(st.integers(2, 10**6))
    points = draw(st.integers(1, 1000))
    start = draw(st.integers(0, length - 1))
    end = draw(st.integers(start + 1, length))
    return length, points, START + start, START + end


@given(spans())
def test_the_pieces_of_a_period_cover_it_exactly_and_reach_nowhere_beyond(span):
    length, points, start, end = span
    pieces = Grid(START, START + length, points).pieces(start, end)
    assert len(pieces) <= 3
    assert (pieces[0][0], pieces[-1][1]) == (start, end)
    assert all(before[1] == after[0] for before, after in pairwise(pieces))


@given(spans())
def test_no_piece_mixes_two_steps_of_the_grid(span):
    length, points, start, end = span
    grid = Grid(START, START + length, points)
    for first, last, steps in grid.pieces(start, end):
        if steps == 1:
            assert (first - START) // grid.step_ns == (last - 1 - START) // grid.step_ns
        else:
            assert (first - START) % grid.step_ns == 0
            assert last - first == steps * grid.step_ns


@given(spans())
def test_there_are_never_more_steps_than_points(span):
    length, points, _, _ = span
    grid = Grid(START, START + length, points)
    assert -(-length // grid.step_ns) <= points


@given(st.lists(st.floats(-100, 300), min_size=1, max_size=20), st.data())
def test_merged_points_are_those_of_all_values_together(values, data):
    cut = data.draw(st.integers(0, len(values)))
    grid = Grid(START, START + 1000, 1)
    for part in (values[:cut], values[cut:]):
        if part:
            grid.add(TrendPoint(START, min(part), sum(part) / len(part), max(part), len(part)))
    (point,) = grid.points()
    assert (point.minimum, point.maximum, point.count) == (min(values), max(values), len(values))
    assert abs(point.mean - sum(values) / len(values)) < 1e-6

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sims.load.histogram import Histogram, highest_us

times = st.integers(0, 2**32 - 1)


@given(st.lists(times, min_size=1, max_size=200), st.floats(0, 100))
def test_a_percentile_is_right_to_one_part_in_a_thousand(recorded_us: list[int], percent: float) -> None:
    histogram = Histogram()
    for microseconds in recorded_us:
        histogram.record(microseconds)
    ordered = sorted(recorded_us)
    wanted = max(len(ordered) * percent / 100, 1)
    exact = next(value for place, value in enumerate(ordered, 1) if place >= wanted)
    # 1.001 ms are not quite 1001 us in floating point.
    told_us = round(histogram.percentile_ms(percent) * 1000)
    assert exact <= told_us <= exact * 1.001 + 0.5


@given(times)
def test_every_time_falls_into_a_bucket_that_holds_it(microseconds: int) -> None:
    histogram = Histogram()
    histogram.record(microseconds)
    (place,) = histogram.sparse()
    assert microseconds <= highest_us(place)
    assert place == 0 or highest_us(place - 1) < microseconds


@given(st.lists(times), st.lists(times))
def test_histograms_of_two_processes_add_up_to_the_one_of_both(first: list[int], second: list[int]) -> None:
    one, two, both = Histogram(), Histogram(), Histogram()
    for microseconds in first:
        one.record(microseconds)
        both.record(microseconds)
    for microseconds in second:
        two.record(microseconds)
        both.record(microseconds)
    one.add(two.sparse())
    assert one.sparse() == both.sparse()
    assert one.total == both.total == len(first) + len(second)


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert Histogram().percentile_ms(50) is None


def test_times_beyond_the_ends_count_as_the_ends() -> None:
    histogram = Histogram()
    histogram.record(-5)
    histogram.record(2**40)
    assert histogram.percentile_ms(1) == 0
    assert histogram.percentile_ms(100) == pytest.approx(2**32 / 1000, rel=0.001)


def test_buckets_between_edges_count_everything_once() -> None:
    histogram = Histogram()
    for milliseconds in (0.5, 1.5, 3, 3, 700):
        histogram.record(int(milliseconds * 1000))
    assert histogram.buckets_ms((1, 2, 5)) == [1, 1, 2, 1]
    histogram.clear()
    assert histogram.total == 0

from hypothesis import given
from hypothesis import strategies as st

from hub.stores.samples import pack, unpack

integers = st.lists(st.one_of(st.none(), st.integers(-(2**29), 2**29).map(float)), min_size=1, max_size=60)
floats = st.lists(
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=60
)


@given(st.one_of(integers, floats))
def test_samples_come_back_as_they_were(samples: list[float | None]) -> None:
    assert unpack(pack(samples)) == samples


def test_a_second_of_ecg_takes_a_fraction_of_its_doubles() -> None:
    samples = [float(2048 + (n * 7) % 23 + (400 if n % 200 < 6 else 0)) for n in range(250)]
    assert len(pack(samples)) < 250 * 8 / 8

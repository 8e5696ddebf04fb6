from hypothesis import given
from hypothesis import strategies as st

from hub.duplicates import Duplicates, payload_hash

identity = st.tuples(st.integers(0, 5), st.integers(-(2**62), 2**62), st.integers(0, 2**63 - 1))


@given(st.lists(identity, max_size=60))
def test_within_the_window_exactly_the_repeated_identities_are_duplicates(identities):
    window = Duplicates(span=60)
    known = set()
    for one in identities:
        assert window.seen(*one) == (one in known)
        known.add(one)


def test_the_window_is_bounded_and_forgets_the_oldest_first():
    window = Duplicates(span=100)
    for time in range(1000):
        assert not window.seen(0, time, 1)
    assert len(window) <= 200
    assert window.seen(0, 950, 1)
    assert not window.seen(0, 5, 1)


def test_the_payload_hash_is_the_same_in_every_process():
    assert payload_hash(b'{"values":{}}') == 278_442_307_298_733_902

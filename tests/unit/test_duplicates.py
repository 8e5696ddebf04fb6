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


@given(st.lists(identity, max_size=200), st.integers(1, 7))
def test_whatever_passes_through_the_last_of_them_are_known_and_nothing_is_that_never_came(identities, span):
    window = Duplicates(span=span)
    came = []
    for one in identities:
        duplicate = window.seen(*one)
        if one in came[-span:]:
            assert duplicate
        elif one not in came:
            assert not duplicate
        if not duplicate:
            came.append(one)
        assert len(window) <= 2 * span


def test_what_is_too_large_to_be_noted_is_known_all_the_same():
    window = Duplicates()
    for identity in ((1, 2**70, 1), (2, 5, 2**65), (3, -(2**70), 7)):
        assert not window.seen(*identity)
        assert window.seen(*identity)


def test_times_that_only_rise_and_one_that_comes_again_is_found():
    window = Duplicates(span=1000)
    for time in range(1, 900):
        assert not window.seen(time % 3, time, time)
    assert window.seen(450 % 3, 450, 450)
    assert not window.seen(450 % 3, 450, 451)
    assert not window.seen(0, 10_000, 1)
    assert window.seen(0, 10_000, 1)


def test_the_window_is_bounded_and_forgets_the_oldest_first():
    window = Duplicates(span=100)
    for time in range(1000):
        assert not window.seen(0, time, 1)
    assert len(window) <= 200
    assert window.seen(0, 950, 1)
    assert not window.seen(0, 5, 1)


def test_the_payload_hash_is_the_same_in_every_process():
    assert payload_hash(b'{"values":{}}') == 278_442_307_298_733_902

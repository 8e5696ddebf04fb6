from hypothesis import given
from hypothesis import strategies as st

from hub.openid.attempt import Attempt

NOW = 1_790_000_000.5
DIGEST = "0" * 64


def test_an_attempt_is_known_again_by_its_cookie_for_ten_minutes():
    attempt = Attempt.begin(NOW, DIGEST)
    again = Attempt.of_cookie(attempt.cookie, NOW + 599)
    assert again == attempt
    assert again.before == DIGEST
    assert Attempt.of_cookie(attempt.cookie, NOW + 601) is None
    assert Attempt.of_cookie(attempt.cookie, NOW - 5) is None, "from a time to come"
    assert Attempt.of_cookie(Attempt.begin(NOW).cookie, NOW).before == ""


def test_state_nonce_and_verifier_are_of_one_attempt_and_do_not_tell_the_cookie():
    first, second = Attempt.begin(NOW), Attempt.begin(NOW)
    told = {value for one in (first, second) for value in (one.state, one.nonce, one.verifier)}
    assert len(told) == 6
    assert all(len(value) == 43 for value in told), "as many characters as PKCE wants at least"
    assert not any(value in first.cookie for value in told)


def test_an_answer_is_told_by_its_state():
    attempt = Attempt.begin(NOW)
    assert attempt.is_answered_by(attempt.state)
    for state in ("", attempt.nonce, attempt.state[:-1], attempt.state + "x", "\ud800"):
        assert not attempt.is_answered_by(state)


def test_a_cookie_that_was_changed_is_another_attempt():
    attempt = Attempt.begin(NOW, DIGEST)
    for old, new in ((DIGEST, "1" * 64), (str(int(NOW)), str(int(NOW) + 60))):
        changed = Attempt.of_cookie(attempt.cookie.replace(old, new), NOW + 60)
        assert changed.state != attempt.state


@given(st.text(max_size=200))
def test_what_is_no_cookie_of_ours_is_no_attempt(text):
    assert Attempt.of_cookie(text, NOW) is None

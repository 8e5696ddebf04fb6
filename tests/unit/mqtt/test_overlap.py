"""Which topics patterns share: held against what the patterns themselves take."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hub.mqtt.overlap import common_topic, is_within
from hub.mqtt.topics import TopicError, TopicPattern


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("gw/ble/{device}", "gw/{device}/status", "gw/ble/status"),
        ("gw/ble/C4:{d}", "gw/{device}/status", None),
        ("a/{x}-b", "a/c-{y}", "a/c-b"),
        ("a/x{x}b", "a/xb", None),
        ("a/{x}", "a/", None),
        ("a/+", "a/{x...}", "a/"),
        ("a/b", "a/b/#", "a/b"),
        ("a/b", "a/b/+", None),
        ("{any}/status", "$SYS/status", None),
        ("$SYS/{x}", "$SYS/#", "$SYS/x"),
        ("#", "{x}", "x"),
        ("s/{a}1{b}", "s/2{c}", "s/21x"),
    ],
)
def test_a_topic_of_both_is_found_where_there_is_one(one, other, common):
    first, second = TopicPattern(one), TopicPattern(other)
    for found in (common_topic(first, second), common_topic(second, first)):
        assert (found is None) is (common is None)
        if found is not None:
            assert first.match(found) is not None
            assert second.match(found) is not None
            assert len(found) <= len(common)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/b", "a/{x}"),
        ("a/{x}", "a/+"),
        ("a/pump-{x}", "a/{device}"),
        ("a/{x}/{y}", "a/{x...}"),
        ("a", "a/#"),
        ("a/{x}-{y}", "a/{z}"),
    ],
)
def test_the_narrower_of_two_is_known(one, other):
    assert is_within(TopicPattern(one), TopicPattern(other))
    assert not is_within(TopicPattern(other), TopicPattern(one))


LEVELS = st.lists(
    st.sampled_from(["a", "b", "+", "{%d}", "a{%d}", "{%d}b", "{%d}a{%d}", "ab", "$", "", "#", "{%d...}"]),
    min_size=1,
    max_size=4,
)
TOPICS = st.lists(st.text(alphabet="ab$c", max_size=4), min_size=1, max_size=5).map("/".join)


def pattern(levels):
    text = "/".join(levels)
    number = iter(range(100))
    while "%d" in text:
        text = text.replace("%d", f"p{next(number)}", 1)
    try:
        return TopicPattern(text)
    except TopicError:
        assume(False)


@settings(max_examples=400, deadline=None)
@given(LEVELS.map(tuple), LEVELS.map(tuple), TOPICS)
def test_the_answers_hold_for_any_topic(one, other, topic):
    first, second = pattern(one), pattern(other)
    assume(topic)
    common = common_topic(first, second)
    if common is not None:
        assert first.match(common) is not None
        assert second.match(common) is not None
    elif first.match(topic) is not None:
        assert second.match(topic) is None
    if is_within(first, second) and first.match(topic) is not None:
        assert second.match(topic) is not None

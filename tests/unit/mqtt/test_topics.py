import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mqtt.topics import (
    NATIVE_FILTER,
    NativeTopic,
    TopicError,
    TopicPattern,
    check_filter,
    check_topic,
    matches,
    native_topic,
    parse_native,
)

ids = st.text("ABCxyz019_-", min_size=1, max_size=64)
levels = st.text("ab$", max_size=3)
topics = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
filters = (
    st.tuples(st.lists(st.one_of(levels, st.just("+")), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join([*parts[0], *parts[1]]))
    .filter(bool)
)


def slow_matches(topic_filter: str, topic: str) -> bool:
    """The rules of section 4.7, read level by level."""
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    wanted, given_ = topic_filter.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(given_) or level not in ("+", given_[position]):
            return False
    return len(wanted) == len(given_)


@given(filters, topics)
def test_a_filter_takes_what_the_standard_says(topic_filter: str, topic: str) -> None:
    assert check_filter(topic_filter) == topic_filter
    assert matches(topic_filter, topic) == slow_matches(topic_filter, topic)


@given(filters, topics)
def test_a_pattern_takes_at_most_what_its_filter_takes(topic_filter: str, topic: str) -> None:
    number = iter(range(9))
    text = topic_filter.replace("#", "{rest...}")
    text = re.sub(r"\+", lambda _: f"{{p{next(number)}}}", text)
    pattern = TopicPattern(text)
    assert pattern.filter == topic_filter
    if pattern.match(topic) is not None:
        assert matches(topic_filter, topic)
    elif matches(topic_filter, topic):
        assert "" in topic.split("/"), "only an empty level is refused by a named part"


@given(ids, ids, ids, ids)
def test_a_native_topic_comes_apart_as_it_was_put_together(
    site: str, area: str, device: str, channel: str
) -> None:
    topic = native_topic(site, area, device, channel)
    assert parse_native(topic) == NativeTopic(site, area, device, channel)
    assert str(NativeTopic(site, area, device, channel)) == topic
    assert matches(NATIVE_FILTER, topic)


def test_a_result_of_a_command_is_a_native_topic() -> None:
    topic = native_topic("north", "icu", "pump-7", "commands/result")
    assert parse_native(topic) == ("north", "icu", "pump-7", "commands/result")


@pytest.mark.parametrize(
    "topic",
    [
        "wards/v1/a/b/c",
        "wards/v1/a/b/c/d/e/f",
        "wards/v1/a//c/d",
        "wards/v1/a/b/c d/e",
        "wards/v1/a/b/c/d\n",
        f"wards/v1/a/b/{'c' * 65}/d",
        "wards/v2/a/b/c/d",
        "x/wards/v1/a/b/c/d",
        "wards/v1/ä/b/c/d",
    ],
)
def test_a_topic_off_the_scheme_is_not_native(topic: str) -> None:
    assert parse_native(topic) is None


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (("", "b", "c", "d"), "site"),
        (("a", "+", "c", "d"), "area"),
        (("a", "b", "c/d", "e"), "device"),
        (("a", "b", "c", "#"), "channel"),
        (("a", "b", "c", "d/e/f"), "channel"),
    ],
)
def test_a_part_that_is_no_id_is_named(parts: tuple[str, str, str, str], named: str) -> None:
    with pytest.raises(TopicError, match=f"^{named} "):
        native_topic(*parts)


@pytest.mark.parametrize(
    ("topic_filter", "says"),
    [
        ("", "empty"),
        ("a/b#", "level of its own"),
        ("a/#/b", "last level"),
        ("a+/b", "level of its own"),
        ("a/\0", "NUL"),
        ("a/\ud800", "surrogate"),
        ("a" * 65_536, "65535"),
        ("$share/hubs/wards/#", "shared subscriptions"),
    ],
)
def test_a_bad_filter_says_what_to_change(topic_filter: str, says: str) -> None:
    with pytest.raises(TopicError, match=says):
        check_filter(topic_filter)


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "\0"])
def test_a_topic_to_publish_to_holds_no_wildcard_and_no_nul(topic: str) -> None:
    with pytest.raises(TopicError):
        check_topic(topic)


@pytest.mark.parametrize(
    ("text", "topic_filter", "topic", "parts"),
    [
        (
            "iomt/telemetry/{ward}/{device}",
            "iomt/telemetry/+/+",
            "iomt/telemetry/icu/p7",
            {"ward": "icu", "device": "p7"},
        ),
        ("iomt/telemetry/{ward}/{device}", "iomt/telemetry/+/+", "iomt/telemetry/icu", None),
        ("gw/{rest...}", "gw/#", "gw/a/b", {"rest": "a/b"}),
        ("gw/{rest...}", "gw/#", "gw", {"rest": ""}),
        (
            "home/{gw}/BTtoMQTT/{mac}",
            "home/+/BTtoMQTT/+",
            "home/g/BTtoMQTT/4A:5B",
            {"gw": "g", "mac": "4A:5B"},
        ),
        ("gw-{id}/x", "+/x", "gw-12/x", {"id": "12"}),
        ("gw-{id}/x", "+/x", "ap-12/x", None),
        ("a.{x}-{y}", "+", "a.1-2", {"x": "1", "y": "2"}),
        ("a.{x}-{y}", "+", "ab1-2", None),
        ("+/{device}", "+/+", "any/d", {"device": "d"}),
        ("{a}/b", "+/b", "$SYS/b", None),
        ("$SYS/{a}", "$SYS/+", "$SYS/b", {"a": "b"}),
    ],
)
def test_a_pattern_names_the_parts_of_a_topic(
    text: str, topic_filter: str, topic: str, parts: dict[str, str] | None
) -> None:
    pattern = TopicPattern(text)
    assert pattern.filter == topic_filter
    assert pattern.match(topic) == parts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a/{b", "write a part as"),
        ("a/{B}", "write a part as"),
        ("a/{b}/{b}", "occurs twice"),
        ("a/{b...}/c", "whole last level"),
        ("a/x{b...}", "whole last level"),
        ("a/{b}+", "name the wildcard"),
        ("a/{b}{c}", "literal text between"),
        ("a/#/b", "last level"),
    ],
)
def test_a_bad_pattern_says_what_to_change(text: str, says: str) -> None:
    with pytest.raises(TopicError, match=says):
        TopicPattern(text)

"""`[[read.alarms]]`: the alarms that a device has, as a list of its words."""

from datetime import UTC

import pytest

from hub.devices.decode import AlarmSent, Refused
from hub.devices.definition_file import parse
from hub.devices.reader import Reader

HEAD = """
title = "A pump"
source = "this test"
interval_s = 10
[[topic]]
pattern = "pumps/{device}"
[[read]]
"""
LIST = """
[[read.alarms]]
path = "alarms"
priority = "low"
text = { path = "drug" }
[read.alarms.map]
NEAR_END = "near_end"
END = { condition = "end_of_infusion", priority = "high", text = "Infusion ended" }
OCC_UP = { condition = "occlusion", priority = "high" }
OCC_DOWN = { condition = "occlusion", priority = "high" }
7 = { condition = "rate_high", kind = "physiological", parameter = "pump_flow_rate" }
"""


@pytest.fixture
def read():
    definition, problems = parse(HEAD + LIST, "pump.toml")
    assert definition is not None, problems
    return lambda payload: Reader("pump", definition, UTC).read(payload, {"device": "p"})


def present(items):
    return {item.condition for item in items if isinstance(item, AlarmSent) and item.presence == "present"}


def absent(items):
    return {item.condition for item in items if isinstance(item, AlarmSent) and item.presence == "absent"}


ALL = {"near_end", "end_of_infusion", "occlusion", "rate_high"}


def test_what_is_in_the_list_is_present_and_what_is_not_ends(read):
    items = read({"alarms": ["NEAR_END", "OCC_DOWN", 7], "drug": "Noradrenaline"})
    assert present(items) == {"near_end", "occlusion", "rate_high"}
    assert absent(items) == {"end_of_infusion"}
    assert len(items) == len(ALL), "two words of one condition are one alarm"
    near_end, *_, occlusion, rate = items
    assert (near_end.priority, near_end.kind, near_end.text) == ("low", "technical", "Noradrenaline")
    assert (occlusion.priority, occlusion.kind) == ("high", "technical")
    assert (rate.kind, rate.parameter) == ("physiological", "pump_flow_rate")
    (ended,) = [item for item in read({"alarms": ["END"]}) if item.presence == "present"]
    assert (ended.text, ended.priority) == ("Infusion ended", "high")


def test_an_empty_list_ends_all_and_nothing_there_says_nothing(read):
    assert absent(read({"alarms": []})) == ALL
    for nothing in ({}, {"alarms": None}):
        assert not present(read(nothing)) | absent(read(nothing))


def test_a_word_alone_is_a_list_of_one(read):
    assert present(read({"alarms": "END"})) == {"end_of_infusion"}


@pytest.mark.parametrize(
    ("sent", "path"),
    [(["END", "ODD"], "$.alarms[1]"), (["END", None], "$.alarms[1]"), (["END", {"a": 1}], "$.alarms[1]")],
)
def test_a_word_that_the_map_lacks_is_told_and_the_others_count(read, sent, path):
    items = read({"alarms": sent})
    assert [item.path for item in items if isinstance(item, Refused)] == [path]
    assert present(items) == {"end_of_infusion"}


def test_what_is_no_list_is_told_and_ends_nothing(read):
    (refused,) = read({"alarms": {"END": True}})
    assert refused.reason == "expected an array of words, found an object"


def test_words_that_matter_to_nobody_can_be_ignored():
    definition, _ = parse(HEAD + LIST.replace('priority = "low"', 'other = "ignore"'), "pump.toml")
    items = Reader("pump", definition, UTC).read({"alarms": ["ODD"]}, {"device": "p"})
    assert absent(items) == ALL
    assert not [item for item in items if isinstance(item, Refused)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"near_end"', '"Near End"', "small letters"),
        ('priority = "high"', 'priority = "urgent"', "expected 'high', 'medium', 'low' or 'information'"),
        ("pump_flow_rate", "pump_rate", "did you mean"),
        ('path = "alarms"', 'path = "alarms[*]"', "each"),
    ],
)
def test_what_can_not_be_right_is_told_when_it_is_written(old, new, words):
    definition, problems = parse(HEAD + LIST.replace(old, new), "pump.toml")
    assert definition is None
    assert words in problems[0].message

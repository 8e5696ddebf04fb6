"""`hub devices check --samples`: what no sample reaches is told, and every number that nothing reads."""

import json

import pytest

from hub.devices.check import check

DEFINITION = """
title = "Monitor"
source = "its manual"
interval_s = 5
device = ["serial", { topic = "part" }]
time = ["at", "$.now"]

[[topic]]
pattern = "monitors/{part}"

[[read]]
when = { path = "kind", any_of = ["vital", "vitals"] }
[[read.value]]
path = "hr"
parameter = "heart_rate"
unit = { path = "hr_unit" }
[[read.value]]
path = "sat.v"
parameter = "spo2"
unit = "%"
quality = { path = "sat.q", map = { OK = "valid", BAD = "invalid" } }
[[read.alarm]]
path = "leads"
condition = "leads_off"
present = ["OFF", "LOOSE"]
absent = ["ON"]

[[read]]
when = { path = "kind", equals = "status" }
status = { state = { path = "state", map = { up = "online", down = "offline" } } }
"""
USUAL = {
    "serial": "m-1",
    "at": "2026-11-24T02:43:12Z",
    "kind": "vital",
    "hr": 72,
    "hr_unit": "/min",
    "sat": {"v": 97, "q": "OK"},
    "leads": "ON",
}


@pytest.fixture
def told(tmp_path):
    def of(*samples, definition=DEFINITION):
        file = tmp_path / "monitor.toml"
        file.write_text(definition)
        payloads = []
        for number, sample in enumerate(samples):
            payloads.append(tmp_path / f"{number}.json")
            payloads[-1].write_text(json.dumps(sample))
        return [(one.severity, one.key, one.message, one.line) for one in check([file], payloads)]

    return of


def doubts(found):
    assert all(severity == "warning" for severity, *_ in found)
    return {key: message for _, key, message, _ in found}


def test_every_path_that_no_sample_reaches_is_told_with_its_line(told):
    only = {key: value for key, value in USUAL.items() if key not in ("hr", "hr_unit", "leads")}
    lines = {key: line for _, key, _, line in told(only)}
    assert lines["read[0].value[0]"] == DEFINITION.splitlines().index("[[read.value]]") + 1
    found = doubts(told(only))
    assert found["read[0].value[0]"] == "no sample has anything at hr"
    assert found["read[0].alarm[0]"] == "no sample has anything at leads"
    assert found["time[1]"] == "no sample has anything at $.now"
    assert found["read[1]"] == "no sample has a record of this kind"
    assert "read[0].value[0].unit" not in found, (
        "what is within a path that nothing reaches is not told again"
    )


def test_every_entry_of_a_map_and_every_word_that_no_sample_has_is_told(told):
    found = doubts(told(USUAL))
    assert found["read[0].value[1].quality.map"] == "no sample has BAD"
    assert found["read[0].when[0].any_of"] == "no sample has vitals"
    assert found["read[0].alarm[0].present"] == "no sample has this condition"
    loose = doubts(told({**USUAL, "leads": "LOOSE", "kind": "vitals"}))
    assert loose["read[0].alarm[0].present"] == "no sample has OFF"
    assert loose["read[0].alarm[0].absent"] == "no sample ends this condition"


def test_samples_that_reach_everything_leave_no_doubt(told):
    others = {**USUAL, "kind": "vitals", "sat": {"v": 60, "q": "BAD"}, "leads": "LOOSE"}
    unnamed = {"now": "2026-11-24T02:43:12Z", "kind": "vital", "leads": "OFF"}
    states = [{"kind": "status", "state": state, "serial": "m-1"} for state in ("up", "down")]
    assert told(USUAL, others, unnamed, *states) == []


def test_a_number_that_nothing_reads_is_told_once_whatever_else_is_read(told):
    sample = {**USUAL, "ratio": 1.5, "more": [{"n": 1}, {"n": 2}], "text": "3", "flag": True}
    found = {key: message for key, message in doubts(told(sample, sample)).items() if key.startswith("$")}
    assert found == dict.fromkeys(["$.ratio", "$.more[*].n"], "is a number that nothing reads")


def test_texts_of_numbers_count_where_the_definition_takes_them_for_numbers(told):
    definition = DEFINITION.replace("interval_s = 5", "interval_s = 5\ntext_numbers = true")
    found = doubts(told({**USUAL, "hr": "72", "ratio": "1.5"}, definition=definition))
    assert found["$.ratio"] == "is a number that nothing reads"
    assert "$.hr" not in found


def test_a_number_that_only_decides_is_read(told):
    definition = DEFINITION.replace('equals = "status"', "equals = 2")
    found = doubts(
        told({**USUAL, "kind": "vital"}, {"kind": 2, "state": "up", "serial": "m-1"}, definition=definition)
    )
    assert "$.kind" not in found


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('path = "hr"\n', 'jmespath = "abs(serial)"\n', "read[0].value[0]"),
        (
            '{ path = "kind", equals = "status" }',
            "{ jmespath = \"starts_with(hr, 's')\", equals = true }",
            "read[1].when",
        ),
        (
            '[[read]]\nwhen = { path = "kind", equals',
            '[[read]]\neach = { jmespath = "keys(serial)" }\nwhen = { path = "kind", equals',
            "read[1].each",
        ),
    ],
)
def test_an_expression_that_fails_on_a_sample_is_an_error(told, old, new, key):
    assert old in DEFINITION
    errors = [
        (at, message)
        for severity, at, message, _ in told(USUAL, definition=DEFINITION.replace(old, new))
        if severity == "error"
    ]
    ((at, message),) = errors
    assert at == key
    assert message.startswith("on a sample, an expression that fails: ")


def test_what_a_file_shares_with_the_built_in_ones_is_told_without_samples(told):
    ((severity, key, message, _),) = told(
        definition=DEFINITION.replace("monitors/{part}", "iomt/telemetry/icu/{part}")
    )
    assert (severity, key) == ("warning", "topic")
    assert (
        "takes iomt/telemetry/icu/x, which iomt/telemetry/{area}/{device} of pump-telemetry takes" in message
    )

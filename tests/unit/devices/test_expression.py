"""JMESPath in definitions: what can't work is told when it is written, what fails when it fails."""

from datetime import UTC

import pytest

from hub.devices.decode import Refused, StatusSent
from hub.devices.definition_file import parse
from hub.devices.expression import Failed
from hub.devices.path import InvalidPathError, Path
from hub.devices.reader import Reader

PAYLOAD = {"rows": [1, 2], "x.y": 5}
DEFINITION = """
title = "A test"
source = "this test"
interval_s = 10
[[topic]]
pattern = "test/{device}"
[[read]]
when = { jmespath = "starts_with(kind, 'v')", equals = true }
value = [{ jmespath = "abs(hr)", parameter = "heart_rate", unit = "/min" }]
[[read.alarm]]
jmespath = "contains(alarms, 'KVO')"
condition = "kvo"
other = "ignore"
[[read]]
status = { state = "online" }
"""


def read(payload):
    definition, problems = parse(DEFINITION, "test.toml")
    assert definition is not None, problems
    return Reader("test", definition, UTC).read(payload, {"device": "gw"})


def test_an_expression_that_fails_is_not_taken_for_nothing_and_tells_no_value():
    failed = Path("abs(\"x.y\" && 'secret')", jmes=True).getter()(PAYLOAD, PAYLOAD)
    assert isinstance(failed, Failed)
    assert failed.reason == "an expression that fails: abs() takes number, not string"
    ((place, element),) = Path("keys(rows)", jmes=True).each(PAYLOAD)
    assert place == "$|keys(rows)"
    assert "keys() takes object, not array" in element.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a[", "is not JMESPath"),
        ("rows[?begins_with(n, 'x')]", "no function begins_with(); there are abs,"),
        ("contains(a)", "contains() takes 2 arguments, not 1"),
        ("not_null()", "not_null() takes 1 arguments, not 0"),
    ],
)
def test_an_expression_that_can_never_work_is_told_when_it_is_written(text, words):
    with pytest.raises(InvalidPathError) as error:
        Path(text, jmes=True)
    assert words in str(error.value)
    assert Path("not_null(a, b, c)", jmes=True)


def test_an_expression_that_fails_on_a_payload_is_told_wherever_it_stands():
    observed, alarm, _ = read({"kind": "v", "hr": -72, "alarms": ["KVO"]})
    assert observed.values == {"heart_rate": 72.0}
    assert (alarm.condition, alarm.presence) == ("kvo", "present")
    refused = [item for item in read({"kind": "v", "hr": "72"}) if isinstance(item, Refused)]
    assert [(item.path, item.reason.rpartition(": ")[2]) for item in refused] == [
        ("$|abs(hr)", "abs() takes number, not string"),
        ("$|contains(alarms, 'KVO')", "contains() takes array or string, not null"),
    ]


def test_a_condition_that_can_not_be_decided_is_told_and_keeps_nobody_else_from_reading():
    undecided, status = read({"kind": 3})
    assert "`when` can't be decided" in undecided.reason
    assert "starts_with() takes string, not number" in undecided.reason
    assert isinstance(status, StatusSent)

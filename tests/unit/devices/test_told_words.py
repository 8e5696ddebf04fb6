"""What came where a word was expected is told, short, beside the reason; and each reason once."""

import json
from datetime import UTC

import pytest

from hub.clock import ClockLimits
from hub.devices.catalog import Catalog
from hub.devices.decode import Observed, Refused
from hub.devices.definition_file import parse
from hub.devices.reader import Reader
from hub.duplicates import Duplicates
from hub.intake import Intake
from hub.model import Message
from hub.roster import Roster

DEFINITION = """
title = "A monitor"
source = "this test"
interval_s = 10
device = "id"
time = "at"
[[topic]]
pattern = "monitors/all"
[[read]]
each = "[*]"
when = { path = "kind", any_of = ["a", "b"] }
unit = { path = "u" }
quality = { path = "q", map = { OK = "valid" } }
value = [
  { path = "hr", parameter = "heart_rate" },
  { path = "spo2", parameter = "spo2" },
  { path = "status", parameter = "pump_status", map = { RUN = "infusing" } },
  { path = "drug", parameter = "pump_drug" },
  { path = "v", parameter = { path = "n", map = { HR = "heart_rate" } } },
]
[[read.alarm]]
path = "leads"
condition = "leads_off"
priority = { path = "level", map = { "3" = "high" } }
[[read]]
each = "[*]"
when = { path = "kind", equals = "b" }
status = { state = { path = "state" } }
"""
USUAL = {"id": "m", "at": "2026-11-24T02:43:12Z", "kind": "a"}


def read(*records):
    definition, problems = parse(DEFINITION, "monitor.toml")
    assert definition is not None, problems
    items = Reader("monitor", definition, UTC).read([{**USUAL, **record} for record in records], {})
    return [item for item in items if isinstance(item, Refused)]


@pytest.mark.parametrize(
    ("record", "path", "found"),
    [
        ({"hr": 72, "u": "furlong"}, "$[0].hr", "furlong"),
        ({"hr": 72, "u": "/min", "q": "BROKEN"}, "$[0].q", "BROKEN"),
        ({"status": "DANCING"}, "$[0].status", "DANCING"),
        ({"v": 72, "u": "/min", "n": "XX"}, "$[0].v", "XX"),
        ({"leads": "HALF"}, "$[0].leads", "HALF"),
        ({"leads": 2}, "$[0].leads", "2"),
        ({"leads": True, "level": 9}, "$[0].level", "9"),
        ({"id": "m 1"}, "$[0].id", "m 1"),
        ({"kind": "c"}, "$[0]", "kind: c"),
        ({"kind": "b", "leads": False, "state": "asleep"}, "$[0].state", "asleep"),
        ({"hr": 72, "u": "x" * 500}, "$[0].hr", "x" * 40 + "…"),
        ({"hr": 72, "u": "a\nb"}, "$[0].hr", "a\\nb"),
    ],
)
def test_the_word_is_told_and_never_within_the_reason(record, path, found):
    refused = next(one for one in read(record) if one.path == path)
    assert refused.found == found
    assert found not in refused.reason


@pytest.mark.parametrize(
    "record", [{"hr": "John Doe", "u": "/min"}, {"drug": "x" * 65}, {"hr": {}, "u": "/min"}]
)
def test_what_is_no_word_is_not_told(record):
    (refused,) = read(record)
    assert refused.found == ""


def test_a_reason_of_one_place_is_told_once_whoever_reads_there():
    told = read({"kind": "b", "at": "soon", "id": "m", "leads": True, "level": 3, "state": "online"})
    assert [one.path for one in told] == ["$[0].at"]
    assert len(read({"leads": 1}, {"leads": 1})) == 2, "another record is another place"


def test_so_many_reasons_are_told_and_the_others_counted():
    told = read(*({"leads": 1} for _ in range(250)))
    assert len(told) == 101
    assert told[-1].reason == "150 more parts can't be used"


def test_the_journal_and_the_rejects_get_the_reason_without_the_word(tmp_path):
    file = tmp_path / "monitor.toml"
    file.write_text(DEFINITION)
    roster = Roster(
        Catalog.load(files=[file]),
        max_devices=10,
        provisioned=lambda *_: ("", "", 0.0),
        on_new=lambda *_: None,
    )
    payload = json.dumps([{**USUAL, "hr": 72, "u": "furlong"}]).encode()
    taken = Intake(roster, Duplicates(), ClockLimits()).take([Message("monitors/all", payload)], 1)
    (rejection,) = taken.batch.rejections
    assert "its unit is none of" in rejection.reason
    assert "furlong" not in rejection.reason
    assert [one.found for one in taken.refused[0]] == ["furlong"]
    assert not any(isinstance(one, Observed) for one in taken.refused[0])

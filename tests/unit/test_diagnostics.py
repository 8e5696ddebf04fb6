import json
from pathlib import Path

from jsonschema import Draft202012Validator

from hub import diagnostics as module
from hub.device import Device
from hub.devices.decode import Refused
from hub.diagnostics import MAX_REASONS, Diagnostics

NOW = 1_790_000_000_123_000_000
TOPIC = "wards/v1/main/icu/mon-1/observations"
SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "hub/contracts/diagnostics.schema.json").read_text()),
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)


def make(device_id="mon-1", area="icu"):
    sent = []

    def publish(topic, payload):
        document = json.loads(payload)
        SCHEMA.validate(document)
        sent.append((topic, document))
        return True

    return Diagnostics(publish), sent, Device("main", device_id, area, "native", 1.0)


def test_a_device_is_told_where_and_why_on_its_own_channel_once_a_flush():
    diagnostics, sent, device = make()
    diagnostics.add(
        device, TOPIC, [Refused("$.values.hr", "no such parameter"), Refused("$.time", "no time")]
    )
    diagnostics.add(device, TOPIC, [Refused("$.values.hr", "no such parameter")])
    assert sent == [], "the line only takes notes"
    diagnostics.flush(NOW)
    ((topic, document),) = sent
    assert topic == "wards/v1/main/icu/mon-1/diagnostics"
    assert document["rejects"] == [
        {"topic": TOPIC, "path": "$.values.hr", "reason": "no such parameter", "count": 2},
        {"topic": TOPIC, "path": "$.time", "reason": "no time", "count": 1},
    ]
    assert document["time"].startswith("2026-09-21T")
    diagnostics.flush(NOW)
    assert len(sent) == 1, "what was told is told"


def test_the_word_that_nobody_knows_is_told_with_the_reason():
    diagnostics, sent, device = make()
    diagnostics.add(device, TOPIC, [Refused("$.u", "no such unit", found=unit) for unit in ("a", "b", "a")])
    diagnostics.flush(NOW)
    assert [(one["found"], one["count"]) for one in sent[0][1]["rejects"]] == [("a", 2), ("b", 1)]


def test_one_message_holds_so_many_reasons_and_the_others_are_counted():
    diagnostics, sent, device = make()
    diagnostics.add(device, TOPIC, [Refused(f"$.{n}", "wrong") for n in range(MAX_REASONS + 7)])
    diagnostics.add(device, TOPIC, [Refused("$.0", "wrong")])
    diagnostics.flush(NOW)
    rejects = sent[0][1]["rejects"]
    assert len(rejects) == MAX_REASONS
    assert rejects[0]["count"] == 2, "a reason that has a place goes on being counted"
    assert diagnostics.untold == 7


def test_a_flood_of_devices_is_bounded_and_counted(monkeypatch):
    monkeypatch.setattr(module, "MAX_DEVICES", 3)
    diagnostics, sent, _ = make()
    for number in range(5):
        device = Device("main", f"mon-{number}", "icu", "native", 1.0)
        diagnostics.add(device, TOPIC, [Refused("$", "wrong")])
    diagnostics.flush(NOW)
    assert [topic.split("/")[4] for topic, _ in sent] == ["mon-0", "mon-1", "mon-2"]
    assert diagnostics.untold == 2
    diagnostics.add(Device("main", "mon-9", "icu", "native", 1.0), TOPIC, [Refused("$", "wrong")])
    diagnostics.flush(NOW)
    assert len(sent) == 4, "the next second has room again"


def test_a_device_of_another_scheme_has_no_channel_to_be_told_on():
    for device_id, area in (("AC:23:3F:A0", "icu"), ("mon-1", "")):
        diagnostics, sent, device = make(device_id, area)
        diagnostics.add(device, "gw/x/status", [Refused("$", "wrong")])
        diagnostics.flush(NOW)
        assert sent == []

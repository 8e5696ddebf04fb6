"""`hub devices new`: what is proposed loads, reads its own samples, and marks what it guessed."""

import json
from pathlib import Path

import pytest

from hub.devices.catalog import Catalog
from hub.devices.check import check
from hub.devices.decode import Observed, Refused
from hub.devices.payload import UnreadableError
from hub.devices.propose import guess, propose
from hub.devices.topics import example_topics

CASES = Path(__file__).parents[2] / "cases"


@pytest.fixture
def decoded(tmp_path):
    def of(payload, topic="mine/{device}"):
        file = tmp_path / "mine.toml"
        file.write_text(propose([payload], topic, "Mine"))
        assert not [problem for problem in check([file]) if problem.severity == "error"]
        catalog = Catalog.load(files=[file])
        return catalog.resolve(example_topics(catalog.definitions["mine"])[0]).decode(payload)

    return of


def values(items):
    return [item.values for item in items if isinstance(item, Observed)]


def test_a_flat_payload_is_read_as_it_looks(decoded):
    payload = {
        "deviceId": "m-1",
        "ts": 1795488192123,
        "HR": 72,
        "SpO2": 97,
        "temp": 98.6,
        "sysBP": 120,
        "diaBP": 80,
    }
    (item,) = decoded(json.dumps(payload).encode())
    assert item.time_ns == 1_795_488_192_123_000_000
    assert item.values["heart_rate"] == 72.0
    assert item.values["spo2"] == 97.0
    assert item.units["temperature"] == "[degF]"


def test_records_of_a_name_and_a_value_become_a_map(decoded):
    payload = (CASES / "intellivue-vscapture" / "usual" / "payload.json").read_bytes()
    items = decoded(payload)
    assert values(items)[0]["spo2"] == 97.5
    assert [item.path for item in items if isinstance(item, Refused)] == ["$[6].Value"]


def test_an_array_within_an_envelope_is_found(decoded):
    payload = (CASES / "iomt-envelope" / "list" / "payload.json").read_bytes()
    assert len(values(decoded(payload))) == 2


def test_texts_for_no_value_are_seen():
    text = propose([b'{"hr":"72"}', b'{"hr":"-"}'], "mine/{device}", "Mine")
    assert "text_numbers = true" in text
    assert 'no_value = ["-"]' in text


def test_every_guess_is_marked_and_what_was_not_guessed_is_listed():
    text = propose([b'{"hr":72,"wobble":3}'], "mine/{device}", "Mine")
    (line,) = [line for line in text.splitlines() if "heart_rate" in line]
    assert line.endswith("# guess")
    assert "nothing was guessed for: wobble" in text


def test_without_a_device_the_proposal_says_so():
    assert "nothing looks like a device" in propose([b'{"hr":72}'], "mine/all", "Mine")


def test_what_is_no_json_is_told():
    with pytest.raises(UnreadableError):
        propose([b"MSH|"], "mine/{device}", "Mine")


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("heartRate", "heart_rate"),
        ("NOM_PULS_OXIM_SAT_O2", "spo2"),
        ("147842", "heart_rate"),
        ("bp_low", "nibp_diastolic"),
        ("infusion_rate_ml_hr", "pump_flow_rate"),
        ("ecg_ii", None),
        ("colour", None),
    ],
)
def test_a_field_is_guessed_by_what_vendors_call_it(name, parameter):
    assert guess(name) == parameter


@pytest.mark.parametrize("payload", [b"[]", b"{}", b"1", b"[[[]]]", b'{"a":[{}]}', b"null"])
def test_a_payload_without_anything_makes_no_exception(payload):
    assert "[[topic]]" in propose([payload], "mine/{device}", "Mine")

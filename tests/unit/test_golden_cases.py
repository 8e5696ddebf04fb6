"""Every folder of tests/cases is a test: topic.txt and payload.* must give expected.json."""

import json
from pathlib import Path

import pytest

from hub import golden
from hub.devices.catalog import Catalog

CASES = Path(__file__).parents[1] / "cases"
FOLDERS = golden.folders([CASES])
USUAL = "iomt/telemetry/icu/pump-7"


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / "pump-telemetry" / "usual"
    folder.mkdir(parents=True)
    (folder / "topic.txt").write_text(USUAL)
    (folder / "payload.json").write_text('{"battery_percent":88}')
    return folder


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_payload_decodes_to_what_its_case_expects(catalog, folder):
    assert golden.run(folder, catalog).problems == []
    assert folder.parent.name in catalog.definitions


@pytest.mark.parametrize("name", sorted(Catalog.load().definitions))
def test_every_definition_has_a_usual_a_no_value_and_a_malformed_case(name):
    folders = [folder for folder in FOLDERS if folder.parent.name == name]
    assert folders
    assert list(golden.lacking(folders)) == []


def test_a_case_without_expectation_says_how_to_get_one_and_then_holds(catalog, case):
    first = golden.run(case, catalog)
    assert "--update writes it" in first.problems[0]
    golden.update(first)
    assert golden.run(case, catalog).problems == []


def test_a_case_pins_what_becomes_of_a_payload_not_what_is_read(catalog, case):
    payload = (
        '{"timestamp":"2026-11-24T02:43:12.5+01:00","pressure_psi":14.7,"battery_percent":101,"status":"ODD"}'
    )
    (case / "payload.json").write_text(payload)
    golden.update(golden.run(case, catalog))
    expected = json.loads((case / "expected.json").read_text())
    assert (expected["site"], expected["area"]) == ("main", "icu")
    assert expected["readings"] == [
        {
            "device": "pump-7",
            "parameter": parameter,
            "value": pytest.approx(value),
            "unit": unit,
            "time": "2026-11-24T01:43:12.500Z",
            "device_time": "2026-11-24T01:43:12.500Z",
            "quality": quality,
        }
        for parameter, value, unit, quality in (
            ("pump_pressure", 101.3529, "kPa", "valid"),
            ("battery", 101.0, "%", "invalid"),
        )
    ]
    assert expected["rejects"][0]["path"] == "$.status"
    assert "alarms" not in expected, "empty members are left out"


def test_a_difference_is_told_by_item_and_member(catalog, case):
    golden.update(golden.run(case, catalog))
    expected = json.loads((case / "expected.json").read_text())
    expected["readings"][0]["value"] = 87.0
    expected["rejects"] = [{"path": "$", "reason": "no"}]
    expected["area"] = "er"
    (case / "expected.json").write_text(json.dumps({**expected, "fhir": []}))
    assert golden.run(case, catalog).problems == [
        "expected.json: fhir: is no member of a case; there are site, area, readings, statuses, alarms,"
        " sightings, waveforms, rejects",
        'area: expected "er", got "icu"',
        "readings[0].value: expected 87.0, got 88.0",
        'rejects[0]: is missing: {"path": "$", "reason": "no"}',
    ]
    (case / "expected.json").write_text("[]")
    assert "--update writes one" in golden.run(case, catalog).problems[0]


def test_a_payload_of_which_nothing_comes_has_an_expectation_too(case, tmp_path):
    definition = tmp_path / "pump-telemetry.toml"
    topic = '[[topic]]\npattern = "iomt/telemetry/{area}/{device}"\n[[read]]\nignore = true\n'
    definition.write_text(f'title = "a"\nsource = "b"\ninterval_s = 1\n{topic}')
    catalog = Catalog.load(files=[definition])
    golden.update(golden.run(case, catalog))
    assert json.loads((case / "expected.json").read_text()) == {"site": "main", "area": "icu"}
    assert golden.run(case, catalog).problems == []


def test_when_a_payload_arrives_can_be_said(catalog, case):
    (case / "payload.json").write_text('{"timestamp":"2026-11-24T02:43:12Z","battery_percent":88}')
    (case / "received.txt").write_text("2026-11-22T02:43:12Z\n")
    (reading,) = golden.run(case, catalog).got["readings"]
    assert (reading["time"], reading["quality"]) == ("2026-11-22T02:43:12.000Z", "questionable")
    (case / "received.txt").write_text("yesterday")
    assert golden.run(case, catalog).problems[0].startswith("received.txt: expected RFC 3339")


def test_what_is_wrong_with_a_case_is_its_problem_and_no_exception(catalog, case):
    (case / "topic.txt").write_text("nowhere")
    assert "no definition takes this topic" in golden.run(case, catalog).problems[0]
    (case / "topic.txt").write_text("mimic2/v1/main/s1/numerics")
    assert "not of pump-telemetry" in golden.run(case, catalog).problems[0]
    (case / "topic.txt").write_text(USUAL)
    (case / "payload.bin").write_bytes(b"")
    assert "has 2 files payload.*" in golden.run(case, catalog).problems[0]
    assert list(golden.lacking([case])) == ["pump-telemetry has no case no-value, malformed"]

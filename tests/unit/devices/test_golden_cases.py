"""Every folder of tests/cases is a test: topic.txt and payload.* must give expected.json."""

import json
from pathlib import Path

import pytest

from hub.devices import golden
from hub.devices.catalog import Catalog

CASES = Path(__file__).parents[2] / "cases"
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


def test_a_difference_is_told_by_item_and_member(catalog, case):
    golden.update(golden.run(case, catalog))
    expected = json.loads((case / "expected.json").read_text())
    expected[0]["values"]["battery"] = 87.0
    (case / "expected.json").write_text(json.dumps([*expected, {"item": "Refused"}]))
    problems = golden.run(case, catalog).problems
    assert problems[0] == 'item 0: values: expected {"battery": 87.0}, got {"battery": 88.0}'
    assert problems[1].startswith("item 1: is missing")


def test_what_is_wrong_with_a_case_is_its_problem_and_no_exception(catalog, case):
    (case / "topic.txt").write_text("nowhere")
    assert "no definition takes this topic" in golden.run(case, catalog).problems[0]
    (case / "topic.txt").write_text("mimic2/v1/main/s1/numerics")
    assert "not of pump-telemetry" in golden.run(case, catalog).problems[0]
    (case / "topic.txt").write_text(USUAL)
    (case / "payload.bin").write_bytes(b"")
    assert "has 2 files payload.*" in golden.run(case, catalog).problems[0]
    assert list(golden.lacking([case])) == ["pump-telemetry has no case no-value, malformed"]

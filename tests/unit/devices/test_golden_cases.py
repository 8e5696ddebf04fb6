"""Every folder of tests/cases is a test: topic.txt and payload.json must give expected.json."""

import json
from pathlib import Path

import msgspec
import pytest

from hub.devices.catalog import Catalog

CASES = Path(__file__).parents[2] / "cases"
FOLDERS = sorted(folder.parent for folder in CASES.glob("*/*/topic.txt"))


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


def plain(item):
    members = {key: value for key, value in msgspec.to_builtins(item).items() if value is not None}
    return {"item": type(item).__name__, **members}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_payload_decodes_to_what_its_case_expects(catalog, folder):
    topic = (folder / "topic.txt").read_text(encoding="utf-8").strip()
    route = catalog.resolve(topic)
    assert route is not None, catalog.explain(topic)
    assert folder.parent.name in route.definition.split("+")
    decoded = [plain(item) for item in route.decode((folder / "payload.json").read_bytes())]
    assert decoded == json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(Catalog.load().definitions))
def test_every_definition_has_a_usual_a_no_value_and_a_malformed_case(name):
    assert {"usual", "no-value", "malformed"} <= {
        folder.name for folder in FOLDERS if folder.parent.name == name
    }

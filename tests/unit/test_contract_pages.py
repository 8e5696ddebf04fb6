"""The generated AsyncAPI document and the schemas say what the contracts say."""

import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
CHANNELS = ("observations", "waveforms", "alarms", "sightings", "status", "diagnostics")


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("contracts", ROOT / "docs" / "generate" / "contracts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


@pytest.fixture(scope="module")
def document(pages):
    return json.loads(pages["docs/reference/asyncapi.json"])


def test_the_pages_are_current(pages):
    for path, text in pages.items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run make docs"


def test_every_reference_within_the_document_leads_somewhere(document):
    for reference in re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document)):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_has_its_address_parameters_and_delivery(document, channel):
    entry = document["channels"][channel]
    assert entry["address"].endswith(f"/{channel}")
    assert set(re.findall(r"{(\w+)}", entry["address"])) == set(entry["parameters"])
    (operation,) = [
        one for one in document["operations"].values() if one["channel"]["$ref"].endswith(f"/{channel}")
    ]
    assert operation["action"] == ("send" if channel == "diagnostics" else "receive")
    assert operation["bindings"]["mqtt"]["retain"] is (channel == "status")


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_example_is_valid_by_the_schema_beside_it(document, channel):
    message = document["components"]["messages"][channel]
    assert message["examples"]
    for example in message["examples"]:
        jsonschema.validate(example["payload"], message["payload"]["schema"])

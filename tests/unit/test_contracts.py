"""The contracts hold: every example fits its schema, and what the hub makes and takes fits too."""

import json
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from hub.devices.catalog import Catalog
from hub.devices.decode import Refused
from hub.intake import empty_batch
from hub.model import Batch, Reading

CONTRACTS = Path(__file__).parents[2] / "hub" / "contracts"
SCHEMAS = sorted(CONTRACTS.glob("*.schema.json"))
CHANNELS = ["observations", "waveforms", "alarms", "sightings", "status"]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_schema_is_one_and_its_examples_fit(path):
    schema = read(path)
    Draft202012Validator.check_schema(schema)
    for example in schema.get("examples", []):
        Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_native_decoder_takes_every_example_of_a_channel_whole(channel):
    route = Catalog.load().resolve(f"wards/v1/main/icu/mon-1/{channel}")
    for example in read(CONTRACTS / f"{channel}.schema.json")["examples"]:
        items = route.decode(json.dumps(example).encode())
        assert items
        assert not [item for item in items if isinstance(item, Refused)]


def test_a_journal_row_fits_its_contract():
    batch = empty_batch(1)
    batch.readings.append(
        Reading("main", "mon-1", "observations", 2, 3, 4, 5, {"spo2": 97.0}, {"spo2": ("questionable", 97.0)})
    )
    encoded = msgspec.msgpack.encode(batch)
    row = msgspec.msgpack.decode(encoded)
    Draft202012Validator(read(CONTRACTS / "journal-row.schema.json")).validate(row)
    assert msgspec.msgpack.decode(encoded, type=Batch).readings == batch.readings

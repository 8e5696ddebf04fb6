"""What `hub devices decode` shows: readings, rejects, FHIR, line protocol; nothing is stored."""

import json
from pathlib import Path

import pytest

from hub.devices.catalog import Catalog
from hub.devices.golden import folders
from hub.preview import Previewer

CASES = folders([Path(__file__).parents[1] / "cases"])
NATIVE = "wards/v1/main/icu/mon-1/observations"


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.fixture
def show(catalog):
    return Previewer(catalog).show


def test_a_message_is_shown_as_readings_fhir_and_line_protocol(show):
    values = b'"values":{"temperature":98.6,"spo2":null},"units":{"temperature":"[degF]"}}'
    payload = b'{"time":"2026-11-24T02:43:12Z","seq":7,' + values
    shown = show(NATIVE, payload)
    assert shown["readings"] == [
        {
            "device": "mon-1",
            "parameter": "temperature",
            "value": pytest.approx(37.0),
            "unit": "Cel",
            "time": "2026-11-24T02:43:12.000Z",
            "quality": "valid",
        },
        {
            "device": "mon-1",
            "parameter": "spo2",
            "value": None,
            "unit": "%",
            "time": "2026-11-24T02:43:12.000Z",
            "quality": "no-value",
        },
    ]
    assert shown["rejects"] == []
    temperature, spo2 = shown["fhir"]
    assert temperature["resourceType"] == "Observation"
    assert temperature["valueQuantity"]["code"] == "Cel"
    assert "dataAbsentReason" in spo2
    (line,) = shown["line_protocol"]
    assert line.startswith("vitals,device=mon-1,site=main temperature=3")


def test_an_old_sample_is_not_doubted_for_its_age(show):
    shown = show(NATIVE, b'{"time":"2019-01-30T22:45:02Z","values":{"heart_rate":72}}')
    assert shown["readings"][0]["quality"] == "valid"
    assert shown["readings"][0]["time"] == "2019-01-30T22:45:02.000Z"


def test_rejects_of_decoding_and_of_normalising_have_their_paths(show):
    shown = show(
        NATIVE, b'{"values":{"spo2":97,"hart_rate":1,"heart_rate":72},"units":{"heart_rate":"mmHg"}}'
    )
    assert {reject["path"] for reject in shown["rejects"]} == {"$.values.hart_rate", "$.units.heart_rate"}
    assert [value["parameter"] for value in shown["readings"]] == ["spo2"]


def test_the_same_payload_twice_is_shown_twice(show):
    payload = b'{"time":"2026-11-24T02:43:12Z","seq":7,"values":{"spo2":97}}'
    assert len(show(NATIVE, payload)["readings"]) == len(show(NATIVE, payload)["readings"]) == 1


def test_a_topic_of_nobody_is_told(show):
    shown = show("x/y", b"{}")
    assert shown["definition"] is None
    assert shown["rejects"][0]["reason"].startswith("no definition")


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_every_case_can_be_shown_as_json(show, folder):
    (payload,) = folder.glob("payload.*")
    shown = show((folder / "topic.txt").read_text().strip(), payload.read_bytes())
    json.dumps(shown, allow_nan=False)
    assert {"readings", "rejects", "fhir", "line_protocol"} <= shown.keys()

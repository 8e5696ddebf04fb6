"""The sample payloads of the IoMT connector, as its authors wrote them."""

import pytest

from hub.devices.catalog import Catalog
from hub.devices.decode import Observed, Refused
from hub.devices.timestamp import rfc3339_ns

TOPIC = "devices/gw-1/messages/events/"
INPUT = "iomt-fhir/test/Microsoft.Health.Fhir.Ingest.Template.UnitTests/TestInput"
DOCUMENTED = "data_Documentation_CalculatedFunction_"


@pytest.fixture(scope="module")
def decode():
    route = Catalog.load().resolve(TOPIC)
    assert route is not None
    return route.decode


def rows(items):
    return [(item.device, item.values, item.time_ns) for item in items if isinstance(item, Observed)]


CASES = {
    "data_IotHubPayloadExample": [
        ("ev-d795-1d04-55ae", {"heart_rate": 203.0}, "2019-01-30T22:45:02.6073744Z")
    ],
    "data_IotHubPayloadExampleMissingCreateTime": [("ev-d795-1d04-55ae", {"heart_rate": 203.0}, None)],
    "data_IotHubPayloadMultiValueExample": [
        (
            "ev-d795-1d04-55ae",
            {"nibp_systolic": 111.0, "nibp_diastolic": 75.0},
            "2019-01-30T22:45:02.6073744Z",
        )
    ],
    f"{DOCUMENTED}HeartRate_Payload": [("device123", {"heart_rate": 78.0}, "2019-02-01T22:46:01.8750000Z")],
    f"{DOCUMENTED}BloodPressure_Payload": [
        ("device123", {"nibp_systolic": 123.0, "nibp_diastolic": 87.0}, "2019-02-01T22:46:01.8750000Z")
    ],
    f"{DOCUMENTED}MultipleMeasurements_Payload": [
        ("device123", {"heart_rate": 78.0}, "2019-02-01T22:46:01.8750000Z")
    ],
    f"{DOCUMENTED}MultipleMeasurements_FromArray_Payload": [
        ("device123", {"heart_rate": 78.0}, "2019-02-01T20:46:01.8750000Z"),
        ("device123", {"heart_rate": 81.0}, "2019-02-01T21:46:01.8750000Z"),
        ("device123", {"heart_rate": 72.0}, "2019-02-01T22:46:01.8750000Z"),
    ],
    f"{DOCUMENTED}MultipleMatches_Payload": [
        ("device123", {"nibp_systolic": 120.0, "nibp_diastolic": 80.0}, "2021-07-13T17:29:01.061144Z"),
        ("device123", {"nibp_systolic": 122.0, "nibp_diastolic": 82.0}, "2021-07-13T17:28:01.061122Z"),
    ],
    "data_IotCentralPayloadExample": [
        (
            "1vzb5ghlsg1",
            {"respiratory_rate": 13.0, "nibp_systolic": 71.0, "nibp_diastolic": 7.0},
            "2020-08-05T22:26:55.455Z",
        )
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_a_sample_payload_becomes_what_it_says(recorded, decode, name):
    items = decode((recorded / INPUT / f"{name}.json").read_bytes())
    expected = [(device, values, rfc3339_ns(time) if time else 0) for device, values, time in CASES[name]]
    assert rows(items) == expected
    assert not any(isinstance(item, Refused) for item in items)


def test_devices_of_one_message_keep_their_own_values(recorded, decode):
    items = decode((recorded / INPUT / "data_IotCentralPayloadExampleMultipleMessages.json").read_bytes())
    first = next(item for item in items if isinstance(item, Observed))
    assert first.device == "1qsi9p8t5l2"
    assert first.values["heart_rate"] == 75.0
    assert first.values["temperature"] == pytest.approx(98.43639286275842)
    assert first.units == {"temperature": "[degF]"}
    assert {item.device for item in items} >= {"1qsi9p8t5l2", "24bjobtcf8i"}


def test_what_these_definitions_do_not_know_is_told_not_lost(recorded, decode):
    items = decode((recorded / INPUT / f"{DOCUMENTED}TransformData_Payload.json").read_bytes())
    assert [item.path for item in items] == ["$.Body[0]", "$.Body[1]"]
    assert all(isinstance(item, Refused) for item in items)


def test_every_file_of_the_connector_is_borne(recorded, decode):
    files = [file for file in (recorded / "iomt-fhir").rglob("*") if file.is_file()]
    assert len(files) > 50
    for file in files:
        for item in decode(file.read_bytes()):
            assert isinstance(item, Observed | Refused)

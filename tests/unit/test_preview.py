"""What `hub devices decode` shows: readings, rejects, FHIR, line protocol; nothing is stored."""

import json
from pathlib import Path

import pytest

from hub.devices.catalog import Catalog
from hub.golden import folders
from hub.preview import Previewer
from hub.ward.model import DeviceEntry

CASES = folders([Path(__file__).parents[1] / "cases"])
RECEIVED_NS = 1_795_488_192_000_000_000  # 2026-11-24T02:43:12Z
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
            "device_time": "2026-11-24T02:43:12.000Z",
            "quality": "valid",
        },
        {
            "device": "mon-1",
            "parameter": "spo2",
            "value": None,
            "unit": "%",
            "time": "2026-11-24T02:43:12.000Z",
            "device_time": "2026-11-24T02:43:12.000Z",
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


def at(time):
    return f'{{"time":"{time}","values":{{"heart_rate":72}}}}'.encode()


def test_a_sample_without_a_receipt_is_taken_to_arrive_when_it_was_sent(show):
    shown = show(NATIVE, at("2019-01-30T22:45:02Z"))
    assert shown["readings"][0]["quality"] == "valid"
    assert shown["readings"][0]["time"] == shown["received"] == "2019-01-30T22:45:02.000Z"
    assert shown["clocks"] == []
    assert show(NATIVE, b'{"values":{"heart_rate":72}}')["received"] == "2000-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("time", "corrected", "quality", "told"),
    [
        ("2026-11-24T02:43:13Z", "2026-11-24T02:43:13.000Z", "valid", ""),
        ("2026-11-24T02:42:30Z", "2026-11-24T02:42:30.000Z", "valid", ""),
        (
            "2026-11-24T02:53:12Z",
            "2026-11-24T02:43:12.000Z",
            "valid",
            "clock ahead: 10 min ahead of its receipt",
        ),
        ("2026-11-24T00:13:12Z", "2026-11-24T00:13:12.000Z", "valid", "old: 2 h 30 min behind its receipt"),
        (
            "2026-11-26T02:43:12Z",
            "2026-11-24T02:43:12.000Z",
            "questionable",
            "clock not believed: 2 d ahead of",
        ),
        (
            "2026-10-15T02:43:12Z",
            "2026-11-24T02:43:12.000Z",
            "questionable",
            "clock not believed: 40 d behind",
        ),
    ],
)
def test_the_devices_time_and_the_corrected_one_stand_side_by_side(catalog, time, corrected, quality, told):
    shown = Previewer(catalog).show(NATIVE, at(time), RECEIVED_NS)
    (reading,) = shown["readings"]
    assert reading["device_time"] == time.replace("Z", ".000Z")
    assert (reading["time"], reading["quality"]) == (corrected, quality)
    assert [clock["told"][: len(told)] for clock in shown["clocks"]] == ([told] if told else [])
    assert [clock["believed"] for clock in shown["clocks"]] == ([quality == "valid"] if told else [])


def test_a_clock_that_stays_off_is_shown_as_corrected(catalog):
    previewer = Previewer(catalog)
    for second in (0, 6, 12, 18):
        received_ns = RECEIVED_NS + second * 1_000_000_000
        shown = previewer.show(NATIVE, at(f"2026-11-24T02:53:{12 + second}Z"), received_ns)
    assert shown["clocks"][0]["told"].startswith("clock corrected by 10 min")
    assert shown["readings"][0]["time"] == "2026-11-24T02:43:30.000Z"


IOMT = "devices/gw-1/messages/events/"
IDENTIFIED = (
    b'[{"heartRate":72,"deviceId":"w-1"},{"heartRate":73,"deviceId":"w-2"},{"heartRate":1,"deviceId":"gw-1"}]'
)


def entry(device, gateway, *, registered=True):
    return DeviceEntry("main", device, "iomt-flat", "main", None, gateway, registered, None, None)


def test_devices_that_would_be_refused_are_told_with_what_to_type(catalog):
    known = {"w-1": entry("w-1", "gw-1"), "w-2": entry("w-2", None, registered=False)}
    previewer = Previewer(catalog, registered=lambda _site, device: known.get(device))
    shown = previewer.show(IOMT, IDENTIFIED)
    assert [value["device"] for value in shown["readings"]] == ["w-1", "w-2", "gw-1"]
    assert shown["unregistered"] == [
        {
            "device": "w-2",
            "gateway": "gw-1",
            "reason": "the device is not registered under this gateway",
            "command": "hub devices add w-2 --gateway gw-1 --definition iomt-flat",
        }
    ]
    known["w-2"] = entry("w-2", "gw-9")
    assert "another gateway" in previewer.show(IOMT, IDENTIFIED)["unregistered"][0]["reason"]
    made_up = previewer.show("devices/device/messages/events/", IDENTIFIED, made_up=True)
    assert [stranger["device"] for stranger in made_up["unregistered"]] == ["gw-1"]


def test_of_a_topic_that_was_made_up_the_gateway_is_for_a_person_to_fill_in(catalog):
    previewer = Previewer(catalog, registered=lambda _site, _device: None)
    shown = previewer.show("devices/device/messages/events/", IDENTIFIED, made_up=True)
    assert shown["unregistered"][0]["command"] == (
        "hub devices add w-1 --gateway GATEWAY --definition iomt-flat"
    )


def test_where_someone_trusted_writes_the_names_nobody_would_be_refused(catalog):
    previewer = Previewer(catalog, registered=lambda _site, _device: None)
    folder = Path(__file__).parents[1] / "cases" / "sparkplug-b"
    previewer.show("spBv1.0/icu/NBIRTH/edge-1", (folder / "birth" / "payload.bin").read_bytes())
    shown = previewer.show("spBv1.0/icu/NDEATH/edge-1", (folder / "node-death" / "payload.bin").read_bytes())
    assert shown["unregistered"] == []


def test_conditions_that_a_message_says_are_absent_are_shown_too(show):
    shown = show("iomt/telemetry/icu/pump-7", b'{"occlusion_detected":false,"alarm_active":false}')
    assert [(alarm["condition"], alarm["presence"]) for alarm in shown["alarms"]] == [
        ("occlusion", "absent"),
        ("pump_alarm", "absent"),
    ]
    assert (shown["site"], shown["area"]) == ("main", "icu")


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

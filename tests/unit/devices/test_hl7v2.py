"""HL7 v2: recorded PCD-01 messages, PCD-04 built from its fields, and the PyPI package `hl7` as the judge."""

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.devices import hl7v2
from hub.devices.catalog import Catalog
from hub.devices.decode import AlarmSent, Observed, Refused
from hub.devices.payload import UnreadableError
from hub.devices.timestamp import rfc3339_ns

TOPIC = "hl7/v2/main/icu/engine-1"
HEADER = r"MSH|^~\&|A^00A0B1FFFEC2D3E4^EUI-64|B|||20261124024313+0100||ORU^R01^ORU_R01|M1|P|2.6"
ORDER = "OBR|1|||x|||20261124024312+0100"


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.fixture(scope="module")
def decode(catalog):
    return catalog.resolve(TOPIC).decode


@pytest.fixture
def messages(recorded):
    return {file.stem: file.read_bytes() for file in (recorded / "hl7v2").glob("*.hl7")}


def message(*segments, header=HEADER):
    return "\r".join((header, ORDER, *segments)).encode()


def observed(items):
    return [(item.device, item.values, item.time_ns) for item in items if isinstance(item, Observed)]


def test_every_value_of_a_recorded_gateway_message_is_read(decode, messages):
    items = decode(messages["ipf_valid-pcd01-request2"])
    assert observed(items) == [
        (
            "080019FFFF4F6AC0",
            {
                "heart_rate": 60.0,
                "premature_beats": 0.0,
                "arterial_mean": 92.0,
                "arterial_systolic": 120.0,
                "arterial_diastolic": 80.0,
                "pulse_rate_invasive": 60.0,
                "pulmonary_mean": 14.0,
                "pulmonary_systolic": 25.0,
                "pulmonary_diastolic": 10.0,
            },
            rfc3339_ns("2008-12-11T14:45:00Z"),
        )
    ]
    assert not any(isinstance(item, Refused) for item in items)


def test_the_recorded_cuff_message_is_of_its_device_at_its_time(decode, messages):
    assert observed(decode(messages["ipf_valid-pcd01-request"])) == [
        (
            "0123456789ABCDEF",
            {"nibp_systolic": 120.0, "nibp_diastolic": 80.0, "nibp_mean": 100.0},
            rfc3339_ns("2009-08-13T09:57:15+05:00"),
        )
    ]


def test_the_recorded_philips_message_gives_rate_and_rhythm(decode, messages):
    assert observed(decode(messages["philips_pic_ix_mx500_pcd01"])) == [
        (
            "7f2586c7-0506-46cd-a612-d8e75b838faa-IntelliVue_MX500_-_866064",
            {"heart_rate": 60.0, "ecg_rhythm": "paced"},
            rfc3339_ns("2021-04-25T23:03:31.496-04:00"),
        )
    ]


def test_what_a_recorded_message_takes_back_or_doubts_is_no_plain_value(decode, messages):
    items = decode(messages["ipf_valid-pcd01-MaximumRequest2"])
    cuff, mean = (item for item in items if isinstance(item, Observed))
    assert cuff.values == {"nibp_systolic": 140.0, "nibp_diastolic": None}  # OBX-11 D deletes the diastolic
    assert cuff.quality == {"nibp_systolic": "questionable"}
    assert mean.values == {"nibp_mean": 100.0}
    refused = [item for item in items if isinstance(item, Refused)]
    assert [item.path for item in refused] == [f"$.observations[{n}].value" for n in (0, 4, 5, 6)]
    assert all("MDC code" in item.reason for item in refused)


def test_an_acknowledgement_is_told_to_hold_nothing(decode, messages):
    (refused,) = decode(messages["ipf_valid-pcd01-response"])
    assert isinstance(refused, Refused)


def test_every_field_is_taken_apart_as_the_package_hl7_does(messages):
    for payload in messages.values():
        text = "\r".join(line for line in payload.decode().splitlines() if line.strip()) + "\r"
        theirs, ours = hl7.parse(text), hl7v2._Message(text)
        assert len(theirs) == len(ours.segments)
        for segment, fields in zip(theirs, ours.segments, strict=True):
            assert [str(field) for field in segment] == fields


@pytest.mark.parametrize(
    "wrap", [lambda sent: b"\x0b" + sent + b"\x1c\r", lambda sent: b"\xef\xbb\xbf" + sent]
)
def test_framing_and_byte_order_mark_are_skipped(decode, wrap):
    sent = message("OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|72|/min^^UCUM|||||R")
    assert observed(decode(wrap(sent)))[0][1] == {"heart_rate": 72.0}


def test_two_devices_of_one_message_keep_their_own_values(decode):
    def device(number, rate):
        return (
            f"OBX|1||69965^MDC_DEV_MON^MDC|{number}.0.0.0|||||||X|||||||MON{number}^^^EUI-64",
            f"OBX|2|NM|147842^MDC_ECG_HEART_RATE^MDC|{number}.1.1.1|{rate}|/min^^UCUM|||||R",
        )

    items = decode(message(*device(1, 72), ORDER, *device(2, 140)))
    assert [(device, values) for device, values, _ in observed(items)] == [
        ("MON1", {"heart_rate": 72.0}),
        ("MON2", {"heart_rate": 140.0}),
    ]


@pytest.mark.parametrize(
    ("priority", "expected"), [("PH", "high"), ("PM", "medium"), ("PL", "low"), ("", "medium")]
)
def test_an_alarms_priority_is_the_devices(decode, priority, expected):
    header = HEADER.replace("R01^ORU_R01", "R40^ORU_R40")
    (alarm,) = decode(
        message(
            "OBX|1|ST|196674^MDC_EVT_LO_VAL_LT_LIM^MDC|1.1.1.1|150456^MDC_PULS_OXIM_SAT_O2^MDC||||||F",
            "OBX|2|ST|68166^MDC_ATTR_ALARM_STATE^MDC|1.1.1.4|active||||||F",
            f"OBX|3|ST|68484^MDC_ATTR_ALARM_PRIORITY^MDC|1.1.1.6|{priority}||||||F",
            header=header,
        )
    )
    assert isinstance(alarm, AlarmSent)
    assert (alarm.condition, alarm.parameter, alarm.presence) == ("limit_low", "spo2", "present")
    assert alarm.priority == expected
    assert alarm.kind == "physiological"


def test_several_messages_in_one_payload_are_refused_not_mixed(decode):
    (refused,) = decode(message() + b"\r" + message())
    assert "several messages" in refused.reason


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="MSHOBRX|^~\\&\r\n0123456789.AF", max_size=200).map(
        lambda text: (HEADER + "\r" + text).encode()
    )
    | st.binary(max_size=80)
)
def test_no_payload_makes_the_reader_raise_anything_else(payload):
    try:
        root = hl7v2.parse(payload)
    except UnreadableError:
        return
    assert isinstance(root, dict)

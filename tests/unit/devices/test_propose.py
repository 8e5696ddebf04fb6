"""`hub devices new`: what is proposed loads, reads its own samples, and marks what it guessed."""

import json
from pathlib import Path

import pytest

from hub.devices.catalog import Catalog
from hub.devices.check import check
from hub.devices.decode import AlarmSent, Observed, Refused
from hub.devices.guess import guess
from hub.devices.payload import UnreadableError
from hub.devices.propose import propose
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


TELLING = [
    {
        "ts": 1795488192 + 5 * n,
        "hr_bpm": hr,
        "SpO2_pct": 97,
        "mean_kpa": 12.0,
        "leadsOff": n == 1,
        "alerts": said,
    }
    for n, (hr, said) in enumerate(
        [
            (72, []),
            (-1, [{"code": "PROBE OFF", "active": True}]),
            (74, [{"code": "PROBE OFF", "active": False}]),
        ]
    )
]


def test_names_that_end_in_a_unit_are_of_what_stands_before_it():
    assert [guess(name) for name in ("hr_bpm", "SpO2_pct", "tempC", "MAP_mmHg", "glucose_mmol_l")] == [
        "heart_rate",
        "spo2",
        "temperature",
        "nibp_mean",
        "glucose",
    ]
    text = propose([json.dumps(TELLING[0]).encode()], "mine/{device}", "Mine")
    assert '{ path = "hr_bpm", parameter = "heart_rate", unit = "/min" }' in text
    assert '{ path = "mean_kpa", parameter = "nibp_mean", unit = "kPa" }' in text


def test_the_interval_is_what_lies_between_the_samples_and_a_minute_where_they_are_few():
    samples = [json.dumps(one).encode() for one in TELLING]
    assert "interval_s = 5 # guess" in propose(samples, "mine/{device}", "Mine")
    assert "interval_s = 60 # guess" in propose(samples[:2], "mine/{device}", "Mine")
    written = [f'{{"time":"2026-11-24T02:43:{s}Z","hr":72}}'.encode() for s in (10, 40, 12, 10)]
    assert "interval_s = 28 # guess" in propose(written, "mine/{device}", "Mine")


def test_a_number_that_nothing_measured_can_be_stands_for_no_value():
    samples = [json.dumps(one).encode() for one in TELLING]
    assert "no_value = [-1]" in propose(samples, "mine/{device}", "Mine")
    below = [b'{"temp":-1}', b'{"wobble":-2}', b'{"hr":60}']
    assert "no_value = [-2" not in propose(below, "mine/{device}", "Mine")


def test_flags_of_alarms_are_read_with_their_condition(tmp_path):
    file = tmp_path / "mine.toml"
    samples = [json.dumps(one).encode() for one in TELLING]
    file.write_text(propose(samples, "mine/{device}", "Mine"))
    assert not [problem for problem in check([file]) if problem.severity == "error"]
    decode = Catalog.load(files=[file]).resolve("mine/m-1").decode
    told = [
        (item.condition, item.presence)
        for sample in samples
        for item in decode(sample)
        if isinstance(item, AlarmSent)
    ]
    assert not [item for sample in samples for item in decode(sample) if isinstance(item, Refused)]
    assert told == [
        ("leads_off", "absent"),
        ("leads_off", "present"),
        ("probe_off", "present"),
        ("leads_off", "absent"),
        ("probe_off", "absent"),
    ]


def test_every_guess_is_marked_and_all_that_the_samples_hold_is_listed():
    text = propose([b'{"hr":72,"wobble":{"a":3,"b":"text"}}'], "mine/{device}", "Mine")
    (line,) = [line for line in text.splitlines() if "heart_rate" in line]
    assert line.endswith("# guess")
    assert text.splitlines()[-3:] == [
        "#   hr = 72",
        "#   wobble.a = 3    (nothing was guessed)",
        '#   wobble.b = "text"',
    ]


NESTED = {
    "ts": "20261124T081502+0100",
    "vitals": {
        "ECG": {"HR": {"val": "78", "u": "/min", "q": "OK"}},
        "SPO2": {"sat": {"val": "97", "u": "%", "q": "NOISY"}},
        "NIBP": {"sys": {"val": "118"}, "dia": {"val": "72"}, "u": "mmHg", "q": "OK"},
        "TEMP": [{"site": "core", "val": "98.9", "u": "degF", "q": "OK", "at": "20261124T081000+0100"}],
    },
    "batt": {"pct": 81},
}


def test_values_are_found_by_their_leaves_with_units_and_qualities_beside_or_around_them(decoded):
    observed, temperature = decoded(json.dumps(NESTED).encode())
    assert observed.values == {
        "heart_rate": 78.0,
        "spo2": 97.0,
        "nibp_systolic": 118.0,
        "nibp_diastolic": 72.0,
        "battery": 81.0,
    }
    assert observed.units["nibp_diastolic"] == "mmHg"
    assert observed.quality == {"spo2": "questionable"}
    assert observed.time_ns == 1_795_504_502_000_000_000
    assert (temperature.values, temperature.units) == ({"temperature": 98.9}, {"temperature": "degF"})
    assert temperature.time_ns == observed.time_ns - 302_000_000_000


def test_what_all_values_have_beside_them_is_said_once():
    text = propose(
        [b'{"a":{"hr":{"v":72,"u":"/min"}},"b":{"spo2":{"v":97,"u":"%"}}}'], "mine/{device}", "Mine"
    )
    assert (
        'unit = { path = "^.u" } # guess\nvalue = [\n  { path = "a.hr.v", parameter = "heart_rate" },' in text
    )


def test_a_gateways_array_names_its_devices_and_beacons(decoded):
    heard = [
        {"mac": "A4:C1", "rssi": -61, "t": 1795510502, "d": {"temp_c100": 3712, "bat": 88}},
        {"mac": "A4:C2", "rssi": -70, "t": 1795510503, "d": {"spo2": 96, "pulse": 71}},
    ]
    items = decoded(json.dumps(heard).encode())
    first, sighting, second, _ = items
    assert (first.device, first.time_ns) == ("A4C1", 1_795_510_502_000_000_000)
    assert first.values == {"temperature": pytest.approx(37.12), "battery": 88.0}
    assert (sighting.beacon, sighting.rssi) == ("A4C1", -61)
    assert second.values == {"spo2": 96.0, "pulse_rate": 71.0}


def test_alarm_lists_and_units_in_names_are_found(decoded):
    pump = {
        "pump": {"drug": "Noradrenaline", "rate_ul_h": 4200, "alarms": ["NEAR_END"]},
        "epoch_ms": 1795510502123,
    }
    observed, alarm = decoded(json.dumps(pump).encode())
    assert observed.values == {"pump_drug": "Noradrenaline", "pump_flow_rate": 4200.0}
    assert observed.units == {"pump_flow_rate": "uL/h"}
    assert (alarm.condition, alarm.presence) == ("near_end", "present")
    assert observed.time_ns == 1_795_510_502_123_000_000


def test_pairs_of_a_code_and_a_value_are_looked_up(decoded):
    pairs = [
        {"c": "MDC_TEMP_CORE", "v": 98.6, "u": "MDC_DIM_FAHR"},
        {"c": "MDC_PULS_OXIM_SAT_O2", "v": 97, "u": "MDC_DIM_PERCENT", "st": "invalid"},
    ]
    (observed,) = decoded(json.dumps({"clock": 1795510502.25, "data": pairs}).encode())
    assert observed.values == {"temperature": 98.6, "spo2": 97.0}
    assert observed.units == {"temperature": "[degF]"}
    assert observed.quality == {"spo2": "invalid"}
    assert observed.time_ns == 1_795_510_502_250_000_000


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

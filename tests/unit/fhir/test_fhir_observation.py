import json

import pytest
from fhir.resources.R4B.observation import Observation
from hypothesis import given
from hypothesis import strategies as st

from hub.fhir.codes import GROUP_OF, GROUPS, HIDDEN
from hub.fhir.ids import parse_observation_id
from hub.fhir.observation import NOBODY, Attribution, groups_in, observation, observations
from hub.fhir.validate import validate
from hub.fhir.waveform import WAVEFORMS, waveform, windows
from hub.model import Reading, Waveform
from hub.vocabulary import PARAMETERS
from tests.fhir_check import dumped, model

MS = 1_000_000
AT = 1_795_488_192_123 * MS + 1234
MINE = Attribution("pt-0af3", "stay-7")
NUMBERS = [name for name in GROUP_OF if PARAMETERS[name].is_number and PARAMETERS[name].kind != "waveform"]
CODED = [name for name in GROUP_OF if PARAMETERS[name].coded is not None]
VITALS = {
    "heart_rate": 72.0,
    "spo2": 97.0,
    "respiratory_rate": 15.0,
    "temperature": 36.8,
    "nibp_systolic": 120.0,
    "nibp_diastolic": 80.0,
    "nibp_mean": 93.3,
}


def reading(values, exceptions=None, channel="observations", device="mon_icu:01"):
    return Reading("main", device, channel, AT, 0, AT + 87 * MS, 1234, values, exceptions)


def value_of(name):
    parameter = PARAMETERS[name]
    return min(parameter.coded) if parameter.coded else (parameter.low + parameter.high) / 2


KINDS = {
    "every number": reading({name: value_of(name) for name in NUMBERS}),
    "every code": reading({name: value_of(name) for name in CODED}),
    "free text": reading({"pump_drug": 'Glucose 5 % "Müller"'}),
    "zero, whole, fraction, tiny, huge": reading(
        {
            "heart_rate": 0.0,
            "spo2": 97.0,
            "temperature": 36.85,
            "cvp": -0.000012,
            "pump_volume_total": 999_999.5,
        }
    ),
    "questionable": reading(
        VITALS,
        {name: ("questionable", VITALS[name]) for name in ("spo2", "nibp_diastolic")},
    ),
    "invalid": reading(
        {"heart_rate": 70.0}, {"spo2": ("invalid", 250.0), "nibp_systolic": ("invalid", 400.0)}
    ),
    "no value": reading({}, {"temperature": ("no-value", None), "nibp_mean": ("no-value", None)}),
    "half a blood pressure": reading({"nibp_systolic": 110.0}),
    "arterial pressure alone": reading({"arterial_mean": 71.0}),
    "another channel": reading({"pump_flow_rate": 12.5, "pump_mode": "bolus"}, channel="pump-2"),
    "a long device id": reading({"heart_rate": 61.0, "pump_flow_rate": 2.0}, device="x" * 128),
}


@pytest.mark.parametrize(
    "attribution", [MINE, Attribution("pt-1"), NOBODY], ids=["stay", "patient", "nobody"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_text_equals_what_fhir_resources_builds_and_dumps(kind, attribution):
    groups = groups_in(KINDS[kind])
    assert groups
    for group in groups:
        text = observation(KINDS[kind], group, attribution)
        expected = model(KINDS[kind], group, attribution.patient, attribution.encounter)
        ours = json.loads(text)
        version = ours["meta"].pop("versionId")
        assert len(version) == 16
        assert ours == dumped(expected)
        theirs = Observation.model_validate_json(text)
        theirs.meta.versionId = None
        assert json.loads(theirs.model_dump_json()) == json.loads(expected.model_dump_json())


@pytest.mark.parametrize("attribution", [MINE, NOBODY], ids=["stay", "nobody"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_observation_is_valid(kind, attribution, second_validator):
    for text in observations(KINDS[kind], attribution):
        assert validate(json.loads(text)) == []
        assert second_validator.faults(text) == []


def test_every_parameter_is_told_in_one_group():
    told = [name for name in PARAMETERS if name in GROUP_OF]
    assert sorted([*told, *HIDDEN]) == sorted(PARAMETERS)
    assert all(GROUP_OF[name].code["coding"] for name in told)


def test_a_vital_sign_is_about_the_patient_and_a_setting_about_the_device():
    subjects = {
        one["code"]["text"]: one["subject"]["reference"]
        for one in map(json.loads, observations(KINDS["every number"], MINE))
    }
    assert subjects["Heart rate"] == "Patient/pt-0af3"
    for name in (
        "pump_flow_rate",
        "peep",
        "fio2_set",
        "tidal_volume_set",
        "pump_volume_set",
        "ventilator_rate",
    ):
        assert subjects[PARAMETERS[name].display] == "Device/main..mon.5ficu.3a01"
    for parameter in PARAMETERS.values():
        if parameter.kind in ("setting", "device-status") and parameter.name not in HIDDEN:
            assert not GROUP_OF[parameter.name].of_patient


def test_oxygen_saturation_carries_the_code_that_the_profile_requires():
    (text,) = observations(reading({"spo2": 97.0}), MINE)
    assert [one["code"] for one in json.loads(text)["code"]["coding"]] == ["2708-6", "59408-5", "150456"]


def test_a_blood_pressure_is_one_observation_with_components():
    (text,) = observations(reading({"nibp_systolic": 120.0, "nibp_diastolic": 80.0, "nibp_mean": 93.0}), MINE)
    panel = json.loads(text)
    assert "valueQuantity" not in panel
    values = {one["code"]["coding"][0]["code"]: one["valueQuantity"]["value"] for one in panel["component"]}
    assert values == {"8480-6": 120, "8462-4": 80, "8478-0": 93}


def test_an_invalid_value_is_never_shown_as_a_number():
    texts = observations(KINDS["invalid"], MINE)
    assert b"250" not in b"".join(texts)
    assert b"400" not in b"".join(texts)
    absent = json.loads(texts[1])
    assert absent["dataAbsentReason"]["coding"][0]["code"] == "error"


@given(
    st.dictionaries(
        st.sampled_from(NUMBERS), st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1
    ),
    st.sampled_from([MINE, NOBODY]),
)
def test_whatever_the_numbers_the_text_is_json_of_the_same_numbers(values, attribution):
    found = {}
    for text in observations(reading(values), attribution):
        one = json.loads(text)
        for part in one.get("component", [one]):
            if "valueQuantity" in part:
                found[part["code"]["text"]] = part["valueQuantity"]["value"]
    assert found == {PARAMETERS[name].display: value for name, value in values.items()}


def test_the_same_reading_gives_the_same_id_and_another_gives_another():
    one, again = observations(KINDS["every number"], MINE), observations(KINDS["every number"], NOBODY)
    ids = [json.loads(text)["id"] for text in one]
    assert ids == [json.loads(text)["id"] for text in again]
    assert len(set(ids)) == len(ids)
    assert json.loads(one[0])["meta"]["versionId"] != json.loads(again[0])["meta"]["versionId"]
    moved = Reading("main", "mon_icu:01", "observations", AT + 1, 0, AT, 1235, {"heart_rate": 1.0})
    (other,) = observations(moved)
    assert json.loads(other)["id"] not in ids


def test_an_id_fits_fhir_and_can_be_read_back():
    for group in GROUPS.values():
        for kind in ("every number", "another channel", "a long device id"):
            source = KINDS[kind]
            present = [name for name in group.members if name in source.values]
            if present:
                text = json.loads(observation(source, group))["id"]
                assert len(text) <= 64
                parsed = parse_observation_id(text)
                assert (parsed.time_ns, parsed.group) == (AT, group.name)
    assert parse_observation_id("pt-1") is None


WAVE = Waveform(
    "main", "mon-1", "ecg_ii", AT, AT + 9 * MS, 3, 250.0, 0.005, 0.0, "mV", [1.0, None, -3.5, 40.0]
)


@pytest.mark.parametrize("attribution", [MINE, NOBODY], ids=["stay", "nobody"])
def test_a_waveform_is_sampled_data_with_its_scale_and_its_gaps(attribution, second_validator):
    text = waveform(WAVE, attribution)
    one = json.loads(text)
    assert one["valueSampledData"]["data"] == "1 E -3.5 40"
    assert (one["valueSampledData"]["period"], one["valueSampledData"]["factor"]) == (4, 0.005)
    assert one["effectivePeriod"] == {"start": "2026-11-24T02:43:12.123Z", "end": "2026-11-24T02:43:12.135Z"}
    parsed = parse_observation_id(one["id"])
    from hub.fhir.ids import channel_key

    assert parsed.channel == channel_key(WAVEFORMS)
    assert validate(one) == []
    assert second_validator.faults(text) == []


def test_a_waveform_without_a_unit_has_the_annotation_of_its_parameter(second_validator):
    text = waveform(Waveform("main", "mon-1", "pleth", AT, AT, 3, 125.0, 1.0, 0.0, "", [1.0, 2.0]), MINE)
    one = json.loads(text)
    assert one["valueSampledData"]["origin"]["code"] == "{pleth}"
    assert validate(one) == []
    assert second_validator.faults(text) == []


def test_a_window_holds_every_reading_at_its_step(second_validator):
    readings = [
        Reading("main", "mon-1", "observations", AT + step * 1000 * MS, 0, AT + 5000 * MS, step, values, None)
        for step, values in [(0, VITALS), (1, {"heart_rate": 73.0}), (4, {"heart_rate": 75.5, "spo2": 96.0})]
    ]
    found = {}
    for text in windows(readings, 1.0, MINE):
        one = json.loads(text)
        assert validate(one) == []
        assert second_validator.faults(text) == []
        found[one["code"]["text"]] = one["valueSampledData"]["data"]
    assert found["Heart rate"] == "72 73 E E 75.5"
    assert found["Oxygen saturation (SpO2)"] == "97 E E E 96"
    assert "Blood pressure, cuff" not in found
    assert windows([], 1.0) == []

"""`hub devices check`: the questions that a clinician would ask."""

import pytest

from hub.devices.catalog import BUILT_IN
from hub.devices.check import check

HEAD = """
title = "Monitor"
source = "its manual"
interval_s = 5
{time}
[[topic]]
pattern = "monitors/{{device}}"
[[read]]
value = [
{values}
]
"""


@pytest.fixture
def doubts(tmp_path):
    def of(*values, time='time = "at"', samples=()):
        file = tmp_path / "monitor.toml"
        file.write_text(HEAD.format(time=time, values=",\n".join(values)))
        payloads = []
        for number, sample in enumerate(samples):
            payload = tmp_path / f"{number}.json"
            payload.write_text(sample)
            payloads.append(payload)
        return [(problem.severity, problem.line, str(problem)) for problem in check([file], payloads)]

    return of


def one(found):
    ((severity, line, text),) = found
    assert severity == "warning"
    return line, text


def test_a_temperature_without_a_unit_is_asked_about(doubts):
    line, text = one(doubts('{ path = "temp", parameter = "temperature" }'))
    assert line > 0
    assert "has no unit" in text
    assert "98.6" in text


def test_a_code_and_a_unit_that_do_not_belong_together_are_an_error(doubts):
    found = doubts('{ path = "hr", parameter = "heart_rate", unit = "mmHg" }')
    assert found[0][0] == "error"
    assert "heart_rate in 'mmHg' can't be converted" in found[0][2]


def test_diastolic_coded_as_heart_rate_is_asked_about(doubts):
    _, text = one(doubts('{ path = "diastolic", parameter = "heart_rate", unit = "/min" }'))
    assert "called like a diastolic pressure" in text
    named = '{ path = "v", unit = "/min", parameter = { path = "n", map = { "8462-4" = "heart_rate" } } }'
    assert "8462-4 is the code of nibp_diastolic" in one(doubts(named))[1]


@pytest.mark.parametrize(
    ("path", "parameter", "meaning"),
    [
        ("vitals.SPO2.pr.val", "pulse_rate", None),
        ("SPO2.pr", "pulse_rate", None),
        ("telemetry.HeartRate.value", "heart_rate", None),
        ("vitals.SPO2.pr.val", "spo2", "a pulse rate"),
        ("HeartRate.SPO2.value", "heart_rate", "an oxygen saturation"),
        ("systolic.dia.v", "heart_rate", "a diastolic pressure"),
        ("settings.fio2.value", "fio2", "a setting"),
    ],
)
def test_a_field_is_called_what_its_last_telling_name_says(doubts, path, parameter, meaning):
    unit = "%" if parameter in ("spo2", "fio2") else "/min"
    found = doubts(f'{{ path = "{path}", parameter = "{parameter}", unit = "{unit}" }}')
    assert [meaning in text for _, _, text in found] == ([] if meaning is None else [True])


def test_a_vendors_reference_id_for_another_parameter_is_asked_about(doubts):
    named = '{ path = "v", unit = "%", parameter = { path = "n", map = { NOM_RESP_RATE = "spo2" } } }'
    assert "NOM_RESP_RATE" in one(doubts(named))[1]


def test_systolic_without_diastolic_is_asked_about(doubts):
    _, text = one(doubts('{ path = "sys", parameter = "nibp_systolic", unit = "mmHg" }'))
    assert "a systolic and no diastolic" in text
    both = (
        '{ path = "sys", parameter = "nibp_systolic", unit = "mmHg" }',
        '{ path = "dia", parameter = "nibp_diastolic", unit = "mmHg" }',
    )
    assert doubts(*both) == []


def test_a_setting_sent_as_a_measurement_is_asked_about(doubts):
    _, text = one(doubts('{ path = "fio2Set", parameter = "fio2", unit = "%" }'))
    assert "called like a setting" in text
    assert doubts('{ path = "fio2Set", parameter = "fio2_set", unit = "%" }') == []


def test_no_time_is_asked_about(doubts):
    _, text = one(doubts('{ path = "hr", parameter = "heart_rate", unit = "/min" }', time=""))
    assert "no time" in text


def test_a_time_without_zone_in_a_sample_is_told_with_what_to_write(doubts):
    value = '{ path = "hr", parameter = "heart_rate", unit = "/min" }'
    sample = '{"at":"2026-11-24T02:43:12","hr":72}'
    _, text = one(doubts(value, samples=[sample]))
    assert 'zone = "site"' in text
    assert doubts(value, time='time = { path = "at", zone = "site" }', samples=[sample]) == []


def test_a_sample_outside_the_plausible_range_is_told(doubts):
    value = '{ path = "temp", parameter = "temperature", unit = "Cel" }'
    _, text = one(doubts(value, samples=['{"at":"2026-11-24T02:43:12Z","temp":98.6}']))
    assert "98.6 Cel is outside 10 to 47 Cel" in text


def test_what_a_sample_holds_and_nothing_reads_is_told(doubts):
    value = '{ path = "hr", parameter = "heart_rate", unit = "/min" }'
    texts = [text for _, _, text in doubts(value, samples=['{"at":"2026-11-24T02:43:12Z","rate":72}'])]
    assert any("holds nothing that the definition reads" in text for text in texts)
    assert any("no sample has anything at hr" in text for text in texts)


def test_the_built_in_definitions_leave_no_question():
    assert check([BUILT_IN]) == []

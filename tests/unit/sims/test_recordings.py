import json
from pathlib import Path

import pytest

from device_sims.errors import InputError
from device_sims.recordings import BIDMC_NAMES, read_recording


def test_blanks_before_column_names_are_no_part_of_them(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Time [s], HR, PULSE, RESP, SpO2\n0,94,93,25,97\n1,92, NaN,23,NaN\n")
    recording = read_recording(file)
    assert recording.rows[0] == {"heart_rate": 94, "pulse_rate": 93, "respiratory_rate": 25, "spo2": 97}
    assert recording.offsets_ms == [0, 1000]


def test_nan_and_an_empty_cell_are_no_value_and_zero_stays_zero(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Time [s],HR,RESP,SpO2\n0,NaN,,0\n")
    assert read_recording(file).rows == [{"heart_rate": None, "respiratory_rate": None, "spo2": 0}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Time [s],HR\n0,abc\n", ":2: HR is 'abc'"),
        ("Time [s],HR\n0,inf\n", ":2: HR is 'inf'"),
        ("Time [s],HR\n0,60\n1\n", ":3: 1 cells"),
        ("Time [s],HR\n5,60\n1,60\n", ":3: Time"),
        ("Time [s],Pulse\n0,60\n", "expected 'Time [s]'"),
        ("Time [s],HR\n", "no rows"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(InputError) as failure:
        read_recording(file)
    assert told in str(failure.value)
    assert str(file) in str(failure.value)


@pytest.mark.parametrize("name", ["none.csv", "none.psv", "none", "none.hea"])
def test_a_missing_file_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_recording(tmp_path / name)


def test_a_psv_sends_only_vital_signs_that_were_ever_measured(tmp_path: Path) -> None:
    file = tmp_path / "p.psv"
    file.write_text("HR|O2Sat|Temp|Glucose|WBC\nNaN|NaN|NaN|NaN|7\n72|NaN|36.5|110|NaN\n")
    recording = read_recording(file)
    assert recording.rows == [
        {"heart_rate": None, "temperature": None, "glucose": None},
        {"heart_rate": 72, "temperature": 36.5, "glucose": 110},
    ]
    assert recording.units == {"glucose": "mg/dL"}
    assert recording.offsets_ms == [0, 3_600_000]


def test_every_bidmc_file_gives_exactly_the_values_that_the_facts_count(recorded: Path) -> None:
    facts = json.loads((recorded / "numerics" / "bidmc_facts.json").read_text())
    for name, fact in facts["files"].items():
        recording = read_recording(recorded / "numerics" / "bidmc" / name)
        assert len(recording.rows) == fact["rows"]
        for column, parameter in BIDMC_NAMES.items():
            values = [row[parameter] for row in recording.rows]
            valid = [value for value in values if value is not None]
            assert len(valid) == fact[column]["valid"], (name, column)
            assert len(values) - len(valid) == fact[column]["nan"], (name, column)
            assert sum(valid) == fact[column]["sum"], (name, column)


def test_a_wfdb_zero_stays_zero_and_a_wfdb_missing_is_no_value(recorded: Path) -> None:
    recording = read_recording(recorded / "numerics" / "mimic2_numerics" / "s00001-2896-10-10-00-31n")
    assert recording.format == "mimic2"
    assert len(recording.rows) == 1936
    assert recording.offsets_ms[:3] == [0, 60_000, 120_000]
    assert 0.0 in [row["HR"] for row in recording.rows]
    assert None not in [row["HR"] for row in recording.rows]
    assert None in [row["NBPSys"] for row in recording.rows]
    assert recording.rows[-1]["SpO2"] == 0.0


def test_a_wfdb_record_may_be_named_by_its_header(recorded: Path) -> None:
    record = recorded / "numerics" / "mimic2_numerics" / "s00001-2896-10-10-00-31n"
    assert read_recording(record.with_name(record.name + ".hea")) == read_recording(record)

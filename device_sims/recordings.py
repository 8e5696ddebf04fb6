"""Recorded numerics as rows of values: BIDMC CSV, WFDB records, PhysioNet Challenge 2019 PSV.

A missing value (NaN, an empty cell, WFDB's -32768) is None. Nothing else is judged here: a 0.0 that
means "no signal" stays 0.0, as the monitor sent it.
"""

import csv
import itertools
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from device_sims.errors import InputError

Value = float | int | None
Format = Literal["native", "mimic2"]

BIDMC_NAMES = {"HR": "heart_rate", "PULSE": "pulse_rate", "RESP": "respiratory_rate", "SpO2": "spo2"}
"""Columns of the BIDMC numerics (PhysioNet BIDMC 1.0.0) and the names that the native format has for them."""

CHALLENGE_2019_NAMES = {
    "HR": "heart_rate",
    "O2Sat": "spo2",
    "Temp": "temperature",
    "SBP": "nibp_systolic",
    "MAP": "nibp_mean",
    "DBP": "nibp_diastolic",
    "Resp": "respiratory_rate",
    "EtCO2": "etco2",
    "Glucose": "glucose",
}
"""Vital signs of the Challenge 2019 columns; its other laboratory values are not sent by bedside devices."""

_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Recording:
    """What one device determined: a row of values at each offset."""

    format: Format
    """The payload that the recording is replayed as."""
    interval_s: float
    """Seconds between two rows."""
    offsets_ms: list[int]
    """Milliseconds from the first row; never falling."""
    rows: list[dict[str, Value]]
    units: dict[str, str] = field(default_factory=dict)
    """UCUM by name, where a name alone leaves the unit open."""


def read_recording(path: Path) -> Recording:
    """Read a recording; its name's ending tells the format: .csv, .psv, .hea or a WFDB record's name.

    Raises InputError naming file, line and what was expected.
    """
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix == ".psv":
        return _read_psv(path)
    header = path if path.suffix == ".hea" else path.with_name(f"{path.name}.hea")
    if header.exists():
        return _read_wfdb(header)
    if not path.exists():
        raise InputError(f"{path}: no such file; give a BIDMC .csv, a Challenge 2019 .psv or a WFDB record")
    raise InputError(
        f"{path}: unknown kind of file; give a BIDMC .csv, a Challenge 2019 .psv or a WFDB record"
    )


def _read_csv(path: Path) -> Recording:
    header, lines = _table(path, ",")
    time_column = next((i for i, name in enumerate(header) if name.lower().startswith("time")), None)
    names = {i: BIDMC_NAMES[name] for i, name in enumerate(header) if name in BIDMC_NAMES}
    if time_column is None or not names:
        raise InputError(
            f"{path}: its first line is {','.join(header)!r}; expected 'Time [s]' and one or more of "
            f"{', '.join(BIDMC_NAMES)}"
        )
    seconds: list[float] = []
    rows: list[dict[str, Value]] = []
    for line, cells in lines:
        at = _number(path, line, header[time_column], cells[time_column])
        if at is None or (seconds and at < seconds[-1]):
            raise InputError(f"{path}:{line}: {header[time_column]} must be a number that never falls")
        seconds.append(at)
        rows.append({name: _number(path, line, header[i], cells[i]) for i, name in names.items()})
    offsets = [round((at - seconds[0]) * 1000) for at in seconds]
    return Recording("native", _interval_s(offsets), offsets, rows)


def _read_psv(path: Path) -> Recording:
    header, lines = _table(path, "|")
    names = {i: CHALLENGE_2019_NAMES[name] for i, name in enumerate(header) if name in CHALLENGE_2019_NAMES}
    if not names:
        raise InputError(
            f"{path}: its first line is {'|'.join(header)!r}; expected one or more of "
            f"{', '.join(CHALLENGE_2019_NAMES)}"
        )
    rows = [{n: _number(path, line, header[i], cells[i]) for i, n in names.items()} for line, cells in lines]
    # A chart has a column for what nobody measured; a device doesn't report what it can't measure.
    measured = {name for row in rows for name, value in row.items() if value is not None}
    rows = [{name: value for name, value in row.items() if name in measured} for row in rows]
    if not measured:
        raise InputError(f"{path}: no vital sign in it was ever measured: there is nothing to replay")
    units = {"glucose": "mg/dL"} if "glucose" in measured else {}
    return Recording("native", 3600.0, [i * _HOUR_MS for i in range(len(rows))], rows, units)


def _read_wfdb(header: Path) -> Recording:
    try:
        with warnings.catch_warnings():  # wfdb calls pandas in ways that pandas 3.1 deprecates
            warnings.simplefilter("ignore")
            import wfdb

            record = wfdb.rdrecord(str(header.with_suffix("")))
    except ImportError:
        raise InputError("WFDB records need one more package: pip install 'wardhub[wfdb]'") from None
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{header}: not a WFDB record that can be read: {error}") from None
    interval_s = 1.0 / record.fs
    rows: list[dict[str, Value]] = [
        {
            name: None if math.isnan(value) else value
            for name, value in zip(record.sig_name, samples, strict=True)
        }
        for samples in record.p_signal.tolist()
    ]
    return Recording("mimic2", interval_s, [round(i * interval_s * 1000) for i in range(len(rows))], rows)


def _table(path: Path, separator: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header names without blanks around them, and the numbered lines of cells."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.reader(file, delimiter=separator))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: can't be read: {error}") from None
    if len(table) < 2:
        raise InputError(f"{path}: it has no rows")
    header = [name.strip() for name in table[0]]
    lines = [(number, cells) for number, cells in enumerate(table[1:], 2) if cells]
    for number, cells in lines:
        if len(cells) != len(header):
            raise InputError(f"{path}:{number}: {len(cells)} cells where the first line has {len(header)}")
    return header, lines


def _number(path: Path, line: int, column: str, cell: str) -> Value:
    text = cell.strip()
    if text == "" or text.lower() == "nan":
        return None
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{path}:{line}: {column} is {text!r}; expected a number or NaN") from None
    if not math.isfinite(value):
        raise InputError(f"{path}:{line}: {column} is {text!r}; expected a finite number or NaN")
    return int(value) if value.is_integer() and "." not in text else value


def _interval_s(offsets_ms: list[int]) -> float:
    steps = sorted(b - a for a, b in itertools.pairwise(offsets_ms) if b > a)
    return steps[len(steps) // 2] / 1000 if steps else 1.0

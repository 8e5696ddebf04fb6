"""The DuckDB store's tables and statements. Values are bound, never written into the text."""

# ruff: noqa: S608 - names of tables and columns are constants here or checked vocabulary names

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from hub.stores.columns import NAME

LAYOUT = 1
DAY_MS = 86_400_000

_AT = "_device INTEGER NOT NULL, _time_ms BIGINT NOT NULL, _sub INTEGER NOT NULL, _received BIGINT NOT NULL"
_READINGS = (
    f"{_AT}, _channel INTEGER NOT NULL, _device_time BIGINT, _seq BIGINT NOT NULL, _exceptions VARCHAR"
)

SCHEMA = f"""
CREATE TABLE facts (name VARCHAR, value BIGINT NOT NULL);
INSERT INTO facts VALUES ('layout', {LAYOUT}), ('journal_row', 0), ('moved_ms', 0), ('gone_ms', 0);
CREATE TABLE devices (key INTEGER NOT NULL, site VARCHAR NOT NULL, device VARCHAR NOT NULL);
CREATE TABLE names (key INTEGER NOT NULL, name VARCHAR NOT NULL);
CREATE TABLE readings ({_READINGS});
CREATE TABLE readings_old ({_READINGS});
CREATE TABLE trends (_device INTEGER NOT NULL, _parameter INTEGER NOT NULL, _minute BIGINT NOT NULL,
    _count UINTEGER NOT NULL, _sum DOUBLE NOT NULL, _min DOUBLE NOT NULL, _max DOUBLE NOT NULL);
CREATE TABLE waveforms ({_AT}, _waveform INTEGER NOT NULL, _seq BIGINT NOT NULL, _rate DOUBLE NOT NULL,
    _scale DOUBLE NOT NULL, _offset DOUBLE NOT NULL, _unit VARCHAR NOT NULL, _samples BLOB NOT NULL);
CREATE TABLE statuses ({_AT}, _state VARCHAR NOT NULL, _battery DOUBLE, _firmware VARCHAR,
    _interval_s DOUBLE, _retained BOOLEAN NOT NULL);
CREATE TABLE device_alarms ({_AT}, _condition VARCHAR NOT NULL, _presence VARCHAR NOT NULL,
    _priority VARCHAR NOT NULL, _kind VARCHAR NOT NULL, _parameter VARCHAR, _text VARCHAR NOT NULL);
CREATE TABLE sightings ({_AT}, _beacon VARCHAR NOT NULL, _rssi INTEGER NOT NULL, _tx_power DOUBLE,
    _battery DOUBLE);
"""
ADDED = f"""
CREATE TABLE IF NOT EXISTS zone_changes ({_AT}, _change VARCHAR NOT NULL, _zone VARCHAR);
"""
"""What files of before lack: a hub of before leaves it alone."""

_IDENTITY = {
    "readings": ("_channel",),
    "waveforms": ("_waveform",),
    "statuses": ("_state",),
    "device_alarms": ("_condition", "_presence"),
    "sightings": ("_beacon",),
    "zone_changes": ("_change",),
}
"""What, beside device and time, makes a row of each table itself."""

READINGS = ("readings", "readings_old")
"""Readings as they came, and those of whole days, moved."""
OF_DEVICES = (*_IDENTITY, "readings_old")

SUB = "(_sub + _seq % 1000000)"
"""The digits of a reading's time below the millisecond come from `_seq`: `_sub` is what differs, mostly 0."""

_WITHIN = (
    "_time_ms BETWEEN $2 // 1000000 - 1 AND $3 // 1000000"
    " AND _time_ms * 1000000 + {sub} >= $2 AND _time_ms * 1000000 + {sub} < $3"
)
OF_DEVICE = {
    table: "_device = $1 AND " + _WITHIN.format(sub=SUB if table.startswith("readings") else "_sub")
    for table in OF_DEVICES
}
"""By table: $1 device, $2 start, $3 end (ns). The milliseconds let DuckDB skip what lies outside."""

_READING = OF_DEVICE["readings"]
OF_SITE = "_device IN (SELECT key FROM devices WHERE site = $1) AND " + _WITHIN.format(sub=SUB)
"""The readings of all devices of site $1."""

OF_BEACON = "_beacon = $1 AND _device IN (SELECT key FROM devices WHERE site = $4) AND " + _WITHIN.format(
    sub="_sub"
)
"""What gateways of site $4 heard of beacon $1 from $2 to $3 (ns)."""

IN_SLICE = (
    "_time_ms >= $1::BIGINT * 86400000 AND _time_ms < ($1::BIGINT + 1) * 86400000"
    " AND _device BETWEEN $2 AND $3"
)
IN_MINUTES = "_device = $1 AND _time_ms >= $2::BIGINT * 60000 AND _time_ms < ($3::BIGINT + 1) * 60000"

NEWEST = """
SELECT max(newest) FROM (
    SELECT max(_time_ms) AS newest FROM readings UNION ALL SELECT max(_time_ms) FROM readings_old
)
"""

DAYS = """
SELECT _time_ms // 86400000 AS day, _device, count(*) FROM readings WHERE _time_ms < $1
GROUP BY ALL ORDER BY ALL
"""

MOVE = f"""
INSERT INTO readings_old BY NAME SELECT * FROM readings WHERE {IN_SLICE} ORDER BY _device, _time_ms, {SUB}
"""

TOTALS_GONE = """
SELECT _parameter, sum(_count)::BIGINT, sum(_sum) FROM trends WHERE _device = $1 AND _minute * 60000 < $2
GROUP BY _parameter
"""

WAVEFORMS = f"""
SELECT _time_ms, _sub, _received, _seq, _rate, _scale, _offset, _unit, _samples FROM waveforms
WHERE {OF_DEVICE["waveforms"]} AND _waveform = $4 ORDER BY _time_ms, _sub
"""

ZONE_CHANGES = f"""
SELECT _time_ms, _sub, _received, _change, _zone FROM zone_changes
WHERE {OF_DEVICE["zone_changes"]} ORDER BY _time_ms DESC, _sub DESC LIMIT $4
"""


class Slice(Struct, frozen=True):
    """Devices, by key, of one day (since 1970)."""

    day: int
    first: int
    last: int


@lru_cache(maxsize=256)
def insert_new(table: str, tables: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """Insert of `incoming` into a table, but for rows that one of `tables` has.

    $1, $2: the time range of `incoming` (ms).
    """
    sub = "({0}._sub + {0}._seq % 1000000)" if table == "readings" else "{0}._sub"
    keys = ["{0}._device", "{0}._time_ms", sub, *("{0}." + column for column in _IDENTITY[table])]
    same = " AND ".join(f"{key.format('t')} = {key.format('i')}" for key in keys)
    absent = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {t} t WHERE t._time_ms BETWEEN $1 AND $2 AND {same})" for t in tables
    )
    return f"INSERT INTO {table} BY NAME SELECT {', '.join(columns)} FROM incoming i WHERE {absent}"


def counts(parameters: Sequence[str], where: str = _READING) -> str:
    """Count each parameter's values of a device, or of what `where` says, and time range."""
    inner = ", ".join(f"count({p}) AS {p}" for p in parameters)
    outer = ", ".join(f"sum({p})" for p in parameters)
    return (
        f"SELECT {outer} FROM (SELECT {inner} FROM readings WHERE {where}"
        f" UNION ALL SELECT {inner} FROM readings_old WHERE {where})"
    )


def select_readings(parameters: Sequence[str], where: str = _READING) -> str:
    """Select readings of a device, or of what `where` says, and time range, oldest first; $4 the limit."""
    selects = (f"SELECT {_columns(parameters)} FROM {table} WHERE {where}" for table in READINGS)
    return f"{' UNION ALL '.join(selects)} ORDER BY _time_ms, sub LIMIT $4"


def newest(table: str, parameters: Sequence[str], wanted: Sequence[str]) -> str:
    """Select readings of a device and time range in one table, newest first; $4 the limit.

    `parameters` are all columns. With `wanted` only readings that tell something of one of these. Ordered by
    columns as they are: so DuckDB skips row groups that can't hold the newest.
    """
    tests = [f"{name} IS NOT NULL" for name in wanted if name in parameters]
    tests += [f"contains(_exceptions, '\"{name}\"')" for name in wanted if NAME.fullmatch(name)]
    held = f" AND ({' OR '.join(tests) or 'false'})" if wanted else ""
    return (
        f"SELECT {_columns(parameters)} FROM {table} WHERE {_READING}{held}"
        " ORDER BY _time_ms DESC, sub DESC LIMIT $4"
    )


def _columns(parameters: Sequence[str]) -> str:
    sent = ("_received", "_device_time", "_seq", "_exceptions")
    return ", ".join(("_device", "_channel", "_time_ms", f"{SUB} AS sub", *sent, *parameters))


def trend(parameter: str) -> str:
    """Summarise a parameter by steps: index, count, sum, minimum, maximum.

    $1 device, $2 start, $3 end, $4 step (ns), $5 the time (ms) before which minutes stand for the old
    readings, $6 the parameter's key.
    """
    summary = f"count({parameter}), sum({parameter}), min({parameter}), max({parameter})"
    index = f"(_time_ms * 1000000 + {SUB} - $2) // $4 AS step"
    return f"""
SELECT {index}, {summary} FROM readings WHERE {_READING} GROUP BY step
UNION ALL
SELECT {index}, {summary} FROM readings_old WHERE {_READING} AND _time_ms >= $5 GROUP BY step
UNION ALL
SELECT (_minute * 60000000000 - $2) // $4 AS step, sum(_count)::BIGINT, sum(_sum), min(_min), max(_max)
FROM trends
WHERE _device = $1 AND _parameter = $6 AND _minute * 60000 < $5
    AND _minute * 60000000000 >= $2 AND _minute * 60000000000 < $3
GROUP BY step
"""


def totals(parameters: Sequence[str]) -> str:
    """Count and sum of each parameter of a device, in pairs."""
    inner = ", ".join(parameters)
    outer = ", ".join(f"count({p}), sum({p})" for p in parameters)
    return (
        f"SELECT {outer} FROM (SELECT {inner} FROM readings WHERE _device = $1"
        f" UNION ALL SELECT {inner} FROM readings_old WHERE _device = $1)"
    )


def roll_up(table: str, parameters: Sequence[tuple[str, int]], where: str) -> str:
    """Insert minutes of readings into trends: a row a device, parameter (given with its key) and minute."""
    parts = " UNION ALL ".join(
        f"SELECT _device, {key}, _time_ms // 60000 AS minute, count({p}), sum({p}), min({p}), max({p})"
        f" FROM {table} WHERE {where} AND {p} IS NOT NULL GROUP BY _device, minute"
        for p, key in parameters
    )
    return f"INSERT INTO trends {parts} ORDER BY ALL"

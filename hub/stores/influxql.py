"""The InfluxQL that the InfluxDB store runs. Pure."""

# ruff: noqa: S608 - every string goes through `literal` or `identifier`; everything else is a number

from collections.abc import Sequence

from hub.stores.lines import encode
from hub.stores.rollups import MINUTE_NS

FEW = 8
"""So many newest lines are read one by one; more are read with what lies between them."""
ALL = 1_000_000

MEASUREMENTS = ("vitals", "waveforms", "status", "device_alarm", "sighting", "zone_change")

PROGRESS = 'SELECT last("gone_ns") AS gone_ns, last("rolled_ns") AS rolled_ns FROM "hub_retention"'
"""Before what time readings are gone, and up to what time they were rolled up."""


def literal(text: str) -> str:
    """Return a string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """Return a name."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def of_device(site: str, device: str) -> str:
    """Return the condition for a device."""
    return f'"site" = {literal(encode(site))} AND "device" = {literal(encode(device))}'


def within(site: str, device: str, start_ns: int, end_ns: int) -> str:
    """Return the condition for a device and a time."""
    return f"{of_device(site, device)} AND time >= {start_ns} AND time < {end_ns}"


def readings(site: str, device: str, start_ns: int, end_ns: int, limit: int) -> str:
    """Select whole lines, oldest first."""
    return f'SELECT * FROM "vitals" WHERE {within(site, device, start_ns, end_ns)} LIMIT {limit}'


def site_readings(site: str, start_ns: int, end_ns: int, limit: int) -> str:
    """Select whole lines of every device of a site, oldest first."""
    where = f'"site" = {literal(encode(site))} AND time >= {start_ns} AND time < {end_ns}'
    return f'SELECT * FROM "vitals" WHERE {where} LIMIT {limit}'


def newest(site: str, device: str, start_ns: int, end_ns: int, limit: int, parameters: Sequence[str]) -> str:
    """Select the newest lines that have one of the parameters or its quality, newest first."""
    names = [name for parameter in parameters for name in (parameter, f"{parameter}__quality")]
    fields = ", ".join(identifier(name) for name in names) or identifier("meta__seq")
    where = within(site, device, start_ns, end_ns)
    return f'SELECT {fields} FROM "vitals" WHERE {where} ORDER BY time DESC LIMIT {limit}'


def waveforms(site: str, device: str, waveform: str, start_ns: int, end_ns: int) -> str:
    """Select windows, oldest first."""
    where = f'{within(site, device, start_ns, end_ns)} AND "waveform" = {literal(encode(waveform))}'
    return f'SELECT * FROM "waveforms" WHERE {where}'


def zone_changes(site: str, device: str, start_ns: int, end_ns: int, limit: int) -> str:
    """Select a beacon's changes of zone, newest first."""
    where = within(site, device, start_ns, end_ns)
    return f'SELECT * FROM "zone_change" WHERE {where} ORDER BY time DESC LIMIT {limit}'


def trend(where: str, parameter: str, start_ns: int, step: int) -> str:
    """Summarise readings by steps from `start_ns`."""
    p, steps = identifier(parameter), _steps(start_ns, step)
    return f'SELECT count({p}), sum({p}), min({p}), max({p}) FROM "vitals" WHERE {where} {steps}'


def trend_of_minutes(where: str, parameter: str, start_ns: int, step: int) -> str:
    """Summarise minutes by steps from `start_ns`."""
    count, total, low, high = (identifier(f"{part}_{parameter}") for part in ("count", "sum", "min", "max"))
    return (
        f"SELECT sum({count}) AS count, sum({total}) AS sum, min({low}) AS min, max({high}) AS max"
        f' FROM "vitals_1m" WHERE {where} {_steps(start_ns, step)}'
    )


def _steps(start_ns: int, step: int) -> str:
    return f"GROUP BY time({step}ns, {start_ns % step}ns) fill(none)"


def totals(site: str, device: str) -> str:
    """Count and sum of every field: columns count_… and sum_…."""
    return f'SELECT count(*), sum(*) FROM "vitals" WHERE {of_device(site, device)}'


def totals_of_minutes(site: str, device: str, before_ns: int) -> str:
    """Count and sum of every parameter before a time: columns sum_count_… and sum_sum_…."""
    return f'SELECT sum(*) FROM "vitals_1m" WHERE {of_device(site, device)} AND time < {before_ns}'


def first_line(start_ns: int, end_ns: int) -> str:
    """Select the oldest line of a time."""
    return f'SELECT * FROM "vitals" WHERE time >= {start_ns} AND time < {end_ns} LIMIT 1'


def roll_up(start_ns: int, end_ns: int) -> str:
    """Make the minutes of a time anew."""
    return (
        'SELECT count(*), sum(*), min(*), max(*) INTO "vitals_1m" FROM "vitals"'
        f" WHERE time >= {start_ns} AND time < {end_ns} GROUP BY time(1m), * fill(none)"
    )


def delete_before(measurement: str, time_ns: int) -> str:
    """Delete what is older, of every device."""
    return f"DELETE FROM {identifier(measurement)} WHERE time < {time_ns}"


def erase(site: str, device: str, start_ns: int, end_ns: int) -> list[str]:
    """Delete a device's lines of a time, and every minute that it touches; of a beacon where it was heard."""
    span = f"time >= {start_ns} AND time < {end_ns}"
    lines, heard, minutes = (
        within(site, device, start_ns, end_ns),
        f'"site" = {literal(encode(site))} AND "beacon" = {literal(encode(device))} AND {span}',
        within(site, device, start_ns // MINUTE_NS * MINUTE_NS, -(-end_ns // MINUTE_NS) * MINUTE_NS),
    )
    return [
        *(f"DELETE FROM {identifier(measurement)} WHERE {lines}" for measurement in MEASUREMENTS),
        f'DELETE FROM "sighting" WHERE {heard}',
        f'DELETE FROM "vitals_1m" WHERE {minutes}',
    ]

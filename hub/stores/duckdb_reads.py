"""What is read from the DuckDB store's file; in its worker thread."""

from collections.abc import Iterable, Sequence
from typing import Any

from hub.model import Reading, Waveform, ZoneChange
from hub.stores import duckdb_sql as sql
from hub.stores.columns import readings_from
from hub.stores.duckdb_keys import Connection, Keys
from hub.stores.newest import holds
from hub.stores.recent import Recent
from hub.stores.rollups import COARSE_NS, roll_up, step_ns
from hub.stores.samples import unpack
from hub.stores.store import Total, TrendPoint

DeviceId = tuple[str, str]
"""Site and device."""

_FEW = 8
"""For so many readings, finding out which columns are empty takes longer than fetching them."""
_LATELY_NS = 90_000_000_000
_MATERIALISED = 64
"""Of up to 50 rows DuckDB first finds which they are, then joins their columns: dearer than taking a few more
where there are few anyway."""
_SHORT_NS = 600_000_000_000
"""For less, finding out which columns are empty takes longer than fetching them."""


def readings(
    db: Connection, keys: Keys, recent: Recent, device: DeviceId, start_ns: int, end_ns: int, limit: int
) -> list[Reading]:
    """Return readings with start_ns <= time_ns < end_ns, oldest first; empty columns aren't fetched."""
    found = recent.readings(*device, start_ns, end_ns, limit)
    key = keys.devices.get(device)
    if found is not None or key is None:
        return found or []
    within = [key, start_ns, end_ns]
    parameters = list(keys.parameters)
    if parameters and limit > _FEW and end_ns - start_ns > _SHORT_NS:
        counts = db.execute(sql.counts(parameters), within).fetchall()[0]
        parameters = [name for name, count in zip(parameters, counts, strict=True) if count]
    rows = db.execute(sql.select_readings(parameters), [*within, limit]).fetchall()
    return _read(keys, device, rows, parameters)


def site_readings(
    db: Connection, keys: Keys, site: str, start_ns: int, end_ns: int, limit: int
) -> list[Reading]:
    """Return readings of every device of a site, oldest first; empty columns aren't fetched."""
    within = [site, start_ns, end_ns]
    counts = db.execute(sql.counts(list(keys.parameters), sql.OF_SITE), within).fetchall()[0]
    parameters = [name for name, count in zip(keys.parameters, counts, strict=True) if count]
    channels = {key: name for name, key in keys.names.items()}
    devices = {key: device for (at, device), key in keys.devices.items() if at == site}
    rows = db.execute(sql.select_readings(parameters, sql.OF_SITE), [*within, limit]).fetchall()
    return readings_from(
        ((site, devices[device], channels[channel], *rest) for device, channel, *rest in rows), parameters
    )


def newest(
    db: Connection,
    keys: Keys,
    recent: Recent,
    device: DeviceId,
    start_ns: int,
    end_ns: int,
    limit: int,
    parameters: Sequence[str],
) -> list[Reading]:
    """Return the newest readings that hold one of the parameters, newest first."""
    if not recent.knows(*device):
        recent.keep(*device, _newest(db, keys, device, 0, recent.end_ns, recent.most, ()))
    found = recent.newest(*device, start_ns, end_ns, limit, parameters)
    if found is None:
        found = _newest(db, keys, device, start_ns, min(end_ns, recent.end_ns), limit, parameters)
    return found


def _newest(
    db: Connection,
    keys: Keys,
    device: DeviceId,
    start_ns: int,
    end_ns: int,
    limit: int,
    parameters: Sequence[str],
) -> list[Reading]:
    """Look into the last minutes first, with which most who ask are content; then into all that is before."""
    key = keys.devices.get(device)
    if key is None:
        return []
    columns = list(keys.parameters)
    middle_ns = max(start_ns, end_ns - _LATELY_NS)
    rows: list[tuple[Any, ...]] = []
    for begin_ns, until_ns, least in ((middle_ns, end_ns, _MATERIALISED), (start_ns, middle_ns, 0)):
        missing = limit - len(rows)
        if missing <= 0 or begin_ns >= until_ns:
            continue
        found: list[tuple[Any, ...]] = []
        # Apart: of a union DuckDB looks through all.
        for table in sql.READINGS:
            within = [key, begin_ns, until_ns, max(missing, least)]
            found += db.execute(sql.newest(table, columns, parameters), within).fetchall()
        found.sort(key=_time, reverse=True)
        rows += found[:missing]
    return [one for one in _read(keys, device, rows, columns) if holds(one, parameters)]


def _read(
    keys: Keys, device: DeviceId, rows: Iterable[Sequence[Any]], parameters: Sequence[str]
) -> list[Reading]:
    channels = {key: name for name, key in keys.names.items()}
    return readings_from(((*device, channels[channel], *rest) for _, channel, *rest in rows), parameters)


def _time(row: tuple[Any, ...]) -> tuple[int, int]:
    return row[2], row[3]


def trend(
    db: Connection,
    keys: Keys,
    device: DeviceId,
    parameter: str,
    start_ns: int,
    end_ns: int,
    points: int,
    gone_ms: int,
) -> list[TrendPoint]:
    """Return the steps of a trend: of minutes where steps are long, or before `gone_ms`."""
    key = keys.devices.get(device)
    if key is None or keys.parameters.get(parameter, True):
        return []
    step = step_ns(start_ns, end_ns, points)
    minutes_before_ms = end_ns // 1_000_000 if step >= COARSE_NS else gone_ms
    arguments = [key, start_ns, end_ns, step, minutes_before_ms, keys.names.get(parameter, 0)]
    rows = db.execute(sql.trend(parameter), arguments).fetchall()
    return roll_up(((start_ns + index * step, *rest) for index, *rest in rows), start_ns, step)


def totals(db: Connection, keys: Keys, device: DeviceId, gone_ms: int) -> dict[str, Total]:
    """Return count and sum of every number: of readings, and of minutes before `gone_ms`."""
    key, numbers = keys.devices.get(device), keys.numbers
    if key is None or not numbers:
        return {}
    row = db.execute(sql.totals(numbers), [key]).fetchall()[0]
    found = {name: Total(row[2 * index], row[2 * index + 1] or 0.0) for index, name in enumerate(numbers)}
    names = {key: name for name, key in keys.names.items()}
    for parameter, count, total in db.execute(sql.TOTALS_GONE, [key, gone_ms]).fetchall():
        before = found[names[parameter]]
        found[names[parameter]] = Total(before.count + count, before.sum + total)
    return {name: total for name, total in found.items() if total.count}


def waveforms(
    db: Connection, keys: Keys, device: DeviceId, waveform: str, start_ns: int, end_ns: int
) -> list[Waveform]:
    """Return the windows that begin in start_ns <= time_ns < end_ns, oldest first."""
    key, name = keys.devices.get(device), keys.names.get(waveform)
    if key is None or name is None:
        return []
    found = []
    for ms, sub, received, seq, rate, scale, offset, unit, samples in db.execute(
        sql.WAVEFORMS, [key, start_ns, end_ns, name]
    ).fetchall():
        time_ns = ms * 1_000_000 + sub
        found.append(
            Waveform(
                *device,
                waveform,
                time_ns,
                time_ns + received,
                seq,
                rate,
                scale,
                offset,
                unit,
                unpack(samples),
            )
        )
    return found


def zone_changes(
    db: Connection, keys: Keys, device: DeviceId, start_ns: int, end_ns: int, limit: int
) -> list[ZoneChange]:
    """Return the newest changes of a beacon with start_ns <= time_ns < end_ns, newest first."""
    key = keys.devices.get(device)
    if key is None:
        return []
    rows = db.execute(sql.ZONE_CHANGES, [key, start_ns, end_ns, limit]).fetchall()
    times = [(ms * 1_000_000 + sub, *rest) for ms, sub, *rest in rows]
    return [
        ZoneChange(*device, time_ns, time_ns + received, change, zone)
        for time_ns, received, change, zone in times
    ]

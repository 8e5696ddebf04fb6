"""The embedded store: a DuckDB file with one wide row a reading. The only importer of duckdb."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb

from hub.failpoint import failpoint
from hub.model import Batch, Reading, Waveform, ZoneChange
from hub.stores import columns as made
from hub.stores import duckdb_reads as reads
from hub.stores import duckdb_sql as sql
from hub.stores.columns import Columns
from hub.stores.duckdb_keys import Keys
from hub.stores.recent import Recent
from hub.stores.rollups import DAY_NS, MINUTE_NS
from hub.stores.store import Retention, StoreRefused, StoreUnavailable, Total, TrendPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

SHRINK_BYTES = 256 << 20
"""Files with more than this in use are not rewritten as a whole: that would hold writes up for seconds."""

HOUR_MS = 3_600_000
SLICE_ROWS = 500_000
"""Rows that one step of compaction moves: about 0.5 s, in which nothing is written or read."""

_LASTING = (
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.TransactionException,
    duckdb.InternalException,
)
_FATAL = (duckdb.FatalException, duckdb.IOException, duckdb.InternalException)
"""After these the connection is of no more use; the file is opened anew."""


class DuckDBStore:
    """Time series in one DuckDB file, for one process.

    Readings of the last one to two days lie in `readings` as they came; `expire` moves whole days to
    `readings_old`, sorted by device and time so that they compress, and rolls them up by the minute into
    `trends`. The id of the last journal row is committed with the data, so `position` is exact.
    A reading that is stored already is left as it is. All work is done in one thread of its own, one
    transaction after another; DuckDB lets go of the GIL meanwhile.
    Erased rows are gone from every query at once; DuckDB overwrites their blocks when it needs them.
    """

    name = "duckdb"
    settle_s = 0.0

    def __init__(self, path: Path, *, memory_mb: int = 128, threads: int = 1) -> None:
        self.path = path
        self._settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mb}MB",
            "threads": threads,
        }
        self._worker: ThreadPoolExecutor | None = None
        self._db: duckdb.DuckDBPyConnection | None = None
        self._facts: dict[str, int] = {}
        self._keys = Keys()
        self._recent = Recent()

    async def start(self) -> None:
        """Open the file, or lay it out anew where there is none."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "duckdb")
        await self._do(lambda _: None)

    async def stop(self) -> None:
        """Close the file."""
        if self._worker is None:
            return
        await asyncio.get_running_loop().run_in_executor(self._worker, self._close)
        self._worker.shutdown()
        self._worker = None

    async def position(self) -> int | None:
        """Return the id of the last journal row that is stored; 0 for a new file."""
        return await self._do(lambda _: self._facts["journal_row"])

    async def write(self, rows: Sequence[tuple[int, Batch]]) -> None:
        """Store the rows in one transaction: all of them or none.

        The position moves to the highest id; id 0 stands for a part of a row, which doesn't move it.
        """
        await self._do(lambda db: self._write(db, rows))

    async def readings(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings with start_ns <= time_ns < end_ns, oldest first, at most `limit`."""
        if self._db is not None:  # what is in memory waits for nothing that is being written
            found = self._recent.readings(site, device, start_ns, end_ns, limit)
            if found is not None:
                return found
        return await self._do(
            lambda db: reads.readings(db, self._keys, self._recent, (site, device), start_ns, end_ns, limit)
        )

    async def site_readings(
        self, site: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings of every device of a site with start_ns <= time_ns < end_ns, oldest first."""
        return await self._do(lambda db: reads.site_readings(db, self._keys, site, start_ns, end_ns, limit))

    async def newest(
        self,
        site: str,
        device: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        parameters: Sequence[str] = (),
    ) -> list[Reading]:
        """Return the newest readings with start_ns <= time_ns < end_ns, newest first, at most `limit`."""
        if self._db is not None:
            found = self._recent.newest(site, device, start_ns, end_ns, limit, parameters)
            if found is not None:
                return found
        return await self._do(
            lambda db: reads.newest(
                db, self._keys, self._recent, (site, device), start_ns, end_ns, limit, parameters
            )
        )

    async def trend(
        self, site: str, device: str, parameter: str, start_ns: int, end_ns: int, points: int
    ) -> list[TrendPoint]:
        """Return at most `points` steps; of minutes where steps are long or the readings gone."""
        return await self._do(
            lambda db: reads.trend(
                db, self._keys, (site, device), parameter, start_ns, end_ns, points, self._facts["gone_ms"]
            )
        )

    async def totals(self, site: str, device: str) -> dict[str, Total]:
        """Return count and sum of every numeric parameter of a device, over all time."""
        return await self._do(lambda db: reads.totals(db, self._keys, (site, device), self._facts["gone_ms"]))

    async def waveforms(
        self, site: str, device: str, waveform: str, start_ns: int, end_ns: int
    ) -> list[Waveform]:
        """Return the windows that begin in start_ns <= time_ns < end_ns, oldest first."""
        return await self._do(
            lambda db: reads.waveforms(db, self._keys, (site, device), waveform, start_ns, end_ns)
        )

    async def zone_changes(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int
    ) -> list[ZoneChange]:
        """Return the newest changes of a beacon within a time, newest first."""
        return await self._do(
            lambda db: reads.zone_changes(db, self._keys, (site, device), start_ns, end_ns, limit)
        )

    async def expire(self, now_ns: int, retention: Retention) -> None:
        """Compact and roll up whole days older than one day, step by step; then remove what is past."""
        cut_ms = (now_ns - DAY_NS) // DAY_NS * (DAY_NS // 1_000_000)
        parts = await self._do(lambda db: self._slices(db, cut_ms))
        for part in parts:
            await self._do(partial(self._move, part=part))
        await self._do(lambda db: self._remove(db, now_ns, retention))
        if parts:
            await self._do(self._shrink)

    async def erase(self, site: str, device: str, start_ns: int, end_ns: int) -> None:
        """Remove everything of a device with start_ns <= time_ns < end_ns.

        At the ends a trend's minute goes as a whole where its readings are past their retention.
        """
        await self._do(lambda db: self._erase(db, site, device, start_ns, end_ns))

    async def size_bytes(self) -> int | None:
        """Return the size of the file and its write-ahead log."""
        files = (self.path, self.path.with_name(self.path.name + ".wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    # In the worker thread.

    async def _do(self, action: "Callable[[duckdb.DuckDBPyConnection], T]") -> T:
        if self._worker is None:
            raise StoreUnavailable(f"the store {self.path} is not started")
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._attempt, action)

    def _attempt(self, action: "Callable[[duckdb.DuckDBPyConnection], T]") -> T:
        try:
            return action(self._db or self._open())
        except duckdb.Error as error:
            if isinstance(error, _FATAL):
                self._close()
            reason = f"DuckDB file {self.path}: {str(error).splitlines()[0]}"
            if isinstance(error, (*_LASTING, *_FATAL)):
                raise StoreUnavailable(reason) from error
            raise StoreRefused(reason) from error

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            db = duckdb.connect(str(self.path), config=self._settings)
        except duckdb.IOException as error:
            if "lock" in str(error):
                raise StoreUnavailable(
                    f"{self.path} is open in another process: an embedded store has one; stop the other hub"
                ) from error
            raise
        tables = {row[0] for row in db.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if "facts" not in tables:
            db.execute(f"BEGIN; {sql.SCHEMA} COMMIT;")
        db.execute(sql.ADDED)
        facts = dict(db.execute("SELECT name, value FROM facts").fetchall())
        if facts["layout"] != sql.LAYOUT:
            db.close()
            raise StoreRefused(
                f"{self.path} has layout {facts['layout']}, this hub knows {sql.LAYOUT}:"
                " use the version that wrote it"
            )
        self._facts = facts
        self._keys = Keys.read(db)
        self._recent = Recent(newest_ms=db.execute(sql.NEWEST).fetchall()[0][0] or 0)
        self._db = db
        return db

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    @contextmanager
    def _transaction(self, db: duckdb.DuckDBPyConnection) -> "Iterator[None]":
        """Commit what is done within, with new keys; on an error roll back and forget them."""
        db.execute("BEGIN")
        facts = dict(self._facts)
        try:
            yield
            for table, columns in self._keys.new_rows():
                self._append(db, table, columns)
            for name, value in self._facts.items():
                if facts[name] != value:
                    db.execute("UPDATE facts SET value = $1 WHERE name = $2", [value, name])
            failpoint("duckdb:before-commit")
            db.execute("COMMIT")
        except BaseException:
            self._keys.forget_new()
            self._facts = facts
            with suppress(duckdb.Error):
                db.execute("ROLLBACK")
            raise
        self._keys.keep_new()

    def _write(self, db: duckdb.DuckDBPyConnection, rows: Sequence[tuple[int, Batch]]) -> None:
        batches = [batch for _, batch in rows]
        readings = [reading for batch in batches for reading in batch.readings]
        waveforms = made.distinct(
            [waveform for batch in batches for waveform in batch.waveforms],
            lambda w: (w.site, w.device, w.waveform, w.time_ns),
        )
        statuses = made.distinct(
            [status for batch in batches for status in batch.statuses],
            lambda s: (s.site, s.device, s.state, s.time_ns),
        )
        alarms = made.distinct(
            [alarm for batch in batches for alarm in batch.device_alarms],
            lambda a: (a.site, a.device, a.condition, a.presence, a.time_ns),
        )
        sightings = made.distinct(
            [sighting for batch in batches for sighting in batch.sightings],
            lambda s: (s.site, s.gateway, s.beacon, s.time_ns),
        )
        changes = made.distinct(
            [change for batch in batches for change in batch.zone_changes],
            lambda c: (c.site, c.device, c.change, c.time_ns),
        )
        with self._transaction(db):
            if readings:
                columns, texts = made.reading_columns(readings, self._keys.device, self._keys.name)
                self._add_parameters(db, texts)
                self._insert(db, "readings", columns)
            if waveforms:
                self._insert(
                    db, "waveforms", made.waveform_columns(waveforms, self._keys.device, self._keys.name)
                )
            if statuses:
                self._insert(db, "statuses", made.status_columns(statuses, self._keys.device))
            if alarms:
                self._insert(db, "device_alarms", made.alarm_columns(alarms, self._keys.device))
            if sightings:
                self._insert(db, "sightings", made.sighting_columns(sightings, self._keys.device))
            if changes:
                self._insert(db, "zone_changes", made.zone_change_columns(changes, self._keys.device))
            last = max((row_id for row_id, _ in rows), default=0)
            self._facts["journal_row"] = max(self._facts["journal_row"], last)
        self._recent.add(readings)

    def _add_parameters(self, db: duckdb.DuckDBPyConnection, texts: dict[str, bool]) -> None:
        for name, is_text in texts.items():
            known = self._keys.parameters.get(name)
            if known is None:
                for table in ("readings", "readings_old"):
                    kind = "VARCHAR" if is_text else "DOUBLE"
                    db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
                self._keys.add_parameter(name, is_text)
            elif known != is_text:
                raise StoreRefused(
                    f"{name} is {'text' if known else 'a number'} in {self.path}, found the other"
                )

    def _insert(self, db: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
        """Insert what is not there yet; a look-up is bounded to the time range of what comes.

        What is far older than the rest (a device that sends its backlog) is looked up on its own.
        """
        times = columns["_time_ms"]
        old = times < times.max() - HOUR_MS
        if old.any():
            self._insert_range(db, table, {name: column[old] for name, column in columns.items()})
            columns = {name: column[~old] for name, column in columns.items()}
        self._insert_range(db, table, columns)

    def _insert_range(self, db: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
        times = columns["_time_ms"]
        low, high = int(times.min()), int(times.max())
        tables: tuple[str, ...] = (table,)
        if table == "readings" and low < self._facts["moved_ms"]:
            tables = ("readings", "readings_old")
        db.register("incoming", columns)
        try:
            db.execute(sql.insert_new(table, tables, tuple(columns)), [low, high])
        finally:
            db.unregister("incoming")

    def _append(self, db: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
        db.register("incoming", columns)
        try:
            db.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")  # noqa: S608 - constants
        finally:
            db.unregister("incoming")

    def _slices(self, db: duckdb.DuckDBPyConnection, before_ms: int) -> list[sql.Slice]:
        """Return what is to be moved: at most SLICE_ROWS of one day each, or one device of one day."""
        slices: list[sql.Slice] = []
        rows = 0
        for day, device, count in db.execute(sql.DAYS, [before_ms]).fetchall():
            if not slices or slices[-1].day != day or rows + count > SLICE_ROWS:
                slices.append(sql.Slice(day, device, device))
                rows = 0
            slices[-1] = sql.Slice(day, slices[-1].first, device)
            rows += count
        return slices

    def _move(self, db: duckdb.DuckDBPyConnection, part: sql.Slice) -> None:
        """Move a slice to where it is sorted, with its trends, in one transaction."""
        end_ms = (part.day + 1) * sql.DAY_MS
        with self._transaction(db):
            within = [part.day, part.first, part.last]
            self._roll_up(db, "readings", sql.IN_SLICE, within)
            db.execute(sql.MOVE, within)
            db.execute(f"DELETE FROM readings WHERE {sql.IN_SLICE}", within)  # noqa: S608 - constants
            self._facts["moved_ms"] = max(self._facts["moved_ms"], end_ms)

    def _roll_up(self, db: duckdb.DuckDBPyConnection, table: str, where: str, arguments: list[int]) -> None:
        numbers = [(name, self._keys.name(name)) for name in self._keys.numbers]
        if numbers:
            db.execute(sql.roll_up(table, numbers, where), arguments)

    def _remove(self, db: duckdb.DuckDBPyConnection, now_ns: int, retention: Retention) -> None:
        gone_ns = (now_ns - int(retention.readings_days * DAY_NS)) // MINUTE_NS * MINUTE_NS
        waveforms_ns = now_ns - int(retention.waveforms_days * DAY_NS)
        trends_ns = now_ns - int(retention.trends_days * DAY_NS)
        with self._transaction(db):
            for table in sql.OF_DEVICES:
                before_ms = (waveforms_ns if table == "waveforms" else gone_ns) // 1_000_000
                db.execute(f"DELETE FROM {table} WHERE _time_ms < $1", [before_ms])  # noqa: S608 - constants
            db.execute("DELETE FROM trends WHERE _minute < $1", [trends_ns // MINUTE_NS])
            self._facts["gone_ms"] = max(self._facts["gone_ms"], gone_ns // 1_000_000)
        self._recent.forget()
        db.execute("CHECKPOINT")

    def _shrink(self, db: duckdb.DuckDBPyConnection) -> None:
        """Rewrite a small file where it is mostly free blocks; a large one uses them again."""
        used, free = db.execute(
            "SELECT used_blocks * block_size, free_blocks * block_size FROM pragma_database_size()"
        ).fetchall()[0]
        if free * 4 <= used or used > SHRINK_BYTES:
            return
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)
        old = db.execute("SELECT current_database()").fetchall()[0][0]
        target = str(new).replace("'", "''")
        db.execute(f"ATTACH '{target}' AS rewritten")
        source = old.replace('"', '""')
        db.execute(f'COPY FROM DATABASE "{source}" TO rewritten')
        db.execute("CHECKPOINT rewritten")
        db.execute("DETACH rewritten")
        self._close()
        failpoint("duckdb:before-replace")
        new.replace(self.path)

    def _erase(
        self, db: duckdb.DuckDBPyConnection, site: str, device: str, start_ns: int, end_ns: int
    ) -> None:
        key = self._keys.devices.get((site, device), 0)  # of one that has sent nothing: 0 is no key
        within = [key, start_ns, end_ns]
        first, last = start_ns // MINUTE_NS, (end_ns - 1) // MINUTE_NS
        with self._transaction(db):
            heard = [device, start_ns, end_ns, site]
            db.execute(f"DELETE FROM sightings WHERE {sql.OF_BEACON}", heard)  # noqa: S608 - constants
            for table in sql.OF_DEVICES:
                db.execute(f"DELETE FROM {table} WHERE {sql.OF_DEVICE[table]}", within)  # noqa: S608 - constants
            db.execute(
                "DELETE FROM trends WHERE _device = $1 AND _minute BETWEEN $2 AND $3", [key, first, last]
            )
            self._roll_up(db, "readings_old", sql.IN_MINUTES, [key, first, last])
        self._recent.forget()
        db.execute("CHECKPOINT")

"""The file behind the event log: SQLite, WAL, `synchronous=FULL`.

One thread at a time opens, appends, trims and closes; `after`, `of_alarm`, `between` and `begun` have a
connection of their own and may run at any time beside them.

SQLite rather than a framed file: a commit is one fsync of the WAL either way, its recovery after a crash
(checksummed frames, a torn tail cut off) is tested better than ours would be, and retention and "what is
present" are queries.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import Any

from msgspec import msgpack

from hub.alarms.alarm import AlarmEvent
from hub.alarms.recent import Begun

LAYOUT = 1

_SCHEMA = """
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,
    alarm TEXT NOT NULL,
    happening TEXT NOT NULL,
    event BLOB NOT NULL
);
CREATE INDEX events_of_alarm ON events (alarm, sequence);
CREATE INDEX ends ON events (time_ns) WHERE happening = 'end';
CREATE TABLE epochs (
    epoch TEXT NOT NULL,
    first INTEGER NOT NULL -- sequence of its first event
);
CREATE TABLE state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    closed INTEGER NOT NULL, -- 1 when the hub stopped with everything recorded
    trimmed INTEGER NOT NULL -- events up to this sequence may be gone
);
INSERT INTO state VALUES (1, 0, 0);
"""

_CANARY = "CREATE TABLE IF NOT EXISTS canary (only INTEGER PRIMARY KEY CHECK (only = 1), event BLOB NOT NULL)"
_STARTS = "CREATE INDEX IF NOT EXISTS starts ON events (sequence, time_ns) WHERE happening = 'start'"
_PRESENT = """
SELECT coalesce(start.sequence, newest.sequence), coalesce(start.time_ns, newest.time_ns), newest.event
FROM events AS newest LEFT JOIN events AS start ON start.sequence =
    (SELECT max(sequence) FROM events WHERE alarm = newest.alarm AND happening = 'start')
WHERE newest.sequence IN (SELECT max(sequence) FROM events GROUP BY alarm) AND newest.happening != 'end'
"""
_BEGUN = """
SELECT sequence, time_ns,
    (SELECT event FROM events WHERE alarm = start.alarm ORDER BY sequence DESC LIMIT 1)
FROM events AS start INDEXED BY starts
WHERE happening = 'start' AND sequence < ? AND time_ns >= ? AND time_ns < ? AND NOT EXISTS
    (SELECT 1 FROM events AS again
     WHERE again.alarm = start.alarm AND again.sequence > start.sequence AND again.happening = 'start')
ORDER BY sequence DESC LIMIT ?
"""

_decode = msgpack.Decoder(AlarmEvent).decode


class LogUnreadable(Exception):  # noqa: N818 - a state of the file, as StoreUnavailable is of a store
    """The event log's file can't be opened; the message says what to do."""


class Records:
    """Append, read and trim events in one file. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or create the file. Begins a new epoch unless the hub stopped with everything recorded.

        An event may be told before it is recorded and then be lost in a crash. Its number is given again,
        but in another epoch: no id that a client has seen ever means another event.
        """
        try:
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._prepare(self._connection)
        except sqlite3.Error as error:
            raise LogUnreadable(
                f"{self._path} can't be opened as an event log ({error}); make the folder writable, or move"
                " the file away: the hub then begins a new log and every nurse station starts afresh"
            ) from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout > LAYOUT:
            raise LogUnreadable(
                f"{self._path} was written by a newer hub (layout {layout}, this hub knows {LAYOUT}):"
                " install that version again"
            )
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if layout == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={LAYOUT}")
            if not connection.execute("SELECT closed FROM state").fetchone()[0]:
                first = self._last(connection) + 1
                connection.execute("INSERT INTO epochs VALUES (?, ?)", (token_hex(4), first))
            connection.execute("CREATE INDEX IF NOT EXISTS events_by_time ON events (time_ns)")
            connection.execute(_STARTS)
            connection.execute(_CANARY)
            connection.execute("UPDATE state SET closed = 0")

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the event log is not open")
        return self._connection

    @staticmethod
    def _last(connection: sqlite3.Connection) -> int:
        """Return the last sequence in use; trimming leaves no lower one free to be used again."""
        newest, trimmed = connection.execute(
            "SELECT (SELECT max(sequence) FROM events), trimmed FROM state"
        ).fetchone()
        return int(max(newest or 0, trimmed))

    def last_sequence(self) -> int:
        """Return the sequence of the last event that was ever recorded, 0 for none."""
        return self._last(self._db)

    def epochs(self) -> list[tuple[str, int]]:
        """Return the epochs, oldest first, each with the sequence of its first event."""
        return self._db.execute("SELECT epoch, first FROM epochs ORDER BY rowid").fetchall()

    def trimmed(self) -> int:
        """Return the sequence up to which events may be gone."""
        trimmed: int = self._db.execute("SELECT trimmed FROM state").fetchone()[0]
        return trimmed

    def append(self, events: Sequence[AlarmEvent]) -> None:
        """Record events. When it returns they survive a crash and a power cut; with an exception, none."""
        rows = [
            (event.sequence, event.time_ns, event.alarm.id, event.event, msgpack.encode(event))
            for event in events
        ]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def pass_by(self, event: AlarmEvent) -> None:
        """Write an event as `append` does, in the place of the one before it: no other method finds it."""
        self._db.execute("INSERT OR REPLACE INTO canary VALUES (1, ?)", (msgpack.encode(event),))

    def after(self, sequence: int, limit: int) -> list[AlarmEvent]:
        """Return at most `limit` events with a higher sequence, in order."""
        return self._select("sequence > ? ORDER BY sequence LIMIT ?", (sequence, limit))

    def of_alarm(self, alarm: str) -> list[AlarmEvent]:
        """Return every event of one alarm, in order."""
        return self._select("alarm = ? ORDER BY sequence", (alarm,))

    def between(self, start_ns: int, end_ns: int, after: int, limit: int) -> list[AlarmEvent]:
        """Return at most `limit` events within [start_ns, end_ns) with a higher sequence, in order."""
        where = "time_ns >= ? AND time_ns < ? AND sequence > ? ORDER BY sequence LIMIT ?"
        return self._select(where, (start_ns, end_ns, after, limit))

    def begun(self, start_ns: int, end_ns: int, before: int, limit: int) -> list[Begun]:
        """Return at most `limit` alarms that began within [start_ns, end_ns), the newest first.

        They began below the sequence `before`. An alarm that began again counts from then.
        """
        rows = self._read(_BEGUN, (before, start_ns, end_ns, limit))
        return [Begun(sequence, time_ns, _decode(event)) for sequence, time_ns, event in rows]

    def _select(self, where: str, values: tuple[int | str, ...]) -> list[AlarmEvent]:
        rows = self._read(f"SELECT event FROM events WHERE {where}", values)  # noqa: S608 - constants
        return [_decode(row[0]) for row in rows]

    def _read(self, query: str, values: tuple[int | str, ...]) -> list[Any]:
        """Read on a connection of its own, so that it may run beside the writer."""
        address = f"{self._path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            return connection.execute(query, values).fetchall()

    def newest(self, limit: int) -> list[AlarmEvent]:
        """Return the newest `limit` events, in order."""
        rows = self._db.execute(
            "SELECT event FROM events ORDER BY sequence DESC LIMIT ?", (limit,)
        ).fetchall()
        return [_decode(row[0]) for row in reversed(rows)]

    def present(self) -> list[Begun]:
        """Return every alarm that has not ended."""
        rows = self._db.execute(_PRESENT)
        return [Begun(sequence, time_ns, _decode(event)) for sequence, time_ns, event in rows]

    def erase(self, patient: str) -> None:
        """Remove every event of a patient, by surrogate id, and what is readable of it in the file."""
        rows = self._db.execute("SELECT sequence, event FROM events")
        gone = [(sequence,) for sequence, event in rows if _decode(event).patient == patient]
        self._db.execute("PRAGMA secure_delete = ON").fetchall()
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.executemany("DELETE FROM events WHERE sequence = ?", gone)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def trim(self, before_ns: int, limit: int = 500) -> bool:
        """Remove up to `limit` alarms, with all of their events, that ended before a time.

        Returns whether there may be more. Alarms that are present keep their events.
        """
        rows = self._db.execute(
            "SELECT alarm FROM events AS e WHERE happening = 'end' AND time_ns < ? AND NOT EXISTS"
            " (SELECT 1 FROM events AS later WHERE later.alarm = e.alarm AND later.sequence > e.sequence)"
            " LIMIT ?",
            (before_ns, limit),
        )
        ended = [row[0] for row in rows]
        if not ended:
            return False
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS gone (alarm TEXT PRIMARY KEY)")
            self._db.execute("DELETE FROM gone")
            self._db.executemany("INSERT OR IGNORE INTO gone VALUES (?)", [(alarm,) for alarm in ended])
            self._db.execute(
                "UPDATE state SET trimmed = max(trimmed,"
                " (SELECT max(sequence) FROM events WHERE alarm IN (SELECT alarm FROM gone)))"
            )
            self._db.execute("DELETE FROM events WHERE alarm IN (SELECT alarm FROM gone)")
            self._db.execute(
                "DELETE FROM epochs WHERE rowid <"
                " (SELECT max(epochs.rowid) FROM epochs, state WHERE first <= trimmed + 1)"
            )
        return len(ended) == limit

    def close(self, *, complete: bool) -> None:
        """Close the file; `complete` when every event that was told is recorded."""
        if self._connection is not None:
            try:
                if complete:
                    self._connection.execute("UPDATE state SET closed = 1")
            finally:
                self._connection.close()
                self._connection = None

"""The early warning scores of every patient, on the hub's own disk: one SQLite file beside the alarm book."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from msgspec import msgpack

from hub.alarms.book import BookUnusable
from hub.alarms.early_warning import Assessment

LAYOUT: Final = 1
PAGE: Final = 10_000
_WAITING: Final = 10_000
_SCHEMA: Final = """
CREATE TABLE score (
    patient TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    total INTEGER, -- NULL where it is not known, or the chart isn't for the patient
    assessment BLOB NOT NULL
);
CREATE INDEX score_of_patient ON score (patient, time_ns);
CREATE INDEX score_by_time ON score (time_ns);
"""
T = TypeVar("T")
_decode = msgpack.Decoder(Assessment).decode


class Scored(NamedTuple):
    """An assessment and whose it is (surrogate id)."""

    patient: str
    assessment: Assessment


class ScoreLog:
    """Assessments by patient and time.

    Durability: when `add` has been awaited, a crash or a power cut doesn't undo it; what it could not write
    is written with the next, up to a bound. Concurrency: one thread of the log's own reads and writes. Every
    awaited method raises BookUnusable where the file can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="score-log")
        self._waiting: deque[Scored] = deque(maxlen=_WAITING)

    async def start(self) -> None:
        """Open or create the file."""
        await self._run(self._open)

    async def stop(self) -> None:
        """Close the file."""
        await self._run(self._close)
        self._worker.shutdown(wait=False)

    async def add(self, found: Iterable[Scored]) -> None:
        """Add assessments, and what an earlier call could not write."""
        self._waiting += found
        if not self._waiting:
            return
        rows = [
            (patient, one.time_ns, one.score.total if one.score else None, msgpack.encode(one))
            for patient, one in self._waiting
        ]

        def work() -> None:
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                self._db.executemany("INSERT INTO score VALUES (?, ?, ?, ?)", rows)

        await self._run(work)
        for _ in rows:
            self._waiting.popleft()

    async def of(self, patient: str, start_ns: int, end_ns: int, limit: int = PAGE) -> list[Assessment]:
        """Return the newest `limit` of a patient's assessments within [start_ns, end_ns), oldest first."""
        query = (
            "SELECT assessment FROM score WHERE patient = ? AND time_ns >= ? AND time_ns < ?"
            " ORDER BY time_ns DESC, rowid DESC LIMIT ?"
        )
        values = (patient, start_ns, end_ns, limit)
        found = await self._run(lambda: [_decode(row[0]) for row in self._db.execute(query, values)])
        return found[::-1]

    async def totals(self, patient: str, start_ns: int, end_ns: int) -> list[tuple[int, int | None]]:
        """Return time and total of a patient's assessments within [start_ns, end_ns), oldest first."""
        query = (
            "SELECT time_ns, total FROM score WHERE patient = ? AND time_ns >= ? AND time_ns < ?"
            " ORDER BY time_ns, rowid"
        )
        return await self._run(lambda: self._db.execute(query, (patient, start_ns, end_ns)).fetchall())

    async def since(self, start_ns: int) -> list[Scored]:
        """Return every patient's assessments from a time on, oldest first."""
        query = "SELECT patient, assessment FROM score WHERE time_ns >= ? ORDER BY time_ns, rowid"
        return await self._run(
            lambda: [Scored(patient, _decode(body)) for patient, body in self._db.execute(query, (start_ns,))]
        )

    async def expire(self, before_ns: int) -> None:
        """Remove what is older."""
        await self._run(lambda: self._db.execute("DELETE FROM score WHERE time_ns < ?", (before_ns,)))

    async def erase(self, patient: str) -> None:
        """Remove everything of a patient (surrogate id) for good; may be repeated."""

        def work() -> None:
            self._db.execute("DELETE FROM score WHERE patient = ?", (patient,))
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        waiting = [one for one in self._waiting if one.patient != patient]
        self._waiting.clear()
        self._waiting += waiting
        await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except sqlite3.Error as error:
            raise BookUnusable(
                f"{self._path} can't be read or written ({error}): make room, or make the folder writable"
            ) from error

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the score log is not open")
        return self._connection

    def _open(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # an erased patient's scores leave no trace
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout > LAYOUT:
            connection.close()
            raise BookUnusable(f"{self._path} was written by a newer hub: install that version again")
        if layout == 0:
            connection.executescript(_SCHEMA + f"PRAGMA user_version={LAYOUT};")
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

"""What people have settled about alarms, durable: changed limits, assignments, charted values, unsent notes.

One SQLite file beside the event log, in memory as well: alarms depend on no database, and a hub that starts
while the registry is away still knows a patient's limits.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

LAYOUT: Final = 1
_SCHEMA: Final = """
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX entry_of_kind ON entry (kind, id);
"""
T = TypeVar("T")


class BookUnusable(Exception):  # noqa: N818 - a state of the file
    """The book can't be opened or written; the message says what to change."""


class Entry(NamedTuple):
    """One line of the book."""

    id: int
    time_ns: int
    body: bytes


class Book:
    """Lines of several kinds, each a MessagePack document that its owner understands.

    Durability: when a change has been awaited, a crash or a power cut doesn't undo it. Order: ids rise and
    are never used again. Concurrency: one thread of the book's own does the reading and writing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="alarm-book")

    async def start(self) -> None:
        """Open or create the file. Raises BookUnusable."""
        await self._run(self._open)

    async def stop(self) -> None:
        """Close the file."""
        await self._run(self._close)
        self._worker.shutdown(wait=False)

    async def lines(self, kind: str) -> list[Entry]:
        """Return every line of a kind, oldest first."""
        rows = await self._run(
            lambda: self._db.execute(
                "SELECT id, time_ns, body FROM entry WHERE kind = ? ORDER BY id", (kind,)
            ).fetchall()
        )
        return [Entry(*row) for row in rows]

    async def add(self, kind: str, time_ns: int, body: bytes) -> int:
        """Add a line and return its id."""

        def work() -> int:
            row = self._db.execute(
                "INSERT INTO entry (kind, time_ns, body) VALUES (?, ?, ?)", (kind, time_ns, body)
            )
            return int(row.lastrowid or 0)

        return await self._run(work)

    async def change(self, line: int, body: bytes) -> None:
        """Write a line anew."""
        await self._run(lambda: self._db.execute("UPDATE entry SET body = ? WHERE id = ?", (body, line)))

    async def remove(self, line: int) -> None:
        """Take a line out."""
        await self._run(lambda: self._db.execute("DELETE FROM entry WHERE id = ?", (line,)))

    async def trim(self, kind: str, before_ns: int) -> int:
        """Take out the lines of a kind from before a time; return how many there were."""
        return await self._run(
            lambda: (
                self._db.execute(
                    "DELETE FROM entry WHERE kind = ? AND time_ns < ?", (kind, before_ns)
                ).rowcount
            )
        )

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
            raise sqlite3.ProgrammingError("the alarm book is not open")
        return self._connection

    def _open(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # an erased patient's lines leave no trace
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

"""The journal's SQLite file: its layout, its checks, and the statements on it. One instance a thread."""

import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

from msgspec import DecodeError, Struct, msgpack

from hub import rejects
from hub.failpoint import failpoint
from hub.model import FORMAT_VERSION, Batch, Rejection

LAYOUT = 1
"""`user_version` of the file. The layout of tables; the encoding of a batch has its own, FORMAT_VERSION."""

READERS = {1: msgpack.Decoder(Batch)}
"""Decoder of each format version that this hub reads: FORMAT_VERSION and the one before."""

BUSY_TIMEOUT_S = 5.0
QUICK_CHECK_BYTES = 64 << 20
"""Files up to this size are checked page by page at start (0.1 s); larger ones as they are read."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    received_ns INTEGER NOT NULL,
    before INTEGER NOT NULL,  -- items in all rows before this one
    items INTEGER NOT NULL,
    batch BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS rows_before ON rows (before);
CREATE TABLE IF NOT EXISTS raw (
    id INTEGER PRIMARY KEY AUTOINCREMENT, received_ns INTEGER NOT NULL, size INTEGER NOT NULL,
    messages BLOB NOT NULL) STRICT;
INSERT INTO sqlite_sequence SELECT 'rows', 0
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'rows');
CREATE TABLE IF NOT EXISTS cursors (store TEXT PRIMARY KEY, row_id INTEGER NOT NULL) STRICT;
"""

_GROUP = 100
"""Rows in one INSERT: each statement lets go of the GIL and must wait to get it back."""

_STEP_BYTES = 8 << 20
"""What one step of trimming takes away, so that an append never waits long behind it."""

_SLACK_BYTES = 16 << 20
"""Free pages that the file may keep for reuse."""


class JournalError(Exception):
    """The journal can't be used; the message says what a person must do."""


class Entry(Struct, gc=False):
    """One batch, encoded."""

    batch: bytes
    """Empty: no row."""
    received_ns: int
    items: int
    raw: bytes
    """Empty: none kept."""
    rejections: Sequence[Rejection]

    @property
    def size(self) -> int:
        """Return about how many bytes it takes."""
        return len(self.batch) + len(self.raw) + sum(len(r.payload) for r in self.rejections)


class RawRow(Struct, frozen=True):
    """The messages of one batch as they came."""

    id: int
    received_ns: int
    messages: list[tuple[str, bytes]]
    """Topic and payload."""


class JournalFile:
    """One connection to the file. `open` and `read` raise JournalError, everything else sqlite3.Error."""

    def __init__(self, path: Path, raw_bytes: int, rejects_bytes: int) -> None:
        self.path = path
        self._limits = {"raw": raw_bytes, "rejects": rejects_bytes}
        self._kept = {"raw": 0, "rejects": 0}
        self._db: sqlite3.Connection
        self._total = 0

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection, for statements on the rejects."""
        return self._db

    def open(self, *, create: bool = True) -> None:
        """Open, check and, where the file is new, lay out. A damaged file is never replaced."""
        try:
            self._connect(create=create)
            self._total = self._newest_total()
            self._kept = {table: self._sum(table) for table in self._kept}
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise self._damaged(str(error)) from error
            raise JournalError(
                f"can't open the journal {self.path}: {error}; check that its folder exists, is on a"
                " local disk with free space and can be written by this user"
            ) from error

    def _connect(self, *, create: bool) -> None:
        mode = "rwc" if create else "rw"
        self._db = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        run = self._db.execute
        layout = run("PRAGMA user_version").fetchone()[0]
        if layout > LAYOUT:
            raise JournalError(
                f"the journal {self.path} has layout {layout}, this hub knows up to {LAYOUT}: it was written"
                " by a newer hub; start that version again, let its stores drain, then change the version"
            )
        if layout == 0:
            run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = FAST")
        run(f"PRAGMA journal_size_limit = {64 << 20}")
        if layout == 0:
            self._db.executescript(
                f"BEGIN IMMEDIATE;{SCHEMA}{rejects.SCHEMA}PRAGMA user_version = {LAYOUT};COMMIT;"
            )
        elif self.path.stat().st_size <= QUICK_CHECK_BYTES:
            found = run("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise self._damaged(found)

    def _damaged(self, what: str) -> JournalError:
        return JournalError(
            f"the journal {self.path} is damaged ({what.splitlines()[0]}). It may hold readings that no store"
            " has, so the hub won't start without a decision:"
            f" `sqlite3 {self.path} .dump | sed 's/^ROLLBACK.*/COMMIT;/' | sqlite3 new.db` saves what can be"
            " read;"
            " moving the file with its -wal and -shm aside starts an empty journal"
        )

    def close(self) -> None:
        """Let go of the file; what was committed stays."""
        self._db.close()

    def rollback(self) -> None:
        """End a transaction that failed."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def overwriting(self) -> Iterator[None]:
        """Let what is deleted meanwhile be overwritten with zeros, at the price of writing it."""
        self._db.execute("PRAGMA secure_delete = ON")
        try:
            yield
        finally:
            self._db.execute("PRAGMA secure_delete = FAST")

    def follow_clock(self) -> None:
        """Let ids go on at the microsecond of now.

        A new journal, or one restored from a backup, then never gives out an id that a store saw before.
        """
        self._db.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'rows'", (time.time_ns() // 1000,)
        )

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Commit batches in one transaction and return the newest row id after each.

        On an error nothing of them is kept.
        """
        failpoint("journal:before-write")
        total, rows = self._total, []
        for entry in entries:
            if entry.batch:
                rows.append((FORMAT_VERSION, entry.received_ns, total, entry.items, entry.batch))
                total += entry.items
        # One row alone commits itself: fewer statements, fewer waits for the GIL.
        several = len(entries) > 1 or bool(entries[0].raw or entries[0].rejections)
        kept = dict(self._kept)
        try:
            if several:
                self._db.execute("BEGIN IMMEDIATE")
                self._insert_others(entries)
            failpoint("journal:before-commit")
            last = self._insert(rows) if rows else self.newest()
            if several:
                self._db.execute("COMMIT")
        except BaseException:
            self._kept = kept
            self.rollback()
            raise
        failpoint("journal:after-commit")
        self._total = total
        ids, row_id = [], last - len(rows)
        for entry in entries:
            row_id += bool(entry.batch)
            ids.append(row_id)
        return ids

    def _insert(self, rows: list[tuple[int, int, int, int, bytes]]) -> int:
        """Insert, which gives consecutive ids within one transaction, and return the last."""
        last = 0
        for start in range(0, len(rows), _GROUP):
            group = rows[start : start + _GROUP]
            inserted = self._db.execute(
                _insert_statement(len(group)), [value for row in group for value in row]
            )
            last = inserted.lastrowid or 0
        return last

    def _insert_others(self, entries: Sequence[Entry]) -> None:
        raw = [(entry.received_ns, len(entry.raw), entry.raw) for entry in entries if entry.raw]
        if raw:
            self._db.executemany("INSERT INTO raw (received_ns, size, messages) VALUES (?, ?, ?)", raw)
            self._kept["raw"] += sum(row[1] for row in raw)
            self._shed("raw")
        for entry in entries:
            if entry.rejections:
                self._kept["rejects"] += rejects.add(self._db, entry.rejections)
                self._shed("rejects")

    def _shed(self, table: str) -> None:
        """Delete the oldest beyond the table's limit, and 1 MiB more so that this is rare."""
        limit = self._limits[table]
        if self._kept[table] <= limit:
            return
        self._kept[table] = self._sum(table)  # another process may have deleted some
        excess = self._kept[table] - limit
        if excess <= 0:
            return
        excess += min(1 << 20, limit // 8)
        last = 0
        with closing(self._db.execute(f"SELECT id, size FROM {table} ORDER BY id")) as oldest:  # noqa: S608 - constant
            for last, size in oldest:  # noqa: B007 - used below
                excess -= size
                self._kept[table] -= size
                if excess <= 0:
                    break
        self._db.execute(f"DELETE FROM {table} WHERE id <= ?", (last,))  # noqa: S608 - constant

    def _sum(self, table: str) -> int:
        kept: int = self._db.execute(f"SELECT coalesce(sum(size), 0) FROM {table}").fetchone()[0]  # noqa: S608
        return kept

    def newest(self) -> int:
        """Return the id of the newest row, 0 where there is none."""
        row = self._db.execute("SELECT max(id) FROM rows").fetchone()
        return row[0] or 0

    def _newest_total(self) -> int:
        row = self._db.execute("SELECT before + items FROM rows ORDER BY id DESC LIMIT 1").fetchone()
        return row[0] if row else 0

    def used_bytes(self) -> int:
        """Return what the file's used pages take."""
        run = self._db.execute
        pages, free = run("PRAGMA page_count").fetchone()[0], run("PRAGMA freelist_count").fetchone()[0]
        size: int = run("PRAGMA page_size").fetchone()[0]
        return int(pages - free) * size

    def read(self, after: int, rows: int, items: int, max_bytes: int) -> list[tuple[int, Batch]]:
        """Return rows beyond `after`, at least one if there is any, until one of the limits is passed."""
        found: list[tuple[int, Batch]] = []
        statement = "SELECT id, version, items, batch FROM rows WHERE id > ? ORDER BY id LIMIT ?"
        with closing(self._db.execute(statement, (after, rows))) as cursor:
            for row_id, version, count, encoded in cursor:
                found.append((row_id, self._decode(row_id, version, encoded)))
                items -= count
                max_bytes -= len(encoded)
                if items <= 0 or max_bytes <= 0:
                    break
        return found

    def _decode(self, row_id: int, version: int, encoded: bytes) -> Batch:
        reader = READERS.get(version)
        if reader is None:
            raise JournalError(
                f"row {row_id} of the journal {self.path} has format {version}, this hub reads"
                f" {sorted(READERS)}: start the hub version that wrote it, let its stores drain, then change"
            )
        try:
            return reader.decode(encoded)
        except DecodeError as error:
            raise JournalError(
                f"row {row_id} of the journal {self.path} can't be decoded ({error}): the file is damaged;"
                " save a copy of it before anything else"
            ) from error

    def start_of_recent(self, items: int) -> int:
        """Return the id of the row before the newest rows that hold `items` together."""
        first = self._db.execute(
            "SELECT id FROM rows WHERE before <= ? ORDER BY before DESC, id DESC LIMIT 1",
            (self._newest_total() - items,),
        ).fetchone()
        return first[0] - 1 if first else 0

    def lag(self, after: int) -> tuple[int, int | None]:
        """Return the items beyond `after` and when the oldest of them was received (ns; None for none)."""
        row = self._db.execute(
            "SELECT before, received_ns FROM rows WHERE id > ? ORDER BY id LIMIT 1", (after,)
        ).fetchone()
        return (self._newest_total() - row[0], row[1]) if row else (0, None)

    def raw(self, after: int, limit: int) -> list[RawRow]:
        """Return raw messages kept beyond the id `after`, oldest first."""
        rows = self._db.execute(
            "SELECT id, received_ns, messages FROM raw WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        )
        return [RawRow(i, ns, msgpack.decode(kept, type=list[tuple[str, bytes]])) for i, ns, kept in rows]

    def position(self, store: str) -> int:
        """Return the store's cursor; 0 for a new store."""
        row = self._db.execute("SELECT row_id FROM cursors WHERE store = ?", (store,)).fetchone()
        return row[0] if row else 0

    def advance(self, store: str, row_id: int) -> None:
        """Set the store's cursor."""
        self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (store, row_id))

    def trim_step(self, stores: Collection[str], keep_items: int) -> bool:
        """Delete a step of what all `stores` have and is not recent; return whether there may be more.

        The newest row always stays: it carries the count of items.
        """
        if not stores:
            return False
        last = min(
            *(self.position(store) for store in stores), self.start_of_recent(keep_items), self.newest() - 1
        )
        step, left = 0, _STEP_BYTES
        statement = "SELECT id, length(batch) FROM rows WHERE id <= ? ORDER BY id LIMIT 2000"
        with closing(self._db.execute(statement, (last,))) as oldest:
            for step, size in oldest:  # noqa: B007 - used below
                left -= size
                if left <= 0:
                    break
        if step:
            self._db.execute("DELETE FROM rows WHERE id <= ?", (step,))
        return bool(step)

    def vacuum_step(self) -> bool:
        """Give a step of free pages back to the disk if there are many; return whether there may be more."""
        run = self._db.execute
        free, pages = run("PRAGMA freelist_count").fetchone()[0], run("PRAGMA page_count").fetchone()[0]
        size = run("PRAGMA page_size").fetchone()[0]
        if free * size <= _SLACK_BYTES or free * 4 <= pages:
            return False
        run(f"PRAGMA incremental_vacuum({_STEP_BYTES // size})").fetchall()
        return True


@lru_cache(maxsize=_GROUP)
def _insert_statement(rows: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO rows (version, received_ns, before, items, batch) VALUES {values}"  # noqa: S608

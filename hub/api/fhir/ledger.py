"""What the FHIR interface keeps for itself: accesses, others' identifiers, subscriptions, events, assertions.

A SQLite file beside the journal. Readings, places and people are not in it.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, msgpack

from hub.fhir.audit import Access
from hub.ward.model import Identifier

log = logging.getLogger(__name__)

T = TypeVar("T")

_Row = tuple[int, str | None, bytes]
_TOGETHER = 200
"""Accesses that are written at once, at most."""

LAYOUT = 2
_SCHEMA = """
CREATE TABLE access (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, patient TEXT,
    access BLOB NOT NULL);
CREATE INDEX access_time ON access (time_ns);
CREATE INDEX access_patient ON access (patient, time_ns) WHERE patient IS NOT NULL;
CREATE TABLE identifier (kind TEXT NOT NULL, system TEXT NOT NULL, value TEXT NOT NULL, target TEXT NOT NULL,
    PRIMARY KEY (kind, system, value));
CREATE INDEX identifier_target ON identifier (kind, target);
CREATE TABLE subscription (id TEXT PRIMARY KEY, subscription BLOB NOT NULL);
CREATE TABLE event (subscription TEXT NOT NULL, number INTEGER NOT NULL, focus TEXT NOT NULL,
    patient TEXT, time_ns INTEGER NOT NULL, resource BLOB, PRIMARY KEY (subscription, number));
CREATE TABLE cursor (name TEXT PRIMARY KEY, position INTEGER NOT NULL);
CREATE UNIQUE INDEX event_focus ON event (subscription, focus);
"""
_SINCE_2 = """
CREATE TABLE assertion (digest TEXT PRIMARY KEY, expires_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX assertion_expires ON assertion (expires_ns);
"""


class LedgerUnavailable(Exception):  # noqa: N818 - a state of the disk, not a fault of the caller
    """The file can't be opened, read or written; the message says which."""


class Subscribed(Struct, frozen=True):
    """One event for one subscription."""

    subscription: str
    number: int
    """Counts from 1 for each subscription, without gaps."""
    focus: str
    """Reference of the resource that it is about."""
    patient: str | None
    time_ns: int
    resource: bytes


class Ledger:
    """The file. Every method belongs to one event loop; a thread of its own does the work, in order.

    Durability: what was awaited survives a kill -9 (WAL); a power cut may cost the last seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection
        self._worker: ThreadPoolExecutor | None = None
        self._noted: list[tuple[_Row, asyncio.Future[None]]] = []
        """Accesses that the worker doesn't have yet, and who waits for each."""
        self._all_kept = asyncio.Event()
        self._all_kept.set()

    async def start(self) -> None:
        """Open the file, or lay it out. Raises LedgerUnavailable."""
        self._worker = ThreadPoolExecutor(1, "fhir-ledger")
        try:
            await self._do(lambda _: None, self._open)
        except LedgerUnavailable:
            self._worker.shutdown()
            self._worker = None
            raise

    async def stop(self) -> None:
        """Finish what is under way and close."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await self._all_kept.wait()
            await asyncio.get_running_loop().run_in_executor(worker, self._db.close)
            worker.shutdown()

    # Accesses.

    async def record(self, access: Access) -> None:
        """Keep an access; its id is given by the file. What comes while others are written waits for them."""
        if self._worker is None:
            raise self._closed()
        kept = asyncio.get_running_loop().create_future()
        self._noted.append(((access.time_ns, access.patient, msgpack.encode(access)), kept))
        if self._all_kept.is_set():
            self._all_kept.clear()
            self._hand_over(self._worker)
        await kept

    def _hand_over(self, worker: ThreadPoolExecutor) -> None:
        """Give the worker what is noted, without what `run_in_executor` costs: EHRs ask often."""
        noted, self._noted = self._noted[:_TOGETHER], self._noted[_TOGETHER:]
        worker.submit(self._keep, worker, noted, asyncio.get_running_loop())

    def _kept(
        self,
        worker: ThreadPoolExecutor,
        noted: Sequence[tuple[_Row, asyncio.Future[None]]],
        failure: Exception | None,
    ) -> None:
        for _, kept in noted:
            if kept.done():  # nobody waits any more
                continue
            if failure is None:
                kept.set_result(None)
            else:
                kept.set_exception(failure)
        if self._noted:
            self._hand_over(worker)
        else:
            self._all_kept.set()

    async def accesses(
        self,
        *,
        patient: str | None = None,
        start_ns: int = 0,
        end_ns: int = 2**63 - 1,
        before: int = 2**63 - 1,
        limit: int = 100,
    ) -> list[Access]:
        """Return accesses in [start_ns, end_ns), newest first; `before` an id to page on."""
        where = "time_ns >= ? AND time_ns < ? AND id < ?"
        values: list[object] = [start_ns, end_ns, before]
        if patient is not None:
            where, values = where + " AND patient = ?", [*values, patient]
        query = f"SELECT id, access FROM access WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - constants

        def read(db: sqlite3.Connection) -> list[Access]:
            return [_access(*row) for row in db.execute(query, [*values, limit])]

        return await self._do(read)

    async def access(self, number: int) -> Access | None:
        """Return one access."""

        def read(db: sqlite3.Connection) -> Access | None:
            row = db.execute("SELECT id, access FROM access WHERE id = ?", [number]).fetchone()
            return None if row is None else _access(*row)

        return await self._do(read)

    async def expire(self, before_ns: int) -> None:
        """Remove accesses and events that are older."""

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.execute("DELETE FROM access WHERE time_ns < ?", [before_ns])
                db.execute("DELETE FROM event WHERE time_ns < ?", [before_ns])

        await self._do(write)

    async def spend(self, digest: str, expires_ns: int, now_ns: int) -> bool:
        """Note a client's assertion until it expires; tell whether it is the first time."""

        def write(db: sqlite3.Connection) -> bool:
            with db:
                db.execute("DELETE FROM assertion WHERE expires_ns <= ?", [now_ns])
                found = db.execute("INSERT OR IGNORE INTO assertion VALUES (?, ?)", [digest, expires_ns])
                return found.rowcount == 1

        return await self._do(write)

    async def erase(self, patient: str, encounters: Sequence[str]) -> None:
        """Remove what events hold of a patient, and the numbers of these Encounters, from the file too.

        That the accesses were made stays.
        """

        def write(db: sqlite3.Connection) -> None:
            db.execute("PRAGMA secure_delete = ON")
            with db:
                db.execute("UPDATE event SET resource = x'', patient = NULL WHERE patient = ?", [patient])
                db.executemany(
                    "DELETE FROM identifier WHERE kind = 'Encounter' AND target = ?",
                    [(encounter,) for encounter in encounters],
                )
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        await self._do(write)

    # Identifiers.

    async def identify(self, kind: str, target: str, identifiers: Sequence[Identifier]) -> None:
        """Set the identifiers by which others know a resource."""

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.execute("DELETE FROM identifier WHERE kind = ? AND target = ?", [kind, target])
                db.executemany(
                    "INSERT OR REPLACE INTO identifier VALUES (?, ?, ?, ?)",
                    [(kind, one.system, one.value, target) for one in identifiers],
                )

        await self._do(write)

    async def identifiers(self, kind: str) -> dict[str, list[Identifier]]:
        """Return the identifiers of every resource of a kind, by its id."""

        def read(db: sqlite3.Connection) -> dict[str, list[Identifier]]:
            found: dict[str, list[Identifier]] = {}
            query = "SELECT target, system, value FROM identifier WHERE kind = ? ORDER BY system, value"
            for target, system, value in db.execute(query, [kind]):
                found.setdefault(target, []).append(Identifier(value, system))
            return found

        return await self._do(read)

    # Subscriptions and their events.

    async def subscriptions(self) -> dict[str, bytes]:
        """Return every subscription as it was kept, by id."""
        return await self._do(lambda db: dict(db.execute("SELECT id, subscription FROM subscription")))

    async def keep_subscription(self, subscription_id: str, content: bytes) -> None:
        """Keep a subscription, new or changed."""

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.execute("INSERT OR REPLACE INTO subscription VALUES (?, ?)", [subscription_id, content])

        await self._do(write)

    async def drop_subscription(self, subscription_id: str) -> None:
        """Remove a subscription and its events."""

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.execute("DELETE FROM subscription WHERE id = ?", [subscription_id])
                db.execute("DELETE FROM event WHERE subscription = ?", [subscription_id])

        await self._do(write)

    async def add_events(self, events: Sequence[Subscribed], keep: int) -> list[Subscribed]:
        """Number and keep events; one that is kept already is left out. Returns the new ones, numbered.

        Of each subscription the newest `keep` stay.
        """

        def write(db: sqlite3.Connection) -> list[Subscribed]:
            added: list[Subscribed] = []
            with db:
                for one in events:
                    known = "SELECT 1 FROM event WHERE subscription = ? AND focus = ?"
                    if db.execute(known, [one.subscription, one.focus]).fetchone():
                        continue
                    newest = "SELECT coalesce(max(number), 0) FROM event WHERE subscription = ?"
                    number = db.execute(newest, [one.subscription]).fetchone()[0] + 1
                    row = (one.subscription, number, one.focus, one.patient, one.time_ns, one.resource)
                    db.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", row)
                    added.append(Subscribed(*row))
                for name in {one.subscription: one.number for one in added}:
                    db.execute(
                        "DELETE FROM event WHERE subscription = ?1 AND number <="
                        " (SELECT max(number) FROM event WHERE subscription = ?1) - ?2",
                        [name, keep],
                    )
            return added

        return await self._do(write)

    async def events(self, subscription: str, after: int, limit: int) -> list[Subscribed]:
        """Return events with a higher number, in order."""
        query = "SELECT * FROM event WHERE subscription = ? AND number > ? ORDER BY number LIMIT ?"

        def read(db: sqlite3.Connection) -> list[Subscribed]:
            return [Subscribed(*row) for row in db.execute(query, [subscription, after, limit])]

        return await self._do(read)

    async def last_event(self, subscription: str) -> int:
        """Return the number of the newest event; 0 for none."""
        query = "SELECT coalesce(max(number), 0) FROM event WHERE subscription = ?"

        def read(db: sqlite3.Connection) -> int:
            number: int = db.execute(query, [subscription]).fetchone()[0]
            return number

        return await self._do(read)

    async def position(self, name: str) -> int | None:
        """Return how far a reader has come; None for one that never began."""

        def read(db: sqlite3.Connection) -> int | None:
            row = db.execute("SELECT position FROM cursor WHERE name = ?", [name]).fetchone()
            return None if row is None else int(row[0])

        return await self._do(read)

    async def advance(self, name: str, position: int) -> None:
        """Note how far a reader has come."""

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", [name, position])

        await self._do(write)

    # In the worker thread.

    async def _do(
        self, action: Callable[[sqlite3.Connection], T], first: Callable[[], None] | None = None
    ) -> T:
        if self._worker is None:
            raise self._closed()

        def work() -> T:
            try:
                if first is not None:
                    first()
                return action(self._db)
            except sqlite3.Error as error:
                raise self._failed(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _keep(
        self,
        worker: ThreadPoolExecutor,
        noted: Sequence[tuple[_Row, asyncio.Future[None]]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Keep accesses: all of them or none. One statement, since each takes the GIL from the event loop."""
        failure: Exception | None = None
        try:
            self._db.isolation_level = None  # a transaction by itself, without BEGIN and COMMIT
            try:
                self._db.execute(_insert(len(noted)), [value for row, _ in noted for value in row])
            finally:
                self._db.isolation_level = "DEFERRED"
        except sqlite3.Error as error:
            failure = self._failed(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
            failure = error
        loop.call_soon_threadsafe(self._kept, worker, noted, failure)

    def _closed(self) -> LedgerUnavailable:
        return LedgerUnavailable(f"the FHIR ledger {self.path} is closed")

    def _failed(self, error: sqlite3.Error) -> LedgerUnavailable:
        return LedgerUnavailable(f"the FHIR ledger {self.path}: {error}")

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        with closing(self._db.execute("PRAGMA user_version")) as cursor:
            layout = cursor.fetchone()[0]
        if layout in (0, 1):
            missing = _SCHEMA + _SINCE_2 if layout == 0 else _SINCE_2
            self._db.executescript(f"BEGIN; {missing} PRAGMA user_version = {LAYOUT}; COMMIT;")
        elif layout != LAYOUT:
            self._db.close()
            raise LedgerUnavailable(
                f"{self.path} has layout {layout}, this hub knows {LAYOUT}: use the version that wrote it"
            )


@cache
def _insert(rows: int) -> str:
    return "INSERT INTO access (time_ns, patient, access) VALUES " + ", ".join(["(?, ?, ?)"] * rows)  # noqa: S608 - constants


def _access(number: int, content: bytes) -> Access:
    access = msgpack.decode(content, type=Access)
    return Access(
        number,
        access.time_ns,
        access.action,
        access.interaction,
        access.what,
        access.client,
        access.role,
        access.address,
        access.status,
        access.patient,
    )

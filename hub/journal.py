"""The durable spool between the line and the stores: what `append` resolved survives a kill -9."""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from hub import journal_erasure, rejects
from hub.journal_file import JournalError, JournalFile, RawRow
from hub.journal_writer import Append, Command, JournalState, Writer, count_items
from hub.model import Batch, Message, Rejection
from hub.rejects import Rejected

__all__ = ["Journal", "JournalError", "JournalState", "RawRow", "Rejected"]

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 1.0
"""How often a waiting drain looks for rows that another process wrote."""


class Journal:
    """Rows of batches in a SQLite file, with a cursor for each store, the raw messages and the rejects.

    One thread writes, with a group commit; another reads. Every method is called from one event loop.
    Promises of `append`: resolves in order, and only when the row is fsynced; waits as long as the disk is
    full or failing and never fails for it. The caller bounds what it submits by `pending_messages` and
    `pending_bytes`. Another process may open the same file: its rows are seen within POLL_S.
    """

    def __init__(
        self,
        path: Path,
        *,
        quota_bytes: int = 4 << 30,
        raw_bytes: int = 256 << 20,
        keep_recent: int = 262_144,
        rejects_days: float = 30,
        rejects_bytes: int = 64 << 20,
        on_state: Callable[[JournalState, str], None] | None = None,
    ) -> None:
        self.path = path
        self.quota_bytes = quota_bytes
        """Of the file's used pages; the write-ahead log takes up to 64 MiB more."""
        self.keep_recent = keep_recent
        self.rejects_days = rejects_days
        self.state: JournalState = "ok"
        self.pending_batches = 0
        self.pending_messages = 0
        """Readings, windows, statuses, alarms, sightings and rejections that are not yet durable."""
        self.pending_bytes = 0
        """What of them is already encoded and waits for the disk."""
        self.newest = 0
        """Id of the newest row that this process knows of."""
        # Neither may use up what readings need.
        self._raw_bytes = min(raw_bytes, quota_bytes // 4)
        self._rejects_bytes = min(rejects_bytes, quota_bytes // 4)
        self._on_state = on_state
        self._stores: set[str] = set()
        self._queue: SimpleQueue[Append | Command | None] = SimpleQueue()
        self._grown = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._reader: ThreadPoolExecutor
        self._read_file: JournalFile
        self._writer: threading.Thread | None = None
        self._ended: asyncio.Future[None]

    async def start(self, *, create: bool = True) -> None:
        """Open the file and begin to write. Raises JournalError, which says what to do."""
        self._loop = asyncio.get_running_loop()
        self._reader = ThreadPoolExecutor(1, "journal-read")
        write_file = JournalFile(self.path, self._raw_bytes, self._rejects_bytes)
        self._read_file = JournalFile(self.path, self._raw_bytes, self._rejects_bytes)
        try:
            self.newest = await self._loop.run_in_executor(self._reader, self._open, write_file, create)
        except BaseException:
            self._reader.shutdown()
            raise
        self._ended = self._loop.create_future()
        writing = Writer(write_file, self._queue, self.quota_bytes, self)
        self._writer = threading.Thread(target=writing.run, name="journal-write", daemon=True)
        self._writer.start()

    def _open(self, write_file: JournalFile, create: bool) -> int:
        write_file.open(create=create)
        try:
            write_file.follow_clock()
            self._read_file.open(create=False)
        except sqlite3.Error as error:
            write_file.close()
            raise JournalError(
                f"can't write to the journal {self.path}: {error}; free or mend its disk"
            ) from error
        return self._read_file.newest()

    async def stop(self) -> None:
        """Commit everything submitted, or tell those who wait that it was not recorded; close the file."""
        if self._writer is None:
            return
        self._queue.put(None)
        await self._ended
        self._writer.join()
        self._writer = None
        await self._loop.run_in_executor(self._reader, self._read_file.close)
        self._reader.shutdown()

    def append(self, batch: Batch, raw: Sequence[Message] = ()) -> asyncio.Future[int]:
        """Submit a batch, which must not change any more; resolves to its row id when it is durable.

        Its rejections go to the rejects, and `raw` is kept while it fits, in the same transaction. A batch
        with nothing for a store makes no row and resolves in its turn to the id before it. Fails with
        JournalError only if the batch can't be encoded or the journal stops while its disk refuses writes.
        """
        future: asyncio.Future[int] = self._loop.create_future()
        self.pending_batches += 1
        self.pending_messages += count_items(batch) + len(batch.rejections)
        self._queue.put(Append(batch, raw, future))
        return future

    def register(self, store: str) -> None:
        """Let rows wait for this store: only what every registered store has is trimmed."""
        self._stores.add(store)

    async def read(
        self, after: int, limit: int = 1000, max_items: int = 5000, max_bytes: int = 8 << 20
    ) -> list[tuple[int, Batch]]:
        """Return rows beyond the id `after`, oldest first, until a limit is passed; at least one."""
        return await self._read(lambda file: file.read(after, limit, max_items, max_bytes))

    async def wait_beyond(self, row_id: int) -> int:
        """Wait until there is a row beyond `row_id` and return the newest id."""
        while self.newest <= row_id:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._grown.wait()
            except TimeoutError:
                self._grow(await self._read(JournalFile.newest))
        return self.newest

    async def position(self, store: str) -> int:
        """Return up to which row the store has everything; 0 for a new one."""
        return await self._read(lambda file: file.position(store))

    async def advance(self, store: str, row_id: int, refused: Sequence[Rejection] = ()) -> None:
        """Note that the store has everything up to `row_id`, but for `refused`: they go to the rejects."""

        def note(file: JournalFile) -> None:
            rejects.add(file.connection, refused)
            file.advance(store, row_id)

        await self._command(note)

    async def lag(self, after: int) -> tuple[int, int | None]:
        """Return the items beyond `after` and when the oldest of them was received (ns; None for none)."""
        return await self._read(lambda file: file.lag(after))

    async def start_of_recent(self, items: int) -> int:
        """Return the id after which `read` gives the newest rows, holding at least `items`."""
        return await self._read(lambda file: file.start_of_recent(items))

    async def recent(self, items: int) -> list[Batch]:
        """Return the newest batches that together hold `items`, oldest first.

        They are all in memory at once, about 1 kB an item: for many, `read` on from `start_of_recent`.
        """
        after = await self.start_of_recent(items)
        found: list[Batch] = []
        while rows := await self.read(after):
            found += [batch for _, batch in rows]
            after = rows[-1][0]
        return found

    async def raw(self, after: int = 0, limit: int = 1000) -> list[RawRow]:
        """Return raw messages kept beyond the raw row id `after`, oldest first."""
        return await self._read(lambda file: file.raw(after, limit))

    async def trim(self, now_ns: int | None = None) -> None:
        """Remove old rejects and, in short steps, rows that are not recent and that every store has."""
        now_ns = time.time_ns() if now_ns is None else now_ns
        stores = frozenset(self._stores)
        oldest_ns = now_ns - int(self.rejects_days * 86_400e9)
        # Where there is no room, new readings go before the window that knows duplicates.
        keep = self.keep_recent if self.state != "full" else 0
        while await self._command(lambda file: file.trim_step(stores, keep)):
            pass
        await self._command(lambda file: rejects.expire(file.connection, oldest_ns, self._rejects_bytes))
        while await self._command(JournalFile.vacuum_step):
            pass

    async def erase(self, site: str, device: str, start_ns: int, end_ns: int) -> None:
        """Remove what a device determined in [start_ns, end_ns), and raw messages and rejects since then.

        Goes through every row, in which time nothing is written.
        """

        def erase(file: JournalFile) -> None:
            with file.overwriting():
                journal_erasure.erase(file.connection, site, device, start_ns, end_ns)

        await self._command(erase, transacts=True)

    async def used_bytes(self) -> int:
        """Return what the file's used pages take."""
        return await self._read(JournalFile.used_bytes)

    async def reject(self, rejections: Sequence[Rejection]) -> None:
        """Keep rejections that belong to no batch."""
        await self._command(lambda file: rejects.add(file.connection, rejections))

    async def rejected(
        self,
        *,
        site: str | None = None,
        device: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Rejected]:
        """Return rejections, newest first; `before` an id to page on."""
        return await self._read(lambda file: rejects.newest(file.connection, site, device, limit, before))

    async def rejected_by_ids(self, ids: Sequence[int]) -> list[Rejected]:
        """Return these rejections, oldest first; those that are gone are left out."""
        return await self._read(lambda file: rejects.by_ids(file.connection, ids))

    async def rejected_by_reason(self) -> dict[str, int]:
        """Return how many rejections are kept of each reason, most frequent first."""
        return await self._read(lambda file: rejects.by_reason(file.connection))

    async def delete_rejected(self, ids: Sequence[int]) -> int:
        """Delete these rejections, for instance once their replay is appended; return how many there were."""
        return await self._command(lambda file: rejects.delete(file.connection, ids))

    async def _read(self, action: Callable[[JournalFile], T]) -> T:
        try:
            return await self._loop.run_in_executor(self._reader, action, self._read_file)
        except sqlite3.Error as error:
            raise JournalError(f"can't read the journal {self.path}: {error}") from error

    async def _command(self, action: Callable[[JournalFile], T], *, transacts: bool = False) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(Command(action, future, transacts=transacts))
        return await future

    def _grow(self, newest: int) -> None:
        if newest > self.newest:
            self.newest = newest
            self._grown.set()
            self._grown = asyncio.Event()

    # What the writer thread calls on the loop (journal_writer.Listener).

    def written(
        self, done: list[tuple[asyncio.Future[int], int]], items: int, size: int, newest: int
    ) -> None:
        """Resolve appends whose rows are durable."""
        self.pending_batches -= len(done)
        self.pending_messages -= items
        self.pending_bytes -= size
        for future, row_id in done:
            if not future.done():
                future.set_result(row_id)
        self._grow(newest)

    def encoded(self, size: int) -> None:
        """Count bytes that wait for the disk."""
        self.pending_bytes += size

    def tell_state(self, state: JournalState, reason: str) -> None:
        """Log a change of state and pass it on."""
        self.state = state
        log.log(logging.INFO if state == "ok" else logging.ERROR, "journal %s: %s", state, reason)
        if self._on_state is not None:
            self._on_state(state, reason)

    def ended(self) -> None:
        """Note that the writer has closed the file."""
        self._ended.set_result(None)

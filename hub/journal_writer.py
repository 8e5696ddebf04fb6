"""The journal's writer thread: a group commit that tries again for as long as the disk refuses."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Literal, Protocol, TypeVar

from msgspec import msgpack

from hub.journal_file import Entry, JournalError, JournalFile
from hub.model import Batch, Message

JournalState = Literal["ok", "full", "failing"]
"""full: the quota or the disk; failing: the disk refuses writes for another reason."""

T = TypeVar("T")

RETRY_S = 0.5
TRANSACTION_BYTES = 32 << 20
USED_EVERY_S = 1.0


class Listener(Protocol):
    """What the writer thread calls, on the event loop."""

    def written(
        self, done: list[tuple[asyncio.Future[int], int]], items: int, size: int, newest: int
    ) -> None:
        """Resolve appends whose rows are durable."""

    def encoded(self, size: int) -> None:
        """Count bytes that wait for the disk."""

    def tell_state(self, state: JournalState, reason: str) -> None:
        """Pass a change of state on."""

    def ended(self) -> None:
        """Note that the writer has closed the file."""


class Append:
    """A batch to write."""

    __slots__ = ("batch", "future", "raw")

    def __init__(self, batch: Batch, raw: Sequence[Message], future: asyncio.Future[int]) -> None:
        self.batch = batch
        self.raw = raw
        self.future = future


class Command:
    """Something to do on the file; `transacts` says that it begins and ends its transactions itself."""

    __slots__ = ("action", "future", "transacts")

    def __init__(
        self, action: Callable[[JournalFile], Any], future: asyncio.Future[Any], *, transacts: bool = False
    ) -> None:
        self.action = action
        self.future = future
        self.transacts = transacts


class _Waiting:
    """An encoded batch that waits for the disk."""

    __slots__ = ("entry", "future", "items")

    def __init__(self, entry: Entry, future: asyncio.Future[int], items: int) -> None:
        self.entry = entry
        self.future = future
        self.items = items


class Writer:
    """The writer thread: takes all that waits, commits it at once, tries again where the disk refuses."""

    def __init__(
        self,
        file: JournalFile,
        queue: SimpleQueue[Append | Command | None],
        quota_bytes: int,
        journal: Listener,
    ) -> None:
        self._file = file
        self._queue = queue
        self._quota_bytes = quota_bytes
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._state: JournalState = "ok"
        self._retry_at = 0.0
        self._used_bytes = 0
        self._used_at = float("-inf")
        self._encoder = msgpack.Encoder()

    def run(self) -> None:
        """Run until None comes out of the queue."""
        stopping = False
        while not stopping:
            stopping = self._take()
            if self._waiting and (stopping or time.monotonic() >= self._retry_at):
                self._commit()
        for left in self._waiting:
            self._fail(
                left.future, JournalError(f"not recorded: the journal stopped while it was {self._state}")
            )
        self._file.close()
        self._tell(self._journal.ended)

    def _take(self) -> bool:
        """Wait for something to do, take all of it, run the commands; return whether to stop."""
        try:
            wait = max(0.0, self._retry_at - time.monotonic()) if self._waiting else None
            item = self._queue.get(timeout=wait)
            while item is not None:
                if isinstance(item, Append):
                    self._encode(item)
                else:
                    self._run(item)
                item = self._queue.get_nowait()
        except Empty:
            return False
        return True

    def _encode(self, item: Append) -> None:
        batch, items = item.batch, count_items(item.batch)
        try:
            encoded = b""
            if items:
                without = Batch(
                    batch.version, batch.received_ns, batch.readings, batch.waveforms, batch.statuses,
                    batch.device_alarms, batch.sightings, [], batch.zone_changes,
                )  # fmt: skip
                encoded = self._encoder.encode(without)
            raw = self._encoder.encode([(m.topic, m.payload) for m in item.raw]) if item.raw else b""
        except (TypeError, ValueError, OverflowError) as error:
            self._fail(item.future, JournalError(f"a batch can't be encoded: {error}"))
            self._tell(self._journal.written, [(item.future, 0)], items + len(batch.rejections), 0, 0)
            return
        entry = Entry(encoded, batch.received_ns, items, raw, batch.rejections)
        self._waiting.append(_Waiting(entry, item.future, items + len(batch.rejections)))
        self._tell(self._journal.encoded, entry.size)

    def _run(self, command: Command) -> None:
        """Run a command, in a transaction unless it has its own."""
        connection = self._file.connection
        try:
            if not command.transacts:
                connection.execute("BEGIN IMMEDIATE")
            result = command.action(self._file)
            if not command.transacts:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            self._fail(command.future, JournalError(f"can't write to the journal {self._file.path}: {error}"))
            return
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the caller; this thread goes on
            self._rollback()
            self._fail(command.future, error)
            return
        self._used_at = float("-inf")
        self._retry_at = 0.0
        self._tell(_resolve, command.future, result)

    def _commit(self) -> None:
        """Try to commit what waits, up to TRANSACTION_BYTES at once."""
        while self._waiting:
            try:
                group, size = self._group()
                if not group:
                    quota = self._quota_bytes >> 20
                    self._refused("full", f"its quota of {quota} MiB is used; stores must drain")
                    return
                ids = self._file.append([waiting.entry for waiting in group])
            except sqlite3.Error as error:
                full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
                self._refused(
                    "full" if full else "failing", f"{error}; free or mend the disk of {self._file.path}"
                )
                return
            self._used_bytes += size
            for _ in group:
                self._waiting.popleft()
            self._retry_at = 0.0
            self._change("ok", "recording again")
            done = [(waiting.future, row_id) for waiting, row_id in zip(group, ids, strict=True)]
            self._tell(self._journal.written, done, sum(w.items for w in group), size, ids[-1])

    def _group(self) -> tuple[list[_Waiting], int]:
        """Return what to commit now, and its bytes: none where the quota is used, else at least one batch."""
        now = time.monotonic()
        if now - self._used_at > USED_EVERY_S or self._state != "ok":
            self._used_bytes = self._file.used_bytes()
            self._used_at = now
        left = min(self._quota_bytes - self._used_bytes, TRANSACTION_BYTES)
        group: list[_Waiting] = []
        size = 0
        for waiting in self._waiting:
            if left <= 0 or (group and waiting.entry.size > left):
                break
            group.append(waiting)
            size += waiting.entry.size
            left -= waiting.entry.size
        return group, size

    def _refused(self, state: JournalState, reason: str) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        self._change(state, reason)
        if state == "failing":
            self._reopen()

    def _reopen(self) -> None:
        """Open the file anew: after an I/O error a connection may be of no more use."""
        try:
            self._file.close()
            self._file.open(create=False)
        except (JournalError, sqlite3.Error):
            return  # the next try fails as well and tells

    def _rollback(self) -> None:
        try:
            self._file.rollback()
        except sqlite3.Error:
            self._reopen()

    def _change(self, state: JournalState, reason: str) -> None:
        if state != self._state:
            self._state = state
            self._tell(self._journal.tell_state, state, reason)

    def _fail(self, future: asyncio.Future[Any], error: Exception) -> None:
        self._tell(_fail, future, error)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)


def count_items(batch: Batch) -> int:
    """Return how many things a batch holds for the stores."""
    return (
        len(batch.readings)
        + len(batch.waveforms)
        + len(batch.statuses)
        + len(batch.device_alarms)
        + len(batch.sightings)
        + len(batch.zone_changes)
    )


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)

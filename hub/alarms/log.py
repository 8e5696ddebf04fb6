"""The event log: every change of every alarm, in sequence, told at once and recorded on the local disk.

An alarm waits for no disk. An event is told when the disk has it, after 100 ms at the latest, and at once
while the disk is known to fail; then it is told as not recorded and recorded when the disk works again.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Thread
from typing import Any, NamedTuple, Protocol, TypeVar

from hub.alarms.alarm import Alarm, AlarmEvent, Happening, Signal
from hub.alarms.backlog import Backlog
from hub.alarms.recent import LAST, Begun, Recent
from hub.alarms.selftest import is_canary
from hub.failpoint import failpoint

log = logging.getLogger(__name__)

_BATCH = 500
_READ_TIMEOUT_S = 2.0
_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
T = TypeVar("T")


class LogUnavailable(Exception):  # noqa: N818 - a state of the disk, not a fault of the caller
    """Old events can't be read: the disk is stuck or fails. Retry later, or start from what is present."""


class Told(NamedTuple):
    """An event that clients were told."""

    event: AlarmEvent
    recorded: bool
    """Whether the log's file holds it by now."""


class File(Protocol):
    """Where events are recorded: `hub.alarms.records.Records`, whose docstrings say what each promises."""

    def open(self) -> None: ...  # noqa: D102 - as in Records, here and below
    def last_sequence(self) -> int: ...  # noqa: D102
    def epochs(self) -> list[tuple[str, int]]: ...  # noqa: D102
    def trimmed(self) -> int: ...  # noqa: D102
    def append(self, events: Sequence[AlarmEvent]) -> None: ...  # noqa: D102
    def pass_by(self, event: AlarmEvent) -> None: ...  # noqa: D102
    def after(self, sequence: int, limit: int) -> list[AlarmEvent]: ...  # noqa: D102
    def of_alarm(self, alarm: str) -> list[AlarmEvent]: ...  # noqa: D102
    def between(self, start_ns: int, end_ns: int, after: int, limit: int) -> list[AlarmEvent]: ...  # noqa: D102
    def begun(self, start_ns: int, end_ns: int, before: int, limit: int) -> list[Begun]: ...  # noqa: D102
    def newest(self, limit: int) -> list[AlarmEvent]: ...  # noqa: D102
    def present(self) -> list[Begun]: ...  # noqa: D102
    def trim(self, before_ns: int) -> bool: ...  # noqa: D102
    def erase(self, patient: str) -> None: ...  # noqa: D102
    def close(self, *, complete: bool) -> None: ...  # noqa: D102


Listener = Callable[[AlarmEvent, bool], None]
"""Called on the loop's thread with an event and whether it is recorded: each event once, in sequence."""


class EventLog:
    """Every change of every alarm.

    Order: sequence numbers rise by one in the order of `record`, and listeners are told in that order.
    Durability: what is told as recorded survives a crash and a power cut. What was told unrecorded may be
    lost in a crash; the next start then begins a new epoch, so a number is never used twice in one epoch.
    Concurrency: all methods belong to the loop's thread; a thread of the log's own does the writing.
    Memory: `recent` told events, and the backlog (see Backlog) of at most about ten times `max_unrecorded`.
    """

    def __init__(
        self, file: File, *, tell_after_s: float = 0.1, max_unrecorded: int = 10_000, recent: int = 10_000
    ) -> None:
        self._file = file
        self._tell_after_s = tell_after_s
        self._listeners: list[Listener] = []
        self._canary_listeners: list[Listener] = []
        self._sequence = 0
        self._trimmed = 0
        self._epochs: list[tuple[str, int]] = []
        self._untold: deque[tuple[AlarmEvent, float]] = deque()
        """With the loop time at which each is told at the latest."""
        self._most_recent = recent
        self._recent = Recent(recent)
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits for which event to be told."""
        self._timer: asyncio.TimerHandle | None = None
        self._failing: str | None = None
        # Shared with the writer, under `_wake`:
        self._wake = Condition()
        self._backlog = Backlog(max_unrecorded)
        self._passing: AlarmEvent | None = None
        """The newest event of a canary that is to be written."""
        self._trims: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._erasures: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._stopping = False
        self._writer = Thread(target=self._write, name="event-log", daemon=True)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="event-log-read")
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Open the file, take over what is present, begin to write. Raises LogUnreadable."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._load)
        self._writer.start()

    def _load(self) -> None:
        self._file.open()
        self._sequence = self._file.last_sequence()
        self._epochs = self._file.epochs()
        self._trimmed = self._file.trimmed()
        newest = self._file.newest(self._most_recent)
        self._recent.load(self._sequence, newest, self._file.present())

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Record what is left, for at most `timeout_s`, and close the file."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._writer.join, timeout_s)
        await asyncio.sleep(0)  # lets in what the writer reported last
        self._tell_through(self._sequence, recorded=False)
        if self._timer is not None:
            self._timer.cancel()
        for waiting in (self._trims, self._erasures):
            for _, done in waiting:
                done.cancel()
        self._reader.shutdown(wait=False, cancel_futures=True)
        if self._backlog:
            log.error("%d alarm events were told and never recorded: the disk failed", len(self._backlog))

    def listen(self, listener: Listener) -> None:
        """Tell `listener` every event from now on."""
        self._listeners.append(listener)

    def listen_to_canaries(self, listener: Listener) -> None:
        """Tell `listener` what `pass_by` takes, and nothing else."""
        self._canary_listeners.append(listener)

    def record(
        self,
        event: Happening,
        time_ns: int,
        alarm: Alarm,
        *,
        ward: str | None = None,
        bed: str | None = None,
        patient: str | None = None,
        signal: Signal | None = None,
        who: str | None = None,
        why: str | None = None,
    ) -> AlarmEvent:
        """Give a change its sequence number, hand it to the writer and return; never waits."""
        self._sequence += 1
        numbered = AlarmEvent(self._sequence, event, time_ns, alarm, ward, bed, patient, signal, who, why)
        with self._wake:
            self._backlog.add(numbered)
            self._wake.notify()
        self._owe(numbered)
        failpoint("alarm:numbered")
        return numbered

    def pass_by(self, event: Happening, time_ns: int, alarm: Alarm, **known: Any) -> AlarmEvent:  # noqa: ANN401 - as `record`
        """Take a canary's event the way of every other, over the disk and within the same time; keep none.

        It has the number of the event before it.
        """
        passing = AlarmEvent(self._sequence, event, time_ns, alarm, **known)
        with self._wake:
            self._passing = passing
            self._wake.notify()
        self._owe(passing)
        return passing

    def _owe(self, event: AlarmEvent) -> None:
        """Tell an event in its turn: once the disk has it, and when its time is over at the latest."""
        wait_s = self._tell_after_s if self._failing is None else 0.0
        self._untold.append((event, self._loop.time() + wait_s))
        if self._timer is None or wait_s == 0.0:
            self._set_timer(wait_s)

    async def told(self, sequence: int) -> bool:
        """Wait until an event has been told, 100 ms or so; return whether it is recorded by then."""
        if self._recent.told < sequence:
            told: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append((sequence, told))
            await told
        return sequence not in self._backlog

    async def after(self, sequence: int, limit: int = 500) -> list[Told]:
        """Return at most `limit` told events with a higher sequence, in order. Raises LogUnavailable.

        Recent events come from memory and need no disk.
        """
        rows: list[AlarmEvent] = []
        if sequence < self._recent.complete_after:
            rows = await self._read(self._file.after, sequence, limit)
        return self._merged(rows, self._recent.after(sequence))[: max(0, limit)]

    async def of_alarm(self, alarm: str) -> list[Told]:
        """Return every told event of one alarm, in order. Raises LogUnavailable."""
        rows = await self._read(self._file.of_alarm, alarm)
        return self._merged(rows, self._recent.of_alarm(alarm))

    async def between(self, start_ns: int, end_ns: int, after: int = 0, limit: int = 5000) -> list[Told]:
        """Return at most `limit` told events of a stretch of time with a higher sequence, in order.

        Raises LogUnavailable.
        """
        rows = await self._read(self._file.between, start_ns, end_ns, after, limit)
        return self._merged(rows, self._recent.between(start_ns, end_ns, after))[:limit]

    async def begun(self, start_ns: int, end_ns: int, before: int = LAST, limit: int = 500) -> list[Begun]:
        """Return at most `limit` alarms that began within [start_ns, end_ns), the newest first, ended or not.

        They began below the sequence `before`. Raises LogUnavailable.
        """
        rows = await self._read(self._file.begun, start_ns, end_ns, before, limit)
        return self._recent.begun(rows, start_ns, end_ns, before)[:limit]

    async def _read(self, query: Callable[..., list[T]], *values: int | str) -> list[T]:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                return await self._loop.run_in_executor(self._reader, query, *values)
        except (sqlite3.Error, OSError) as error:  # TimeoutError is an OSError
            raise LogUnavailable(f"old events can't be read: {error or 'timeout'}") from error

    def _merged(self, rows: list[AlarmEvent], recent: list[AlarmEvent]) -> list[Told]:
        """Return what the file and memory hold of told events, each once, in order."""
        found = {row.sequence: row for row in rows if row.sequence <= self._recent.told}
        found |= {event.sequence: event for event in recent}
        return [Told(found[number], number not in self._backlog) for number in sorted(found)]

    def present(self) -> list[AlarmEvent]:
        """Return the newest told event of every alarm that has not ended, in sequence."""
        return self._recent.present()

    def active(self) -> list[Begun]:
        """Return every told alarm that has not ended, the newest first. Needs no disk."""
        return self._recent.active()

    def resumable(self, epoch: str, sequence: int) -> bool:
        """Tell whether a client that was told this id can go on from it with `after` and miss nothing."""
        if not self._trimmed <= sequence <= self._recent.told:
            return False
        first_of_next = None
        for name, first in reversed(self._epochs):
            if name == epoch:
                return first - 1 <= sequence and (first_of_next is None or sequence < first_of_next)
            first_of_next = first
        return False

    async def trim(self, before_ns: int) -> None:
        """Remove the alarms that ended before a time, with their events; present alarms keep theirs."""
        done: asyncio.Future[None] = self._loop.create_future()
        with self._wake:
            self._trims.append((before_ns, done))
            self._wake.notify()
        await done

    async def erase(self, patient: str) -> None:
        """Remove every event of a patient, by surrogate id, for good; alarms that are present go too."""
        done: asyncio.Future[None] = self._loop.create_future()
        with self._wake:
            self._erasures.append((patient, done))
            self._wake.notify()
        await done
        self._recent.erase(patient)

    @property
    def epoch(self) -> str:
        """Random name of what this file holds since it was begun or last lost something it had told."""
        return self._epochs[-1][0]

    @property
    def last_sequence(self) -> int:
        """Sequence of the last event that was told, 0 for none."""
        return self._recent.told

    @property
    def failing(self) -> str | None:
        """Why events can't be recorded now; None while they can."""
        return self._failing

    @property
    def unrecorded(self) -> int:
        """How many events wait to be recorded."""
        return len(self._backlog)

    @property
    def left_out(self) -> int:
        """How many events were told and will never be recorded, since the start."""
        return self._backlog.left_out

    # --- telling, on the loop's thread -----------------------------------------------------------------

    def _overdue(self) -> None:
        self._timer = None
        now = self._loop.time() + 0.001  # timers may run early by the clock's resolution
        while self._untold and self._untold[0][1] <= now:
            self._tell(self._untold.popleft()[0], recorded=False)
        if self._untold:
            self._set_timer(self._untold[0][1] - now)

    def _set_timer(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait_s, self._overdue)

    def _tell_through(self, sequence: int, *, recorded: bool) -> None:
        while self._untold and self._untold[0][0].sequence <= sequence:
            if self._untold[0][0].sequence == sequence and is_canary(self._untold[0][0].alarm):
                break  # it came after the event of this number
            self._tell(self._untold.popleft()[0], recorded=recorded)

    def _tell(self, event: AlarmEvent, *, recorded: bool) -> None:
        passing = is_canary(event.alarm)
        if not passing:
            self._recent.keep(event)
        for listener in self._canary_listeners if passing else self._listeners:
            try:
                listener(event, recorded)
            except Exception:  # one listener's fault must not keep an alarm from the others
                log.exception("a listener failed at alarm event %d", event.sequence)
        failpoint("alarm:told")
        if self._waiting:
            self._let_go()

    def _let_go(self) -> None:
        for sequence, told in self._waiting:
            if sequence <= self._recent.told and not told.done():
                told.set_result(None)
        self._waiting = [one for one in self._waiting if not one[1].done()]

    def _recorded(self, through: int) -> None:
        if self._failing is not None:
            log.info("alarm events are recorded again")
            self._failing = None
        self._tell_through(through, recorded=True)

    def _passed(self, passed: AlarmEvent) -> None:
        """Tell the canaries up to one that the disk has: whatever was recorded before it is told by now."""
        while self._untold and is_canary(self._untold[0][0].alarm):
            if self._untold[0][0].time_ns > passed.time_ns:
                break
            self._tell(self._untold.popleft()[0], recorded=True)

    def _failed(self, reason: str) -> None:
        if self._failing is None:
            log.error("alarm events can't be recorded (%s); they are told and kept until they can", reason)
        self._failing = reason
        self._tell_through(self._sequence, recorded=False)

    # --- writing, on the log's own thread --------------------------------------------------------------

    def _write(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            with self._wake:
                self._wake.wait_for(
                    lambda: self._backlog or self._passing or self._trims or self._erasures or self._stopping
                )
                batch = self._backlog.first(_BATCH)
                passing = None if batch else self._passing
                trim = self._trims[0] if self._trims and not (batch or passing) else None
                erasure = self._erasures[0] if self._erasures and not (batch or passing or trim) else None
                if self._stopping and not batch:
                    break
            try:
                if batch:
                    self._file.append(batch)
                    failpoint("alarm:written")
                elif passing is not None:
                    self._file.pass_by(passing)
                elif trim is not None and not self._file.trim(trim[0]):
                    self._trims.popleft()
                    self._report(self._trim_done, trim[1], self._file.trimmed())
                elif erasure is not None:
                    self._file.erase(erasure[0])
                    self._erasures.popleft()
                    self._report(self._done, erasure[1])
            except (sqlite3.Error, OSError) as error:
                self._report(self._failed, str(error))
                with self._wake:
                    if self._wake.wait_for(lambda: self._stopping, retry_s):
                        break
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
                continue
            retry_s = _FIRST_RETRY_S
            if batch:
                with self._wake:
                    self._backlog.remove(batch)
                self._report(self._recorded, batch[-1].sequence)
            elif passing is not None:
                with self._wake:
                    self._passing = None if self._passing is passing else self._passing
                self._report(self._passed, passing)
        self._close()

    def _close(self) -> None:
        try:
            self._file.close(complete=not self._backlog)
        except (sqlite3.Error, OSError) as error:
            log.error("the event log was not closed cleanly: %s", error)  # noqa: TRY400 - the cause is the disk

    def _trim_done(self, done: asyncio.Future[None], trimmed: int) -> None:
        self._trimmed = trimmed
        self._done(done)

    @staticmethod
    def _done(done: asyncio.Future[None]) -> None:
        if not done.done():
            done.set_result(None)

    def _report(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is gone: stop() gave up waiting for the disk
            log.debug("the event log's disk came back after the hub had stopped")

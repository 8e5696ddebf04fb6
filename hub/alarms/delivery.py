"""Telling alarm events to a system outside, at least once and in sequence.

The event log is the outbox: what is kept is how far the other side has got. A crash between telling and
noting that tells an event again, never leaves it out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct, msgpack

from hub.alarms.alarm import AlarmEvent
from hub.alarms.book import Book, BookUnusable
from hub.alarms.log import EventLog, LogUnavailable
from hub.clock import Now
from hub.failpoint import failpoint

log = logging.getLogger(__name__)

_KIND: Final = "cursor"
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0
_PAGE = 100


class DeliveryFailed(Exception):  # noqa: N818 - told to the loop that tries again
    """The other side didn't take it. `retry` False: nor will it ever."""

    def __init__(self, reason: str, *, retry: bool = True) -> None:
        super().__init__(reason)
        self.retry = retry


class _Cursor(Struct, frozen=True):
    name: str
    sequence: int


class Delivery:
    """Hands every event that `wants` asks for to `send`, one after the other.

    `send` raises DeliveryFailed where the other side doesn't take an event; it is tried again, ever less
    often, until it is older than `longest_ns`; then, or where it is refused for good, it is given up and
    counted.
    """

    def __init__(
        self,
        name: str,
        event_log: EventLog,
        book: Book,
        send: Callable[[AlarmEvent, bool], Awaitable[None]],
        *,
        wants: Callable[[AlarmEvent], bool],
        longest_ns: int,
        now_ns: Now,
    ) -> None:
        self.name = name
        self.delivered = 0
        self.given_up = 0
        self.failing: str | None = None
        """Why the newest attempt failed; None while it works."""
        self._log = event_log
        self._book = book
        self._send = send
        self._wants = wants
        self._longest_ns = longest_ns
        self._now_ns = now_ns
        self._line: int | None = None
        self._cursor = 0
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Find out how far the other side has got. The event log has been started."""
        decode = msgpack.Decoder(_Cursor).decode
        for line in await self._book.lines(_KIND):
            cursor = decode(line.body)
            if cursor.name == self.name:
                # What a crash took from the log has its numbers given to other events.
                self._line, self._cursor = line.id, min(cursor.sequence, self._log.last_sequence)
        if self._line is None:
            self._cursor = self._log.last_sequence
            body = msgpack.encode(_Cursor(self.name, self._cursor))
            self._line = await self._book.add(_KIND, self._now_ns(), body)
        self._log.listen(lambda _, __: self._wake.set())
        self._wake.set()

    @property
    def waiting(self) -> int:
        """How many events the other side has not been asked about yet, or hasn't taken."""
        return max(0, self._log.last_sequence - self._cursor)

    async def run(self) -> None:
        """Deliver until cancelled; `start` has been called."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while page := await self._log.after(self._cursor, _PAGE):
                    for event, recorded in page:
                        await self._deliver(event, recorded)
                    await self._note()
            except (LogUnavailable, BookUnusable) as error:
                log.warning("%s: %s", self.name, error)
                self._wake.set()
                await asyncio.sleep(_LAST_RETRY_S)

    async def _deliver(self, event: AlarmEvent, recorded: bool) -> None:
        wait_s = _FIRST_RETRY_S
        while self._wants(event):
            try:
                await self._send(event, recorded)
            except DeliveryFailed as error:
                self._fails(str(error))
                if not error.retry or self._now_ns() - event.time_ns > self._longest_ns:
                    self.given_up += 1
                    log.warning("%s: alarm event %d is given up: %s", self.name, event.sequence, error)
                    break
                await self._note()
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LAST_RETRY_S)
            else:
                failpoint("alarm:sent")
                self.delivered += 1
                self._works()
                break
        self._cursor = event.sequence

    async def _note(self) -> None:
        if self._line is not None:
            await self._book.change(self._line, msgpack.encode(_Cursor(self.name, self._cursor)))
            failpoint("alarm:noted")

    def _fails(self, reason: str) -> None:
        if self.failing is None:
            log.warning("%s doesn't take alarm events (%s); they wait", self.name, reason)
        self.failing = reason

    def _works(self) -> None:
        if self.failing is not None:
            log.info("%s takes alarm events again", self.name)
        self.failing = None

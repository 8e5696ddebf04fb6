"""The fan-out of alarms, live values and heartbeats to nurse stations over server-sent events.

Each event is rendered once for each scope that a client looks at, never for each client. All of it runs on
the event loop's thread, and nothing in it waits for a client.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

from hub.alarms.alarm import AlarmEvent
from hub.alarms.log import EventLog, LogUnavailable, Told
from hub.events import Scope, alarm_frame, heartbeat_frame, reset_frame

log = logging.getLogger(__name__)

RETRY = b"retry: 1000\n\n"
"""Browsers reconnect after a second; their default is several."""

_PAGE = 500


class StreamFull(Exception):  # noqa: N818 - a state of the stream, not a fault of the caller
    """As many clients are connected as the hub takes."""


class Client:
    """One open stream. Its queue is bounded; when it is full, the client starts afresh instead."""

    def __init__(self, stream: "Stream", scope: Scope, max_bytes: int) -> None:
        self.scope = scope
        self._stream = stream
        self._max_bytes = max_bytes
        self._replay: tuple[int, int, bytes] | None = None
        self._afresh: str | None = None
        """Why the client must start afresh; None when it goes on from the queue."""
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._ready = asyncio.Event()

    def resume(self, after: int, through: int, snapshot: bytes) -> None:
        """Begin with the events after a sequence, through another, and a snapshot of this moment."""
        self._replay = (after, through, snapshot)

    def cut_back(self, reason: str) -> None:
        """Drop what is queued; the client gets a reset and a snapshot next."""
        self._frames.clear()
        self._bytes = 0
        self._afresh = reason
        self._ready.set()

    async def frames(self) -> AsyncIterator[bytes]:
        """Return what to send, from the beginning until the stream closes. To be iterated once."""
        yield RETRY
        if self._replay is not None:
            after, through, snapshot = self._replay
            try:
                async for page in self._stream.replay(self.scope, after, through):
                    yield page
            except LogUnavailable:
                self.cut_back("the events since this id can't be read now")
            if self._afresh is None:
                yield snapshot
        while True:
            if self._afresh is not None:
                reason, self._afresh = self._afresh, None
                yield self._stream.afresh(self.scope, reason)
            elif self._frames:
                waiting = b"".join(self._frames)
                self._frames.clear()
                self._bytes = 0
                yield waiting
            elif self._closed:
                return
            else:
                self._ready.clear()
                await self._ready.wait()

    def push(self, frame: bytes) -> bool:
        """Queue a frame. False when the client has just been cut back: its queue was full."""
        if self._afresh is not None:
            return True  # what it starts afresh with will hold this
        if self._bytes + len(frame) > self._max_bytes:
            self.cut_back("this client was too slow")
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._ready.set()
        return True

    def close(self) -> None:
        """End `frames` once what is queued is sent."""
        self._closed = True
        self._ready.set()


class Stream:
    """The clients, and what they are told.

    Order: a client gets alarm and technical events in sequence, each once, or a `reset` with every alarm
    that is present. A heartbeat is sent when `heartbeat` is called and at no other time.
    Memory: `max_clients` queues of `max_bytes`, and as much again while a client's socket takes it.
    """

    def __init__(
        self,
        hub: str,
        event_log: EventLog,
        snapshot: Callable[[Scope], bytes],
        *,
        max_clients: int = 500,
        max_bytes: int = 1 << 20,
        max_replay: int = 10_000,
    ) -> None:
        self.snapshot = snapshot
        """Renders the `vitals` snapshot of a scope as it is now."""
        self._hub = hub
        self._log = event_log
        self._max_clients = max_clients
        self._max_bytes = max_bytes
        self._max_replay = max_replay
        self._clients: dict[Scope, set[Client]] = {}
        self._wards: dict[str, set[str | None]] = {}
        """By id of a present alarm: every ward that was told of it, for a device that moves."""
        self._resets: dict[tuple[Scope, str], bytes] = {}
        """Rendered since the last event."""
        self._closed = False
        self.rendered = 0
        """Frames of alarm events, resets and heartbeats rendered since the start."""
        self.cut_back = 0
        """How often a slow client's queue was dropped."""

    def start(self) -> None:
        """Listen to the event log, which has been started."""
        for event in self._log.present():
            self._wards[event.alarm.id] = {event.ward}
        self._log.listen(self.tell)

    def close(self) -> None:
        """End every open stream; further ones end at once."""
        self._closed = True
        for clients in self._clients.values():
            for client in clients:
                client.close()

    def open(self, scope: Scope, last_event_id: str | None = None) -> Client:
        """Add a client; the caller must `leave`. Raises StreamFull."""
        if self.clients >= self._max_clients:
            raise StreamFull(f"{self._max_clients} clients are connected, which is the most this hub takes")
        client = Client(self, scope, self._max_bytes)
        after = None if last_event_id is None else self._sequence_of(last_event_id)
        if last_event_id is None:
            client.cut_back("first connection")
        elif after is None:
            client.cut_back("unknown event id")
        elif self.told - after > self._max_replay:
            client.cut_back("too many events since this id")
        else:
            client.resume(after, self.told, self.snapshot(scope))
        if self._closed:
            client.close()
        self._clients.setdefault(scope, set()).add(client)
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        clients = self._clients.get(client.scope, set())
        clients.discard(client)
        if not clients:
            self._clients.pop(client.scope, None)

    def scopes(self) -> Iterable[Scope]:
        """Return each scope that a client looks at, once."""
        return tuple(self._clients)

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return sum(len(clients) for clients in self._clients.values())

    @property
    def told(self) -> int:
        """Sequence of the last event that clients were told."""
        return self._log.last_sequence

    def publish(self, frame: bytes, scope: Scope) -> None:
        """Hand a frame to the clients of exactly this scope."""
        for client in self._clients.get(scope, ()):
            if not client.push(frame):
                self.cut_back += 1
                log.warning("a client of the stream was too slow: it starts afresh")

    def tell(self, event: AlarmEvent, recorded: bool) -> None:
        """Tell an event to every client that looks at its place, or at a place where the alarm was before."""
        self._resets.clear()
        wards = self._wards.setdefault(event.alarm.id, set())
        wards.add(event.ward)
        scopes = [scope for scope in self._clients if self._takes(scope, event)]
        if event.event == "end":
            del self._wards[event.alarm.id]
        if not scopes:
            return
        frame = self._render(event, recorded)
        for scope in scopes:
            self.publish(frame, scope)

    def heartbeat(self, now_ns: int, *, storing: bool, lag_s: float) -> None:
        """Tell every client that a canary's alarm came out; call it for no other reason."""
        self.rendered += 1
        frame = heartbeat_frame(now_ns, self._hub, self.told, storing, lag_s)
        for scope in self.scopes():
            self.publish(frame, scope)

    def afresh(self, scope: Scope, reason: str) -> bytes:
        """Render all that a client needs to start afresh: a reset and a snapshot, as of now."""
        return self._reset(scope, reason) + self.snapshot(scope)

    async def replay(self, scope: Scope, after: int, through: int) -> AsyncIterator[bytes]:
        """Render the events of a scope after a sequence, through another. Raises LogUnavailable."""
        while after < through:
            page = [item for item in await self._log.after(after, _PAGE) if item.event.sequence <= through]
            if not page:
                return
            after = page[-1].event.sequence
            frames = b"".join(self._render(*item) for item in page if self._replays(scope, item))
            if frames:
                yield frames

    def _sequence_of(self, event_id: str) -> int | None:
        """Return the sequence in an id that the log can go on from, None for any other id."""
        if not event_id.startswith(self._hub + "-"):
            return None
        epoch, _, digits = event_id[len(self._hub) + 1 :].partition("-")
        if not digits.isdecimal() or not digits.isascii() or len(digits) > 19:
            return None
        return int(digits) if self._log.resumable(epoch, int(digits)) else None

    def event_id(self, sequence: int) -> str:
        """Return the SSE id of an event."""
        return f"{self._hub}-{self._log.epoch}-{sequence}"

    def _render(self, event: AlarmEvent, recorded: bool) -> bytes:
        self.rendered += 1
        return alarm_frame(event, recorded, self.event_id(event.sequence))

    def _reset(self, scope: Scope, reason: str) -> bytes:
        frame = self._resets.get((scope, reason))
        if frame is None:
            self.rendered += 1
            present = [event for event in self._log.present() if self.shows(scope, event)]
            frame = self._resets[scope, reason] = reset_frame(reason, present, self.event_id(self.told))
        return frame

    def shows(self, scope: Scope, event: AlarmEvent) -> bool:
        """Tell whether a scope takes the place of an event. The hub's own alarms concern everybody."""
        return event.alarm.device == self._hub or scope.takes(event.alarm.site, event.ward)

    def _takes(self, scope: Scope, event: AlarmEvent) -> bool:
        earlier = self._wards.get(event.alarm.id, ())
        return self.shows(scope, event) or any(scope.takes(event.alarm.site, ward) for ward in earlier)

    def _replays(self, scope: Scope, item: Told) -> bool:
        """Tell whether to replay an event. Every end is: which wards an ended alarm was in is not kept."""
        return item.event.event == "end" or self._takes(scope, item.event)

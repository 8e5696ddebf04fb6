"""Subscriptions at work: events from the journal and the event log, kept, and delivered until taken."""

import asyncio
import hashlib
import hmac
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, json

from hub.alarms.alarm import AlarmEvent
from hub.alarms.log import LogUnavailable
from hub.api.fhir.errors import MEDIA_TYPE, FhirError, missing, wrong
from hub.api.fhir.ledger import LedgerUnavailable, Subscribed
from hub.api.fhir.query import tokens_of
from hub.api.fhir.services import FhirServices
from hub.fhir.alarm import alarm_id, detected_issue
from hub.fhir.device import device as device_resource
from hub.fhir.ids import resource_id
from hub.fhir.location import ward_id
from hub.fhir.observation import groups_in, observation
from hub.fhir.resource import Resource, encode, versioned
from hub.fhir.subscription import Event, Wanted, notification, wanted
from hub.fhir.times import instant
from hub.journal import Journal, JournalError
from hub.model import Batch, DeviceStatus, Reading
from hub.ward.model import DeviceEntry, RegistryUnavailable

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

MOST: Final = 100
"""Subscriptions of one hub."""
KEPT: Final = 10_000
"""Events of a subscription that wait for it or can be asked for again; a longer outage shows as a gap."""
_AT_ONCE: Final = 100
_FIRST_PAUSE_S: Final = 1.0
_LAST_PAUSE_S: Final = 60.0
_TIMEOUT_S: Final = 10.0
_FAILURES: Final = 10
"""After so many in a row the subscription is told to be in error; it is tried all the same."""
_RETRY_S: Final = 5.0
_IDLE_S: Final = 1.0
"""Between two looks whether somebody subscribes, while nobody does; the first one's events wait as long."""
_CHANGE: Final = "#"
"""Between the reference of a resource and which change of it an event is about."""
_CURSOR: Final = "fhir-subscriptions"

Outlet = Callable[[bytes], None]
"""Takes a notification for a websocket; raises asyncio.QueueFull where the client is too slow."""


class Kept(Struct):
    """A subscription as the ledger keeps it."""

    resource: dict[str, Any]
    owner: str
    base: str
    """Address of the server as its maker knew it: fullUrls begin with it."""
    status: str = "requested"
    error: str = ""
    delivered: int = 0
    """Number of the last event that the receiver took."""
    since_ns: int = 0


class _Running:
    """A subscription of this process."""

    def __init__(self, kept: Kept, asked: Wanted, *, after_row: int = 0, after_alarm: int = 0) -> None:
        self.kept = kept
        self.asked = asked
        self.after_row = after_row
        """The journal's newest row when it was made; 0 where it goes on after a restart."""
        self.after_alarm = after_alarm
        """The same of alarm events."""
        self.total = 0
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.outlets: set[Outlet] = set()


class Subscriptions:
    """All subscriptions of one hub.

    Order: the events of a subscription are numbered and delivered in order. Delivery: at least once, until
    the receiver answers 2xx, with growing pauses; an event is the same by its focus, which for an Observation
    is its id. Vitals and device states come from the journal with a cursor of their own, so an event that was
    acknowledged to a device is told after a crash too; alarms come from the event log as they are told.
    """

    def __init__(self, fhir: FhirServices, journal: Journal) -> None:
        self._fhir = fhir
        self._journal = journal
        self._running: dict[str, _Running] = {}
        self._alarm_told = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Take up the subscriptions that are kept, and listen to alarms."""
        for name, content in (await self._fhir.ledger.subscriptions()).items():
            kept = json.decode(content, type=Kept)
            asked, _ = wanted(kept.resource)
            if asked is not None:
                running = self._running[name] = _Running(kept, asked)
                running.total = await self._fhir.ledger.last_event(name)
        self._journal.register(_CURSOR)
        self._fhir.log.listen(self._heard)

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for name, running in self._running.items():
                    self._begin(name, running)
                self._tasks.create_task(self._follow_journal())
                self._tasks.create_task(self._follow_alarms())
        finally:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    # What clients ask.

    async def create(self, resource: Mapping[str, Any], owner: str, base: str) -> Resource:
        """Keep a subscription and begin it; a rest-hook is first asked whether it is there."""
        asked, issues = wanted(resource)
        if asked is None:
            raise FhirError(422, issues)
        if len(self._running) >= MOST:
            raise wrong(
                "throttled", f"{MOST} subscriptions are the most this hub takes", "Subscription", status=429
            )
        name = f"sub-{token_hex(8)}"
        content = {
            key: value for key, value in resource.items() if key not in ("id", "meta", "status", "error")
        }
        status = "active" if asked.channel == "websocket" else "requested"
        kept = Kept(dict(content), owner, base, status=status, since_ns=self._fhir.now_ns())
        running = self._running[name] = _Running(
            kept, asked, after_row=self._journal.newest, after_alarm=self._fhir.log.last_sequence
        )
        await self._keep(name)
        self._begin(name, running)
        return self.resource(name)

    async def delete(self, name: str) -> None:
        """End a subscription."""
        running = self._of(name)
        del self._running[name]
        if running.task is not None:
            running.task.cancel()
        await self._fhir.ledger.drop_subscription(name)

    def names(self) -> list[str]:
        """Return the ids of all subscriptions."""
        return sorted(self._running)

    def resource(self, name: str) -> Resource:
        """Return a subscription as a resource; what its headers hold is for nobody to see."""
        kept = self._of(name).kept
        content = json.decode(json.encode(kept.resource))
        if "header" in content.get("channel", {}):
            content["channel"]["header"] = [
                f"{line.partition(':')[0]}: ***" for line in content["channel"]["header"]
            ]
        error = {"error": kept.error} if kept.error else {}
        return versioned(
            {**content, "resourceType": "Subscription", "id": name, "status": kept.status, **error},
            instant(kept.since_ns),
        )

    def owner(self, name: str) -> str:
        """Return who made a subscription."""
        return self._of(name).kept.owner

    async def told(
        self, name: str, kind: str, after: int = 0, until: int = 2**62
    ) -> tuple[Kept, Wanted, int, list[Event]]:
        """Return what `$status` and `$events` tell: state, total, events with after < number <= until."""
        running = self._of(name)
        events: list[Event] = []
        if kind == "query-event":
            kept = await self._fhir.ledger.events(name, after, KEPT)
            events = [_event(one) for one in kept if one.number <= until]
        return running.kept, running.asked, running.total, events

    # Websockets.

    def binding_token(self, name: str, expires_ns: int) -> str:
        """Return a token that binds a websocket to a subscription."""
        self._of(name)
        text = f"{name}.{expires_ns}"
        return f"{text}.{hmac.new(self._fhir.key, text.encode(), hashlib.sha256).hexdigest()}"

    def bound(self, token: str) -> str | None:
        """Return the subscription of a binding token; None for a wrong or expired one."""
        text, _, signature = token.rpartition(".")
        expected = hmac.new(self._fhir.key, text.encode(), hashlib.sha256).hexdigest()
        name, _, expires = text.rpartition(".")
        if not hmac.compare_digest(expected, signature) or int(expires) < self._fhir.now_ns():
            return None
        running = self._running.get(name)
        return name if running is not None and running.asked.channel == "websocket" else None

    def attach(self, name: str, outlet: Outlet) -> bytes:
        """Send a subscription's events to a websocket from now on; return the handshake."""
        running = self._of(name)
        running.outlets.add(outlet)
        return self._notification(name, "handshake", [])

    def detach(self, name: str, outlet: Outlet) -> None:
        """Send no more to a websocket."""
        if name in self._running:
            self._running[name].outlets.discard(outlet)

    # Events.

    def _heard(self, _event: AlarmEvent, _recorded: bool) -> None:
        self._alarm_told.set()

    def _asked(self, topic: str) -> list[tuple[str, Wanted]]:
        return [(name, one.asked) for name, one in self._running.items() if one.asked.topic == topic]

    def _asking(self, *topics: str) -> list[_Running]:
        """Return the subscriptions to any of these topics."""
        return [one for one in self._running.values() if one.asked.topic in topics]

    async def _follow_alarms(self) -> None:
        events = self._fhir.log
        cursor = await self._fhir.ledger.position(_CURSOR)
        if cursor is None or cursor > events.last_sequence:
            cursor = events.last_sequence
        while True:
            self._alarm_told.clear()
            try:
                if not (asking := self._asking("alarm")):
                    if cursor < events.last_sequence:
                        cursor = events.last_sequence
                        await self._fhir.ledger.advance(_CURSOR, cursor)
                    await asyncio.sleep(_IDLE_S)
                    continue
                cursor = max(cursor, min(one.after_alarm for one in asking))
                told = await events.after(cursor)
                await self._add([one for item in told for one in self._of_alarm(item.event)])
                if told:
                    cursor = told[-1].event.sequence
                    await self._fhir.ledger.advance(_CURSOR, cursor)
                    continue
            except (LogUnavailable, LedgerUnavailable) as error:
                log.warning("subscriptions to alarms wait: %s", error)
                await asyncio.sleep(_RETRY_S)
                continue
            await self._alarm_told.wait()

    def _of_alarm(self, event: AlarmEvent) -> list[Subscribed]:
        asking = self._asked("alarm")
        if not asking:
            return []
        resource = detected_issue(event)
        codings = [(str(system), str(code)) for system, code in tokens_of(resource["code"])]
        who = event.alarm.patient or event.patient
        ward = None if event.ward is None else ward_id(event.alarm.site, event.ward)
        # Each change of an alarm is an event of its own.
        focus = f"DetectedIssue/{alarm_id(event.alarm)}{_CHANGE}{event.sequence}"
        return [
            Subscribed(name, 0, focus, who, event.time_ns, encode(resource))
            for name, asked in asking
            if asked.takes(None if who is None else resource_id(who), ward, codings)
        ]

    async def _follow_journal(self) -> None:
        cursor = await self._journal.position(_CURSOR)
        while True:
            newest = await self._journal.wait_beyond(cursor)
            try:
                if not (asking := self._asking("vitals", "device-status")):
                    # To read every row for nobody would take as much of the processor as the stores do.
                    cursor = newest
                    await self._journal.advance(_CURSOR, cursor)
                    await asyncio.sleep(_IDLE_S)
                    continue
                cursor = max(cursor, min(one.after_row for one in asking))
                rows = await self._journal.read(cursor)
                if rows:
                    events = [one for _, batch in rows for one in await self._of_batch(batch)]
                    await self._add(events)
                    await self._journal.advance(_CURSOR, rows[-1][0])
                    cursor = rows[-1][0]
            except (JournalError, LedgerUnavailable, RegistryUnavailable) as error:
                log.warning("subscriptions wait: %s", error)
                await asyncio.sleep(_RETRY_S)

    async def _of_batch(self, batch: Batch) -> list[Subscribed]:
        vitals, states = self._asked("vitals"), self._asked("device-status")
        events: list[Subscribed] = []
        for reading in batch.readings if vitals else ():
            events += await self._of_reading(reading, vitals)
        for status in batch.statuses if states else ():
            events += self._of_status(status, states)
        return events

    async def _of_reading(self, reading: Reading, asking: Sequence[tuple[str, Wanted]]) -> list[Subscribed]:
        placement = self._fhir.registry.placement(reading.site, reading.device)
        ward = None if placement.ward is None else ward_id(reading.site, placement.ward)
        attribution = await self._fhir.whose.at(reading.site, reading.device, reading.time_ns)
        who = attribution.patient
        found = []
        for group in groups_in(reading):
            codings = [(one["system"], one["code"]) for one in group.code["coding"]]
            own = who if group.of_patient else None
            takers = [
                name
                for name, asked in asking
                if asked.takes(None if own is None else resource_id(own), ward, codings)
            ]
            if takers:
                content = observation(reading, group, attribution)
                focus = f"Observation/{json.decode(content)['id']}"
                found += [Subscribed(name, 0, focus, own, reading.time_ns, content) for name in takers]
        return found

    def _of_status(self, status: DeviceStatus, asking: Sequence[tuple[str, Wanted]]) -> list[Subscribed]:
        placement = self._fhir.registry.placement(status.site, status.device)
        ward = None if placement.ward is None else ward_id(status.site, placement.ward)
        entry = DeviceEntry(status.site, status.device, "", "", None, None, True, None, None)
        resource = device_resource(entry, placement)
        resource["status"] = "active" if status.state == "online" else "inactive"
        resource["statusReason"] = [{"text": status.state}]
        focus = f"Device/{resource['id']}{_CHANGE}{status.time_ns}"
        who = placement.patient
        return [
            Subscribed(name, 0, focus, who, status.time_ns, encode(versioned(resource)))
            for name, asked in asking
            if asked.takes(None if who is None else resource_id(who), ward, [])
        ]

    async def _add(self, events: list[Subscribed]) -> None:
        if not events:
            return
        for one in await self._fhir.ledger.add_events(events, KEPT):
            running = self._running.get(one.subscription)
            if running is None:
                continue
            running.total = one.number
            running.wake.set()

    # Delivery.

    def _begin(self, name: str, running: _Running) -> None:
        if self._tasks is not None and running.kept.status != "off":
            running.task = self._tasks.create_task(self._deliver(name, running))

    async def _deliver(self, name: str, running: _Running) -> None:
        failures = 0
        while True:
            try:
                await self._next(name, running)
                failures = 0
                if running.kept.status in ("requested", "error"):
                    running.kept.status, running.kept.error = "active", ""
                    await self._keep(name)
                    log.info("subscription %s is active", name)
            except (OSError, _NotTaken, LedgerUnavailable) as error:  # TimeoutError is an OSError
                failures += 1
                if failures == _FAILURES:
                    running.kept.status, running.kept.error = "error", f"{type(error).__name__}: not taken"
                    log.warning("subscription %s: its receiver takes nothing; it is tried on", name)
                    await self._keep(name)
                pause_s = min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(failures - 1, 10))
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _next(self, name: str, running: _Running) -> None:
        """Deliver what waits, or a handshake or heartbeat; returns once something was taken."""
        kept = running.kept
        if kept.status in ("requested", "error"):
            await self._send(running, self._notification(name, "handshake", []))
            return
        running.wake.clear()
        events = await self._fhir.ledger.events(name, kept.delivered, _AT_ONCE)
        if events:
            told = self._notification(name, "event-notification", [_event(one) for one in events])
            await self._send(running, told)
            kept.delivered = events[-1].number
            await self._keep(name)
            return
        try:
            async with asyncio.timeout(running.asked.heartbeat_s or None):
                await running.wake.wait()
        except TimeoutError:
            await self._send(running, self._notification(name, "heartbeat", []))

    async def _send(self, running: _Running, content: bytes) -> None:
        if running.asked.channel == "websocket":
            for outlet in list(running.outlets):
                try:
                    outlet(content)
                except asyncio.QueueFull:
                    running.outlets.discard(outlet)  # it sees the gap by the numbers, and asks $events
            return
        from aiohttp import ClientError, ClientSession, ClientTimeout  # 10 MB: only who uses it pays for it

        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=_TIMEOUT_S))
        headers = {**running.asked.headers, "Content-Type": MEDIA_TYPE}
        try:
            async with self._session.post(
                running.asked.endpoint, data=content, headers=headers, allow_redirects=False
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise _NotTaken
        except ClientError as error:
            raise _NotTaken from error

    def _notification(self, name: str, kind: Any, events: list[Event]) -> bytes:  # noqa: ANN401 - a Notification
        running = self._of(name)
        kept = running.kept
        status = "active" if kind == "event-notification" else kept.status
        return notification(kept.base, name, running.asked, status, kind, running.total, events)

    async def _keep(self, name: str) -> None:
        running = self._running.get(name)
        if running is not None:
            await self._fhir.ledger.keep_subscription(name, json.encode(running.kept))

    def _of(self, name: str) -> _Running:
        running = self._running.get(name)
        if running is None:
            raise missing(f"there is no Subscription {name[:64]}", "Subscription.id")
        return running


class _NotTaken(Exception):  # noqa: N818 - an answer, not a fault
    """The receiver answered, and not with 2xx."""


def _event(one: Subscribed) -> Event:
    return Event(one.number, one.focus.partition(_CHANGE)[0], one.time_ns, one.resource)

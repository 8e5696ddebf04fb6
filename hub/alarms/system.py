"""All of a hub's alarms, put together: conditions, signals, rules, people, scores and who is told."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol

from hub.alarms.alarm import Alarm, AlarmEvent, Happening
from hub.alarms.book import Book, BookUnusable
from hub.alarms.channels import Mail, MailSettings, NotifySettings, Pagers, Publish, Webhook, WebhookSettings
from hub.alarms.charts import Charts
from hub.alarms.conditions import Conditions
from hub.alarms.delivery import Delivery
from hub.alarms.early_warning import RECENT_NS, EarlyWarning, Subject
from hub.alarms.escalation import Assignments
from hub.alarms.limits import AGE_GROUPS, LimitSet
from hub.alarms.log import EventLog
from hub.alarms.news2 import MINIMUM_AGE, not_for
from hub.alarms.overrides import Overrides
from hub.alarms.rules import Limits, Override, Policy, limits_lookup
from hub.alarms.score_log import Scored, ScoreLog
from hub.alarms.selftest import is_canary
from hub.alarms.signals import Place, Responder, Signals
from hub.alarms.silence import Listening
from hub.clock import SECOND_NS, ClockLimits, Now
from hub.device import Device
from hub.ward.model import BedEntry, DeviceEntry, PatientEntry, Placement, RegistryUnavailable

log = logging.getLogger(__name__)

SWEEP_S = 10.0
"""Between two reckonings of the early warning scores."""
FLUSH_S = 0.1
"""Between two publications of an area's list of alarms."""
WATCH_S = 10.0
"""Between two looks at the disk and at those who are told."""
_RECENT = 10_000


class Places(Protocol):
    """Who is where: hub.ward.registry.Registry. All but `patients` answers from memory."""

    @property
    def version(self) -> int:
        """Rises with every change."""

    def placement(self, site: str, device: str) -> Placement:
        """Tell where a device is now."""

    def device(self, site: str, device: str) -> DeviceEntry | None:
        """Return how a device is provisioned."""

    def beds(self) -> list[BedEntry]:
        """Return every bed as of now."""

    async def patients(self) -> list[PatientEntry]:
        """Return every patient. Raises RegistryUnavailable."""


class AlarmSystem:
    """The alarms of one hub. `conditions` is for the line, `signals` for what people do."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        book: Path,
        scores: Path,
        rules: LimitSet,
        places: Places,
        device_of: Callable[[str, str], Device | None],
        listening: Callable[[], Listening],
        own: Device,
        notify: NotifySettings,
        publish: Publish,
        now_ns: Now,
        clock_limits: ClockLimits = ClockLimits(),  # noqa: B008 - it can't change
    ) -> None:
        """Keep the parts.

        `device_of` finds a device by site and id; `listening` tells since when the hub hears what comes
        through each broker; `own` bears the hub's own conditions.
        """
        self.log = event_log
        self.rules = rules
        self.book = Book(book)
        self._folder = book.parent
        self.overrides = Overrides(self.book, rules)
        self.assignments = Assignments(self.book)
        self.charts = Charts(self.book)
        self._places = places
        self.device_of = device_of
        self._own = own
        self._now_ns = now_ns
        self.limits_of = limits_lookup(
            rules,
            lambda device: places.placement(device.site, device.id).age_group,
            lambda: places.version + self.overrides.version,
            self._overrides_of,
        )
        self.signals = Signals(
            self._record,
            self._policy_of,
            place_of=self._place_of,
            responders_of=self._responders_of,
            flood=rules.of("adult").flood,
        )
        self.conditions = Conditions(
            self.limits_of,
            self.signals.tell,
            patient_of=lambda device: places.placement(device.site, device.id).patient,
            since_of=lambda device: places.placement(device.site, device.id).since_ns,
            peers_of=self._peers_of,
            gateway_of=self._gateway_of,
            device_of=device_of,
            places_version=lambda: places.version,
            listening=listening,
            clock_limits=clock_limits,
        )
        self.early_warning = EarlyWarning(self.conditions, self.limits_of)
        self.scores = ScoreLog(scores)
        self.pagers = Pagers(publish, self._area_of) if notify.mqtt else None
        channels: list[tuple[WebhookSettings | MailSettings, Webhook | Mail]] = [
            *((one, Webhook(one)) for one in notify.webhooks),
            *((one, Mail(one)) for one in notify.mails),
        ]
        self.deliveries = [
            Delivery(
                settings.name,
                event_log,
                self.book,
                channel.send,
                wants=channel.wants,
                longest_ns=round(settings.longest_h * 3600 * SECOND_NS),
                now_ns=now_ns,
            )
            for settings, channel in channels
        ]
        self._devices_of: dict[tuple[str, str], tuple[Device, ...]] = {}
        self._devices_version = -1
        self._known: dict[str, PatientEntry] = {}

    async def start(self) -> None:
        """Take up what the book and the event log hold; the log has been started. Raises BookUnusable."""
        await self.book.start()
        now_ns = self._now_ns()
        await self.overrides.start(now_ns)
        await self.assignments.start()
        await self.charts.start()
        await self.scores.start()
        for patient, assessment in await self.scores.since(now_ns - RECENT_NS):
            self.early_warning.restore(patient, assessment)
        present = self.log.present()
        recent = await self.log.after(max(0, self.log.last_sequence - _RECENT), _RECENT)
        self.signals.restore(present, [told.event for told in recent])
        if self.pagers is not None:
            self.log.listen(self.pagers.take)
        for delivery in self.deliveries:
            await delivery.start()

    async def stop(self) -> None:
        """Close the files."""
        await self.scores.stop()
        await self.book.stop()

    async def run(self) -> None:
        """Deliver, publish, reckon scores and end what is over, until cancelled."""
        if self.pagers is not None:
            self.pagers.restore(self.log.present())
        async with asyncio.TaskGroup() as tasks:
            for delivery in self.deliveries:
                tasks.create_task(delivery.run())
            tasks.create_task(self._every(FLUSH_S, self._flush))
            tasks.create_task(self._every(1.0, self._follow))
            tasks.create_task(self._every(SWEEP_S, self.sweep))
            tasks.create_task(self._every(WATCH_S, self._watch))

    def tick(self, devices: Iterable[Device]) -> None:
        """Judge what only the passing of time decides. Call it every second."""
        now_ns = self._now_ns()
        self.conditions.tick(devices, now_ns)
        self.signals.tick(now_ns)

    def roles(self, site: str, ward: str) -> list[str]:
        """Return the roles that are asked to respond in a ward, of any priority and age."""
        changes = self.overrides.of(site, ward, None)
        found = {
            step.role
            for group in AGE_GROUPS
            for chain in self.rules.of_valid(group, changes).chains.values()
            for step in chain
        }
        return sorted(found)

    def subjects(self) -> list[Subject]:
        """Return every patient in a bed with the devices there, as the early warning score needs them."""
        today = datetime.fromtimestamp(self._now_ns() / 1e9, UTC).date()
        return [
            Subject(
                bed.patient,
                self._devices_at(bed.site, bed.patient),
                self._known[bed.patient].spo2_scale,
                _excluded(self._known[bed.patient], today),
            )
            for bed in self._places.beds()
            if bed.patient is not None and bed.patient in self._known
        ]

    # --- what the parts ask ----------------------------------------------------------------------------

    def _record(self, event: Happening, time_ns: int, alarm: Alarm, **known: Any) -> AlarmEvent:  # noqa: ANN401 - as Record
        write = self.log.pass_by if is_canary(alarm) else self.log.record
        return write(event, time_ns, alarm, **known)

    def _place_of(self, site: str, device: str) -> Place:
        placement = self._places.placement(site, device)
        return Place(placement.ward, placement.bed, placement.patient)

    def _overrides_of(self, device: Device) -> tuple[Override, ...]:
        placement = self._places.placement(device.site, device.id)
        return self.overrides.of(device.site, placement.ward, placement.patient)

    def _limits(self, alarm: Alarm) -> Limits:
        if (alarm.site, alarm.device) == (self._own.site, self._own.id):
            return self.limits_of(self._own)
        device = self.device_of(alarm.site, alarm.device)
        return self.rules.of("adult") if device is None else self.limits_of(device)

    def _policy_of(self, alarm: Alarm) -> Policy:
        return self._limits(alarm).policy(alarm)

    def _responders_of(self, alarm: Alarm, place: Place, now_ns: int) -> Sequence[Responder]:
        chain = self._limits(alarm).chains.get(alarm.priority, ())
        return self.assignments.responders(chain, alarm.site, place, now_ns)

    def _gateway_of(self, device: Device) -> str | None:
        entry = self._places.device(device.site, device.id)
        return entry.gateway if entry else None

    def _area_of(self, site: str, device: str) -> str:
        known = self.device_of(site, device)
        return known.area if known else self._own.area

    def _peers_of(self, device: Device) -> Iterable[Device]:
        patient = self._places.placement(device.site, device.id).patient
        if patient is None:
            return (device,)
        peers = self._devices_at(device.site, patient)
        return peers if device in peers else (*peers, device)

    def _devices_at(self, site: str, patient: str) -> tuple[Device, ...]:
        if self._devices_version != self._places.version:
            self._devices_version = self._places.version
            self._devices_of = {}
        found = self._devices_of.get((site, patient))
        if found is None:
            ids = [one for bed in self._places.beds() if bed.patient == patient for one in bed.devices]
            devices = [self.device_of(site, one) for one in ids]
            found = tuple(device for device in devices if device is not None)
            if len(found) == len(ids):  # one that was never heard may be heard any time
                self._devices_of[site, patient] = found
        return found

    # --- what runs beside the line ---------------------------------------------------------------------

    async def _every(self, interval_s: float, work: Callable[[], object]) -> None:
        failing = False
        while True:
            await asyncio.sleep(interval_s)
            try:
                result = work()
                if asyncio.iscoroutine(result):
                    await result
            except (RegistryUnavailable, BookUnusable) as error:
                if not failing:
                    log.warning("alarm rules and scores can't be followed now: %s", error)
                failing = True
            else:
                if failing:
                    log.info("alarm rules and scores are followed again")
                failing = False

    def _flush(self) -> None:
        if self.pagers is not None:
            self.pagers.flush()

    async def _follow(self) -> None:
        bed_of = {bed.patient: bed.bed for bed in self._places.beds() if bed.patient is not None}
        await self.overrides.follow(self._now_ns(), bed_of)

    async def _watch(self) -> None:
        """Raise an alarm while the disk is nearly full, or a system outside doesn't take alarms."""
        disk = await asyncio.to_thread(shutil.disk_usage, self._folder)
        full = is_nearly_full(disk.free, disk.total)
        text = f"The hub's disk is nearly full: {disk.free // 1_000_000} MB left"
        now_ns = self._now_ns()
        self.conditions.technical(self._own, "disk_nearly_full", full, text, now_ns, "medium")
        failing = [delivery.name for delivery in self.deliveries if delivery.failing is not None]
        text = f"Alarms don't reach {', '.join(failing)}; they wait"
        self.conditions.technical(self._own, "notifications_failing", bool(failing), text, now_ns, "medium")

    async def sweep(self) -> None:
        """Reckon every patient's early warning score. Raises RegistryUnavailable, BookUnusable."""
        before, self._known = self._known, {one.id: one for one in await self._places.patients()}
        if not before or before.keys() - self._known.keys():
            await self.charts.erase_unknown(set(self._known))
            await self.overrides.erase_unknown(set(self._known))
        now_ns = self._now_ns()
        subjects = self.subjects()
        charted = {one.patient: self.charts.newest(one.patient) for one in subjects}
        kept = self.early_warning.sweep(subjects, charted, now_ns)
        await self.scores.add(Scored(*one) for one in kept)
        await self.charts.forget({one.patient for one in subjects}, now_ns)
        await self.assignments.forget(now_ns)


def is_nearly_full(free: int, total: int) -> bool:
    """Tell whether a disk is: less than a twentieth is left, or 2 GB of a large one."""
    return free < min(total // 20, 2_000_000_000)


def _excluded(patient: PatientEntry, today: date) -> str | None:
    years: float | None = None
    if patient.birth_date is not None:
        years = (today - patient.birth_date).days / 365.2425
    elif patient.age_group != "adult":
        years = MINIMUM_AGE - 1  # children whose birthday isn't known
    return not_for(years, pregnant=patient.pregnant)

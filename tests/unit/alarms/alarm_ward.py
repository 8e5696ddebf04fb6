"""A ward in memory: the line's alarm part with devices, hub time in hand, and restarts."""

import tomllib
from collections.abc import Iterable

import msgspec

from hub.alarms.alarm import Alarm, AlarmEvent
from hub.alarms.charts import Charted
from hub.alarms.conditions import Conditions
from hub.alarms.early_warning import Assessment, EarlyWarning, Subject
from hub.alarms.limits import DEFAULTS, limit_set
from hub.alarms.signals import Place, Responder, Signals
from hub.alarms.silence import came_through
from hub.bedside import Bedside, news
from hub.clock import SECOND_NS
from hub.device import Device
from hub.intake import Taken, empty_batch
from hub.model import DeviceAlarm, DeviceStatus, Reading
from hub.upkeep import Upkeep

T0 = 1_795_488_000 * SECOND_NS
BACKLOG_NS = 60 * SECOND_NS


class MemoryLog:
    """What an event log does, with events as bytes."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self._decoded: list[AlarmEvent] = []

    def record(self, event, time_ns, alarm, **known) -> AlarmEvent:
        self.rows.append(
            msgspec.msgpack.encode(AlarmEvent(len(self.rows) + 1, event, time_ns, alarm, **known))
        )

    def events(self) -> list[AlarmEvent]:
        self._decoded += [
            msgspec.msgpack.decode(row, type=AlarmEvent) for row in self.rows[len(self._decoded) :]
        ]
        return self._decoded

    def present(self) -> list[AlarmEvent]:
        newest = {event.alarm.id: event for event in self.events()}
        return sorted((e for e in newest.values() if e.event != "end"), key=lambda e: e.sequence)


class _Live:
    """Keeps the newest values, as hub.live does."""

    def update(self, device: Device, reading: Reading) -> None:
        from hub.device import Latest

        for name, value in reading.values.items():
            latest = device.latest_in(reading.channel).setdefault(name, Latest(name))
            latest.value, latest.quality, latest.time_ns = value, "valid", reading.time_ns
        for name, (quality, value) in (reading.exceptions or {}).items():
            latest = device.latest_in(reading.channel).setdefault(name, Latest(name))
            latest.value = value if quality == "questionable" else None
            latest.quality, latest.time_ns = quality, reading.time_ns


class AlarmWard:
    """Devices, their patients, and everything that was told of them."""

    def __init__(self, rules: dict | None = None) -> None:
        document = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))
        for name, tables in (rules or {}).items():
            for key, table in tables.items():
                before = document[name].get(key)
                document[name][key] = before | table if isinstance(before, dict) else table
        self.rules = limit_set(document, "timeline")
        self.log = MemoryLog()
        self.patients: dict[str, str | None] = {}
        self.since: dict[str, int] = {}
        self.groups: dict[str, str] = {}
        self.gateways: dict[str, str] = {}
        self.intervals: dict[str, float] = {}
        self.chain: list[Responder] = []
        self.overrides: tuple = ()
        self.devices: dict[str, Device] = {}
        self.beds: dict[str, tuple[str, str]] = {}
        """Ward and bed of a device."""
        self.brokers: dict[str, str] = {}
        self.listening: dict[str, int | None] = {"": T0 - 3600 * SECOND_NS}
        self.charted: dict[str, dict[str, Charted]] = {}
        """By patient and input: what was charted last. Only patients with a chart are scored."""
        self.now_ns = T0
        self.clock_step_ns = 0
        self._durable: list[Reading] = []
        self._scores: list[tuple[str, Assessment]] = []
        self._start()

    def _start(self) -> None:
        self.version = getattr(self, "version", 0) + 1
        self.signals = Signals(
            self.log.record,
            lambda alarm: self._limits_of(self.devices[alarm.device]).policy(alarm),
            place_of=lambda _, device: Place(
                *self.beds.get(device, ("icu", f"bed-{device}")), self.patients.get(device)
            ),
            responders_of=lambda _, __, ___: self.chain,
            flood=self.rules.of("adult").flood,
        )
        self.conditions = Conditions(
            self._limits_of,
            self.signals.tell,
            patient_of=lambda device: self.patients.get(device.id),
            since_of=lambda device: self.since.get(device.id, 0),
            peers_of=self._peers,
            gateway_of=lambda device: self.gateways.get(device.id),
            device_of=lambda _, device: self.devices.get(device),
            listening=self._listening,
        )
        self.early_warning = EarlyWarning(self.conditions, self._limits_of)
        for patient, assessment in self._scores:
            self.early_warning.restore(patient, assessment)
        self.live = _Live()
        self.bedside = Bedside(
            roster=self,
            conditions=self.conditions,
            live=self.live,
            tell_rejects=lambda *_: None,
            backlog_ns=BACKLOG_NS,
            whereabouts=None,
        )

    def find(self, site: str, device: str) -> Device | None:
        return self.devices.get(device)

    def _limits_of(self, device: Device):
        return self.rules.of(self.groups.get(device.id, "adult"), self.overrides)

    def _peers(self, device: Device) -> Iterable[Device]:
        patient = self.patients.get(device.id)
        if patient is None:
            return [device]
        return [other for other in self.devices.values() if self.patients.get(other.id) == patient]

    def device(self, name: str) -> Device:
        if name not in self.devices:
            self.devices[name] = Device("main", name, "icu", "native", self.intervals.get(name, 1.0))
        return self.devices[name]

    def moves(self, name: str, patient: str | None) -> None:
        """Put another patient, or nobody, at a device from now on."""
        if self.patients.get(name) != patient:
            self.patients[name], self.since[name] = patient, self.now_ns

    # --- what happens ----------------------------------------------------------------------------------

    def reads(
        self,
        name: str,
        values: dict,
        exceptions: dict | None = None,
        time_ns: int | None = None,
        channel: str = "observations",
    ) -> None:
        time_ns = self.now_ns if time_ns is None else time_ns
        device = self.device(name)
        values = {key: float(v) if isinstance(v, int) else v for key, v in values.items()}
        reading = Reading("main", name, channel, time_ns, time_ns, self.hub_ns, 1, values, exceptions or None)
        batch = empty_batch(self.hub_ns)
        batch.readings.append(reading)
        self._durable.append(reading)
        self.bedside.follow(Taken(batch, [device], []), self.brokers.get(name, ""))

    def says(self, name: str, state: str, battery: float | None = None) -> None:
        self.device(name)
        batch = empty_batch(self.hub_ns)
        batch.statuses.append(DeviceStatus("main", name, self.hub_ns, self.hub_ns, state, battery))
        self.bedside.follow(Taken(batch, [], []), self.brokers.get(name, ""))

    def raises(self, name: str, condition: str, presence: str, priority: str, **more) -> None:
        self.device(name)
        batch = empty_batch(self.hub_ns)
        now_ns = self.hub_ns
        batch.device_alarms.append(
            DeviceAlarm("main", name, now_ns, now_ns, condition, presence, priority, **more)
        )
        self.bedside.follow(Taken(batch, [], []))

    def rejects(self, name: str) -> None:
        device = self.device(name)
        self.bedside.follow(Taken(empty_batch(self.hub_ns), [], [(device, "t", [])]))

    def charts(self, patient: str, who: str, values: dict) -> None:
        """Enter inputs of the early warning score."""
        known = self.charted.setdefault(patient, {})
        known |= dict.fromkeys(values, Charted(patient, self.hub_ns, values, who))

    def part(self, name: str, state: str, condition: str, priority: str) -> None:
        """Tell how a part of the hub is, as its parts do."""
        upkeep = Upkeep(self.device("hub-1"), self.conditions, lambda: self.hub_ns)
        upkeep.note(name, state, "what it means", condition=condition, priority=priority)

    def broker(self, bearer: str, broker: str, *, reachable: bool) -> None:
        """Lose a broker or get it back, as hub.brokers does."""
        self.listening[broker] = self.hub_ns if reachable else None
        everybody = (one for one in self.devices.values() if one.id != bearer)
        taken = () if reachable else came_through(everybody, {broker}, "main")
        self.conditions.technical(
            self.device(bearer), "broker_lost", not reachable, "a broker", self.hub_ns,
            devices=taken, part=broker,
        )  # fmt: skip

    def _listening(self) -> dict[str, int | None]:
        known = [since_ns for since_ns in self.listening.values() if since_ns is not None]
        # Whoever was not heard since the start may come through any broker.
        anywhere = max(known) if len(known) == len(self.listening) else None
        return {**self.listening, "": anywhere}

    def tick(self) -> None:
        self.conditions.tick(list(self.devices.values()), self.hub_ns)
        if self.charted:
            self._scores += self.early_warning.sweep(self._subjects(), self.charted, self.hub_ns)
        self.signals.tick(self.hub_ns)

    def _subjects(self) -> list[Subject]:
        found = []
        for patient in self.charted:
            devices = [one for one in self.devices.values() if self.patients.get(one.id) == patient]
            found.append(Subject(patient, tuple(devices)))
        return found

    def restart(self, *, redelivered: int = 0) -> None:
        """Stop and start the hub; the broker sends the newest `redelivered` readings again."""
        was = self.devices
        self.devices = {}
        for name in was:
            self.device(name)
        self._start()
        events = self.log.events()
        present = self.log.present()
        self.signals.restore(present, events)
        for event in present:
            self.conditions.restore(self.devices[event.alarm.device], event.alarm)
        kept = self._durable[: len(self._durable) - redelivered]
        for known in kept:  # as hub.restart does with what the journal holds
            device, reading = self.devices[known.device], known
            device.received_ns = max(device.received_ns, reading.received_ns)
            if reading.time_ns > device.time_ns:
                device.time_ns = reading.time_ns
            else:
                reading = news(device, reading)
            if not reading.values and not reading.exceptions:
                continue
            if max(self.hub_ns, reading.received_ns) - reading.time_ns <= BACKLOG_NS:
                self.conditions.observe(device, reading, self.hub_ns)
            self.live.update(device, reading)
        again, self._durable = self._durable[len(kept) :], kept
        for reading in again:
            self.reads(reading.device, reading.values, reading.exceptions, reading.time_ns, reading.channel)
        for broker, since_ns in self.listening.items():
            if since_ns is not None:
                self.listening[broker] = self.hub_ns

    @property
    def hub_ns(self) -> int:
        return self.now_ns + self.clock_step_ns

    def alarm(self, target: str) -> str:
        """Return the id of the alarm, not yet ended, that a timeline names."""
        return next(e.alarm.id for e in self.log.present() if target in (name(e.alarm), short_name(e.alarm)))


def short_name(alarm: Alarm) -> str:
    part = f"{alarm.part}/" if alarm.part else ""
    return part + (f"{alarm.parameter}/{alarm.condition}" if alarm.parameter else alarm.condition)


def name(alarm: Alarm) -> str:
    return f"{alarm.device}:{short_name(alarm)}"

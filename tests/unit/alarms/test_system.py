"""The alarms of a hub put together, on a real registry, event log and book."""

import pytest
from pydantic import SecretStr

from hub.alarms.channels import NotifySettings, WebhookSettings
from hub.alarms.limits import load_limits
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.rules import Override
from hub.alarms.system import AlarmSystem, is_nearly_full
from hub.device import Device, Latest
from hub.model import Reading
from hub.ward.registry import Registry
from hub.ward.wardfile import parse

SECOND = 1_000_000_000
NOW = 1_795_488_192 * SECOND
WARD = {
    "site": {"id": "main", "name": "Main"},
    "ward": [{"id": "icu", "name": "Intensive care", "beds": ["icu-01", "icu-02"]}],
    "device": [
        {"id": "mon-1", "definition": "native", "bed": "icu-01", "interval_s": 1},
        {"id": "oxi-1", "definition": "native", "bed": "icu-01", "interval_s": 1},
    ],
}


class Hub:
    """A hub's alarms with hub time in hand."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.now_ns = NOW
        self.registry = Registry(f"sqlite:///{folder / 'registry.sqlite'}", lambda: self.now_ns)
        self.published: list[tuple[str, bytes, bool]] = []
        self.webhooks: tuple[WebhookSettings, ...] = ()

    async def start(self) -> None:
        self.devices = {name: Device("main", name, "icu", "native", 1.0) for name in ("mon-1", "oxi-1")}
        self.log = EventLog(Records(self.folder / "alarms.sqlite"))
        self.own = Device("main", "hub-1", "hub", "hub", 0.0)
        await self.log.start()
        self.alarms = AlarmSystem(
            event_log=self.log,
            book=self.folder / "book.sqlite",
            scores=self.folder / "scores.sqlite",
            rules=load_limits(),
            places=self.registry,
            device_of=lambda _, name: self.devices.get(name),
            listening=lambda: {"": NOW - 3600 * SECOND},
            own=self.own,
            notify=NotifySettings(webhooks=self.webhooks),
            publish=lambda *message: self.published.append(message) is None,
            now_ns=lambda: self.now_ns,
        )
        await self.alarms.start()

    async def stop(self) -> None:
        await self.alarms.stop()
        await self.log.stop()

    def reads(self, name, second=0.0, **values) -> None:
        device = self.devices[name]
        time_ns = self.now_ns = NOW + round(second * SECOND)
        device.time_ns = device.received_ns = time_ns
        reading = Reading("main", name, "observations", time_ns, time_ns, time_ns, 1, values, None)
        self.alarms.conditions.observe(device, reading, time_ns)
        for parameter, value in values.items():
            latest = device.latest.setdefault(parameter, Latest(parameter))
            latest.value, latest.quality, latest.time_ns, latest.received_ns = (
                value,
                "valid",
                time_ns,
                time_ns,
            )

    def tick(self, second) -> None:
        self.now_ns = NOW + round(second * SECOND)
        self.registry.refresh(self.now_ns)
        self.alarms.tick(list(self.devices.values()))

    async def events(self) -> list:
        await self.log.told(self.log._sequence)
        return [one.event for one in await self.log.after(0, 1000)]


@pytest.fixture
async def hub(tmp_path):
    hub = Hub(tmp_path)
    await hub.registry.start()
    await hub.registry.seed(parse(WARD, "ward.toml"))
    await hub.start()
    yield hub
    await hub.stop()
    await hub.registry.stop()


async def admit(hub, age_group="adult", bed="icu-01", **known) -> str:
    patient = await hub.registry.add_patient("Somebody", age_group=age_group, **known)
    await hub.registry.admit(patient, "main", bed, NOW - 3600 * SECOND)
    return patient


async def test_a_patients_age_group_decides_the_limits(hub):
    await admit(hub, "neonatal")
    hub.reads("mon-1", heart_rate=150.0)
    assert await hub.events() == []
    hub.reads("mon-1", 1, heart_rate=90.0)
    (event,) = await hub.events()
    assert (event.event, event.ward, event.bed) == ("start", "icu", "icu-01")


async def test_two_devices_of_one_patient_make_a_combination(hub):
    await admit(hub)
    for second in range(12):
        hub.reads("oxi-1", second, spo2=91.0)
        hub.reads("mon-1", second + 0.5, respiratory_rate=9.0)
    (event,) = await hub.events()
    assert (event.alarm.condition, event.alarm.device) == ("respiratory_depression", "oxi-1")


async def test_discharge_ends_alarms_and_limits_of_the_patient(hub):
    patient = await admit(hub)
    override = Override(
        scope="patient", site="main", scope_id=patient, table="heart_rate", values={"high": 140},
        who="n", why="flutter", set_ns=NOW, age_group="adult", bed="icu-01",
    )  # fmt: skip
    await hub.alarms.overrides.set(override, NOW)
    hub.reads("mon-1", heart_rate=130.0)
    hub.reads("mon-1", 1, heart_rate=145.0)
    await hub.registry.discharge(patient, NOW + 2 * SECOND)
    hub.tick(3)
    await hub.alarms._follow()
    assert [event.event for event in await hub.events()] == ["start", "end"]
    assert (await hub.events())[-1].patient == patient
    assert hub.alarms.overrides.listed() == []


async def test_a_worn_devices_alarm_goes_to_the_new_bed_and_the_limits_of_the_stay_do_not(hub):
    patient = await admit(hub)
    await hub.registry.move_device("main", "oxi-1", NOW - 1800 * SECOND, patient=patient)
    override = Override(
        scope="patient", site="main", scope_id=patient, table="heart_rate", values={"high": 140},
        who="n", why="flutter", set_ns=NOW, age_group="adult", bed="icu-01",
    )  # fmt: skip
    await hub.alarms.overrides.set(override, NOW)
    hub.reads("oxi-1", 1, spo2=70.0)
    hub.reads("mon-1", 1.5, heart_rate=145.0)
    await hub.registry.transfer(patient, "main", "icu-02", NOW + 2 * SECOND)
    hub.tick(3)
    await hub.alarms._follow()
    hub.reads("oxi-1", 4, spo2=70.0)
    assert [(one.event, one.alarm.device, one.bed) for one in await hub.events()] == [
        ("start", "oxi-1", "icu-01"),
        ("start", "mon-1", "icu-01"),
        ("end", "mon-1", "icu-01"),
        ("update", "oxi-1", "icu-02"),
    ]
    assert {one.patient for one in await hub.events()} == {patient}
    assert hub.alarms.overrides.listed() == []

    another = await hub.registry.add_patient("Somebody else")
    await hub.registry.admit(another, "main", "icu-01", NOW + 5 * SECOND)
    hub.tick(6)
    hub.reads("mon-1", 7, heart_rate=110.0)
    assert len(await hub.events()) == 4, "the next patient in the bed inherits nothing"
    hub.reads("mon-1", 8, heart_rate=130.0)
    assert (await hub.events())[-1].patient == another


async def test_a_carried_device_reads_its_next_patient_only_from_its_move_on(hub):
    await admit(hub)
    another = await admit(hub, bed="icu-02")
    hub.tick(0)
    await hub.registry.move_device("main", "oxi-1", NOW + 10 * SECOND, bed="icu-02")
    hub.now_ns = NOW + 11 * SECOND
    hub.registry.refresh(hub.now_ns)
    late = Reading("main", "oxi-1", "observations", NOW + 9 * SECOND, 0, hub.now_ns, 1, {"spo2": 70.0}, None)
    hub.alarms.conditions.observe(hub.devices["oxi-1"], late, hub.now_ns)
    assert await hub.events() == []
    hub.reads("oxi-1", 12, spo2=70.0)
    assert [(one.bed, one.patient) for one in await hub.events()] == [("icu-02", another)]


async def test_a_latched_or_present_alarm_and_its_acknowledgement_survive_a_restart(hub):
    await admit(hub)
    hub.reads("mon-1", spo2=70.0)
    (alarm,) = [event.alarm.id for event in await hub.events()]
    hub.alarms.signals.acknowledge(alarm, "Ann", hub.now_ns)
    await hub.events()
    await hub.stop()
    await hub.start()
    (present,) = hub.log.present()
    assert present.signal.acknowledged_by == "Ann"
    with pytest.raises(Exception, match="neither paused"):
        hub.alarms.signals.resume(alarm, "Ann", hub.now_ns)


@pytest.mark.parametrize(
    ("known", "excluded"),
    [({}, False), ({"pregnant": True}, True), ({"age_group": "paediatric"}, True)],
)
async def test_the_score_is_for_adults_who_are_not_pregnant(hub, known, excluded):
    patient = await admit(hub, **known)
    hub.reads("mon-1", respiratory_rate=16.0)
    await hub.alarms.sweep()
    assert (hub.alarms.early_warning.newest(patient).score is None) is excluded


async def test_charted_values_and_limits_of_an_erased_patient_leave_the_book(hub):
    from hub.alarms.charts import Charted

    patient = await admit(hub)
    await hub.alarms.sweep()
    await hub.alarms.charts.enter(Charted(patient, NOW, {"consciousness": "A"}, "Ann"), NOW)
    await hub.registry.discharge(patient, NOW + SECOND)
    hub.now_ns = NOW + 2 * SECOND
    periods = await hub.registry.erase_patient(patient)
    await hub.registry.finish_erasure(patient, periods)
    await hub.alarms.sweep()
    assert await hub.alarms.book.lines("chart") == []


async def test_pagers_are_told_at_their_area_and_the_list_follows(hub):
    await admit(hub)
    hub.reads("mon-1", spo2=70.0)
    await hub.events()
    hub.alarms._flush()
    topics = [(topic, retain) for topic, _, retain in hub.published]
    assert topics == [
        ("wards/v1/main/icu/hub/alarm-events", False),
        ("wards/v1/main/icu/hub/active-alarms", True),
    ]


async def test_whoever_is_not_told_is_an_alarm_of_the_hub_itself(tmp_path, hub):
    settings = WebhookSettings(url="http://127.0.0.1:9/", secret=SecretStr("x"))
    await hub.stop()
    hub.webhooks = (settings,)
    await hub.start()
    hub.alarms.deliveries[0].failing = "away"
    await hub.alarms._watch()
    (event,) = await hub.events()
    assert (event.alarm.condition, event.alarm.device) == ("notifications_failing", "hub-1")
    hub.alarms.deliveries[0].failing = None
    await hub.alarms._watch()
    assert [event.event for event in await hub.events()] == ["start", "end"]


@pytest.mark.parametrize(
    ("free", "total", "full"),
    [(60, 1000, False), (49, 1000, True), (3 * 10**9, 10**12, False), (10**9, 10**12, True)],
)
def test_a_disk_is_nearly_full_with_a_twentieth_or_two_gigabytes_left(free, total, full):
    assert is_nearly_full(free, total) is full

"""A flood through the real signals and the real event log on disk."""

from hub.alarms.alarm import AlarmEvent
from hub.alarms.conditions import Conditions
from hub.alarms.limits import load_limits
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.signals import Signals
from hub.device import Device
from hub.model import Reading

NOW = 1_795_488_192_000_000_000
LIMITS = load_limits().of("adult")


def reading(number: int, spo2: float, time_ns: int) -> Reading:
    return Reading("main", f"m-{number}", "observations", time_ns, time_ns, time_ns, 1, {"spo2": spo2}, None)


async def test_two_thousand_conditions_at_once_are_all_told_and_recorded_in_sequence(tmp_path):
    log = EventLog(Records(tmp_path / "alarms.sqlite"))
    await log.start()
    told: list[int] = []
    log.listen(lambda event, _: told.append(event.sequence))
    signals = Signals(log.record, LIMITS.policy)
    conditions = Conditions(lambda _: LIMITS, signals.tell)
    devices = [Device("main", f"m-{number}", "icu", "native", 1.0) for number in range(2000)]
    for number, device in enumerate(devices):
        conditions.observe(device, reading(number, 70.0, NOW), NOW)
    assert await log.told(2000)
    assert told == list(range(1, 2001))
    for number, device in enumerate(devices):
        conditions.observe(device, reading(number, 97.0, NOW + 1), NOW + 1)
    await log.told(4000)
    assert log.present() == []
    await log.stop()
    again = EventLog(Records(tmp_path / "alarms.sqlite"))
    await again.start()
    assert again.last_sequence == 4000
    await again.stop()


async def test_a_flood_of_technical_alarms_leaves_every_urgent_one_signalled_by_itself():
    events = []

    def record(event, time_ns, alarm, **known):
        events.append((event, alarm, known["signal"]))

    signals = Signals(record, LIMITS.policy)
    conditions = Conditions(lambda _: LIMITS, signals.tell)
    for number in range(300):
        device = Device("main", f"m-{number}", "icu", "native", 1.0)
        for condition in ("device_silent", "rejects", "clock_off"):
            conditions.technical(device, condition, True, condition, NOW)
        conditions.observe(device, reading(number, 70.0, NOW), NOW)
    urgent = [signal for _, alarm, signal in events if alarm.priority == "high"]
    assert len(urgent) == 300
    assert all(signal.under is None and signal.presence == "on" for signal in urgent)
    technical = [signal for _, alarm, signal in events if alarm.kind == "technical"]
    assert sum(signal.under is None for signal in technical) == 300


def test_what_was_under_an_alarm_that_ended_just_before_a_crash_is_signalled_after_it():
    events = []

    def record(event, time_ns, alarm, **known):
        events.append(AlarmEvent(len(events) + 1, event, time_ns, alarm, **known))

    signals = Signals(record, LIMITS.policy)
    conditions = Conditions(lambda _: LIMITS, signals.tell)
    device = Device("main", "m-1", "icu", "native", 1.0)
    conditions.technical(device, "clock_off", True, "clock", NOW)
    conditions.technical(device, "rejects", True, "rejects", NOW)
    conditions.technical(device, "clock_off", False, "", NOW)
    assert [event.event for event in events] == ["start", "start", "end", "signalled"]
    crashed = events[:3]
    assert crashed[1].signal.under == crashed[2].alarm.id
    events.clear()
    again = Signals(record, LIMITS.policy)
    again.restore([crashed[1]], crashed)
    again.tick(NOW + 1)
    assert [(event.event, event.signal.under) for event in events] == [("signalled", None)]

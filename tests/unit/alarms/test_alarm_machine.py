"""For any sequence of readings, ticks, acts and restarts, nothing urgent is hidden, nothing lost."""

from alarm_ward import T0, AlarmWard
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.alarms.alarm import RANK
from hub.alarms.signal import SignalRefused
from hub.alarms.signals import Responder
from hub.clock import SECOND_NS

RULES = {
    "adult": {"spo2": {"hysteresis": 1, "delay_s": 3}, "heart_rate": {"critical_low": 30}},
    "signals": {"heart_rate": {"latching": True}, "medium": {"signal_delay_s": 2}},
    "flood": {"chatter_starts": 3},
}
DEVICES = ("mon-1", "mon-2")
PERSONAL = {"acknowledged", "audio-paused", "signal-off", "reset", "commented"}
values = st.fixed_dictionaries(
    {},
    optional={
        "spo2": st.sampled_from([70.0, 79.0, 80.5, 88.0, 90.0, 91.0, 97.0]),
        "heart_rate": st.sampled_from([0.0, 29.0, 45.0, 72.0, 121.0]),
        "respiratory_rate": st.sampled_from([9.0, 16.0]),
    },
)
missing = st.sets(st.sampled_from(["spo2", "heart_rate"]), max_size=2)


class AlarmMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ward = AlarmWard(RULES)
        self.ward.chain = [Responder("nurse-1", 20 * SECOND_NS), Responder("nurse-2", 20 * SECOND_NS)]
        self.ward.patients = dict.fromkeys(DEVICES, "pt-1")
        self.in_order = True
        """False once the clock was set: what is then young enough to be judged again is another question."""

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.ward.now_ns += SECOND_NS
            self.ward.tick()

    @rule(
        device=st.sampled_from(DEVICES), values=values, missing=missing, late=st.sampled_from([0, 0, 0, 0, 2])
    )
    def a_reading_comes(self, device, values, missing, late) -> None:
        exceptions = {name: ("no-value", None) for name in missing if name not in values}
        if values or exceptions:
            self.ward.reads(device, values, exceptions, self.ward.now_ns - late * SECOND_NS)
        self.pass_seconds(1)

    @rule(seconds=st.sampled_from([1, 5, 30, 70]))
    def time_passes(self, seconds) -> None:
        self.pass_seconds(seconds)

    @rule(device=st.sampled_from(DEVICES), state=st.sampled_from(["online", "offline", "standby"]))
    def a_status_comes(self, device, state) -> None:
        self.ward.says(device, state)
        self.pass_seconds(1)

    @rule(device=st.sampled_from(DEVICES), patient=st.sampled_from([None, "pt-1", "pt-2"]))
    def a_patient_moves(self, device, patient) -> None:
        self.ward.moves(device, patient)
        self.pass_seconds(1)
        for event in self.ward.log.present():
            if event.alarm.device == device and event.alarm.kind == "physiological":
                assert event.patient == patient, "the next patient inherits nothing"

    @precondition(lambda self: self.ward.log.present())
    @rule(
        data=st.data(), act=st.sampled_from(["acknowledge", "pause", "off", "resume", "reset", "hand over"])
    )
    def a_person_acts(self, data, act) -> None:
        alarm = data.draw(st.sampled_from([event.alarm.id for event in self.ward.log.present()]))
        signals, now_ns = self.ward.signals, self.ward.hub_ns
        seconds = data.draw(st.sampled_from([5, 60, 200])) * SECOND_NS
        try:
            if act == "acknowledge":
                signals.acknowledge(alarm, "nurse-1", now_ns)
            elif act == "pause":
                signals.pause(alarm, "nurse-1", seconds, now_ns)
            elif act == "off":
                signals.switch_off(alarm, "nurse-1", "known", now_ns + seconds, now_ns)
            elif act == "resume":
                signals.resume(alarm, "nurse-1", now_ns)
            elif act == "reset":
                signals.reset(alarm, "nurse-1", now_ns)
            else:
                signals.reassign(alarm, "nurse-1", "nurse-2", now_ns)
        except SignalRefused:
            return

    @rule(redelivered=st.sampled_from([0, 0, 1, 3]))
    def the_hub_restarts(self, redelivered) -> None:
        before = self.states()
        rows = len(self.ward.log.rows)
        self.ward.restart(redelivered=redelivered)
        if not redelivered and self.in_order:
            assert self.states() == before, "a restart changes nothing"
            assert len(self.ward.log.rows) == rows, "a restart tells nothing"
        self.ward.tick()

    @rule(seconds=st.sampled_from([-3600, -30, 30]))
    def the_clock_is_set(self, seconds) -> None:
        self.ward.clock_step_ns += seconds * SECOND_NS
        self.in_order = False
        self.ward.tick()

    def states(self) -> dict:
        entries = self.ward.signals._entries
        return {key: (entry.alarm, entry.signal, entry.place) for key, entry in entries.items()}

    @invariant()
    def every_urgent_condition_has_a_visible_signal_or_was_silenced_within_its_time(self) -> None:
        now_ns = self.ward.hub_ns
        signals = self.ward.signals
        shown = {entry.alarm.device + entry.alarm.condition + (entry.alarm.parameter or ""): entry
                 for entry in signals._entries.values()}  # fmt: skip
        redelivered = {
            key[1] + key[3] + key[2].lstrip("/"): since for key, (_, since) in signals._redelivered.items()
        }
        for device in self.ward.devices.values():
            for (parameter, name), condition in device.conditions.items():
                if condition.alarm is None or condition.alarm.priority != "high":
                    continue
                key = device.id + name + parameter
                if key in redelivered:
                    assert now_ns - redelivered[key] <= 6 * SECOND_NS
                    continue
                entry = shown[key]
                signal, policy = entry.signal, signals._policy_of(entry.alarm)
                assert RANK[signal.priority] == RANK["high"]
                assert signal.under is None
                assert signal.presence in ("on", "acknowledged")
                if signal.presence == "acknowledged":
                    assert signal.acknowledged_by == "nurse-1"
                    assert 0 < signal.acknowledged_until_ns - now_ns <= policy.acknowledge_ns
                if signal.activation == "off":
                    assert 0 < signal.activation_until_ns - now_ns <= policy.longest_off_ns
                if signal.activation == "paused":
                    assert 0 < signal.activation_until_ns - now_ns <= policy.longest_pause_ns

    @invariant()
    def the_sequence_has_no_gaps_and_every_alarm_one_life(self) -> None:
        events = self.ward.log.events()
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        alive: set[str] = set()
        for event in events:
            if event.event == "start":
                assert event.alarm.id not in alive
                alive.add(event.alarm.id)
            else:
                assert event.alarm.id in alive
            if event.event == "end":
                alive.remove(event.alarm.id)

    @invariant()
    def a_latched_signal_is_cleared_by_a_person_or_with_the_patients_stay(self) -> None:
        latched: dict[str, bool] = {}
        for event in self.ward.log.events():
            alarm = event.alarm
            if event.event == "end" and latched.pop(alarm.id, False):
                assert event.who == "nurse-1" or alarm.ended_why is not None
            elif event.signal.presence == "latched":
                latched[alarm.id] = True
            else:
                latched.pop(alarm.id, None)

    @invariant()
    def what_is_listed_under_an_alarm_is_under_one_that_is_shown_by_itself(self) -> None:
        entries = {entry.alarm.id: entry for entry in self.ward.signals._entries.values()}
        for entry in entries.values():
            if entry.signal.under is not None:
                assert entries[entry.signal.under].signal.under is None

    @invariant()
    def what_is_shown_is_what_the_log_holds(self) -> None:
        in_log = {event.alarm.id: (event.alarm, event.signal) for event in self.ward.log.present()}
        shown = {e.alarm.id: (e.alarm, e.signal) for e in self.ward.signals._entries.values()}
        assert shown == in_log


TestAlarmMachine = AlarmMachine.TestCase
TestAlarmMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_machine_can_reach_what_it_checks():
    """Guard: without high-priority, latched and acknowledged alarms the invariants would hold for nothing."""
    machine = AlarmMachine()
    machine.ward.reads("mon-1", {"spo2": 70.0, "heart_rate": 29.0}, None, T0)
    machine.pass_seconds(1)
    machine.every_urgent_condition_has_a_visible_signal_or_was_silenced_within_its_time()
    alarms = {event.alarm.parameter: event for event in machine.ward.log.present()}
    assert {event.alarm.priority for event in alarms.values()} == {"high"}
    machine.ward.signals.acknowledge(alarms["spo2"].alarm.id, "nurse-1", machine.ward.hub_ns)
    machine.ward.reads("mon-1", {"spo2": 97.0, "heart_rate": 72.0}, None, machine.ward.now_ns)
    assert [event.signal.presence for event in machine.ward.log.present()] == ["latched"]

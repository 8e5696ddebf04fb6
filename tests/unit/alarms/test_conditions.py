from hub.alarms.alarm import Alarm
from hub.alarms.conditions import Conditions
from hub.alarms.limits import load_limits
from hub.alarms.rules import Override
from hub.clock import SECOND_NS
from hub.device import Device
from hub.model import DeviceAlarm, DeviceStatus, Reading

NOW = 1_795_488_192 * SECOND_NS
LIMITS = load_limits()


class Ward:
    """One device and everything that was told of it."""

    def __init__(self, device: Device | None = None) -> None:
        self.told: list[tuple[str, Alarm]] = []
        self.listening_ns: int | None = 0
        self.conditions = Conditions(
            lambda _: LIMITS.of("adult"),
            lambda event, alarm, _: self.told.append((event, alarm)),
            listening=lambda: {"": self.listening_ns},
        )
        self.device = device or Device("main", "mon-1", "icu", "native", 1.0)

    def reads(self, second: float, exceptions=None, **values) -> None:
        time_ns = NOW + round(second * SECOND_NS)
        self.device.received_ns = time_ns
        reading = Reading("main", "mon-1", "observations", time_ns, time_ns, time_ns, 1, values, exceptions)
        self.conditions.observe(self.device, reading, time_ns)

    def ticks(self, second: float, listening_second: float | None = 0) -> None:
        self.listening_ns = None if listening_second is None else NOW + round(listening_second * SECOND_NS)
        self.conditions.tick([self.device], NOW + round(second * SECOND_NS))

    def says(self, second: float, state: str, battery: float | None = None) -> None:
        time_ns = NOW + round(second * SECOND_NS)
        self.device.state, self.device.state_ns, self.device.received_ns = state, time_ns, time_ns
        status = DeviceStatus("main", "mon-1", time_ns, time_ns, state, battery)
        self.conditions.status(self.device, status, time_ns)

    def events(self) -> list[tuple[str, str, str | None]]:
        return [(event, alarm.condition, alarm.parameter) for event, alarm in self.told]


def test_normal_values_tell_nothing_and_leave_nothing_behind():
    ward = Ward()
    ward.reads(0, heart_rate=72.0, spo2=97.0)
    assert ward.told == []
    assert ward.device.conditions == {}


def test_a_value_beyond_its_limit_starts_one_alarm_that_ends_when_it_is_back():
    ward = Ward()
    for second, rate in enumerate((125.0, 130.0, 119.0, 117.0, 80.0)):
        ward.reads(second, heart_rate=rate)
    assert ward.events() == [("start", "limit_high", "heart_rate"), ("end", "limit_high", "heart_rate")]
    start, end = (alarm for _, alarm in ward.told)
    assert start.id == end.id
    assert (start.onset_ns, start.priority, start.value, start.limit) == (NOW, "medium", 125.0, 120)
    assert (end.presence, end.ended_ns) == ("absent", NOW + 3 * SECOND_NS)


def test_asystole_alarms_since_zero_is_a_value():
    ward = Ward()
    ward.reads(0, heart_rate=0.0)
    assert ward.events() == [("start", "limit_low", "heart_rate")]


def test_a_deep_desaturation_is_one_alarm_that_escalates_and_de_escalates():
    ward = Ward()
    for second, saturation in enumerate((85.0, 79.0, 80.5, 82.0, 95.0)):
        ward.reads(second, spo2=saturation)
    assert ward.events() == [
        ("start", "limit_low", "spo2"),
        ("escalate", "limit_low", "spo2"),
        ("de-escalate", "limit_low", "spo2"),
        ("end", "limit_low", "spo2"),
    ]
    assert [(alarm.priority, alarm.limit) for _, alarm in ward.told[:3]] == [
        ("medium", 90),
        ("high", 80),
        ("medium", 90),
    ]
    assert len({alarm.id for _, alarm in ward.told}) == 1


def test_no_valid_value_holds_the_alarm_and_adds_its_own_after_ten_seconds():
    ward = Ward()
    ward.reads(0, spo2=85.0)
    for second in range(1, 12):
        ward.reads(second, exceptions={"spo2": ("no-value", None)})
    assert ward.events() == [("start", "limit_low", "spo2"), ("start", "no_valid_value", "spo2")]
    ward.reads(12, spo2=97.0)
    assert ward.events()[2:] == [("end", "limit_low", "spo2"), ("end", "no_valid_value", "spo2")]


def test_an_invalid_value_is_never_alarmed_as_a_value():
    ward = Ward()
    ward.reads(0, exceptions={"heart_rate": ("invalid", 900.0)})
    assert ward.told == []


def test_a_questionable_value_alarms():
    ward = Ward()
    ward.reads(0, exceptions={"heart_rate": ("questionable", 150.0)}, heart_rate=150.0)
    assert ward.events() == [("start", "limit_high", "heart_rate")]


def test_the_same_reading_gives_the_same_alarm_id_on_another_hub():
    one, other = Ward(), Ward()
    one.reads(0, heart_rate=150.0)
    other.reads(0, heart_rate=150.0)
    assert one.told[0][1].id == other.told[0][1].id


def test_a_restored_alarm_goes_on_and_is_not_told_again():
    before = Ward()
    before.reads(0, heart_rate=150.0)
    after = Ward()
    after.conditions.restore(after.device, before.told[0][1])
    after.reads(1, heart_rate=151.0)
    assert after.told == []
    after.reads(2, heart_rate=80.0)
    assert after.events() == [("end", "limit_high", "heart_rate")]
    assert after.told[0][1].id == before.told[0][1].id


def test_a_device_is_silent_after_its_interval_and_ten_seconds_and_no_longer_when_it_is_heard():
    ward = Ward()
    ward.reads(0, heart_rate=70.0)
    ward.ticks(11)
    assert ward.told == []
    ward.ticks(11.1)
    assert ward.events() == [("start", "device_silent", None)]
    ward.reads(12, heart_rate=70.0)
    ward.ticks(12.5)
    assert ward.events()[1:] == [("end", "device_silent", None)]


def test_no_device_is_blamed_while_the_hub_itself_does_not_hear():
    ward = Ward()
    ward.reads(0, heart_rate=70.0)
    ward.ticks(100, listening_second=None)
    ward.ticks(105, listening_second=100)
    assert ward.told == []
    ward.ticks(112, listening_second=100)
    assert ward.events() == [("start", "device_silent", None)]


def test_a_device_in_standby_may_be_silent():
    ward = Ward()
    ward.reads(0, heart_rate=70.0)
    ward.says(1, "standby")
    ward.ticks(100)
    assert ward.events() == [("start", "standby", None)]
    assert ward.told[0][1].priority == "information"


def test_standby_is_visible_and_ends_after_its_longest_time():
    ward = Ward()
    ward.reads(0, heart_rate=70.0)
    ward.says(1, "standby")
    assert ward.told[0][1].until_ns == NOW + (4 * 3600 + 1) * SECOND_NS
    ward.ticks(4 * 3600 + 2)
    assert ward.events()[1:] == [("end", "standby", None), ("start", "device_silent", None)]


def test_transport_suppresses_silence_until_its_time():
    ward = Ward()
    ward.reads(0, heart_rate=70.0)
    until_ns = ward.conditions.transport(ward.device, NOW + 600 * SECOND_NS, "n1", "to theatre", NOW)
    assert until_ns == NOW + 600 * SECOND_NS
    ward.ticks(500)
    assert ward.events() == [("start", "transport", None)]
    assert "n1: to theatre" in ward.told[0][1].text
    ward.ticks(601)
    assert ward.events()[1:] == [("end", "transport", None), ("start", "device_silent", None)]


def test_a_last_will_is_a_technical_alarm_until_the_device_is_online_again():
    ward = Ward()
    for second, state in ((0, "online"), (5, "offline"), (9, "online")):
        ward.says(second, state)
        ward.ticks(second + 2, listening_second=-3600)
    assert ward.events() == [("start", "device_offline", None), ("end", "device_offline", None)]
    assert ward.told[0][1].kind == "technical"


def test_a_devices_own_alarm_is_passed_on_with_its_priority():
    ward = Ward()
    for second, presence in ((0, "present"), (1, "present"), (2, "absent")):
        time_ns = NOW + second * SECOND_NS
        raised = DeviceAlarm("main", "pump-1", time_ns, time_ns, "occlusion", presence, "high")
        ward.conditions.device_raised(ward.device, raised, time_ns)
    assert ward.events() == [("start", "occlusion", None), ("end", "occlusion", None)]
    assert ward.told[0][1].priority == "high"


def test_rejects_of_a_device_are_one_alarm_that_ends_a_minute_after_the_last():
    ward = Ward()
    for second in range(5):
        ward.device.rejected_ns = NOW + second * SECOND_NS
        ward.ticks(second + 0.5)
    assert ward.events() == [("start", "rejects", None)]
    ward.ticks(70)
    assert ward.events() == [("start", "rejects", None), ("end", "rejects", None)]


def test_a_device_whose_clock_is_wrong_alarms_until_it_is_set():
    ward = Ward()
    ward.reads(0, heart_rate=70.0)
    ward.device.clock.offset_ns = 120 * SECOND_NS
    ward.ticks(1)
    ward.ticks(2)
    ward.device.clock.offset_ns = 0
    ward.ticks(3)
    assert ward.events() == [("start", "clock_off", None), ("end", "clock_off", None)]


def test_a_battery_below_its_limit_is_a_technical_alarm():
    limits = load_limits()
    low = Override(
        scope="site",
        site="main",
        scope_id="main",
        table="battery",
        values={"low": 20, "critical_low": 10, "priority": "low", "critical_priority": "medium"},
        who="biomed",
        why="ours last an hour from 20 %",
        set_ns=NOW,
    )
    ward = Ward()
    ward.conditions._limits_of = lambda _: limits.of("adult", [low])
    for second, battery in enumerate((30, 19, 9, 80)):
        ward.says(second, "online", battery)
    assert ward.events() == [
        ("start", "limit_low", "battery"),
        ("escalate", "limit_low", "battery"),
        ("end", "limit_low", "battery"),
    ]
    assert ward.told[0][1].kind == "technical"

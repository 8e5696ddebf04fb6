"""What a hub knows again after a restart: from the journal's newest batches, and of present alarms."""

from line_parts import NOW, SECOND, Nowhere, make_conditions, make_roster

from hub.alarms.alarm import Alarm, alarm_id
from hub.clock import ClockLimits
from hub.device import Device
from hub.duplicates import Duplicates
from hub.intake import empty_batch
from hub.live import Live
from hub.model import Reading
from hub.restart import Resumption

LIMITS = ClockLimits()


class After:
    """A hub that has just started."""

    def __init__(self, now_ns=NOW, **roster):
        self.roster, self.new = make_roster(**roster)
        self.conditions, self.told = make_conditions()
        self.duplicates = Duplicates()
        self.live = Live(Nowhere())
        self.own = Device("main", "hub-1", "hub", "hub", 0.0)
        self.resumption = Resumption(
            roster=self.roster,
            duplicates=self.duplicates,
            conditions=self.conditions,
            live=self.live,
            own=self.own,
            now_ns=now_ns,
            backlog_ns=60 * SECOND,
        )

    def device(self, name="mon-1"):
        return self.roster.find("main", name)


def reading(seq, time_ns=None, device_time_ns=None, device="mon-1", channel="observations", **values):
    time_ns = NOW + seq * SECOND if time_ns is None else time_ns
    device_time_ns = time_ns if device_time_ns is None else device_time_ns
    return Reading("main", device, channel, time_ns, device_time_ns, NOW, seq, values or {"heart_rate": 72.0})


def batch(*readings):
    found = empty_batch(NOW)
    found.readings += readings
    return found


def alarm(device="mon-1", parameter="heart_rate", condition="limit_high", kind="physiological"):
    onset_ns = NOW - 5 * SECOND
    return Alarm(
        id=alarm_id("main", device, parameter, condition, onset_ns),
        kind=kind,
        priority="medium",
        condition=condition,
        site="main",
        device=device,
        onset_ns=onset_ns,
        presence="present",
        text="",
        parameter=parameter,
        changed_ns=onset_ns,
    )


def test_readings_that_the_journal_has_are_duplicates_from_the_first_moment():
    after = After()
    after.resumption.batch(batch(reading(1), reading(2, channel="a")))
    index = after.roster.index("main", "mon-1", "observations")
    assert after.duplicates.seen(index, NOW + SECOND, 1)
    assert after.duplicates.seen(after.roster.index("main", "mon-1", "a"), NOW + 2 * SECOND, 2)
    assert not after.duplicates.seen(index, NOW + 3 * SECOND, 3)


def test_devices_know_their_newest_time_and_show_their_newest_values():
    after = After()
    after.resumption.batch(batch(reading(1, heart_rate=70.0), reading(2, heart_rate=72.0)))
    device = after.device()
    assert device.time_ns == NOW + 2 * SECOND
    assert device.received_ns == NOW
    assert device.latest["heart_rate"].value == 72
    assert after.new == [], "a device that is known from before is no new one"


def test_an_adopted_clock_offset_goes_on_and_a_reading_that_was_taken_at_receipt_adopts_none():
    after = After()
    behind_ns = 3600 * SECOND
    slow = [reading(n, time_ns=NOW + n * SECOND, device_time_ns=NOW + n * SECOND - behind_ns) for n in (1, 2)]
    after.resumption.batch(batch(*slow))
    assert after.device().clock.offset_ns == -behind_ns
    jumping = [
        reading(n, time_ns=NOW + n * SECOND, device_time_ns=NOW - n * n * 100 * SECOND, device="mon-2")
        for n in (1, 2, 3)
    ]
    after.resumption.batch(batch(*jumping))
    assert after.device("mon-2").clock.offset_ns == 0


def test_an_alarm_that_was_present_goes_on_and_is_not_told_as_a_new_one():
    after = After()
    after.resumption.alarms([alarm()])
    after.resumption.batch(batch(reading(-4, heart_rate=150.0), reading(0, heart_rate=150.0)))
    assert after.told == []
    after.resumption.batch(batch(reading(1, heart_rate=72.0)))
    assert after.told == [("end", "mon-1", "limit_high")]


def test_an_alarm_that_a_crash_kept_from_being_told_is_told_now():
    after = After()
    after.resumption.batch(batch(reading(0, heart_rate=150.0)))
    assert after.told == [("start", "mon-1", "limit_high")]


def test_an_alarm_of_the_hubs_own_stays_the_hubs():
    after = After()
    after.resumption.alarms([alarm("hub-1", None, "journal_full", "technical")])
    assert list(after.own.conditions) == [("", "journal_full")]
    assert after.roster.find("main", "hub-1") is None


def test_readings_older_than_the_backlog_are_known_and_not_alarmed():
    after = After(now_ns=NOW + 100 * SECOND)
    after.resumption.batch(batch(reading(0, heart_rate=150.0)))
    assert after.told == []
    assert after.device().latest["heart_rate"].value == 150


def test_more_devices_than_the_hub_is_set_to_know_are_left_out():
    after = After(max_devices=1)
    after.resumption.batch(batch(reading(1, device="mon-1"), reading(1, device="mon-2")))
    after.resumption.alarms([alarm("mon-3")])
    assert [device.id for device in after.roster] == ["mon-1"]
    index = after.roster.index("main", "mon-2", "observations")
    assert after.duplicates.seen(index, NOW + SECOND, 1)

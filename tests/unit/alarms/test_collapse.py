"""Who is listed under whom."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from hub.alarms.alarm import Alarm, Signal
from hub.alarms.collapse import Groups


@dataclass
class Entry:
    alarm: Alarm
    signal: Signal


def entry(device: str, condition: str, priority="medium", **more) -> Entry:
    alarm = Alarm(
        id=f"{device}-{condition}", kind="technical", priority=priority, condition=condition,
        site="main", device=device, onset_ns=1, presence="present", text="", **more,
    )  # fmt: skip
    return Entry(alarm, Signal(priority=priority))


@pytest.fixture
def groups() -> Groups[Entry]:
    return Groups()


def test_a_lost_broker_takes_each_of_its_devices_and_no_other(groups):
    broker = entry("hub-1", "broker_lost", "high", devices=("a", "b"))
    groups.add(broker)
    a, c = entry("a", "device_offline"), entry("c", "device_offline")
    for one in (a, c):
        groups.regroup(one)
        groups.add(one)
    assert (a.signal.under, c.signal.under) == (broker.alarm.id, None)
    assert groups.remove(broker) == [a]
    assert not groups.regroup(c)
    assert groups.regroup(a)
    assert a.signal.under is None


def test_a_lost_broker_that_takes_others_than_before_is_looked_up_by_those(groups):
    broker = entry("hub-1", "broker_lost", "high", devices=("a",))
    groups.add(broker)
    b = entry("b", "device_offline")
    groups.regroup(b)
    groups.add(b)
    assert b.signal.under is None
    broker.alarm = replace(broker.alarm, devices=("b",))
    groups.add(broker)
    assert groups.covered(broker) == [b]
    a = entry("a", "device_silent")
    assert not groups.regroup(a)


def test_what_is_listed_under_another_leads_nothing(groups):
    broker = entry("hub-1", "broker_lost", "high", devices=("a",))
    offline, rejects = entry("a", "device_offline"), entry("a", "rejects", "low")
    groups.add(broker)
    for one in (offline, rejects):
        groups.regroup(one)
        groups.add(one)
    assert (offline.signal.under, rejects.signal.under) == (broker.alarm.id, broker.alarm.id)
    groups.remove(broker)
    groups.regroup(offline)
    groups.regroup(rejects)
    assert (offline.signal.under, rejects.signal.under) == (None, offline.alarm.id)


def test_a_high_priority_is_never_listed_under_another(groups):
    broker = entry("hub-1", "broker_lost", "high", devices=("a",))
    groups.add(broker)
    urgent = entry("a", "device_offline", "high")
    assert not groups.regroup(urgent)

"""The alarm load, worked out from events written down here."""

import pytest

from hub.alarms.alarm import Alarm, AlarmEvent, Signal
from hub.alarms.load import figures

SECOND = 1_000_000_000


class Events(list):
    def add(
        self, number, event="start", second=0.0, *, site="main", ward="icu", bed="b-1", who=None, **known
    ):
        alarm = {"priority": "medium", "condition": "limit_low", "parameter": "spo2"}
        alarm |= {key: known.pop(key) for key in ("priority", "condition", "parameter") if key in known}
        presence = "absent" if event == "end" else "present"
        one = Alarm(
            id=f"al-{number}",
            kind="physiological",
            site=site,
            device=f"mon-{bed}",
            onset_ns=0,
            presence=presence,
            text="",
            **alarm,
        )
        time_ns = round(second * SECOND)
        signal = Signal(**{"raised_ns": 0} | known)
        self.append(AlarmEvent(len(self) + 1, event, time_ns, one, ward, bed, "pt-1", signal, who))


@pytest.fixture
def events():
    return Events()


def floods(events, *seconds, **place):
    for second in seconds:
        events.add(len(events), second=second, **place)
    return figures(events, 1, 1).floods


def test_ten_alarms_in_ten_minutes_are_no_flood_and_eleven_are_one(events):
    assert floods(events, *range(0, 600, 60)) == 0
    assert floods(events, 600) == 1
    assert floods(events, *range(601, 640)) == 1, "it is the same flood"


def test_a_ward_that_has_come_to_rest_can_be_flooded_again(events):
    assert floods(events, *range(11), *range(1300, 1311)) == 2


def test_wards_of_one_name_at_two_sites_are_not_one_flood(events):
    floods(events, *range(6))
    assert floods(events, *range(6), site="north") == 0


def test_beds_of_several_sites_are_told_apart(events):
    events.add(1)
    assert figures(events, 1, 1).top_beds[0].name == "b-1"
    events.add(2, site="north")
    assert [one.name for one in figures(events, 1, 1).top_beds] == ["main/b-1", "north/b-1"]


def test_the_time_to_acknowledge_begins_with_the_signal_and_counts_the_first_one(events):
    for number in range(1, 12):
        events.add(number, second=number)
        events.add(
            number, "acknowledged", number + 5 + 10 * number, who="Ann", raised_ns=(number + 5) * SECOND
        )
        events.add(number, "acknowledged", 900, who="Ann")
    found = figures(events, 1, 1)
    assert (found.acknowledged, found.acknowledge_median_s, found.acknowledge_p90_s) == (11, 60.0, 100.0)


def test_an_alarm_ended_by_itself_unless_a_person_did_something_about_its_signal(events):
    events.add(1)
    events.add(1, "end", 5)
    events.add(2)
    events.add(2, "audio-paused", 1, who="Ann")
    events.add(2, "end", 5)
    events.add(3)
    events.add(3, "commented", 1, who="Ann")
    events.add(3, "reassigned", 1, who="hub")
    events.add(3, "end", 5)
    events.add(4)
    assert figures(events, 1, 1).ended_by_themselves == 0.6667


def test_each_alarm_counts_by_the_highest_priority_that_it_reached(events):
    events.add(1)
    events.add(1, "escalate", 1, priority="high")
    events.add(1, "de-escalate", 2, priority="low")
    assert figures(events, 1, 1).by_priority == {"high": 1}


def test_chatter_and_alarms_that_went_on_to_others_are_counted(events):
    events.add(1)
    events.add(1, "update", 1, count=3)
    events.add(2)
    events.add(2, "reassigned", 60, step=1, who="hub")
    events.add(3, count=2)
    found = figures(events, 1, 1)
    assert (found.chattering, found.escalated_to_others) == (1, 1)


def test_an_alarm_of_before_is_not_counted_and_no_beds_give_no_rate(events):
    events.add(1, "acknowledged", 1, who="Ann")
    events.add(2, second=2, parameter=None, condition="device_silent", bed=None)
    found = figures(events, 0, 1)
    assert (found.alarms, found.acknowledged, found.alarms_a_bed_a_day) == (1, 0, None)
    assert (found.top_parameters[0].name, found.top_beds[0].name) == ("device_silent", "mon-None")
    assert figures(events, 2, 0.5).alarms_a_bed_a_day == 1.0

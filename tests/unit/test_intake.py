import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from line_parts import NOW, SECOND, body, make_roster, observed, topic

from hub.clock import ClockLimits
from hub.duplicates import Duplicates
from hub.intake import MAX_REASONS, Intake
from hub.model import Message
from hub.mqtt.packets import KEPT_BYTES


def make_intake(**roster):
    return Intake(make_roster(**roster)[0], Duplicates(), ClockLimits())


def take(*messages, at_ns=NOW, intake=None, journalled=True):
    return (intake or make_intake()).take(list(messages), at_ns, journalled=journalled)


def reasons(taken):
    return [(one.path, one.reason) for one in taken.batch.rejections]


def test_a_bad_value_rejects_that_value_and_keeps_the_others_of_its_message():
    taken = take(observed(heart_rate="fast", spo2=97))
    (reading,) = taken.batch.readings
    assert reading.values == {"spo2": 97.0}
    ((path, reason),) = reasons(taken)
    assert path == "$.values.heart_rate"
    assert "number" in reason
    assert taken.batch.rejections[0].payload == observed(heart_rate="fast", spo2=97).payload


def test_a_bad_message_rejects_that_message_and_keeps_the_others_of_its_batch():
    bad = Message(topic("mon-2"), b"{", 2)
    taken = take(observed("mon-1"), bad, observed("mon-3"))
    assert [reading.device for reading in taken.batch.readings] == ["mon-1", "mon-3"]
    assert [device.id for device in taken.devices] == ["mon-1", "mon-3"]
    (rejection,) = taken.batch.rejections
    assert (rejection.topic, rejection.payload, rejection.path) == (bad.topic, b"{", "$")
    assert (rejection.site, rejection.device) == ("main", "mon-2")
    assert [(device.id, topic) for device, topic, _ in taken.rejecting] == [("mon-2", bad.topic)]
    assert taken.rejected_messages == 1


def test_a_topic_that_no_definition_takes_is_rejected_with_what_is_wrong_about_it():
    taken = take(Message("wards/v1/main/icu/mon 1/observations", body()))
    ((path, reason),) = reasons(taken)
    assert path == "$"
    assert reason.startswith("device: use 1 to 64 of the characters")
    assert taken.rejecting == [], "nobody to tell"


def test_what_a_message_has_wrong_is_told_up_to_a_number_and_the_rest_counted():
    names = {f"no_such_{number}": 1 for number in range(MAX_REASONS + 5)}
    ((_, reason),) = reasons(take(observed(**names)))
    assert reason.count("no_such_") >= MAX_REASONS
    assert reason.endswith("and 5 more")


def test_a_message_that_was_too_large_is_rejected_whatever_its_beginning_says():
    good = body().ljust(KEPT_BYTES)
    taken = take(Message(topic(), good, 1, full_size=3_000_000))
    assert taken.batch.readings == []
    ((_, reason),) = reasons(taken)
    assert reason.startswith("payload of 3000000 bytes is larger than the hub takes")
    assert f"first {KEPT_BYTES} bytes" in reason
    assert [device.id for device, _, _ in taken.rejecting] == ["mon-1"]


def test_the_same_reading_counts_once_however_often_it_comes():
    intake = make_intake()
    assert len(take(observed(), observed(), intake=intake).batch.readings) == 1
    again = take(observed(), intake=intake, at_ns=NOW + SECOND)
    assert (again.batch.readings, again.duplicates) == ([], 1)
    assert len(take(observed(seq=2), observed("mon-2"), intake=intake).batch.readings) == 2


def test_what_the_live_lane_brought_first_still_is_journalled_when_it_comes_to_be_kept():
    intake = make_intake()
    assert len(take(observed(), intake=intake, journalled=False).batch.readings) == 1
    assert len(take(observed(), intake=intake).batch.readings) == 1
    assert len(take(observed(), intake=intake, journalled=False).batch.readings) == 1


def test_two_messages_without_time_and_number_are_two_readings_even_if_they_say_the_same():
    taken = take(observed(time_ns=None, seq=None), observed(time_ns=None, seq=None))
    assert len(taken.batch.readings) == 2


def test_without_a_time_only_what_the_broker_marks_as_sent_again_is_a_duplicate():
    intake = make_intake()
    plain = observed(time_ns=None)
    marked = Message(plain.topic, plain.payload, 1, duplicate=True)
    assert len(take(plain, plain, intake=intake).batch.readings) == 2
    assert len(take(marked, marked, intake=intake).batch.readings) == 1


def test_two_messages_of_one_device_in_one_millisecond_keep_times_of_their_own():
    first, second = take(observed(seq=1), observed(seq=2)).batch.readings
    assert first.time_ns // 1_000_000 == second.time_ns // 1_000_000 == NOW // 1_000_000
    assert first.time_ns != second.time_ns


def test_statuses_alarms_sightings_and_waveforms_come_as_what_they_are_with_the_devices_time():
    time_ms = NOW // 1_000_000 - 500
    time = b'"time":%d' % time_ms
    taken = take(
        Message(
            topic(channel="status"), b'{"state":"online","battery":80,"interval":2,%b}' % time, retained=True
        ),
        Message(
            topic(channel="alarms"), b'{"alarms":[{"condition":"occlusion","state":"present"}],%b}' % time
        ),
        Message(topic(channel="sightings"), b'{"sightings":[{"beacon":"b-1","rssi":-60}],%b}' % time),
        Message(topic(channel="waveforms"), b'{"waveform":"pleth","rate":125,"samples":[1,2],%b}' % time),
    )
    assert reasons(taken) == []
    batch = taken.batch
    (status,), (alarm,) = batch.statuses, batch.device_alarms
    (sighting,), (waveform,) = batch.sightings, batch.waveforms
    assert (status.state, status.battery, status.interval_s, status.retained) == ("online", 80, 2, True)
    assert (alarm.condition, alarm.presence) == ("occlusion", "present")
    assert (sighting.gateway, sighting.beacon, sighting.rssi) == ("mon-1", "b-1", -60)
    assert (waveform.waveform, waveform.samples) == ("pleth", [1.0, 2.0])
    for one in (status, alarm, sighting, waveform):
        assert one.time_ns // 1_000_000 == time_ms
        assert one.received_ns == NOW


def test_more_devices_than_the_hub_is_set_to_know_are_rejected_and_the_known_ones_go_on():
    intake = make_intake(max_devices=2)
    taken = take(*(observed(f"mon-{number}") for number in range(4)), observed("mon-0", seq=2), intake=intake)
    assert [reading.device for reading in taken.batch.readings] == ["mon-0", "mon-1", "mon-0"]
    assert len(taken.batch.rejections) == 2
    assert all("raise line.max_devices" in one.reason for one in taken.batch.rejections)


def test_a_fault_of_the_hub_rejects_one_message_and_logs_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    roster, _ = make_roster()
    intake = Intake(roster, Duplicates(), ClockLimits())

    def fault(payload: bytes) -> list[object]:
        raise KeyError(payload.decode())

    endpoint = roster.endpoint(topic("mon-1"))
    assert endpoint is not None
    endpoint.decode = fault  # type: ignore[assignment]
    with caplog.at_level(logging.DEBUG):
        taken = intake.take([observed("mon-1", heart_rate=72), observed("mon-2")], NOW)
    assert [reading.device for reading in taken.batch.readings] == ["mon-2"]
    ((_, reason),) = reasons(taken)
    assert "replay the reject" in reason
    assert "KeyError" in caplog.text
    assert "heart_rate" not in caplog.text


@given(
    st.binary(max_size=200), st.sampled_from(["observations", "status", "alarms", "sightings", "waveforms"])
)
def test_any_bytes_are_used_or_rejected_with_a_reason(payload: bytes, channel: str) -> None:
    taken = take(Message(topic(channel=channel), payload, 1))
    batch = taken.batch
    used = [*batch.readings, *batch.statuses, *batch.device_alarms, *batch.sightings, *batch.waveforms]
    assert used or batch.rejections
    for rejection in batch.rejections:
        assert rejection.payload == payload
        assert rejection.reason
        assert rejection.path.startswith("$")

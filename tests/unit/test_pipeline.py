"""The line's promises, with a journal that can get stuck and a broker that counts its acknowledgements."""

import asyncio

import pytest
from line_parts import NOW, SECOND, MemorySession, Parts, observed, topic

from hub import acknowledgement
from hub.bedside import Bedside
from hub.intake import Taken, empty_batch
from hub.model import Message, Reading


def starts(parts):
    return [(device, condition) for event, device, condition in parts.told if event == "start"]


async def test_alarms_and_live_values_wait_for_no_journal_and_nothing_is_acknowledged_before_it():
    parts = Parts()
    parts.journal.stick()
    parts.line.receive(parts.session.deliver(observed(heart_rate=150)))
    assert starts(parts) == [("mon-1", "limit_high")], "told while the call lasts"
    assert parts.value() == 150
    await parts.settle()
    assert len(parts.journal.appended) == 1
    assert (parts.session.acks, parts.line.pending, parts.durable) == ([], 1, [])
    assert parts.line.counts.durable == 0
    parts.journal.free()
    await parts.settle()
    assert (parts.session.acks, parts.line.pending) == ([1], 0)
    assert len(parts.durable) == 1
    assert parts.line.counts.durable == 1


async def test_a_gateway_that_tells_of_beacons_alone_is_heard_and_not_silent():
    parts = Parts()
    birth = Message(topic("gw-1", "status"), b'{"state":"online","interval_s":2}')
    parts.line.receive(parts.session.deliver(birth), "a broker")
    for second in range(0, 60, 2):
        heard = b'{"seq":%d,"sightings":[{"beacon":"AC233F000001","rssi":-60}]}' % second
        at_ns = NOW + second * SECOND
        message = Message(topic("gw-1", "sightings"), heard, second + 1)
        parts.line.receive(parts.session.deliver(message, at_ns=at_ns), "a broker")
        parts.conditions.tick([parts.device("gw-1")], at_ns)
    assert parts.device("gw-1").received_ns == at_ns
    assert parts.told == []
    silent_ns = at_ns + 3600 * SECOND
    parts.conditions.tick([parts.device("gw-1")], silent_ns)
    assert parts.told == [("start", "gw-1", "device_silent")]


async def test_deliveries_are_acknowledged_in_the_order_in_which_they_came():
    parts = Parts()
    parts.journal.stick()
    for packet_id in range(1, 6):
        parts.line.receive(parts.session.deliver(observed(seq=packet_id, packet_id=packet_id)))
        await parts.settle()
    assert len(parts.journal.appended) == 5
    parts.journal.free(2)
    await parts.settle()
    assert parts.session.acks == [1, 2]
    parts.journal.free()
    await parts.settle()
    assert parts.session.acks == [1, 2, 3, 4, 5]


async def test_deliveries_of_one_moment_share_a_row_of_the_journal_and_lose_nothing():
    parts = Parts(keep_raw=True)
    other = MemorySession()
    for packet_id in range(1, 4):
        parts.line.receive(parts.session.deliver(observed(seq=packet_id, packet_id=packet_id)))
    parts.line.receive(other.deliver(observed("mon-2", packet_id=9), Message(topic("mon-2"), b"{", 10)))
    await parts.settle()
    (batch,) = parts.journal.appended
    assert [reading.seq for reading in batch.readings] == [1, 2, 3, 1]
    assert len(batch.rejections) == 1
    assert len(parts.journal.raw[0]) == 5
    assert (parts.session.acks, other.acks) == ([1, 2, 3], [9, 10])


async def test_a_full_row_goes_to_the_journal_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acknowledgement, "GATHER_MESSAGES", 3)
    monkeypatch.setattr(acknowledgement, "GATHER_S", 3600)
    parts = Parts()
    for packet_id in range(1, 4):
        parts.line.receive(parts.session.deliver(observed(seq=packet_id, packet_id=packet_id)))
    assert len(parts.journal.appended) == 1


async def test_brokers_are_held_back_while_too_much_is_pending_and_go_on_at_half_of_it():
    parts = Parts(max_pending=10)
    quick, slow = MemorySession(), MemorySession()
    parts.journal.stick()
    for number in range(5):
        parts.line.receive(quick.deliver(observed(seq=2 * number), observed(seq=2 * number + 1)))
        await parts.settle()
    assert (quick.paused, parts.line.pending) == (False, 10), "the bound itself is allowed"
    parts.line.receive(slow.deliver(observed("mon-2")))
    await parts.settle()
    assert (quick.paused, slow.paused) == (False, True), "who brings too much is held back"
    parts.line.receive(quick.deliver(observed(seq=100)))
    await parts.settle()
    assert quick.paused
    parts.journal.free(3)
    await parts.settle()
    assert (parts.line.pending, quick.paused, slow.paused) == (6, True, True)
    parts.journal.free(1)
    await parts.settle()
    assert (parts.line.pending, quick.paused, slow.paused) == (4, False, False)
    assert (quick.changes, slow.changes) == (["pause", "resume"], ["pause", "resume"])


async def test_large_payloads_hold_a_broker_back_long_before_their_number_does(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(acknowledgement, "MAX_PENDING_BYTES", 5_000_000)
    parts = Parts(max_pending=10_000)
    parts.journal.stick()
    delivered = 0
    while not parts.session.paused:
        delivered += 1
        assert delivered <= 6, "memory is not bounded"
        parts.line.receive(parts.session.deliver(Message(topic(), b"x" * 1_000_000, delivered)))
        await parts.settle()
    assert delivered == 6
    parts.journal.free()
    await parts.settle()
    assert (parts.session.paused, parts.session.acks) == (False, [1, 2, 3, 4, 5, 6])


async def test_a_duplicate_is_acknowledged_and_neither_journalled_nor_told_again():
    parts = Parts()
    parts.line.receive(parts.session.deliver(observed(heart_rate=150, packet_id=1)))
    parts.line.receive(parts.session.deliver(observed(heart_rate=150, packet_id=2), at_ns=NOW + SECOND))
    await parts.settle()
    assert sum(len(batch.readings) for batch in parts.journal.appended) == 1
    assert starts(parts) == [("mon-1", "limit_high")]
    assert parts.session.acks == [1, 2]
    assert parts.line.counts.duplicates == 1


async def test_the_live_lane_tells_at_once_and_journals_nothing_and_the_same_reading_is_told_once():
    parts = Parts()
    parts.journal.stick()
    parts.line.receive_live(parts.session.deliver(observed(heart_rate=150, packet_id=0)))
    assert starts(parts) == [("mon-1", "limit_high")]
    assert parts.value() == 150
    await parts.settle()
    assert parts.journal.appended == []
    assert (parts.line.counts.live_lane, parts.line.counts.messages, parts.line.pending) == (1, 0, 0)
    parts.line.receive(parts.session.deliver(observed(heart_rate=150)))
    await parts.settle()
    assert len(parts.journal.appended[0].readings) == 1
    assert len(starts(parts)) == 1


async def test_what_the_session_brings_late_moves_nothing_that_the_live_lane_has_shown():
    parts = Parts()
    parts.line.receive_live(parts.session.deliver(observed(time_ns=NOW, seq=9, heart_rate=72)))
    for seq in range(1, 5):
        late = observed(time_ns=NOW - (5 - seq) * SECOND, seq=seq, heart_rate=150)
        parts.line.receive(parts.session.deliver(late))
    await parts.settle()
    assert parts.value() == 72
    assert starts(parts) == []
    assert sum(len(batch.readings) for batch in parts.journal.appended) == 4, "but it is kept"


async def test_of_a_late_reading_only_what_nothing_newer_is_known_of_is_shown():
    parts = Parts()
    parts.line.receive(parts.session.deliver(observed(seq=2, heart_rate=72)))
    late = observed(time_ns=NOW - SECOND, seq=1, heart_rate=150, spo2=97, temperature=None)
    parts.line.receive(parts.session.deliver(late))
    assert (parts.value("heart_rate"), parts.value("spo2")) == (72, 97)
    assert parts.device().latest["temperature"].quality == "no-value"
    assert parts.device().time_ns // 1_000_000 == NOW // 1_000_000


async def test_readings_older_than_the_backlog_are_kept_and_never_alarmed():
    parts = Parts(backlog_s=60)
    old = observed(time_ns=NOW - 61 * SECOND, seq=1, heart_rate=150)
    parts.line.receive(parts.session.deliver(old))
    assert starts(parts) == []
    parts.line.receive(parts.session.deliver(observed(time_ns=NOW - 59 * SECOND, seq=2, heart_rate=150)))
    assert starts(parts) == [("mon-1", "limit_high")]
    await parts.settle()
    assert sum(len(batch.readings) for batch in parts.journal.appended) == 2


async def test_a_device_that_its_last_will_declared_dead_is_alive_with_its_next_fresh_reading():
    parts = Parts()
    will = Message(topic(channel="status"), b'{"state":"offline"}', 1)
    parts.line.receive(parts.session.deliver(observed(seq=1), at_ns=NOW))
    parts.line.receive(parts.session.deliver(will, at_ns=NOW + SECOND))
    parts.conditions.tick([parts.device()], NOW + 3 * SECOND)
    assert ("start", "mon-1", "device_offline") in parts.told
    # What it had sent before its will, however late it comes, brings it back to nobody.
    parts.line.receive(
        parts.session.deliver(observed(time_ns=NOW + SECOND // 2, seq=2), at_ns=NOW + 4 * SECOND)
    )
    assert ("end", "mon-1", "device_offline") not in parts.told
    assert parts.device().state == "offline"
    parts.line.receive(
        parts.session.deliver(observed(time_ns=NOW + 5 * SECOND, seq=3), at_ns=NOW + 5 * SECOND)
    )
    assert ("end", "mon-1", "device_offline") in parts.told
    assert parts.device().state is None


async def test_an_older_status_does_not_replace_a_newer_one():
    parts = Parts()

    def status(state: str, time_ns: int) -> Message:
        return Message(
            topic(channel="status"), b'{"state":"%b","time":%d}' % (state.encode(), time_ns // 1_000_000)
        )

    parts.line.receive(parts.session.deliver(status("online", NOW)))
    parts.line.receive(parts.session.deliver(status("offline", NOW - SECOND)))
    assert parts.device().state == "online"


async def test_an_alarm_that_a_device_raised_long_ago_is_kept_and_not_signalled():
    parts = Parts()

    def raised(time_ns: int) -> Message:
        text = b'{"alarms":[{"condition":"occlusion","state":"present"}],"time":%d}'
        return Message(topic(channel="alarms"), text % (time_ns // 1_000_000))

    parts.line.receive(parts.session.deliver(raised(NOW - 3600 * SECOND)))
    assert starts(parts) == []
    parts.line.receive(parts.session.deliver(raised(NOW)))
    assert starts(parts) == [("mon-1", "occlusion")]


async def test_what_can_not_be_used_is_told_journalled_as_a_reject_and_acknowledged():
    parts = Parts()
    parts.line.receive(parts.session.deliver(Message(topic(), b"{", 5)))
    await parts.settle()
    ((device, on, refused),) = parts.rejects
    assert (device, on) == ("mon-1", topic())
    assert refused[0].reason
    assert parts.device().rejected_ns == NOW
    assert len(parts.journal.appended[0].rejections) == 1
    assert parts.session.acks == [5]
    assert parts.line.counts.rejected == 1


async def test_messages_that_the_journal_can_not_record_as_they_are_are_kept_as_they_came():
    parts = Parts()
    parts.journal.refuses = True
    messages = [observed(seq=1, packet_id=1), observed("mon-2", packet_id=2)]
    parts.line.receive(parts.session.deliver(*messages))
    await parts.settle()
    (batch,) = parts.journal.appended
    assert batch.readings == []
    assert [(one.topic, one.payload) for one in batch.rejections] == [(m.topic, m.payload) for m in messages]
    assert parts.session.acks == [1, 2]
    assert parts.line.pending == 0


async def test_what_is_not_durable_when_the_journal_stops_is_never_acknowledged():
    parts = Parts()
    parts.journal.stick()
    parts.line.receive(parts.session.deliver(observed()))
    await parts.settle()
    parts.journal.stop()
    await parts.settle()
    assert parts.session.acks == []
    assert len(parts.journal.appended) == 1, "nor is it written anew"


async def test_what_the_line_did_is_counted():
    parts = Parts()
    parts.now_ns = NOW + SECOND // 4
    parts.line.receive(
        parts.session.deliver(
            observed(seq=1, heart_rate=72, spo2=97), observed(seq=1), Message(topic(), b"{", 3)
        )
    )
    await parts.settle()
    counts = parts.line.counts
    assert (counts.messages, counts.readings, counts.values) == (3, 1, 2)
    assert (counts.duplicates, counts.rejected, counts.durable) == (1, 1, 1)
    assert parts.waited_s == [0.25]


def test_two_channels_of_a_pump_at_one_time_show_a_value_each():
    parts = Parts()
    device = parts.roster.endpoint(topic()).device
    bedside = Bedside(
        roster=parts.roster,
        conditions=parts.conditions,
        live=parts.live,
        tell_rejects=lambda _device, _topic, _refused: None,
        backlog_ns=60 * SECOND,
        whereabouts=None,
    )
    batch = empty_batch(NOW)
    for channel, rate in (("a", 5.0), ("b", 20.0)):
        values = {"pump_flow_rate": rate}
        batch.readings.append(Reading("main", "mon-1", channel, NOW, NOW, NOW, 1, values))
    bedside.follow(Taken(batch, [device, device], []))
    assert (parts.value("pump_flow_rate", channel="a"), parts.value("pump_flow_rate", channel="b")) == (5, 20)


async def test_the_line_takes_a_batch_without_an_event_loop_turn():
    """Alarms are told within the call: nothing that another task does comes between."""
    parts = Parts()
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other")
    parts.line.receive(parts.session.deliver(*(observed(seq=n, heart_rate=150) for n in range(1, 50))))
    assert starts(parts) == [("mon-1", "limit_high")]
    assert ran == []
    await parts.settle()

import asyncio
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hub.alarms.alarm import Alarm
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.events import Scope, vitals_frame
from hub.stream import Stream, StreamFull

CONTRACTS = Path(__file__).parents[2] / "hub/contracts"
NOW = 1_790_000_000_000_000_000


def contract(event):
    schema = json.loads((CONTRACTS / f"stream-{event}.schema.json").read_text())
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


VALIDATORS = {name: contract(name) for name in ("alarm", "technical", "vitals", "reset", "heartbeat")}


def parse(text):
    """Parse server-sent events as the HTML standard says; check each against its contract."""
    events = []
    for block in text.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if "retry" in fields:
            continue
        data = json.loads(fields["data"])
        VALIDATORS[fields["event"]].validate(data)
        events.append((fields["event"], data, fields.get("id")))
    return events


async def until(condition):
    """Wait for what another thread or task brings about; fail when it never comes."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came")


class Reader:
    """A client that takes what there is."""

    def __init__(self, client):
        self.client = client
        self.frames = client.frames()
        self.events = []

    async def read(self, count):
        """Read until there are `count` events; return them."""
        while len(self.events) < count:
            self.events += parse(await anext(self.frames))
        taken, self.events = self.events[:count], self.events[count:]
        return taken

    async def rest(self):
        async for chunk in self.frames:
            self.events += parse(chunk)
        return self.events


def alarm(number=1, presence="present", kind="physiological", device="mon-1", site="main"):
    return Alarm(f"al-{number}", kind, "high", "limit_low", site, device, NOW, presence, "low", "spo2", 80.0)


@pytest.fixture
async def event_log(tmp_path):
    log = EventLog(Records(tmp_path / "alarms.sqlite"))
    await log.start()
    yield log
    await log.stop()


@pytest.fixture
def snapshots():
    return []


@pytest.fixture
async def make_stream(event_log, snapshots):
    def make(**options):
        def snapshot(scope):
            snapshots.append(scope)
            return vitals_frame("snapshot", NOW, [])

        stream = Stream("hub-1", event_log, snapshot, **options)
        stream.start()
        return stream

    return make


@pytest.fixture
def stream(make_stream):
    return make_stream()


async def raise_alarm(log, number=1, happening="start", ward="icu", **options):
    presence = "absent" if happening == "end" else "present"
    event = log.record(happening, NOW, alarm(number, presence, **options), ward=ward, bed="b", patient="pt")
    await until(lambda: log.last_sequence >= event.sequence)
    return event


def ids(events):
    return [event_id.rpartition("-")[2] for name, _, event_id in events if name in ("alarm", "technical")]


async def test_a_new_client_gets_every_present_alarm_and_then_a_snapshot(stream, event_log):
    await raise_alarm(event_log, 1)
    await raise_alarm(event_log, 2)
    await raise_alarm(event_log, 1, "end")
    reset, vitals = await Reader(stream.open(Scope())).read(2)
    assert reset[0] == "reset"
    assert [alarm["id"] for alarm in reset[1]["alarms"]] == ["al-2"]
    assert vitals[0] == "vitals"
    assert vitals[1]["kind"] == "snapshot"
    assert vitals[2] is None


async def test_the_stream_begins_with_how_soon_to_reconnect(stream):
    assert await anext(stream.open(Scope()).frames()) == b"retry: 1000\n\n"


async def test_a_physiological_change_is_an_alarm_event_and_a_technical_one_a_technical_event(
    stream, event_log
):
    reader = Reader(stream.open(Scope()))
    await reader.read(2)
    await raise_alarm(event_log, 1)
    await raise_alarm(event_log, 2, kind="technical")
    first, second = await reader.read(2)
    assert (first[0], second[0]) == ("alarm", "technical")
    assert first[2] == f"hub-1-{event_log.epoch}-1"
    assert first[1]["recorded"] is True


async def test_a_client_that_comes_back_gets_each_event_since_once_and_in_order(stream, event_log):
    first = await raise_alarm(event_log, 1)
    for number in range(2, 30):
        await raise_alarm(event_log, number)
    client = stream.open(Scope(), f"hub-1-{event_log.epoch}-{first.sequence}")
    await raise_alarm(event_log, 30)
    reader = Reader(client)
    events = await reader.read(30)
    assert ids(events) == [str(number) for number in range(2, 31)]
    assert [name for name, _, _ in events].count("reset") == 0
    assert ("vitals", "snapshot") in [(name, data.get("kind")) for name, data, _ in events]


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        "nonsense",
        "hub-1-00000000-1",
        "hub-2-{epoch}-1",
        "hub-1-{epoch}-99",
        "hub-1-{epoch}-x",
        "{epoch}-1",
    ],
)
async def test_an_id_that_is_unknown_or_of_the_future_gets_a_reset(stream, event_log, event_id):
    await raise_alarm(event_log, 1)
    reader = Reader(stream.open(Scope(), event_id.format(epoch=event_log.epoch)))
    reset, vitals = await reader.read(2)
    assert (reset[0], vitals[0]) == ("reset", "vitals")
    assert reset[1]["reason"] == "unknown event id"


async def test_a_hub_whose_name_ends_as_an_epoch_may_is_no_riddle(event_log):
    stream = Stream("a", event_log, lambda scope: b"")
    await raise_alarm(event_log, 1)
    assert stream._sequence_of(f"a-{event_log.epoch}-1") == 1


async def test_a_reconnect_with_the_id_of_a_reset_goes_on_without_another(stream, event_log):
    await raise_alarm(event_log, 1)
    (reset,) = await Reader(stream.open(Scope())).read(1)
    await raise_alarm(event_log, 1, "end")
    events = await Reader(stream.open(Scope(), reset[2])).read(2)
    assert [name for name, _, _ in events] == ["alarm", "vitals"]
    assert events[0][1]["event"] == "end"


async def test_too_many_events_since_the_id_are_a_reset(make_stream, event_log):
    stream = make_stream(max_replay=3)
    for number in range(1, 6):
        await raise_alarm(event_log, number)
    (event,) = await Reader(stream.open(Scope(), f"hub-1-{event_log.epoch}-1")).read(1)
    assert event[1]["reason"] == "too many events since this id"
    (event,) = await Reader(stream.open(Scope(), f"hub-1-{event_log.epoch}-2")).read(1)
    assert event[1]["sequence"] == 3


async def test_events_that_cannot_be_read_are_a_reset_not_a_gap(tmp_path):
    class BrokenDisk(Records):
        def after(self, sequence, limit):
            raise OSError("input/output error")

    log = EventLog(BrokenDisk(tmp_path / "alarms.sqlite"), recent=1)
    await log.start()
    stream = Stream("hub-1", log, lambda scope: vitals_frame("snapshot", NOW, []))
    stream.start()
    for number in range(1, 4):
        await raise_alarm(log, number)
    events = await Reader(stream.open(Scope(), f"hub-1-{log.epoch}-1")).read(2)
    assert [name for name, _, _ in events] == ["reset", "vitals"]
    assert len(events[0][1]["alarms"]) == 3
    await log.stop()


async def test_a_slow_client_starts_afresh_and_holds_nobody_up(make_stream, event_log):
    stream = make_stream(max_bytes=2000)
    slow, quick = Reader(stream.open(Scope())), Reader(stream.open(Scope()))
    await slow.read(2)
    await quick.read(2)
    for number in range(1, 21):
        await raise_alarm(event_log, number)
        assert ids(await quick.read(1)) == [str(number)]
    assert slow.client._bytes <= 2000
    assert stream.cut_back > 0
    reset, vitals = await slow.read(2)
    assert (reset[0], vitals[0]) == ("reset", "vitals")
    assert reset[1]["reason"] == "this client was too slow"
    assert len(reset[1]["alarms"]) == 20
    await raise_alarm(event_log, 21)
    assert ids(await slow.read(1)) == ["21"]


async def test_one_event_is_rendered_once_for_two_hundred_clients(stream, event_log):
    readers = [Reader(stream.open(Scope("main", "icu") if n % 2 else Scope())) for n in range(200)]
    for reader in readers:
        await reader.read(2)
    before = stream.rendered
    await raise_alarm(event_log, 1)
    for reader in readers:
        assert ids(await reader.read(1)) == ["1"]
    assert stream.rendered == before + 1


async def test_two_hundred_new_clients_share_one_rendering_of_the_reset(stream, event_log):
    await raise_alarm(event_log, 1)
    before = stream.rendered
    for _ in range(200):
        await Reader(stream.open(Scope())).read(2)
    assert stream.rendered == before + 1


async def test_a_client_of_one_ward_gets_its_own_alarms_and_those_of_no_known_ward(stream, event_log):
    reader = Reader(stream.open(Scope("main", "icu")))
    await reader.read(2)
    await raise_alarm(event_log, 1, ward="west")
    await raise_alarm(event_log, 2, ward="icu")
    await raise_alarm(event_log, 3, ward=None)
    await raise_alarm(event_log, 4, ward="icu", site="other")
    await raise_alarm(event_log, 5, ward=None, site="other", device="hub-1", kind="technical")
    assert ids(await reader.read(3)) == ["2", "3", "5"]


async def test_an_alarm_that_moves_to_another_ward_ends_where_it_began_too(stream, event_log):
    icu, west = Reader(stream.open(Scope("main", "icu"))), Reader(stream.open(Scope("main", "west")))
    await icu.read(2)
    await west.read(2)
    await raise_alarm(event_log, 1, ward="icu")
    await raise_alarm(event_log, 1, "update", ward="west")
    await raise_alarm(event_log, 1, "end", ward="west")
    assert ids(await icu.read(3)) == ["1", "2", "3"]
    assert ids(await west.read(2)) == ["2", "3"]
    again = Reader(stream.open(Scope("main", "icu"), f"hub-1-{event_log.epoch}-1"))
    assert ids(await again.read(1)) == ["3"]


async def test_a_reset_for_one_ward_holds_no_alarm_of_another(stream, event_log):
    await raise_alarm(event_log, 1, ward="west")
    await raise_alarm(event_log, 2, ward="icu")
    (reset,) = await Reader(stream.open(Scope("main", "icu"))).read(1)
    assert [alarm["id"] for alarm in reset[1]["alarms"]] == ["al-2"]


async def test_vitals_go_to_the_scope_they_were_rendered_for(stream):
    icu, all_wards = Reader(stream.open(Scope("main", "icu"))), Reader(stream.open(Scope()))
    await icu.read(2)
    await all_wards.read(2)
    assert set(stream.scopes()) == {Scope("main", "icu"), Scope()}
    stream.publish(vitals_frame("update", NOW, []), Scope("main", "icu"))
    (vitals,) = await icu.read(1)
    assert (vitals[0], vitals[2]) == ("vitals", None)
    stream.close()
    assert await all_wards.rest() == []


async def test_a_heartbeat_tells_the_last_event_and_carries_no_id(stream, event_log):
    reader = Reader(stream.open(Scope()))
    await reader.read(2)
    await raise_alarm(event_log, 1)
    stream.heartbeat(NOW, storing=True, lag_s=0.012)
    _, (name, data, event_id) = await reader.read(2)
    assert (name, data["sequence"], data["storing"], data["lag_s"], event_id) == (
        "heartbeat",
        1,
        True,
        0.012,
        None,
    )


async def test_without_a_canary_there_is_no_heartbeat(stream):
    reader = Reader(stream.open(Scope()))
    await reader.read(2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)


async def test_closing_the_stream_ends_every_client_after_what_was_queued(stream, event_log):
    reader = Reader(stream.open(Scope()))
    await reader.read(2)
    await raise_alarm(event_log, 1)
    stream.close()
    assert ids(await reader.rest()) == ["1"]
    assert [name for name, _, _ in await Reader(stream.open(Scope())).rest()] == ["reset", "vitals"]


async def test_the_number_of_clients_is_bounded_and_a_place_becomes_free_again(make_stream):
    stream = make_stream(max_clients=2)
    first, _ = stream.open(Scope()), stream.open(Scope())
    with pytest.raises(StreamFull, match="2 clients"):
        stream.open(Scope())
    stream.leave(first)
    stream.leave(first)
    assert stream.clients == 1
    stream.open(Scope())

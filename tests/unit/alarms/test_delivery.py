"""Alarms that leave the hub: a real HTTP server, a real SMTP conversation, a real event log."""

import asyncio
import email
import json
from contextlib import asynccontextmanager, suppress

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from hub.alarms.alarm import Alarm, Signal
from hub.alarms.book import Book
from hub.alarms.channels import Mail, MailSettings, Pagers, Webhook, WebhookSettings, signature
from hub.alarms.delivery import Delivery, DeliveryFailed
from hub.alarms.log import EventLog
from hub.alarms.records import Records

NOW = 1_795_488_192_000_000_000
HOUR = 3600 * 1_000_000_000
SECRET = "shared"


def alarm(number=1, priority="high", **known):
    text = "Oxygen saturation 70 % below 80 %"
    defaults = {"onset_ns": NOW, "presence": "present", "text": text, "parameter": "spo2", "value": 70.0}
    return Alarm(
        f"al-{number:016x}", "physiological", priority, "limit_low", "main", "mon-1", **{**defaults, **known}
    )


class Outside:
    """A folder with a hub's files, and everything that another system was told."""

    def __init__(self, folder):
        self.folder = folder
        self.told: list[int] = []
        self.refusals: list[DeliveryFailed] = []
        self.now_ns = NOW

    async def send(self, event, recorded):
        if self.refusals:
            raise self.refusals.pop(0)
        self.told.append(event.sequence)

    @asynccontextmanager
    async def hub(self, wants=lambda event: True):
        """Run a hub's log, book and delivery; leaving is a crash of the delivery."""
        log, book = EventLog(Records(self.folder / "alarms.sqlite")), Book(self.folder / "book.sqlite")
        await log.start()
        await book.start()
        delivery = Delivery(
            "other", log, book, self.send, wants=wants, longest_ns=HOUR, now_ns=lambda: self.now_ns
        )
        await delivery.start()
        running = asyncio.create_task(delivery.run())
        try:
            yield log, delivery
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await book.stop()
            await log.stop()

    async def until(self, count):
        for _ in range(1000):
            if len(self.told) >= count:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"told {self.told}, expected {count}")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    monkeypatch.setattr("hub.alarms.delivery._FIRST_RETRY_S", 0.01)
    return Outside(tmp_path)


async def test_every_event_is_delivered_once_and_in_sequence(outside):
    async with outside.hub() as (log, _):
        for number in range(1, 31):
            log.record("start", NOW, alarm(number))
        await outside.until(30)
    assert outside.told == list(range(1, 31))


async def test_what_the_other_side_doesnt_take_waits_and_comes_in_order(outside):
    outside.refusals = [DeliveryFailed("away") for _ in range(3)]
    async with outside.hub() as (log, delivery):
        for number in range(1, 4):
            log.record("start", NOW, alarm(number))
        await outside.until(3)
        assert delivery.failing is None
    assert outside.told == [1, 2, 3]


async def test_events_of_while_the_hub_was_down_are_delivered_after_its_start(outside):
    async with outside.hub() as (log, _):
        log.record("start", NOW, alarm(1))
        await outside.until(1)
    log = EventLog(Records(outside.folder / "alarms.sqlite"))
    await log.start()
    log.record("start", NOW, alarm(2))
    await log.stop()
    async with outside.hub():
        await outside.until(2)
    assert list(dict.fromkeys(outside.told)) == [1, 2], "at least once, in order"


async def test_a_crash_before_the_other_side_answered_tells_it_again_and_leaves_nothing_out(outside):
    outside.refusals = [DeliveryFailed("away")] * 500
    async with outside.hub() as (log, delivery):
        log.record("start", NOW, alarm(1))
        for _ in range(1000):
            if delivery.failing is not None:
                break
            await asyncio.sleep(0.005)
        assert delivery.failing == "away"
    outside.refusals = []
    async with outside.hub():
        await outside.until(1)
    assert outside.told == [1]


@pytest.mark.parametrize("refusal", ["for good", "too old"])
async def test_what_is_refused_for_good_or_too_old_is_given_up_counted_and_blocks_nothing(outside, refusal):
    outside.refusals = [DeliveryFailed("no", retry=refusal == "too old")]
    outside.now_ns = NOW + 2 * HOUR if refusal == "too old" else NOW
    async with outside.hub() as (log, delivery):
        log.record("start", NOW, alarm(1))
        log.record("start", NOW, alarm(2))
        await outside.until(1)
        assert delivery.given_up == 1
    assert outside.told == [2]


async def test_only_what_is_wanted_is_delivered(outside):
    async with outside.hub(wants=lambda event: event.alarm.priority == "high") as (log, _):
        for number, priority in enumerate(("low", "high", "medium", "high"), start=1):
            log.record("start", NOW, alarm(number, priority))
        await outside.until(2)
    assert outside.told == [2, 4]


class Receiver:
    """An HTTP server that answers what it is told to."""

    def __init__(self):
        self.requests: list[tuple[dict, bytes]] = []
        self.status = 204

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((headers, body))
        writer.write(f"HTTP/1.1 {self.status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver():
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()
    await server.wait_closed()


def webhook(port, **known):
    return Webhook(
        WebhookSettings(url=f"http://127.0.0.1:{port}/alarms?ward=icu", secret=SecretStr(SECRET), **known)
    )


async def event_of(tmp_path, happening="start", signal=Signal(priority="high"), **known):  # noqa: B008 - frozen
    log = EventLog(Records(tmp_path / "one.sqlite"))
    await log.start()
    event = log.record(
        happening, NOW, alarm(**known), ward="icu", bed="icu-01", patient="pt-1", signal=signal
    )
    await log.stop()
    return event


async def test_a_webhook_is_signed_over_time_and_body(receiver, tmp_path):
    event = await event_of(tmp_path)
    await webhook(receiver.port).send(event, recorded=True)
    ((headers, body),) = receiver.requests
    stamp, mac = (part.partition("=")[2] for part in headers["wardhub-signature"].split(","))
    assert mac == signature(SECRET.encode(), stamp, body)
    assert mac != signature(b"another", stamp, body)
    assert headers["wardhub-sequence"] == "1"
    told = json.loads(body)
    assert (told["event"], told["alarm"]["bed"], told["recorded"]) == ("start", "icu-01", True)
    assert told["alarm"]["signal"]["presence"] == "on"


@pytest.mark.parametrize(
    ("status", "retry"), [(500, True), (503, True), (429, True), (401, True), (400, False)]
)
async def test_a_refusal_is_tried_again_unless_it_is_for_good(receiver, tmp_path, status, retry):
    receiver.status = status
    with pytest.raises(DeliveryFailed, match=str(status)) as refused:
        await webhook(receiver.port).send(await event_of(tmp_path), recorded=True)
    assert refused.value.retry is retry


async def test_a_webhook_that_isnt_there_is_tried_again(unused_port, tmp_path):
    with pytest.raises(DeliveryFailed) as refused:
        await webhook(unused_port).send(await event_of(tmp_path), recorded=True)
    assert refused.value.retry


@pytest.fixture
async def unused_port():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


class Postbox:
    """Just enough of an SMTP server."""

    def __init__(self):
        self.mails: list[email.message.Message] = []

    async def serve(self, reader, writer):
        writer.write(b"220 postbox\r\n")
        while line := await reader.readline():
            verb = line.decode().split()[0].upper()
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(email.message_from_bytes(data))
                writer.write(b"250 taken\r\n")
            elif verb == "QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 fine\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def postbox():
    postbox = Postbox()
    server = await asyncio.start_server(postbox.serve, "127.0.0.1", 0)
    postbox.port = server.sockets[0].getsockname()[1]
    yield postbox
    server.close()
    await server.wait_closed()


def mail(port, **known):
    return Mail(
        MailSettings(
            host="127.0.0.1", port=port, security="none", sender="hub@ward", to=("nurses@ward",), **known
        )
    )


async def test_a_mail_names_priority_ward_bed_and_who_is_asked_and_never_the_patient(postbox, tmp_path):
    event = await event_of(tmp_path, signal=Signal(priority="high", assigned="Ann"))
    await mail(postbox.port).send(event, recorded=True)
    (sent,) = postbox.mails
    assert sent["Subject"] == "[high] icu icu-01: Oxygen saturation 70 % below 80 %"
    body = sent.get_payload()
    assert "Asked to respond: Ann" in body
    assert "secondary notification" in body
    assert "pt-1" not in body


@pytest.mark.parametrize(
    ("happening", "signal", "wanted"),
    [
        ("start", Signal(priority="high"), True),
        ("reassigned", Signal(priority="high"), True),
        ("start", Signal(priority="medium"), False),
        ("start", Signal("off", "high", due_ns=1), False),
        ("re-alarmed", Signal(priority="high", activation="off"), False),
        ("acknowledged", Signal("acknowledged", "high"), False),
        ("end", Signal("off", "high"), False),
    ],
)
async def test_a_mail_goes_out_when_somebody_is_asked_to_come(tmp_path, happening, signal, wanted):
    assert mail(25).wants(await event_of(tmp_path, happening, signal)) is wanted


class Broker:
    def __init__(self):
        self.messages: list[tuple[str, dict, bool]] = []
        self.full = False

    def publish(self, topic, payload, retain):
        if self.full:
            return False
        self.messages.append((topic, json.loads(payload), retain))
        return True


async def test_pagers_get_every_event_at_once_and_the_list_of_an_area_retained(tmp_path):
    broker = Broker()
    pagers = Pagers(broker.publish, lambda site, device: "icu")
    pagers.take(await event_of(tmp_path), recorded=True)
    (topic, event, retained), (list_topic, active, list_retained) = broker.messages
    assert (topic, retained) == ("wards/v1/main/icu/hub/alarm-events", False)
    assert event["event"] == "start"
    assert (list_topic, list_retained) == ("wards/v1/main/icu/hub/active-alarms", True)
    assert [one["id"] for one in active["alarms"]] == [event["alarm"]["id"]]


async def test_the_list_holds_what_is_signalled_and_is_empty_when_all_is_over(tmp_path):
    broker = Broker()
    pagers = Pagers(broker.publish, lambda site, device: "icu")
    shown = []
    for happening, signal in (
        ("start", Signal(priority="high")),
        ("signal-off", Signal(priority="high", activation="off")),
        ("re-alarmed", Signal(priority="high")),
        ("end", Signal("off", "high")),
    ):
        pagers.take(await event_of(tmp_path, happening, signal), recorded=True)
        pagers.flush()
        shown.append(len(broker.messages[-1][1]["alarms"]))
    assert shown == [1, 0, 1, 0]


async def test_what_a_full_publisher_doesnt_take_is_offered_again_in_order(tmp_path):
    broker = Broker()
    pagers = Pagers(broker.publish, lambda site, device: "icu")
    broker.full = True
    pagers.take(await event_of(tmp_path), recorded=True)
    pagers.take(await event_of(tmp_path, "acknowledged"), recorded=True)
    pagers.flush()
    assert broker.messages == []
    broker.full = False
    pagers.flush()
    assert [message[1].get("event") for message in broker.messages] == ["start", "acknowledged", None]


async def test_a_list_is_published_at_once_and_while_it_goes_on_changing_with_each_flush(tmp_path):
    broker = Broker()
    pagers = Pagers(broker.publish, lambda site, device: "icu")
    for number, priority in enumerate(("high", "low", "medium")):
        signal = Signal(priority=priority)
        pagers.take(await event_of(tmp_path, signal=signal, number=number, priority=priority), True)
    lists = [message for topic, message, _ in broker.messages if topic.endswith("active-alarms")]
    assert [len(one["alarms"]) for one in lists] == [1]
    pagers.flush()
    pagers.flush()
    lists = [message for topic, message, _ in broker.messages if topic.endswith("active-alarms")]
    assert [len(one["alarms"]) for one in lists] == [1, 3]


async def test_a_list_that_no_broker_would_take_holds_the_most_urgent_and_says_how_many_more(tmp_path):
    broker = Broker()
    pagers = Pagers(broker.publish, lambda site, device: "icu")
    event = await event_of(tmp_path, signal=Signal(priority="low"))
    urgent = replace(event, alarm=replace(event.alarm, id="al-0"), signal=Signal(priority="high"))
    many = [
        replace(event, alarm=replace(event.alarm, id=f"al-{number}", device=f"mon-{number}"))
        for number in range(1, 2001)
    ]
    pagers.restore([*many, urgent])
    pagers.flush()
    (_, active, _) = broker.messages[-1]
    assert len(json.dumps(active)) < 1 << 19
    assert active["alarms"][0]["id"] == "al-0"
    assert active["more"] == 2001 - len(active["alarms"]) > 0


async def test_a_message_to_pagers_names_the_first_thousand_devices_of_a_lost_broker(tmp_path):
    broker = Broker()
    pagers = Pagers(broker.publish, lambda site, device: "icu")
    event = await event_of(tmp_path)
    devices = tuple(f"mon-{number}" for number in range(50_000))
    pagers.take(replace(event, alarm=replace(event.alarm, devices=devices)), True)
    (_, told, _), (_, active, _) = broker.messages
    assert len(told["alarm"]["devices"]) == len(active["alarms"][0]["devices"]) == 1000

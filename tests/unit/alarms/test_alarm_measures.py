"""What Prometheus is told of alarms, read from the real log, signals, pagers and delivery."""

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.alarms.book import Book
from hub.alarms.channels import Pagers
from hub.alarms.conditions import Conditions
from hub.alarms.delivery import Delivery, DeliveryFailed
from hub.alarms.limits import load_limits
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.signals import Signals
from hub.device import Device
from hub.measures import measure_alarms
from hub.metrics import Metrics
from hub.model import Reading

NOW = 1_795_488_192_000_000_000
LIMITS = load_limits().of("adult")


@pytest.fixture
async def hub(tmp_path):
    log, book, metrics = EventLog(Records(tmp_path / "alarms.sqlite")), Book(tmp_path / "b.sqlite"), Metrics()
    await log.start()
    await book.start()

    async def send(event, _):
        if event.sequence == 1:
            raise DeliveryFailed("refused", retry=False)
        await asyncio.Event().wait()  # the other side doesn't answer

    delivery = Delivery("station", log, book, send, wants=lambda _: True, longest_ns=NOW, now_ns=lambda: NOW)
    await delivery.start()
    running = asyncio.create_task(delivery.run())
    pagers = Pagers(lambda *_: False, lambda *_: "icu")
    signals = Signals(log.record, LIMITS.policy)
    conditions = Conditions(lambda _: LIMITS, signals.tell)
    alarms = SimpleNamespace(deliveries=[delivery], pagers=pagers)
    measure_alarms(SimpleNamespace(metrics=metrics, log=log, alarms=alarms))

    def read():
        families = text_string_to_metric_families(metrics.render().decode())
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

    yield SimpleNamespace(
        log=log, conditions=conditions, signals=signals, delivery=delivery, read=read, pagers=pagers
    )
    running.cancel()
    await asyncio.wait([running])
    await book.stop()
    await log.stop()


async def test_what_nobody_has_answered_is_counted_by_priority(hub):
    values = {"spo2": 70.0, "heart_rate": 130.0, "respiratory_rate": 40.0}
    device = Device("main", "mon-1", "icu", "native", 1.0)
    reading = Reading("main", "mon-1", "observations", NOW, NOW, NOW, 1, values, None)
    hub.conditions.observe(device, reading, NOW)
    await hub.log.told(3)
    assert hub.read()["hub_alarms_unanswered", "high"] == 1
    assert hub.read()["hub_alarms_unanswered", "medium"] == 2
    (urgent,) = [event.alarm.id for event in hub.log.present() if event.alarm.priority == "high"]
    hub.signals.acknowledge(urgent, "nurse-1", NOW)
    hub.signals.switch_off(hub.log.present()[1].alarm.id, "nurse-1", "known", NOW + 10**9, NOW)
    await hub.log.told(5)
    read = hub.read()
    assert (read["hub_alarms_unanswered", "high"], read["hub_alarms_unanswered", "medium"]) == (0, 1)
    assert (read["hub_alarms_present",], read["hub_alarm_events_total",]) == (3, 5)


async def test_what_a_channel_has_not_taken_or_never_took_is_counted(hub):
    device = Device("main", "mon-1", "icu", "native", 1.0)
    for condition in ("clock_off", "rejects", "gateway_lost"):
        hub.conditions.technical(device, condition, True, condition, NOW)
    await hub.log.told(3)
    async with asyncio.timeout(10):
        while not hub.delivery.given_up:
            await asyncio.sleep(0.005)
    read = hub.read()
    assert read["hub_alarm_channel_given_up_total", "station"] == 1
    assert read["hub_alarm_channel_waiting", "station"] == 2
    hub.pagers.dropped = 4
    assert hub.read()["hub_pager_events_dropped_total",] == 4

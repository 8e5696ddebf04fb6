"""`kill -9` between any two steps of raise, store, notify and acknowledge."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HUB = """
import asyncio, json, sys
from pathlib import Path
from hub.alarms.book import Book
from hub.alarms.conditions import Conditions
from hub.alarms.delivery import Delivery
from hub.alarms.limits import load_limits
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.signals import Signals
from hub.device import Device
from hub.model import Reading

folder, person = Path(sys.argv[1]), sys.argv[2] == "acts"
NOW, SECOND = 1_795_488_192_000_000_000, 1_000_000_000
VALUES = [{"spo2": 70.0}, {"heart_rate": 130.0}, {"heart_rate": 80.0}, {"spo2": 71.0}]
LIMITS = load_limits().of("adult")


def say(what):
    print(what, flush=True)


async def main():
    log, book = EventLog(Records(folder / "alarms.sqlite")), Book(folder / "book.sqlite")
    await log.start()
    await book.start()
    told = (folder / "told.jsonl").open("a")

    async def send(event, recorded):
        told.write(json.dumps([event.alarm.id, event.event, event.sequence]) + "\\n")
        told.flush()

    delivery = Delivery("other", log, book, send, wants=lambda _: True, longest_ns=10**18, now_ns=lambda: NOW)
    await delivery.start()
    running = asyncio.create_task(delivery.run())
    signals = Signals(log.record, LIMITS.policy)
    present = log.present()
    recent = [one.event for one in await log.after(0, 10_000)]
    signals.restore(present, recent)
    conditions = Conditions(lambda _: LIMITS, signals.tell)
    device = Device("main", "mon-1", "icu", "native", 1.0)
    for event in present:
        conditions.restore(device, event.alarm)
    for second, values in enumerate(VALUES):  # the broker sends again what was not acknowledged
        time_ns = NOW + second * SECOND
        reading = Reading("main", "mon-1", "observations", time_ns, time_ns, time_ns, 1, values, None)
        conditions.observe(device, reading, time_ns)
        if second == 1 and person:
            alarm = next(e.alarm.id for e in signals._entries.values() if e.alarm.parameter == "spo2")
            say("asks")
            acknowledged = signals.acknowledge(alarm, "Ann", time_ns)
            if await log.told(acknowledged.sequence):
                say("answered")
    for tick in range(8):
        signals.tick(NOW + (4 + tick) * SECOND)
    await log.told(log._sequence)
    while delivery._cursor < log.last_sequence:
        await asyncio.sleep(0.005)
    running.cancel()
    await log.stop()
    await book.stop()
    say("done")

asyncio.run(main())
"""


def run(folder, person, failpoint=""):
    environment = {**os.environ, "HUB_FAILPOINT": failpoint}
    command = [sys.executable, "-c", HUB, str(folder), person]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=60, cwd=Path.cwd()
    )


LIVES = """
import asyncio, json, sys
from hub.alarms.log import EventLog
from hub.alarms.records import Records

async def main():
    log = EventLog(Records(__import__("pathlib").Path(sys.argv[1]) / "alarms.sqlite"))
    await log.start()
    events = [one.event for one in await log.after(0, 10_000)]
    rows = [[e.sequence, e.alarm.id, e.event, e.alarm.parameter, e.signal.presence, e.who] for e in events]
    print(json.dumps(rows))
    await log.stop()

asyncio.run(main())
"""


def log_of(folder):
    done = subprocess.run(
        [sys.executable, "-c", LIVES, str(folder)], check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout)


STEPS = [
    *(f"alarm:numbered:{n}" for n in (1, 2, 3, 4)),
    *(f"alarm:written:{n}" for n in (1, 2)),
    *(f"alarm:told:{n}" for n in (1, 2, 3, 4)),
    *(f"alarm:sent:{n}" for n in (1, 2, 4)),
    "alarm:noted:1",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_any_two_steps_loses_no_alarm_and_acknowledges_none(tmp_path, step):
    first = run(tmp_path, "acts", step)
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = run(tmp_path, "watches")
    assert second.stdout.split()[-1:] == ["done"], second.stderr
    events = log_of(tmp_path)
    assert [event[0] for event in events] == list(range(1, len(events) + 1))
    starts = [event[1] for event in events if event[2] == "start"]
    assert len(starts) == len(set(starts)), "an alarm is started once"
    assert {event[3] for event in events if event[2] == "start"} == {"spo2", "heart_rate"}
    newest = {event[3]: event for event in events if event[2] != "commented"}
    assert newest["heart_rate"][2] == "end"
    assert newest["spo2"][4] in ("on", "acknowledged")
    acknowledged = [event for event in events if event[2] == "acknowledged"]
    if "answered" in first.stdout:
        assert newest["spo2"][4] == "acknowledged", "who was answered need not ask again"
    if "asks" not in first.stdout:
        assert acknowledged == [], "nobody acknowledged"
    assert {event[5] for event in acknowledged} <= {"Ann"}
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert {(alarm, what) for alarm, what, _ in told} >= {(event[1], event[2]) for event in events}


def test_without_a_kill_the_same_comes_out(tmp_path):
    done = run(tmp_path, "acts")
    assert done.stdout.split() == ["asks", "answered", "done"], done.stderr
    assert [(event[2], event[3]) for event in log_of(tmp_path)] == [
        ("start", "spo2"),
        ("start", "heart_rate"),
        ("acknowledged", "spo2"),
        ("end", "heart_rate"),
    ]

"""The vendor's page: each example is run, and what it publishes is what the hub takes."""

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from hub.devices.catalog import Catalog
from hub.devices.check import check
from hub.preview import Previewer
from tests.servers import mosquitto

pytestmark = pytest.mark.integration
PAGE = Path(__file__).parents[2] / "docs" / "vendors" / "README.md"
EXAMPLES = PAGE.parent / "examples"


class Listener:
    """Everything that was published, as the hub would show it."""

    def __init__(self):
        self.shown = []
        self._previewer = Previewer(Catalog.load())

    def take(self, topic, payload):
        self.shown.append(self._previewer.show(topic, payload))

    def values(self, device):
        return [value for one in self.shown for value in one["readings"] if value["device"] == device]

    def rejects(self):
        return [reject for one in self.shown for reject in one["rejects"]]

    def states(self, device):
        statuses = [status for one in self.shown for status in one["statuses"]]
        return [status["state"] for status in statuses if status["device"] == device]


@asynccontextmanager
async def listening(broker):
    listener = Listener()
    ready = asyncio.Event()

    async def listen():
        while True:
            try:
                async with aiomqtt.Client("127.0.0.1", broker.port) as client:
                    await client.subscribe("#", qos=1)
                    ready.set()
                    async for message in client.messages:
                        listener.take(message.topic.value, message.payload)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)

    task = asyncio.create_task(listen())
    await ready.wait()
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run(*command, broker, **settings):
    environment = {
        **os.environ,
        "BROKER": f"127.0.0.1:{broker.port}",
        "PORT": str(broker.port),
        "EVERY_S": "0.02",
        **settings,
    }
    return await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def until(condition):
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.05)


async def test_the_monitor_publishes_what_the_hub_takes_and_says_when_it_goes(tmp_path):
    with mosquitto(tmp_path) as broker:
        async with listening(broker) as heard:
            outbox = {"OUTBOX": str(tmp_path / "outbox.sqlite"), "READINGS": "5"}
            done = await run(sys.executable, str(EXAMPLES / "monitor_paho.py"), broker=broker, **outbox)
            _, errors = await done.communicate()
            assert done.returncode == 0, errors
            await until(lambda: heard.states("acme-7") == ["online", "offline"])
            assert heard.rejects() == []
            assert heard.states("acme-7") == ["online", "offline"]
            rates = [v for v in heard.values("acme-7") if v["parameter"] == "heart_rate"]
            assert len(rates) == 5
            temperature = next(v for v in heard.values("acme-7") if v["parameter"] == "temperature")
            assert temperature["value"] == pytest.approx(36.78, abs=0.01)


async def test_the_monitor_loses_nothing_while_the_broker_is_away(tmp_path):
    with mosquitto(tmp_path) as broker:
        async with listening(broker) as heard:
            outbox = {"OUTBOX": str(tmp_path / "outbox.sqlite"), "READINGS": "60"}
            running = await run(sys.executable, str(EXAMPLES / "monitor_paho.py"), broker=broker, **outbox)
            await until(lambda: len(heard.values("acme-7")) > 10)
            broker.stop()
            await asyncio.sleep(0.5)
            broker.start()
            _, errors = await running.communicate()
            assert running.returncode == 0, errors
            await until(lambda: _seqs(heard) >= 50)
            assert heard.rejects() == []
    # What came while this test's own listener was reconnecting is not seen here; nothing waits in the outbox.
    assert sqlite3.connect(tmp_path / "outbox.sqlite").execute("SELECT count(*) FROM reading").fetchone() == (
        0,
    )


def _seqs(heard):
    return len([v for v in heard.values("acme-7") if v["parameter"] == "heart_rate"])


async def test_the_gateway_publishes_each_device_on_its_own_topic(tmp_path):
    with mosquitto(tmp_path) as broker:
        async with listening(broker) as heard:
            done = await run(
                sys.executable, str(EXAMPLES / "gateway_aiomqtt.py"), broker=broker, READINGS="4"
            )
            _, errors = await done.communicate()
            assert done.returncode == 0, errors
            await until(lambda: len(heard.values("acme-13")) >= 8)
            assert heard.rejects() == []
            assert heard.states("acme-gw-1")[0] == "online"
            for device in ("acme-11", "acme-12", "acme-13"):
                assert [v["parameter"] for v in heard.values(device)] == ["heart_rate", "spo2"] * 4


async def test_every_one_liner_publishes_what_the_hub_takes(tmp_path):
    if shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not on this machine")
    with mosquitto(tmp_path) as broker:
        async with listening(broker) as heard:
            done = await run("sh", str(EXAMPLES / "one-liners.sh"), broker=broker)
            _, errors = await done.communicate()
            assert done.returncode == 0, errors
            lines = (EXAMPLES / "one-liners.sh").read_text().count("\nmosquitto_pub")
            await until(lambda: len(heard.shown) == lines)
            assert len(heard.shown) == lines
            assert heard.rejects() == []
            kinds = {kind for one in heard.shown for kind in one if one[kind] and isinstance(one[kind], list)}
            assert {"readings", "statuses", "alarms", "waveforms", "sightings"} <= kinds


HARNESS = r"""
#include <stdio.h>
#include <string.h>
#include "firmware.c"
static char ring[16][256];
static int first, last, tries, acks;
static unsigned counter;
bool mqtt_connect(const char *id, const char *topic, const char *will, bool retained) {
  (void)id;
  printf("%s\t%s\n", topic, will);
  return retained && ++tries > 1;
}
bool mqtt_publish(const char *topic, const char *payload, int qos, bool retained) {
  (void)qos, (void)retained;
  if (++acks == 3) return false;
  printf("%s\t%s\n", topic, payload);
  return true;
}
int64_t clock_ms(void) { return 1795488192123LL + counter; }
bool ring_push(const char *payload) {
  if (last == 16) return false;
  strcpy(ring[last++], payload);
  return true;
}
bool ring_peek(char *payload, int size) {
  if (first == last) return false;
  snprintf(payload, size, "%s", ring[first]);
  return true;
}
void ring_pop(void) { first++; }
uint32_t counter_next(void) { return ++counter; }
void sleep_ms(int ms) { (void)ms; }
int main(void) {
  setup("main", "icu", "acme-fw");
  measured(72, true, 97);
  measured(71, false, 0);
  measured(70, true, 96);
  run("acme-fw", 6);
  return first == 3 ? 0 : 1;
}
"""


def test_the_firmware_compiles_and_keeps_what_was_not_acknowledged(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is on this machine")
    shutil.copy(EXAMPLES / "firmware.c", tmp_path)
    (tmp_path / "main.c").write_text(HARNESS)
    program = tmp_path / "firmware"
    command = [
        compiler,
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(program),
        str(tmp_path / "main.c"),
    ]
    subprocess.run(command, check=True, timeout=60)
    printed = subprocess.run([str(program)], check=True, timeout=10, capture_output=True, text=True).stdout
    heard = Listener()
    for line in printed.splitlines():
        topic, payload = line.split("\t")
        heard.take(topic, payload.encode())
    assert heard.rejects() == []
    told = [(v["value"], v["quality"]) for v in heard.values("acme-fw") if v["parameter"] == "spo2"]
    assert told == [(97.0, "valid"), (None, "no-value"), (96.0, "valid")]


def test_the_example_definition_is_under_forty_lines_and_reads_a_format_that_nobody_knows():
    text = (EXAMPLES / "acme-scale.toml").read_text()
    assert len(text.splitlines()) < 40
    assert text in PAGE.read_text(), "the page shows another text than the file"
    assert check([EXAMPLES / "acme-scale.toml"]) == []
    route = Catalog.load(files=[EXAMPLES / "acme-scale.toml"]).resolve("acme/icu/scale-1/data")
    payload = {
        "when": 1795488192,
        "sensors": [
            {"kind": "W", "reading": 71.5, "fault": False},
            {"kind": "T", "reading": -1, "fault": True, "faultText": "probe out"},
            {"kind": "Z", "reading": 5},
        ],
    }
    observed, *others = route.decode(json.dumps(payload).encode())
    assert observed.values == {"body_weight": 71.5, "temperature": None}
    assert [type(item).__name__ for item in others] == ["AlarmSent", "AlarmSent", "Refused"]


def test_the_pages_payload_is_one_that_the_hub_takes():
    payloads = re.findall(r"```json\n(.+?)\n```", PAGE.read_text(), re.DOTALL)
    assert payloads
    heard = Listener()
    for payload in payloads:
        heard.take("wards/v1/main/icu/acme-1/observations", payload.encode())
    assert heard.rejects() == []
    assert heard.values("acme-1")

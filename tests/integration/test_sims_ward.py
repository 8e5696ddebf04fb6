"""`ward-sims ward` and the devices' own MQTT client against real brokers."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_sims.client import DeviceClient, probe
from device_sims.devices.device import Publication
from device_sims.errors import BrokerError
from device_sims.target import parse_target
from tests.servers import embedded_broker, free_port, mosquitto
from tests.sims_watcher import Watcher, until

pytestmark = pytest.mark.integration


def ward(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_sims.cli", "ward", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_a_ward_publishes_every_device_and_its_first_patient_leaves_the_limits(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path) as server:
        watcher = await asyncio.to_thread(Watcher, server.port)
        url = f"mqtt://127.0.0.1:{server.port}"
        done = await asyncio.to_thread(
            ward, "--broker", url, "--beds", 2, "--seconds", 8, "--json", "--waveforms", 1
        )
        assert done.returncode == 0, done.stderr
        await watcher.has("wards/v1/main/icu/mon-icu-02/status", 2)
        watcher.stop()
    summary = json.loads(done.stdout)
    assert summary["acknowledged"] == summary["published"]
    assert summary["devices"] == 7, "two monitors, a ventilator with three pumps, a pump"
    assert [truth["device"] for truth in summary["known_truth"]] == ["mon-icu-01"]
    rates = [o["values"]["heart_rate"] for o in watcher.of("wards/v1/main/icu/mon-icu-01/observations")]
    assert rates[0] < 120 < rates[-1]
    assert watcher.of("wards/v1/main/icu/pump-icu-02/observations")
    assert watcher.of("wards/v1/main/icu/vent-icu-01/observations")
    assert watcher.of("wards/v1/main/icu/mon-icu-01/waveforms")
    states = [status["state"] for status in watcher.of("wards/v1/main/icu/mon-icu-02/status")]
    assert states == ["online", "offline"]


def test_an_interrupted_ward_says_farewell(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        command = [sys.executable, "-m", "device_sims.cli", "ward", "--broker", server.url, "--beds", "1"]
        running = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True)
        watcher = Watcher(server.port)
        while not watcher.of("wards/v1/main/icu/mon-icu-01/observations"):
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=30)
        watcher.stop()
    assert running.returncode == 0
    summary = json.loads(output)
    assert summary["acknowledged"] == summary["published"]
    assert watcher.of("wards/v1/main/icu/mon-icu-01/status")[-1]["state"] == "offline"


def test_a_wrong_address_and_an_unknown_scenario_are_one_message_each() -> None:
    unreachable = ward("--broker", f"mqtt://127.0.0.1:{free_port()}")
    unknown = ward("--scenario", "nothing")
    assert (unreachable.returncode, unknown.returncode) == (3, 2)
    assert len(unreachable.stderr.splitlines()) == len(unknown.stderr.splitlines()) == 1


async def test_a_device_keeps_its_backlog_while_the_broker_is_away_and_sends_it_in_order(
    tmp_path: Path,
) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        target = parse_target(server.url)
        will = Publication("d/status", b'{"state":"offline"}', 1, retain=True)
        client = DeviceClient(
            target, "d", will=will, birth=lambda: [Publication("d/status", b'{"state":"online"}')]
        )
        running = asyncio.create_task(client.run())
        for number in range(50):
            client.publish(Publication("d/o", json.dumps(number).encode()))
        await client.flushed()
        server.kill()
        await until(lambda: not client.connected)
        for number in range(50, 150):
            client.publish(Publication("d/o", json.dumps(number).encode()))
        assert client.waiting == 100
        server.start()
        watcher = Watcher(server.port)
        await client.flushed()
        received = await watcher.has("d/o", 100)
        running.cancel()
        watcher.stop()
    assert received == list(range(50, 150))
    assert client.acknowledged == client.published == 152
    assert client.dropped == 0
    assert client.connects == 2


async def test_a_full_backlog_drops_the_oldest_and_counts_it(tmp_path: Path) -> None:
    client = DeviceClient(parse_target("mqtt://127.0.0.1:1"), "d", backlog=10)
    for number in range(25):
        client.publish(Publication("d/o", json.dumps(number).encode()))
    assert client.dropped == 15
    with mosquitto(tmp_path) as server:
        client = DeviceClient(parse_target(server.url), "d", backlog=10)
        for number in range(25):
            client.publish(Publication("d/o", json.dumps(number).encode()))
        watcher = Watcher(server.port)
        running = asyncio.create_task(client.run())
        received = await watcher.has("d/o", 10)
        await client.flushed()
        running.cancel()
        watcher.stop()
    assert received == list(range(15, 25))


async def test_a_device_that_vanishes_leaves_its_will_and_one_that_ends_does_not(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        watcher = Watcher(server.port)
        will = Publication("d/status", b'{"state":"offline"}')
        client = DeviceClient(parse_target(server.url), "d", will=will)
        running = asyncio.create_task(client.run())
        await until(lambda: client.connected)
        client.vanish()
        assert len(await watcher.has("d/status", 1)) == 1
        client.come_back()
        await until(lambda: client.connected)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        marker = DeviceClient(parse_target(server.url), "d")  # takes over the same client id
        after = asyncio.create_task(marker.run())
        marker.publish(Publication("d/marker", b"1"))
        await watcher.has("d/marker", 1)
        after.cancel()
        watcher.stop()
    assert len(watcher.of("d/status")) == 1


async def test_a_port_that_speaks_no_mqtt_is_told_as_such() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(BrokerError, match="is it the broker's port"):
        await probe(parse_target(f"mqtt://127.0.0.1:{port}"))
    server.close()
    await server.wait_closed()

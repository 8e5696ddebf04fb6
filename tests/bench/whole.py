"""The whole hub in a process of its own: CPU a message, memory, alarm latency, throughput."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import aiomqtt
import psutil

from hub.devices.catalog import Catalog
from hub.mqtt.session import BrokerAddress, Delivery, Session
from tests.crash.hub_process import HubProcess
from tests.crash.probe import AlarmProbe
from tests.servers import embedded_broker, mosquitto

DEVICES = 10_000
RATE = 5_000.0
HOSPITAL_RATE = 10_000.0
"""Each of the devices once a second."""
SECONDS = 40
WARM_UP_S = 50
ALARMS = 150
FAN_IN = 200_000
FAN_INS = 3
"""Of each subscriber; the middle one counts: one takes a second or two, and any neighbour disturbs it."""
OUTSTANDING = 40_000
"""So many messages of a fan-in are published and not yet taken, at most."""
DAY_BY_DAY = ("hub_new_devices_waiting", "hub_live_lane_open", "hub_alarms_present")
"""All 0 once the hub knows its devices, has closed the live lane of its start, and finds none silent."""


async def measure_steady(folder: Path) -> dict[str, float]:
    """10,000 devices, 5,000 messages of six values a second, every part on, one nurse station and a probe.

    Then the CPU at 10,000 messages a second: a message costs less, the more of them share a wake-up.
    """
    hub = HubProcess(folder)
    hub.start()
    await hub.ready()
    load = await _generator(hub.broker_url, count=round(RATE * (WARM_UP_S + SECONDS)), rate=RATE)
    ends_s = time.monotonic() + WARM_UP_S + SECONDS
    await _settled(hub)
    process = psutil.Process(hub.pid)
    cpu_before, messages_before = _cpu_s(process), hub.metric("hub_messages_total")
    probe = AlarmProbe(hub.broker_url, hub.url, hub.headers)
    await probe.run(ALARMS, pause_s=(SECONDS - 8) / ALARMS)
    if time.monotonic() > ends_s:
        raise RuntimeError(f"the hub did not come to rest within {WARM_UP_S} s of its start")
    # Both looks are made under the same load: the drains are as far behind at the one as at the other.
    messages = hub.metric("hub_messages_total") - messages_before
    cpu_s = _cpu_s(process) - cpu_before
    done = await _finish(load)
    hospital_us = await _cpu_us_per_message(hub, process, HOSPITAL_RATE)
    await hub.drained()
    rss_mb = process.memory_info().rss / 1e6
    hub.stop()
    if probe.missing:
        raise RuntimeError(f"{probe.missing} alarms never came")
    latencies_ms = sorted(latency_s * 1000 for latency_s in probe.latencies_s)
    return {
        "hub_cpu_us_per_message": cpu_s / messages * 1e6,
        "hub_cpu_us_per_message_hospital": hospital_us,
        "alarm_p50_ms": latencies_ms[len(latencies_ms) // 2],
        "alarm_p99_ms": latencies_ms[int(len(latencies_ms) * 0.99)],
        "rss_mb_10k_devices": rss_mb,
        "steady_messages_per_s": done["acknowledged"] / done["seconds"],
    }


async def _cpu_us_per_message(hub: HubProcess, process: psutil.Process, rate: float) -> float:
    """Return the CPU of the hub a message at this rate, over 15 s."""
    load = await _generator(hub.broker_url, count=round(rate * 25), rate=rate)
    await asyncio.sleep(5)
    cpu_before, messages_before = _cpu_s(process), hub.metric("hub_messages_total")
    await asyncio.sleep(15)
    messages, cpu_s = hub.metric("hub_messages_total") - messages_before, _cpu_s(process) - cpu_before
    await _finish(load)
    return cpu_s / messages * 1e6


async def measure_throughput(folder: Path, broker: str) -> dict[str, float]:
    """Fan-in as fast as it is taken: messages/s of the hub, all on, over those of a bare subscriber.

    The bare subscriber is the hub's own session, which does nothing but acknowledge; another one is aiomqtt,
    as a program would use it that is written in a minute.

    What is published waits for what is taken: else a queue grows in the broker, and a hub that is two seconds
    behind opens its live lane and does everything twice.
    """
    filters = tuple(Catalog.load().filters)
    async with _broker(folder, broker, filters) as url:
        bare = await _bare(url, filters)
        plain = await _bare_aiomqtt(url)
    other = folder / "with-hub"
    other.mkdir()
    async with _broker(other, broker, filters) as url:
        with_hub = await _hub(other, url)
    return {
        f"throughput_ratio_{broker}": with_hub / bare,
        f"throughput_times_aiomqtt_{broker}": with_hub / plain,
        f"bare_{broker}_messages_per_s": bare,
        f"bare_aiomqtt_{broker}_messages_per_s": plain,
        f"hub_{broker}_messages_per_s": with_hub,
    }


async def _bare(url: str, filters: tuple[str, ...]) -> float:
    """Return messages/s of a session that does nothing but acknowledge."""
    received = 0

    def take(delivery: Delivery) -> None:
        nonlocal received
        received += len(delivery.messages)
        delivery.acknowledge()

    session = Session(BrokerAddress(url=url), client_id="bare", filters=filters, deliver=take)
    running = asyncio.create_task(session.run())
    await session.wait_connected(10)
    rates = [await _paced_fan_in(url, lambda: received, look_s=0.01) for _ in range(FAN_INS)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return median(rates)


async def _bare_aiomqtt(url: str) -> float:
    """Return messages/s of an aiomqtt client that counts what it acknowledges."""
    address = BrokerAddress(url=url)
    received = 0

    async def take(client: aiomqtt.Client) -> None:
        nonlocal received
        async for _ in client.messages:
            received += 1

    async with aiomqtt.Client(address.host, address.port, identifier="plain") as client:
        await client.subscribe("wards/v1/+/+/+/observations", qos=1)
        running = asyncio.create_task(take(client))
        rates = [await _paced_fan_in(url, lambda: received, look_s=0.01) for _ in range(FAN_INS)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return median(rates)


async def _hub(folder: Path, url: str) -> float:
    """Return messages/s until the hub's journal holds them all."""
    hub = HubProcess(folder, broker_url=url)
    hub.start()
    await hub.ready()
    warm_up = await _generator(url, count=round(RATE * WARM_UP_S), rate=RATE)
    await _settled(hub)
    warm_up.terminate()
    await warm_up.wait()
    rates = []
    for _ in range(FAN_INS):
        await hub.drained()
        # Each answer costs the hub some milliseconds, and the bench as many.
        rates.append(
            await _paced_fan_in(url, lambda: int(hub.metric("hub_durable_readings_total")), look_s=0.2)
        )
    hub.stop()
    return median(rates)


async def _paced_fan_in(url: str, taken: Callable[[], int], look_s: float) -> float:
    """Publish until all is taken, OUTSTANDING ahead of it, and return messages/s.

    `taken` tells how many messages the subscriber has taken, those of before included.
    """
    before = taken()
    load = await _generator(url, count=FAN_IN, paced=True)
    assert load.stdin is not None
    assert load.stdout is not None
    await load.stdout.readline()  # it is connected
    began = time.monotonic()
    published = 0
    while (by_now := taken() - before) < FAN_IN:
        if load.returncode:
            raise RuntimeError(f"the generator ended with {load.returncode}, {by_now} of {FAN_IN} taken")
        if published < FAN_IN:
            published = by_now + OUTSTANDING
            load.stdin.write(b"%d\n" % published)
            await asyncio.sleep(look_s)
        else:
            await asyncio.sleep(look_s / 4)  # so that the end is seen when it comes
    took_s = time.monotonic() - began
    await _finish(load)
    return FAN_IN / took_s


async def _settled(hub: HubProcess) -> None:
    """Wait until the hub is as it is day by day; its devices must be sending."""
    while any(hub.metric(name) for name in DAY_BY_DAY):
        await asyncio.sleep(0.5)


@asynccontextmanager
async def _broker(folder: Path, kind: str, filters: tuple[str, ...]) -> AsyncIterator[str]:
    if kind == "mosquitto":
        with mosquitto(folder, persistence=False) as server:
            yield server.url
    else:
        async with embedded_broker(folder, filters=filters) as nats:
            yield nats.url


async def _generator(
    url: str, *, count: int, rate: float = 0.0, paced: bool = False
) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.bench.generator", url, "--devices", str(DEVICES)]
    command += ["--count", str(count), "--rate", str(rate)]
    command += ["--paced"] if paced else []
    return await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def _finish(process: asyncio.subprocess.Process) -> dict[str, float]:
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the generator failed")
    done: dict[str, float] = json.loads(out)
    return done


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system

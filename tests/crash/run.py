"""The crash test: publishers that remember what was acknowledged, a hub that is killed in every way."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx
from msgspec import Struct

from hub.devices.catalog import Catalog
from tests.crash.backlog import publish_backlog
from tests.crash.hub_process import HubProcess
from tests.crash.probe import AlarmProbe
from tests.crash.publishers import Publishers
from tests.databases import Server, victoria_metrics
from tests.servers import embedded_broker

FAILPOINTS = (
    "line:taken",
    "line:told",
    "journal:before-write",
    "journal:before-commit",
    "journal:after-commit",
    "line:durable",
    "line:acknowledged",
    "drain:before-write",
    "duckdb:before-commit",
    "drain:after-write",
    "drain:after-advance",
)
"""One between every two steps of the line, the journal and the drain."""

Say = Callable[[str], None]


class Size(Struct, frozen=True):
    """How much of everything."""

    random_kills: int
    failpoint_rounds: int
    broker_kills: int
    outages: int
    outage_s: float
    devices: int
    backlog: int
    """Messages, spread over the hour before."""
    disk_alarms: int
    """Alarms that are timed while the journal is full."""
    backlog_alarms: int
    """Alarms that are timed while the backlog drains."""


LONG = Size(20, 3, 5, 3, 10.0, 25, 360_000, 60, 40)
SHORT = Size(2, 1, 1, 1, 3.0, 10, 60_000, 10, 10)


class Result(Struct):
    """What `build/crash.json` holds."""

    hub_kills: int = 0
    broker_kills: int = 0
    store_outages: int = 0
    acknowledged: int = 0
    """Readings PUBACKed to a publisher."""
    stored: int = 0
    """Readings that another process read from the DuckDB file."""
    lost: int = 0
    """Acknowledged readings that the DuckDB file, or VictoriaMetrics, does not have."""
    doubled: int = 0
    late_alarms: int = 0
    """Of fresh readings: over a second, or missing, while the journal was full or a backlog drained."""
    alarms_timed: int = 0
    alarm_max_ms: float = 0.0


async def run_all(folder: Path, size: Size, say: Say, chosen: Sequence[str] | None = None) -> Result:
    """Run every part, or the chosen ones; each has a hub and data of its own."""
    result = Result()
    parts: list[tuple[str, Callable[[Path, Size, Result, Say], Awaitable[None]]]] = [
        ("kills", kills_and_outages),
        ("full", full_disk),
        ("backlog", backlog),
    ]
    for name, part in parts:
        if chosen and name not in chosen:
            continue
        part_folder = folder / name
        part_folder.mkdir()
        await part(part_folder, size, result, say)
    return result


async def kills_and_outages(folder: Path, size: Size, result: Result, say: Say) -> None:
    """Kill the hub at random and at each failpoint, its broker, and the second store, all under load."""
    victoria = victoria_metrics(folder)
    victoria.start()
    hub = HubProcess(
        folder,
        settings=f"""[[stores]]
kind = "duckdb"
[[stores]]
kind = "victoriametrics"
url = "{victoria.url}"
""",
    )
    hub.start()
    await hub.ready()
    publishers = Publishers(hub.broker_url, size.devices, period_s=0.02)
    publishing = asyncio.create_task(publishers.run())
    chance = random.Random(4711)
    try:
        for number in range(size.random_kills):
            await asyncio.sleep(chance.uniform(0.5, 2.5))
            hub.kill()
            result.hub_kills += 1
            say(f"kill {number + 1} of the hub; {publishers.count} acknowledged")
            hub.start()
            await hub.ready()
        hub.stop()
        for number in range(size.failpoint_rounds):
            for failpoint in FAILPOINTS:
                hub.start(f"{failpoint}:{chance.randint(5, 30)}")
                if not await hub.dead(60):
                    raise RuntimeError(f"the hub never passed {failpoint}")
                result.hub_kills += 1
                say(f"kill at {failpoint}, round {number + 1}; {publishers.count} acknowledged")
        hub.start()
        await hub.ready()
        for number in range(size.broker_kills):
            await asyncio.sleep(chance.uniform(1, 3))
            os.kill(hub.broker_pid(), signal.SIGKILL)
            result.broker_kills += 1
            say(f"kill {number + 1} of the broker; {publishers.count} acknowledged")
            await hub.ready()
        for number in range(size.outages):
            await asyncio.sleep(1)
            victoria.kill()
            await asyncio.sleep(size.outage_s)
            victoria.start()
            result.store_outages += 1
            say(f"outage {number + 1} of VictoriaMetrics; {publishers.count} acknowledged")
        await asyncio.sleep(1)
    finally:
        publishers.stop()
        await publishing
    await hub.drained()
    await compare(folder, hub, publishers, result, say)
    missing = await _missing_in_victoria(victoria, publishers)
    say(f"VictoriaMetrics lacks {missing}")
    result.lost += missing
    victoria.stop()


async def full_disk(folder: Path, size: Size, result: Result, say: Say) -> None:
    """Fill the journal while the only store is away; alarms go on, and everything arrives when it is back."""
    victoria = victoria_metrics(folder)
    hub = HubProcess(
        folder,
        settings=f"""[journal]
quota_mb = 1
raw_mb = 0
[[stores]]
kind = "victoriametrics"
settle_s = 5
url = "{victoria.url}"
""",
    )
    hub.start()
    await hub.ready()
    publishers = Publishers(hub.broker_url, 10 * size.devices, period_s=0.05)
    publishing = asyncio.create_task(publishers.run())
    try:
        began = time.monotonic()
        while await asyncio.to_thread(hub.metric, "hub_journal_ok"):
            if time.monotonic() - began > 120:
                raise RuntimeError("the journal was never full")
            await asyncio.sleep(0.5)
        say(f"the journal is full after {time.monotonic() - began:.0f} s")
        # The lane opens when the hub has noticed that nothing becomes durable.
        await asyncio.sleep(3)
        probe = AlarmProbe(hub.broker_url, hub.url, hub.headers)
        await probe.run(size.disk_alarms)
        if await asyncio.to_thread(hub.metric, "hub_journal_ok"):
            raise RuntimeError("the journal was not full any more")
        _note(probe, result, say, "the journal was full")
        victoria.start()
        result.store_outages += 1
    finally:
        publishers.stop()
        await publishing
    await hub.drained()
    result.acknowledged += publishers.count
    result.lost += await _missing_in_victoria(victoria, publishers)
    result.stored += publishers.count - result.lost
    hub.stop()
    victoria.stop()


async def backlog(folder: Path, size: Size, result: Result, say: Say) -> None:
    """Let an hour's messages wait at the broker while the hub is away; time alarms while they drain."""
    async with embedded_broker(folder, filters=tuple(Catalog.load().filters)) as broker:
        hub = HubProcess(folder, broker_url=broker.url)
        hub.start()
        await hub.ready()
        hub.stop()
        published = await publish_backlog(broker.url, size.backlog)
        say(f"{size.backlog} messages wait at the broker")
        hub.start()
        await hub.ready()
        probe = AlarmProbe(broker.url, hub.url, hub.headers)
        await probe.run(size.backlog_alarms)
        left = size.backlog - await asyncio.to_thread(hub.metric, "hub_durable_readings_total")
        _note(probe, result, say, f"the backlog drained ({max(0, left):.0f} left at the end)")
        await hub.drained(300)
        await compare(folder, hub, published, result, say)


def _note(probe: AlarmProbe, result: Result, say: Say, while_: str) -> None:
    result.late_alarms += probe.late
    result.alarms_timed += len(probe.latencies_s) + probe.missing
    longest_ms = max(probe.latencies_s, default=0) * 1000
    result.alarm_max_ms = max(result.alarm_max_ms, round(longest_ms, 1))
    say(
        f"while {while_}: {len(probe.latencies_s)} alarms, the slowest {longest_ms:.0f} ms, "
        f"{probe.missing} missing"
    )


async def compare(folder: Path, hub: HubProcess, publishers: Publishers, result: Result, say: Say) -> None:
    """Stop the hub and let another process read its DuckDB file."""
    hub.stop()
    file = folder / "hub" / "series.duckdb"
    read = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.read_store", str(file), stdout=subprocess.PIPE
    )
    out, _ = await read.communicate()
    if read.returncode:
        raise RuntimeError("the store's file can't be read")
    stored: dict[str, set[tuple[int, int]]] = {}
    for line in out.decode().splitlines():
        device, time_ms, seq, times = line.split("\t")
        stored.setdefault(device, set()).add((int(time_ms), int(seq)))
        if device in publishers.acknowledged:
            result.stored += int(times)
            result.doubled += int(times) - 1
    lost = sum(len(acked - stored.get(device, set())) for device, acked in publishers.acknowledged.items())
    result.acknowledged += publishers.count
    result.lost += lost
    say(f"{publishers.count} acknowledged, {lost} lost, {result.doubled} doubled so far")


async def _missing_in_victoria(victoria: Server, publishers: Publishers) -> int:
    """Ask VictoriaMetrics itself, which shows what it took some seconds later. It keeps milliseconds."""
    missing = 0
    for _ in range(30):
        missing = 0
        stored = await _times_in_victoria(victoria)
        for device, acked in publishers.acknowledged.items():
            missing += len({time_ms for time_ms, _ in acked} - stored.get(device, set()))
        if not missing:
            break
        await asyncio.sleep(1)
    return missing


async def _times_in_victoria(victoria: Server) -> dict[str, set[int]]:
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(
            f"{victoria.url}/api/v1/export", params={"match[]": "vitals_heart_rate", "start": "0"}
        )
    answer.raise_for_status()
    times: dict[str, set[int]] = {}
    for line in answer.text.splitlines():
        series = json.loads(line)
        times.setdefault(series["metric"]["device"], set()).update(series["timestamps"])
    return times

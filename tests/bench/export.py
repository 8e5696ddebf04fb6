"""What an export takes from alarms: a day of readings is exported while alarms are measured."""

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
import httpx

from hub.model import Batch, Reading
from hub.stores.duckdb import DuckDBStore
from tests.crash.hub_process import HubProcess
from tests.crash.probe import AlarmProbe
from tests.crash.publishers import SITE, topic

DEVICES = [f"export-{number}" for number in range(20)]
DAY_S = 86_400
ALARMS = 100
PAUSE_S = 0.2


async def measure_export(folder: Path) -> dict[str, float]:
    """Alarm latency (ms) while a day of DEVICES, a reading a second each, is exported."""
    hub = HubProcess(folder)
    await _fill(hub.data / "series.duckdb")
    hub.start()
    await hub.ready()
    await _introduce(hub)
    async with httpx.AsyncClient(base_url=f"{hub.url}/fhir", headers=hub.headers, timeout=30) as client:
        while (await client.get("/Device?_summary=count")).json()["total"] < len(DEVICES):
            await asyncio.sleep(0.2)
        begun = await client.get("/$export?_type=Observation")
        begun.raise_for_status()
        job = begun.headers["content-location"]
        probe = AlarmProbe(hub.broker_url, hub.url, hub.headers)
        await probe.run(ALARMS, pause_s=PAUSE_S)
        state = await client.get(job)
        await client.delete(job)
    hub.stop()
    if probe.missing or state.status_code != 202:
        raise RuntimeError(f"{probe.missing} alarms never came; the export answers {state.status_code}")
    latencies_ms = sorted(latency_s * 1000 for latency_s in probe.latencies_s)
    told = state.headers["x-progress"].partition(", ")[2].partition(" ")[0]
    return {
        "fhir_export_alarm_p99_ms": latencies_ms[int(len(latencies_ms) * 0.99)],
        "fhir_export_resources_per_s": float(told.replace(",", "")) / (ALARMS * PAUSE_S),
    }


async def _fill(path: Path) -> None:
    """Lay out a store with a day of readings of devices that the hub is about to meet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store = DuckDBStore(path)
    await store.start()
    now_ns = time.time_ns() // 1_000_000 * 1_000_000
    first = [
        Reading(SITE, name, "observations", now_ns, 0, now_ns, 0, {"heart_rate": 70.0, "spo2": 97.0})
        for name in DEVICES
    ]
    await store.write([(0, Batch(1, now_ns, first, [], [], [], [], []))])
    fill = f"""
    INSERT INTO readings BY NAME
    SELECT (1 + n % {len(DEVICES)})::INTEGER AS _device,
        {now_ns // 1_000_000} - (1 + n // {len(DEVICES)}) * 1000 AS _time_ms,
        0 AS _sub, 50000000 AS _received, 1 AS _channel, 0 AS _seq,
        (60 + n % 40)::DOUBLE AS heart_rate, 97.0 AS spo2
    FROM range({len(DEVICES) * DAY_S}) AS made(n)
    """
    await store._do(lambda db: db.execute(fill).fetchall())
    await store.stop()


async def _introduce(hub: HubProcess) -> None:
    """Let every device send once, so that the hub knows it."""
    parts = urlsplit(hub.broker_url)
    async with aiomqtt.Client(parts.hostname or "", parts.port or 1883, identifier="introduce") as client:
        for name in DEVICES:
            payload = {"time": time.time_ns() // 1_000_000, "seq": 1, "values": {"heart_rate": 70}}
            await client.publish(topic(name), json.dumps(payload), qos=1)

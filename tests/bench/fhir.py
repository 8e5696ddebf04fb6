"""What FHIR costs: rendering, a search of 1,000 Observations, $lastn, and what searches take from ingest."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from pathlib import Path
from statistics import median

import httpx
import psutil

from hub.fhir.observation import Attribution, groups_in, observation
from hub.model import Reading
from hub.stores.duckdb import DuckDBStore
from tests.bench.whole import DEVICES, _cpu_s, _finish, _generator
from tests.crash.hub_process import HubProcess
from tests.fhir_check import model
from tests.fhir_hub import MINUTE, NOW, SECOND, fhir_hub, vitals

STORED = 100_000_000
"""Readings in the store that $lastn is asked of."""
SEARCHES_PER_S = 20
MOST_RUNNING = 40
"""Searches that wait for their answer at once; beyond it the next ones are left out."""
FAN_IN = 100_000
ROUNDS = 3
_VITALS = {
    "heart_rate": 72.0,
    "spo2": 97.0,
    "respiratory_rate": 15.0,
    "temperature": 36.8,
    "nibp_systolic": 120.0,
    "nibp_diastolic": 80.0,
}


async def measure_fhir(folder: Path, stored: int = STORED) -> dict[str, float]:
    """Measure all four; `stored` readings lie in the store for $lastn."""
    figures = measure_rendering()
    for name, measure in (("search", measure_search), ("lastn", lambda at: measure_lastn(at, stored))):
        at = folder / name
        at.mkdir()
        figures |= await measure(at)
    at = folder / "ingest"
    at.mkdir()
    return figures | await measure_ingest(at)


def measure_rendering() -> dict[str, float]:
    """Microseconds for one Observation as JSON bytes, and how many times that building and dumping takes."""
    reading = Reading("main", "mon-1", "observations", NOW, 0, NOW, 1, dict(_VITALS), None)
    groups, mine = groups_in(reading), Attribution("pt-1", "stay-1")

    def fastest_us(render: object, rounds: int) -> float:
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(rounds):
                for group in groups:
                    render(group)  # type: ignore[operator]
            best = min(best, (time.perf_counter() - began) / rounds / len(groups))
        return best * 1e6

    ours = fastest_us(lambda group: observation(reading, group, mine), 500)
    theirs = fastest_us(lambda group: model(reading, group, "pt-1", "stay-1").model_dump_json(), 50)
    return {"fhir_render_us": ours, "fhir_render_ratio": theirs / ours}


async def measure_search(folder: Path) -> dict[str, float]:
    """Milliseconds for 1,000 Observations of one patient by code, the newest first."""
    async with fhir_hub(folder) as hub:
        who = await hub.admit("Ann", "icu-01")
        await hub.write(*(vitals(n, NOW - 50 * MINUTE + n * SECOND) for n in range(2000)))
        async with await hub.client() as client:
            took = await _median_ms(
                client, "/Observation", {"patient": who, "code": "8867-4", "_count": "1000"}, 1000
            )
    return {"fhir_search_1000_ms": took}


async def measure_lastn(folder: Path, stored: int) -> dict[str, float]:
    """Milliseconds for a patient's $lastn among the readings of a thousand devices, `stored` in all."""
    async with fhir_hub(folder) as hub:
        who = await hub.admit("Ann", "icu-01")
        await hub.write(
            *(vitals(n, NOW - 30 * MINUTE + n * SECOND, **_VITALS) for n in range(0, 1700, 100)),
            *(vitals(n, NOW - 30 * MINUTE + n * SECOND, temperature=36.5, acvpu="A") for n in range(9)),
        )
        await _fill(hub.store, stored)
        asked = {"patient": who, "category": "vital-signs"}
        async with await hub.client() as client:
            running = await _median_ms(client, "/Observation/$lastn", asked, 5)
        hub.forget()
        async with await hub.client("it", "other") as client:
            restarted = await _median_ms(client, "/Observation/$lastn", asked, 5)
    return {"fhir_lastn_ms": running, "fhir_lastn_after_restart_ms": restarted}


async def _fill(store: DuckDBStore, stored: int) -> None:
    """Add readings of a thousand devices, once a second each until now, as their arrival orders them."""
    fill = f"""
    INSERT INTO readings BY NAME
    SELECT (1000 + n % 1000)::INTEGER AS _device,
        {NOW // 1_000_000} - ({stored} - n) // 1000 * 1000 AS _time_ms,
        0 AS _sub, 50000000 AS _received, 1 AS _channel, n AS _seq,
        (60 + n % 40)::DOUBLE AS heart_rate, 97.0 AS spo2, 14.0 AS respiratory_rate
    FROM range({stored}) AS made(n)
    """
    await store._do(lambda db: db.execute(fill).fetchall())


async def _median_ms(client: httpx.AsyncClient, path: str, parameters: dict[str, str], least: int) -> float:
    took = []
    for _ in range(12):
        began = time.perf_counter()
        answer = await client.get(path, params=parameters, headers={"Accept-Encoding": "identity"})
        took.append((time.perf_counter() - began) * 1000)
        found = len(answer.json().get("entry", ()))
        if answer.status_code != 200 or found < least:
            raise RuntimeError(f"{path}: {answer.status_code}, {found} of {least} entries")
    return median(took[2:])


async def measure_ingest(folder: Path) -> dict[str, float]:
    """By how much the line's throughput falls while SEARCHES_PER_S searches of 20 Observations run."""
    hub = HubProcess(folder)
    hub.start()
    await hub.ready()
    await _finish(await _generator(hub.broker_url, count=2 * DEVICES))
    await hub.drained()
    quiet: list[tuple[float, float]] = []
    searched: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        quiet.append(await _throughput(hub))
        searching = asyncio.create_task(_search(hub))
        searched.append(await _throughput(hub))
        searching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await searching
    hub.stop()
    fastest, fastest_searched = max(rate for rate, _ in quiet), max(rate for rate, _ in searched)
    cpu, cpu_searched = min(cpu for _, cpu in quiet), min(cpu for _, cpu in searched)
    return {
        "ingest_drop_percent": 100 * (1 - fastest_searched / fastest),
        # As above, but in CPU time of the hub: what other work on the machine doesn't blur.
        "ingest_cpu_drop_percent": 100 * (1 - cpu / cpu_searched),
        "ingest_messages_per_s": fastest,
    }


async def _throughput(hub: HubProcess) -> tuple[float, float]:
    """Return messages/s until all are durable, and CPU microseconds of the hub for each."""
    process = psutil.Process(hub.pid)
    cpu_before_s = _cpu_s(process)
    before = hub.metric("hub_durable_readings_total")
    began = time.monotonic()
    load = asyncio.create_task(_finish(await _generator(hub.broker_url, count=FAN_IN)))
    while hub.metric("hub_durable_readings_total") - before < FAN_IN:
        await asyncio.sleep(0.05)
    took_s = time.monotonic() - began
    cpu_s = _cpu_s(process) - cpu_before_s
    await load
    await hub.drained()
    return FAN_IN / took_s, cpu_s / FAN_IN * 1e6


async def _answered(request: Awaitable[httpx.Response]) -> None:
    (await request).raise_for_status()


async def _search(hub: HubProcess) -> None:
    """Ask for the newest 20 Observations of one device after another, SEARCHES_PER_S times a second."""
    async with httpx.AsyncClient(base_url=f"{hub.url}/fhir", headers=hub.headers, timeout=30) as client:
        devices = [one["resource"]["id"] for one in (await client.get("/Device?_count=200")).json()["entry"]]
        running: set[asyncio.Task[None]] = set()
        try:
            await _ask(client, devices, running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _ask(client: httpx.AsyncClient, devices: list[str], running: set[asyncio.Task[None]]) -> None:
    number, due = 0, time.monotonic()
    while True:
        number, due = number + 1, due + 1 / SEARCHES_PER_S
        if len(running) < MOST_RUNNING:
            device = devices[number % len(devices)]
            request = client.get(f"/Observation?device=Device/{device}&_count=20")
            task = asyncio.create_task(_answered(request))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.sleep(max(0.0, due - time.monotonic()))

"""What FHIR costs: rendering, a search of 1,000 Observations, $lastn; what searches take, `ingest` tells."""

import time
from pathlib import Path
from statistics import median

import httpx

from hub.fhir.observation import Attribution, groups_in, observation
from hub.model import Reading
from hub.stores.duckdb import DuckDBStore
from tests.fhir_check import model
from tests.fhir_hub import MINUTE, NOW, SECOND, fhir_hub, vitals

STORED = 100_000_000
"""Readings in the store that $lastn is asked of."""
_VITALS = {
    "heart_rate": 72.0,
    "spo2": 97.0,
    "respiratory_rate": 15.0,
    "temperature": 36.8,
    "nibp_systolic": 120.0,
    "nibp_diastolic": 80.0,
}


async def measure_fhir(folder: Path, stored: int = STORED) -> dict[str, float]:
    """Measure all; `stored` readings lie in the store for $lastn."""
    figures = measure_rendering()
    for name, measure in (("search", measure_search), ("lastn", lambda at: measure_lastn(at, stored))):
        at = folder / name
        at.mkdir()
        figures |= await measure(at)
    return figures


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
    # It looks at what there is when it opens.
    await store.stop()
    await store.start()


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

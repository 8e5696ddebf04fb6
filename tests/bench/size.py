"""Bytes that the embedded store takes for a value, after compaction."""

import random
from pathlib import Path

from hub.intake import empty_batch
from hub.model import Reading
from hub.stores.duckdb import DuckDBStore
from hub.stores.store import Retention

DEVICES = 20
SECONDS = 40_000
DAY_NS = 86_400_000_000_000
_SHAPES = {
    "heart_rate": (75.0, 1.0, 0),
    "spo2": (97.0, 0.5, 0),
    "respiratory_rate": (15.0, 0.7, 0),
    "temperature": (36.8, 0.02, 1),
    "pulse_rate": (75.0, 1.0, 0),
    "arterial_mean": (90.0, 1.2, 0),
}
"""Middle, step of the walk, decimals as monitors send them."""


async def measure_size(folder: Path) -> dict[str, float]:
    """Return `bytes_per_value`: readings of six values at 1 Hz with jitter, as random walks, days old."""
    chance = random.Random(1)
    store = DuckDBStore(folder / "series.duckdb")
    await store.start()
    start_ms = 1_795_000_000_000 // 86_400_000 * 86_400_000
    walks = [{name: middle for name, (middle, _, _) in _SHAPES.items()} for _ in range(DEVICES)]
    for row, first in enumerate(range(0, SECONDS, 250), 1):
        batch = empty_batch(0)
        for second in range(first, first + 250):
            for device, walk in enumerate(walks):
                batch.readings.append(_reading(device, second, start_ms, walk, chance))
        await store.write([(row, batch)])
    await store.expire(start_ms * 1_000_000 + 4 * DAY_NS, Retention())
    size = await store.size_bytes() or 0
    await store.stop()
    return {"bytes_per_value": size / (DEVICES * SECONDS * len(_SHAPES))}


def _reading(
    device: int, second: int, start_ms: int, walk: dict[str, float], chance: random.Random
) -> Reading:
    values: dict[str, float | str] = {}
    for name, (middle, step, decimals) in _SHAPES.items():
        walk[name] += chance.gauss(0, step) + (middle - walk[name]) / 100
        values[name] = round(walk[name], decimals)
    device_ms = start_ms + second * 1000 + chance.randrange(4)
    time_ns = device_ms * 1_000_000 + second % 1_000_000
    received_ns = device_ms * 1_000_000 + chance.randrange(2_000_000, 9_000_000)
    return Reading(
        "main",
        f"mon-{device}",
        "observations",
        time_ns,
        device_ms * 1_000_000,
        received_ns,
        second,
        values,
    )

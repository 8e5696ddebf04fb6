"""Trends joined through placements on the embedded store itself, rolled up and not."""

from dataclasses import replace

import httpx
import pytest

from hub.api.app import create_api
from hub.model import FORMAT_VERSION, Batch, Reading
from hub.stores.duckdb import DuckDBStore
from hub.stores.store import Retention
from hub.ward.model import PeriodChange

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
START = 1_795_485_600 * SECOND  # 2026-11-24T02:00:00Z
CHANGE = START + 25 * MINUTE + 17 * SECOND
"""The first patient leaves the bed, the second comes: in the middle of a minute and of a step."""


@pytest.fixture
async def duckdb(tmp_path):
    store = DuckDBStore(tmp_path / "series.duckdb")
    await store.start()
    readings = [
        Reading(
            "main", "mon-1", "observations", at, at, at, n, {"heart_rate": 60.0 if at < CHANGE else 120.0}
        )
        for n, at in enumerate(range(START, START + 60 * MINUTE, SECOND))
    ]
    await store.write([(1, Batch(FORMAT_VERSION, START, readings, [], [], [], [], []))])
    yield store
    await store.stop()


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize("points", [1, 6, 60, 1000])
async def test_a_trend_mixes_no_two_patients_and_misses_no_value(hospital, duckdb, rolled_up, points):
    registry = hospital.registry
    placement = (await registry.device_placements("main", "mon-1"))[0]
    early = PeriodChange(from_ns=START)
    await registry.correct_period("placement", placement.id, early, who="test", why="began earlier")
    patients = [await registry.add_patient("First"), await registry.add_patient("Second")]
    await registry.admit(patients[0], "main", "icu-01", START, CHANGE)
    await registry.admit(patients[1], "main", "icu-01", CHANGE)
    if rolled_up:
        await duckdb.expire(START + 3 * 86_400 * SECOND, Retention())
    api = create_api(replace(hospital.services, store=duckdb))
    secret = await hospital.tokens.create("station", "nurse")
    found = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(api),
        base_url="http://hub",
        headers={"Authorization": f"Bearer {secret}"},
    ) as client:
        for patient in patients:
            params = {
                "patient": patient,
                "parameter": "heart_rate",
                "from": "2026-11-24T02:00:00Z",
                "to": "2026-11-24T03:00:00Z",
                "points": points,
            }
            answer = (await client.get("/api/v1/trends", params=params)).json()["points"]
            assert len(answer) <= points
            found.append(
                (
                    min(point["minimum"] for point in answer),
                    max(point["maximum"] for point in answer),
                    sum(point["count"] for point in answer),
                )
            )
    assert found == [(60.0, 60.0, 25 * 60 + 17), (120.0, 120.0, 3600 - 25 * 60 - 17)]

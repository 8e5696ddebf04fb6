"""A pump's own trend at a bed, and with a patient: what it ran elsewhere belongs to somebody else."""

import pytest

from tests.unit.api.conftest import NOW, SECOND

MINUTE = 60 * SECOND
START_NS = NOW - 60 * MINUTE


@pytest.fixture
async def patient(hospital):
    """A patient in icu-01, whose pump came from icu-02 half an hour ago; another pump was there before."""
    registry = hospital.registry
    for pump in ("pump-1", "pump-2"):
        await registry.add_device("main", pump, "native", "icu")
    await registry.place_device("main", "pump-1", START_NS, bed="icu-02")
    await registry.move_device("main", "pump-1", START_NS + 30 * MINUTE, bed="icu-01")
    await registry.place_device("main", "pump-2", START_NS, bed="icu-01")
    for n in range(60):
        at_ns = START_NS + n * MINUTE
        hospital.store.add(at_ns, "pump-1", pump_flow_rate=5.0 if n < 30 else 8.0)
        hospital.store.add(at_ns, "pump-2", pump_flow_rate=80.0)
    patient = await registry.add_patient("First")
    await registry.admit(patient, "main", "icu-01", START_NS)
    return patient


@pytest.mark.parametrize("whose", ["patient", "bed"])
async def test_a_pumps_trend_holds_only_what_it_ran_there(client, patient, whose):
    who = {"patient": patient} if whose == "patient" else {"bed": "icu-01"}
    params = {"parameter": "pump_flow_rate", "points": 6, "site": "main", "device": "pump-1"}
    response = await client.get("/api/v1/trends", params=params | who)
    points = response.json()["points"]
    assert {(point["minimum"], point["maximum"]) for point in points} == {(8.0, 8.0)}
    assert sum(point["count"] for point in points) == 30

"""What the alarms cost: the evaluation of a message of six normal values, and a flood of conditions."""

import asyncio
import time
from pathlib import Path

from hub.alarms.conditions import Conditions
from hub.alarms.limits import load_limits
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.rules import limits_lookup
from hub.alarms.signals import Signals
from hub.device import Device
from hub.model import Reading

DEVICES = 10_000
MESSAGES = 500_000
FLOOD = 2_000
NOW = 1_795_488_192_000_000_000
NORMAL = {
    "heart_rate": 72.0,
    "spo2": 97.0,
    "respiratory_rate": 15.0,
    "nibp_systolic": 120.0,
    "nibp_diastolic": 80.0,
    "nibp_mean": 93.0,
}


def _reading(device: Device, time_ns: int, values: dict[str, float]) -> Reading:
    return Reading("main", device.id, "observations", time_ns, time_ns, time_ns, 1, dict(values), None)


async def measure_alarms(folder: Path) -> dict[str, float]:
    """Return `alarm_us_per_message` (CPU) and `alarm_flood_ms`: 2,000 conditions begun, told and recorded."""
    log = EventLog(Records(folder / "alarms.sqlite"))
    await log.start()
    limits_of = limits_lookup(load_limits(), lambda _: "adult", lambda: 1)
    any_device = Device("main", "any", "icu", "native", 1.0)
    signals = Signals(log.record, lambda alarm: limits_of(any_device).policy(alarm))
    conditions = Conditions(limits_of, signals.tell)
    devices = [Device("main", f"m-{number}", "icu", "native", 1.0) for number in range(DEVICES)]
    readings = [(device, _reading(device, NOW, NORMAL)) for device in devices]
    for device, reading in readings:
        conditions.observe(device, reading, NOW)
    begun = time.process_time()
    for _ in range(MESSAGES // DEVICES):
        for device, reading in readings:
            conditions.observe(device, reading, NOW)
    spent = time.process_time() - begun
    if log.last_sequence:
        raise AssertionError("normal values must not alarm")
    started = time.perf_counter()
    for device in devices[:FLOOD]:
        conditions.observe(device, _reading(device, NOW + 1, {"spo2": 70.0}), NOW + 1)
        if device.id.endswith("00"):
            await asyncio.sleep(0)
    if not await log.told(FLOOD):
        raise AssertionError("the flood was told and not recorded")
    flood = time.perf_counter() - started
    await log.stop()
    return {"alarm_us_per_message": spent / MESSAGES * 1e6, "alarm_flood_ms": flood * 1e3}

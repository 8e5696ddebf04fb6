"""The reckoning: what publishers saw acknowledged against what the hub says it stored."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from device_sims.clock import rfc3339
from device_sims.load.hub_api import HubApi
from device_sims.load.plan import FIRST_SEQ, WRONG_MS, LoadPlan

_NAMED = 100
"""Losses that are named one by one; beyond, they are counted."""
_THREADS = 4
_MARGIN_MS = 60_000 + WRONG_MS
"""Stored times are corrected by the device's clock offset: the question asks for a little more."""


@dataclass
class Reckoning:
    """What became of the acknowledged messages."""

    stored: int = 0
    """Messages of this test that are stored, each counted once."""
    lost: int = 0
    doubled: int = 0
    altered: int = 0
    unacknowledged_stored: int = 0
    """Stored although the publisher never saw the acknowledgement: allowed, at least once is the promise."""
    named: list[dict[str, Any]] = field(default_factory=list)
    """The first hundred of what is wrong: device, seq, what."""

    def name(self, device: str, seq: int, what: str) -> None:
        """Name one that is wrong."""
        if len(self.named) < _NAMED:
            self.named.append({"device": device, "seq": seq, "what": what})

    def add(self, other: "Reckoning") -> None:
        """Add another device's."""
        self.stored += other.stored
        self.lost += other.lost
        self.doubled += other.doubled
        self.altered += other.altered
        self.unacknowledged_stored += other.unacknowledged_stored
        self.named += other.named[: _NAMED - len(self.named)]


def reckon(
    plan: LoadPlan,
    j: int,
    start_ms: int,
    acknowledged: int,
    sent: int,
    readings: Iterable[Mapping[str, Any]],
) -> Reckoning:
    """Compare one device: rounds below `acknowledged` must be stored once, below `sent` may be.

    What the device determined outside the time of this test is another test's.
    """
    found = Reckoning()
    error_ms = plan.clock_error_ms(j)
    begin_ms, end_ms = start_ms + error_ms, plan.device_ms(j, plan.rounds, start_ms)
    device = plan.device_name(j)
    seen: set[int] = set()
    for reading in readings:
        n = reading["seq"] - FIRST_SEQ
        said_ms = _milliseconds(reading.get("device_time"))
        if n < 0 or (said_ms is not None and not begin_ms <= said_ms <= end_ms):
            continue  # what a fault sent on purpose, or another test
        if n >= sent:
            found.altered += 1
            found.name(device, reading["seq"], "never sent with this number")
            continue
        if n in seen:
            found.doubled += 1
            found.name(device, reading["seq"], "stored twice")
            continue
        seen.add(n)
        expected = plan.values_of(plan.variant(j, n))
        if {name: float(value) for name, value in reading["values"].items()} != expected:
            found.altered += 1
            found.name(device, reading["seq"], "values differ from what was sent")
        elif said_ms is not None and said_ms != plan.time_ms(j, n, start_ms) + error_ms:
            found.altered += 1
            found.name(device, reading["seq"], "the device's time differs from what was sent")
    found.stored = len(seen)
    for n in range(acknowledged):
        if n not in seen:
            found.lost += 1
            found.name(device, FIRST_SEQ + n, "acknowledged and not stored")
    found.unacknowledged_stored = sum(n >= acknowledged for n in seen)
    return found


def reconcile(
    plan: LoadPlan,
    start_ms: int,
    acknowledged: Mapping[int, int],
    sent: Mapping[int, int],
    devices: Sequence[int],
    open_api: Callable[[], HubApi],
    progress: Callable[[int], None],
) -> dict[int, Reckoning]:
    """Ask the hub for these devices and compare. `acknowledged`, `sent`: messages by device number."""
    begin = rfc3339(start_ms - _MARGIN_MS)
    end = rfc3339(plan.time_ms(plan.devices - 1, plan.rounds, start_ms) + _MARGIN_MS)

    ended = threading.Event()

    def share(first: int) -> dict[int, Reckoning]:
        api = open_api()
        mine = {}
        try:
            for j in devices[first::_THREADS]:
                if ended.is_set():
                    break
                stored = api.readings(plan.site, plan.device_name(j), begin, end)
                mine[j] = reckon(plan, j, start_ms, acknowledged.get(j, 0), sent.get(j, 0), stored)
                progress(1)
        finally:
            api.close()
        return mine

    found: dict[int, Reckoning] = {}
    with ThreadPoolExecutor(_THREADS, "reconcile") as pool:
        try:
            for part in pool.map(share, range(_THREADS)):
                found |= part
        finally:
            ended.set()  # who interrupts the test doesn't wait for thousands of questions
    return found


def _milliseconds(moment: str | None) -> int | None:
    return None if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)

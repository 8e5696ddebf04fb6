"""The reckoning: what publishers saw acknowledged against what the hub says it stored."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from device_sims.clock import rfc3339
from device_sims.load.hub_api import HubApi
from device_sims.load.plan import FIRST_SEQ, WRONG_MS, LoadPlan

_NAMED = 100
"""Losses that are named one by one; beyond, they are counted."""
_THREADS = 2
"""One waits for the hub while the other's answer is looked at."""
_MARGIN_MS = 60_000 + WRONG_MS
"""Stored times are corrected by the device's clock offset: the question asks for a little more."""
_A_QUESTION = 8_000
"""Readings that one question asks for, about: they fit a page."""
_LONGEST_MS = 60_000
_ASKED = 10
"""Devices that are asked for to see whether the store has caught up."""


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


class Reckoner:
    """Compares readings as they come, in any order; `result` tells what is missing then."""

    def __init__(
        self, plan: LoadPlan, start_ms: int, acknowledged: Mapping[int, int], sent: Mapping[int, int]
    ) -> None:
        """`acknowledged`, `sent`: messages by device number: rounds below must, or may, be stored once."""
        self._plan = plan
        self._start_ms = start_ms
        self._acknowledged = acknowledged
        self._sent = sent
        self._devices = {plan.device_name(j): j for j in range(plan.devices)}
        self._seen = [bytearray(sent.get(j, 0)) for j in range(plan.devices)]
        self._values = [plan.values_of(variant) for variant in range(plan.variants)]
        self._found = Reckoning()
        self._lock = threading.Lock()

    def take(self, readings: Iterable[Mapping[str, Any]]) -> None:
        """Look at readings that the hub stored.

        What the devices determined outside the time of this test is another test's.
        """
        with self._lock:
            for reading in readings:
                j = self._devices.get(reading["device"])
                if j is not None:
                    self._look(j, reading)

    def result(self) -> Reckoning:
        """Return what became of the messages, from all that was taken."""
        found = self._found
        for j, seen in enumerate(self._seen):
            acknowledged = self._acknowledged.get(j, 0)
            found.stored += sum(seen)
            found.unacknowledged_stored += sum(seen[acknowledged:])
            missing = seen[:acknowledged].count(0)
            found.lost += missing
            if missing:
                for n in range(acknowledged):
                    if not seen[n]:
                        found.name(self._plan.device_name(j), FIRST_SEQ + n, "acknowledged and not stored")
        return found

    def _look(self, j: int, reading: Mapping[str, Any]) -> None:
        plan, found, seq = self._plan, self._found, reading["seq"]
        n = seq - FIRST_SEQ
        if n < 0:
            return  # what a fault sent on purpose
        said = reading.get("device_time")
        said_ms = None if said is None else round(datetime.fromisoformat(said).timestamp() * 1000)
        meant_ms = plan.device_ms(j, n, self._start_ms)
        if said_ms is not None and said_ms != meant_ms:
            begin_ms = self._start_ms + plan.clock_error_ms(j)
            if not begin_ms <= said_ms <= plan.device_ms(j, plan.rounds, self._start_ms):
                return  # another test's
        seen = self._seen[j]
        if n >= len(seen):
            found.altered += 1
            found.name(plan.device_name(j), seq, "never sent with this number")
        elif seen[n]:
            found.doubled += 1
            found.name(plan.device_name(j), seq, "stored twice")
        else:
            seen[n] = 1
            if reading["values"] != self._values[plan.variant(j, n)]:
                found.altered += 1
                found.name(plan.device_name(j), seq, "values differ from what was sent")
            elif said_ms is not None and said_ms != meant_ms:
                found.altered += 1
                found.name(plan.device_name(j), seq, "the device's time differs from what was sent")


def wait_until_stored(
    plan: LoadPlan, start_ms: int, acknowledged: Mapping[int, int], api: HubApi, seconds: float
) -> None:
    """Wait, at most so long, until the hub has stored the last messages: the stores drain a journal."""
    deadline = time.monotonic() + seconds
    for j in range(0, plan.devices, -(-plan.devices // _ASKED)):
        n = acknowledged.get(j, 0) - 1
        due_ms = plan.time_ms(j, n, start_ms)
        while n >= 0 and time.monotonic() < deadline:
            stored = api.readings(
                plan.site, plan.device_name(j), rfc3339(due_ms - 2_000), rfc3339(due_ms + _MARGIN_MS)
            )
            if any(reading["seq"] == FIRST_SEQ + n for reading in stored):
                break
            time.sleep(0.5)


def reconcile(
    plan: LoadPlan,
    start_ms: int,
    acknowledged: Mapping[int, int],
    sent: Mapping[int, int],
    open_api: Callable[[], HubApi],
    progress: Callable[[float], None],
) -> Reckoning:
    """Ask the hub for all that it stored in the time of the test and compare; progress goes from 0 to 1."""
    reckoner = Reckoner(plan, start_ms, acknowledged, sent)
    begin_ms = start_ms - _MARGIN_MS
    end_ms = plan.time_ms(plan.devices - 1, plan.rounds, start_ms) + _MARGIN_MS
    step_ms = max(1, min(_LONGEST_MS, int(_A_QUESTION * 1000 / plan.target_rate)))
    questions = range(begin_ms, end_ms, step_ms)
    ended = threading.Event()
    done = 0

    def share(first: int) -> None:
        nonlocal done
        api = open_api()
        try:
            for at_ms in questions[first::_THREADS]:
                if ended.is_set():
                    break
                for page in api.site_readings(plan.site, rfc3339(at_ms), rfc3339(at_ms + step_ms)):
                    reckoner.take(page)
                done += 1
                progress(done / len(questions))
        finally:
            api.close()

    with ThreadPoolExecutor(_THREADS, "reconcile") as pool:
        try:
            for _ in pool.map(share, range(_THREADS)):
                pass
        finally:
            ended.set()  # who interrupts the test doesn't wait for thousands of questions
    return reckoner.result()

"""Listens to the hub's stream and knows when each alarm was told."""

import json
import threading
import time
from http.client import HTTPException
from typing import Any

from device_sims.errors import BrokerError
from device_sims.load.histogram import Histogram
from device_sims.load.hub_api import Event, HubApi
from device_sims.load.plan import LoadPlan


class AlarmWatch:
    """A nurse station's ear: a thread on the stream, reconnecting until `stop`."""

    def __init__(self, api: HubApi, prefix: str) -> None:
        self._api = api
        self._prefix = prefix + "-"
        self._lock = threading.Lock()
        self._told: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="alarm-watch", daemon=True)
        self.interruptions = 0
        """How often the stream ended."""

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop taking what comes; the thread ends with the process."""
        self._stopped.set()

    def told_ms(self) -> dict[str, int]:
        """Return when the first high heart rate of each device was told, wall clock."""
        with self._lock:
            return dict(self._told)

    def _listen(self) -> None:
        last_id = ""
        while not self._stopped.is_set():
            try:
                for event in self._api.stream(last_id):
                    if self._stopped.is_set():
                        return
                    last_id = event.id or last_id
                    self._hear(event)
            except (OSError, HTTPException, BrokerError, ValueError):
                pass  # the hub is restarted in some tests; whoever reads the result sees the interruptions
            self.interruptions += 1
            self._stopped.wait(0.5)

    def _hear(self, event: Event) -> None:
        arrived = time.time_ns() // 1_000_000
        if event.name == "alarm":
            told = json.loads(event.data)
            if told["event"] == "start":
                self._take(told["alarm"], arrived)
        elif event.name == "reset":  # what was told meanwhile can't be told again: this is what is present
            for alarm in json.loads(event.data)["alarms"]:
                if alarm["presence"] == "present":
                    self._take(alarm, arrived)

    def _take(self, alarm: dict[str, Any], arrived_ms: int) -> None:
        device = str(alarm["device"])
        limit = alarm["condition"] == "limit_high" and alarm.get("parameter") == "heart_rate"
        if limit and device.startswith(self._prefix):
            with self._lock:
                self._told.setdefault(device, arrived_ms)


def judge(
    plan: LoadPlan, start_ms: int, sent: dict[int, int], told_ms: dict[str, int]
) -> tuple[int, list[str], Histogram]:
    """Compare with the known truth: expected alarms, devices whose alarm was missed, latencies.

    A latency runs from the time of the schedule of the first message beyond the limit to the alarm's arrival.
    """
    expected, missed, latency = 0, [], Histogram()
    for j in range(plan.devices):
        excursion = plan.excursion(j)
        if excursion is None or excursion[0] >= sent.get(j, 0):
            continue
        expected += 1
        arrived = told_ms.get(plan.device_name(j))
        if arrived is None:
            missed.append(plan.device_name(j))
        else:
            latency.record((arrived - plan.time_ms(j, excursion[0], start_ms)) * 1000)
    return expected, missed, latency

"""Measures, from outside, how long an alarm takes from a device's publish to the nurse station's stream."""

import asyncio
import contextlib
import json
import time
from urllib.parse import urlsplit

import aiomqtt
import httpx

from tests.crash.publishers import topic

LATE_S = 1.0
GIVEN_UP_S = 10.0


class AlarmProbe:
    """Devices whose heart rate leaves the limits, one after another, and one listener on the stream.

    Each alarm is of a device of its own: one that comes and goes again and again is a single episode.
    """

    def __init__(self, broker_url: str, hub_url: str, headers: dict[str, str], name: str = "probe") -> None:
        self.latencies_s: list[float] = []
        self.missing = 0
        parts = urlsplit(broker_url)
        self._host, self._port = parts.hostname or "", parts.port or 1883
        self._hub_url = hub_url
        self._headers = headers
        self._name = name
        self._sent: dict[str, float] = {}
        """When each device published its heart rate beyond the limit (monotonic s)."""
        self._listening = asyncio.Event()

    @property
    def late(self) -> int:
        """Alarms that took longer than a second or never came."""
        return self.missing + sum(latency_s > LATE_S for latency_s in self.latencies_s)

    async def run(self, alarms: int, pause_s: float = 0.5) -> None:
        """Raise so many alarms and wait for each on the stream."""
        listener = asyncio.create_task(self._listen())
        try:
            await asyncio.wait_for(self._listening.wait(), 30)
            async with aiomqtt.Client(self._host, self._port, identifier=self._name, timeout=10) as client:
                for number in range(alarms):
                    device = f"{self._name}-{number}"
                    self._sent[device] = time.monotonic()
                    await client.publish(topic(device), self._reading(150), qos=1)
                    await asyncio.sleep(pause_s)
            deadline = time.monotonic() + GIVEN_UP_S
            while self._sent and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            self.missing += len(self._sent)
            self._sent.clear()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self) -> None:
        async with httpx.AsyncClient(timeout=None) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    url = f"{self._hub_url}/api/v1/stream"
                    async with client.stream("GET", url, headers=self._headers) as answer:
                        async for line in answer.aiter_lines():
                            self._line(line)
                await asyncio.sleep(0.1)

    def _line(self, line: str) -> None:
        if not line.startswith("data: "):
            return
        self._listening.set()
        event = json.loads(line[6:])
        if event.get("event") != "start" or event["alarm"]["condition"] != "limit_high":
            return
        sent = self._sent.pop(event["alarm"]["device"], None)
        if sent is not None:
            self.latencies_s.append(time.monotonic() - sent)

    @staticmethod
    def _reading(rate: float) -> bytes:
        now_ms = time.time_ns() // 1_000_000
        return json.dumps({"time": now_ms, "seq": now_ms, "values": {"heart_rate": rate}}).encode()

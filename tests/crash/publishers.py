"""Devices that publish with aiomqtt, an independent client, and remember what was acknowledged to them."""

import asyncio
import contextlib
import json
import time
from urllib.parse import urlsplit

import aiomqtt

SITE = "main"


def topic(device: str) -> str:
    """Return the native observations topic of a device."""
    return f"wards/v1/{SITE}/crash/{device}/observations"


class Publishers:
    """So many devices, each publishing one reading after another until each is acknowledged."""

    def __init__(self, url: str, devices: int, *, period_s: float) -> None:
        self.acknowledged: dict[str, set[tuple[int, int]]] = {f"dev-{n}": set() for n in range(devices)}
        """Determination time (ms) and sequence number of what the broker acknowledged, by device."""
        self.published = 0
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 1883
        self._period_s = period_s
        self._going = True

    @property
    def count(self) -> int:
        """How many readings were acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    async def run(self) -> None:
        """Publish until `stop`."""
        await asyncio.gather(*(self._device(name) for name in self.acknowledged))

    def stop(self) -> None:
        """Let every device end; what is not acknowledged by then is given up."""
        self._going = False

    async def _device(self, name: str) -> None:
        seq = 0
        waiting: tuple[int, int, bytes] | None = None
        while self._going:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with aiomqtt.Client(self._host, self._port, identifier=name, timeout=5) as client:
                    while self._going:
                        if waiting is None:
                            seq += 1
                            waiting = _reading(seq)
                            self.published += 1
                        # The same bytes again after a lost connection: the device can't know what arrived.
                        await client.publish(topic(name), waiting[2], qos=1, timeout=5)
                        self.acknowledged[name].add(waiting[:2])
                        waiting = None
                        await asyncio.sleep(self._period_s)
            await asyncio.sleep(0.05)


def _reading(seq: int) -> tuple[int, int, bytes]:
    time_ms = time.time_ns() // 1_000_000
    values = {
        "heart_rate": 60 + seq % 50,
        "spo2": 92 + seq % 8,
        "respiratory_rate": 10 + seq % 15,
        "temperature": 36.0 + seq % 20 / 10,
    }
    return time_ms, seq, json.dumps({"time": time_ms, "seq": seq, "values": values}).encode()

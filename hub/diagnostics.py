"""Telling a device, on its `diagnostics` channel, what of its messages the hub can't use."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from hub.device import Device
from hub.devices.decode import Refused
from hub.mqtt.topics import is_id, native_topic

MAX_REASONS = 20
"""Different reasons told in one message; the others wait for the next."""
MAX_DEVICES = 10_000
"""Devices that wait to be told; beyond it a reject is in the rejects only."""


class Diagnostics:
    """Gathers rejects by device and publishes each device's at most once a flush (a second)."""

    def __init__(self, publish: Callable[[str, bytes], bool]) -> None:
        self._publish = publish
        self._waiting: dict[Device, dict[tuple[str, str, str, str], int]] = {}
        self.untold = 0
        """Rejects that were not told to their device because too many waited."""

    def add(self, device: Device, topic: str, refused: list[Refused]) -> None:
        """Note what was refused of one message of a device. Costs the line next to nothing."""
        counts = self._waiting.get(device)
        if counts is None:
            if len(self._waiting) >= MAX_DEVICES:
                self.untold += len(refused)
                return
            counts = self._waiting[device] = {}
        for one in refused:
            key = (topic, one.path, one.reason, one.found)
            if key in counts or len(counts) < MAX_REASONS:
                counts[key] = counts.get(key, 0) + 1
            else:
                self.untold += 1

    def flush(self, now_ns: int) -> None:
        """Publish what was gathered."""
        waiting, self._waiting = self._waiting, {}
        time = datetime.fromtimestamp(now_ns / 1e9, UTC)
        for device, counts in waiting.items():
            if not (is_id(device.id) and is_id(device.area)):
                continue  # a device of another scheme has no diagnostics channel
            rejects = [
                {"topic": topic, "path": path, "reason": reason, "count": count}
                | ({"found": found} if found else {})
                for (topic, path, reason, found), count in counts.items()
            ]
            topic = native_topic(device.site, device.area, device.id, "diagnostics")
            self._publish(topic, msgspec.json.encode({"time": time, "rejects": rejects}))

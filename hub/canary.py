"""A device of the hub's own that shows, twice a second, whether the line works from end to end."""

from collections import deque
from collections.abc import Callable

import msgspec

from hub.alarms.selftest import CANARY
from hub.mqtt.topics import native_topic

INTERVAL_S = 0.5
"""Between two canaries, and so a second between two alarms: a heartbeat is due every 2 s."""
AREA = "hub"
"""The area of the hub's own topics."""
_REMEMBERED = 1024


class Canary:
    """Publishes readings to one broker and notes when they come back. Times are monotonic seconds.

    Every other one is beyond its limit. Told: its alarm came out, by whichever lane. Durable: the journal
    holds it and it was acknowledged on the persistent session.
    """

    def __init__(self, site: str, name: str, publish: Callable[[str, bytes], bool]) -> None:
        self.site = site
        self.name = name
        """The device that the canary is."""
        self.topic = native_topic(site, AREA, name, "observations")
        self.told_s: float | None = None
        """When the newest told one was sent; None before the first."""
        self.durable_s: float | None = None
        """When the newest durable one was sent; None before the first."""
        self.lag_s = 0.0
        """From sending to telling, of the newest."""
        self._publish = publish
        self._beyond = False
        self._sent: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        """Determination time in milliseconds, and when it was sent."""

    def send(self, now_ns: int, monotonic_s: float) -> None:
        """Publish one canary."""
        now_ms = now_ns // 1_000_000
        self._beyond = not self._beyond
        payload = {"time": now_ms, "seq": now_ms, "values": {CANARY: int(self._beyond)}}
        if self._publish(self.topic, msgspec.json.encode(payload)):
            self._sent.append((now_ms, monotonic_s))

    def told(self, time_ns: int, monotonic_s: float) -> bool:
        """Note that the alarm of the canary of this determination time came out; tell whether it is news."""
        sent_s = self._sent_at(time_ns)
        if sent_s is None or (self.told_s is not None and sent_s <= self.told_s):
            return False
        self.told_s = sent_s
        self.lag_s = monotonic_s - sent_s
        return True

    def durable(self, time_ns: int) -> None:
        """Note that the canary of this determination time is durable and acknowledged."""
        sent_s = self._sent_at(time_ns)
        if sent_s is not None:
            self.durable_s = max(sent_s, self.durable_s or sent_s)

    def _sent_at(self, time_ns: int) -> float | None:
        time_ms = time_ns // 1_000_000
        for sent_ms, monotonic_s in reversed(self._sent):
            if sent_ms == time_ms:
                return monotonic_s
        return None

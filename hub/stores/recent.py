"""The newest readings of the devices that somebody asked for lately, as they are written."""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final

from msgspec import Struct

from hub.model import Reading
from hub.stores.newest import holds

_DEVICES: Final = 500
_READINGS: Final = 60
"""Of each: a page of 50 and what pages look ahead."""


class _Ring(Struct):
    readings: list[Reading]
    """Oldest first."""
    since_ns: int
    """All that is stored from here on is in `readings`."""

    def within(self, start_ns: int, end_ns: int) -> list[Reading]:
        """Return what is known of a time, oldest first."""
        first = bisect_left(self.readings, max(start_ns, self.since_ns), key=_time)
        return self.readings[first : bisect_left(self.readings, end_ns, key=_time)]

    def insert(self, reading: Reading) -> None:
        """Take a reading where its time is, unless there is one of its channel and time."""
        time_ns = reading.time_ns
        if not self.readings or self.readings[-1].time_ns < time_ns:
            self.readings.append(reading)
        elif all(one.channel != reading.channel for one in self.within(time_ns, time_ns + 1)):
            insort(self.readings, reading, key=_time)


class Recent:
    """Answers what is asked again and again without a look into the store.

    What it says is what the store would say: `keep` what a look found, `add` what was written since, `forget`
    where something was removed. The thread that reads and writes the store does these. Any thread may ask
    and none waits: who asks in the middle of a change is told that it takes a look.
    """

    def __init__(self, *, newest_ms: int = 0, devices: int = _DEVICES, most: int = _READINGS) -> None:
        self.most = most
        """How many readings of a device it wants to be told."""
        self._spare = most // 3
        """By so many a device may have more before its oldest go."""
        self._newest_ms = newest_ms
        self._rings: OrderedDict[tuple[str, str], _Ring] = OrderedDict()
        """By site and device; who was asked for longest ago is first, and goes first."""
        self._devices = devices
        self._changing = Lock()

    @property
    def end_ns(self) -> int:
        """The time behind the newest reading of all devices."""
        return (self._newest_ms + 1) * 1_000_000

    def knows(self, site: str, device: str) -> bool:
        """Tell whether a look into the store was kept of a device."""
        return (site, device) in self._rings

    def newest(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int, parameters: Sequence[str] = ()
    ) -> list[Reading] | None:
        """Return what Store.newest would; None where that takes a look into the store."""
        known = self._known(site, device, start_ns, end_ns)
        if known is None:
            return None
        found: list[Reading] = []
        for reading in reversed(known[0]):
            if holds(reading, parameters):
                found.append(reading)
                if len(found) == limit:
                    return found
        return found if start_ns >= known[1] else None

    def readings(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int
    ) -> list[Reading] | None:
        """Return what Store.readings would; None where that takes a look into the store."""
        if start_ns >= self.end_ns:
            return []
        known = self._known(site, device, start_ns, end_ns)
        return None if known is None or start_ns < known[1] else known[0][:limit]

    def keep(self, site: str, device: str, newest: Sequence[Reading]) -> None:
        """Take the newest readings of a device, newest first; fewer than `most` are all that there are."""
        # Of the oldest time there may be more, on other channels.
        since_ns = newest[-1].time_ns + 1 if len(newest) >= self.most else -(2**63)
        with self._changing:
            self._rings[site, device] = _Ring(list(reversed(newest)), since_ns)
            if len(self._rings) > self._devices:
                self._rings.popitem(last=False)

    def add(self, readings: Sequence[Reading]) -> None:
        """Take what was stored; what is stored already stays as it was."""
        if not readings:
            return
        newest_ms = max(self._newest_ms, max(one.time_ns for one in readings) // 1_000_000)
        with self._changing:
            self._newest_ms = newest_ms
            rings = self._rings
            for reading in readings if rings else ():
                ring = rings.get((reading.site, reading.device))
                if ring is not None and reading.time_ns >= ring.since_ns:
                    ring.insert(reading)
                    if len(ring.readings) > self.most + self._spare:
                        ring.since_ns = ring.readings[self._spare].time_ns + 1
                        del ring.readings[: self._spare + 1]

    def forget(self) -> None:
        """Know nothing any more of any device."""
        with self._changing:
            self._rings.clear()

    def _known(self, site: str, device: str, start_ns: int, end_ns: int) -> tuple[list[Reading], int] | None:
        """Return what is known of a device's time, oldest first, and from when on that is all there is."""
        if not self._changing.acquire(blocking=False):
            return None
        try:
            ring = self._rings.get((site, device))
            if ring is None:
                return None
            self._rings.move_to_end((site, device))
            return ring.within(start_ns, end_ns), ring.since_ns
        finally:
            self._changing.release()


def _time(reading: Reading) -> int:
    return reading.time_ns

"""The latest values by bed, and the changes of them that go to the stream.

All of it runs on the event loop's thread. `update` is on the line's hot path and only moves values; who is
at which bed, what is stale and how it is rendered is worked out when somebody looks.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from msgspec import json

from hub.device import Device, Latest
from hub.events import Bed, BedPump, BedValue, Scope, ShownQuality, moment, vitals_frame
from hub.model import Reading, Waveform
from hub.vocabulary import PARAMETERS
from hub.waves import Waves

log = logging.getLogger(__name__)

_OF_PUMP = frozenset(name for name, known in PARAMETERS.items() if known.equipment == "pump")
_RANK: dict[str, int] = {"valid": 0, "questionable": 1, "stale": 3}
_Rank = tuple[int, float, str]
_CHUNK = 25
"""Beds rendered in one go, 1 to 4 ms by how much is connected: alarms never wait longer behind it."""


class At(Protocol):
    """Where a device is."""

    @property
    def bed(self) -> str | None:
        """The bed's id, unique in its site; None while the device is at none."""


class Place(Protocol):
    """A bed and who is in it."""

    @property
    def site(self) -> str:
        """The site's id."""

    @property
    def ward(self) -> str:
        """The ward's id, unique in its site."""

    @property
    def bed(self) -> str:
        """The bed's id, unique in its site."""

    @property
    def patient(self) -> str | None:
        """The patient's surrogate id; None while nobody is in the bed."""


class Places(Protocol):
    """Who is where now. In memory: each call takes about a microsecond a bed."""

    @property
    def version(self) -> int:
        """Rises with every change of a bed, a placement or a patient."""

    def placement(self, site: str, device: str) -> At | None:
        """Tell where a device is now; None if it is unknown."""

    def beds(self) -> Iterable[Place]:
        """Return every bed, empty ones too."""


class Fanout(Protocol):
    """Who takes the rendered changes."""

    def scopes(self) -> Iterable[Scope]:
        """Return each scope that a client looks at, once."""

    def publish(self, frame: bytes, scope: Scope) -> None:
        """Hand a frame to the clients of exactly this scope."""


class Live:
    """The latest values by bed.

    A value is stale, and then shown as no value, when it is older than three intervals of its device, at
    least `stale_floor_s`; `stale_after_s` gives a parameter an age of its own (a cuff pressure is measured
    every quarter of an hour).
    """

    def __init__(
        self,
        places: Places,
        *,
        stale_intervals: float = 3.0,
        stale_floor_s: float = 10.0,
        stale_after_s: Mapping[str, float] | None = None,
    ) -> None:
        self._places = places
        self.waves = Waves()
        self._stale_intervals = stale_intervals
        self._stale_floor_s = stale_floor_s
        self._stale_after_s = dict(stale_after_s or {})
        self._changed: list[Device] = []
        """Those whose `changed` is set."""
        self._bed_of: dict[Device, tuple[str, str] | None] = {}
        """Site and bed of every device that has sent a value."""
        self._devices_at: dict[tuple[str, str], list[Device]] = {}
        self._beds: dict[tuple[str, str], Place] = {}
        self._version: int | None = None
        self._moved = False
        """Beds or placements have changed and the clients don't know it yet."""
        self._checks: list[tuple[int, int, Device]] = []
        """Heap of when to look whether a device's values have become stale; one entry a device."""
        self._checked: set[Device] = set()
        self._order = count()
        self._fragments: dict[tuple[str, str], bytes] = {}
        """Beds rendered for snapshots since the last change that was sent."""
        self._fragments_ns = 0
        self.rendered = 0
        """Beds rendered since the start, for the metrics."""

    def update(self, device: Device, reading: Reading) -> None:
        """Take over the values of a reading that are not older than what is known."""
        if not reading.values and not reading.exceptions:
            return
        device.take(reading)
        if not device.changed:
            if device not in self._bed_of:
                self._place(device)
            self._mark(device)

    def _mark(self, device: Device) -> None:
        """Look at a device at the next tick."""
        if not device.changed:
            device.changed = True
            self._changed.append(device)

    def waveform(self, waveform: Waveform) -> None:
        """Hand a window of a waveform to who looks at it now."""
        self.waves.publish(waveform)

    def beds(self, now_ns: int, scope: Scope = Scope()) -> list[Bed]:  # noqa: B008 - a NamedTuple can't change
        """Return the beds of a scope as they are now, empty ones too, by site, ward and bed."""
        self._follow()
        return [self._bed(key, now_ns) for key in self._keys(scope)]

    def bed(self, now_ns: int, site: str, bed: str) -> Bed | None:
        """Return one bed as it is now, or None if there is no such bed."""
        self._follow()
        return self._bed((site, bed), now_ns) if (site, bed) in self._beds else None

    def snapshot(self, now_ns: int, scope: Scope) -> bytes:
        """Render every bed of a scope as one `vitals` event.

        Clients that come between two ticks share the rendering: what changed since is sent with the next.
        """
        self._follow()
        if now_ns - self._fragments_ns > 1_000_000_000:
            self._fragments.clear()
        if not self._fragments:
            self._fragments_ns = now_ns
        fragments = []
        for key in self._keys(scope):
            if key not in self._fragments:
                self._fragments[key] = self._render(key, now_ns)
            fragments.append(self._fragments[key])
        return vitals_frame("snapshot", now_ns, fragments)

    async def run(self, fanout: Fanout, now_ns: Callable[[], int], interval_s: float = 0.5) -> None:
        """Send the changes every `interval_s` until cancelled."""
        failing = False
        while True:
            await asyncio.sleep(interval_s)
            try:
                for _ in self.tick(fanout, now_ns()):
                    await asyncio.sleep(0)
            except Exception:  # what is wrong now must not end the sight of all beds for good
                if not failing:
                    log.exception("live values can't be sent; tried again every %s s", interval_s)
                failing = True
            else:
                if failing:
                    log.info("live values are sent again")
                failing = False

    def tick(self, fanout: Fanout, now_ns: int) -> Iterator[int]:
        """Render what changed since the last tick, each bed once, and hand it to `fanout`.

        Goes on chunk by chunk and yields how many beds each held. When beds or placements have changed,
        every client gets a snapshot instead.
        """
        self._follow()
        moved, self._moved = self._moved, False
        marked, self._changed = self._changed, []
        for device in marked:
            device.changed = False
        changed = {self._bed_of.get(device) for device in marked} | self._gone_stale(now_ns)
        changed.discard(None)
        for device in marked:
            if device not in self._checked:
                self._check(device, now_ns)
        self._fragments.clear()
        if moved:
            for scope in list(fanout.scopes()):
                fanout.publish(self.snapshot(now_ns, scope), scope)
            yield len(self._beds)
            return
        keys = [key for key in changed if key in self._beds]
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            self._send(fanout, chunk, now_ns)
            yield len(chunk)

    def _send(self, fanout: Fanout, keys: list[tuple[str, str]], now_ns: int) -> None:
        """Render beds that a client looks at, each once, and one frame for each scope."""
        fragments: dict[tuple[str, str], bytes] = {}
        for scope in list(fanout.scopes()):
            seen = [key for key in keys if self._in(scope, key)]
            for key in seen:
                if key not in fragments:
                    fragments[key] = self._render(key, now_ns)
            if seen:
                fanout.publish(vitals_frame("update", now_ns, [fragments[key] for key in seen]), scope)

    def _render(self, key: tuple[str, str], now_ns: int) -> bytes:
        self.rendered += 1
        return json.encode(self._bed(key, now_ns))

    def _keys(self, scope: Scope) -> list[tuple[str, str]]:
        return [key for key in self._beds if self._in(scope, key)]

    def _in(self, scope: Scope, key: tuple[str, str]) -> bool:
        place = self._beds.get(key)
        return place is not None and scope.takes(place.site, place.ward)

    def _follow(self) -> None:
        """Take over beds and placements if they have changed."""
        version = self._places.version
        if version == self._version:
            return
        self._version = version
        self._moved = True
        self._fragments.clear()
        places = sorted(self._places.beds(), key=lambda place: (place.site, place.ward, place.bed))
        self._beds = {(place.site, place.bed): place for place in places}
        self._devices_at = {}
        devices, self._bed_of = list(self._bed_of), {}
        for device in devices:
            self._place(device)

    def _place(self, device: Device) -> None:
        at = self._places.placement(device.site, device.id)
        key = None if at is None or at.bed is None else (device.site, at.bed)
        self._bed_of[device] = key
        if key is not None:
            self._devices_at.setdefault(key, []).append(device)
            self._mark(device)  # so that its values are looked at from now on

    def _bed(self, key: tuple[str, str], now_ns: int) -> Bed:
        place = self._beds[key]
        best: dict[str, tuple[_Rank, Device, Latest]] = {}
        pumps: list[BedPump] = []
        for device in self._devices_at.get(key, ()):
            for channel, newest in device.every_channel():
                of_pump: dict[str, BedValue] = {}
                for name, latest in newest.items():
                    if not latest.received_ns:
                        continue
                    if name in _OF_PUMP:
                        of_pump[name] = self._shown(device, latest, now_ns)
                        continue
                    rank = self._rank(device, latest, now_ns)
                    if name not in best or rank < best[name][0]:
                        best[name] = (rank, device, latest)
                if of_pump:
                    battery = newest.get("battery") or device.latest.get("battery")
                    if battery is not None and battery.received_ns:
                        of_pump["battery"] = self._shown(device, battery, now_ns)
                    pumps.append(BedPump(device.id, channel, of_pump))
        values = {name: self._shown(device, latest, now_ns) for name, (_, device, latest) in best.items()}
        pumps.sort(key=lambda pump: (pump.device, pump.channel or ""))
        return Bed(place.site, place.ward, place.bed, place.patient, values, pumps)

    def _rank(self, device: Device, latest: Latest, now_ns: int) -> _Rank:
        """Return what is the least for the value that a bed shows of a parameter: the best, then the newest.

        Of batteries it is the emptiest: the full one of another device says nothing about it.
        """
        quality = _RANK.get(self._quality(device, latest, now_ns), 2)
        if latest.parameter == "battery" and isinstance(latest.value, float):
            return quality, latest.value, device.id
        return quality, -latest.time_ns, device.id

    def _shown(self, device: Device, latest: Latest, now_ns: int) -> BedValue:
        name = latest.parameter
        quality = self._quality(device, latest, now_ns)
        return BedValue(
            value=latest.value if quality in ("valid", "questionable") else None,
            unit=PARAMETERS[name].unit if name in PARAMETERS else "",
            time=moment(latest.time_ns),
            quality=quality,
            age_s=round(max(0, now_ns - latest.time_ns) / 1e9, 3),
            device=device.id,
        )

    def _quality(self, device: Device, latest: Latest, now_ns: int) -> ShownQuality:
        if self._stale_at(device, latest) <= now_ns:
            return "stale"
        return latest.quality  # type: ignore[return-value]  # Latest tells the four others as a plain str

    def _stale_at(self, device: Device, latest: Latest) -> int:
        after_s = self._stale_after_s.get(latest.parameter, 0.0)
        limit_s = max(after_s, self._stale_intervals * device.interval_s, self._stale_floor_s)
        # A time ahead of the hub's clock must not keep a value fresh: then its receipt counts.
        return min(latest.time_ns, latest.received_ns) + int(limit_s * 1e9)

    def _check(self, device: Device, now_ns: int) -> bool:
        """Look at a device again when the first of its fresh values becomes stale; tell whether one has.

        Only what a bed shows can be seen to become stale.
        """
        if self._bed_of.get(device) is None:
            return False
        stale, due = False, 0
        for latest in device.every_latest():
            end = self._stale_at(device, latest)
            if end <= now_ns:
                stale = True
            elif not due or end < due:
                due = end
        if due:
            self._checked.add(device)
            heappush(self._checks, (due, next(self._order), device))
        return stale

    def _gone_stale(self, now_ns: int) -> set[tuple[str, str] | None]:
        """Return the beds at which a value may have become stale since the last tick."""
        beds = set()
        while self._checks and self._checks[0][0] <= now_ns:
            device = heappop(self._checks)[2]
            self._checked.discard(device)
            if self._check(device, now_ns):
                beds.add(self._bed_of.get(device))
        return beds

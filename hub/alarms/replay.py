"""How many alarms stored readings would have made under other limits: what a ward tunes its limits with.

Judges limits, rates, combinations, codes and missing values as the line does, device by device, in the time
of the readings. Silence, devices' own alarms and early warning scores are left out: limits don't change them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import Struct

from hub.alarms.alarm import Alarm, AlarmEvent, Happening, Signal
from hub.alarms.conditions import Conditions
from hub.alarms.load import Figures, figures
from hub.alarms.rules import Limits
from hub.alarms.signals import Place, Signals
from hub.clock import SECOND_NS
from hub.device import Device, Latest
from hub.model import Reading
from hub.stores.store import Store

_PAGE = 10_000
_BREATHER = 500
"""Readings judged in one go, so that whatever else runs on the loop isn't held up."""
DAY_NS = 86_400 * SECOND_NS


class Replayed(Struct, frozen=True):
    """One device whose readings are judged, and for whom."""

    site: str
    device: str
    bed: str | None
    ward: str | None
    age_group: str = "adult"


class Outcome(Struct, frozen=True):
    """What the limits would have made of the readings."""

    readings: int
    figures: Figures
    by_condition: dict[str, int]
    """By parameter and condition, most first."""


async def replay(
    store: Store,
    devices: Sequence[Replayed],
    limits_of: Callable[[Replayed], Limits],
    start_ns: int,
    end_ns: int,
) -> Outcome:
    """Judge what is stored of some devices within [start_ns, end_ns). Raises StoreUnavailable."""
    events: list[AlarmEvent] = []
    count = 0
    for one in devices:
        run = _Run(one, limits_of(one), events)
        async for reading in _readings(store, one, start_ns, end_ns):
            run.judge(reading)
            count += 1
            if count % _BREATHER == 0:
                await asyncio.sleep(0)
    events.sort(key=lambda event: event.time_ns)
    starts = [event.alarm for event in events if event.event == "start"]
    named = Counter(f"{alarm.parameter or '-'} {alarm.condition}" for alarm in starts)
    beds = len({(one.site, one.bed or one.device) for one in devices})
    result = await asyncio.to_thread(figures, events, beds, (end_ns - start_ns) / DAY_NS)
    return Outcome(count, result, dict(named.most_common()))


class _Run:
    """One device's alarms under the rules."""

    def __init__(self, replayed: Replayed, limits: Limits, events: list[AlarmEvent]) -> None:
        place = Place(replayed.ward, replayed.bed, None)
        self._device = Device(replayed.site, replayed.device, "replay", "replay", 1.0)
        self._events = events
        self._signals = Signals(self._record, limits.policy, place_of=lambda _, __: place, flood=limits.flood)
        self._conditions = Conditions(lambda _: limits, self._signals.tell)
        self._ticked_ns = 0

    def judge(self, reading: Reading) -> None:
        device, time_ns = self._device, reading.time_ns
        if time_ns - self._ticked_ns >= SECOND_NS:
            self._signals.tick(time_ns)
            self._ticked_ns = time_ns
        device.time_ns = device.received_ns = time_ns
        self._conditions.observe(device, reading, time_ns)
        for name, value in reading.values.items():
            latest = device.latest.setdefault(name, Latest(name))
            latest.value, latest.quality, latest.time_ns = value, "valid", time_ns
        for name, (quality, _) in (reading.exceptions or {}).items():
            if quality != "questionable":
                latest = device.latest.setdefault(name, Latest(name))
                latest.value, latest.quality, latest.time_ns = None, quality, time_ns

    def _record(
        self,
        event: Happening,
        time_ns: int,
        alarm: Alarm,
        *,
        ward: str | None,
        bed: str | None,
        patient: str | None,
        signal: Signal | None,
        who: str | None,
        why: str | None,
    ) -> AlarmEvent:
        number = len(self._events) + 1
        told = AlarmEvent(number, event, time_ns, alarm, ward, bed, patient, signal, who, why)
        self._events.append(told)
        return told


async def _readings(store: Store, one: Replayed, start_ns: int, end_ns: int) -> AsyncIterator[Reading]:
    while start_ns < end_ns:
        page = await store.readings(one.site, one.device, start_ns, end_ns, _PAGE)
        for reading in page:
            yield reading
        if len(page) < _PAGE:
            return
        start_ns = page[-1].time_ns + 1

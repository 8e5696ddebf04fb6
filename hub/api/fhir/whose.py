"""Whose a device's readings were: asked of the registry once, and remembered until it changes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hub.fhir.encounter import Chain, chains
from hub.fhir.observation import NOBODY, Attribution
from hub.ward.model import FOREVER

if TYPE_CHECKING:
    from hub.api.fhir.services import Registry

_DAY_NS: Final = 86_400_000_000_000
_MOST: Final = 20_000
"""Devices and patients that are remembered."""


class Span(Struct, frozen=True):
    """While one device's readings belonged to one patient, or to nobody."""

    site: str
    device: str
    start_ns: int
    end_ns: int
    attribution: Attribution


class _Kept(Struct, frozen=True):
    since_ns: int
    spans: list[Span]
    """From `since_ns` on, for as long as anything is known."""


class Whose:
    """Who was read by what, and when. Raises RegistryUnavailable where it must ask and can't."""

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry
        self._version = -1
        self._devices: dict[tuple[str, str], _Kept] = {}
        self._patients: dict[str, _Kept] = {}

    async def of_device(self, site: str, device: str, start_ns: int, end_ns: int) -> list[Span]:
        """Return whose one device's readings were, oldest first, without gaps: nobody's in between."""
        return _within((await self._of_device(site, device, start_ns)).spans, start_ns, end_ns)

    async def of_patient(self, who: str, start_ns: int, end_ns: int) -> list[Span]:
        """Return when which devices read a patient, cut where an Encounter begins or ends."""
        version = self._current()
        kept = self._patients.get(who)
        if kept is None or kept.since_ns > start_ns:
            since_ns = start_ns - start_ns % _DAY_NS
            kept = _Kept(since_ns, await _of_patient(self._registry, who, since_ns))
            if version == self._registry.version:
                self._patients[who] = kept
        return _within(kept.spans, start_ns, end_ns)

    async def at(self, site: str, device: str, time_ns: int) -> Attribution:
        """Return whose a reading of this time is."""
        kept = await self._of_device(site, device, time_ns)
        for span in reversed(kept.spans):
            if span.start_ns <= time_ns < span.end_ns:
                return span.attribution
        return NOBODY

    async def _of_device(self, site: str, device: str, start_ns: int) -> _Kept:
        version = self._current()
        kept = self._devices.get((site, device))
        if kept is None or kept.since_ns > start_ns:
            since_ns = start_ns - start_ns % _DAY_NS
            kept = _Kept(since_ns, await _of_device(self._registry, site, device, since_ns))
            if version == self._registry.version:
                self._devices[site, device] = kept
        return kept

    def _current(self) -> int:
        """Forget what a change of the registry has made old; return its version."""
        version = self._registry.version
        if version != self._version or len(self._devices) >= _MOST or len(self._patients) >= _MOST:
            self._version = version
            self._devices.clear()
            self._patients.clear()
        return version


def _within(spans: Sequence[Span], start_ns: int, end_ns: int) -> list[Span]:
    found = []
    for span in spans:
        begin_ns, until_ns = max(start_ns, span.start_ns), min(end_ns, span.end_ns)
        if begin_ns < until_ns:
            whole = (begin_ns, until_ns) == (span.start_ns, span.end_ns)
            found.append(
                span if whole else Span(span.site, span.device, begin_ns, until_ns, span.attribution)
            )
    return found


async def _of_patient(registry: "Registry", who: str, since_ns: int) -> list[Span]:
    found = []
    known = chains(await registry.stays(who))
    for period in await registry.device_periods_of_patient(who, since_ns, FOREVER):
        found += _cut(period.site, period.device, period.start_ns, period.end_ns, who, known)
    return found


async def _of_device(registry: "Registry", site: str, device: str, since_ns: int) -> list[Span]:
    found: list[Span] = []
    known: dict[str, list[Chain]] = {}
    cursor = since_ns
    for period in await registry.placements(site, device, since_ns, FOREVER):
        if cursor < period.start_ns:
            found.append(Span(site, device, cursor, period.start_ns, NOBODY))
        cursor = period.end_ns
        if period.patient is None:
            found.append(Span(site, device, period.start_ns, period.end_ns, NOBODY))
            continue
        if period.patient not in known:
            known[period.patient] = chains(await registry.stays(period.patient))
        who = period.patient
        found += _cut(site, device, period.start_ns, period.end_ns, who, known[who])
    if cursor < FOREVER:
        found.append(Span(site, device, cursor, FOREVER, NOBODY))
    return _joined(found)


def _cut(site: str, device: str, start_ns: int, end_ns: int, who: str, known: Sequence[Chain]) -> list[Span]:
    found = []
    cursor = start_ns
    for chain in known:
        begin = max(cursor, chain.start_ns)
        end = min(end_ns, FOREVER if chain.end_ns is None else chain.end_ns)
        if begin >= end:
            continue
        if cursor < begin:
            found.append(Span(site, device, cursor, begin, Attribution(who)))
        found.append(Span(site, device, begin, end, Attribution(who, chain.id)))
        cursor = end
    if cursor < end_ns:
        found.append(Span(site, device, cursor, end_ns, Attribution(who)))
    return found


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and last.end_ns == span.start_ns and last.attribution == span.attribution:
            joined[-1] = Span(span.site, span.device, last.start_ns, span.end_ns, span.attribution)
        else:
            joined.append(span)
    return joined

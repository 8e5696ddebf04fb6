"""Observations from the store: read by id, searched page by page, the newest of each kind."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from hub.api.fhir import directory
from hub.api.fhir.errors import missing, wrong
from hub.api.fhir.query import Query
from hub.api.fhir.selection import Selection, select
from hub.api.fhir.services import FhirServices
from hub.api.fhir.walk import Direction, Item, Key, key_of, walk
from hub.api.fhir.whose import Span
from hub.device import Latest
from hub.fhir.bundle import Entry
from hub.fhir.codes import GROUPS
from hub.fhir.ids import channel_key, observation_id, parse_observation_id
from hub.fhir.observation import groups_by_name, groups_in, observation, rendered
from hub.fhir.waveform import WAVEFORMS, waveform
from hub.model import Reading, Waveform

COUNT_LIMIT: Final = 500_000
"""Readings that a count may walk."""
_BREATH: Final = 200
"""Observations after which others get the event loop."""


class Found(Struct, frozen=True):
    """One Observation of a search, and where to go on after it."""

    entry: Entry
    position: tuple[int, str, str, str, str]
    """Time (negative where the newest come first), site, device, channel, group."""
    span: Span


async def read(services: FhirServices, text: str) -> tuple[bytes, str | None]:
    """Return one Observation and whose it is (surrogate id)."""
    parsed = parse_observation_id(text)
    entry = None
    if parsed is not None and parsed.group in GROUPS:
        entry = await directory.device_by_key(services, parsed.device)
    if parsed is None or entry is None:
        raise missing(f"there is no Observation {text[:64]}", "Observation.id")
    group = GROUPS[parsed.group]
    site, device, at_ns = entry.site, entry.id, parsed.time_ns
    attribution = await services.whose.at(site, device, at_ns)
    if parsed.channel == channel_key(WAVEFORMS):
        for window in await services.store.waveforms(site, device, group.members[0], at_ns, at_ns + 1):
            return waveform(window, attribution), attribution.patient
    for reading in await services.store.readings(site, device, at_ns, at_ns + 1, 100):
        if channel_key(reading.channel) == parsed.channel and group in groups_in(reading):
            return observation(reading, group, attribution), attribution.patient
    raise missing(f"there is no Observation {text[:64]}", "Observation.id")


def direction_of(query: Query) -> Direction:
    """Return the order that a search asks for: the newest first where it says nothing."""
    text = query.one("_sort")
    if text not in (None, "date", "-date"):
        raise wrong("not-supported", "expected date or -date", "_sort")
    return "oldest" if text == "date" else "newest"


async def find(
    services: FhirServices,
    selection: Selection,
    direction: Direction,
    *,
    expected: int,
    after: Sequence[object] | None = None,
) -> AsyncIterator[Found]:
    """Give the Observations of a selection, in order, from behind a position on."""
    start: Key | None = None
    if after is not None:
        start = (int(str(after[0])), str(after[1]), str(after[2]), str(after[3]))
    done = 0
    async for item, span in walk(
        services.store,
        selection.spans,
        direction,
        chunk=_chunk(selection, expected),
        parameters=selection.parameters,
        waveforms=selection.waveforms,
        start=start,
    ):
        key = key_of(item, direction)
        skip = "" if after is None or key != start else str(after[4])
        for name, entry in _entries(item, span, selection):
            if name > skip:
                yield Found(entry, (*key, name), span)
                done += 1
                if done % _BREATH == 0:
                    await asyncio.sleep(0)


def _chunk(selection: Selection, expected: int) -> int:
    if not selection.groups:
        return 0
    # Of one or two devices all at once: every look costs a millisecond or more, a reading some microseconds.
    return max(16, min(5_000, 2 * expected // max(2, len(selection.spans)) + 2))


def _entries(item: Item, span: Span, selection: Selection) -> Iterator[tuple[str, Entry]]:
    """Give the Observations of an item that are meant, by name."""
    if isinstance(item, Waveform):
        group = GROUPS[item.waveform.replace("_", "-")]
        # Tests are of readings: what they look at is the same of a waveform.
        probe = Reading(item.site, item.device, WAVEFORMS, item.time_ns, 0, item.received_ns, item.seq, {})
        if all(test(probe, span, group) for test in selection.tests):
            own = observation_id(item.site, item.device, WAVEFORMS, item.time_ns, group.name)
            yield group.name, Entry("Observation", own, waveform(item, span.attribution))
        return
    meant = [group for group in groups_by_name(item) if selection.takes(item, span, group)]
    contents = rendered(item, meant, span.attribution)
    for group, (own, content) in zip(meant, contents, strict=True):
        yield group.name, Entry("Observation", own, content)


async def count(services: FhirServices, selection: Selection) -> int:
    """Return how many Observations a selection has; refuses what would take too long."""
    total = walked = 0
    async for item, span in walk(
        services.store,
        selection.spans,
        "oldest",
        chunk=5_000 if selection.groups else 0,
        parameters=selection.parameters,
        waveforms=selection.waveforms,
    ):
        if isinstance(item, Reading):
            total += sum(selection.takes(item, span, group) for group in groups_in(item))
        else:
            total += sum(1 for _ in _entries(item, span, selection))
        walked += 1
        if walked % (5 * _BREATH) == 0:
            await asyncio.sleep(0)
        if walked > COUNT_LIMIT:
            text = f"more than {COUNT_LIMIT:,} readings would have to be counted: narrow the date"
            raise wrong("too-costly", text, "date", status=403)
    return total


async def last(services: FhirServices, query: Query) -> tuple[list[Found], Selection]:
    """Return the newest Observations of each kind of one subject (`$lastn`), and what was meant."""
    if not (query.every("patient") or query.every("subject")):
        raise wrong("required", "give patient or subject", "patient")
    if not (query.every("code") or query.every("category")):
        raise wrong("required", "give code or category", "code")
    text = query.one("max") or "1"
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:9]) <= 1000:
        raise wrong("value", "expected a number from 1 to 1000", "max")
    most = int(text[:9])
    selection = await select(services, query)
    found: dict[str, list[Found]] = {}
    for spans in _by_device(selection.spans):
        wanted = dict.fromkeys(selection.groups, most)
        for span in spans:
            possible = {name: left for name, left in wanted.items() if selection.possible(span, name)}
            for reading in await _newest(services, span, selection, possible) if possible else ():
                for group in groups_in(reading):
                    if wanted.get(group.name, 0) and selection.takes(reading, span, group):
                        own, content = next(rendered(reading, (group,), span.attribution))
                        entry = Entry("Observation", own, content)
                        position = (*key_of(reading, "newest"), group.name)
                        found.setdefault(group.name, []).append(Found(entry, position, span))
                        wanted[group.name] -= 1
            wanted = {name: left for name, left in wanted.items() if left}
    newest = [one for name in sorted(found) for one in sorted(found[name], key=_by_position)[:most]]
    return newest, selection


def _by_position(one: Found) -> tuple[int, str, str, str, str]:
    return one.position


async def _newest(
    services: FhirServices, span: Span, selection: Selection, wanted: dict[str, int]
) -> list[Reading]:
    """Return readings of a span, newest first, that hold the newest of every group wanted."""
    most = max(wanted.values())
    found: dict[tuple[int, str], Reading] = {}
    left = set(wanted)
    record = services.find_device(span.site, span.device)
    if record is not None and most == 1:
        # Where the running hub knows when a parameter was last told, the store need not look for it.
        for at_ns in {record.latest[name].time_ns for name in _members(left) if name in record.latest}:
            if span.start_ns <= at_ns < span.end_ns:
                for reading in await services.store.readings(span.site, span.device, at_ns, at_ns + 1, 100):
                    found[-reading.time_ns, reading.channel] = reading
                    left -= {
                        group.name
                        for group in groups_in(reading)
                        if _is_latest(record.latest, group.members, reading)
                        and selection.takes(reading, span, group)
                    }
    end_ns = span.end_ns
    # What the running hub has heard of is found at once; the rest is looked for every few minutes alone.
    heard = record is not None and any(name in record.latest for name in _members(left))
    key = (span.site, span.device, span.start_ns, frozenset(left))
    if most == 1 and not heard and services.absence.holds(key, services.now_ns()):
        left = set()
    while left and end_ns > span.start_ns and most == 1:
        before = await services.store.newest(
            span.site, span.device, span.start_ns, end_ns, 1, tuple(_members(left))
        )
        if not before:
            key = (span.site, span.device, span.start_ns, frozenset(left))
            services.absence.note(key, services.now_ns())
            break
        for reading in before:
            found[-reading.time_ns, reading.channel] = reading
            told = {g.name for g in groups_in(reading) if selection.takes(reading, span, g)} & left
            left -= told
            end_ns = reading.time_ns if not told else end_ns
    if most > 1:
        for name in left:
            for reading in await services.store.newest(
                span.site, span.device, span.start_ns, span.end_ns, wanted[name], GROUPS[name].members
            ):
                found[-reading.time_ns, reading.channel] = reading
    return [found[key] for key in sorted(found)]


def _is_latest(latest: Mapping[str, Latest], members: Sequence[str], reading: Reading) -> bool:
    """Tell whether no member of a group was told after this reading."""
    times = [latest[name].time_ns for name in members if name in latest]
    return max(times, default=0) <= reading.time_ns


def channel_of(text: str) -> str:
    """Return the channel of a position."""
    return WAVEFORMS if text.startswith("~") else text


def _members(groups: set[str]) -> list[str]:
    return [member for name in sorted(groups) for member in GROUPS[name].members]


def _by_device(spans: Sequence[Span]) -> list[list[Span]]:
    """Return spans by device, the newest of each first."""
    devices: dict[tuple[str, str], list[Span]] = {}
    for span in sorted(spans, key=lambda span: -span.end_ns):
        devices.setdefault((span.site, span.device), []).append(span)
    return list(devices.values())

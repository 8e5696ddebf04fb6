"""Devices, their readings and their waveforms."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field
from starlette.responses import Response

from hub.api.answers import (
    DeviceAnswer,
    Devices,
    Exceptional,
    ReadingAnswer,
    Readings,
    SiteReading,
    SiteReadings,
    Windows,
    answer,
    described,
)
from hub.api.parameters import Id, Span
from hub.api.problems import invalid, missing
from hub.api.services import Hub, Services
from hub.events import moment
from hub.model import Reading
from hub.vocabulary import PARAMETERS, unknown
from hub.ward.model import DeviceEntry
from hub.waves import window

router = APIRouter(tags=["devices"])

_LONGEST_WAVEFORM_S = 900.0
_LONGEST_SITE_S = 3600.0
_ENOUGH_FOR_TIES = 100_000
"""Readings with one time: as many as a site has devices and channels, far below this."""

Read = Callable[[int, int, int], Awaitable[list[Reading]]]
"""Read from a start up to an end (ns), at most so many."""


class ReadingsQuery(Span):
    """Which readings, and how many."""

    limit: int = Field(default=1000, ge=1, le=10_000)
    cursor: str | None = Field(default=None, pattern=r"^\d{1,19}$", description="`next` of the page before.")


@router.get("/devices", summary="List devices", **described(Devices, 401, 422, 503))
async def devices(hub: Hub) -> Response:
    """Every device, registered or not, with where it is now."""
    return answer(Devices([device_answer(hub, entry) for entry in await hub.registry.devices()]))


@router.get(
    "/devices/unassigned", summary="List devices that nobody has placed", **described(Devices, 401, 422, 503)
)
async def unassigned(hub: Hub) -> Response:
    """Devices that were heard and are not registered. Their readings are stored without a patient."""
    return answer(Devices([device_answer(hub, entry) for entry in await hub.registry.unassigned()]))


@router.get("/devices/{site}/{device}", summary="Get a device", **described(DeviceAnswer, 401, 404, 422, 503))
async def device(hub: Hub, site: Id, device: Id) -> Response:
    """One device with where it is now."""
    return answer(device_answer(hub, entry_of(hub, site, device)))


@router.get(
    "/devices/{site}/{device}/readings",
    summary="Get stored readings",
    **described(Readings, 401, 404, 422, 502, 503),
)
async def readings(hub: Hub, site: Id, device: Id, query: Annotated[ReadingsQuery, FromQuery()]) -> Response:
    """Readings of a device, oldest first, in pages. Readings of one time are always in one page."""
    entry_of(hub, site, device)
    page, following = await _page(query, hub.now_ns(), partial(hub.store.readings, site, device))
    return answer(Readings([ReadingAnswer(**_reading(one)) for one in page], following))


@router.get(
    "/sites/{site}/readings",
    summary="Get the stored readings of every device",
    **described(SiteReadings, 401, 422, 502, 503),
)
async def site_readings(hub: Hub, site: Id, query: Annotated[ReadingsQuery, FromQuery()]) -> Response:
    """Readings of every device of a site, oldest first, in pages; at most an hour, for exports and audits."""
    page, following = await _page(
        query, hub.now_ns(), partial(hub.store.site_readings, site), _LONGEST_SITE_S
    )
    return answer(SiteReadings([SiteReading(**_reading(one), device=one.device) for one in page], following))


@router.get(
    "/devices/{site}/{device}/waveforms/{waveform}",
    summary="Get stored windows of a waveform",
    **described(Windows, 401, 404, 422, 502, 503),
)
async def waveforms(
    hub: Hub, site: Id, device: Id, waveform: Id, query: Annotated[Span, FromQuery()]
) -> Response:
    """Windows that begin within the time, oldest first; at most a quarter of an hour."""
    now_ns = hub.now_ns()
    if query.from_ns is None:
        end_ns = now_ns if query.to_ns is None else query.to_ns
        query = Span(**{"from": end_ns - 60_000_000_000, "to": end_ns})
    start_ns, end_ns = query.resolve(now_ns, _LONGEST_WAVEFORM_S)
    is_waveform(waveform)
    entry_of(hub, site, device)
    found = await hub.store.waveforms(site, device, waveform, start_ns, end_ns)
    return answer(Windows([window(one) for one in found]))


def is_waveform(name: str) -> None:
    """Refuse what is no waveform of the vocabulary."""
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise invalid("waveform", unknown(name))
    if parameter.kind != "waveform":
        raise invalid("waveform", f"{name} is a {parameter.kind}, not a waveform")


def entry_of(hub: Services, site: str, device: str) -> DeviceEntry:
    """Return how a device is provisioned, or refuse."""
    entry = hub.registry.device(site, device)
    if entry is None:
        raise missing(f"there is no device {device} at {site}")
    return entry


async def _page(
    query: ReadingsQuery, now_ns: int, read: Read, longest_s: float = 10 * 365.25 * 86_400
) -> tuple[list[Reading], str | None]:
    """Return at most `limit` readings and the cursor of the next page.

    Two devices or channels may have determined values at one time; a page never ends between them.
    """
    start_ns, end_ns = query.resolve(now_ns, longest_s)
    if query.cursor is not None:
        start_ns = int(query.cursor)
        if start_ns >= end_ns:
            raise invalid("cursor", "expected `next` of the page before, with the same `from` and `to`")
    found = await read(start_ns, end_ns, query.limit + 1)
    if len(found) <= query.limit:
        return found, None
    following = found[query.limit].time_ns
    page = [one for one in found if one.time_ns < following]
    if page:
        return page, str(following)
    page = await read(following, following + 1, _ENOUGH_FOR_TIES)
    more = await read(following + 1, end_ns, 1)
    return page, str(more[0].time_ns) if more else None


def device_answer(hub: Services, entry: DeviceEntry) -> DeviceAnswer:
    """Return a device as it is told."""
    at = hub.registry.placement(entry.site, entry.id)
    return DeviceAnswer(
        site=entry.site,
        device=entry.id,
        definition=entry.definition,
        area=entry.area,
        registered=entry.registered,
        interval_s=entry.interval_s,
        gateway=entry.gateway,
        first_seen=None if entry.first_seen_ns is None else moment(entry.first_seen_ns),
        last_topic=entry.last_topic,
        ward=at.ward,
        bed=at.bed,
        patient=at.patient,
    )


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "time": moment(reading.time_ns),
        "seq": reading.seq,
        "channel": reading.channel,
        "values": reading.values,
        "exceptions": {name: Exceptional(*what) for name, what in (reading.exceptions or {}).items()},
        "device_time": moment(reading.device_time_ns) if reading.device_time_ns else None,
        "received": moment(reading.received_ns),
    }

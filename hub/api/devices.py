"""Devices, their readings and their waveforms."""

from typing import Annotated

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
    Windows,
    answer,
    described,
)
from hub.api.parameters import Id, Span
from hub.api.problems import invalid, missing
from hub.api.services import Hub, Services
from hub.events import moment
from hub.model import Reading
from hub.stores.store import Store
from hub.vocabulary import PARAMETERS, unknown
from hub.ward.model import DeviceEntry
from hub.waves import window

router = APIRouter(tags=["devices"])

_LONGEST_WAVEFORM_S = 900.0
_ENOUGH_FOR_TIES = 1000
"""Readings of one device with one time: as many as it has channels, far below this."""


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
    return answer(device_answer(hub, await entry_of(hub, site, device)))


@router.get(
    "/devices/{site}/{device}/readings",
    summary="Get stored readings",
    **described(Readings, 401, 404, 422, 502, 503),
)
async def readings(hub: Hub, site: Id, device: Id, query: Annotated[ReadingsQuery, FromQuery()]) -> Response:
    """Readings of a device, oldest first, in pages. Readings of one time are always in one page."""
    start_ns, end_ns = query.resolve(hub.now_ns())
    await entry_of(hub, site, device)
    if query.cursor is not None:
        start_ns = int(query.cursor)
        if start_ns >= end_ns:
            raise invalid("cursor", "expected `next` of the page before, with the same `from` and `to`")
    page, following = await _page(hub.store, site, device, start_ns, end_ns, query.limit)
    return answer(Readings([_reading(one) for one in page], None if following is None else str(following)))


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
    await entry_of(hub, site, device)
    found = await hub.store.waveforms(site, device, waveform, start_ns, end_ns)
    return answer(Windows([window(one) for one in found]))


def is_waveform(name: str) -> None:
    """Refuse what is no waveform of the vocabulary."""
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise invalid("waveform", unknown(name))
    if parameter.kind != "waveform":
        raise invalid("waveform", f"{name} is a {parameter.kind}, not a waveform")


async def entry_of(hub: Services, site: str, device: str) -> DeviceEntry:
    """Return how a device is provisioned, or refuse."""
    for entry in await hub.registry.devices():
        if (entry.site, entry.id) == (site, device):
            return entry
    raise missing(f"there is no device {device} at {site}")


async def _page(
    store: Store, site: str, device: str, start_ns: int, end_ns: int, limit: int
) -> tuple[list[Reading], int | None]:
    """Return at most `limit` readings and the time at which the next page starts.

    Two channels may have determined values at one time; a page never ends between them.
    """
    found = await store.readings(site, device, start_ns, end_ns, limit + 1)
    if len(found) <= limit:
        return found, None
    following = found[limit].time_ns
    page = [one for one in found if one.time_ns < following]
    if page:
        return page, following
    page = await store.readings(site, device, following, following + 1, _ENOUGH_FOR_TIES)
    more = await store.readings(site, device, following + 1, end_ns, 1)
    return page, more[0].time_ns if more else None


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


def _reading(reading: Reading) -> ReadingAnswer:
    return ReadingAnswer(
        time=moment(reading.time_ns),
        seq=reading.seq,
        channel=reading.channel,
        values=reading.values,
        exceptions={name: Exceptional(*what) for name, what in (reading.exceptions or {}).items()},
        device_time=moment(reading.device_time_ns) if reading.device_time_ns else None,
        received=moment(reading.received_ns),
    )

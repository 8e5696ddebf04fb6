"""Where beacons are."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter
from fastapi import Query as FromQuery
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from hub.api.answers import answer, described
from hub.api.parameters import Id, InScope, Instant, Span
from hub.api.problems import missing
from hub.api.services import Hub, Services
from hub.events import moment
from hub.location.places import Places
from hub.location.tracker import Position
from hub.location.whereabouts import KEPT_OF, Whereabout, Whereabouts
from hub.model import ZoneChange
from hub.ward.model import Period

router = APIRouter(tags=["places"])

_PAGE: Final = 10_000
_EXAMPLE: Final[dict[str, Any]] = {
    "site": "main",
    "beacon": "AC233F000001",
    "kept": True,
    "from": "2026-11-24T00:00:00Z",
    "to": "2026-11-25T00:00:00Z",
    "stays": [
        {
            "from": "2026-11-23T21:14:03.250000Z",
            "to": "2026-11-24T09:30:12.500000Z",
            "change": "entered",
            "zone": "room-1",
            "zone_name": "Room 1",
            "ward": "icu",
            "patients": ["pt-0123456789ab"],
        },
        {
            "from": "2026-11-24T09:30:12.500000Z",
            "to": None,
            "change": "entered",
            "zone": "corridor",
            "zone_name": "Corridor",
            "ward": "icu",
            "patients": ["pt-0123456789ab"],
        },
    ],
    "more": False,
}


class LocationAnswer(Struct, frozen=True):
    """Where one beacon is, and whom or what it goes with."""

    site: str
    beacon: str
    kind: str
    """patient, staff, asset or unknown."""
    name: str | None
    """Of staff and assets."""
    patient: str | None
    """Surrogate id."""
    zone: str | None
    """Null where it is unknown."""
    zone_name: str | None
    last_zone: str | None
    """The zone, also while it is unknown: then where it was last."""
    last_zone_name: str | None
    ward: str | None
    since: datetime | None
    """Since when it is in the zone, or unknown."""
    seen: datetime
    """When a gateway last heard it."""
    away: bool
    rssi: float | None
    """Smoothed, in its zone; dBm."""


class Locations(Struct, frozen=True):
    """Beacons heard since the hub started, or a while before."""

    locations: list[LocationAnswer]


class ZoneStay(Struct, frozen=True, rename={"start": "from", "until": "to"}):
    """A time that a beacon was in one zone, or in none."""

    start: datetime
    until: datetime | None
    """Null where it lasted to the end of the time that was asked for."""
    change: Literal["entered", "lost", "away"]
    """What began it. lost: nobody hears the beacon. away: nobody does for long."""
    zone: str | None
    """Null where it was in none."""
    zone_name: str | None
    ward: str | None
    """Name and ward are those that the ward file gives the zone now."""
    patients: list[str]
    """Whose the beacon was meanwhile (surrogate ids), as placements say now."""


class LocationHistory(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """Where one beacon was over a time, oldest first."""

    site: str
    beacon: str
    kept: bool
    """Whether changes of its zone are kept: those of patients' beacons and of assets are."""
    start: datetime
    end: datetime
    stays: list[ZoneStay]
    """The first may have begun before the time."""
    more: bool
    """Whether `limit` left older ones out: ask again with `to` as the `from` of the first."""


class HistoryQuery(Span):
    """Which time."""

    from_ns: Instant | None = Field(default=None, alias="from", description="A day before `to` if absent.")
    limit: int = Field(default=1000, ge=1, le=_PAGE, description="The newest so many.")


@router.get("/locations", summary="List where beacons are", **described(Locations, 401, 422))
async def locations(hub: Hub, query: Annotated[InScope, FromQuery()]) -> Response:
    """Every beacon that a gateway has heard, with its zone. Rooms are decided from signal strengths."""
    found = [about for about in _everyone(hub) if query.scope.takes(about.position.site, about.ward)]
    return answer(Locations([_location(about) for about in found]))


@router.get(
    "/locations/{site}/{beacon}",
    summary="Get where a beacon is",
    **described(LocationAnswer, 401, 404, 422, 502, 503),
)
async def location(hub: Hub, site: Id, beacon: Id) -> Response:
    """One beacon with its zone; of one that was not heard since the hub started, where it was last."""
    found = hub.whereabouts
    about = None if found is None else found.of(site, beacon) or await _from_history(hub, found, site, beacon)
    if about is None:
        raise missing(f"no gateway has heard a beacon {beacon} at {site}, as far as the hub remembers")
    return answer(_location(about))


@router.get(
    "/locations/{site}/{beacon}/history",
    summary="Get where a beacon was",
    **described(LocationHistory, 401, 404, 422, 502, 503, example=_EXAMPLE),
)
async def history(hub: Hub, site: Id, beacon: Id, query: Annotated[HistoryQuery, FromQuery()]) -> Response:
    """The zones of one beacon over a time, from the store. They are kept as long as readings."""
    end_ns = hub.now_ns() + 1 if query.to_ns is None else query.to_ns  # of this very moment, too
    start_ns, end_ns = query.resolve(end_ns, default_s=86_400)
    kept = hub.places.owner(site, beacon).kind in KEPT_OF or bool(
        await hub.registry.placements(site, beacon, 0, end_ns)
    )
    changes = await hub.store.zone_changes(site, beacon, start_ns, end_ns, query.limit + 1)
    more = len(changes) > query.limit
    if not more:  # what held already when the time began
        changes += await hub.store.zone_changes(site, beacon, 0, start_ns, 1)
    changes = changes[: query.limit + (not more)][::-1]
    first_ns = min(start_ns, changes[0].time_ns) if changes else start_ns
    periods = await hub.registry.placements(site, beacon, first_ns, end_ns)
    stays = _stays(changes, end_ns, periods, hub.places)
    return answer(LocationHistory(site, beacon, kept, moment(start_ns), moment(end_ns), stays, more))


def _stays(
    changes: Sequence[ZoneChange], end_ns: int, periods: Sequence[Period], places: Places
) -> list[ZoneStay]:
    stays = []
    for change, following in pairwise([*changes, None]):
        assert change is not None  # noqa: S101 - None is the last alone
        until_ns = end_ns if following is None else following.time_ns
        zone = change.zone if change.change == "entered" else None
        known = places.zone(zone)
        meanwhile = [one for one in periods if one.start_ns < until_ns and one.end_ns > change.time_ns]
        stays.append(
            ZoneStay(
                start=moment(change.time_ns),
                until=None if following is None else moment(until_ns),
                change=change.change,
                zone=zone,
                zone_name=None if known is None else known.name,
                ward=None if known is None else known.ward,
                patients=list(dict.fromkeys(one.patient for one in meanwhile if one.patient is not None)),
            )
        )
    return stays


async def _from_history(hub: Services, found: Whereabouts, site: str, beacon: str) -> Whereabout | None:
    """Return where a beacon was last, by the store; its zone now is unknown."""
    changes = await hub.store.zone_changes(site, beacon, 0, hub.now_ns() + 1, 3)  # away comes after lost
    last = next((one for one in changes if one.zone is not None), None)
    if last is None:
        return None
    away = changes[0].change == "away"
    return found.about(Position(site, beacon, None, 0, last.time_ns, away, None, last.zone))


def _everyone(hub: Services) -> list[Whereabout]:
    return [] if hub.whereabouts is None else list(hub.whereabouts.everyone())


def _location(about: Whereabout) -> LocationAnswer:
    position = about.position
    return LocationAnswer(
        site=position.site,
        beacon=position.beacon,
        kind=about.owner.kind,
        name=about.owner.name,
        patient=about.patient,
        zone=position.zone,
        zone_name=about.zone_name,
        last_zone=position.last_zone,
        last_zone_name=about.last_zone_name,
        ward=about.ward,
        since=moment(position.since_ns) if position.since_ns else None,
        seen=moment(position.seen_ns),
        away=position.away,
        rssi=None if position.rssi is None else round(position.rssi, 1),
    )

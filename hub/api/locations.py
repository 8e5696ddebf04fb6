"""Where beacons are."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from fastapi import Query as FromQuery
from msgspec import Struct
from starlette.responses import Response

from hub.api.answers import answer, described
from hub.api.parameters import Id, InScope
from hub.api.problems import missing
from hub.api.services import Hub, Services
from hub.events import moment
from hub.location.whereabouts import Whereabout

router = APIRouter(tags=["places"])


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
    """Beacons heard since the hub started."""

    locations: list[LocationAnswer]


@router.get("/locations", summary="List where beacons are", **described(Locations, 401, 422))
async def locations(hub: Hub, query: Annotated[InScope, FromQuery()]) -> Response:
    """Every beacon that a gateway has heard, with its zone. Rooms are decided from signal strengths."""
    found = [about for about in _everyone(hub) if query.scope.takes(about.position.site, about.ward)]
    return answer(Locations([_location(about) for about in found]))


@router.get(
    "/locations/{site}/{beacon}", summary="Get where a beacon is", **described(LocationAnswer, 401, 404, 422)
)
async def location(hub: Hub, site: Id, beacon: Id) -> Response:
    """One beacon with its zone."""
    about = None if hub.whereabouts is None else hub.whereabouts.of(site, beacon)
    if about is None:
        raise missing(f"no gateway has heard a beacon {beacon} at {site} since the hub started")
    return answer(_location(about))


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

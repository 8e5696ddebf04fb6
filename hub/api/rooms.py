"""Floor plans: the rooms of each ward, with their beds and gateways."""

from typing import Annotated

from fastapi import APIRouter
from fastapi import Query as FromQuery
from msgspec import Struct
from starlette.responses import Response

from hub.api.answers import answer, described
from hub.api.parameters import Id, InScope
from hub.api.problems import missing
from hub.api.services import Hub
from hub.location.places import Places
from hub.location.plan import Room, extent, plan
from hub.ward.model import WardEntry

router = APIRouter(tags=["places"])


class Plan(Struct, frozen=True):
    """One ward's rooms on a plan of their own, in metres: x to the right, y downwards, from (0, 0)."""

    site: str
    ward: str | None
    """Null for the zones that belong to no ward: a lift, the way out."""
    name: str
    width: float
    height: float
    rooms: list[Room]


class Plans(Struct, frozen=True):
    """Floor plans, by site and ward."""

    plans: list[Plan]


@router.get("/rooms", summary="List floor plans", **described(Plans, 401, 422, 503))
async def plans(hub: Hub, query: Annotated[InScope, FromQuery()]) -> Response:
    """The rooms of every ward in scope, and at the end the zones that belong to no ward.

    Every bed is in one room. Rooms that the ward file doesn't draw are laid out by the hub: `drawn` is false.
    """
    wards = [one for one in await hub.registry.wards() if query.scope.takes(one.site, one.id)]
    found = [_plan(hub.places, ward) for ward in wards]
    site = hub.places.site
    elsewhere = plan(hub.places.zones_of(site, None), ())
    if elsewhere and query.scope.takes(site, None):
        found.append(Plan(site, None, hub.places.name, *extent(elsewhere), elsewhere))
    return answer(Plans(found))


@router.get(
    "/wards/{site}/{ward}/rooms", summary="Get a ward's floor plan", **described(Plan, 401, 404, 422, 503)
)
async def rooms(hub: Hub, site: Id, ward: Id) -> Response:
    """The rooms of one ward, with the beds and gateways in each."""
    for entry in await hub.registry.wards():
        if (entry.site, entry.id) == (site, ward):
            return answer(_plan(hub.places, entry))
    raise missing(f"there is no ward {ward} at {site}")


def _plan(places: Places, ward: WardEntry) -> Plan:
    found = plan(places.zones_of(ward.site, ward.id), ward.beds)
    return Plan(ward.site, ward.id, ward.name, *extent(found), found)

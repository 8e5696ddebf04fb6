"""A ward's floor plan: its rooms in metres, as the ward file draws them or laid out by the hub. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hub.location.places import Outline, Zone

_BED_M: Final = 3.0
"""Width that a bed takes at its wall."""
_DEPTH_M: Final = 5.0
_SMALLEST_M: Final = 4.0
"""Width of a room, however few its beds."""
_CORRIDOR_M: Final = 3.0


class Room(Struct, frozen=True):
    """A room, corridor or way out on the plan of its ward."""

    id: str
    """Of its zone; of the bed where a bed stands in no zone and so has a room of its own."""
    name: str
    zone: str | None
    """Where beacons in it are said to be; null for a room that is no zone of the ward file."""
    forbidden: bool
    """Whether a patient's beacon there is an alarm."""
    beds: list[str]
    gateways: list[str]
    """Ids of the gateways that hang in it."""
    drawn: bool
    """Whether the ward file says where it is; if not, the hub has laid it out."""
    x: float
    """Left edge."""
    y: float
    """Upper edge."""
    width: float
    height: float
    outline: list[tuple[float, float]]
    """Its corners in order; of a rectangle four, from the upper left on clockwise."""


def plan(zones: Sequence[Zone], beds: Sequence[str]) -> list[Room]:
    """Return the rooms of one ward, the file's first; metres, x to the right and y downwards from (0, 0).

    A bed that stands in no zone gets a room of its own. What the file doesn't draw is laid out below what it
    draws: rooms with beds along both sides of a corridor, those without in the corridor.
    """
    housed = {bed for zone in zones for bed in zone.beds}
    free = dict.fromkeys(bed for bed in beds if bed not in housed)
    # A zone that bears a bed's name is the bed's room, though the file doesn't say so.
    rooms = [replace(zone, beds=(*zone.beds, zone.id)) if zone.id in free else zone for zone in zones]
    named = {zone.id for zone in zones}
    rooms += [Zone(bed, bed, None, beds=(bed,)) for bed in free if bed not in named]
    outlines = {room.id: room.outline for room in rooms if room.outline}
    below = max((y for outline in outlines.values() for _, y in outline), default=-_CORRIDOR_M)
    laid_out = _lay_out([room for room in rooms if not room.outline], below + _CORRIDOR_M)
    return [
        _room(room, outlines.get(room.id) or laid_out[room.id], is_zone=room.id in named) for room in rooms
    ]


def extent(rooms: Iterable[Room]) -> tuple[float, float]:
    """Return width and height of a plan from (0, 0) on."""
    corners = [corner for room in rooms for corner in room.outline]
    return max((x for x, _ in corners), default=0.0), max((y for _, y in corners), default=0.0)


def _lay_out(zones: Sequence[Zone], top: float) -> dict[str, Outline]:
    wards, corridors = [zone for zone in zones if zone.beds], [zone for zone in zones if not zone.beds]
    upper = wards[: (len(wards) + 1) // 2]
    corridor_y = top + (_DEPTH_M if upper else 0.0)
    found: dict[str, Outline] = {}
    length = 0.0
    for row, y in ((upper, top), (wards[len(upper) :], corridor_y + _CORRIDOR_M)):
        x = 0.0
        for zone in row:
            width = max(_SMALLEST_M, _BED_M * len(zone.beds))
            found[zone.id] = _rectangle(x, y, width, _DEPTH_M)
            x += width
        length = max(length, x)
    if corridors:
        width = max(length / len(corridors), _SMALLEST_M)
        for number, zone in enumerate(corridors):
            found[zone.id] = _rectangle(number * width, corridor_y, width, _CORRIDOR_M)
    return found


def _rectangle(x: float, y: float, width: float, height: float) -> Outline:
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def _room(zone: Zone, outline: Outline, *, is_zone: bool) -> Room:
    xs, ys = [x for x, _ in outline], [y for _, y in outline]
    return Room(
        id=zone.id,
        name=zone.name,
        zone=zone.id if is_zone else None,
        forbidden=zone.forbidden,
        beds=list(zone.beds),
        gateways=list(zone.gateways),
        drawn=bool(zone.outline),
        x=min(xs),
        y=min(ys),
        width=max(xs) - min(xs),
        height=max(ys) - min(ys),
        outline=list(outline),
    )

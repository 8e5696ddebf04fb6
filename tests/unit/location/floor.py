"""Simulated floors: rooms with walls and gateways, and a beacon that a person carries through the doors.

Strengths follow COST 231's multi-wall model (COST 231 final report, 1999, section 4.7): free space, and
6.9 dB a heavy wall, with 4 dB of Gaussian noise on each sighting. Nothing here knows how the hub decides.
"""

import math
import random
from dataclasses import dataclass, field
from itertools import pairwise

AT_1_M_DBM = -59
WALL_DB = 6.9
NOISE_DB = 4.0
HEARD_DBM = -95
WALK_M_S = 1.2
CEILING_M = 1.7
"""Of a gateway above a beacon that is worn."""
STEP_S = 0.25
"""A sighting each: four a second, of the four gateways that hear the beacon best."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Area:
    """A rectangle of a zone; `door` leads to the corridor beside it."""

    zone: str
    x: float
    y: float
    width: float
    height: float
    door: Point | None = None

    def holds(self, at: Point) -> bool:
        return self.x <= at[0] < self.x + self.width and self.y <= at[1] < self.y + self.height

    def somewhere(self, chance: random.Random) -> Point:
        """Return a point at least half a metre from the walls."""
        return (
            chance.uniform(self.x + 0.5, self.x + self.width - 0.5),
            chance.uniform(self.y + 0.5, self.y + self.height - 0.5),
        )


@dataclass(frozen=True)
class Floor:
    """Areas that don't overlap, and gateways at the ceiling by id."""

    areas: list[Area]
    gateways: dict[str, Point]
    _walls: dict[tuple[Point, Point], int] = field(default_factory=dict)

    def zone_at(self, at: Point) -> str | None:
        return next((area.zone for area in self.areas if area.holds(at)), None)

    def zone_of(self, gateway: str) -> str:
        zone = self.zone_at(self.gateways[gateway])
        assert zone is not None
        return zone

    def strength(self, gateway: str, at: Point) -> float:
        """Return dBm without noise."""
        place = self.gateways[gateway]
        distance = math.hypot(at[0] - place[0], at[1] - place[1], CEILING_M)
        return AT_1_M_DBM - 20 * math.log10(distance) - WALL_DB * self._between(at, place)

    def _between(self, at: Point, place: Point) -> int:
        """Count the walls on the straight way, to the decimetre."""
        key = ((round(at[0], 1), round(at[1], 1)), place)
        if key not in self._walls:
            (x, y), steps = key[0], max(1, round(math.dist(key[0], place) * 10))
            zones = [
                self.zone_at((x + (place[0] - x) * n / steps, y + (place[1] - y) * n / steps))
                for n in range(steps + 1)
            ]
            self._walls[key] = sum(one != other for one, other in pairwise(zones))
        return self._walls[key]


class Carried:
    """A beacon on a person who stays in rooms for minutes, moves about there, and walks to others."""

    def __init__(self, floor: Floor, seed: int) -> None:
        self._floor = floor
        self._chance = random.Random(seed)
        self._rooms = [area for area in floor.areas if area.door is not None]
        self._room = self._chance.choice(self._rooms)
        self.at = self._room.somewhere(self._chance)
        self._way: list[Point] = []
        self._leaves_s = self._chance.uniform(120, 600)
        self._shifts_s = 20.0

    def step(self, t_s: float) -> None:
        if t_s > self._leaves_s:
            there = self._chance.choice([one for one in self._rooms if one is not self._room])
            assert self._room.door is not None
            assert there.door is not None
            self._way += _through(self._room.door) + _through(there.door)[::-1]
            self._way.append(there.somewhere(self._chance))
            self._room, self._leaves_s = there, t_s + self._chance.uniform(120, 600)
        elif not self._way and t_s > self._shifts_s:
            self._way.append(self._room.somewhere(self._chance))
            self._shifts_s = t_s + self._chance.uniform(20, 60)
        self._walk(WALK_M_S * STEP_S)

    def heard(self) -> list[tuple[str, float]]:
        """Return the four gateways that hear the beacon best, with the strength at each, noise included."""
        strengths = sorted(
            ((gateway, self._floor.strength(gateway, self.at)) for gateway in self._floor.gateways),
            key=lambda one: -one[1],
        )
        return [(gateway, dbm + self._chance.gauss(0, NOISE_DB)) for gateway, dbm in strengths[:4]]

    def _walk(self, metres: float) -> None:
        while self._way and metres > 0:
            x, y = self._way[0]
            left = math.dist(self.at, (x, y))
            if left <= metres:
                self.at, metres = (x, y), metres - left
                self._way.pop(0)
            else:
                part = metres / left
                self.at, metres = (
                    (self.at[0] + (x - self.at[0]) * part, self.at[1] + (y - self.at[1]) * part),
                    0,
                )


def _through(door: Point) -> list[Point]:
    """Return the way out of a door, to the middle of the corridor, whose y is 7.5."""
    return [door, (door[0], 7.5)]


def corridor_ward() -> Floor:
    """Ten rooms of 4 m by 6 m on both sides of a corridor of 20 m by 3 m that has three gateways."""
    upper = [Area(f"room-{n + 1}", 4.0 * n, 0.0, 4.0, 6.0, (4.0 * n + 2, 6.0)) for n in range(5)]
    lower = [Area(f"room-{n + 6}", 4.0 * n, 9.0, 4.0, 6.0, (4.0 * n + 2, 9.0)) for n in range(5)]
    corridor = Area("corridor", 0.0, 6.0, 20.0, 3.0)
    gateways = {f"gw-{room.zone}": (room.x + 2, room.y + 3) for room in (*upper, *lower)}
    gateways |= {f"gw-corridor-{n}": (20 * (2 * n + 1) / 6, 7.5) for n in range(3)}
    return Floor([*upper, *lower, corridor], gateways)


def mixed_ward() -> Floor:
    """A bay of 9 m by 6 m, a day room of 8 m by 8 m, four small rooms, their gateways beside the doors."""
    areas = [
        Area("bay", 0.0, 0.0, 9.0, 6.0, (8.0, 6.0)),
        Area("room-1", 9.0, 0.0, 3.5, 6.0, (10.0, 6.0)),
        Area("room-2", 12.5, 0.0, 3.5, 6.0, (13.5, 6.0)),
        Area("day-room", 0.0, 9.0, 8.0, 8.0, (4.0, 9.0)),
        Area("store", 8.0, 9.0, 4.0, 4.0, (9.0, 9.0)),
        Area("room-3", 12.0, 9.0, 4.0, 5.0, (13.0, 9.0)),
        Area("corridor", 0.0, 6.0, 16.0, 3.0),
    ]
    gateways = {
        "gw-bay-1": (2.5, 3.0),
        "gw-bay-2": (6.5, 3.0),
        "gw-room-1": (10.75, 2.5),
        "gw-room-2": (14.25, 2.5),
        "gw-day": (4.0, 13.0),
        "gw-store": (10.0, 11.0),
        "gw-room-3": (14.0, 12.0),
        "gw-corridor-1": (4.0, 7.5),
        "gw-corridor-2": (12.0, 7.5),
    }
    return Floor(areas, gateways)


def narrow_ward() -> Floor:
    """Six rooms of 3.5 m by 5.5 m on one side of a corridor, their gateways at the windows."""
    rooms = [Area(f"room-{n + 1}", 3.5 * n, 0.5, 3.5, 5.5, (3.5 * n + 1, 6.0)) for n in range(6)]
    gateways = {f"gw-{room.zone}": (room.x + 1.75, 1.5) for room in rooms}
    gateways |= {"gw-corridor-1": (5.0, 7.5), "gw-corridor-2": (16.0, 7.5)}
    return Floor([*rooms, Area("corridor", 0.0, 6.0, 21.0, 3.0)], gateways)


def uneven_ward() -> Floor:
    """Four rooms of 3 to 6 m with gateways in their corners, a hall, a desk, and a corridor."""
    areas, gateways, x = [], {}, 0.0
    for n, width in enumerate((3.0, 5.0, 4.0, 6.0)):
        areas.append(Area(f"room-{n + 1}", x, 1.0, width, 5.0, (x + width - 0.8, 6.0)))
        gateways[f"gw-room-{n + 1}"] = (x + 0.7, 1.7 + n % 2 * 3)
        x += width
    areas += [
        Area("hall", 0.0, 9.0, 11.0, 7.0, (6.0, 9.0)),
        Area("desk", 11.0, 9.0, 7.0, 4.0, (12.0, 9.0)),
        Area("corridor", 0.0, 6.0, 18.0, 3.0),
    ]
    gateways |= {"gw-hall-1": (2.0, 14.0), "gw-hall-2": (9.0, 11.0), "gw-desk": (15.0, 11.0)}
    return Floor(areas, gateways | {"gw-corridor-1": (3.0, 6.3), "gw-corridor-2": (13.0, 8.7)})


def cell_ward() -> Floor:
    """Twelve rooms of 3 m by 4 m on both sides of a corridor with two gateways."""
    upper = [Area(f"room-{n + 1}", 3.0 * n, 2.0, 3.0, 4.0, (3.0 * n + 1.5, 6.0)) for n in range(6)]
    lower = [Area(f"room-{n + 7}", 3.0 * n, 9.0, 3.0, 4.0, (3.0 * n + 1.5, 9.0)) for n in range(6)]
    gateways = {f"gw-{room.zone}": (room.x + 1.5, 3.0) for room in upper}
    gateways |= {f"gw-{room.zone}": (room.x + 1.5, 12.0) for room in lower}
    gateways |= {"gw-corridor-1": (4.5, 7.5), "gw-corridor-2": (13.5, 7.5)}
    return Floor([*upper, *lower, Area("corridor", 0.0, 6.0, 18.0, 3.0)], gateways)

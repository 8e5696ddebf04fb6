"""Floor plans: as the ward file draws them, else laid out so that every bed has a place of its own."""

from itertools import combinations

import pytest

from hub.location.places import Places
from hub.location.plan import extent, plan
from hub.ward.wardfile import parse

HALL = {"x": 0, "y": 0, "width": 20, "height": 9}
BEDS = [f"icu-{number:02d}" for number in range(1, 8)]


def places(*zones, beds=BEDS):
    return Places(
        parse(
            {"site": {"id": "main"}, "ward": [{"id": "icu", "beds": beds}], "zone": list(zones)}, "ward.toml"
        )
    )


def rooms(*zones, beds=BEDS):
    return plan(places(*zones, beds=beds).zones_of("main", "icu"), beds)


def overlap(one, other):
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return across > 1e-9 and down > 1e-9


def test_a_room_is_where_the_ward_file_draws_it_with_its_beds_and_gateways():
    rectangle, polygon, *_ = rooms(
        {
            "id": "room-1",
            "name": "Room 1",
            "ward": "icu",
            "beds": BEDS[:2],
            "gateways": ["gw-1", "gw-2"],
            "x": 1,
            "y": 2,
            "width": 6,
            "height": 5,
        },
        {"id": "exit", "ward": "icu", "forbidden": True, "polygon": [[7, 0], [12, 0], [12, 4], [9, 4]]},
    )
    assert (rectangle.id, rectangle.name, rectangle.zone) == ("room-1", "Room 1", "room-1")
    assert (rectangle.beds, rectangle.gateways, rectangle.drawn) == (BEDS[:2], ["gw-1", "gw-2"], True)
    assert rectangle.outline == [(1, 2), (7, 2), (7, 7), (1, 7)]
    assert (polygon.x, polygon.y, polygon.width, polygon.height) == (7, 0, 5, 4)
    assert (polygon.forbidden, polygon.drawn) == (True, True)


@pytest.mark.parametrize(
    "zones",
    [
        (),
        ({"id": "a", "ward": "icu", "beds": BEDS[:3]}, {"id": "corridor", "ward": "icu", "gateways": ["g"]}),
        ({"id": "a", "ward": "icu", "beds": BEDS[:1], **HALL}, {"id": "b", "ward": "icu"}),
        ({"id": BEDS[0], "ward": "icu", "gateways": ["g"]},),
        tuple({"id": f"c{number}", "ward": "icu"} for number in range(9)),
    ],
)  # fmt: skip
def test_every_bed_is_in_one_room_and_no_room_lies_on_another(zones):
    found = rooms(*zones)
    assert sorted(bed for room in found for bed in room.beds) == BEDS
    assert len({room.id for room in found}) == len(found)
    assert not any(overlap(one, other) for one, other in combinations(found, 2))
    width, height = extent(found)
    assert all(room.x >= 0 and room.y >= 0 and room.width > 0 and room.height > 0 for room in found)
    assert all(room.x + room.width <= width and room.y + room.height <= height for room in found)


def test_a_bed_in_no_zone_has_a_room_of_its_own_that_is_no_zone():
    found = {room.id: room for room in rooms({"id": "hall", "ward": "icu", "gateways": ["g"]})}
    assert (found["icu-01"].beds, found["icu-01"].zone, found["icu-01"].drawn) == (["icu-01"], None, False)
    assert found["hall"].zone == "hall"


def test_a_zone_with_a_beds_name_is_that_beds_room():
    first, *others = rooms({"id": "icu-03", "ward": "icu", "gateways": ["g"]})
    assert (first.beds, first.zone, first.gateways) == (["icu-03"], "icu-03", ["g"])
    assert "icu-03" not in {room.id for room in others}


def test_rooms_with_beds_are_on_both_sides_of_what_has_none():
    found = rooms({"id": "corridor", "ward": "icu", "gateways": ["g"]})
    corridor = next(room for room in found if room.id == "corridor")
    above = [room for room in found if room.y + room.height == corridor.y]
    below = [room for room in found if room.y == corridor.y + corridor.height]
    assert (len(above), len(below)) == (4, 3)


def test_another_sites_zones_are_not_mixed_in():
    assert places({"id": "hall", "ward": "icu"}).zones_of("elsewhere", "icu") == []


def test_an_empty_ward_has_an_empty_plan():
    assert (plan([], []), extent([])) == ([], (0.0, 0.0))

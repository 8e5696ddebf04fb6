"""The ward map: rooms as the ward file draws them, and who and what is in them."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.browser.pretend_device import Device

WHEELCHAIR = "AC233FA00002"


@pytest.fixture
def gateway(ward):
    """The gateway of intensive care's nurse station."""
    device = Device(ward.broker, "icu", "gw-icu-station")
    yield device
    device.close()


@pytest.fixture
def map_of(station, ward):
    def open_map(said=None, **options):
        """`said` changes what the hub says of where beacons are."""
        page = station(**options)
        if said is not None:

            def change(route):
                told = route.fetch().json()
                said({one["beacon"]: one for one in told["locations"]})
                route.fulfill(json=told)

            page.route("**/api/v1/locations*", change)
        page.goto(f"{ward.url}/#/map")
        page.get_by_test_id("room").first.wait_for()
        return page

    return open_map


def room(page, zone):
    return page.locator(f"[data-room={zone}]")


def bed(page, name):
    return page.locator(f"[data-testid=map-bed][data-bed='main/{name}']")


def ago(**span):
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def test_rooms_lie_as_in_the_ward_file_with_their_beds_and_a_click_opens_the_bed(map_of):
    page = map_of()
    icu = page.locator("[data-testid=plan][data-ward=icu]")
    expect(icu.get_by_test_id("room")).to_have_count(7)
    expect(icu.locator("svg polygon.walls")).to_have_count(7)
    first, second, exit_ = (room(page, f"icu-{name}").bounding_box() for name in ("room-1", "room-2", "exit"))
    assert second["x"] == pytest.approx(first["x"] + first["width"], abs=2)
    assert exit_["y"] > first["y"] + first["height"]
    assert first["height"] / first["width"] == pytest.approx(5 / 6, abs=0.02)
    expect(room(page, "icu-room-3").get_by_test_id("map-bed")).to_have_count(2)
    expect(bed(page, "icu-05").get_by_test_id("where")).to_have_text("in this room")
    bed(page, "icu-05").get_by_role("link").click()
    expect(page.get_by_test_id("bed-view")).to_contain_text("icu-05")


def test_a_patient_elsewhere_one_that_nobody_hears_and_one_that_is_away_are_told_apart(map_of):
    def said(beacons):
        beacons["AC233F000004"] |= {"zone": "icu-corridor", "zone_name": "Corridor", "seen": ago(minutes=3)}
        lost = {"zone": None, "zone_name": None, "last_zone": "icu-room-3", "last_zone_name": "Room 3"}
        beacons["AC233F000005"] |= {**lost, "seen": ago(seconds=50)}
        beacons["AC233F000006"] |= {**lost, "last_zone": "icu-store", "seen": ago(minutes=9), "away": True}

    page = map_of(said)
    expect(bed(page, "icu-04").get_by_test_id("where")).to_have_text("Corridor")
    walker = room(page, "icu-corridor").locator("[data-beacon=AC233F000004]")
    expect(walker).to_contain_text("icu-04 D. P. 04")
    expect(walker).to_contain_text("3 min ago")
    expect(bed(page, "icu-05").get_by_test_id("where")).to_have_text(re.compile(r"not heard for 5\d s"))
    away = room(page, "icu-store").locator("[data-beacon=AC233F000006]")
    expect(away).to_have_class(re.compile(r"\blost\b.*\baway\b"))
    expect(away).to_contain_text("not heard for 9 min")
    away.get_by_role("link").click()
    expect(page.get_by_test_id("bed-view")).to_contain_text("icu-06")


def test_the_map_names_nobody_where_names_are_hidden_and_speaks_chinese(map_of):
    def said(beacons):
        beacons["AC233F000004"] |= {"zone": "icu-corridor", "zone_name": "Corridor"}

    page = map_of(said, locale="zh-CN")
    page.evaluate(
        "localStorage.setItem('nurse-station',"
        " JSON.stringify({privacy: 'hidden', language: 'zh', ward: 'main/icu'}))"
    )
    page.reload()
    walker = room(page, "icu-corridor").locator("[data-beacon=AC233F000004]")
    expect(walker.locator("a")).to_have_text("icu-04")
    expect(walker).to_contain_text("刚刚")
    expect(page.get_by_test_id("plan")).to_have_count(1)
    expect(bed(page, "icu-03").locator(".who")).to_have_text("")
    expect(bed(page, "icu-03").get_by_test_id("where")).to_have_text("在本房间")


def test_an_asset_that_is_carried_is_drawn_in_its_new_room(map_of, gateway):
    page = map_of()
    there = room(page, "icu-station").locator(f"[data-beacon={WHEELCHAIR}]")
    for _ in range(80):
        gateway.hears(WHEELCHAIR, -35)
        if there.count():
            break
        page.wait_for_timeout(250)
    expect(there).to_contain_text("Wheelchair")
    expect(there).not_to_have_class(re.compile(r"\blost\b"))

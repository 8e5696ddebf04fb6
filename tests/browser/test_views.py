"""Every view: what axe-core finds in it, and a picture of it for the documentation."""

import io
import os

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.pretend_device import Device
from tests.browser.real_ward import AXE, ROOT

VIEWS = {
    "ward": ("#/", "ward"),
    "bed": ("#/bed/main/icu-01", "bed-view"),
    "map": ("#/map", "map"),
    "handover": ("#/handover", "handover"),
}
PICTURES = ROOT / ("docs/images" if os.environ.get("UPDATE_IMAGES") else "build/images")


@pytest.fixture
def alarms(ward):
    pump, monitor = Device(ward.broker, "icu", "pump-icu-05"), Device(ward.broker, "icu", "mon-icu-06")
    pump.alarm("occlusion", "present", text="Downstream occlusion")
    monitor.alarm("leads_off", "present", "low")
    yield
    pump.alarm("occlusion", "absent")
    monitor.alarm("leads_off", "absent")
    pump.close()
    monitor.close()


def violations(page):
    page.evaluate(AXE.read_text(encoding="utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("tags => axe.run(document, {runOnly: tags}).then(found => found.violations)", tags)
    return "\n".join(
        f"{one['id']}: {one['help']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
        for one in found
        for node in one["nodes"][:3]
    )


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(station, ward, alarms, view, scheme):
    page = station(color_scheme=scheme)
    address, testid = VIEWS[view]
    page.goto(f"{ward.url}/{address}")
    page.get_by_test_id(testid).wait_for()
    expect(page.get_by_test_id("alarm-bar")).to_contain_text("Occlusion")
    page.wait_for_timeout(1500)
    assert violations(page) == ""


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_at_the_door_in_the_settings_and_on_a_phone(station, scheme):
    page = station(user=None, color_scheme=scheme)
    page.get_by_label("User").wait_for()
    assert violations(page) == ""
    page = station(color_scheme=scheme, size=(390, 844), locale="zh-CN")
    page.get_by_test_id("tile").first.wait_for()
    assert violations(page) == ""
    page.get_by_role("button", name="设置").click()
    page.get_by_role("dialog").wait_for()
    assert violations(page) == ""


def keep(page, name):
    """Keep a picture of a page, for the documentation."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(2500)
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(PICTURES / f"{name}.webp", quality=82, method=6)


def test_pictures_of_every_view(station, ward, alarms):
    page = station(color_scheme="dark", size=(1920, 1080))
    for view, (address, testid) in VIEWS.items():
        page.goto(f"{ward.url}/{address}")
        page.get_by_test_id(testid).wait_for()
        if view == "bed":
            page.wait_for_timeout(9000)
        keep(page, f"{view}-dark")
    page = station(color_scheme="light", size=(1600, 900), locale="zh-CN")
    keep(page, "ward-light-chinese")
    page.goto(f"{ward.url}/#/map")
    page.get_by_test_id("map-bed").first.wait_for()
    keep(page, "map-light-chinese")
    page = station(color_scheme="dark", size=(390, 844))
    keep(page, "ward-phone")
    assert all(path.stat().st_size < 400_000 for path in PICTURES.glob("*.webp"))

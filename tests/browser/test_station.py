"""What a nurse sees and does at a station, in a real browser in front of a real hub."""

import re
import signal
import time

import pytest
from playwright.sync_api import expect

from tests.browser.pretend_device import Device
from tests.browser.real_ward import BEDS, PASSWORD, sign_in

NO_VALUE = "\u2013 \u2013"
FULL_HOUR = (
    "() => { const w = document.querySelector('[data-testid=trend-window]').dataset;"
    " return w.to - w.from === 3600000; }"
)


@pytest.fixture
def pump(ward):
    """The pump of the fifth bed."""
    device = Device(ward.broker, "icu", "pump-icu-05")
    yield device
    device.close()


@pytest.fixture
def trouble(pump):
    """An alarm of high priority at the fifth bed."""
    alarm = pump.fresh()
    yield alarm
    alarm.end()


def tile(page, bed):
    return page.locator(f"[data-testid=tile][data-bed='main/{bed}']")


def alarm_bar(page):
    return page.get_by_test_id("alarm-bar")


def number(page, bed, parameter):
    return tile(page, bed).locator(f"[data-parameter={parameter}] .number")


def test_a_nurse_signs_in_and_sees_every_bed_with_values_that_move(station, ward, measured):
    page = station(user=None)
    page.get_by_label("User").fill("nurse")
    page.locator("input[type=password]").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("User or password is wrong.")
    began = time.monotonic()
    sign_in(page, "nurse")
    measured["sign_in_to_first_view_ms"] = round((time.monotonic() - began) * 1000)
    expect(page.get_by_test_id("tile")).to_have_count(BEDS)
    expect(page.get_by_text("Nurse Test")).to_be_visible()
    pleth = page.get_by_test_id("ward")
    before = pleth.inner_text()
    page.wait_for_function(
        "before => document.querySelector('[data-testid=ward]').innerText !== before", arg=before
    )
    expect(number(page, "icu-04", "heart_rate")).to_have_text(re.compile(r"^\d{2,3}$"))


def test_a_reload_keeps_the_session_and_signing_out_ends_it(station):
    page = station()
    page.reload()
    expect(page.get_by_test_id("tile")).to_have_count(BEDS)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("User")).to_be_visible()
    page.reload()
    expect(page.get_by_label("User")).to_be_visible()


def test_nothing_comes_from_another_host(station, ward):
    asked = []
    page = station(user=None)
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    sign_in(page, "nurse")
    page.goto(f"{ward.url}/#/bed/main/icu-01")
    page.get_by_test_id("trends").wait_for()
    page.goto(f"{ward.url}/#/map")
    page.get_by_test_id("map").wait_for()
    assert asked
    assert [url for url in asked if not url.startswith(ward.url + "/")] == []


def test_an_alarm_is_on_every_station_at_once_and_leaves_every_station(station, trouble, measured):
    first, second = station(), station(user="charge-nurse")
    expect(tile(first, "icu-05")).to_be_visible()
    expect(tile(second, "icu-05")).to_be_visible()
    began = time.monotonic()
    trouble.begin()
    strip = "[data-bed='main/icu-05'] [data-testid=strip]"
    first.wait_for_function(
        "([at, text]) => document.querySelector(at).innerText.includes(text)",
        arg=[strip, trouble.text],
        polling=10,
    )
    measured["publish_to_screen_ms"] = round((time.monotonic() - began) * 1000)
    for page in (first, second):
        strip = tile(page, "icu-05").get_by_test_id("strip")
        expect(strip).to_contain_text(trouble.text)
        expect(tile(page, "icu-05")).to_have_class(re.compile(r"\bhigh\b"))
        expect(alarm_bar(page)).to_contain_text("icu-05")
    trouble.end()
    for page in (first, second):
        expect(tile(page, "icu-05").get_by_test_id("strip")).not_to_contain_text(trouble.text)


def test_a_screen_reader_is_told_of_a_new_alarm(station, trouble):
    page = station()
    tile(page, "icu-05").wait_for()
    trouble.begin()
    expect(alarm_bar(page).locator("[aria-live=assertive]")).to_contain_text(f"High: icu-05, {trouble.text}")


def test_devices_that_fall_silent_are_told_and_their_values_are_numbers_no_longer(station, ward):
    page = station()
    expect(number(page, "icu-04", "spo2")).to_have_text(re.compile(r"^\d+$"))
    simulators = ward.simulators()
    simulators.suspend()
    try:
        value = tile(page, "icu-04").locator("[data-parameter=spo2]")
        expect(value).to_have_attribute("data-quality", "stale", timeout=40_000)
        expect(value.locator(".number")).to_have_text(NO_VALUE)
        expect(value.locator(".note")).to_contain_text("old")
        expect(tile(page, "icu-04").get_by_test_id("strip")).to_contain_text(
            re.compile("silent|offline"), timeout=40_000
        )
    finally:
        simulators.resume()
    expect(number(page, "icu-04", "spo2")).to_have_text(re.compile(r"^\d+$"), timeout=60_000)
    expect(tile(page, "icu-04").get_by_test_id("strip")).not_to_contain_text(
        re.compile("silent|offline"), timeout=60_000
    )


def test_a_hub_that_is_silent_makes_the_red_bar_and_no_value_is_shown_as_current(station, ward, measured):
    page = station()
    tile(page, "icu-04").wait_for()
    # A click lets the browser sound.
    page.get_by_role("button", name="Urgency").click()
    expect(page.get_by_test_id("broken")).to_have_count(0)
    ward.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        bar = page.get_by_test_id("broken")
        expect(bar).to_be_visible(timeout=15_000)
        measured["silence_to_red_bar_ms"] = round((time.monotonic() - began) * 1000)
        expect(bar).to_contain_text("Watch the bedside monitors")
        assert bar.bounding_box()["width"] == 1600
        value = tile(page, "icu-04").locator("[data-parameter=heart_rate]")
        expect(value).to_have_attribute("data-quality", "cut")
        expect(value.locator(".note")).to_contain_text("old")
        expect(alarm_bar(page)).to_have_attribute("data-sounds", "broken")
    finally:
        ward.signal(signal.SIGCONT)
    expect(page.get_by_test_id("broken")).to_have_count(0)
    expect(value).to_have_attribute("data-quality", "valid")
    expect(alarm_bar(page)).not_to_have_attribute("data-sounds", "broken")


def test_what_happened_while_the_cable_was_out_is_told_when_it_is_back(
    station, cable, pump, trouble, measured
):
    page = station(url=cable.url)
    tile(page, "icu-05").wait_for()
    cable.pull()
    began = time.monotonic()
    expect(page.get_by_test_id("broken")).to_be_visible(timeout=15_000)
    measured["cut_to_red_bar_ms"] = round((time.monotonic() - began) * 1000)
    passing = pump.fresh()
    passing.begin()
    passing.end()
    trouble.begin()
    cable.plug()
    expect(page.get_by_test_id("broken")).to_have_count(0)
    expect(tile(page, "icu-05").get_by_test_id("strip")).to_contain_text(trouble.text)
    missed = page.get_by_test_id("missed")
    expect(missed).to_contain_text(passing.text)
    expect(missed).to_contain_text("ended")
    expect(missed).to_contain_text(trouble.text)
    missed.get_by_role("button", name="Seen").click()
    expect(missed).to_have_count(0)


def test_trends_zoom_by_dragging_and_by_keys_and_come_back(station, ward):
    page = station()
    page.goto(f"{ward.url}/#/bed/main/icu-04")
    window = page.get_by_test_id("trend-window")
    plot = page.locator(".u-over").first
    plot.wait_for()

    def span():
        return float(window.get_attribute("data-to")) - float(window.get_attribute("data-from"))

    hour = 3_600_000
    page.wait_for_function(FULL_HOUR)
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 30, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "() => { const w = document.querySelector('[data-testid=trend-window]').dataset;"
        " return w.to - w.from < 1800000; }"
    )
    assert hour * 0.2 < span() < hour * 0.3
    page.locator(".u-over").first.dblclick()
    page.wait_for_function(FULL_HOUR)
    page.get_by_role("button", name="Zoom in").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => { const w = document.querySelector('[data-testid=trend-window]').dataset;"
        " return w.to - w.from === 1800000; }"
    )


def test_a_waveform_is_drawn_as_it_comes(station, ward):
    page = station()
    page.goto(f"{ward.url}/#/bed/main/icu-01")
    canvas = page.get_by_test_id("waves").locator("canvas").first
    canvas.wait_for(timeout=40_000)
    page.wait_for_function(
        "() => { const canvas = document.querySelector('[data-testid=waves] canvas');"
        " const picture = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        " return picture.data.some(Boolean); }"
    )


def test_everything_can_be_reached_by_keys_alone(station):
    page = station(user=None)
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type("nurse")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_test_id("tile").first.wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the beds")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("tile").first.get_by_role("link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("bed-view")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("bed-view").get_by_role("link", name="Ward")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ward")).to_be_visible()


def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_alarm_is_on_top(station, trouble, ward):
    page = station(size=(390, 844), has_touch=True, is_mobile=True)
    trouble.begin()
    expect(alarm_bar(page)).to_contain_text(trouble.text)
    for view in ("#/", "#/bed/main/icu-05", "#/map", "#/handover"):
        page.goto(f"{ward.url}/{view}")
        page.locator("main > *").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
        assert alarm_bar(page).bounding_box()["y"] < 60


def test_the_language_and_units_follow_the_choice(station):
    page = station()
    page.get_by_role("button", name="Settings").click()
    page.get_by_text("中文").click()
    page.get_by_text("°F", exact=True).click()
    page.get_by_role("button", name="关闭").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("link", name="平面图")).to_be_visible()
    warm = tile(page, "icu-04").locator("[data-parameter=temperature]")
    expect(warm).to_contain_text("°F")
    assert float(warm.locator(".number").inner_text()) > 90
    page.reload()
    expect(page.get_by_role("link", name="平面图")).to_be_visible()


def test_names_are_shown_as_far_as_the_privacy_setting_lets_them(station):
    page = station()
    who = tile(page, "icu-01").locator(".who")
    expect(who).to_have_text("D. P. 01")
    for choice, shown in (("Names", "Demo Patient 01"), ("Hidden", ""), ("Initials", "D. P. 01")):
        page.get_by_role("button", name="Settings").click()
        page.get_by_text(choice, exact=True).click()
        page.get_by_role("button", name="Close").click()
        expect(who).to_have_text(shown)


def test_a_locked_station_shows_alarms_and_no_names_until_somebody_signs_in(station, trouble, ward):
    page = station()
    tile(page, "icu-05").wait_for()

    def locked(route):
        told = route.fetch().json()
        route.fulfill(json={**told, "active": False, "name": "", "actions": []})

    page.route("**/api/v1/session", locked)
    page.reload()
    expect(page.get_by_text("Locked: nobody has used this station")).to_be_visible()
    trouble.begin()
    expect(alarm_bar(page)).to_contain_text(trouble.text)
    expect(tile(page, "icu-01").locator(".who")).to_have_text("")
    expect(alarm_bar(page).get_by_role("button", name="Acknowledge")).to_have_count(0)
    page.unroute("**/api/v1/session")
    page.get_by_role("button", name="Sign in").first.click()
    sign_in(page, "charge-nurse")
    expect(page.get_by_text("Charge-Nurse Test")).to_be_visible()
    expect(tile(page, "icu-01").locator(".who")).to_have_text("D. P. 01")

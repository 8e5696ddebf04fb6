"""What people do about alarms, limits and scores at a station, and who may."""

import contextlib
import re
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.pretend_device import Device


@pytest.fixture
def trouble(ward):
    """An alarm of high priority at the fifth bed."""
    device = Device(ward.broker, "icu", "pump-icu-05")
    alarm = device.fresh()
    yield alarm
    alarm.end()
    device.close()


@pytest.fixture
def latching(ward):
    """Signals of high priority stay until somebody resets them, for as long as the test takes."""
    headers = {"Authorization": f"Bearer {ward.token('charge-nurse')}"}
    change = {
        "scope": "ward",
        "site": "main",
        "scope_id": "icu",
        "table": "signals.high",
        "values": {"latching": True},
        "why": "a test",
        "until": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    with httpx.Client(base_url=ward.url + "/api/v1", headers=headers) as client:
        for _ in range(300):  # until the hub has heard of the token
            made = client.post("/limits/changes", json=change)
            if made.status_code != 401:
                break
            time.sleep(0.1)
        assert made.status_code == 200, (made.text, headers)
        yield
        client.post(f"/limits/changes/{made.json()['id']}/end", json={"why": "the test is over"})


def tile(page, bed="icu-05"):
    return page.locator(f"[data-testid=tile][data-bed='main/{bed}']")


def strip(page, bed="icu-05"):
    return tile(page, bed).get_by_test_id("strip")


def choose(page, text):
    """Bring an alarm of the fifth bed to the front of the alarm bar, where it is not there already."""
    bar = page.get_by_test_id("alarm-bar")
    expect(bar).to_contain_text(text)
    first = page.get_by_test_id("first-alarm")
    for _ in range(3):  # another bed's alarm may take the place just now; who is chosen keeps it
        if text not in first.inner_text():
            bar.get_by_role("button", name=re.compile(f"icu-05.*{text}")).click()
        with contextlib.suppress(AssertionError):
            expect(first).to_contain_text(text, timeout=2000)
            break
    expect(first).to_contain_text(text)
    return first


def test_an_alarm_is_acknowledged_in_two_clicks_and_every_station_sees_it(station, trouble):
    first, second = station(), station(user="charge-nurse")
    tile(second).wait_for()
    trouble.begin()
    choose(first, trouble.text).get_by_role("button", name="Acknowledge").click()
    for page in (first, second):
        expect(tile(page)).to_have_class(re.compile(r"\backnowledged\b"))
        expect(strip(page)).to_contain_text("✓")
    choose(second, trouble.text)
    expect(second.get_by_test_id("first-alarm")).to_contain_text("Acknowledged by nurse")
    expect(second.get_by_test_id("first-alarm").get_by_role("button", name="Acknowledge")).to_have_count(0)


def test_the_button_never_shows_done_before_the_hub_has_stored_it(station, trouble):
    page = station()
    trouble.begin()
    first = choose(page, trouble.text)
    page.route("**/acknowledge", lambda route: route.abort())
    first.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_test_id("alarm-bar")).to_contain_text("Not done")
    expect(tile(page)).not_to_have_class(re.compile(r"\backnowledged\b"))
    page.unroute("**/acknowledge")


def test_a_pause_is_shown_with_the_time_that_is_left_and_can_be_taken_back(station, trouble):
    page = station()
    trouble.begin()
    first = choose(page, trouble.text)
    first.get_by_role("button", name="Pause 2 min").click()
    expect(strip(page)).to_contain_text(re.compile(r"Paused 1:\d\d"))
    choose(page, trouble.text).get_by_role("button", name="Sound again").click()
    expect(strip(page)).not_to_contain_text("Paused")


def test_a_latched_alarm_stays_until_a_person_resets_it(station, trouble, latching):
    page = station()
    tile(page).wait_for()
    trouble.begin()
    expect(strip(page)).to_contain_text(trouble.text)
    trouble.end()
    expect(strip(page)).to_contain_text("Latched")
    page.wait_for_timeout(1500)
    expect(tile(page)).to_have_class(re.compile(r"\blatched\b"))
    choose(page, trouble.text).get_by_role("button", name="Reset").click()
    expect(strip(page)).not_to_contain_text(trouble.text)


def test_acknowledging_works_with_keys_alone(station, trouble):
    page = station()
    trouble.begin()
    choose(page, trouble.text).get_by_role("button", name="Acknowledge").focus()
    page.keyboard.press("Enter")
    expect(tile(page)).to_have_class(re.compile(r"\backnowledged\b"))


@pytest.mark.parametrize("user", ["viewer", "biomed", "it"])
def test_who_does_not_care_for_patients_sees_alarms_and_no_buttons(station, trouble, user):
    page = station(user=user)
    trouble.begin()
    first = choose(page, trouble.text)
    expect(first.get_by_role("button")).to_have_count(0)
    page.goto(page.url.split("#")[0] + "#/bed/main/icu-05")
    page.get_by_test_id("limits").wait_for()
    expect(page.get_by_test_id("news-parts").get_by_role("button", name="Chart")).to_have_count(0)
    rows = page.get_by_test_id("limits").get_by_role("row")
    expect(rows.filter(has_text="HR")).to_be_visible()
    edit = page.get_by_test_id("limits").get_by_role("button", name="Edit Heart rate")
    expect(edit).to_have_count(1 if user == "biomed" else 0)


def test_the_history_tells_who_did_what(station, trouble, ward):
    page = station()
    trouble.begin()
    choose(page, trouble.text).get_by_role("button", name="Acknowledge").click()
    expect(tile(page)).to_have_class(re.compile(r"\backnowledged\b"))
    page.goto(f"{ward.url}/#/bed/main/icu-05")
    newest = page.get_by_test_id("history").get_by_role("listitem").filter(has_text=trouble.text).first
    expect(newest).to_contain_text("acknowledged by nurse")


def test_limits_are_changed_with_a_reason_and_an_end(station, ward):
    page = station()
    page.goto(f"{ward.url}/#/bed/main/icu-03")
    limits = page.get_by_test_id("limits")
    limits.get_by_role("button", name="Edit Heart rate").click()
    form = limits.get_by_role("form")
    form.get_by_label("High", exact=True).fill("135")
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_visible()  # without a reason nothing is sent
    form.get_by_label("Reason").fill("known tachycardia, agreed on the round")
    form.get_by_role("button", name="Save").click()
    expect(limits.get_by_role("row", name=re.compile("^HR"))).to_contain_text("135")
    expect(limits).to_contain_text("known tachycardia, agreed on the round \u2013 nurse")


def test_limits_that_make_no_sense_are_refused_with_the_reason(station, ward):
    page = station()
    page.goto(f"{ward.url}/#/bed/main/icu-04")
    limits = page.get_by_test_id("limits")
    limits.get_by_role("button", name="Edit Heart rate").click()
    form = limits.get_by_role("form")
    form.get_by_label("Low", exact=True).fill("300")
    form.get_by_label("Reason").fill("a slip")
    form.get_by_role("button", name="Save").click()
    expect(limits.get_by_role("status")).to_contain_text("Not done")
    expect(form).to_be_visible()


def test_what_is_charted_completes_the_score(station, ward):
    page = station()
    page.goto(f"{ward.url}/#/bed/main/icu-06")
    parts = page.get_by_test_id("news-parts")
    expect(parts.get_by_test_id("news")).to_contain_text("5/7", timeout=30_000)
    parts.get_by_label("On oxygen").select_option("yes")
    parts.get_by_label("Consciousness (ACVPU)").select_option("A")
    parts.get_by_role("button", name="Chart").click()
    expect(parts.get_by_role("row", name=re.compile("^Air or oxygen"))).to_contain_text("charted by nurse")
    expect(parts.get_by_test_id("news")).not_to_contain_text("/7", timeout=30_000)

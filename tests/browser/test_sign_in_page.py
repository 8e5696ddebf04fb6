"""Signing in at the hospital's OpenID provider with a real browser: the hub, the provider and the page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_views import keep, violations
from tests.crash.hub_process import HubProcess
from tests.openid import SECRET, CertifiedProvider, missing

if missing() and os.environ.get("CI") != "true":
    pytest.skip(missing(), allow_module_level=True)

PASSWORD = "a password of the tests"
PEOPLE = {
    "anna": {"name": "Anna Berg", "preferred_username": "anna.berg", "groups": ["icu-nurses"]},
    "gast": {"name": "A Guest", "preferred_username": "guest", "groups": ["visitors"]},
}
OIDC = """
[oidc]
issuer = "{issuer}"
client_id = "wardhub"
client_secret = "{secret}"
hub_url = "{hub}"
scopes = ["openid", "profile", "groups"]
role_map = {{ "icu-nurses" = "nurse" }}
"""
BUTTON = "Sign in with the hospital account"


class Hospital:
    def __init__(self, folder: Path) -> None:
        self.hub = HubProcess(folder)
        self.provider = CertifiedProvider(folder, self.hub.url, PEOPLE)
        self.config = folder / "hub.toml"
        settings = OIDC.format(issuer=self.provider.issuer, secret=SECRET, hub=self.hub.url)
        self.config.write_text(self.config.read_text() + settings)
        command = [sys.executable, "-m", "hub.cli", "user", "add", "berta", "--full-name", "Berta Local"]
        command += ["--password-file", "-", "--config", str(self.config)]
        subprocess.run(command, input=PASSWORD, text=True, check=True)
        self.start()

    def start(self):
        self.hub.start()
        # The browser's driver keeps this thread's event loop.
        done = subprocess.run(
            [sys.executable, "-c", WAIT, self.hub.url], check=False, capture_output=True, timeout=90
        )
        assert done.returncode == 0, self.hub.log.read_text()[-3000:]

    def stop(self):
        self.hub.kill()
        self.provider.stop()


WAIT = """
import sys, time, urllib.request
for _ in range(600):
    try:
        urllib.request.urlopen(sys.argv[1] + "/readyz", timeout=2)
        sys.exit(0)
    except OSError:
        time.sleep(0.1)
sys.exit(1)
"""


@pytest.fixture(scope="module")
def hospital(page_built, tmp_path_factory):
    hospital = Hospital(tmp_path_factory.mktemp("hospital"))
    yield hospital
    hospital.stop()


def at_provider(page, name):
    """Type a name and a password at the provider."""
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any")
    page.locator("button[type=submit]").click()


def test_a_nurse_comes_in_by_the_hospitals_account_to_where_she_was_and_goes(station, hospital):
    page = station(user=None, url=f"{hospital.hub.url}/#/handover")
    page.get_by_role("button", name=BUTTON).click()
    at_provider(page, "anna")
    expect(page.get_by_text("Anna Berg")).to_be_visible()
    assert page.url == f"{hospital.hub.url}/#/handover"
    page.reload()
    expect(page.get_by_text("Anna Berg")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{hospital.provider.issuer}/**")
    page.get_by_role("button", name=re.compile("Yes")).click()
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()
    assert page.url.startswith(hospital.hub.url)


def test_a_picture_of_the_door(station, hospital):
    page = station(user=None, size=(1280, 800), color_scheme="dark", url=hospital.hub.url)
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()
    assert violations(page) == ""
    keep(page, "sign-in")


def test_who_has_no_role_reads_why_and_whom_to_ask(station, hospital):
    page = station(user=None, url=hospital.hub.url)
    page.get_by_role("button", name=BUTTON).click()
    at_provider(page, "gast")
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("Your hospital account has no role at this hub. Ask IT to give it one.")
    assert page.url == f"{hospital.hub.url}/"
    assert violations(page) == ""
    page.reload()
    expect(alert).to_have_text("")


def test_a_locked_station_goes_on_while_somebody_signs_in_beside_it(station, hospital):
    page = station(user=None, url=hospital.hub.url)
    page.get_by_label("User").fill("berta")
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Berta Local")).to_be_visible()

    def locked(route):
        told = route.fetch().json()
        route.fulfill(json={**told, "active": False, "name": "", "actions": []})

    page.route("**/api/v1/session", locked)
    page.reload()
    page.get_by_role("button", name="Sign in").first.click()
    page.unroute("**/api/v1/session")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name=BUTTON).click()
    beside = opened.value
    beside.wait_for_url(f"{hospital.provider.issuer}/**")
    assert page.url == f"{hospital.hub.url}/", "the station shows its alarms still"
    at_provider(beside, "anna")
    expect(page.get_by_text("Anna Berg")).to_be_visible()
    expect(page.get_by_role("button", name=BUTTON)).to_have_count(0)
    try:  # a browser may keep the window; it is a station as any other then
        expect(beside.get_by_text("Anna Berg")).to_be_visible()
    except AssertionError:
        assert beside.is_closed()


def test_a_local_user_changes_the_password_at_the_door(station, hospital):
    page = station(user=None, url=hospital.hub.url)
    page.get_by_role("button", name="Change password").click()
    page.get_by_label("User").fill("berta")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("New password").fill("another password of the tests")
    page.locator("button:not([type=button])", has_text="Change password").click()
    expect(page.get_by_role("status")).to_have_text("The password is changed. Sign in with the new one.")
    page.get_by_label("Password", exact=True).fill("another password of the tests")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Berta Local")).to_be_visible()


def test_a_hub_without_local_users_asks_for_no_password(station, hospital):
    hospital.hub.kill()
    hospital.config.write_text(hospital.config.read_text() + "local_users = false\nbutton = 'Klinikum'\n")
    hospital.start()
    page = station(user=None, url=hospital.hub.url)
    expect(page.get_by_role("button", name="Klinikum")).to_be_visible()
    expect(page.locator("input")).to_have_count(0)
    assert violations(page) == ""

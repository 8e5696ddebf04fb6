"""A real hub with its simulated ward, and Debian's Chromium in front of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.real_ward import CHROMIUM, FLAGS, MEASURED, PAGE, Cable, Ward, sign_in


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def page_built():
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine; on Debian: apt-get install chromium")
    subprocess.run([sys.executable, PAGE / "build.py"], check=True)
    subprocess.run([sys.executable, PAGE / "build.py", "--install"], check=True)  # axe-core


@pytest.fixture(scope="session")
def ward(page_built, tmp_path_factory):
    ward = Ward(tmp_path_factory.mktemp("ward"))
    try:
        for role in ("nurse", "charge-nurse", "viewer", "biomed", "it"):
            ward.add_user(role, role)
        yield ward
    finally:
        ward.stop()


@pytest.fixture(scope="session")
def chromium(page_built):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def station(chromium, ward, request):
    """Open stations: each has a browser of its own, and what goes wrong in its page fails the test."""
    opened, wrong = [], []

    def open_station(user="nurse", size=(1600, 900), url=None, **options):
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security" in line.text else None)
        opened.append(context)
        page.goto(url or ward.url)
        if user is not None:
            sign_in(page, user)
        return page

    yield open_station
    for context in opened:
        context.close()
    assert wrong == []


@pytest.fixture
def cable(ward):
    cable = Cable(int(ward.url.rsplit(":", 1)[1]))
    yield cable
    cable.close()


@pytest.fixture(scope="session")
def measured():
    """What the tests measured; written down, judged by whoever reads it."""
    figures: dict[str, float] = {}
    yield figures
    known = json.loads(MEASURED.read_text()) if MEASURED.is_file() else {}
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(json.dumps(known | figures, indent=2, sort_keys=True) + "\n")

"""A real hub with its simulated ward, and Debian's Chromium in front of it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "dashboards" / "nurse_station"
AXE = PAGE / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]
BEDS = 8
PASSWORD = "a password of the tests"
MEASURED = ROOT / "build" / "browser.json"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(240))


class Ward:
    """`hub demo` in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "demo.log"
        # No colours and no progress bars, whatever the terminal.
        environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1"}
        command = [sys.executable, "-m", "hub.cli", "demo", "--beds", str(BEDS), "--port", "0"]
        command += ["--mqtt-port", "0", "--data-dir", str(folder / "data")]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, stdout=log)
        self.url = self._said(r"page +(http://\S+)/ ")
        self.broker = self._said(r"(?m)^ +broker +(mqtt://\S+)$")
        self.demo_password = self._said(r"password ([^)\s]+)\)")

    def _said(self, pattern: str) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := re.search(pattern, self._log.read_text()):
                return found[1]
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"the demo did not start:\n{self._log.read_text()}")

    def add_user(self, name: str, role: str) -> None:
        command = [
            sys.executable,
            "-m",
            "hub.cli",
            "user",
            "add",
            name,
            "--full-name",
            f"{role.title()} Test",
        ]
        command += ["--role", role, "--password-file", "-"]
        environment = {**os.environ, "HUB_DATA_DIR": str(self.folder / "data")}
        subprocess.run(command, input=PASSWORD, text=True, cwd=ROOT, env=environment, check=True)

    def token(self, role: str) -> str:
        """Make a bearer token."""
        command = [sys.executable, "-m", "hub.cli", "token", "create", "--name", f"test {role} {time.time()}"]
        environment = {**os.environ, "HUB_DATA_DIR": str(self.folder / "data")}
        made = subprocess.run(
            [*command, "--role", role], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
        )
        return made.stdout.strip()

    def simulators(self) -> psutil.Process:
        """The process that simulates the devices."""
        for child in psutil.Process(self._process.pid).children(recursive=True):
            if "device_sims.cli" in " ".join(child.cmdline()):
                return child
        raise RuntimeError("no simulators run")

    def signal(self, number: signal.Signals) -> None:
        """Signal the hub alone."""
        self._process.send_signal(number)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Cable:
    """A TCP connection to the hub that can be pulled out and plugged in again."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._plugged = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pull(self) -> None:
        self._plugged = False
        for one in self._open:
            # The threads that read close; closing here would not wake them.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def plug(self) -> None:
        self._plugged = True

    def close(self) -> None:
        self.pull()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._plugged:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


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


def sign_in(page, user, password=PASSWORD):
    page.get_by_label("User").or_(page.get_by_label("用户")).fill(user)
    page.locator("input[type=password]").fill(password)
    page.locator("button.primary").click()
    page.locator("[data-testid=tile], [data-testid=bed-view]").first.wait_for()


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

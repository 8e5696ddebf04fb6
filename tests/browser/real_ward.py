"""A hub with its simulated ward in processes of its own, a cable to it, and how to sign in."""

import contextlib
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


class Ward:
    """`hub demo` in processes of its own."""

    def __init__(self, folder: Path, beds: int = BEDS) -> None:
        self.folder = folder
        self._log = folder / "demo.log"
        # No colours and no progress bars, whatever the terminal.
        environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1"}
        command = [sys.executable, "-m", "hub.cli", "demo", "--beds", str(beds), "--port", "0"]
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

    @property
    def pid(self) -> int:
        """Process id of the hub."""
        return self._process.pid

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


def sign_in(page, user, password=PASSWORD):
    page.get_by_label("User").or_(page.get_by_label("用户")).fill(user)
    page.locator("input[type=password]").fill(password)
    page.locator("button.primary").click()
    page.locator("[data-testid=tile], [data-testid=bed-view]").first.wait_for()

"""A hub in a process of its own, to be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.servers import free_port

START_S = 60.0
_RECENT_S = 2.0


class HubProcess:
    """`hub run` on one data directory; `start`, `kill` and `stop` may be called in turns."""

    def __init__(self, folder: Path, *, settings: str = "", broker_url: str | None = None) -> None:
        self.folder = folder
        self.data = folder / "hub"
        self.http_port = free_port()
        self.mqtt_port = free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.broker_url = broker_url or f"mqtt://127.0.0.1:{self.mqtt_port}"
        self.log = folder / "hub.log"
        self._config = folder / "hub.toml"
        self._process: subprocess.Popen[bytes] | None = None
        # Made once, since that is dear, and without connections that a killed hub would leave behind.
        self._http = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
        broker = f'broker_url = "{broker_url}"' if broker_url else ""
        self._config.write_text(
            f"""data_dir = "{self.data}"
{broker}
{settings}
[http]
port = {self.http_port}
[embedded_broker]
port = {self.mqtt_port}
"""
        )
        made = self._hub("token", "create", "--name", "crash", "--role", "it")
        self.token = made.stdout.strip()
        self.headers = {"Authorization": f"Bearer {self.token}"}

    @property
    def pid(self) -> int:
        """Process id of the hub."""
        assert self._process is not None
        return self._process.pid

    def start(self, failpoint: str = "") -> None:
        """Start the hub; with a failpoint it kills itself there."""
        environment = {**os.environ, "HUB_FAILPOINT": failpoint}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", "run", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                env=environment,
            )

    async def ready(self) -> None:
        """Wait until the line works. Raises RuntimeError with the end of the log."""
        deadline = time.monotonic() + START_S
        async with httpx.AsyncClient() as client:
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    break
                try:
                    answer = await client.get(f"{self.url}/readyz", timeout=2)
                    if answer.status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the hub is not up: {self.log.read_text()[-3000:]}")

    async def dead(self, seconds: float) -> bool:
        """Wait until the process has ended by itself; tell whether it has."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return self._process.poll() is not None

    def kill(self) -> None:
        """kill -9 the hub; its embedded broker dies with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def stop(self) -> int:
        """SIGTERM, and wait; return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def broker_pid(self) -> int:
        """Process id of the embedded broker."""
        for child in psutil.Process(self.pid).children():
            if "nats-server" in child.name():
                return child.pid
        raise RuntimeError("the hub has no embedded broker")

    def metric(self, name: str) -> float:
        """Read one number of /metrics."""
        for line in self._http.get(f"{self.url}/metrics", headers=self.headers, timeout=10).text.splitlines():
            if line.split(" ")[0].split("{")[0] == name:
                return float(line.rsplit(" ", 1)[1])
        raise KeyError(name)

    async def drained(self, seconds: float = 120.0) -> None:
        """Wait until every store has what was received by now; canaries keep coming."""
        await asyncio.sleep(_RECENT_S)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self._behind_s) < _RECENT_S:
                return
            await asyncio.sleep(0.25)
        raise RuntimeError(f"the stores did not catch up in {seconds:g} s: {self._behind_s():.1f} s behind")

    def _behind_s(self) -> float:
        text = self._http.get(f"{self.url}/metrics", headers=self.headers, timeout=10).text
        names = ("hub_store_lag_seconds", "hub_broker_behind_seconds")
        return max(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(names))

    def _hub(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *arguments, "--config", str(self._config)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )


def as_json(answer: httpx.Response) -> Any:
    """Return the body of an answer that must be a success."""
    answer.raise_for_status()
    return json.loads(answer.content)

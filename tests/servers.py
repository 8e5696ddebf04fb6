"""Starts brokers for tests: real ones, on free ports of 127.0.0.1, ended by pid."""

import asyncio
import contextlib
import random
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from hub.mqtt.broker import EmbeddedBroker
from hub.mqtt.broker_settings import BrokerSettings

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now.

    Below the range of which the system takes ports for outgoing connections: a server that is killed and
    started again would else find its port taken by one of them.
    """
    for _ in range(1000):
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 15000 and 32000")


def wait_for_port(port: int, process: subprocess.Popen[Any], seconds: float = 10.0) -> None:
    """Wait until a port takes connections. Raises RuntimeError where that fails."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args} doesn't listen on port {port}")


class Mosquitto:
    """A Mosquitto on a port of its own; `kill` and `start` may be called in turns."""

    def __init__(self, directory: Path, *lines: str, persistence: bool = True) -> None:
        """Write the configuration. `lines` are added to it and replace the default listener's permissions."""
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = directory / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        settings = [
            # Started by root it would change to a user that can't read the test's directory.
            "user root",
            f"listener {self.port} 127.0.0.1",
            *(lines or ("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0")),
        ]
        if persistence:
            settings += ["persistence true", f"persistence_location {directory}/"]
        self._config.write_text("\n".join(settings) + "\n")

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(self.port, self._process)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def password_lines(directory: Path, user: str, password: str) -> tuple[str, ...]:
    """Return the lines of a configuration of Mosquitto that let one user in and nobody else."""
    file = directory / "passwords"
    # Written by Mosquitto's own tool; readable for the user that Mosquitto changes to when root starts it.
    tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
    subprocess.run([tool, "-b", "-c", str(file), user, password], check=True, timeout=10)
    file.chmod(0o644)
    return "allow_anonymous false", f"password_file {file}"


@contextlib.contextmanager
def mosquitto(directory: Path, *lines: str, persistence: bool = True) -> Iterator[Mosquitto]:
    """Run a Mosquitto; without `lines` it lets everyone in and has no limits of queue and in-flight."""
    broker = Mosquitto(directory, *lines, persistence=persistence)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextlib.asynccontextmanager
async def embedded_broker(directory: Path, **settings: Any) -> AsyncIterator[EmbeddedBroker]:
    """Run the embedded broker on a free port, watched, with its data under `directory`."""
    broker = EmbeddedBroker(BrokerSettings(data_dir=directory / "broker", port=0, **settings))
    async with broker:
        watch = asyncio.create_task(broker.run())
        try:
            yield broker
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

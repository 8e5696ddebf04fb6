"""`ward-sims ward`: a simulated ward at real time or faster."""

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.live import Live

from device_sims.acked_log import AckedLog
from device_sims.clock import Clock
from device_sims.commands.options import (
    BrokerOption,
    CaFileOption,
    CertFileOption,
    JsonOption,
    KeyFileOption,
    PasswordFileOption,
    UsernameOption,
    identity,
    moment_ms,
)
from device_sims.devices.device import Publication
from device_sims.scenario import names
from device_sims.target import parse_target
from device_sims.ward import GatewayFormat, MonitorFormat, Plan, PumpFormat, WardRun, plan_beds
from device_sims.ward_table import table


def ward(
    *,
    broker: BrokerOption = "mqtt://127.0.0.1:1883",
    site: Annotated[str, typer.Option(help="{site} of the topics.")] = "main",
    beds: Annotated[
        int, typer.Option(min=1, max=3000, help="Beds, six a ward: icu-01, ..., hdu-01, ...")
    ] = 6,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Ward seconds a second.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=0, help="End after this time; 0: when interrupted.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same patients.")] = 1,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Dealt to the beds in turn; repeat it for several: {', '.join(names())}, or a .toml file. "
            "Default: a mix whose first patient leaves the limits within six seconds."
        ),
    ] = None,
    lead: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Begin each --scenario this long before its first condition."),
    ] = None,
    hour: Annotated[float, typer.Option(min=0, max=24, help="Hour of the day at the start.")] = 12.0,
    nibp: Annotated[
        float, typer.Option(min=10, metavar="SECONDS", help="Interval of the cuff pressure.")
    ] = 300.0,
    waveforms: Annotated[
        int, typer.Option(min=0, help="How many monitors, from the first bed on, send ECG and pleth.")
    ] = 0,
    monitor_format: Annotated[MonitorFormat, typer.Option(help="What the monitors speak.")] = "native",
    pump_format: Annotated[PumpFormat, typer.Option(help="What the pumps speak.")] = "native",
    gateway_format: Annotated[GatewayFormat, typer.Option(help="What the beacon gateways speak.")] = "native",
    thermometers: Annotated[
        int, typer.Option(min=0, help="How many beds, from the first on, have a spot-check thermometer.")
    ] = 0,
    beacons: Annotated[
        bool,
        typer.Option(
            "--beacons",
            help="Beacons of patients and assets in the first two wards, and gateways in their rooms.",
        ),
    ] = False,
    epoch: Annotated[
        str | None,
        typer.Option(metavar="RFC3339", help="Device clock = EPOCH + (wall clock - EPOCH) * SPEED."),
    ] = None,
    username: UsernameOption = None,
    password_file: PasswordFileOption = None,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
    acked_log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append one JSON line for each acknowledged observation."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a ward of simulated patients with monitors, infusion pumps, ventilators and gateways.

    Every device has its own connection, retained status and last will. The last line tells how much was
    published and acknowledged, and with --json what is known to be true: which conditions have begun.

    For example:

        ward-sims ward --beds 8 --seconds 30

        ward-sims ward --beds 2 --scenario sepsis --scenario stable --speed 60

        ward-sims ward --broker mqtts://broker.example:8883 --username sims --password-file pw
    """
    target = parse_target(broker, username, password_file, ca_file, cert_file, key_file)
    plan = Plan(
        identity("--site", site),
        plan_beds(beds, seed, scenario or (), lead),
        monitor_format,
        pump_format,
        waveforms,
        nibp,
        hour,
        gateway_format,
        thermometers,
        beacons,
    )
    clock = Clock(speed, moment_ms("--epoch", epoch))
    with ExitStack() as stack:
        log = stack.enter_context(AckedLog(acked_log)) if acked_log else None
        run = WardRun(plan, target, clock, acknowledged=_writer(log) if log else None)
        interrupted = uvloop.run(_run(run, seconds, hour))
    summary = _summary(run, beds)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(
            f"{summary['acknowledged']} of {summary['published']} messages of {summary['devices']} devices "
            f"acknowledged, {summary['dropped']} dropped, {summary['reconnects']} reconnects",
            err=True,
        )
    if interrupted and seconds:
        raise typer.Exit(130)
    if summary["acknowledged"] != summary["published"]:
        raise typer.Exit(1)


async def _run(run: WardRun, seconds: float, hour: float) -> bool:
    """Run the ward; tell whether it was interrupted."""
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        interrupted = True
        run.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    console = Console(stderr=True)
    if not console.is_terminal:
        await run.run(seconds)
        return interrupted
    with Live(console=console, get_renderable=lambda: table(run, hour), refresh_per_second=1):
        await run.run(seconds)
    return interrupted


def _summary(run: WardRun, beds: int) -> dict[str, Any]:
    clients = [station.client for station in run.stations]
    return {
        "beds": beds,
        "devices": len(clients),
        "published": sum(client.published for client in clients),
        "acknowledged": sum(client.acknowledged for client in clients),
        "dropped": sum(client.dropped for client in clients),
        "reconnects": sum(max(client.connects - 1, 0) for client in clients),
        "known_truth": run.known_truth(),
    }


def _writer(log: AckedLog) -> Callable[[str, Publication], None]:
    """Write down what of the acknowledged publications is an observation."""

    def write(device: str, publication: Publication) -> None:
        if publication.topic.endswith("/observations"):
            sent = json.loads(publication.payload)
            log.write(device, sent["time"], sent["seq"], sent["values"])

    return write

"""`ward-sims replay`: recorded numerics as the device that made them."""

import json
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

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
from device_sims.errors import InputError, SimsError
from device_sims.progress import bar
from device_sims.recordings import read_recording
from device_sims.replay import Device, Replay
from device_sims.target import parse_target


def replay(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="BIDMC .csv, Challenge 2019 .psv or a WFDB record (with or without .hea)."
        ),
    ],
    site: Annotated[str, typer.Option(help="{site} of the topics.")],
    area: Annotated[str, typer.Option(help="{area} of the topics.")],
    device: Annotated[
        str, typer.Option(help="{device} of the topics; {stem} in it stands for the file's name.")
    ],
    broker: BrokerOption = "mqtt://127.0.0.1:1883",
    speed: Annotated[
        float, typer.Option(min=0.0, help="Recorded seconds a second; 0: as fast as acknowledged.")
    ] = 1.0,
    epoch: Annotated[
        str | None,
        typer.Option(
            metavar="RFC3339",
            help="Device clock = EPOCH + (wall clock - EPOCH) * SPEED, as the hub's --time-epoch and "
            "--time-scale have it. Default: now.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="RFC3339", help="Device time of the first row. Default: the device clock."),
    ] = None,
    username: UsernameOption = None,
    password_file: PasswordFileOption = None,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
    window: Annotated[
        int, typer.Option(min=1, max=10000, help="Messages that may await their acknowledgement.")
    ] = 200,
    give_up: Annotated[
        float, typer.Option(min=1.0, metavar="SECONDS", help="How long the broker may be away.")
    ] = 60.0,
    acked_log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Append one JSON line for each message that the broker acknowledged."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay recorded numerics as the device that made them.

    Each file is one device. CSV and PSV go out in the hub's own format on wards/v1/SITE/AREA/DEVICE, with
    a retained status and a last will; WFDB records as mimic2/v1/SITE/DEVICE/numerics.

    For example:

        ward-sims replay bidmc_01_Numerics.csv --site main --area icu --device mon-icu-01

        ward-sims replay bidmc_*.csv --site main --area icu --device '{stem}' --speed 50

        ward-sims replay s00001-2896-10-10-00-31n --site main --area icu --device mimic-1 --speed 0
    """
    target = parse_target(broker, username, password_file, ca_file, cert_file, key_file)
    clock = Clock(speed, moment_ms("--epoch", epoch), moment_ms("--start", start))
    places = [
        Device(identity("--site", site), identity("--area", area), name) for name in _names(device, files)
    ]
    recordings = [read_recording(path) for path in files]
    with ExitStack() as stack:
        log = stack.enter_context(AckedLog(acked_log)) if acked_log else None
        progress = stack.enter_context(bar("replayed", sum(len(r.rows) for r in recordings)))
        replays = [
            Replay(
                recording,
                place,
                target,
                clock,
                window=window,
                give_up_s=give_up,
                acknowledged=log.write if log else None,
                progress=progress,
            )
            for recording, place in zip(recordings, places, strict=True)
        ]
        interrupted = _stop_on_signals(replays)
        pool = stack.enter_context(ThreadPoolExecutor(len(replays), "replay"))
        running = [pool.submit(one.run) for one in replays]
        outcomes, failures = [], []
        for future in running:
            try:
                outcomes.append(future.result())
            except SimsError as failure:
                failures.append(failure)
    if failures:
        raise failures[0]
    summary = {
        "devices": len(outcomes),
        "published": sum(one.published for one in outcomes),
        "acknowledged": sum(one.acknowledged for one in outcomes),
        "reconnects": sum(one.reconnects for one in outcomes),
        "behind_s": max(one.behind_s for one in outcomes),
    }
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(
            f"{summary['acknowledged']} of {summary['published']} messages of {summary['devices']} device(s) "
            f"acknowledged, {summary['reconnects']} reconnects, at most {summary['behind_s']} s late",
            err=True,
        )
    if interrupted.is_set():
        raise typer.Exit(130)


def _stop_on_signals(replays: list[Replay]) -> threading.Event:
    """End the replays in order when the terminal or a service manager asks."""
    interrupted = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        interrupted.set()
        for one in replays:
            one.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return interrupted


def _names(template: str, files: list[Path]) -> list[str]:
    if len(files) > 1 and "{stem}" not in template:
        raise InputError(f"--device {template} names one device for {len(files)} files; put {{stem}} in it")
    stems = [re.sub(r"[^A-Za-z0-9_-]", "-", path.name.removesuffix(path.suffix)) for path in files]
    names = [identity("--device", template.replace("{stem}", stem)) for stem in stems]
    if len(set(names)) < len(names):
        raise InputError(f"--device {template} gives two files the same device; rename one of the files")
    return names

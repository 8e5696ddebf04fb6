"""`ward-sims load`: an open-loop load test that reckons with what the hub stored."""

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from device_sims.client import probe
from device_sims.commands.options import (
    CaFileOption,
    CertFileOption,
    KeyFileOption,
    PasswordFileOption,
    UsernameOption,
    identity,
)
from device_sims.errors import InputError
from device_sims.load.expect import Expectation, parse_expectations
from device_sims.load.faults import KINDS, Fault, parse_fault
from device_sims.load.find_max import Step, find_max
from device_sims.load.hub_api import HubApi
from device_sims.load.outcome import KEYS, Outcome
from device_sims.load.own_hub import own_hub
from device_sims.load.plan import Endpoint, LoadPlan
from device_sims.load.processes import listener
from device_sims.load.report import page
from device_sims.load.run import LoadRun, check_limits
from device_sims.progress import PhaseBar

_DEVICES_A_WORKER = 15_000
_MESSAGES_A_WORKER = 40_000
_CONNECTIONS_A_SOURCE = 20_000
_SHOWN = (
    *("connected", "target_rate", "actual_rate", "published", "acknowledged", "stored", "lost", "doubled"),
    *("altered", "alarms_expected", "alarms_missed", "alarm_p50_ms", "alarm_p99_ms", "puback_p50_ms"),
    *("puback_p99_ms", "puback_max_ms", "connect_s", "hub_rss_mb", "hub_cpu_s", "broker_rss_mb"),
    *("broker_cpu_s", "load_cpu_us_per_message"),
)


class Watched:
    """The hub and the brokers that a test leans on."""

    def __init__(
        self,
        endpoints: tuple[Endpoint, ...],
        open_hub: Callable[[], HubApi] | None,
        hub_pid: int | None,
        broker_pids: list[int],
    ) -> None:
        self.endpoints = endpoints
        self.open_hub = open_hub
        self.hub_pid = hub_pid
        self.broker_pids = broker_pids


def load(
    *,
    devices: Annotated[int, typer.Option(min=1, max=200_000, help="Simulated devices.")] = 100,
    rate: Annotated[float, typer.Option(min=0.001, help="Messages a second of each device.")] = 1.0,
    values: Annotated[int, typer.Option(min=1, help="Values in a message.")] = 6,
    qos: Annotated[int, typer.Option(min=0, max=1)] = 1,
    duration: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Of the schedule.")] = 30.0,
    ramp: Annotated[float, typer.Option(min=1, help="New connections a second.")] = 500.0,
    brokers: Annotated[
        str | None,
        typer.Option(
            metavar="URL[,URL]", help="Where the devices connect, in turn. Default: mqtt://127.0.0.1:1883."
        ),
    ] = None,
    with_hub: Annotated[
        bool,
        typer.Option(help="Start a hub for this test, reading from --brokers or with its embedded broker."),
    ] = False,
    hub: Annotated[str | None, typer.Option(metavar="URL", help="The hub to reckon with.")] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with a token of the hub; or WARD_SIMS_TOKEN in the environment."
        ),
    ] = None,
    alarms: Annotated[
        int | None,
        typer.Option(min=0, help="Devices that leave a limit once. Default with a hub: 200 at most."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(metavar="LIMITS", help="Such as 'lost=0,alarm_p99_ms<250'; exit code 1 where not met."),
    ] = None,
    find_highest: Annotated[
        bool,
        typer.Option(
            "--find-max", help="Raise the rate until an --expect breaks; each step lasts --duration."
        ),
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND@S[+S][:HOW]", help="; ".join(f"{what}" for what in KINDS.values())),
    ] = None,
    wrong_clocks: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the devices whose clock is 90 s early or late.")
    ] = 0.0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes. Default: as many as the devices need.")
    ] = None,
    sources: Annotated[
        int | None,
        typer.Option(min=1, max=200, help="127.0.0.x addresses to connect from. Default: as needed."),
    ] = None,
    site: Annotated[str, typer.Option(help="{site} of the topics.")] = "main",
    area: Annotated[str, typer.Option(help="{area} of the topics.")] = "load",
    prefix: Annotated[str, typer.Option(help="Devices are called PREFIX-00000 and so on.")] = "load",
    username: UsernameOption = None,
    password_file: PasswordFileOption = None,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
    hub_pid: Annotated[int | None, typer.Option(help="Process to watch. Default: who listens there.")] = None,
    broker_pid: Annotated[list[int] | None, typer.Option(help="The same for the brokers.")] = None,
    drain: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="How long the hub may take to catch up at the end."),
    ] = 60.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="One flat JSON object.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="A page for people.")] = None,
) -> None:
    """Load a broker and a hub with simulated devices, and reckon with what was stored.

    The schedule doesn't wait for the broker (open loop); latencies run from the time of the schedule. With a
    hub, every acknowledged message is looked for in its store, and its stream is listened to for the alarms
    that are known to be due.

    For example:

        ward-sims load --with-hub --devices 1000 --duration 60 --expect "lost=0,alarm_p99_ms<250"

        ward-sims load --devices 10620 --duration 600 --hub http://127.0.0.1:8080 --token-file token

        ward-sims load --with-hub --devices 2000 --find-max --expect "lost=0,actual_share>=0.99"

        ward-sims load --with-hub --devices 500 --fault storm@20 --fault will@30+10:0.5 --report load.html
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end what was started, as with any other error
    expectations = parse_expectations(expect or ("lost=0" if hub or with_hub else ""), KEYS)
    faults = [parse_fault(text) for text in fault or ()]
    if hub and with_hub:
        raise InputError("give --hub or --with-hub, not both")
    if find_highest and not expectations:
        raise InputError("--find-max needs limits that can break: give --expect")
    files = [str(file) if file else None for file in (password_file, ca_file, cert_file, key_file)]
    endpoints = _endpoints(brokers, username, files, default=not with_hub)
    if workers is None:
        workers = max(-(-devices // _DEVICES_A_WORKER), int(devices * rate / _MESSAGES_A_WORKER) + 1)
    local = all(_is_local(_host(endpoint.url)) for endpoint in endpoints)
    if sources is None:
        sources = max(-(-devices // max(len(endpoints), 1) // _CONNECTIONS_A_SOURCE), 1) if local else 1
    elif sources > 1 and not local:
        raise InputError(
            "--sources are addresses of this machine: brokers elsewhere can't be reached from them"
        )
    if alarms is None:
        alarms = min(devices, 200) if hub or with_hub else 0
    plan = LoadPlan(
        endpoints,
        devices,
        rate,
        duration,
        values,
        qos,
        ramp,
        workers,
        sources,
        site=identity("--site", site),
        area=identity("--area", area),
        prefix=identity("--prefix", prefix),
        alarms=alarms,
        wrong_clocks=wrong_clocks,
        keepalive_s=min(max(120, int(4 / rate)), 65_535),
    )
    own = [plan.device_name(j) for j in range(devices)] if with_hub else None
    with _watched(plan, hub, token_file, hub_pid, broker_pid or [], own) as watched:
        plan = replace(plan, endpoints=watched.endpoints)
        check_limits(plan, faults)
        _check_brokers(plan)
        outcome, plan, steps = _test(plan, watched, faults, expectations, drain, find_highest=find_highest)
    if json_file is not None:
        _write(json_file, json.dumps(outcome.result, indent=1) + "\n")
    if report is not None:
        command = shlex.join(["ward-sims", *sys.argv[1:]])
        told = [str(one) for one in faults]
        _write(report, page(plan, outcome, expectations, command, faults=told, steps=steps))
    _show(outcome, expectations, steps)
    if any(not one.met(outcome.result) for one in expectations):
        raise typer.Exit(1)


def _test(
    plan: LoadPlan,
    watched: Watched,
    faults: list[Fault],
    expectations: list[Expectation],
    drain_s: float,
    *,
    find_highest: bool,
) -> tuple[Outcome, LoadPlan, list[Step]]:
    """Run the test or the search; return its outcome, the plan that it is of, and the steps of the search."""
    bar = PhaseBar(Console(stderr=True))
    attempts = 0

    def attempt(tried: LoadPlan) -> Outcome:
        nonlocal attempts
        attempts += 1
        run = LoadRun(
            tried,
            bar,
            faults=faults,
            open_hub=watched.open_hub,
            hub_pid=watched.hub_pid,
            broker_pids=watched.broker_pids,
            drain_s=drain_s,
        )
        signal.signal(signal.SIGINT, lambda *_: run.stop())
        return run.run()

    try:
        if not find_highest:
            return attempt(plan), plan, []
        found = find_max(plan, expectations, attempt)
        found.outcome.notes.append(f"what gave out above: {found.gave_out}")
        return found.outcome, found.plan or plan, found.steps
    finally:
        bar.stop()


def _endpoints(
    brokers: str | None, username: str | None, files: list[str | None], *, default: bool
) -> tuple[Endpoint, ...]:
    """`files`: of the password, the CA, the certificate and its key; the last three are for TLS alone."""
    urls = [url.strip() for url in (brokers or "").split(",") if url.strip()]
    urls = [url if "://" in url else f"mqtt://{url}" for url in urls]
    if not urls and default:
        urls = ["mqtt://127.0.0.1:1883"]
    return tuple(
        Endpoint(url, username, *(files if url.startswith("mqtts:") else [files[0], None, None, None]))
        for url in urls
    )


def _check_brokers(plan: LoadPlan) -> None:
    """Try address and login of each broker once, before anything depends on them."""
    for endpoint in plan.endpoints:
        uvloop.run(probe(endpoint.target()))


@contextlib.contextmanager
def _watched(
    plan: LoadPlan,
    hub: str | None,
    token_file: Path | None,
    hub_pid: int | None,
    broker_pids: list[int],
    registered: list[str] | None,
) -> Iterator[Watched]:
    """Find the hub and the brokers; start a hub of this test's own where there are devices to register."""
    endpoints = plan.endpoints
    if registered is not None:
        with own_hub(endpoints, registered, site=plan.site, area=plan.area) as own:
            yield Watched(own.endpoints, lambda: HubApi(own.url, own.token), own.pid, own.broker_pids)
        return
    pids = broker_pids or [pid for endpoint in endpoints if (pid := _local_listener(endpoint.url))]
    if hub is None:
        yield Watched(endpoints, None, hub_pid, pids)
        return
    token = _token(token_file)
    api = HubApi(hub, token)
    api.get("/api/v1/devices/unassigned")  # whether the hub is there and takes the token, before the test
    api.close()
    pid = hub_pid or (listener(api.port) if _is_local(api.host) else None)
    yield Watched(endpoints, lambda: HubApi(hub, token), pid, pids)


def _token(file: Path | None) -> str:
    if file is None:
        token = os.environ.get("WARD_SIMS_TOKEN", "")
        if not token:
            raise InputError("--hub needs a token: give --token-file or set WARD_SIMS_TOKEN")
        return token
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {file} can't be read: {error}") from None


def _local_listener(url: str) -> int | None:
    port = urlsplit(url).port or (8883 if url.startswith("mqtts:") else 1883)
    return listener(port) if _is_local(_host(url)) else None


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_local(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} can't be written: {error.strerror}") from None


def _show(outcome: Outcome, expectations: list[Expectation], steps: list[Step]) -> None:
    console = Console(stderr=True)
    for rate, what in steps:
        console.print(f"{rate:,.0f} messages/s: {what}", highlight=False)
    table = Table(show_header=False)
    for key in _SHOWN:
        value = outcome.result[key]
        if value is not None:
            table.add_row(key, f"{value:,.3f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}")
    console.print(table)
    for note in outcome.notes:
        console.print(f"note: {note}", highlight=False)
    for reason, count in outcome.refused.items():
        console.print(f"{count} connects failed: {reason}", highlight=False)
    for one in expectations:
        met = one.met(outcome.result)
        console.print(
            f"{'met' if met else 'NOT MET'}: {one} (measured {outcome.result[one.key]})", highlight=False
        )

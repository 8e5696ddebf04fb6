"""`hub doctor`: whether broker, stores, disk and clock let the hub keep its promises."""

import asyncio
import json
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from hub.commands.outcome import FAILED
from hub.commands.run import ConfigOption, settings_or_fail
from hub.devices.catalog import Catalog
from hub.devices.problem import DefinitionErrors
from hub.doctor import (
    probe_certificate,
    probe_clock,
    probe_disk,
    probe_provider,
    probe_registry,
    probe_store,
)
from hub.finding import Finding, Level
from hub.mqtt.broker import BrokerFailed, EmbeddedBroker
from hub.mqtt.probe import probe_broker
from hub.settings import Settings, SettingsInvalid

_MARKS: dict[Level, str] = {
    "ok": "[green]ok     [/]",
    "warning": "[yellow]warning[/]",
    "error": "[red]error  [/]",
}


def doctor(
    *,
    messages: Annotated[int, typer.Option(min=100, help="Messages that each broker is tried with.")] = 5000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    config: ConfigOption = None,
) -> None:
    """Try out brokers, stores, registry, OpenID provider, certificate, disk and clock; say what each means.

    Publishes only below wardhub/probe/ and removes what it made. The embedded broker is tried in a folder of
    its own, so a running hub is not disturbed. Exit code 1 when a promise does not hold.

    For example:

        hub doctor

        hub doctor --config /etc/wardhub/hub.toml --json
    """
    settings = settings_or_fail(config)
    console = Console(quiet=as_json)
    findings = asyncio.run(_examine(settings, messages, console))
    if as_json:
        print(json.dumps(msgspec.to_builtins(findings), indent=2))
    raise typer.Exit(FAILED if any(finding.level == "error" for finding in findings) else 0)


async def _examine(settings: Settings, messages: int, console: Console) -> list[Finding]:
    findings: list[Finding] = []

    async def add(step: str, probe: Awaitable[list[Finding]]) -> None:
        with console.status(step):
            found = await probe
        findings.extend(found)
        for finding in found:
            _print(console, finding)

    await add("trying the disk", asyncio.to_thread(probe_disk, settings.data_dir, settings.journal.quota_mb))
    await add("looking at the clock", asyncio.to_thread(probe_clock))
    await add("trying the registry", probe_registry(settings.registry_url))
    await add("looking at the certificate", asyncio.to_thread(probe_certificate, settings.http))
    if settings.oidc is not None:
        await add(f"trying {settings.oidc.issuer}", probe_provider(settings.oidc))
    for store in settings.stores:
        await add(f"trying {store.kind}", probe_store(store))
    for address in settings.broker_addresses:
        await add(f"trying {address} with {messages} messages", probe_broker(address, messages=messages))
    if not settings.broker_addresses:
        await add(f"trying the embedded broker with {messages} messages", _embedded(settings, messages))
    return findings


async def _embedded(settings: Settings, messages: int) -> list[Finding]:
    """Try an embedded broker like the hub's, in a folder and on a port of its own."""
    with tempfile.TemporaryDirectory(prefix="wardhub-doctor-") as folder:
        like = settings.embedded_broker.model_copy(update={"port": 0, "host": "127.0.0.1"})
        try:
            filters = [*Catalog.load(settings.definitions).filters, "wardhub/probe/#"]
            async with EmbeddedBroker(like.of_broker(Path(folder), filters)) as broker:
                return await probe_broker(
                    broker.address, messages=messages, before_connect=broker.release_unacknowledged
                )
        except DefinitionErrors as error:
            means = "The hub does not start."
            return [Finding("definitions", "error", str(error), means, "Change what the text names.")]
        except (BrokerFailed, SettingsInvalid) as error:
            return [Finding("broker: start", "error", str(error), "No device is heard.", "See the text.")]


def _print(console: Console, finding: Finding) -> None:
    console.print(f"{_MARKS[finding.level]} [bold]{finding.subject}[/]: {finding.found}")
    console.print(f"        {finding.means}", style="dim")
    if finding.change:
        console.print(f"        change: {finding.change}")

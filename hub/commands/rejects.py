"""`hub rejects`: what the hub could not use."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from hub.commands.outcome import CONFIG, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, settings_or_fail
from hub.datadir import DataDir
from hub.devices.catalog import Catalog
from hub.devices.problem import DefinitionErrors
from hub.journal import Journal, JournalError
from hub.model import Rejection
from hub.replay import Replay
from hub.settings import MB, Settings
from hub.ward.model import RegistryUnavailable
from hub.ward.registry import Registry

T = TypeVar("T")
app = typer.Typer(
    no_args_is_help=True,
    help="See what could not be used of devices' messages, and run it again. Works beside a running hub.",
)


@app.command("list")
def list_rejects(
    *,
    device: Annotated[str | None, typer.Option(help="Of this device only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object a line, payload included: it may hold patient data."),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """List rejects, newest first: what was wrong, and where in the payload.

    For example:

        hub rejects list --device mon-1

        hub rejects list --json --limit 1000 > rejects.jsonl
    """

    async def use(journal: Journal, _: Settings) -> None:
        found = await journal.rejected(device=device, limit=limit)
        if as_json:
            for one in found:
                print(json.dumps({"id": one.id, **_row(one.rejection)}))
            return
        table = Table("id", "received", "device", "topic", "path", "reason")
        for one in found:
            row = _row(one.rejection)
            columns = (row["received"], row["device"], row["topic"], row["path"], row["reason"])
            table.add_row(str(one.id), *(str(column or "") for column in columns))
        Console().print(table)

    _with_journal(config, use)


@app.command()
def replay(
    *,
    device: Annotated[str | None, typer.Option(help="Of this device only.")] = None,
    config: ConfigOption = None,
) -> None:
    """Run rejects again with the definitions of now. What is accepted is stored and leaves the rejects.

    A running hub uses new definitions after a restart. Exit code 1 when some are rejected again.

    For example:

        hub rejects replay --device mon-1
    """

    async def use(journal: Journal, settings: Settings) -> tuple[int, int]:
        catalog = Catalog.load(settings.definitions, site=settings.site, zone=settings.time_zone)
        registry = Registry(settings.registry_url)
        await registry.start()
        try:
            done = await Replay(
                journal,
                catalog,
                settings.clock.limits(),
                provisioned=lambda site, name: _provisioned(registry, site, name),
                offset_of=lambda _: 0,
            ).all(device=device)
        finally:
            await registry.stop()
        return done.accepted, done.rejected

    accepted, rejected = _with_journal(config, use)
    print(f"{accepted} accepted, {rejected} rejected again", file=sys.stderr)
    raise typer.Exit(1 if rejected else 0)


def _provisioned(registry: Registry, site: str, device: str) -> tuple[str, str, float]:
    entry = registry.device(site, device)
    return ("", "", 0.0) if entry is None else (entry.area, entry.definition, entry.interval_s or 0.0)


def _with_journal(config: ConfigOption, use: Callable[[Journal, Settings], Awaitable[T]]) -> T:
    settings = settings_or_fail(config)
    path = DataDir(settings.data_dir).journal
    if not path.exists():
        fail(f"{path}: there is no journal; set data_dir to the hub's, or run the hub first", UNAVAILABLE)

    async def run() -> T:
        journal = Journal(
            path, raw_bytes=settings.journal.raw_mb * MB, rejects_bytes=settings.journal.rejects_mb * MB
        )
        await journal.start(create=False)
        try:
            return await use(journal, settings)
        finally:
            await journal.stop()

    try:
        return asyncio.run(run())
    except DefinitionErrors as error:
        fail(str(error), CONFIG)
    except (JournalError, RegistryUnavailable) as error:
        fail(str(error), UNAVAILABLE)


def _row(rejection: Rejection) -> dict[str, object]:
    return {
        "received": datetime.fromtimestamp(rejection.received_ns / 1e9, UTC).isoformat(
            timespec="milliseconds"
        ),
        "site": rejection.site,
        "device": rejection.device,
        "topic": rejection.topic,
        "path": rejection.path,
        "reason": rejection.reason,
        "payload": rejection.payload.decode("utf-8", "backslashreplace"),
    }

"""`hub devices`: device definitions, offline."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hub.commands.outcome import CONFIG, FAILED, fail
from hub.commands.run import ConfigOption, settings_or_fail
from hub.devices.catalog import BUILT_IN, Catalog
from hub.devices.check import check as check_files
from hub.devices.problem import DefinitionErrors
from hub.devices.show import show

app = typer.Typer(
    no_args_is_help=True, help="Look at device definitions and try them out. Needs no running hub."
)


def _catalog(config: Path | None) -> Catalog:
    settings = settings_or_fail(config)
    try:
        return Catalog.load(settings.definitions, site=settings.site, zone=settings.time_zone)
    except DefinitionErrors as error:
        fail(str(error), CONFIG)


@app.command("list")
def list_definitions(*, config: ConfigOption = None) -> None:
    """List the definitions that the hub would load, with the topics that they take."""
    catalog = _catalog(config)
    table = Table("definition", "topics", "interval (s)")
    for name, definition in catalog.definitions.items():
        topics = "\n".join(topic.pattern for topic in definition.topic)
        table.add_row(name, topics, f"{definition.interval_s:g}")
    Console().print(table)


@app.command()
def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; the built-in definitions where absent.")
    ] = None,
) -> None:
    """Check definition files; print every error and warning with file, line and key. Exit code 1 on errors.

    For example:

        hub devices check my-monitor.toml

        hub devices check /etc/wardhub/definitions
    """
    problems = check_files(paths or [BUILT_IN])
    for problem in problems:
        print(problem)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    print(f"{errors} errors, {warnings} warnings", file=sys.stderr)
    raise typer.Exit(FAILED if errors else 0)


@app.command()
def decode(
    payload: Annotated[str, typer.Argument(help="The payload, @FILE, or - for standard input.")],
    *,
    topic: Annotated[
        str | None, typer.Option(help="The topic it came on; decides the definition, site and device.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device of the native format; short for its observations topic.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Show what the hub makes of one payload: items with codes and units, what it refuses. Stores nothing.

    For example:

        hub devices decode --device mon-1 '{"values":{"heart_rate":72}}'

        hub devices decode --topic iomt/telemetry/icu/pump-7 @payload.json
    """
    if (topic is None) == (device is None):
        raise typer.BadParameter("give either --topic or --device")
    settings = settings_or_fail(config)
    shown = show(
        _catalog(config),
        topic or f"wards/v1/{settings.site}/main/{device}/observations",
        _payload(payload),
    )
    print(json.dumps(shown, indent=2, ensure_ascii=False, default=str))
    raise typer.Exit(FAILED if shown["refused"] else 0)


def _payload(argument: str) -> bytes:
    if argument == "-":
        return sys.stdin.buffer.read()
    if argument.startswith("@"):
        try:
            return Path(argument[1:]).read_bytes()
        except OSError as error:
            fail(f"{argument[1:]}: {error.strerror}", FAILED)
    return argument.encode()

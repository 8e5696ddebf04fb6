"""`hub alarms` and `hub news2`: other limits tried out on stored readings, and scores by the chart."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from hub.alarms.book import Book, BookUnusable
from hub.alarms.limits import LimitSet, LimitsInvalid, load_limits
from hub.alarms.load import Figures
from hub.alarms.news2 import News2InputInvalid, news2_json
from hub.alarms.overrides import Overrides
from hub.alarms.replay import Outcome, Replayed
from hub.alarms.replay import replay as judge
from hub.alarms.rules import Limits
from hub.api.parameters import instant
from hub.app import open_store
from hub.commands.outcome import CONFIG, FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, settings_or_fail
from hub.datadir import DataDir
from hub.settings import Settings
from hub.stores.store import StoreRefused, StoreUnavailable
from hub.ward.model import RegistryUnavailable
from hub.ward.registry import Registry

app = typer.Typer(no_args_is_help=True, help="Alarms: try limits out before a ward uses them.")


@app.callback()
def _group() -> None:
    """Keep `replay` a command of its own, however many there are."""


@app.command()
def replay(
    *,
    start: Annotated[str, typer.Option("--from", help="RFC 3339 with a zone.")],
    end: Annotated[str | None, typer.Option("--to", help="RFC 3339 with a zone; now if absent.")] = None,
    limits: Annotated[
        Path | None, typer.Option(help="Limits to try; those of the settings if absent.", exists=True)
    ] = None,
    ward: Annotated[str | None, typer.Option(help="Of this ward only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Run limits over stored readings: how many alarms there would have been, beside the limits in use.

    What site and wards changed through the API holds beside both.

    The embedded store belongs to a running hub: ask that by POST /api/v1/alarms/replay, or stop it first.
    InfluxDB and VictoriaMetrics can be read beside it.

    For example:

        hub alarms replay --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z --limits ward.toml
    """
    settings = settings_or_fail(config)
    try:
        start_ns = instant(start)
        end_ns = instant(end or datetime.now(UTC).isoformat())
        in_use = load_limits(settings.limits_file) if settings.limits_file else load_limits()
        tried = load_limits(limits) if limits else in_use
    except LimitsInvalid as error:
        fail(str(error), CONFIG)
    except ValueError as error:
        fail(f"--from, --to: {error}", FAILED)
    try:
        found = asyncio.run(_replay(settings, [in_use, tried], ward, start_ns, end_ns))
    except (StoreUnavailable, StoreRefused, RegistryUnavailable, BookUnusable) as error:
        fail(str(error), UNAVAILABLE)
    named = dict(zip(("in_use", "tried"), found, strict=True))
    if as_json:
        print(json.dumps({name: msgspec.to_builtins(outcome) for name, outcome in named.items()}))
        return
    _print(named)


def news2(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Read and print JSON, the only form.")] = True,  # noqa: ARG001 - the flag names the form
) -> None:
    """Score NEWS2 by the chart: a JSON array of inputs on standard input, scores with sub-scores out.

    Inputs: respiratory_rate, spo2, spo2_scale, on_oxygen, systolic, pulse, consciousness, temperature, and
    where known age and pregnant. What is missing or invalid is named and never counts as 0.

    For example:

        echo '[{"respiratory_rate": 21, "spo2": 93, "on_oxygen": false}]' | hub news2 --json
    """
    try:
        print(news2_json(sys.stdin.buffer.read()))
    except News2InputInvalid as error:
        fail(str(error), FAILED)


async def _replay(
    settings: Settings, rules: list[LimitSet], ward: str | None, start_ns: int, end_ns: int
) -> list[Outcome]:
    registry = Registry(settings.registry_url)
    data = DataDir(settings.data_dir)
    store = open_store(settings.stores[0], data)
    await registry.start()
    try:
        devices = []
        for device in await registry.devices():
            at = registry.placement(device.site, device.id)
            if ward is None or at.ward == ward:
                devices.append(Replayed(device.site, device.id, at.bed, at.ward, at.age_group))
        if not devices and ward is not None:
            wards = ", ".join(sorted({one.id for one in await registry.wards()}))
            fail(f"--ward: no device is in ward {ward}; there are the wards {wards}", FAILED)
        await store.start()
        try:
            return [
                await judge(store, devices, await _limits_of(one, data), start_ns, end_ns) for one in rules
            ]
        finally:
            await store.stop()
    finally:
        await registry.stop()


async def _limits_of(rules: LimitSet, data: DataDir) -> Callable[[Replayed], Limits]:
    """Return the rules of a device's place, with what the site and the ward changed. Raises BookUnusable."""
    if not data.alarm_book.exists():
        return lambda one: rules.of(one.age_group)
    book = Book(data.alarm_book)
    await book.start()
    try:
        changes = Overrides(book, rules)
        await changes.start(time.time_ns())
    finally:
        await book.stop()
    return lambda one: rules.of_valid(one.age_group, changes.of(one.site, one.ward, None))


def _print(named: dict[str, Outcome]) -> None:
    table = Table("", *named)
    for label, of in _ROWS.items():
        table.add_row(label, *(str(of(outcome.figures)) for outcome in named.values()))
    conditions = sorted({key for outcome in named.values() for key in outcome.by_condition})
    for condition in conditions:
        table.add_row(condition, *(str(outcome.by_condition.get(condition, 0)) for outcome in named.values()))
    table.add_row("readings", *(str(outcome.readings) for outcome in named.values()))
    Console().print(table)


def _of_priority(priority: str, figures: Figures) -> int:
    return figures.by_priority.get(priority, 0)


_ROWS: dict[str, Callable[[Figures], object]] = {
    "alarms": lambda figures: figures.alarms,
    "a bed a day": lambda figures: figures.alarms_a_bed_a_day,
    "high": lambda figures: _of_priority("high", figures),
    "medium": lambda figures: _of_priority("medium", figures),
    "low": lambda figures: _of_priority("low", figures),
    "floods": lambda figures: figures.floods,
    "chattering": lambda figures: figures.chattering,
}

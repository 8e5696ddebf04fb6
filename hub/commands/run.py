"""`hub run`: the hub, until it is told to stop."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from hub.app import Hub
from hub.commands.outcome import CONFIG, UNAVAILABLE, fail
from hub.settings import Settings, SettingsInvalid, load_settings
from hub.startup import CannotStart, Wrong, opened
from hub.ward.wardfile import WardFile

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings in TOML; hub.toml in the working directory if it is there. HUB_… variables go first.",
    ),
]


def settings_or_fail(path: Path | None, overrides: dict[str, object] | None = None) -> Settings:
    """Return the settings, or end the command naming each wrong one."""
    try:
        return load_settings(path, overrides)
    except SettingsInvalid as error:
        fail(str(error), CONFIG)


def make_data_dir_or_fail(settings: Settings) -> None:
    """Make the data folder, where the registry is unless the settings say otherwise."""
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        fail(
            f"data_dir {settings.data_dir}: {error.strerror}; set data_dir to a folder that you may write",
            UNAVAILABLE,
        )


def log_to_stderr(*, verbose: bool) -> None:
    """Log changes of state to standard error, where a service manager collects them."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for chatty in ("alembic", "asyncio", "uvicorn.access", "multipart"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def run(
    *,
    config: ConfigOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details too.")] = False,
) -> None:
    """Run the hub until SIGTERM or Ctrl-C.

    Without a broker in the settings it starts one of its own (nats-server) on 127.0.0.1:1883.

    For example:

        hub run

        hub run --config /etc/wardhub/hub.toml

        HUB_BROKER_URL=mqtt://127.0.0.1:1884 HUB_HTTP__PORT=9000 hub run
    """
    log_to_stderr(verbose=verbose)
    settings = settings_or_fail(config)

    async def serve(hub: Hub) -> None:
        stopping = asyncio.create_task(until_signalled())
        await asyncio.sleep(0)  # from here on a signal ends the hub in order
        print(f"hub {settings.id} is up: {hub.url}", file=sys.stderr)
        await stopping

    serve_or_fail(settings, serve)


def serve_or_fail(
    settings: Settings, body: Callable[[Hub], Awaitable[None]], ward: WardFile | None = None
) -> None:
    """Run a hub for as long as `body` takes; end the command with one clear error where it can't start."""
    try:
        uvloop.run(_serve(settings, body, ward))
    except CannotStart as error:
        fail(str(error), CONFIG if isinstance(error, Wrong) else UNAVAILABLE)


async def _serve(settings: Settings, body: Callable[[Hub], Awaitable[None]], ward: WardFile | None) -> None:
    async with opened(settings, ward) as hub:
        await body(hub)


async def until_signalled() -> None:
    """Wait for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()

"""`hub token`: who may use the API."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from hub.commands.outcome import FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, make_data_dir_or_fail, settings_or_fail
from hub.tokens import ROLES, Tokens
from hub.ward.model import NotInRegistry, RegistryRefused, RegistryUnavailable

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API's bearer tokens.")
_DAY_NS = 86_400_000_000_000


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option(help="What it is for; unique among valid tokens.")],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")] = "viewer",
    days: Annotated[
        float | None, typer.Option(min=0.01, help="Valid for so long; forever where absent.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make a token and print its secret, once.

    For example:

        hub token create --name ward-screen-1 --role nurse --days 365
    """
    expires_ns = None if days is None else time.time_ns() + round(days * _DAY_NS)
    print(_with_tokens(config, lambda tokens: tokens.create(name, role, expires_ns)))


@app.command("list")
def list_tokens(*, config: ConfigOption = None) -> None:
    """List all tokens ever made; secrets are kept nowhere.

    For example:

        hub token list
    """
    table = Table("name", "role", "made", "expires", "last used", "revoked")
    for token in _with_tokens(config, lambda tokens: tokens.entries()):
        moments = (token.created_ns, token.expires_ns, token.last_used_ns, token.revoked_ns)
        table.add_row(token.name, token.role, *map(_moment, moments))
    Console().print(table)


@app.command()
def revoke(name: str, *, config: ConfigOption = None) -> None:
    """End a token at once.

    For example:

        hub token revoke ward-screen-1
    """
    _with_tokens(config, lambda tokens: tokens.revoke(name))


def _with_tokens(config: ConfigOption, use: Callable[[Tokens], Awaitable[T]]) -> T:
    settings = settings_or_fail(config)
    make_data_dir_or_fail(settings)

    async def run() -> T:
        tokens = Tokens(settings.registry_url)
        await tokens.start()
        try:
            return await use(tokens)
        finally:
            await tokens.stop()

    try:
        return asyncio.run(run())
    except RegistryUnavailable as error:
        fail(str(error), UNAVAILABLE)
    except (RegistryRefused, NotInRegistry) as error:
        fail(str(error), FAILED)


def _moment(time_ns: int | None) -> str:
    return "" if time_ns is None else datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")

"""`hub client`: programs that prove who they are by signing (SMART backend services)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from hub.clients import Clients
from hub.commands.outcome import FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, make_data_dir_or_fail, settings_or_fail
from hub.ward.model import NotInRegistry, RegistryRefused, RegistryUnavailable

T = TypeVar("T")
app = typer.Typer(
    no_args_is_help=True, help="Register programs that sign (SMART backend services), list, remove."
)
_DAY_NS = 86_400_000_000_000
_THIS_MACHINE = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


@app.command()
def add(
    client_id: Annotated[
        str, typer.Argument(metavar="ID", help="Its client_id: iss and sub of what it signs.")
    ],
    *,
    keys: Annotated[
        str,
        typer.Option(help="A file with its public keys (a JSON Web Key Set), or the https address of one."),
    ],
    scope: Annotated[
        list[str],
        typer.Option(help="What it may do at most, such as system/Observation.rs; may be repeated."),
    ],
    days: Annotated[
        float | None, typer.Option(min=0.01, help="Registered for so long; forever where absent.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Register a program by its public keys; its private key stays with it.

    For example:

        hub client add ehr --keys ehr-jwks.json --scope system/Patient.crus --scope system/Encounter.crus

        hub client add research --keys https://research.example/jwks.json --scope system/Observation.rs
    """
    from hub.api.fhir.access import is_scope
    from hub.api.fhir.keys import KeysUnusable, read_keys

    wrong = [one for one in scope if not is_scope(one)]
    if wrong:
        fail(f"--scope {wrong[0]}: expected system/KIND.cruds, such as system/Observation.rs", FAILED)
    jwks = url = None
    if "://" in keys:
        if not keys.startswith(("https://", *_THIS_MACHINE)):
            fail(f"--keys {keys}: expected an https address; http is for this machine alone", FAILED)
        url = keys
    else:
        try:
            jwks = Path(keys).read_text(encoding="utf-8")
            read_keys(jwks)
        except (OSError, UnicodeDecodeError) as error:
            fail(f"--keys {keys}: can't be read: {error}", FAILED)
        except KeysUnusable as error:
            fail(f"--keys {keys}: {error}", FAILED)
    expires_ns = None if days is None else time.time_ns() + round(days * _DAY_NS)
    _with_clients(
        config,
        lambda clients: clients.add(client_id, scope, jwks=jwks, jwks_url=url, expires_ns=expires_ns),
    )
    settings = settings_or_fail(config)
    if settings.http.public_url is None:
        print("registered; set http.public_url, the hub's own address: what clients sign must name it")
    else:
        print(f"registered; it signs for {settings.http.public_url}/fhir/auth/token")


@app.command("list")
def list_clients(*, config: ConfigOption = None) -> None:
    """List the programs that sign.

    For example:

        hub client list
    """
    table = Table("id", "scopes", "keys", "made", "expires")

    async def entries(clients: Clients) -> None:
        for one in clients.entries():
            moments = (_moment(one.created_ns), _moment(one.expires_ns))
            table.add_row(one.id, "\n".join(one.scopes), one.jwks_url or "given", *moments)

    _with_clients(config, entries)
    Console().print(table)


@app.command()
def remove(
    client_id: Annotated[str, typer.Argument(metavar="ID", help="As it was registered.")],
    *,
    config: ConfigOption = None,
) -> None:
    """Remove a program; what it holds already ends within five minutes.

    For example:

        hub client remove ehr
    """
    _with_clients(config, lambda clients: clients.remove(client_id))


def _with_clients(config: ConfigOption, use: Callable[[Clients], Awaitable[T]]) -> T:
    settings = settings_or_fail(config)
    make_data_dir_or_fail(settings)

    async def run() -> T:
        clients = Clients(settings.registry_url)
        await clients.start()
        try:
            return await use(clients)
        finally:
            await clients.stop()

    try:
        return asyncio.run(run())
    except RegistryUnavailable as error:
        fail(str(error), UNAVAILABLE)
    except (RegistryRefused, NotInRegistry) as error:
        fail(str(error), FAILED)


def _moment(time_ns: int | None) -> str:
    return "" if time_ns is None else datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")

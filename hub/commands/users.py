"""`hub user`: who signs in at nurse stations."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from hub.commands.outcome import FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, make_data_dir_or_fail, settings_or_fail
from hub.tokens import ROLES
from hub.users import SHORTEST_PASSWORD, Users
from hub.ward.model import NotInRegistry, RegistryRefused, RegistryUnavailable

T = TypeVar("T")
app = typer.Typer(
    no_args_is_help=True, help="Add, change and remove the people who sign in at nurse stations."
)

RoleOption = Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Read the password from this file, - for standard input; asked for where absent."
    ),
]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What the person types, for instance anna.berg.")],
    *,
    full_name: Annotated[str, typer.Option(help="What others read, in alarm histories too.")],
    role: RoleOption = "nurse",
    password_file: PasswordFileOption = None,
    config: ConfigOption = None,
) -> None:
    """Add a person. The password is never an argument: other users of the machine could read it.

    For example:

        hub user add anna.berg --full-name "Anna Berg" --role charge-nurse
    """
    password = _password(password_file)
    _with_users(config, lambda users: users.add(name, full_name, role, password))


@app.command()
def password(name: str, *, password_file: PasswordFileOption = None, config: ConfigOption = None) -> None:
    """Give a person another password; their sessions end.

    For example:

        hub user password anna.berg

        hub user password anna.berg --password-file - < secret.txt
    """
    secret = _password(password_file)
    _with_users(config, lambda users: users.change(name, password=secret))


@app.command()
def role(name: str, role: str, *, config: ConfigOption = None) -> None:
    """Give a person another role; their sessions end.

    For example:

        hub user role anna.berg biomed
    """
    _with_users(config, lambda users: users.change(name, role=role))


@app.command()
def remove(name: str, *, config: ConfigOption = None) -> None:
    """Remove a person; their sessions end.

    For example:

        hub user remove anna.berg
    """
    _with_users(config, lambda users: users.remove(name))


@app.command("list")
def list_users(*, config: ConfigOption = None) -> None:
    """List everybody.

    For example:

        hub user list
    """
    table = Table("name", "full name", "role", "added", "changed")
    for user in _with_users(config, lambda users: users.entries()):
        table.add_row(user.name, user.full_name, user.role, *map(_day, (user.created_ns, user.changed_ns)))
    Console().print(table)


def _password(file: Path | None) -> str:
    if file is None:
        asked: str = typer.prompt(
            f"Password, at least {SHORTEST_PASSWORD} characters", hide_input=True, confirmation_prompt=True
        )
        return asked
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: can't be read: {error}", FAILED)
    return text.removesuffix("\n").removesuffix("\r")


def _with_users(config: Path | None, use: Callable[[Users], Awaitable[T]]) -> T:
    settings = settings_or_fail(config)
    make_data_dir_or_fail(settings)

    async def run() -> T:
        users = Users(settings.registry_url)
        await users.start()
        try:
            return await use(users)
        finally:
            await users.stop()

    try:
        return asyncio.run(run())
    except RegistryUnavailable as error:
        fail(str(error), UNAVAILABLE)
    except (RegistryRefused, NotInRegistry) as error:
        fail(str(error), FAILED)


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d")

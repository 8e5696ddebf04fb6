"""`hub user`: who signs in at nurse stations."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from hub.commands.outcome import FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, make_data_dir_or_fail, settings_or_fail
from hub.sessions import Sessions
from hub.tokens import ROLES
from hub.users import SHORTEST_PASSWORD, Users
from hub.ward.model import NotInRegistry, RegistryRefused, RegistryUnavailable

T = TypeVar("T")


class _Part(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


P = TypeVar("P", bound=_Part)
app = typer.Typer(
    no_args_is_help=True,
    help="Add, change and remove the people who sign in at nurse stations; see and end their sessions.",
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


@app.command()
def sessions(
    name: Annotated[str | None, typer.Argument(help="Of this person only.")] = None,
    *,
    config: ConfigOption = None,
) -> None:
    """List who is signed in at stations, the newest first, people of the OpenID provider too.

    A locked one shows alarms and values and does nothing. Touches are written down once a minute.

    For example:

        hub user sessions

        hub user sessions anna.berg
    """
    table = Table("name", "full name", "role", "by", "since", "last touched", "state")
    now_ns = time.time_ns()

    async def use(held: Sessions) -> None:
        for one in await held.entries():
            if name in (None, one.user):
                state = "acts" if held.is_active(one, now_ns) else "locked"
                by = "password" if one.subject is None else "OpenID"
                times = map(_minute, (one.opened_ns, one.touched_ns))
                table.add_row(one.user, one.full_name, one.role, by, *times, state)

    _with(Sessions, config, use)
    Console().print(table)


@app.command()
def sign_out(
    name: Annotated[str, typer.Argument(help="As `hub user sessions` lists it.")],
    *,
    config: ConfigOption = None,
) -> None:
    """End every session of a person, wherever they are signed in. A running hub follows within seconds.

    At an OpenID provider they stay known: lock them there first, or they come in again.

    For example:

        hub user sign-out anna.berg
    """
    ended = _with(Sessions, config, lambda held: held.end(name))
    if not ended:
        fail(f"nobody called {name!r} is signed in: see hub user sessions", FAILED)
    print(f"{ended} session{'' if ended == 1 else 's'} of {name} ended")


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
    return _with(Users, config, use)


def _with(part: Callable[[str], P], config: Path | None, use: Callable[[P], Awaitable[T]]) -> T:
    settings = settings_or_fail(config)
    make_data_dir_or_fail(settings)

    async def run() -> T:
        held = part(settings.registry_url)
        await held.start()
        try:
            return await use(held)
        finally:
            await held.stop()

    try:
        return asyncio.run(run())
    except RegistryUnavailable as error:
        fail(str(error), UNAVAILABLE)
    except (RegistryRefused, NotInRegistry) as error:
        fail(str(error), FAILED)


def _minute(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d")

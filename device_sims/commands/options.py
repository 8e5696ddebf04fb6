"""Options that the commands share, and how their texts are read."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from device_sims.errors import InputError

_IDENTITY = re.compile(r"[A-Za-z0-9_-]{1,64}")

BrokerOption = Annotated[
    str, typer.Option("--broker", metavar="URL", help="mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS.")
]
UsernameOption = Annotated[str | None, typer.Option(help="User name at the broker.")]
PasswordFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File that holds the password at the broker.")
]
CaFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM certificates to trust, for mqtts://.")
]
CertFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM certificate of the devices, where the broker asks.")
]
KeyFileOption = Annotated[Path | None, typer.Option(metavar="FILE", help="PEM key of --cert-file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output at the end.")]


def identity(option: str, name: str) -> str:
    """Check an id of the topics."""
    if not _IDENTITY.fullmatch(name):
        raise InputError(f"{option} {name!r}: give 1 to 64 letters, digits, '_' or '-'")
    return name


def moment_ms(option: str, text: str | None) -> int | None:
    """Read RFC 3339 as milliseconds since the epoch."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{option} {text}: give RFC 3339 with a zone, such as 2026-11-24T02:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise InputError(f"{option} {text}: it has no zone; end it with Z or an offset such as +01:00")
    return round(moment.timestamp() * 1000)

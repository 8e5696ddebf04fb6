"""How a command ends: its exit code, and errors that tell a person what to change."""

import sys
from typing import NoReturn

OK = 0
FAILED = 1
"""The command ran and found something wrong: an invalid definition, a lost reading."""
UNAVAILABLE = 69
"""A broker, a database, a port or a folder can't be had (EX_UNAVAILABLE): trying again later may help."""
CONFIG = 78
"""Settings, a ward file, limits or definitions are wrong (EX_CONFIG): someone must change them."""


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Print an error to standard error and end with the code."""
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(code)

"""Points at which a test can kill the process: `HUB_FAILPOINT=name` or `name:n` for the n-th pass."""

import os
import signal
from collections.abc import Callable


def _pass(_name: str) -> None:
    """Do nothing: no failpoint is set."""


def arm(setting: str) -> Callable[[str], None]:
    """Return the function that kills this process at the n-th pass of the named point.

    `setting` is `name` or `name:n`; a name may hold colons itself. Empty: a function that does nothing.
    """
    if not setting:
        return _pass
    name, _, number = setting.rpartition(":")
    if not name or not number.isdigit():
        name, number = setting, "1"
    left = int(number)

    def kill_at(passed: str) -> None:
        nonlocal left
        if passed != name:
            return
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill_at


failpoint = arm(os.environ.get("HUB_FAILPOINT", ""))

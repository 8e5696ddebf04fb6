"""What `hub doctor` found about one thing that a promise rests on."""

from typing import Literal

from msgspec import Struct

Level = Literal["ok", "warning", "error"]


class Finding(Struct, frozen=True):
    """One check: what was found, what it means for the promises, what to change."""

    subject: str
    """Name of the check, for instance `broker: queue`."""
    level: Level
    """ok: the promises hold. warning: they hold with a limit that is said. error: they don't hold."""
    found: str
    means: str
    change: str = ""
    """What to change; empty where nothing need be."""

    @property
    def ok(self) -> bool:
        """Whether nothing need be changed."""
        return self.level == "ok"

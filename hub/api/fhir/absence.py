"""What a device has not told: remembered for minutes, so that nobody looks through everything again."""

from collections import OrderedDict
from typing import Final

FOR_NS: Final = 300_000_000_000
_MOST: Final = 20_000

Key = tuple[str, str, int, frozenset[str]]
"""Site, device, beginning of the stretch (ns), names of groups."""


class Absence:
    """Groups of which a stretch of a device's time holds nothing.

    A store finds what is there at once, and what is not there only by looking through all of it. What a
    device begins to tell meanwhile is known to the running hub without the store.
    """

    def __init__(self) -> None:
        self._noted: OrderedDict[Key, int] = OrderedDict()

    def note(self, key: Key, now_ns: int) -> None:
        """Remember that there is nothing."""
        self._noted[key] = now_ns
        self._noted.move_to_end(key)
        if len(self._noted) > _MOST:
            self._noted.popitem(last=False)

    def holds(self, key: Key, now_ns: int) -> bool:
        """Tell whether there was nothing a few minutes ago."""
        noted_ns = self._noted.get(key)
        return noted_ns is not None and now_ns - noted_ns < FOR_NS

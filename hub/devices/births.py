"""What Sparkplug nodes and devices said at their births: later messages name their metrics by alias alone.

Held in memory, and by `hub.devices.births_file` on disk, so that it outlives a restart of the hub. A birth
that was lost all the same (the hub was killed in the moment after it) costs no reading: the node is asked to
be born again, and what can't be read meanwhile waits in the rejects.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

MAX_BIRTHS: Final = 100_000
"""Nodes and devices remembered; beyond it the one that was born first is forgotten."""
KEPT: Final = 4
"""Births kept of one: data that comes late is read by the birth that it follows."""
ASK_AGAIN_NS: Final = 60_000_000_000

Key = tuple[str, str, str]
"""Group, node and device; the device is empty for the node itself."""


class Birth(Struct, frozen=True, array_like=True):
    """One birth certificate."""

    time_ms: int
    death: int
    """`bdSeq`: which last will belongs to it; -1 where it says none."""
    names: dict[int, str]
    """By alias."""
    types: dict[str, int]
    """Sparkplug's data type by name."""


class Births:
    """All births that the hub knows, the order of each node's messages, and whom to ask for a rebirth."""

    def __init__(self) -> None:
        self._births: dict[Key, list[Birth]] = {}
        self._orders: dict[tuple[str, str], tuple[int, int]] = {}
        self._wanted: dict[tuple[str, str], int] = {}
        self._asked_ns: dict[tuple[str, str], int] = {}
        self.changed: set[Key] = set()
        """What the file doesn't hold yet."""

    def __len__(self) -> int:
        return len(self._births)

    def add(self, key: Key, birth: Birth) -> None:
        """Remember a birth. One that is known already changes nothing."""
        known = self._births.get(key, [])
        if birth in known:
            return
        self._births[key] = sorted([*known, birth], key=lambda one: one.time_ms)[-KEPT:]
        self.changed.add(key)
        if len(self._births) > MAX_BIRTHS:
            forgotten = next(iter(self._births))
            del self._births[forgotten]
            self.changed.add(forgotten)

    def of(self, key: Key) -> list[Birth]:
        """Return the births of one, the oldest first."""
        return self._births.get(key, [])

    def at(self, key: Key, time_ms: int) -> Birth | None:
        """Return the birth that a message of that time follows; 0 is a message without a time."""
        births = self._births.get(key)
        if not births:
            return None
        if not time_ms:
            return births[-1]
        return next((birth for birth in reversed(births) if birth.time_ms <= time_ms), None)

    def devices(self, group: str, node: str) -> Iterator[str]:
        """Return the devices of a node."""
        return (key[2] for key in self._births if key[:2] == (group, node) and key[2])

    def follows(self, group: str, node: str, time_ms: int, seq: int, *, born: bool = False) -> None:
        """Note a message of a node; a gap in its sequence wants a rebirth.

        What comes again or late (its time is before the newest) says nothing about a gap.
        """
        last = self._orders.get((group, node))
        if last is not None and not born:
            if time_ms < last[0] or seq == last[1]:
                return
            if seq != (last[1] + 1) % 256:
                self.want(group, node)
        if last is None or time_ms >= last[0]:
            self._orders[(group, node)] = (time_ms, seq)
            if len(self._orders) > MAX_BIRTHS:
                del self._orders[next(iter(self._orders))]

    def want(self, group: str, node: str) -> None:
        """Note that a node is to be asked for a rebirth."""
        if len(self._wanted) < MAX_BIRTHS:
            self._wanted.setdefault((group, node), 0)

    def requests(self, now_ns: int) -> list[tuple[str, str]]:
        """Return the nodes to ask now, none more than once a minute."""
        due: list[tuple[str, str]] = []
        for node in list(self._wanted):
            if now_ns - self._asked_ns.get(node, -ASK_AGAIN_NS) >= ASK_AGAIN_NS:
                due.append(node)
                del self._wanted[node]
                self._asked_ns[node] = now_ns
        if len(self._asked_ns) > MAX_BIRTHS:
            self._asked_ns = {node: ns for node, ns in self._asked_ns.items() if now_ns - ns < ASK_AGAIN_NS}
        return due

"""Which alarms are listed under another instead of being signalled by themselves.

Never a physiological one, never one of high priority: a flood hides nothing that kills.
"""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from msgspec.structs import replace

from hub.alarms.alarm import RANK, Alarm, Signal


class Signalled(Protocol):
    """An alarm with its signal."""

    alarm: Alarm
    signal: Signal


S = TypeVar("S", bound=Signalled)


_REPEATING = frozenset({"device_silent", "device_offline", "no_valid_value", "rejects", "clock_off"})
"""What one broken cable or network raises many times over; never what a device itself raises."""


def may_go_under(alarm: Alarm) -> bool:
    """Tell whether an alarm may be listed under another one at all."""
    return (
        alarm.kind == "technical"
        and alarm.origin == "hub"
        and alarm.priority in ("low", "medium")
        and alarm.condition in _REPEATING
    )


def covers(leader: Signalled, entry: Signalled) -> bool:
    """Tell whether an alarm is one under which another may be listed.

    A lost gateway or broker covers what its devices say of themselves; else an earlier technical alarm of a
    device covers its later ones of no higher priority.
    """
    one, other = leader.alarm, entry.alarm
    if one.id == other.id or one.site != other.site or one.presence != "present" or one.kind != "technical":
        return False
    if leader.signal.under is not None or one.priority == "information" or not may_go_under(other):
        return False
    if other.device in one.devices or (one.devices and other.device == one.device):
        return True
    if one.condition not in _REPEATING:
        return False
    return one.device == other.device and RANK[one.priority] >= RANK[other.priority]


class Groups(Generic[S]):
    """Who is listed under whom. A look-up costs as much as one device has alarms, not as all have."""

    def __init__(self) -> None:
        self._of_device: dict[tuple[str, str], dict[int, S]] = {}
        self._takers: dict[int, S] = {}
        """Lost gateways and brokers."""
        self._under: dict[str, dict[int, S]] = {}

    def add(self, entry: S) -> None:
        """Take note of an alarm that has begun, or of one whose devices have changed."""
        alarm = entry.alarm
        if alarm.kind != "technical":
            return
        self._of_device.setdefault((alarm.site, alarm.device), {})[id(entry)] = entry
        if alarm.devices:
            self._takers[id(entry)] = entry
        if entry.signal.under is not None:
            self._under.setdefault(entry.signal.under, {})[id(entry)] = entry

    def remove(self, entry: S) -> list[S]:
        """Forget an alarm that has ended; return those that were listed under it."""
        place = (entry.alarm.site, entry.alarm.device)
        siblings = self._of_device.get(place, {})
        siblings.pop(id(entry), None)
        if not siblings:
            self._of_device.pop(place, None)
        self._takers.pop(id(entry), None)
        self._put_under(entry, None)
        return list(self._under.pop(entry.alarm.id, {}).values())

    def regroup(self, entry: S) -> bool:
        """Find the alarm under which this one belongs now; tell whether that is another than before."""
        leader: str | None = None
        if may_go_under(entry.alarm):
            siblings = self._of_device.get((entry.alarm.site, entry.alarm.device), {})
            candidates: Iterable[S] = (*self._takers.values(), *siblings.values())
            leader = next((one.alarm.id for one in candidates if covers(one, entry)), None)
        changed = leader != entry.signal.under
        self._put_under(entry, leader)
        return changed

    def covered(self, leader: S) -> list[S]:
        """Return the alarms that belong under a lost gateway or broker and aren't listed there yet."""
        return [
            entry
            for device in (*leader.alarm.devices, *((leader.alarm.device,) if leader.alarm.devices else ()))
            for entry in self._of_device.get((leader.alarm.site, device), {}).values()
            if entry.signal.under != leader.alarm.id and covers(leader, entry)
        ]

    def _put_under(self, entry: S, leader: str | None) -> None:
        before = entry.signal.under
        if before == leader:
            return
        if before is not None and before in self._under:
            self._under[before].pop(id(entry), None)
            if not self._under[before]:
                del self._under[before]
        if leader is not None:
            self._under.setdefault(leader, {})[id(entry)] = entry
        entry.signal = replace(entry.signal, under=leader)
        if leader is not None:
            entry.signal = replace(entry.signal, step_due_ns=None)

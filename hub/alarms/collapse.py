"""Which alarms are listed under another instead of being signalled by themselves.

Never a physiological one, never one of high priority: a flood hides nothing that kills.
"""

from typing import Generic, Protocol, TypeVar

from msgspec.structs import replace

from hub.alarms.alarm import RANK, Alarm, Signal


class Signalled(Protocol):
    """An alarm with its signal."""

    alarm: Alarm
    signal: Signal


S = TypeVar("S", bound=Signalled)
Place = tuple[str, str]
"""Site and device."""


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


def _leads(one: Signalled, other: Signalled) -> bool:
    """Tell whether one alarm may have others under it, and the other one may be listed under another."""
    leader = one.alarm
    return (
        leader.id != other.alarm.id
        and leader.presence == "present"
        and leader.kind == "technical"
        and one.signal.under is None
        and leader.priority != "information"
        and may_go_under(other.alarm)
    )


def _precedes(one: Signalled, other: Signalled) -> bool:
    """Tell whether a device's alarm covers another of it, which is of no higher priority."""
    return one.alarm.condition in _REPEATING and RANK[one.alarm.priority] >= RANK[other.alarm.priority]


class Groups(Generic[S]):
    """Who is listed under whom.

    A lost gateway or broker covers what its devices say of themselves; else an earlier technical alarm of a
    device covers its later ones of no higher priority. A look-up costs as much as one device has alarms,
    however many devices a lost broker takes with it.
    """

    def __init__(self) -> None:
        self._of_device: dict[Place, dict[int, S]] = {}
        self._takers: dict[Place, dict[int, S]] = {}
        """Lost gateways and brokers, by each device that they take with them; their own is one of these."""
        self._taken: dict[int, frozenset[Place]] = {}
        """What each of them is listed by there."""
        self._under: dict[str, dict[int, S]] = {}

    def add(self, entry: S) -> None:
        """Take note of an alarm that has begun, or of one whose devices have changed."""
        alarm = entry.alarm
        if alarm.kind != "technical":
            return
        self._of_device.setdefault((alarm.site, alarm.device), {})[id(entry)] = entry
        places = {(alarm.site, device) for device in (alarm.device, *alarm.devices)}
        self._take(entry, frozenset(places if alarm.devices else ()))
        if entry.signal.under is not None:
            self._under.setdefault(entry.signal.under, {})[id(entry)] = entry

    def remove(self, entry: S) -> list[S]:
        """Forget an alarm that has ended; return those that were listed under it."""
        place = (entry.alarm.site, entry.alarm.device)
        siblings = self._of_device.get(place, {})
        siblings.pop(id(entry), None)
        if not siblings:
            self._of_device.pop(place, None)
        self._take(entry, frozenset())
        self._put_under(entry, None)
        return list(self._under.pop(entry.alarm.id, {}).values())

    def regroup(self, entry: S) -> bool:
        """Find the alarm under which this one belongs now; tell whether that is another than before."""
        leader: str | None = None
        if may_go_under(entry.alarm):
            place = (entry.alarm.site, entry.alarm.device)
            siblings = self._of_device.get(place, {}).values()
            candidates = (
                *self._takers.get(place, {}).values(),
                *(one for one in siblings if _precedes(one, entry)),
            )
            leader = next((one.alarm.id for one in candidates if _leads(one, entry)), None)
        changed = leader != entry.signal.under
        self._put_under(entry, leader)
        return changed

    def covered(self, leader: S) -> list[S]:
        """Return the alarms that belong under a lost gateway or broker and aren't listed there yet."""
        return [
            entry
            for place in self._taken.get(id(leader), ())
            for entry in self._of_device.get(place, {}).values()
            if entry.signal.under != leader.alarm.id and _leads(leader, entry)
        ]

    def _take(self, taker: S, places: frozenset[Place]) -> None:
        """List a lost gateway or broker by what it takes with it, and no longer by what it doesn't."""
        before = self._taken.pop(id(taker), frozenset())
        for place in before - places:
            takers = self._takers[place]
            del takers[id(taker)]
            if not takers:
                del self._takers[place]
        for place in places - before:
            self._takers.setdefault(place, {})[id(taker)] = taker
        if places:
            self._taken[id(taker)] = places

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

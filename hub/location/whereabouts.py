"""Where patients, staff and assets are: sightings followed, changes told, and the rules that alarm.

A patient's beacon in a forbidden zone is `wandering`, until it is seen elsewhere; one that nobody hears is
`beacon_away`; an asset in a ward that is not its own is `asset_left_ward`. A beacon is never taken for a
patient's by its strength: a person places it, on the patient or at a bed, as any device.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct

from hub.alarms.conditions import Conditions
from hub.device import Device
from hub.location.places import Owner, Places, canonical
from hub.location.tracker import Moved, Position, Tracker
from hub.location.zone import Tuning
from hub.model import Batch, Priority, Sighting, ZoneChange
from hub.ward.model import Placement

KEPT_OF: Final = ("patient", "asset")
"""Whose changes of zone are kept. Where a nurse or a visitor with a phone went is nobody's business."""
_UNKEPT: Final = 100_000
"""Changes that wait for the journal while its disk is full; beyond it the oldest are not kept."""


class Whereabout(Struct, frozen=True):
    """Where a beacon is, and whose it is."""

    position: Position
    owner: Owner
    patient: str | None
    """Surrogate id."""
    zone_name: str | None
    last_zone_name: str | None
    ward: str | None
    """Of the zone; of the beacon's placement or home where the zone has none or is unknown."""


TellMoved = Callable[[Moved, Whereabout], None]


class Whereabouts:
    """Knows every beacon's zone, tells changes, and sets alarm conditions on the beacons' own records."""

    def __init__(
        self,
        *,
        placement: Callable[[str, str], Placement],
        find: Callable[[str, str], Device | None],
        recall: Callable[[str, str], Device | None],
        conditions: Conditions,
        tell: TellMoved,
        backlog_ns: int,
        tuning: Tuning | None = None,
    ) -> None:
        """`find` looks up a device's record, `recall` makes it where there is none."""
        self.places = Places()
        self._placement = placement
        self._find = find
        self._recall = recall
        self._conditions = conditions
        self._tell = tell
        self._backlog_ns = backlog_ns
        self.tracker = Tracker(self._zone_of, tuning=tuning)
        self._unkept: deque[ZoneChange] = deque(maxlen=_UNKEPT)

    def settle(self, places: Places) -> None:
        """Take over zones, gateways and owners."""
        self.places = places
        self.tracker.replaced()

    def take(self, sightings: Iterable[Sighting], received_ns: int) -> None:
        """Follow sightings as they arrive. Old ones are history: they move nothing."""
        fresh = [sighting for sighting in sightings if received_ns - sighting.time_ns <= self._backlog_ns]
        self._follow(self.tracker.take(fresh), received_ns)

    def tick(self, now_ns: int) -> None:
        """Judge what only the passing of time decides: beacons that nobody hears."""
        self._follow(self.tracker.tick(now_ns), now_ns)

    def unkept(self) -> list[ZoneChange]:
        """Hand over the changes since the last call, to be kept: those of patients' beacons and assets."""
        changes = list(self._unkept)
        self._unkept.clear()
        return changes

    def resume(self, batch: Batch) -> None:
        """Take up what the journal kept before a restart; batches must come oldest first."""
        for change in batch.zone_changes:
            self.tracker.restore(change)
        for sighting in batch.sightings:
            self.tracker.heard(sighting)

    def resumed(self, now_ns: int) -> None:
        """Begin to listen: from now on silence means something."""
        self.tracker.resumed(now_ns)

    def everyone(self) -> Iterator[Whereabout]:
        """Return every beacon that was heard since the hub started, or was taken up from before."""
        return (self.about(position) for position in self.tracker.positions())

    def of(self, site: str, beacon: str) -> Whereabout | None:
        """Return where one beacon is; None for one that was never heard."""
        position = self.tracker.position(site, beacon) or self.tracker.position(site, canonical(beacon))
        return None if position is None else self.about(position)

    def about(self, position: Position) -> Whereabout:
        """Return a position with whose it is and what its zone is called."""
        owner = self.places.owner(position.site, position.beacon)
        placement = self._placement(position.site, position.beacon)
        if owner.kind == "unknown" and (placement.patient or placement.bed):
            owner = Owner("patient")
        patient = placement.patient if owner.kind == "patient" else None
        zone = self.places.zone(position.zone)
        last = self.places.zone(position.last_zone)
        ward = (zone.ward if zone is not None else None) or placement.ward or owner.ward
        return Whereabout(
            position,
            owner,
            patient,
            None if zone is None else zone.name,
            None if last is None else last.name,
            ward,
        )

    def _zone_of(self, site: str, gateway: str) -> str | None:
        return self.places.zone_of(site, gateway)

    def _follow(self, moved: Iterable[Moved], now_ns: int) -> None:
        for change in moved:
            position = self.tracker.position(change.site, change.beacon)
            if position is None:
                continue
            about = self.about(position)
            self._tell(change, about)
            self._keep(change, about, now_ns)
            self._judge(change, about, now_ns)

    def _keep(self, moved: Moved, about: Whereabout, now_ns: int) -> None:
        if moved.change != "left" and about.owner.kind in KEPT_OF:  # what is left is told by where it goes
            self._unkept.append(
                ZoneChange(moved.site, moved.beacon, moved.time_ns, now_ns, moved.change, moved.zone)
            )

    def _judge(self, change: Moved, about: Whereabout, now_ns: int) -> None:
        if about.owner.kind == "patient":
            if change.change == "entered":
                zone = self.places.zone(change.zone)
                name = zone.name if zone is not None else change.zone
                forbidden = zone is not None and zone.forbidden
                self._set(about, "wandering", forbidden, f"Patient in {name}", "high", now_ns)
                self._set(about, "beacon_away", False, "", "medium", now_ns)
            elif change.change == "away":
                self._set(
                    about, "beacon_away", True, "No gateway hears the patient's beacon", "medium", now_ns
                )
        elif about.owner.kind == "asset" and change.change == "entered":
            zone = self.places.zone(change.zone)
            elsewhere = (
                zone is not None
                and zone.ward is not None
                and about.owner.ward is not None
                and zone.ward != about.owner.ward
            )
            name = about.owner.name or change.beacon
            where = zone.name if zone is not None else ""
            self._set(
                about, "asset_left_ward", elsewhere, f"{name} has left its ward: {where}", "low", now_ns
            )

    def _set(
        self, about: Whereabout, condition: str, present: bool, text: str, priority: Priority, now_ns: int
    ) -> None:
        # Only a beacon that alarms gets a record among the devices; most never do.
        known = self._recall if present else self._find
        device = known(about.position.site, about.position.beacon)
        if device is None or (not present and ("", condition) not in device.conditions):
            return
        self._conditions.technical(device, condition, present, text, now_ns, priority)

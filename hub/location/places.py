"""Zones with their gateways, and whom beacons belong to, as the ward file says."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from hub.ward.wardfile import WardFile

OwnerKind = Literal["patient", "staff", "asset", "unknown"]
Outline = tuple[tuple[float, float], ...]
"""Corners in metres, in order; x to the right, y downwards. Empty where nobody drew it."""


class Zone(Struct, frozen=True):
    """A part of the building that beacons are told to be in: a room, a corridor, an exit."""

    id: str
    name: str
    ward: str | None
    """None for what belongs to no ward: a lift, the way out."""
    forbidden: bool = False
    """Whether a patient's beacon there is an alarm."""
    gateways: tuple[str, ...] = ()
    beds: tuple[str, ...] = ()
    outline: Outline = ()


class Owner(Struct, frozen=True):
    """Whom or what a beacon goes with."""

    kind: OwnerKind
    name: str | None = None
    """Of staff and assets; a patient has none here."""
    ward: str | None = None
    """Where an asset belongs."""


UNKNOWN = Owner("unknown")


class Places:
    """What the ward file of one site says; without one there are no zones."""

    def __init__(self, ward_file: WardFile | None = None) -> None:
        self.site = "" if ward_file is None else ward_file.site.id
        self.name = "" if ward_file is None else ward_file.site.name or ward_file.site.id
        self.zones: dict[str, Zone] = {}
        self._zone_of: dict[str, str] = {}
        self._owners: dict[str, Owner] = {}
        if ward_file is None:
            return
        for zone in ward_file.zone:
            self.zones[zone.id] = Zone(
                id=zone.id,
                name=zone.name or zone.id,
                ward=zone.ward,
                forbidden=zone.forbidden,
                gateways=tuple(zone.gateways),
                beds=tuple(zone.beds),
                outline=zone.outline,
            )
            self._zone_of |= dict.fromkeys(zone.gateways, zone.id)
        for beacon in ward_file.beacon:
            self._owners[canonical(beacon.id)] = Owner(beacon.kind, beacon.name, beacon.ward)

    def zone_of(self, site: str, gateway: str) -> str | None:
        """Return the zone that a gateway hangs in."""
        return self._zone_of.get(gateway) if site == self.site else None

    def zone(self, zone: str | None) -> Zone | None:
        """Return a zone by its id."""
        return None if zone is None else self.zones.get(zone)

    def zones_of(self, site: str, ward: str | None) -> list[Zone]:
        """Return the zones of a ward, in the file's order; with None those of no ward."""
        return [zone for zone in self.zones.values() if zone.ward == ward] if site == self.site else []

    def owner(self, site: str, beacon: str) -> Owner:
        """Return whom a beacon belongs to."""
        return self._owners.get(canonical(beacon), UNKNOWN) if site == self.site else UNKNOWN

    def beacons(self) -> Iterable[tuple[str, str]]:
        """Return the beacons that the ward file names, by site and id."""
        return ((self.site, beacon) for beacon in self._owners)


def canonical(beacon: str) -> str:
    """Return a beacon's address as it is compared: gateways write one in small letters or with colons."""
    return beacon.replace(":", "").upper()

"""Who is where right now, in memory: what the line asks for every message."""

from collections.abc import Sequence

from msgspec import Struct

from hub.ward.model import FOREVER, UNPLACED, BedEntry, DeviceEntry, Placement, PlacementEntry, StayEntry

Key = tuple[str, str]
"""A site and an id within it."""


class Rows(Struct, frozen=True):
    """What the database held at one revision of the periods that are not over, and what they refer to."""

    revision: int
    beds: Sequence[tuple[str, str, str]]
    """Site, bed, ward."""
    devices: dict[Key, DeviceEntry]
    placements: Sequence[PlacementEntry]
    stays: Sequence[StayEntry]
    age_groups: dict[str, str]
    """By patient."""


NOTHING = Rows(-1, (), {}, (), (), {})


class Snapshot(Struct, frozen=True):
    """Placements and beds at one time."""

    placements: dict[Key, Placement]
    """By site and device; a device that is nowhere is not in it."""
    beds: list[BedEntry]
    changes_ns: int
    """When the next period begins or ends, from when on this is out of date; FOREVER if none does."""

    def placement(self, site: str, device: str) -> Placement:
        """Tell where a device is."""
        return self.placements.get((site, device), UNPLACED)


def take(rows: Rows, now_ns: int) -> Snapshot:
    """Work out who is where at `now_ns`."""
    changes_ns = FOREVER
    periods: list[StayEntry | PlacementEntry] = [*rows.stays, *rows.placements]
    for period in periods:
        if period.from_ns > now_ns:
            changes_ns = min(changes_ns, period.from_ns)
        elif period.until_ns is not None and period.until_ns > now_ns:
            changes_ns = min(changes_ns, period.until_ns)

    stays = [stay for stay in rows.stays if _holds(stay, now_ns)]
    patient_in: dict[Key, str] = {(stay.site, stay.bed): stay.patient for stay in stays}
    since: dict[Key, int] = {(stay.site, stay.bed): stay.from_ns for stay in stays}
    bed_of: dict[str, Key] = {stay.patient: (stay.site, stay.bed) for stay in stays}
    ward_of = {(site, bed): ward for site, bed, ward in rows.beds}

    placements: dict[Key, Placement] = {}
    connected: dict[Key, list[str]] = {}
    at_bed: dict[tuple[Key, int], Placement] = {}
    for entry in rows.placements:
        if not _holds(entry, now_ns):
            continue
        key = (entry.site, entry.bed) if entry.bed is not None else bed_of.get(entry.patient or "")
        if key is None or key[0] != entry.site:
            placements[entry.site, entry.device] = _on_patient(rows, entry)
            continue
        # What a device on a patient read before a transfer is the same patient's.
        since_ns = max(entry.from_ns, since.get(key, 0)) if entry.patient is None else entry.from_ns
        placement = at_bed.get((key, since_ns))
        if placement is None:
            patient = patient_in.get(key)
            age_group = rows.age_groups.get(patient or "", "adult")
            placement = at_bed[key, since_ns] = Placement(
                ward_of.get(key), key[1], patient, age_group, since_ns
            )
        placements[entry.site, entry.device] = placement
        connected.setdefault(key, []).append(entry.device)
    beds = [
        BedEntry(site, ward, bed, patient_in.get((site, bed)), tuple(sorted(connected.get((site, bed), ()))))
        for site, bed, ward in rows.beds
    ]
    return Snapshot(placements, beds, changes_ns)


def _holds(period: StayEntry | PlacementEntry, now_ns: int) -> bool:
    return period.from_ns <= now_ns and (period.until_ns is None or now_ns < period.until_ns)


def _on_patient(rows: Rows, entry: PlacementEntry) -> Placement:
    age_group = rows.age_groups.get(entry.patient or "", "adult")
    return Placement(None, None, entry.patient, age_group, entry.from_ns)

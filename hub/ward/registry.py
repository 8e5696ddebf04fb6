"""The registry: who is where, now and at any time before."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy.orm import Session

from hub.ward import changes, erasure, queries
from hub.ward.database import Database
from hub.ward.following import Following
from hub.ward.model import (
    UNPLACED,
    AgeGroup,
    BedEntry,
    Correction,
    DeviceEntry,
    DevicePeriod,
    Identifier,
    PatientChange,
    PatientEntry,
    Period,
    PeriodChange,
    PeriodKind,
    Placement,
    PlacementEntry,
    StayEntry,
    WardEntry,
)
from hub.ward.seed import seed
from hub.ward.snapshot import NOTHING, Key, Rows, Snapshot, take
from hub.ward.transaction import Changes
from hub.ward.wardfile import WardFile

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

UNASSIGNED_LIMIT: Final = 20_000
"""Unknown devices that are kept: enough for a hospital on its first day, bounded against a flood of ids."""
_TOPIC_LENGTH: Final = 512


class Registry:
    """Sites, wards, beds, patients, devices, and their periods.

    `placement`, `device`, `beds` and `version` answer from memory, in the event loop's thread. Everything
    that is awaited asks the database on a worker thread and raises RegistryUnavailable where that fails; a
    change that was refused (RegistryRefused, NotInRegistry) changed nothing. When a change returns, it is
    durable and in memory. Several processes may use one database: `follow` takes over what others changed.
    Readings belong to the patient who was at the device at their corrected determination time, so they are
    joined when read, with `placements` and `device_periods_of_patient`: a corrected period corrects history.
    """

    def __init__(self, url: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.version = 0
        """Rises at least whenever any placement, bed or device is another than before."""
        self._database = Database(url)
        self._clock_ns = clock_ns
        self._rows: Rows = NOTHING
        self._snapshot = take(NOTHING, 0)
        self._placements = self._snapshot.placements
        self._devices: dict[Key, DeviceEntry] = {}
        self._unassigned = 0
        self._following = Following(self._database, queries.PLACEMENTS, "registry")
        self._full = False

    async def start(self) -> None:
        """Connect, migrate, load. Raises RegistryUnavailable with what to change."""
        await self._database.start()
        try:
            await self._load()
        except BaseException:
            await self._database.stop()
            raise

    async def stop(self) -> None:
        """Let running statements end and close every connection."""
        await self._database.stop()

    async def seed(self, ward_file: WardFile) -> None:
        """Take over a ward file; running it again changes nothing, and a file never moves anything."""
        await self._change(seed, ward_file, self._clock_ns())

    # In memory.

    def placement(self, site: str, device: str) -> Placement:
        """Tell where a device is now; all None for one that is unassigned or unknown."""
        return self._placements.get((site, device), UNPLACED)

    def beds(self) -> list[BedEntry]:
        """Return every bed as of now, by site, ward and bed; the list is not to be changed."""
        return self._snapshot.beds

    def device(self, site: str, device: str) -> DeviceEntry | None:
        """Return how a device is provisioned, or None for one that the registry never heard of."""
        return self._devices.get((site, device))

    def refresh(self, now_ns: int) -> None:
        """Let planned periods begin and end. In memory: call it every second."""
        if now_ns >= self._snapshot.changes_ns:
            self._show(take(self._rows, now_ns))

    async def follow(self) -> None:
        """Take over what other processes changed. Call it every second or so; never raises."""
        await self._following.follow(self._rows.revision, self._load)

    # Reads.

    async def wards(self) -> list[WardEntry]:
        """Return every ward with its beds."""
        return await self._read(queries.wards)

    async def devices(self) -> list[DeviceEntry]:
        """Return every device, unassigned ones included, by site and id."""
        return await self._read(queries.devices)

    async def unassigned(self) -> list[DeviceEntry]:
        """Return the unknown devices that knocked."""
        return await self._read(queries.devices, registered=False)

    async def patients(self) -> list[PatientEntry]:
        """Return every patient, with where they are now."""
        return await self._read(queries.patients, self._clock_ns())

    async def patient(self, patient: str) -> PatientEntry:
        """Return one patient. Raises NotInRegistry."""
        return await self._read(queries.patient_entry, self._clock_ns(), patient)

    async def stays(self, patient: str) -> list[StayEntry]:
        """Return every stay of a patient, oldest first."""
        return await self._read(queries.stays, patient)

    async def all_stays(self) -> list[StayEntry]:
        """Return every stay of every patient, oldest first."""
        return await self._read(queries.all_stays)

    async def stays_in_bed(self, site: str, bed: str) -> list[StayEntry]:
        """Return every stay in a bed, oldest first."""
        return await self._read(queries.bed_stays, site, bed)

    async def device_placements(self, site: str, device: str) -> list[PlacementEntry]:
        """Return every placement of a device, oldest first."""
        return await self._read(queries.device_placements, site, device)

    async def corrections(self, kind: PeriodKind, period: int) -> list[Correction]:
        """Return how a period was corrected, oldest first."""
        return await self._read(queries.corrections, kind, period)

    async def placements(self, site: str, device: str, start_ns: int, end_ns: int) -> list[Period]:
        """Return where one device was and whose its readings are, oldest first, within [start_ns, end_ns).

        Times at which it was nowhere are left out.
        """
        return await self._read(queries.periods, site, device, start_ns, end_ns)

    async def device_periods_of_patient(self, patient: str, start_ns: int, end_ns: int) -> list[DevicePeriod]:
        """Return when which devices read this patient, within [start_ns, end_ns)."""
        return await self._read(queries.periods_of_patient, patient, start_ns, end_ns)

    async def device_periods_of_bed(
        self, site: str, bed: str, start_ns: int, end_ns: int
    ) -> list[DevicePeriod]:
        """Return when which devices were at this bed or on the patient in it, within [start_ns, end_ns)."""
        return await self._read(queries.periods_of_bed, site, bed, start_ns, end_ns)

    # Changes.

    async def knock(self, site: str, device: str, definition: str, area: str, topic: str) -> bool:
        """Keep a device that was heard: an unknown one as unassigned, a known one with its first time.

        Cheap where nothing is new. Returns False where it was not kept, since the id is not one or
        UNASSIGNED_LIMIT unknown devices are kept already.
        """
        return await self.knock_all([(site, device, definition, area, topic)]) == 1

    async def knock_all(self, heard: Sequence[tuple[str, str, str, str, str]]) -> int:
        """`knock` for many devices in one transaction; return how many of them are kept."""
        news = {(one[0], one[1]): one for one in heard if self._is_new(*one[:4])}
        unknown = [key for key in news if key not in self._devices]
        for key in unknown[self._room(len(unknown)) :]:
            del news[key]

        def work() -> list[DeviceEntry]:
            now_ns = self._clock_ns()
            # A device that is nowhere changes no placement: other processes need not load again.
            with self._database.writing(queries.PLACEMENTS, steps=0) as session:
                return [
                    changes.knock(
                        session,
                        site,
                        device,
                        definition,
                        area,
                        topic[:_TOPIC_LENGTH].replace("\0", ""),
                        now_ns,
                    )
                    for site, device, definition, area, topic in news.values()
                ]

        for entry in await self._database.run(work) if news else ():
            if self._devices.get((entry.site, entry.id)) is None and not entry.registered:
                self._unassigned += 1
            self._devices[entry.site, entry.id] = entry
        return sum((site, device) in self._devices for site, device, *_ in heard)

    def _is_new(self, site: str, device: str, definition: str, area: str) -> bool:
        """Tell whether what was heard is to be noted."""
        known = self._devices.get((site, device))
        if known is None:
            return changes.is_id(site) and changes.is_id(device)
        return known.first_seen_ns is None or not (
            known.registered or (known.definition, known.area) == (definition, area)
        )

    async def add_patient(
        self,
        name: str,
        identifiers: Sequence[Identifier] = (),
        birth_date: date | None = None,
        age_group: AgeGroup = "adult",
        *,
        pregnant: bool = False,
        spo2_scale: int = 1,
    ) -> str:
        """Add a patient and return the surrogate id."""
        return await self._change(
            changes.add_patient, name, identifiers, birth_date, age_group, pregnant, spo2_scale
        )

    async def update_patient(self, patient: str, change: PatientChange) -> None:
        """Change what is set in `change`."""
        await self._change(changes.update_patient, patient, change)

    async def admit(self, patient: str, site: str, bed: str, at_ns: int, until_ns: int | None = None) -> int:
        """Put a patient into a bed, now or at a planned time; return the stay. Raises PlacementConflict."""
        return await self._change(changes.admit, patient, site, bed, at_ns, until_ns)

    async def discharge(self, patient: str, at_ns: int) -> None:
        """End the stay that holds `at_ns`. A device on the patient stays on the patient."""
        await self._change(changes.discharge, patient, at_ns)

    async def transfer(self, patient: str, site: str, bed: str, at_ns: int) -> int:
        """Move a patient to another bed; return the new stay's id. Raises PlacementConflict."""
        return await self._change(changes.transfer, patient, site, bed, at_ns)

    async def add_device(
        self,
        site: str,
        device: str,
        definition: str,
        area: str,
        interval_s: float | None = None,
        gateway: str | None = None,
    ) -> None:
        """Register a device, or change how it is registered."""
        await self._change(changes.add_device, site, device, definition, area, interval_s, gateway)

    async def place_device(
        self,
        site: str,
        device: str,
        at_ns: int,
        *,
        bed: str | None = None,
        patient: str | None = None,
        until_ns: int | None = None,
    ) -> int:
        """Put a device at a bed or on a patient; return the placement's id. Raises PlacementConflict.

        An unassigned device is registered by that.
        """
        return await self._change(changes.place_device, site, device, at_ns, bed, patient, until_ns)

    async def move_device(
        self, site: str, device: str, at_ns: int, *, bed: str | None = None, patient: str | None = None
    ) -> int:
        """End the placement of that time and begin another; return the new one's id."""
        return await self._change(changes.move_device, site, device, at_ns, bed, patient)

    async def remove_device(self, site: str, device: str, at_ns: int) -> None:
        """End the placement that holds `at_ns`."""
        await self._change(changes.remove_device, site, device, at_ns)

    async def correct_period(
        self, kind: PeriodKind, period: int, change: PeriodChange, *, who: str, why: str
    ) -> None:
        """Change a period that was entered wrongly; history follows. Raises PlacementConflict."""
        await self.correct_periods([(kind, period, change)], who=who, why=why)

    async def correct_periods(
        self, corrections: Sequence[tuple[PeriodKind, int, PeriodChange]], *, who: str, why: str
    ) -> None:
        """Change several periods in one step, for instance two that were mixed up; all or none."""
        await self._change(changes.correct, corrections, who, why, self._clock_ns())

    async def strike_out(self, kind: PeriodKind, period: int, *, who: str, why: str) -> None:
        """Remove a period that never was."""
        await self._change(changes.strike_out, kind, period, who, why, self._clock_ns())

    async def together(self, work: Callable[[Changes], T]) -> T:
        """Make several changes in one step: all or, where `work` raises, none."""
        return await self._change(lambda session: work(Changes(session, self._clock_ns())))

    # Erasure.

    async def erase_patient(self, patient: str) -> list[DevicePeriod]:
        """Mark a patient for erasure and return what every store must erase.

        Erase it there, then call `finish_erasure` with what this returned. After a crash in between,
        `unfinished_erasures` tells what is left to do; each step may be repeated. Raises RegistryRefused
        while the patient is in a bed or wears a device.
        """
        return await self._change(erasure.ask, patient, self._clock_ns())

    async def unfinished_erasures(self) -> dict[str, list[DevicePeriod]]:
        """Return, by patient, what stores must erase before `finish_erasure`."""
        return await self._read(erasure.unfinished)

    async def finish_erasure(self, patient: str, erased: list[DevicePeriod]) -> None:
        """Remove name, numbers and periods for good, the database's files included; keep the surrogate id.

        Raises RegistryRefused where the patient has other periods by now than those erased. Write-ahead logs,
        replicas and backups of a PostgreSQL server are its operator's to let expire.
        """
        await self._change(erasure.forget, patient, erased)
        await self._database.run(self._database.scrub, *erasure.TABLES)
        await self._change(erasure.close, patient, self._clock_ns())

    def _room(self, wanted: int) -> int:
        """Return how many of so many further unknown devices are kept."""
        if not wanted:
            return 0
        room = max(0, UNASSIGNED_LIMIT - self._unassigned)
        full = wanted > room
        if full and not self._full:
            logger.error("%d unknown devices are unassigned, further ones are not kept", UNASSIGNED_LIMIT)
        self._full = full
        return min(wanted, room)

    async def _read(
        self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def work() -> T:
            with self._database.reading() as session:
                return query(session, *args, **kwargs)

        return await self._database.run(work)

    async def _change(
        self, change: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def work() -> tuple[T, Rows, Snapshot]:
            with self._database.writing(queries.PLACEMENTS) as session:
                result = change(session, *args, **kwargs)
                session.flush()
                # Read before the commit: what is committed is then always in memory too.
                return result, *self._current(session)

        result, rows, snapshot = await self._database.run(work)
        self._take_over(rows, snapshot)
        return result

    async def _load(self) -> None:
        self._take_over(*await self._read(self._current))

    def _current(self, session: Session) -> tuple[Rows, Snapshot]:
        now_ns = self._clock_ns()
        rows = queries.current(session, now_ns)
        return rows, take(rows, now_ns)

    def _take_over(self, rows: Rows, snapshot: Snapshot) -> None:
        # Two threads may end in either order; the older state never replaces the newer one.
        if rows.revision >= self._rows.revision:
            self._rows = rows
            self._devices = rows.devices
            self._unassigned = sum(not device.registered for device in rows.devices.values())
            self._show(snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._placements = snapshot.placements
        self.version += 1

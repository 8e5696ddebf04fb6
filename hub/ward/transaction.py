"""Several changes of the registry in one step: all or none, and each sees what was done before it."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy.orm import Session

from hub.ward import changes, queries
from hub.ward.model import (
    AgeGroup,
    DeviceEntry,
    Identifier,
    PatientChange,
    PatientEntry,
    PlacementEntry,
    StayEntry,
)


class Changes:
    """What may be read and changed within one step. Holds the lock on placements; use it nowhere else.

    Each method is as the registry's of the same name.
    """

    def __init__(self, session: Session, now_ns: int) -> None:
        self._session = session
        self.now_ns = now_ns

    def patients(self) -> list[PatientEntry]:
        """Return every patient."""
        return queries.patients(self._session, self.now_ns)

    def stays(self, patient: str) -> list[StayEntry]:
        """Return every stay of a patient, oldest first."""
        return queries.stays(self._session, patient)

    def all_stays(self) -> list[StayEntry]:
        """Return every stay of every patient, oldest first."""
        return queries.all_stays(self._session)

    def devices(self) -> list[DeviceEntry]:
        """Return every device."""
        return queries.devices(self._session)

    def device_placements(self, site: str, device: str) -> list[PlacementEntry]:
        """Return every placement of a device, oldest first."""
        return queries.device_placements(self._session, site, device)

    def add_patient(
        self, name: str, identifiers: Sequence[Identifier], birth_date: date | None, age_group: AgeGroup
    ) -> str:
        """Add a patient and return the surrogate id."""
        return changes.add_patient(self._session, name, identifiers, birth_date, age_group)

    def update_patient(self, patient: str, change: PatientChange) -> None:
        """Change what is set in `change`."""
        changes.update_patient(self._session, patient, change)
        self._session.flush()

    def admit(self, patient: str, site: str, bed: str, at_ns: int, until_ns: int | None = None) -> int:
        """Put a patient into a bed; return the stay."""
        return changes.admit(self._session, patient, site, bed, at_ns, until_ns)

    def discharge(self, patient: str, at_ns: int) -> None:
        """End the stay that holds `at_ns`."""
        changes.discharge(self._session, patient, at_ns)
        self._session.flush()

    def transfer(self, patient: str, site: str, bed: str, at_ns: int) -> int:
        """Move a patient to another bed; return the new stay's id."""
        return changes.transfer(self._session, patient, site, bed, at_ns)

    def place_device(
        self, site: str, device: str, at_ns: int, *, bed: str | None = None, patient: str | None = None
    ) -> int:
        """Put a device at a bed or on a patient; return the placement's id."""
        return changes.place_device(self._session, site, device, at_ns, bed, patient)

    def remove_device(self, site: str, device: str, at_ns: int) -> None:
        """End the placement that holds `at_ns`."""
        changes.remove_device(self._session, site, device, at_ns)
        self._session.flush()

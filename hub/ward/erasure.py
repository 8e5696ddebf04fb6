"""Erasing a patient: marked first, the stores' data next, the registry's last, so that a crash loses no step.

The periods stay until the stores have erased by them; until then the patient counts as being erased and
nothing can be entered about them. Of the patient remain the surrogate id and the two times.
"""

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from hub.ward.changes import time_text
from hub.ward.model import FOREVER, DevicePeriod, NotInRegistry, RegistryRefused
from hub.ward.queries import periods_of_patient
from hub.ward.tables import (
    ErasureRow,
    IdentifierRow,
    PatientRow,
    PlacementChangeRow,
    PlacementRow,
    StayRow,
)

TABLES = ("patient", "patient_identifier", "stay", "placement", "placement_change")
"""Where a patient leaves traces."""


def ask(session: Session, patient: str, now_ns: int) -> list[DevicePeriod]:
    """Mark a patient for erasure; return what every store must erase. Asking again changes nothing."""
    if session.get(ErasureRow, patient) is None:
        if session.get(PatientRow, patient) is None:
            raise NotInRegistry(f"there is no patient {patient}")
        _refuse_current(session, patient, now_ns)
        session.add(ErasureRow(patient=patient, asked_ns=now_ns))
        session.flush()
    return periods_of_patient(session, patient, 0, FOREVER)


def unfinished(session: Session) -> dict[str, list[DevicePeriod]]:
    """Return the patients whose erasure was asked for and is not done, and what stores must erase."""
    asked = session.scalars(
        select(ErasureRow.patient).where(ErasureRow.done_ns.is_(None)).order_by(ErasureRow.patient)
    )
    return {patient: periods_of_patient(session, patient, 0, FOREVER) for patient in asked}


def forget(session: Session, patient: str, erased: list[DevicePeriod]) -> None:
    """Remove name, numbers, periods and corrections, once the stores have erased what `ask` returned.

    Raises RegistryRefused where a correction of a device's placement since then has given the patient other
    periods: the stores hold more.
    """
    if session.get(ErasureRow, patient) is None:
        raise NotInRegistry(f"nobody asked to erase patient {patient}")
    if not set(periods_of_patient(session, patient, 0, FOREVER)) <= set(erased):
        raise RegistryRefused(
            f"a placement was corrected while patient {patient} was being erased: ask again and erase the "
            "periods returned then"
        )
    for row in (PlacementRow, StayRow, IdentifierRow):
        session.execute(delete(row).where(row.patient == patient))
    session.execute(
        delete(PlacementChangeRow).where(
            or_(PlacementChangeRow.patient_before == patient, PlacementChangeRow.patient_after == patient)
        )
    )
    session.execute(delete(PatientRow).where(PatientRow.id == patient))


def close(session: Session, patient: str, now_ns: int) -> None:
    """Record that nothing of the patient is left."""
    session.get_one(ErasureRow, patient).done_ns = now_ns


def _refuse_current(session: Session, patient: str, now_ns: int) -> None:
    in_bed = select(StayRow.bed, StayRow.until_ns).where(StayRow.patient == patient)
    wearing = select(PlacementRow.device, PlacementRow.until_ns).where(PlacementRow.patient == patient)
    for what, query in (("bed", in_bed), ("device", wearing)):
        for place, until_ns in session.execute(query):
            if until_ns is None or until_ns > now_ns:
                raise RegistryRefused(
                    f"patient {patient} still has {what} {place} until {time_text(until_ns)}: readings would "
                    "go on arriving; end that period first"
                )

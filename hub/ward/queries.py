"""Reads of the registry: each a function of a session."""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, tuple_
from sqlalchemy.orm import Session

from hub.ward.database import revision
from hub.ward.model import (
    Correction,
    DeviceEntry,
    DevicePeriod,
    Identifier,
    NotInRegistry,
    PatientEntry,
    Period,
    PlacementEntry,
    StayEntry,
    WardEntry,
)
from hub.ward.periods import attribute, device_periods
from hub.ward.snapshot import Rows
from hub.ward.tables import (
    BedRow,
    DeviceRow,
    ErasureRow,
    IdentifierRow,
    PatientRow,
    PlacementChangeRow,
    PlacementRow,
    StayRow,
    WardRow,
)

PLACEMENTS = "placements"
"""The part of the database that all of this is."""

_STAY = (StayRow.id, StayRow.site, StayRow.bed, StayRow.patient, StayRow.from_ns, StayRow.until_ns)
_PLACEMENT = (
    PlacementRow.id,
    PlacementRow.site,
    PlacementRow.device,
    PlacementRow.bed,
    PlacementRow.patient,
    PlacementRow.from_ns,
    PlacementRow.until_ns,
)
_DEVICE = (
    DeviceRow.site,
    DeviceRow.id,
    DeviceRow.definition,
    DeviceRow.area,
    DeviceRow.interval_s,
    DeviceRow.gateway,
    DeviceRow.registered,
    DeviceRow.first_seen_ns,
    DeviceRow.last_topic,
)


def current(session: Session, now_ns: int) -> Rows:
    """Return what a snapshot is taken of: the periods that are not over at `now_ns`."""
    stays = _stays(session, or_(StayRow.until_ns.is_(None), StayRow.until_ns > now_ns))
    placements = _placements(session, or_(PlacementRow.until_ns.is_(None), PlacementRow.until_ns > now_ns))
    beds = session.execute(
        select(BedRow.site, BedRow.id, BedRow.ward).order_by(BedRow.site, BedRow.ward, BedRow.id)
    )
    known = {stay.patient for stay in stays} | {p.patient for p in placements if p.patient is not None}
    ages = session.execute(select(PatientRow.id, PatientRow.age_group).where(PatientRow.age_group != "adult"))
    return Rows(
        revision(session, PLACEMENTS),
        [(site, bed, ward) for site, bed, ward in beds],
        {(entry.site, entry.id): entry for entry in devices(session)},
        placements,
        stays,
        {patient: age for patient, age in ages if patient in known},
    )


def devices(session: Session, *, registered: bool | None = None) -> list[DeviceEntry]:
    """Return devices by site and id: all, the registered or the unassigned ones."""
    query = select(*_DEVICE).order_by(DeviceRow.site, DeviceRow.id)
    if registered is not None:
        query = query.where(DeviceRow.registered.is_(registered))
    return [DeviceEntry(*row) for row in session.execute(query)]


def wards(session: Session) -> list[WardEntry]:
    """Return every ward with its beds."""
    beds: dict[tuple[str, str], list[str]] = {}
    for site, ward, bed in session.execute(select(BedRow.site, BedRow.ward, BedRow.id).order_by(BedRow.id)):
        beds.setdefault((site, ward), []).append(bed)
    rows = session.execute(
        select(WardRow.site, WardRow.id, WardRow.name, WardRow.area).order_by(WardRow.site, WardRow.id)
    )
    return [
        WardEntry(site, ward, name, area, tuple(beds.get((site, ward), ())))
        for site, ward, name, area in rows
    ]


def patients(session: Session, now_ns: int, patient: str | None = None) -> list[PatientEntry]:
    """Return every patient, or the one given, with where they are at `now_ns`."""
    where = () if patient is None else (PatientRow.id == patient,)
    identifiers: dict[str, list[Identifier]] = {}
    for row in session.scalars(_of(select(IdentifierRow), IdentifierRow.patient, patient)):
        identifiers.setdefault(row.patient, []).append(Identifier(row.value, row.system))
    in_bed = and_(
        StayRow.patient == PatientRow.id,
        StayRow.from_ns <= now_ns,
        or_(StayRow.until_ns.is_(None), StayRow.until_ns > now_ns),
    )
    query = (
        select(PatientRow, BedRow.site, BedRow.ward, BedRow.id, ErasureRow.patient)
        .outerjoin(StayRow, in_bed)
        .outerjoin(BedRow, and_(BedRow.site == StayRow.site, BedRow.id == StayRow.bed))
        .outerjoin(ErasureRow, ErasureRow.patient == PatientRow.id)
        .where(*where)
        .order_by(PatientRow.id)
    )
    return [
        PatientEntry(
            id=row.id,
            name=row.name,
            identifiers=tuple(identifiers.get(row.id, ())),
            birth_date=row.birth_date,
            age_group=row.age_group,
            pregnant=row.pregnant,
            spo2_scale=row.spo2_scale,
            site=site,
            ward=ward,
            bed=bed,
            erasing=erasing is not None,
        )
        for row, site, ward, bed, erasing in session.execute(query)
    ]


def patient_entry(session: Session, now_ns: int, patient: str) -> PatientEntry:
    """Return one patient. Raises NotInRegistry."""
    found = patients(session, now_ns, patient)
    if not found:
        raise NotInRegistry(f"there is no patient {patient}")
    return found[0]


def stays(session: Session, patient: str) -> list[StayEntry]:
    """Return every stay of a patient, oldest first."""
    return _stays(session, StayRow.patient == patient)


def all_stays(session: Session) -> list[StayEntry]:
    """Return every stay of every patient, oldest first."""
    return _stays(session)


def bed_stays(session: Session, site: str, bed: str) -> list[StayEntry]:
    """Return every stay in a bed, oldest first."""
    return _stays(session, and_(StayRow.site == site, StayRow.bed == bed))


def device_placements(session: Session, site: str, device: str) -> list[PlacementEntry]:
    """Return every placement of a device, oldest first."""
    return _placements(session, and_(PlacementRow.site == site, PlacementRow.device == device))


def corrections(session: Session, kind: str, period: int) -> list[Correction]:
    """Return how a period was corrected, oldest first."""
    rows = session.scalars(
        select(PlacementChangeRow)
        .where(PlacementChangeRow.kind == kind, PlacementChangeRow.period == period)
        .order_by(PlacementChangeRow.id)
    )
    return [
        Correction(
            "stay" if row.kind == "stay" else "placement",
            row.period,
            row.at_ns,
            row.who,
            row.why,
            (row.bed_before, row.patient_before, row.from_before_ns, row.until_before_ns),
            None
            if row.struck_out or row.from_after_ns is None
            else (row.bed_after, row.patient_after, row.from_after_ns, row.until_after_ns),
        )
        for row in rows
    ]


def periods(session: Session, site: str, device: str, start_ns: int, end_ns: int) -> list[Period]:
    """Return where one device was and whose its readings are."""
    own = _placements(
        session,
        and_(PlacementRow.site == site, PlacementRow.device == device),
        _touches(PlacementRow, start_ns, end_ns),
    )
    beds = {placement.bed for placement in own if placement.bed is not None}
    worn_by = {placement.patient for placement in own if placement.patient is not None}
    stays = _stays(
        session,
        StayRow.site == site,
        or_(StayRow.bed.in_(beds), StayRow.patient.in_(worn_by)),
        _touches(StayRow, start_ns, end_ns),
    )
    return attribute(own, stays, start_ns, end_ns)


def periods_of_patient(session: Session, patient: str, start_ns: int, end_ns: int) -> list[DevicePeriod]:
    """Return when which devices read this patient."""
    stays = _stays(session, StayRow.patient == patient, _touches(StayRow, start_ns, end_ns))
    beds = {(stay.site, stay.bed) for stay in stays}
    placements = _placements(
        session,
        or_(tuple_(PlacementRow.site, PlacementRow.bed).in_(beds), PlacementRow.patient == patient),
        _touches(PlacementRow, start_ns, end_ns),
    )
    return device_periods(placements, stays, start_ns, end_ns, patient=patient)


def periods_of_bed(session: Session, site: str, bed: str, start_ns: int, end_ns: int) -> list[DevicePeriod]:
    """Return when which devices were at this bed, or on the patient in it."""
    stays = _stays(session, StayRow.site == site, StayRow.bed == bed, _touches(StayRow, start_ns, end_ns))
    placements = _placements(
        session,
        PlacementRow.site == site,
        or_(PlacementRow.bed == bed, PlacementRow.patient.in_({stay.patient for stay in stays})),
        _touches(PlacementRow, start_ns, end_ns),
    )
    return device_periods(placements, stays, start_ns, end_ns, bed=bed)


def _touches(row: type[StayRow | PlacementRow], start_ns: int, end_ns: int) -> ColumnElement[bool]:
    return and_(row.from_ns < end_ns, or_(row.until_ns.is_(None), row.until_ns > start_ns))


def _stays(session: Session, *where: ColumnElement[bool]) -> list[StayEntry]:
    query = select(*_STAY).where(*where).order_by(StayRow.from_ns, StayRow.id)
    return [StayEntry(*row) for row in session.execute(query)]


def _placements(session: Session, *where: ColumnElement[bool]) -> list[PlacementEntry]:
    query = select(*_PLACEMENT).where(*where).order_by(PlacementRow.from_ns, PlacementRow.id)
    return [PlacementEntry(*row) for row in session.execute(query)]


def _of(query: Select[Any], column: Any, value: str | None) -> Select[Any]:  # noqa: ANN401
    return query if value is None else query.where(column == value)

"""Changes of who is where: each a function of a session that holds the lock on placements."""

import secrets
from collections.abc import Sequence
from datetime import UTC, date, datetime

from msgspec import UNSET
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from hub.ward.model import (
    FOREVER,
    AgeGroup,
    DeviceEntry,
    Identifier,
    NotInRegistry,
    PatientChange,
    PeriodChange,
    PeriodKind,
    PlacementConflict,
    RegistryRefused,
)
from hub.ward.tables import (
    BedRow,
    DeviceRow,
    ErasureRow,
    IdentifierRow,
    PatientRow,
    PlacementChangeRow,
    PlacementRow,
    StayRow,
)

_ID_LENGTH = 128


def add_patient(
    session: Session,
    name: str,
    identifiers: Sequence[Identifier] = (),
    birth_date: date | None = None,
    age_group: AgeGroup = "adult",
    pregnant: bool = False,
    spo2_scale: int = 1,
) -> str:
    """Add a patient and return the surrogate id: random, so that it tells nothing."""
    if not name.strip():
        raise RegistryRefused("a patient needs a name")
    row = PatientRow(
        id=f"pt-{secrets.token_hex(6)}",
        name=name,
        birth_date=birth_date,
        age_group=age_group,
        pregnant=pregnant,
        spo2_scale=spo2_scale,
    )
    session.add(row)
    session.flush()
    _identify(session, row.id, identifiers)
    return row.id


def update_patient(session: Session, patient: str, change: PatientChange) -> None:
    """Change what is set in `change`."""
    row = _living(session, patient)
    for field in ("name", "birth_date", "age_group", "pregnant", "spo2_scale"):
        value = getattr(change, field)
        if value is not UNSET:
            setattr(row, field, value)
    if change.identifiers is not UNSET:
        for old in session.scalars(select(IdentifierRow).where(IdentifierRow.patient == patient)):
            session.delete(old)
        session.flush()
        _identify(session, patient, change.identifiers)


def admit(
    session: Session, patient: str, site: str, bed: str, from_ns: int, until_ns: int | None = None
) -> int:
    """Put a patient into a bed; return the id of the stay."""
    row = StayRow(site=site, bed=bed, patient=patient, from_ns=from_ns, until_ns=until_ns)
    return _settle(session, row)


def discharge(session: Session, patient: str, at_ns: int) -> None:
    """End the stay that holds `at_ns`."""
    _living(session, patient)
    row = session.scalars(
        select(StayRow).where(StayRow.patient == patient, _holds(StayRow, at_ns))
    ).one_or_none()
    if row is None:
        raise NotInRegistry(f"patient {patient} is in no bed at {time_text(at_ns)}")
    _end(row, at_ns)


def transfer(session: Session, patient: str, site: str, bed: str, at_ns: int) -> int:
    """Move a patient from the bed of that time to another; return the id of the new stay."""
    discharge(session, patient, at_ns)
    session.flush()
    return admit(session, patient, site, bed, at_ns)


def add_device(
    session: Session,
    site: str,
    device: str,
    definition: str,
    area: str,
    interval_s: float | None = None,
    gateway: str | None = None,
) -> None:
    """Register a device, or change how it is registered; one that knocked before is no longer unassigned."""
    for what, value in (("site", site), ("device", device), ("definition", definition), ("area", area)):
        check_id(what, value)
    row = session.get(DeviceRow, (site, device))
    if row is None:
        row = DeviceRow(site=site, id=device)
        session.add(row)
    row.definition = definition
    row.area = area
    row.interval_s = interval_s
    row.gateway = gateway
    row.registered = True
    session.flush()


def place_device(
    session: Session,
    site: str,
    device: str,
    from_ns: int,
    bed: str | None = None,
    patient: str | None = None,
    until_ns: int | None = None,
) -> int:
    """Put a device at a bed or on a patient; return the id of the placement. Doing so registers it."""
    row = PlacementRow(site=site, device=device, bed=bed, patient=patient, from_ns=from_ns, until_ns=until_ns)
    period = _settle(session, row)
    session.get_one(DeviceRow, (site, device)).registered = True
    return period


def remove_device(session: Session, site: str, device: str, at_ns: int) -> None:
    """End the placement that holds `at_ns`."""
    row = session.scalars(
        select(PlacementRow).where(
            PlacementRow.site == site, PlacementRow.device == device, _holds(PlacementRow, at_ns)
        )
    ).one_or_none()
    if row is None:
        raise NotInRegistry(f"device {device} is placed nowhere at {time_text(at_ns)}")
    _end(row, at_ns)


def move_device(
    session: Session, site: str, device: str, at_ns: int, bed: str | None = None, patient: str | None = None
) -> int:
    """End the placement of that time and begin another; return its id."""
    remove_device(session, site, device, at_ns)
    session.flush()
    return place_device(session, site, device, at_ns, bed, patient)


def correct(
    session: Session,
    changes: Sequence[tuple[PeriodKind, int, PeriodChange]],
    who: str,
    why: str,
    at_ns: int,
) -> None:
    """Change periods that were entered wrongly, all or none, and record who did it and why.

    They are checked together: two patients whose beds were mixed up are put right in one step.
    """
    rows = []
    for kind, period, change in changes:
        row = _period(session, kind, period)
        record = _record(row, kind, who, why, at_ns)
        with session.no_autoflush:
            _apply(row, change)
            _check(session, row)
        record.bed_after, record.patient_after = row.bed, row.patient
        record.from_after_ns, record.until_after_ns = row.from_ns, row.until_ns
        session.add(record)
        rows.append(row)
    session.flush()
    for row in rows:
        _check_free(session, row)


def strike_out(session: Session, kind: PeriodKind, period: int, who: str, why: str, at_ns: int) -> None:
    """Remove a period that never was, and record who did it and why."""
    row = _period(session, kind, period)
    record = _record(row, kind, who, why, at_ns)
    record.struck_out = True
    session.add(record)
    session.delete(row)


def knock(
    session: Session, site: str, device: str, definition: str, area: str, topic: str, now_ns: int
) -> DeviceEntry:
    """Keep a device that was heard. How a registered one is provisioned stays as it is."""
    row = session.get(DeviceRow, (site, device))
    if row is None:
        row = DeviceRow(site=site, id=device, registered=False)
        session.add(row)
    if not row.registered:
        row.definition, row.area = definition, area
    if row.first_seen_ns is None:
        row.first_seen_ns = now_ns
    row.last_topic = topic
    session.flush()
    return DeviceEntry(
        row.site,
        row.id,
        row.definition,
        row.area,
        row.interval_s,
        row.gateway,
        row.registered,
        row.first_seen_ns,
        row.last_topic,
    )


def is_id(value: str) -> bool:
    """Tell whether this can be an id: 1 to 128 printable ASCII characters without spaces."""
    return 0 < len(value) <= _ID_LENGTH and value.isascii() and value.isprintable() and " " not in value


def check_id(what: str, value: str) -> None:
    """Refuse what can't be an id."""
    if not is_id(value):
        raise RegistryRefused(f"{what}: an id is 1 to {_ID_LENGTH} printable ASCII characters without spaces")


def time_text(ns: int | None) -> str:
    """Return a time as the registry's messages write it; None is the end of an open period."""
    if ns is None:
        return "further notice"
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _identify(session: Session, patient: str, identifiers: Sequence[Identifier]) -> None:
    for identifier in identifiers:
        taken = session.get(IdentifierRow, (identifier.system, identifier.value))
        if taken is not None:
            raise RegistryRefused(
                f"this {identifier.system} number is already that of patient {taken.patient}"
            )
        session.add(IdentifierRow(system=identifier.system, value=identifier.value, patient=patient))
        session.flush()


def _living(session: Session, patient: str) -> PatientRow:
    row = session.get(PatientRow, patient)
    if row is None:
        raise NotInRegistry(f"there is no patient {patient}")
    if session.get(ErasureRow, patient) is not None:
        raise RegistryRefused(f"patient {patient} is being erased")
    return row


def _apply(row: StayRow | PlacementRow, change: PeriodChange) -> None:
    if isinstance(row, PlacementRow):
        # A device is at a bed or on a patient: naming one takes the other's place.
        if isinstance(change.bed, str) and change.patient is UNSET:
            row.patient = None
        if isinstance(change.patient, str) and change.bed is UNSET:
            row.bed = None
    for field in ("bed", "patient", "from_ns", "until_ns"):
        value = getattr(change, field)
        if value is not UNSET:
            setattr(row, field, value)


def _settle(session: Session, row: StayRow | PlacementRow) -> int:
    _check(session, row)
    _check_free(session, row)
    session.add(row)
    session.flush()
    return row.id


def _check(session: Session, row: StayRow | PlacementRow) -> None:
    if not 0 <= row.from_ns < (FOREVER if row.until_ns is None else row.until_ns) <= FOREVER:
        raise RegistryRefused("a period ends after it begins")
    if isinstance(row, PlacementRow):
        if (row.bed is None) == (row.patient is None):
            raise RegistryRefused(f"device {row.device}: give a bed or a patient, one of them")
        if session.get(DeviceRow, (row.site, row.device)) is None:
            raise NotInRegistry(f"there is no device {row.device} at site {row.site}")
    elif row.bed is None or row.patient is None:
        raise RegistryRefused("a stay has a bed and a patient")
    if row.bed is not None and session.get(BedRow, (row.site, row.bed)) is None:
        raise NotInRegistry(f"there is no bed {row.bed} at site {row.site}")
    if row.patient is not None:
        _living(session, row.patient)


def _check_free(session: Session, row: StayRow | PlacementRow) -> None:
    other: StayRow | PlacementRow | None
    if isinstance(row, StayRow):
        other = session.scalars(
            select(StayRow)
            .where(
                or_(and_(StayRow.site == row.site, StayRow.bed == row.bed), StayRow.patient == row.patient)
            )
            .where(_overlaps(StayRow, row))
            .order_by(StayRow.from_ns)
        ).first()
    else:
        other = session.scalars(
            select(PlacementRow)
            .where(PlacementRow.site == row.site, PlacementRow.device == row.device)
            .where(_overlaps(PlacementRow, row))
            .order_by(PlacementRow.from_ns)
        ).first()
    if other is None:
        return
    span = f"from {time_text(other.from_ns)} until {time_text(other.until_ns)}"
    if isinstance(other, PlacementRow):
        place = f"at bed {other.bed}" if other.bed is not None else f"on patient {other.patient}"
        raise PlacementConflict(
            f"device {other.device} is {place} {span} (placement {other.id}): remove or move it first"
        )
    raise PlacementConflict(
        f"patient {other.patient} is in bed {other.bed} {span} (stay {other.id}): "
        "discharge or transfer that patient first"
    )


def _overlaps(kind: type[StayRow | PlacementRow], row: StayRow | PlacementRow) -> ColumnElement[bool]:
    until_ns = FOREVER if row.until_ns is None else row.until_ns
    touches = and_(kind.from_ns < until_ns, or_(kind.until_ns.is_(None), kind.until_ns > row.from_ns))
    # A row that is not stored yet has no id.
    return touches if row.id is None else and_(touches, kind.id != row.id)


def _period(session: Session, kind: PeriodKind, period: int) -> StayRow | PlacementRow:
    row = session.get(StayRow, period) if kind == "stay" else session.get(PlacementRow, period)
    if row is None:
        raise NotInRegistry(f"there is no {kind} {period}")
    if row.patient is not None:
        _living(session, row.patient)
    return row


def _record(
    row: StayRow | PlacementRow, kind: PeriodKind, who: str, why: str, at_ns: int
) -> PlacementChangeRow:
    if not who.strip() or not why.strip():
        raise RegistryRefused("a correction says who makes it and why")
    return PlacementChangeRow(
        kind=kind,
        period=row.id,
        at_ns=at_ns,
        who=who,
        why=why,
        bed_before=row.bed,
        patient_before=row.patient,
        from_before_ns=row.from_ns,
        until_before_ns=row.until_ns,
        struck_out=False,
    )


def _holds(row: type[StayRow | PlacementRow], at_ns: int) -> ColumnElement[bool]:
    return and_(row.from_ns <= at_ns, or_(row.until_ns.is_(None), row.until_ns > at_ns))


def _end(row: StayRow | PlacementRow, at_ns: int) -> None:
    if at_ns <= row.from_ns:
        raise RegistryRefused(
            f"a period ends after it begins: strike out {row.__tablename__} {row.id} instead"
        )
    row.until_ns = at_ns

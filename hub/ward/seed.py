"""Take what a ward file says into the registry."""

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ward.changes import add_patient, admit
from hub.ward.model import Identifier
from hub.ward.tables import (
    BedRow,
    DeviceRow,
    ErasureRow,
    IdentifierRow,
    PlacementRow,
    SiteRow,
    WardRow,
)
from hub.ward.wardfile import WardFile, since_ns

logger = logging.getLogger(__name__)


def seed(session: Session, ward_file: WardFile, now_ns: int) -> None:
    """Add or update sites, wards, beds and devices; place what was never placed.

    Running it again changes nothing. Where a device stands and which patient is where is the registry's own
    business once it has been entered: a file never moves anything. Nothing is removed.
    """
    _wards(session, ward_file)
    _devices(session, ward_file)
    _patients(session, ward_file, now_ns)


def _wards(session: Session, ward_file: WardFile) -> None:
    site = ward_file.site
    # Flushed level by level: without relationships the session doesn't know which row must come first.
    session.merge(SiteRow(id=site.id, name=site.name or site.id))
    session.flush()
    for ward in ward_file.ward:
        session.merge(WardRow(site=site.id, id=ward.id, name=ward.name or ward.id, area=ward.area or ward.id))
    session.flush()
    known = {row.id: row for row in session.scalars(select(BedRow).where(BedRow.site == site.id))}
    room_of = {bed: zone.id for zone in ward_file.zone for bed in zone.beds}
    for ward in ward_file.ward:
        for bed in ward.beds:
            row = known.get(bed)
            if row is None:
                row = BedRow(site=site.id, id=bed)
                session.add(row)
            row.ward, row.room = ward.id, room_of.get(bed)
    session.flush()


def _devices(session: Session, ward_file: WardFile) -> None:
    site = ward_file.site.id
    areas = ward_file.areas()
    # Loaded once: each device is then found in the session without a query of its own.
    known = {row.id: row for row in session.scalars(select(DeviceRow).where(DeviceRow.site == site))}
    placed = set(session.scalars(select(PlacementRow.device).where(PlacementRow.site == site)))
    for device in ward_file.device:
        area = device.area or areas[device.bed or ""]
        row = known.get(device.id)
        if row is None:
            row = DeviceRow(site=site, id=device.id)
            session.add(row)
        row.definition, row.area, row.interval_s = device.definition, area, device.interval_s
        row.gateway, row.registered = device.gateway, True
    session.flush()
    session.add_all(
        PlacementRow(site=site, device=device.id, bed=device.bed, from_ns=since_ns(device.since, 0))
        for device in ward_file.device
        if device.bed is not None and device.id not in placed
    )
    session.flush()


def _patients(session: Session, ward_file: WardFile, now_ns: int) -> None:
    if not ward_file.patient:
        return
    if session.scalars(select(ErasureRow.patient).limit(1)).first() is not None:
        # The file may name the one who was erased, and nothing is left to tell by.
        logger.info("patients of the ward file are left out: this registry has erased a patient")
        return
    site = ward_file.site.id
    for patient in ward_file.patient:
        if session.get(IdentifierRow, ("mrn", patient.identifier)) is not None:
            continue
        added = add_patient(
            session,
            patient.name,
            [Identifier(patient.identifier)],
            patient.birth_date,
            patient.age_group,
            patient.pregnant,
            patient.spo2_scale,
        )
        if patient.bed is not None:
            admit(session, added, site, patient.bed, since_ns(patient.since, now_ns))

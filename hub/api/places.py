"""Wards, beds and patients."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Query as FromQuery
from starlette.responses import Response

from hub.api.access import NAMES, has_role
from hub.api.answers import Beds, Patient, PatientIdentifier, Patients, Ward, Wards, answer, described
from hub.api.parameters import Id, InScope
from hub.api.problems import missing
from hub.api.services import Hub
from hub.events import Bed, moment
from hub.ward.model import PatientEntry, WardEntry

router = APIRouter()


@router.get("/wards", summary="List wards", tags=["places"], **described(Wards, 401, 422, 503))
async def wards(hub: Hub) -> Response:
    """Every ward of every site with the ids of its beds."""
    return answer(Wards([_ward(entry) for entry in await hub.registry.wards()]))


@router.get(
    "/wards/{site}/{ward}", summary="Get a ward", tags=["places"], **described(Ward, 401, 404, 422, 503)
)
async def ward(hub: Hub, site: Id, ward: Id) -> Response:
    """One ward with the ids of its beds."""
    for entry in await hub.registry.wards():
        if (entry.site, entry.id) == (site, ward):
            return answer(_ward(entry))
    raise missing(f"there is no ward {ward} at {site}")


@router.get("/beds", summary="List beds with current values", tags=["places"], **described(Beds, 401, 422))
async def beds(hub: Hub, query: Annotated[InScope, FromQuery()]) -> Response:
    """Beds with the newest value of each parameter, its age and quality. Stale values are null."""
    now_ns = hub.now_ns()
    return answer(Beds(moment(now_ns), hub.live.beds(now_ns, query.scope)))


@router.get(
    "/beds/{site}/{bed}",
    summary="Get a bed with current values",
    tags=["places"],
    **described(Bed, 401, 404, 422),
)
async def bed(hub: Hub, site: Id, bed: Id) -> Response:
    """One bed with the newest value of each parameter, its age and quality."""
    found = hub.live.bed(hub.now_ns(), site, bed)
    if found is None:
        raise missing(f"there is no bed {bed} at {site}")
    return answer(found)


@router.get(
    "/patients",
    summary="List patients",
    tags=["patients"],
    dependencies=[Depends(has_role(*NAMES))],
    **described(Patients, 401, 403, 422, 503),
)
async def patients(hub: Hub) -> Response:
    """Every patient with where they are now."""
    return answer(Patients([_patient(entry) for entry in await hub.registry.patients()]))


@router.get(
    "/patients/{patient}",
    summary="Get a patient",
    tags=["patients"],
    dependencies=[Depends(has_role(*NAMES))],
    **described(Patient, 401, 403, 404, 422, 503),
)
async def patient(hub: Hub, patient: Id) -> Response:
    """One patient by surrogate id, with where they are now."""
    return answer(_patient(await hub.registry.patient(patient)))


def _ward(entry: WardEntry) -> Ward:
    return Ward(entry.site, entry.id, entry.name, list(entry.beds))


def _patient(entry: PatientEntry) -> Patient:
    return Patient(
        id=entry.id,
        name=entry.name,
        identifiers=[PatientIdentifier(one.system, one.value) for one in entry.identifiers],
        birth_date=entry.birth_date,
        age_group=entry.age_group,
        site=entry.site,
        ward=entry.ward,
        bed=entry.bed,
    )

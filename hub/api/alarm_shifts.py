"""Who is asked to respond: people in roles at beds and wards, by shift."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from msgspec import Struct
from pydantic import ConfigDict, Field
from starlette.responses import Response

from hub.alarms.escalation import Assignment, AssignmentRefused
from hub.api import alarm_examples as examples
from hub.api.alarm_actions import Alarming, Body, Carer
from hub.api.alarm_places import expect_place, unfit
from hub.api.answers import answer, described
from hub.api.parameters import ID, Instant
from hub.api.problems import Fault, Problem, documented, missing
from hub.api.services import Hub
from hub.events import moment

router = APIRouter(tags=["alarms"])

AssignmentId = Annotated[int, Path(ge=1)]


class Shift(Struct, frozen=True, rename={"start": "from"}):
    """One person in one role at a bed or a ward for one shift."""

    id: int
    site: str
    ward: str
    bed: str | None
    role: str
    who: str
    start: datetime
    until: datetime
    assigned_by: str


class Shifts(Struct, frozen=True):
    """The shifts that are on or to come."""

    assignments: list[Shift]


class Assign(Body):
    """Assign somebody."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.ASSIGN]})

    site: str = Field(pattern=ID)
    ward: str = Field(pattern=ID)
    bed: str | None = Field(default=None, pattern=ID)
    role: str = Field(pattern=ID)
    who: str = Field(min_length=1, max_length=128)
    start: Instant = Field(alias="from")
    until: Instant


@router.get("/assignments", summary="Who is where", **described(Shifts, 401, 422, example=examples.SHIFTS))
async def assignments(hub: Hub, alarms: Alarming) -> Response:
    """The shifts that are on or to come."""
    return answer(Shifts([_shift(one) for one in alarms.assignments.listed(hub.now_ns())]))


@router.post(
    "/assignments", summary="Assign somebody", **described(Shift, 401, 403, 422, 503, example=examples.SHIFT)
)
async def assign(hub: Hub, alarms: Alarming, carer: Carer, body: Assign) -> Response:
    """Put somebody in charge of a bed or a ward for a shift."""
    await expect_place(hub, body.site, body.ward, bed=body.bed)
    roles = alarms.roles(body.site, body.ward)
    if body.role not in roles:
        raise unfit("role", f"expected one that an escalation chain of this ward asks: {', '.join(roles)}")
    assignment = Assignment(
        site=body.site,
        ward=body.ward,
        bed=body.bed,
        role=body.role,
        who=body.who,
        from_ns=body.start,
        until_ns=body.until,
        assigned_by=carer.name,
    )
    try:
        added = await alarms.assignments.assign(assignment, hub.now_ns())
    except AssignmentRefused as error:
        fault = Fault(str(error), pointer=f"/{str(error).partition(':')[0]}")
        raise Problem(422, "assignment-refused", str(error), [fault]) from error
    return answer(_shift(added))


@router.delete(
    "/assignments/{assignment}",
    summary="Take an assignment back",
    status_code=204,
    response_class=Response,
    responses=documented(401, 403, 404, 422),
)
async def unassign(alarms: Alarming, carer: Carer, assignment: AssignmentId) -> Response:  # noqa: ARG001 - checks the role
    """Take an assignment back."""
    try:
        await alarms.assignments.remove(assignment)
    except LookupError as error:
        raise missing(str(error)) from error
    return Response(status_code=204)


def _shift(one: Assignment) -> Shift:
    return Shift(
        one.id,
        one.site,
        one.ward,
        one.bed,
        one.role,
        one.who,
        moment(one.from_ns),
        moment(one.until_ns),
        one.assigned_by,
    )

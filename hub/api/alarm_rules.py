"""Limits, assignments and transport: what people settle about alarms."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from fastapi import Query as FromQuery
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from hub.alarms.escalation import Assignment, AssignmentRefused
from hub.alarms.limits import LimitsInvalid
from hub.alarms.overrides import OverrideRefused
from hub.alarms.replay import Outcome, Replayed, replay
from hub.alarms.rules import Override
from hub.api import alarm_examples as examples
from hub.api.access import has_role
from hub.api.alarm_actions import CARERS, Alarming, Carer
from hub.api.alarm_places import expect_asked_place, expect_place, unfit
from hub.api.answers import answer, described
from hub.api.parameters import ID, Id, Instant, Query, QueryId
from hub.api.problems import Fault, Problem, documented, missing
from hub.api.services import Hub, Token
from hub.events import moment

router = APIRouter(tags=["alarms"])

KEEPERS = (*CARERS, "biomed")
Keeper = Annotated[Token, Depends(has_role(*KEEPERS))]
LONGEST_REPLAY_NS = 7 * 86_400 * 1_000_000_000
ChangeId = Annotated[int, Path(ge=1)]


class LimitChange(Struct, frozen=True):
    """A change of limits: who made it, why, and until when."""

    id: int
    scope: str
    site: str
    scope_id: str
    table: str
    values: dict[str, Any]
    age_group: str | None
    who: str
    why: str
    since: datetime
    until: datetime | None
    ended: datetime | None
    ended_by: str | None
    ended_why: str | None


class LimitsAnswer(Struct, frozen=True):
    """The rules for one patient, ward or site: tables as in the limits file, and what changed them."""

    age_group: str
    tables: dict[str, dict[str, Any]]
    changes: list[LimitChange]


class LimitChanges(Struct, frozen=True):
    """Changes of limits, oldest first."""

    changes: list[LimitChange]


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


class ReplayedAlarms(Struct, frozen=True):
    """What limits would have made of stored readings, beside those in force."""

    in_force: Outcome
    tried: Outcome


class TransportAnswer(Struct, frozen=True):
    """Until when a device's silence doesn't alarm."""

    until: datetime


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LimitsQuery(Query):
    """Whose rules."""

    site: QueryId
    ward: QueryId | None = None
    patient: QueryId | None = None
    age_group: Literal["adult", "paediatric", "neonatal"] = "adult"


class ChangesQuery(Query):
    """Which changes."""

    ended: bool = Field(default=False, description="Those that are over, too.")


class ChangeLimits(_Body):
    """Change keys of one table; null takes a limit away."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CHANGE]})

    scope: Literal["site", "ward", "patient"]
    site: str = Field(pattern=ID)
    scope_id: str = Field(pattern=ID, description="Of the site, the ward or the patient.")
    table: str = Field(max_length=128, description="A parameter, or for instance signals.high.")
    values: dict[str, Any] = Field(min_length=1, max_length=20)
    why: str = Field(min_length=1, max_length=1000)
    until: Instant | None = None
    age_group: Literal["adult", "paediatric", "neonatal"] | None = None


class TriedTable(_Body):
    """Keys of one table of the limits file, as a change of limits has them."""

    table: str = Field(max_length=128)
    values: dict[str, Any] = Field(min_length=1, max_length=20)


class TryLimits(_Body):
    """Limits to try out on what a ward's devices stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TRY]})

    site: str = Field(pattern=ID)
    ward: str = Field(pattern=ID)
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    changes: list[TriedTable] = Field(min_length=1, max_length=50)


class EndChange(_Body):
    """Take a change back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "oxygen given"}]})

    why: str = Field(min_length=1, max_length=1000)


class Assign(_Body):
    """Assign somebody."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.ASSIGN]})

    site: str = Field(pattern=ID)
    ward: str = Field(pattern=ID)
    bed: str | None = Field(default=None, pattern=ID)
    role: str = Field(pattern=ID)
    who: str = Field(min_length=1, max_length=128)
    start: Instant = Field(alias="from")
    until: Instant


class Transport(_Body):
    """A device leaves its place for a while."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TRANSPORT]})

    until: Instant
    why: str = Field(min_length=1, max_length=1000)


@router.get(
    "/limits", summary="Limits in force", **described(LimitsAnswer, 401, 422, 503, example=examples.LIMITS)
)
async def limits(hub: Hub, alarms: Alarming, query: Annotated[LimitsQuery, FromQuery()]) -> Response:
    """The rules as they apply to a site, ward or patient, with who changed them, why and until when."""
    await expect_asked_place(hub, query.site, query.ward)
    changes = alarms.overrides.of(query.site, query.ward, query.patient)
    tables = alarms.rules.tables(query.age_group, changes)
    return answer(LimitsAnswer(query.age_group, tables, [_change(one) for one in changes]))


@router.get(
    "/limits/changes",
    summary="Changes of limits",
    **described(LimitChanges, 401, 422, example=examples.CHANGES),
)
async def changes(alarms: Alarming, query: Annotated[ChangesQuery, FromQuery()]) -> Response:
    """Every change that is in force, and those that are over where asked for."""
    found = alarms.overrides.listed(with_ended=query.ended)
    return answer(LimitChanges([_change(one) for one in found]))


@router.post(
    "/limits/changes",
    summary="Change limits",
    **described(LimitChange, 401, 403, 404, 422, 503, example=examples.CHANGED),
)
async def change(hub: Hub, alarms: Alarming, keeper: Keeper, body: ChangeLimits) -> Response:
    """Change limits. What would switch an alarm off needs an end; nurses change a patient's limits only."""
    if body.scope != "patient" and keeper.role == "nurse":
        raise Problem(403, "forbidden", "limits of a ward or site are changed by a charge nurse or biomed")
    bed: str | None = None
    ward = body.scope_id if body.scope == "ward" else None
    age_group: str | None = body.age_group
    if body.scope == "patient":
        patient = await hub.registry.patient(body.scope_id)
        bed, ward, age_group = patient.bed, patient.ward, patient.age_group
        if bed is None:
            raise unfit("scope_id", "this patient is in no bed")
        if patient.site != body.site:
            raise unfit("site", f"this patient is at {patient.site}")
    else:
        await expect_place(hub, body.site, ward, member="scope_id")
        if body.scope == "site" and body.scope_id != body.site:
            raise unfit("scope_id", f"expected the site itself: {body.site}")
    now_ns = hub.now_ns()
    override = Override(
        scope=body.scope,
        site=body.site,
        scope_id=body.scope_id,
        table=body.table,
        values=body.values,
        who=keeper.name,
        why=body.why,
        set_ns=now_ns,
        until_ns=body.until,
        age_group=age_group,
        bed=bed,
    )
    try:
        added = await alarms.overrides.set(override, now_ns, ward)
    except OverrideRefused as error:
        fault = Fault(str(error), pointer=error.pointer)
        raise Problem(422, "limits-refused", str(error), [fault]) from error
    return answer(_change(added))


@router.post(
    "/limits/changes/{change_id}/end",
    summary="Take a change of limits back",
    **described(LimitChange, 401, 403, 404, 422, example=examples.CHANGE_ENDED),
)
async def end_change(
    hub: Hub, alarms: Alarming, keeper: Keeper, change_id: ChangeId, body: EndChange
) -> Response:
    """End a change before its time."""
    try:
        ended = await alarms.overrides.end(change_id, keeper.name, hub.now_ns(), body.why)
    except LookupError as error:
        raise missing(str(error)) from error
    return answer(_change(ended))


_replaying = asyncio.Lock()


@router.post(
    "/alarms/replay",
    summary="Try limits out",
    **described(ReplayedAlarms, 401, 403, 409, 422, 503, example=examples.TRIED),
)
async def replay_limits(hub: Hub, alarms: Alarming, keeper: Keeper, body: TryLimits) -> Response:
    """How many alarms other limits would have made of the stored readings of a ward, beside those in force.

    One at a time, over at most a week. Nothing is changed.
    """
    if not 0 < body.end - body.start <= LONGEST_REPLAY_NS:
        raise unfit("to", "expected a time after `from`, at most a week later")
    await expect_place(hub, body.site, body.ward)
    devices = [
        Replayed(bed.site, device, bed.bed, bed.ward, hub.registry.placement(bed.site, device).age_group)
        for bed in hub.registry.beds()
        if (bed.site, bed.ward) == (body.site, body.ward)
        for device in bed.devices
    ]
    in_force = alarms.overrides.of(body.site, body.ward, None)
    tried = [
        Override(
            scope="ward",
            site=body.site,
            scope_id=body.ward,
            table=one.table,
            values=one.values,
            who=keeper.name,
            why="tried out",
            set_ns=hub.now_ns(),
        )
        for one in body.changes
    ]
    try:
        for group in {device.age_group for device in devices} or {"adult"}:
            alarms.rules.of(group, [*in_force, *tried])
    except LimitsInvalid as error:
        detail = str(error).partition(": ")[2]
        raise Problem(422, "limits-refused", detail, [Fault(detail, pointer="/changes")]) from error
    if _replaying.locked():
        raise Problem(409, "replay-running", "limits are being tried out already; wait until that is done")
    async with _replaying:
        outcomes = [
            await replay(
                hub.store,
                devices,
                lambda one, changes=changes: alarms.rules.of(one.age_group, changes),  # type: ignore[misc]
                body.start,
                body.end,
            )
            for changes in (in_force, [*in_force, *tried])
        ]
    return answer(ReplayedAlarms(*outcomes))


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
async def unassign(alarms: Alarming, carer: Carer, assignment: ChangeId) -> Response:  # noqa: ARG001 - checks the role
    """Take an assignment back."""
    try:
        await alarms.assignments.remove(assignment)
    except LookupError as error:
        raise missing(str(error)) from error
    return Response(status_code=204)


@router.post(
    "/devices/{site}/{device}/transport",
    summary="Begin a transport",
    **described(TransportAnswer, 401, 403, 404, 422, example=examples.IN_TRANSPORT),
)
async def transport(
    hub: Hub, alarms: Alarming, carer: Carer, site: Id, device: Id, body: Transport
) -> Response:
    """Suppress a device's silence alarm, visibly, until a time."""
    known = alarms.device_of(site, device)
    if known is None:
        raise missing("the hub hasn't heard this device")
    now_ns = hub.now_ns()
    if body.until <= now_ns:
        raise unfit("until", "expected a time in the future")
    until_ns = alarms.conditions.transport(known, body.until, carer.name, body.why, now_ns)
    return answer(TransportAnswer(moment(until_ns)))


@router.delete(
    "/devices/{site}/{device}/transport",
    summary="End a transport",
    status_code=204,
    response_class=Response,
    responses=documented(401, 403, 404, 422),
)
async def transport_over(hub: Hub, alarms: Alarming, carer: Carer, site: Id, device: Id) -> Response:  # noqa: ARG001 - checks the role
    """Let a device's silence alarm again."""
    known = alarms.device_of(site, device)
    if known is None:
        raise missing("the hub hasn't heard this device")
    alarms.conditions.transport_over(known, hub.now_ns())
    return Response(status_code=204)


def _change(one: Override) -> LimitChange:
    return LimitChange(
        one.id,
        one.scope,
        one.site,
        one.scope_id,
        one.table,
        one.values,
        one.age_group,
        one.who,
        one.why,
        moment(one.set_ns),
        None if one.until_ns is None else moment(one.until_ns),
        None if one.ended_ns is None else moment(one.ended_ns),
        one.ended_by,
        one.ended_why,
    )


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

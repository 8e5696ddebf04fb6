"""Limits of sites, wards and patients, and what people change of them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from fastapi import Query as FromQuery
from msgspec import Struct
from pydantic import ConfigDict, Field
from starlette.responses import Response

from hub.alarms.overrides import OverrideRefused
from hub.alarms.rules import Override
from hub.api import alarm_examples as examples
from hub.api.access import has_role
from hub.api.alarm_actions import CARERS, Alarming, Body
from hub.api.alarm_places import expect_asked_place, expect_place, unfit
from hub.api.answers import answer, described
from hub.api.parameters import ID, Instant, Query, QueryId
from hub.api.problems import Fault, Problem, missing
from hub.api.services import Hub, Token
from hub.events import moment

router = APIRouter(tags=["alarms"])

KEEPERS = (*CARERS, "biomed")
Keeper = Annotated[Token, Depends(has_role(*KEEPERS))]
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


class LimitsQuery(Query):
    """Whose rules."""

    site: QueryId
    ward: QueryId | None = None
    patient: QueryId | None = None
    age_group: Literal["adult", "paediatric", "neonatal"] = "adult"


class ChangesQuery(Query):
    """Which changes."""

    ended: bool = Field(default=False, description="Those that are over, too.")


class ChangeLimits(Body):
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


class EndChange(Body):
    """Take a change back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "oxygen given"}]})

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

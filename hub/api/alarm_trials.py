"""Limits tried out on what a ward's devices stored, before anybody is alarmed by them."""

import asyncio
from typing import Any

from fastapi import APIRouter
from msgspec import Struct
from pydantic import ConfigDict, Field
from starlette.responses import Response

from hub.alarms.limits import LimitsInvalid
from hub.alarms.replay import Outcome, Replayed, replay
from hub.alarms.rules import Override
from hub.api import alarm_examples as examples
from hub.api.alarm_actions import Alarming, Body
from hub.api.alarm_limits import Keeper
from hub.api.alarm_places import expect_place, unfit
from hub.api.answers import answer, described
from hub.api.parameters import ID, Instant
from hub.api.problems import Fault, Problem
from hub.api.services import Hub

router = APIRouter(tags=["alarms"])

LONGEST_REPLAY_NS = 7 * 86_400 * 1_000_000_000
_replaying = asyncio.Lock()


class ReplayedAlarms(Struct, frozen=True):
    """What limits would have made of stored readings, beside those in force."""

    in_force: Outcome
    tried: Outcome


class TriedTable(Body):
    """Keys of one table of the limits file, as a change of limits has them."""

    table: str = Field(max_length=128)
    values: dict[str, Any] = Field(min_length=1, max_length=20)


class TryLimits(Body):
    """Limits to try out on what a ward's devices stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TRY]})

    site: str = Field(pattern=ID)
    ward: str = Field(pattern=ID)
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    changes: list[TriedTable] = Field(min_length=1, max_length=50)


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

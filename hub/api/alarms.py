"""Alarms that are present, and what happened to alarms."""

from typing import Annotated

from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field
from starlette.responses import Response

from hub.alarms.log import LogUnavailable
from hub.api.answers import AlarmEvents, Alarms, answer, described
from hub.api.parameters import InScope, QueryId
from hub.api.problems import Problem
from hub.api.services import Hub
from hub.events import told_alarm, told_event
from hub.model import Kind, Priority

router = APIRouter(tags=["alarms"])


class AlarmsQuery(InScope):
    """Which alarms."""

    bed: QueryId | None = None
    priority: Priority | None = None
    kind: Kind | None = None


class EventsQuery(InScope):
    """Which events."""

    bed: QueryId | None = None
    after: int = Field(default=0, ge=0, le=2**63 - 1, description="Sequence; events after it are returned.")
    limit: int = Field(
        default=500, ge=1, le=5000, description="Events looked through: fewer are of one ward or bed."
    )


@router.get("/alarms", summary="List the alarms that are present", **described(Alarms, 401, 422))
async def alarms(hub: Hub, query: Annotated[AlarmsQuery, FromQuery()]) -> Response:
    """Alarms that have begun and not ended. Those of no known ward are in every ward's list."""
    found = [
        event
        for event in hub.log.present()
        if hub.stream.shows(query.scope, event)
        and query.bed in (None, event.bed)
        and query.priority in (None, event.alarm.priority)
        and query.kind in (None, event.alarm.kind)
    ]
    last = hub.stream.event_id(hub.stream.told)
    return answer(Alarms([told_alarm(event) for event in found], last))


@router.get("/alarms/events", summary="List what happened to alarms", **described(AlarmEvents, 401, 422, 503))
async def events(hub: Hub, query: Annotated[EventsQuery, FromQuery()]) -> Response:
    """Events in sequence, as the stream told them. Old ones end with their retention."""
    try:
        found = await hub.log.after(query.after, query.limit)
    except LogUnavailable as error:
        detail = "old events can't be read from the disk now; new alarms are told as ever, try again later"
        raise Problem(503, "log-unavailable", detail, headers={"Retry-After": "5"}) from error
    following = found[-1].event.sequence if found else query.after
    wanted = [
        told_event(event, recorded)
        for event, recorded in found
        if hub.stream.shows(query.scope, event) and query.bed in (None, event.bed)
    ]
    return answer(AlarmEvents(wanted, following))

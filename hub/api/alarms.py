"""Alarms by what is asked for, and what happened to alarms."""

from typing import Annotated, Final

from fastapi import APIRouter
from fastapi import Query as FromQuery
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from hub.alarms.alarm import AlarmEvent
from hub.alarms.log import LogUnavailable
from hub.api import alarm_examples as examples
from hub.api.alarm_filters import AlarmFilter, AlarmsQuery
from hub.api.answers import AlarmEvents, Alarms, answer, described
from hub.api.parameters import AlarmId
from hub.api.problems import log_unavailable, missing
from hub.api.services import Hub, Services
from hub.events import ToldAlarm, ToldEvent, told_alarm, told_event

router = APIRouter(tags=["alarms"])

_ROWS: Final = 1000
_PAGES: Final = 10
"""Of rows that one request looks through at most."""


class AlarmHistory(Struct, frozen=True):
    """One alarm and everything that happened to it."""

    alarm: ToldAlarm
    events: list[ToldEvent]


class EventsQuery(AlarmFilter):
    """Which events."""

    after: int = Field(default=0, ge=0, le=2**63 - 1, description="Sequence; events after it are returned.")
    limit: int = Field(
        default=500, ge=1, le=5000, description="Events looked through: fewer are of one ward or bed."
    )


@router.get("/alarms", summary="List alarms", **described(Alarms, 401, 422, 503, example=examples.ALARMS))
async def alarms(hub: Hub, query: Annotated[AlarmsQuery, FromQuery()]) -> Response:
    """Alarms as they are now, the newest first: those that have not ended, or others by `state` and time.

    Those of no known ward are in every ward's list. A page may hold fewer than `limit`: go on with `next`
    until it is null. Alarms that begin meanwhile move no page.
    """
    last = hub.stream.event_id(hub.stream.told)  # before the disk is asked, so that nothing is missed
    try:
        found, following = await _page(hub, query)
    except LogUnavailable as error:
        raise log_unavailable() from error
    return answer(Alarms([told_alarm(event) for event in found], last, following))


@router.get(
    "/alarms/events",
    summary="List what happened to alarms",
    **described(AlarmEvents, 401, 422, 503, example=examples.EVENTS),
)
async def events(hub: Hub, query: Annotated[EventsQuery, FromQuery()]) -> Response:
    """Events in sequence, as the stream told them. Old ones end with their retention."""
    try:
        found = await hub.log.after(query.after, query.limit)
    except LogUnavailable as error:
        raise log_unavailable() from error
    following = found[-1].event.sequence if found else query.after
    wanted = [told_event(event, recorded) for event, recorded in found if query.takes(hub, event)]
    return answer(AlarmEvents(wanted, following))


@router.get(
    "/alarms/{alarm}",
    summary="One alarm",
    **described(AlarmHistory, 401, 404, 422, 503, example=examples.HISTORY),
)
async def one(hub: Hub, alarm: AlarmId) -> Response:
    """One alarm as it is now, and everything that happened to it."""
    try:
        found = await hub.log.of_alarm(alarm)
    except LogUnavailable as error:
        raise log_unavailable() from error
    if not found:
        raise missing("there is no such alarm, or its retention is over")
    events = [told_event(*told) for told in found]
    return answer(AlarmHistory(told_alarm(found[-1].event), events))


async def _page(hub: Services, query: AlarmsQuery) -> tuple[list[AlarmEvent], int | None]:
    """Return the alarms of one page by their newest events, and the cursor of the next page."""
    start_ns, end_ns = query.span(hub.now_ns())
    found: list[AlarmEvent] = []
    before = query.before
    for _ in range(_PAGES):
        if query.is_past:
            rows = await hub.log.begun(start_ns, end_ns, before, _ROWS)
        else:
            active = [one for one in hub.log.active() if start_ns <= one.time_ns < end_ns]
            rows = [one for one in active if one.sequence < before][:_ROWS]
        for one in rows:
            before = one.sequence
            if query.takes(hub, one.newest):
                found.append(one.newest)
            if len(found) == query.limit:
                return found, before
        if len(rows) < _ROWS:
            return found, None
    return found, before

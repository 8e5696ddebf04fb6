"""What people do about an alarm, its history, and how many alarms there are."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi import Query as FromQuery
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from hub.alarms.alarm import AlarmEvent
from hub.alarms.load import Figures, csv_text, figures
from hub.alarms.log import LogUnavailable
from hub.alarms.signal import SignalRefused
from hub.alarms.signals import NoSuchAlarm
from hub.alarms.system import AlarmSystem
from hub.api.access import has_role
from hub.api.answers import answer, described
from hub.api.parameters import InScope, Instant, Span
from hub.api.problems import Problem, documented, missing
from hub.api.services import Hub, Token
from hub.clock import SECOND_NS
from hub.events import ToldAlarm, ToldEvent, moment, told_alarm, told_event

router = APIRouter(tags=["alarms"])

CARERS = ("nurse", "charge-nurse")
AlarmId = Annotated[str, Path(pattern=r"^al-[0-9a-f]{1,32}$")]
Carer = Annotated[Token, Depends(has_role(*CARERS))]
_PAGE = 5000


class AlarmHistory(Struct, frozen=True):
    """One alarm and everything that happened to it."""

    alarm: ToldAlarm
    events: list[ToldEvent]


class AlarmLoad(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The alarm load of a stretch of time."""

    start: datetime
    end: datetime
    beds: int
    figures: Figures


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Acknowledge(_Body):
    """Take charge of an alarm."""

    why: str | None = Field(default=None, max_length=1000)


class Pause(_Body):
    """Pause the audio of an alarm."""

    seconds: float = Field(gt=0, le=3600)


class SwitchOff(_Body):
    """Switch the signal of an alarm off until a time."""

    why: str = Field(min_length=1, max_length=1000)
    until: Instant


class Comment(_Body):
    """A remark."""

    text: str = Field(min_length=1, max_length=4000)


class HandOver(_Body):
    """Hand an alarm over."""

    to: str = Field(min_length=1, max_length=128)
    why: str | None = Field(default=None, max_length=1000)


class LoadQuery(InScope, Span):
    """Which part of the hospital, and which stretch of time."""


async def alarms_of(hub: Hub) -> AlarmSystem:
    """Return the hub's alarms."""
    if hub.alarms is None:
        raise Problem(503, "alarms-unavailable", "this hub was started without alarms")
    return hub.alarms


Alarming = Annotated[AlarmSystem, Depends(alarms_of)]


@router.get("/alarms/load", summary="Alarm load", **described(AlarmLoad, 401, 422, 503))
async def load(hub: Hub, query: Annotated[LoadQuery, FromQuery()]) -> Response:
    """Alarms a bed a day, time to acknowledge, what ended by itself, top beds and parameters, floods."""
    start_ns, end_ns = query.resolve(hub.now_ns(), 366 * 86_400)
    found = [event for event in await _between(hub, start_ns, end_ns) if _in(query, event)]
    beds = [bed for bed in hub.registry.beds() if query.scope.takes(bed.site, bed.ward)]
    result = figures(found, len(beds), (end_ns - start_ns) / (86_400 * SECOND_NS))
    return answer(AlarmLoad(moment(start_ns), moment(end_ns), len(beds), result))


@router.get(
    "/alarms/export.csv",
    summary="Alarm events as CSV",
    response_class=Response,
    responses={
        200: {"content": {"text/csv": {}}, "description": "One event a line, with a header."},
        **documented(401, 422, 503),
    },
)
async def export(hub: Hub, query: Annotated[LoadQuery, FromQuery()]) -> Response:
    """Every event of a stretch of time. Patients are told by their surrogate ids."""
    start_ns, end_ns = query.resolve(hub.now_ns(), 366 * 86_400)
    found = [event for event in await _between(hub, start_ns, end_ns) if _in(query, event)]
    headers = {"Content-Disposition": 'attachment; filename="alarms.csv"'}
    return Response(csv_text(found), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/alarms/{alarm}", summary="One alarm", **described(AlarmHistory, 401, 404, 422, 503))
async def one(hub: Hub, alarm: AlarmId) -> Response:
    """One alarm as it is now, and everything that happened to it."""
    try:
        found = await hub.log.of_alarm(alarm)
    except LogUnavailable as error:
        raise _unavailable() from error
    if not found:
        raise missing("there is no such alarm, or its retention is over")
    events = [told_event(*told) for told in found]
    return answer(AlarmHistory(told_alarm(found[-1].event), events))


@router.post(
    "/alarms/{alarm}/acknowledge", summary="Acknowledge", **described(ToldEvent, 401, 403, 404, 409, 422)
)
async def acknowledge(
    hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: Acknowledge
) -> Response:
    """Take charge of an alarm: its signal and its escalation stop until the acknowledgement times out."""
    return await _act(hub, lambda now: alarms.signals.acknowledge(alarm, carer.name, now, body.why))


@router.post("/alarms/{alarm}/pause", summary="Pause", **described(ToldEvent, 401, 403, 404, 409, 422))
async def pause(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: Pause) -> Response:
    """Pause the audio of an alarm for a while; what is seen stays."""
    duration_ns = round(body.seconds * SECOND_NS)
    return await _act(hub, lambda now: alarms.signals.pause(alarm, carer.name, duration_ns, now))


@router.post("/alarms/{alarm}/off", summary="Switch off", **described(ToldEvent, 401, 403, 404, 409, 422))
async def switch_off(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: SwitchOff) -> Response:
    """Switch the signal of an alarm off until a time, with a reason."""
    return await _act(
        hub, lambda now: alarms.signals.switch_off(alarm, carer.name, body.why, body.until, now)
    )


@router.post("/alarms/{alarm}/resume", summary="Resume", **described(ToldEvent, 401, 403, 404, 409, 422))
async def resume(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId) -> Response:
    """Take a pause or a switching off back."""
    return await _act(hub, lambda now: alarms.signals.resume(alarm, carer.name, now))


@router.post("/alarms/{alarm}/reset", summary="Reset", **described(ToldEvent, 401, 403, 404, 409, 422))
async def reset(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId) -> Response:
    """Reset a latched signal."""
    return await _act(hub, lambda now: alarms.signals.reset(alarm, carer.name, now))


@router.post("/alarms/{alarm}/comment", summary="Comment", **described(ToldEvent, 401, 403, 404, 409, 422))
async def comment(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: Comment) -> Response:
    """Add a remark to an alarm's history."""
    return await _act(hub, lambda now: alarms.signals.comment(alarm, carer.name, body.text, now))


@router.post("/alarms/{alarm}/handover", summary="Hand over", **described(ToldEvent, 401, 403, 404, 409, 422))
async def hand_over(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: HandOver) -> Response:
    """Hand an alarm over to somebody else."""
    return await _act(hub, lambda now: alarms.signals.reassign(alarm, carer.name, body.to, now, body.why))


async def _act(hub: Hub, act: Callable[[int], AlarmEvent]) -> Response:
    """Do something about an alarm and answer once everybody was told; `recorded` says if the disk has it."""
    try:
        event = act(hub.now_ns())
    except NoSuchAlarm as error:
        raise missing(str(error)) from error
    except SignalRefused as error:
        raise Problem(409, "signal-refused", str(error)) from error
    recorded = await hub.log.told(event.sequence)
    return answer(told_event(event, recorded))


async def _between(hub: Hub, start_ns: int, end_ns: int) -> list[AlarmEvent]:
    found: list[AlarmEvent] = []
    try:
        while page := await hub.log.between(start_ns, end_ns, found[-1].sequence if found else 0, _PAGE):
            found += [told.event for told in page]
    except LogUnavailable as error:
        raise _unavailable() from error
    return found


def _in(query: InScope, event: AlarmEvent) -> bool:
    return query.scope.takes(event.alarm.site, event.ward)


def _unavailable() -> Problem:
    detail = "old events can't be read from the disk now; new alarms are told as ever, try again later"
    return Problem(503, "log-unavailable", detail, headers={"Retry-After": "5"})

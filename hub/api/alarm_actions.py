"""What people do about an alarm."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from hub.alarms.alarm import AlarmEvent
from hub.alarms.signal import SignalRefused
from hub.alarms.signals import NoSuchAlarm
from hub.alarms.system import AlarmSystem
from hub.api import alarm_examples as examples
from hub.api.access import has_role
from hub.api.answers import answer, described
from hub.api.parameters import AlarmId, Instant
from hub.api.problems import Problem, missing
from hub.api.services import Hub, Token
from hub.clock import SECOND_NS
from hub.events import ToldEvent, told_event

router = APIRouter(tags=["alarms"])

CARERS = ("nurse", "charge-nurse")
Carer = Annotated[Token, Depends(has_role(*CARERS))]


class Body(BaseModel):
    """A body that holds nothing unknown."""

    model_config = ConfigDict(extra="forbid")


class Acknowledge(Body):
    """Take charge of an alarm."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "on my way"}]})

    why: str | None = Field(default=None, max_length=1000)


class Pause(Body):
    """Pause the audio of an alarm."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"seconds": 120}]})

    seconds: float = Field(gt=0, le=3600)


class SwitchOff(Body):
    """Switch the signal of an alarm off until a time."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"why": "probe moved", "until": "2026-11-24T03:13:00Z"}]}
    )

    why: str = Field(min_length=1, max_length=1000)
    until: Instant


class Comment(Body):
    """A remark."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "doctor informed"}]})

    text: str = Field(min_length=1, max_length=4000)


class HandOver(Body):
    """Hand an alarm over."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to": "nurse-2", "why": "break"}]})

    to: str = Field(min_length=1, max_length=128)
    why: str | None = Field(default=None, max_length=1000)


async def alarms_of(hub: Hub) -> AlarmSystem:
    """Return the hub's alarms."""
    if hub.alarms is None:
        raise Problem(503, "alarms-unavailable", "this hub was started without alarms")
    return hub.alarms


Alarming = Annotated[AlarmSystem, Depends(alarms_of)]


@router.post(
    "/alarms/{alarm}/acknowledge",
    summary="Acknowledge",
    **described(ToldEvent, 401, 403, 404, 409, 422, example=examples.ACKNOWLEDGED),
)
async def acknowledge(
    hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: Acknowledge
) -> Response:
    """Take charge of an alarm: its signal and its escalation stop until the acknowledgement times out."""
    return await _act(hub, lambda now: alarms.signals.acknowledge(alarm, carer.name, now, body.why))


@router.post(
    "/alarms/{alarm}/pause",
    summary="Pause",
    **described(ToldEvent, 401, 403, 404, 409, 422, example=examples.PAUSED),
)
async def pause(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: Pause) -> Response:
    """Pause the audio of an alarm for a while; what is seen stays."""
    duration_ns = round(body.seconds * SECOND_NS)
    return await _act(hub, lambda now: alarms.signals.pause(alarm, carer.name, duration_ns, now))


@router.post(
    "/alarms/{alarm}/off",
    summary="Switch off",
    **described(ToldEvent, 401, 403, 404, 409, 422, example=examples.OFF),
)
async def switch_off(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: SwitchOff) -> Response:
    """Switch the signal of an alarm off until a time, with a reason."""
    return await _act(
        hub, lambda now: alarms.signals.switch_off(alarm, carer.name, body.why, body.until, now)
    )


@router.post(
    "/alarms/{alarm}/resume",
    summary="Resume",
    **described(ToldEvent, 401, 403, 404, 409, 422, example=examples.RESUMED),
)
async def resume(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId) -> Response:
    """Take a pause or a switching off back."""
    return await _act(hub, lambda now: alarms.signals.resume(alarm, carer.name, now))


@router.post(
    "/alarms/{alarm}/reset",
    summary="Reset",
    **described(ToldEvent, 401, 403, 404, 409, 422, example=examples.RESET),
)
async def reset(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId) -> Response:
    """Reset a latched signal."""
    return await _act(hub, lambda now: alarms.signals.reset(alarm, carer.name, now))


@router.post(
    "/alarms/{alarm}/comment",
    summary="Comment",
    **described(ToldEvent, 401, 403, 404, 409, 422, example=examples.COMMENTED),
)
async def comment(hub: Hub, alarms: Alarming, carer: Carer, alarm: AlarmId, body: Comment) -> Response:
    """Add a remark to an alarm's history."""
    return await _act(hub, lambda now: alarms.signals.comment(alarm, carer.name, body.text, now))


@router.post(
    "/alarms/{alarm}/handover",
    summary="Hand over",
    **described(ToldEvent, 401, 403, 404, 409, 422, example=examples.HANDED_OVER),
)
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

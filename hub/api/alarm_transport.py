"""Devices that leave their place for a while: their silence doesn't alarm, visibly and timed."""

from datetime import datetime

from fastapi import APIRouter
from msgspec import Struct
from pydantic import ConfigDict, Field
from starlette.responses import Response

from hub.api import alarm_examples as examples
from hub.api.alarm_actions import Alarming, Body, Carer
from hub.api.alarm_places import unfit
from hub.api.answers import answer, described
from hub.api.parameters import Id, Instant
from hub.api.problems import documented, missing
from hub.api.services import Hub
from hub.events import moment

router = APIRouter(tags=["alarms"])


class TransportAnswer(Struct, frozen=True):
    """Until when a device's silence doesn't alarm."""

    until: datetime


class Transport(Body):
    """A device leaves its place for a while."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TRANSPORT]})

    until: Instant
    why: str = Field(min_length=1, max_length=1000)


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

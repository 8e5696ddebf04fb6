"""Taking a device in: what an unknown one sends, and registering it."""

from base64 import b64encode
from datetime import datetime

from fastapi import APIRouter, Depends
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from hub.api.access import PAYLOADS, has_role
from hub.api.answers import DeviceAnswer, answer, described
from hub.api.devices import device_answer, entry_of
from hub.api.parameters import Id
from hub.api.problems import invalid, missing
from hub.api.services import Hub
from hub.events import moment
from hub.ward.model import NotInRegistry, RegistryRefused

router = APIRouter(tags=["devices"])


class KnockAnswer(Struct, frozen=True):
    """What an unregistered device last sent, and who could read it."""

    site: str
    device: str
    topic: str
    gateway: str | None
    """Who published it, where the payload names the device."""
    received: datetime
    payload: str | None
    """As text; null where it is no UTF-8. At most 4,096 bytes."""
    payload_base64: str
    fits: list[str]
    """The definitions that make something of it, the best first."""


class Registration(BaseModel):
    """How a device is registered."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"definition": "pump-telemetry", "area": "icu", "bed": "icu-03"}]},
    )

    definition: str = Field(min_length=1, max_length=128)
    area: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    interval_s: float | None = Field(default=None, gt=0, le=86_400)
    gateway: str | None = Field(
        default=None, min_length=1, max_length=128, description="Under which alone payloads may name it."
    )
    bed: str | None = Field(default=None, description="Where it stands from now on.")


@router.get(
    "/devices/{site}/{device}/knock",
    summary="Get what an unregistered device last sent",
    dependencies=[Depends(has_role(*PAYLOADS))],
    **described(KnockAnswer, 401, 403, 404, 422),
)
async def knock(hub: Hub, site: Id, device: Id) -> Response:
    """The last payload of a device that nobody has registered, and the definitions that would read it."""
    found = None if hub.knocks is None else hub.knocks.last(site, device)
    if found is None:
        raise missing(f"{device} at {site} is registered, or has sent nothing since the hub started")
    try:
        text: str | None = found.payload.decode()
    except UnicodeDecodeError:
        text = None
    told = KnockAnswer(
        site=site,
        device=device,
        topic=found.topic,
        gateway=found.gateway,
        received=moment(found.received_ns),
        payload=text,
        payload_base64=b64encode(found.payload).decode(),
        fits=hub.fitting(found.payload),
    )
    return answer(told)


@router.put(
    "/devices/{site}/{device}",
    summary="Register a device",
    dependencies=[Depends(has_role(*PAYLOADS))],
    **described(DeviceAnswer, 401, 403, 404, 413, 422, 503),
)
async def register(hub: Hub, site: Id, device: Id, registration: Registration) -> Response:
    """Register a device with its definition and gateway, and place it at a bed.

    Needs a token of the role biomed or it. What was rejected before can be run again.
    """
    if registration.definition not in hub.definitions:
        raise invalid("definition", f"expected one of {', '.join(hub.definitions)}")
    try:
        await hub.registry.add_device(
            site,
            device,
            registration.definition,
            registration.area,
            registration.interval_s,
            registration.gateway,
        )
        if registration.bed is not None:
            await hub.registry.place_device(site, device, hub.now_ns(), bed=registration.bed)
    except NotInRegistry as error:
        raise missing(str(error)) from error
    except RegistryRefused as error:
        raise invalid("device", str(error)) from error
    return answer(device_answer(hub, entry_of(hub, site, device)))

"""What could not be used, and running it again."""

from base64 import b64encode
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Query as FromQuery
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from hub.api.access import PAYLOADS, has_role
from hub.api.answers import Reject, Rejects, ReplayAnswer, answer, described
from hub.api.parameters import Query, QueryId
from hub.api.services import Hub
from hub.events import moment
from hub.rejects import Rejected

router = APIRouter(tags=["rejects"])


class RejectsQuery(Query):
    """Which rejects."""

    site: QueryId | None = None
    device: QueryId | None = None
    before: int | None = Field(default=None, ge=1, le=2**63 - 1, description="Id; older ones are returned.")
    limit: int = Field(default=100, ge=1, le=1000)


class ReplayRequest(BaseModel):
    """Which rejects to run again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": [17, 18]}]})

    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] = Field(min_length=1, max_length=1000)


@router.get(
    "/rejects",
    summary="List rejects",
    dependencies=[Depends(has_role(*PAYLOADS))],
    **described(Rejects, 401, 403, 422, 503),
)
async def rejects(hub: Hub, query: Annotated[RejectsQuery, FromQuery()]) -> Response:
    """What of messages could not be used, with reason and payload, newest first."""
    found = await hub.rejects.rejected(
        site=query.site, device=query.device, limit=query.limit + 1, before=query.before
    )
    page = found[: query.limit]
    following = page[-1].id if len(found) > len(page) else None
    return answer(Rejects([_reject(one) for one in page], following))


@router.post(
    "/rejects/replay",
    summary="Run rejects again",
    dependencies=[Depends(has_role(*PAYLOADS))],
    **described(ReplayAnswer, 401, 403, 413, 422, 503),
)
async def replay(hub: Hub, request: ReplayRequest) -> Response:
    """Decode rejects with the definitions of now. What is accepted leaves the list and is stored.

    Needs a token of the role biomed or it.
    """
    done = await hub.replay(request.ids)
    return answer(ReplayAnswer(done.accepted, done.rejected, done.gone))


def _reject(one: Rejected) -> Reject:
    rejection = one.rejection
    try:
        payload, encoding = rejection.payload.decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = b64encode(rejection.payload).decode(), "base64"
    return Reject(
        id=one.id,
        topic=rejection.topic,
        path=rejection.path,
        reason=rejection.reason,
        received=moment(rejection.received_ns),
        site=rejection.site,
        device=rejection.device,
        payload=payload,
        encoding=encoding,
    )

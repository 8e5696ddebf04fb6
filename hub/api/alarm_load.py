"""How many alarms there are, how they end and how fast people answer; and every event of them as CSV."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter
from fastapi import Query as FromQuery
from msgspec import Struct
from starlette.responses import Response, StreamingResponse

from hub.alarms.alarm import AlarmEvent
from hub.alarms.load import Figures, Reckoning, csv_head, csv_text
from hub.alarms.log import LogUnavailable
from hub.api import alarm_examples as examples
from hub.api.alarm_filters import AlarmFilter
from hub.api.answers import answer, described
from hub.api.parameters import InScope, Span
from hub.api.problems import documented, log_unavailable
from hub.api.services import Hub, Services
from hub.clock import SECOND_NS
from hub.events import moment

router = APIRouter(tags=["alarms"])

_LONGEST_S: Final = 366 * 86_400
_PAGE: Final = 1000
"""Events handled in one go: between two pages the line goes on."""


class AlarmLoad(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The alarm load of a stretch of time."""

    start: datetime
    end: datetime
    beds: int
    figures: Figures


class LoadQuery(InScope, Span):
    """Which part of the hospital, and which stretch of time."""


class ExportQuery(AlarmFilter, Span):
    """Which events, and which stretch of time."""


@router.get(
    "/alarms/load", summary="Alarm load", **described(AlarmLoad, 401, 422, 503, example=examples.LOAD)
)
async def load(hub: Hub, query: Annotated[LoadQuery, FromQuery()]) -> Response:
    """Alarms a bed a day, time to acknowledge, what ended by itself, top beds and parameters, floods."""
    start_ns, end_ns = query.resolve(hub.now_ns(), _LONGEST_S)
    reckoning = Reckoning()
    try:
        async for page in _pages(hub, start_ns, end_ns):
            for event in page:
                if query.scope.takes(event.alarm.site, event.ward):
                    reckoning.take(event)
    except LogUnavailable as error:
        raise log_unavailable() from error
    beds = sum(query.scope.takes(bed.site, bed.ward) for bed in hub.registry.beds())
    days = (end_ns - start_ns) / (86_400 * SECOND_NS)
    found = await asyncio.to_thread(reckoning.figures, beds, days)
    return answer(AlarmLoad(moment(start_ns), moment(end_ns), beds, found))


@router.get(
    "/alarms/export.csv",
    summary="Alarm events as CSV",
    response_class=Response,
    responses={
        200: {
            "content": {"text/csv": {"schema": {"type": "string"}, "example": examples.CSV}},
            "description": "One event a line, with a header.",
        },
        **documented(401, 422, 503),
    },
)
async def export(hub: Hub, query: Annotated[ExportQuery, FromQuery()]) -> Response:
    """Every event of a stretch of time. Patients are told by their surrogate ids.

    It is sent as it is read; when the disk fails on the way the transfer breaks off, and is not merely short.
    """
    start_ns, end_ns = query.resolve(hub.now_ns(), _LONGEST_S)
    pages = _pages(hub, start_ns, end_ns)
    first: list[AlarmEvent] = []
    try:
        with suppress(StopAsyncIteration):
            first = await anext(pages)
    except LogUnavailable as error:
        raise log_unavailable() from error
    headers = {"Content-Disposition": 'attachment; filename="alarms.csv"'}
    return StreamingResponse(
        _lines(hub, query, first, pages), media_type="text/csv; charset=utf-8", headers=headers
    )


async def _lines(
    hub: Services, query: ExportQuery, page: list[AlarmEvent], rest: AsyncIterator[list[AlarmEvent]]
) -> AsyncIterator[str]:
    yield csv_head()
    yield await _text(hub, query, page)
    async for following in rest:
        yield await _text(hub, query, following)


async def _text(hub: Services, query: ExportQuery, page: list[AlarmEvent]) -> str:
    found = [event for event in page if query.takes(hub, event)]
    return await asyncio.to_thread(csv_text, found)


async def _pages(hub: Services, start_ns: int, end_ns: int) -> AsyncIterator[list[AlarmEvent]]:
    """Return the events of a stretch of time in pages. Raises LogUnavailable."""
    after = 0
    while page := await hub.log.between(start_ns, end_ns, after, _PAGE):
        after = page[-1].event.sequence
        yield [told.event for told in page]

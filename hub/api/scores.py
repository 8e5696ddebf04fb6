"""Early warning scores: of a ward at one glance, of a patient over any time, and what is charted for them."""

import asyncio
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Final, Literal

from fastapi import APIRouter
from fastapi import Query as FromQuery
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import Response

from hub.alarms.charts import Charted, ChartRefused
from hub.alarms.early_warning import AGAIN_NS, RECENT_NS, Assessment
from hub.alarms.news2 import SCORED
from hub.alarms.score_log import PAGE, ScoreLog
from hub.api import alarm_examples as examples
from hub.api.access import Known
from hub.api.alarm_actions import Alarming, Carer
from hub.api.answers import answer, described
from hub.api.parameters import Id, InScope, Instant, Span
from hub.api.problems import Problem
from hub.api.services import Hub
from hub.events import moment
from hub.stores.store import TrendPoint

router = APIRouter(tags=["alarms"])

HELD_NS: Final = AGAIN_NS + 60 * 1_000_000_000
"""A total that nothing follows held for so long: the next one was due by then."""
_CHARTED: Final[JsonValue] = {
    "time": "2026-11-24T02:43:12Z",
    "values": {"consciousness": "A", "on_oxygen": True},
}


class ScoreAnswer(Struct, frozen=True):
    """A NEWS2 score, its parts, and what it stands on."""

    time: datetime
    total: int | None
    """None where an input is missing, stale or invalid, or the chart isn't for this patient."""
    at_least: int | None
    risk: str | None
    single_three: list[str]
    scores: dict[str, int | None]
    spo2_scale: int | None
    problems: dict[str, str]
    ages_s: dict[str, float]
    sources: dict[str, str]
    excluded: str | None


class Scores(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A patient's score as of now, and those of a stretch of time, oldest first."""

    now: ScoreAnswer | None
    start: datetime
    end: datetime
    history: list[ScoreAnswer]
    """One a change, and one a quarter of an hour while nothing changes."""
    more: bool
    """Whether there are older ones in this time than `limit` let through."""


class BedScore(Struct, frozen=True):
    """The NEWS2 score of the patient in one bed."""

    site: str
    bed: str
    patient: str
    time: datetime
    total: int | None
    """None where an input is missing, stale or invalid, or the chart isn't for this patient."""
    at_least: int | None
    """What the known parts come to."""
    risk: str | None
    known: int
    """How many of the parts are known."""
    parts: int
    trend: Literal["rising", "falling", "steady"] | None
    """Against the oldest score of the last hours that stands on the same parts; None where there is none."""
    excluded: str | None
    """Why the score isn't for this patient."""


class BedScores(Struct, frozen=True):
    """The scores of a scope, by bed; beds without a patient or a score are left out."""

    scores: list[BedScore]


class ScoresQuery(Span):
    """Which time."""

    from_ns: Instant | None = Field(default=None, alias="from", description="A day before `to` if absent.")
    limit: int = Field(default=1000, ge=1, le=PAGE, description="The newest so many.")


class Chart(BaseModel):
    """What was observed: inputs of the score."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_CHARTED]})
    time: Instant | None = Field(default=None, description="Now if absent.")
    values: dict[str, float | bool | str] = Field(min_length=1, max_length=10)


@router.get(
    "/news2", summary="NEWS2 of every bed", **described(BedScores, 401, 422, 503, example=examples.BED_SCORES)
)
async def scores(hub: Hub, alarms: Alarming, query: Annotated[InScope, FromQuery()]) -> Response:
    """The newest score of each patient with its trend; `/patients/{patient}/news2` has parts and history."""
    found = []
    for bed in hub.registry.beds():
        if bed.patient is None or not query.scope.takes(bed.site, bed.ward):
            continue
        newest = alarms.early_warning.newest(bed.patient)
        if newest is not None:
            recent = alarms.early_warning.recent(bed.patient)
            found.append(_bed_score(bed.site, bed.bed, bed.patient, newest, recent))
    return answer(BedScores(found))


@router.get(
    "/patients/{patient}/news2",
    summary="NEWS2",
    **described(Scores, 401, 404, 422, 503, example=examples.SCORES),
)
async def news2(
    hub: Hub,
    alarms: Alarming,
    token: Known,  # noqa: ARG001 - every route knows who asks
    patient: Id,
    query: Annotated[ScoresQuery, FromQuery()],
) -> Response:
    """A patient's early warning score with its parts, the age and source of each input, and its history.

    What was scored before a restart of the hub is in it; it ends with the retention of alarms.
    """
    end_ns = hub.now_ns() + 1 if query.to_ns is None else query.to_ns  # of this very moment, too
    start_ns, end_ns = query.resolve(end_ns, default_s=86_400)
    found = await alarms.scores.of(patient, start_ns, end_ns, query.limit + 1)
    newest = alarms.early_warning.newest(patient)
    if newest is None and not found:
        await hub.registry.patient(patient)  # an unknown one isn't one without scores
    return answer(
        Scores(
            None if newest is None else _score(newest),
            moment(start_ns),
            moment(end_ns),
            [_score(one) for one in found[-query.limit :]],
            more=len(found) > query.limit,
        )
    )


@router.post(
    "/patients/{patient}/charted",
    summary="Chart values",
    **described(Scores, 401, 403, 404, 422, example=examples.SCORES),
)
async def chart(hub: Hub, alarms: Alarming, carer: Carer, patient: Id, body: Chart) -> Response:
    """Enter what no device measures: oxygen, consciousness, or any other input of the score."""
    await hub.registry.patient(patient)
    now_ns = hub.now_ns()
    time_ns = now_ns if body.time is None else body.time
    try:
        await alarms.charts.enter(Charted(patient, time_ns, body.values, carer.name), now_ns)
    except ChartRefused as error:
        raise Problem(422, "chart-refused", str(error)) from error
    await alarms.sweep()
    return await news2(hub, alarms, carer, patient, ScoresQuery())


async def held(scores: ScoreLog, patient: str, start_ns: int, end_ns: int, step_ns: int) -> list[TrendPoint]:
    """Return the totals that held in each step of [start_ns, end_ns), each once a step, oldest first.

    A total holds until the next assessment. Where it isn't known, or the hub did not score, there is none.
    """
    rows = await scores.totals(patient, start_ns - HELD_NS, end_ns)
    return await asyncio.to_thread(_in_steps, rows, start_ns, end_ns, step_ns)


def _in_steps(
    rows: list[tuple[int, int | None]], start_ns: int, end_ns: int, step_ns: int
) -> list[TrendPoint]:
    points = []
    for (time_ns, total), (next_ns, _) in pairwise([*rows, (end_ns, None)]):
        at_ns = max(time_ns, start_ns)
        until_ns = min(next_ns, time_ns + HELD_NS)
        while total is not None and at_ns < until_ns:
            points.append(TrendPoint(at_ns, total, total, total, 1))
            at_ns += step_ns - (at_ns - start_ns) % step_ns
    return points


def _bed_score(site: str, bed: str, patient: str, newest: Assessment, history: list[Assessment]) -> BedScore:
    score = newest.score
    known = 0 if score is None else sum(part is not None for part in score.scores.values())
    return BedScore(
        site=site,
        bed=bed,
        patient=patient,
        time=moment(newest.time_ns),
        total=score.total if score else None,
        at_least=score.at_least if score else None,
        risk=score.risk if score else None,
        known=known,
        parts=len(SCORED),
        trend=trend(newest, history),
        excluded=newest.excluded,
    )


def trend(newest: Assessment, history: list[Assessment]) -> Literal["rising", "falling", "steady"] | None:
    """Compare a score with the oldest of the last hours. Parts that only one of them has would mislead."""
    now = newest.score
    if now is None:
        return None
    parts = {name for name, part in now.scores.items() if part is not None}
    for before in history:
        then = before.score
        if then is None or before.time_ns < newest.time_ns - RECENT_NS or before.time_ns >= newest.time_ns:
            continue
        if {name for name, part in then.scores.items() if part is not None} != parts:
            continue
        if now.at_least == then.at_least:
            return "steady"
        return "rising" if now.at_least > then.at_least else "falling"
    return None


def _score(one: Assessment) -> ScoreAnswer:
    score = one.score
    return ScoreAnswer(
        time=moment(one.time_ns),
        total=score.total if score else None,
        at_least=score.at_least if score else None,
        risk=score.risk if score else None,
        single_three=list(score.single_three) if score else [],
        scores=score.scores if score else {},
        spo2_scale=score.spo2_scale if score else None,
        problems=score.problems if score else {},
        ages_s=one.ages_s,
        sources=one.sources,
        excluded=one.excluded,
    )

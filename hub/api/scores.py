"""The early warning scores of a ward at one glance: what the nurse station shows at each bed."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi import Query as FromQuery
from msgspec import Struct
from starlette.responses import Response

from hub.alarms.early_warning import Assessment
from hub.alarms.news2 import SCORED
from hub.api.alarm_actions import Alarming
from hub.api.answers import answer, described
from hub.api.parameters import InScope
from hub.api.services import Hub
from hub.events import moment

router = APIRouter(tags=["alarms"])

TREND_NS = 4 * 3600 * 1_000_000_000
"""How far back the score is looked for that the trend compares with."""


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


@router.get("/news2", summary="NEWS2 of every bed", **described(BedScores, 401, 422, 503))
async def scores(hub: Hub, alarms: Alarming, query: Annotated[InScope, FromQuery()]) -> Response:
    """The newest score of each patient with its trend; `/patients/{patient}/news2` has parts and history."""
    found = []
    for bed in hub.registry.beds():
        if bed.patient is None or not query.scope.takes(bed.site, bed.ward):
            continue
        newest = alarms.early_warning.newest(bed.patient)
        if newest is not None:
            history = alarms.early_warning.history(bed.patient)
            found.append(_bed_score(bed.site, bed.bed, bed.patient, newest, history))
    return answer(BedScores(found))


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
        if then is None or before.time_ns < newest.time_ns - TREND_NS or before.time_ns >= newest.time_ns:
            continue
        if {name for name, part in then.scores.items() if part is not None} != parts:
            continue
        if now.at_least == then.at_least:
            return "steady"
        return "rising" if now.at_least > then.at_least else "falling"
    return None

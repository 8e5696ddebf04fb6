"""Trends of a patient, a bed or a device: what the registry says of who was where, joined when read."""

from itertools import pairwise
from typing import Annotated, Self

from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field, model_validator
from starlette.responses import Response

from hub.api.answers import Point, Trend, answer, described
from hub.api.parameters import QueryId, Span
from hub.api.problems import Problem, invalid
from hub.api.scores import held
from hub.api.services import Hub, Services
from hub.events import moment
from hub.stores.store import Store, TrendPoint
from hub.vocabulary import PARAMETERS, unknown
from hub.ward.model import DevicePeriod

router = APIRouter(tags=["trends"])

NEWS2 = "news2"
"""The early warning score, by the name under which it has a trend beside the vocabulary's parameters."""
_MINUTE_NS = 60_000_000_000


class TrendQuery(Span):
    """Whose trend, of what, in how many steps."""

    patient: QueryId | None = Field(default=None, description="Surrogate id. Or give `bed` or `device`.")
    bed: QueryId | None = Field(default=None, description="With `site`.")
    device: QueryId | None = Field(
        default=None,
        description="With `site`. With a patient or a bed: only what this device determined there.",
    )
    site: QueryId | None = None
    parameter: str = Field(
        examples=["heart_rate"], description="Vocabulary name; or news2, the total of the patient's score."
    )
    points: int = Field(default=300, ge=1, le=10_000)

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if self.patient is not None and self.bed is not None:
            raise ValueError("give patient or bed, not both")
        if self.patient is None and self.bed is None and self.device is None:
            raise ValueError("give patient, bed or device")
        if (self.site is None) != (self.bed is None and self.device is None):
            raise ValueError("site goes with bed or device, and is needed there")
        return self


class Grid:
    """Steps of equal length from `start_ns` on, and what falls into them."""

    def __init__(self, start_ns: int, end_ns: int, points: int) -> None:
        self._start_ns = start_ns
        self.step_ns = max(1, -(-(end_ns - start_ns) // points))
        self._steps: dict[int, TrendPoint] = {}

    def pieces(self, start_ns: int, end_ns: int) -> list[tuple[int, int, int]]:
        """Cut a period where steps begin; return start, end and number of steps of each piece.

        A piece never reaches beyond the period: what is before or after it belongs to somebody else. Stores
        may make long steps of whole minutes, so the minutes in which a period begins and ends are asked for
        on their own.
        """
        cuts = [start_ns, end_ns]
        if self.step_ns > _MINUTE_NS:
            edges = (-(-start_ns // _MINUTE_NS) * _MINUTE_NS, end_ns // _MINUTE_NS * _MINUTE_NS)
            cuts = sorted({*cuts, *(edge for edge in edges if start_ns < edge < end_ns)})
        return [piece for part in pairwise(cuts) for piece in self._by_steps(*part)]

    def _by_steps(self, start_ns: int, end_ns: int) -> list[tuple[int, int, int]]:
        first = self._start_ns + -(-(start_ns - self._start_ns) // self.step_ns) * self.step_ns
        last = self._start_ns + (end_ns - self._start_ns) // self.step_ns * self.step_ns
        if first >= last:
            cuts = [start_ns, *([first] if start_ns < first < end_ns else []), end_ns]
            return [(a, b, 1) for a, b in pairwise(cuts)]
        whole = (first, last, (last - first) // self.step_ns)
        return [piece for piece in ((start_ns, first, 1), whole, (last, end_ns, 1)) if piece[0] < piece[1]]

    def add(self, point: TrendPoint) -> None:
        """Merge a point into its step."""
        step = (point.time_ns - self._start_ns) // self.step_ns
        here = self._steps.get(step)
        if here is None:
            self._steps[step] = point
            return
        count = here.count + point.count
        self._steps[step] = TrendPoint(
            time_ns=here.time_ns,
            minimum=min(here.minimum, point.minimum),
            mean=(here.mean * here.count + point.mean * point.count) / count,
            maximum=max(here.maximum, point.maximum),
            count=count,
        )

    def points(self) -> list[Point]:
        """Return the steps that hold a value, oldest first."""
        return [
            Point(
                time=moment(self._start_ns + step * self.step_ns),
                minimum=point.minimum,
                mean=point.mean,
                maximum=point.maximum,
                count=point.count,
            )
            for step, point in sorted(self._steps.items())
        ]


@router.get("/trends", summary="Get a trend", **described(Trend, 401, 404, 422, 502, 503))
async def trends(hub: Hub, query: Annotated[TrendQuery, FromQuery()]) -> Response:
    """Minimum, mean and maximum of one parameter in equal steps.

    A patient's trend holds only what devices determined while they were the patient's; a corrected placement
    corrects it.
    """
    if query.parameter == NEWS2:
        return answer(await _score_trend(hub, query))
    parameter = PARAMETERS.get(query.parameter)
    if parameter is None:
        raise invalid("parameter", unknown(query.parameter))
    if not parameter.is_number or parameter.kind == "waveform":
        raise invalid("parameter", f"{query.parameter} is not a number that has a trend")
    start_ns, end_ns = query.resolve(hub.now_ns())
    grid = Grid(start_ns, end_ns, query.points)
    for period in await _periods(hub, query, start_ns, end_ns):
        await _collect(hub.store, period, query.parameter, grid)
    return answer(
        Trend(
            parameter=query.parameter,
            unit=parameter.unit,
            start=moment(start_ns),
            end=moment(end_ns),
            step_s=grid.step_ns / 1e9,
            points=grid.points(),
        )
    )


async def _score_trend(hub: Services, query: TrendQuery) -> Trend:
    if query.patient is None or query.device is not None:
        raise invalid("patient", "news2 is a patient's: give patient, and no device")
    if hub.alarms is None:
        raise Problem(503, "alarms-unavailable", "this hub was started without alarms")
    await hub.registry.patient(query.patient)  # refuses an unknown one
    start_ns, end_ns = query.resolve(hub.now_ns())
    grid = Grid(start_ns, end_ns, query.points)
    for point in await held(hub.alarms.scores, query.patient, start_ns, end_ns, grid.step_ns):
        grid.add(point)
    return Trend(
        parameter=NEWS2,
        unit="{score}",
        start=moment(start_ns),
        end=moment(end_ns),
        step_s=grid.step_ns / 1e9,
        points=grid.points(),
    )


async def _periods(hub: Services, query: TrendQuery, start_ns: int, end_ns: int) -> list[DevicePeriod]:
    site = query.site or ""
    if query.patient is not None:
        await hub.registry.patient(query.patient)  # refuses an unknown one
        found = await hub.registry.device_periods_of_patient(query.patient, start_ns, end_ns)
    elif query.bed is not None:
        found = await hub.registry.device_periods_of_bed(site, query.bed, start_ns, end_ns)
    else:
        return [DevicePeriod(site, query.device or "", start_ns, end_ns)]
    if query.device is None:
        return found
    return [period for period in found if (period.site, period.device) == (site, query.device)]


async def _collect(store: Store, period: DevicePeriod, parameter: str, grid: Grid) -> None:
    for start_ns, end_ns, steps in grid.pieces(period.start_ns, period.end_ns):
        for point in await store.trend(period.site, period.device, parameter, start_ns, end_ns, steps):
            grid.add(point)

"""Whether the hub lives, whether it works, and its numbers."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from hub.api.access import scraper
from hub.api.answers import Alive, Ready, answer, described
from hub.api.problems import documented
from hub.api.services import Hub
from hub.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])

_READY = described(Ready)
_READY["responses"][503] = {**_READY["responses"][200], "description": "The line does not work."}
_READY["responses"][503]["content"] = {
    "application/json": {"schema": {"$ref": "#/components/schemas/Ready"}},
}


@router.get("/healthz", summary="Tell that the process lives", **described(Alive))
async def healthz() -> Response:
    """Answers as long as the process runs; restart it when it doesn't."""
    return answer(Alive("alive"))


@router.get("/readyz", summary="Tell whether the line works", **_READY)
async def readyz(hub: Hub) -> Response:
    """Each part with its state and what that means. 503 when a part is down that the line needs."""
    parts = list(hub.health())
    ready = not any(part.required and part.state == "down" for part in parts)
    return answer(Ready(ready, parts), 200 if ready else 503)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    dependencies=[Depends(scraper)],
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format 0.0.4.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **documented(401),
    },
)
async def metrics(hub: Hub) -> Response:
    """From this machine without a token, from elsewhere or through a proxy with one. No patient data."""
    return Response(hub.metrics.render(), media_type=CONTENT_TYPE)

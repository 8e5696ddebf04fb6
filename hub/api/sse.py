"""A response of server-sent events that ends with the client, the token or the hub."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)


class EventStream(Response):
    """Sends frames as they come. `on_end` is called however it ends."""

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncIterator[bytes],
        *,
        allowed: Callable[[], bool],
        on_end: Callable[[], None],
        patience_s: float = 30.0,
    ) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._allowed = allowed
        self._on_end = on_end
        self._patience_s = patience_s

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the frames end, the client leaves or takes nothing for `patience_s`."""
        try:
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(_disconnected(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                leaving.cancel()
                results = await asyncio.gather(sending, leaving, return_exceptions=True)
        finally:
            self._on_end()
        for result in results:
            if isinstance(result, TimeoutError):
                log.info(
                    "a client of a stream took nothing for %s s: its connection is closed", self._patience_s
                )
            elif isinstance(result, Exception):
                raise result

    async def _send(self, send: Send) -> None:
        start: dict[str, Any] = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        async for chunk in self._frames:
            if not self._allowed():
                break
            async with asyncio.timeout(self._patience_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        async with asyncio.timeout(self._patience_s):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

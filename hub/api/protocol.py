"""HTTP as the hub's server speaks it: parsed in C, with an end to how long a head may be."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

Answer = Callable[[int, Iterable[tuple[bytes, bytes]], bytes], Awaitable[None]]
"""Takes status, headers (with content-length) and body of an answer; the headers must be the hub's own."""
_ANSWER: Final = "hub.answer"

MOST_HEAD_BYTES: Final = 64 * 1024
"""Of a request's line and headers, or of what follows a body in chunks, and what one read brings beyond it.

The parser itself keeps whatever comes, from anybody.
"""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _unfinished_bytes = 0
    """Came since the parser last told of a request, of the end of its head, or of a part of its body."""

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the head is too long already."""
        if self._unfinished_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The head of this request is too long.")
            return
        self._unfinished_bytes += len(data)
        super().data_received(data)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Take up a request, and offer `whole_answer`."""
        cycle.scope["extensions"] = {_ANSWER: {"send": partial(_answer, cycle)}}
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """Take a request's beginning."""
        self._unfinished_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take the end of its head."""
        self._unfinished_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of its body."""
        self._unfinished_bytes = 0
        super().on_body(body)


def whole_answer(scope: Scope) -> Answer | None:
    """Return how a request may be answered in one piece; None where the server has no such way.

    ASGI has two messages for an answer, and each would be a system call that wakes whoever reads.
    """
    found: Answer | None = scope.get("extensions", {}).get(_ANSWER, {}).get("send")
    return found


async def _answer(
    cycle: RequestResponseCycle, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> None:
    """Do what RequestResponseCycle.send does with an answer's two messages."""
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    content = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        content += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        content.append(b"connection: close\r\n")
    content += (b"\r\n", body)
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join(content))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()

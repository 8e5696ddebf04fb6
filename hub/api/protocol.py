"""HTTP as the hub's server speaks it: parsed in C, with an end to how long a head may be."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

Answer = Callable[[int, Iterable[tuple[bytes, bytes]], bytes], Awaitable[None]]
"""Takes status, headers (with content-length) and body of an answer; the headers must be the hub's own."""

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


def whole_answer(send: Send) -> Answer | None:
    """Return how a request may be answered in one piece; None where `send` is not the server's own.

    ASGI has two messages for an answer, and each would be a system call that wakes whoever reads.
    """
    cycle = getattr(send, "__self__", None)
    return partial(_answer, cycle) if isinstance(cycle, RequestResponseCycle) else None


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

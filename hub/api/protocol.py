"""HTTP as the hub's server speaks it: parsed in C, with an end to how long a head may be."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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

"""Serving the API with uvicorn, and ending its streams before uvicorn waits for them."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from hub.api.certificate import CertificateUnusable, examine, now, server_context
from hub.api.protocol import Protocol
from hub.live import Live
from hub.stream import Stream

log = logging.getLogger(__name__)


class CannotServe(Exception):  # noqa: N818 - a state, told to whoever starts the hub
    """The address can't be listened on, or the certificate can't be used; the message says what to change."""


class _Uvicorn(uvicorn.Server):
    """Closes the streams when it shuts down, and leaves signals to the hub."""

    def __init__(self, config: uvicorn.Config, stream: Stream, live: Live, grace_s: float) -> None:
        super().__init__(config)
        self._stream = stream
        self._live = live
        self._grace_s = grace_s
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every stream, then every connection."""
        self._stream.close()
        self._live.waves.close()
        aborting = asyncio.get_running_loop().call_later(self._grace_s, self._abort)
        await super().shutdown(sockets)
        aborting.cancel()

    def _abort(self) -> None:
        """Cut off clients that take nothing: else their connections stay open for minutes."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class ApiServer:
    """The API on one address. Once it stops, clients have `grace_s` to take what they are owed."""

    def __init__(
        self,
        api: FastAPI,
        stream: Stream,
        live: Live,
        *,
        host: str,
        port: int,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        grace_s: int = 5,
    ) -> None:
        self._host = host
        self._port = port
        config = uvicorn.Config(
            api,
            http=Protocol,
            access_log=False,  # paths name patients
            log_config=None,
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # who asks is who connects: see api.access.scraper
            timeout_graceful_shutdown=grace_s + 5,  # the last resort, after _abort
            ssl_context_factory=None
            if cert_file is None or key_file is None
            else lambda *_: _tls(cert_file, key_file),
        )
        self._server = _Uvicorn(config, stream, live, grace_s)
        self._serving: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Listen. Raises CannotServe."""
        if not self._server.config.loaded:
            try:
                self._server.config.load()
            except CertificateUnusable as error:
                raise CannotServe(str(error)) from error
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._port), family=family, backlog=2048)
        except OSError as error:
            raise CannotServe(
                f"can't listen on {self._host}:{self._port} ({error.strerror}): set http.host to an address"
                " of this machine and http.port to a free port"
            ) from error
        self._serving = asyncio.create_task(self._server.serve([self._socket]), name="api")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._serving.done():
            await self._serving

    async def stop(self) -> None:
        """End the streams, let running requests finish for a while, close."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._serving = None

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for."""
        if self._socket is None:
            return self._port
        address: Sequence[int] = self._socket.getsockname()
        return address[1]


def _tls(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    remark = examine(cert_file, key_file).remark(now())
    if remark is not None:
        log.warning("%s", remark)
    return server_context(cert_file, key_file)

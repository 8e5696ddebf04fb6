"""A TCP proxy that makes a network bad on purpose: slow, narrow, sliced, dead or cut."""

import asyncio
import contextlib
import logging
import random
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from device_sims.errors import BrokerError, InputError

log = logging.getLogger(__name__)

_CHUNK = 16 << 10
_CHUNKS = 64
"""Chunks on their way in one direction: 1 MiB, then the sender is held up as on a real line."""
_BACKLOG = 1024
"""Connections that wait to be accepted: all devices may come back at once."""
_HANG_UP = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST."""


@dataclass
class Weather:
    """What the network is like now; may be changed at any time."""

    latency_s: float = 0.0
    """How long each byte takes, one way."""
    jitter_s: float = 0.0
    """Up to so much more by chance; bytes never overtake each other."""
    bandwidth: float | None = None
    """Bytes a second of each connection in each direction."""
    slice_bytes: int | None = None
    """The most that arrives at once: packets come apart anywhere."""


class FaultProxy:
    """Listens, and passes each connection on to one target. Bounded memory; ends with its context."""

    def __init__(self, target: tuple[str, int], listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.weather = Weather()
        self._target = target
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._through = asyncio.Event()
        self._through.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        """Connections so far."""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise RuntimeError("the proxy is not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._accept, *self._listen, backlog=_BACKLOG)
        except OSError as error:
            host, port = self._listen
            raise InputError(f"--listen {host}:{port}: {error.strerror}; choose another port") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def empty(self, seconds: float) -> None:
        """Wait until no connection is open, so long at most."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def reset(self, share: float = 1.0) -> int:
        """Cut a random share of the connections with RST; return how many sockets that were."""
        cut = 0
        for writer in list(self._writers):
            if random.random() < share:  # noqa: S311  chance, not a secret
                _hang_up(writer)
                cut += 1
        return cut

    def black_hole(self, *, on: bool) -> None:
        """Let nothing through while connections stay open, or go on."""
        if on:
            self._through.clear()
        else:
            self._through.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("asyncio calls this in a task")
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._pass_on(reader, writer)
        except asyncio.CancelledError:
            pass  # this proxy ends; asyncio's streams take a cancelled task for an error (Python 3.11)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward = await asyncio.open_connection(*self._target)
        except OSError:
            _hang_up(writer)
            return
        self._writers.add(onward)
        ways = [asyncio.create_task(self._carry(*way)) for way in ((reader, onward), (onward_reader, writer))]
        try:
            await asyncio.wait(ways)  # one side may still talk when the other has ended
        finally:
            self._writers.discard(onward)
            onward.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction: what is read waits its time in a bounded queue and is written in order."""
        loop = asyncio.get_running_loop()
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS)

        async def read() -> None:
            data = b"-"
            while data:
                try:
                    data = await reader.read(_CHUNK)
                except OSError:
                    data = b""
                late = self.weather.jitter_s * random.random()  # noqa: S311
                await line.put((loop.time() + self.weather.latency_s + late, data))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, data = await line.get()
                await asyncio.sleep(due - loop.time())
                await self._through.wait()
                if not data:
                    break
                await self._write(writer, data)
        except OSError:
            writer.transport.abort()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        size = self.weather.slice_bytes or len(data)
        for at in range(0, len(data), size):
            part = data[at : at + size]
            writer.write(part)
            await writer.drain()
            if self.weather.bandwidth:
                await asyncio.sleep(len(part) / self.weather.bandwidth)
            elif self.weather.slice_bytes:
                await asyncio.sleep(0)


def address(option: str, text: str) -> tuple[str, int]:
    """Read HOST:PORT. Raises InputError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InputError(f"{option} {text}: give HOST:PORT")
    return host, int(port)


async def reachable(target: tuple[str, int]) -> None:
    """Check that something listens. Raises BrokerError."""
    try:
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(*target)
    except (OSError, TimeoutError) as error:
        raise BrokerError(f"nothing listens at {target[0]}:{target[1]}: {error}; change --to") from None
    writer.close()


def _hang_up(writer: asyncio.StreamWriter) -> None:
    link = writer.get_extra_info("socket")
    if link is not None:
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HANG_UP)
    writer.transport.abort()

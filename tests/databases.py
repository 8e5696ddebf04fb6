"""Starts databases for tests: real ones, on free ports of 127.0.0.1 in folders of their own, ended by pid."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.servers import free_port, wait_for_port

INFLUXD = shutil.which("influxd")
VICTORIA_METRICS = shutil.which("victoria-metrics")


class Server:
    """A database process; `kill` and `start` may be called in turns. Its data stay in between."""

    def __init__(self, port: int, *command: str) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self._process, 20)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(20)
            self._process = None


def influxd(directory: Path, *, auth: bool = False) -> Server:
    """Return an InfluxDB 1.x, not yet started; with `auth` it lets nobody in."""
    if INFLUXD is None:
        pytest.skip("influxd is not on this machine (Debian: influxdb)")
    port, rpc = free_port(), free_port()
    config = directory / "influxdb.conf"
    config.write_text(
        f'reporting-enabled = false\nbind-address = "127.0.0.1:{rpc}"\n'
        f'[meta]\ndir = "{directory}/meta"\n'
        f'[data]\ndir = "{directory}/data"\nwal-dir = "{directory}/wal"\nquery-log-enabled = false\n'
        "[monitor]\nstore-enabled = false\n"
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
        f"auth-enabled = {str(auth).lower()}\n"
    )
    return Server(port, INFLUXD, "-config", str(config))


def victoria_metrics(directory: Path) -> Server:
    """Return a VictoriaMetrics, not yet started."""
    if VICTORIA_METRICS is None:
        pytest.skip("victoria-metrics is not on this machine (Debian: victoria-metrics)")
    port = free_port()
    return Server(
        port,
        VICTORIA_METRICS,
        f"-storageDataPath={directory}/victoria",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",
        "-memory.allowedBytes=256MB",
        "-loggerLevel=ERROR",
    )


class WriteShim:
    """Gives an InfluxDB 1.x before 1.8 the write and delete of 2.x; all else goes through as it is."""

    def __init__(self, target: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._target = target
        self._runner: web.AppRunner
        self._session: aiohttp.ClientSession

    async def start(self) -> None:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request: web.Request) -> web.Response:
        path, query = request.path, dict(request.query)
        if path == "/api/v2/write":
            path, query = "/write", {"db": query["bucket"], "precision": query["precision"]}
        headers = {
            name: request.headers[name]
            for name in ("Content-Encoding", "Content-Type")
            if name in request.headers
        }
        try:
            async with self._session.request(
                request.method, self._target + path, params=query, data=await request.read(), headers=headers
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.startswith("X-Influxdb")}
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    headers=kept,
                    content_type=answer.content_type,
                )
        except aiohttp.ClientError:
            return web.Response(status=502)

import asyncio
import contextlib
import socket

import pytest
import uvicorn

from hub.api.protocol import MOST_HEAD_BYTES, Protocol

_READ = 512 * 1024
"""More than one read of a socket brings."""


async def _echo(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = f"{scope['path']} {len(scope['headers'])} {size}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def _served():
    config = uvicorn.Config(_echo, http=Protocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def _answer(port, *parts):
    """Return the answer to what is sent, or what came of it before the server hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = asyncio.create_task(reader.read())
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
    try:
        return await asyncio.wait_for(received, 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


CLOSE = b"Host: hub\r\nConnection: close\r\n"


async def test_requests_are_answered_with_their_bodies():
    async with _served() as port:
        chunked = b"POST /b HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
        assert (await _answer(port, b"GET /a HTTP/1.1\r\n" + CLOSE + b"\r\n")).endswith(b"\r\n\r\n/a 2 0")
        answer = await _answer(port, chunked, *[b"1\r\nx\r\n"] * 50_000, b"0\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n/b 3 50000")


async def test_headers_that_are_long_but_not_too_long_are_taken():
    async with _served() as port:
        long = b"X-Long: " + b"a" * (MOST_HEAD_BYTES - 200) + b"\r\n\r\n"
        answer = await _answer(port, b"GET /a HTTP/1.1\r\n" + CLOSE, long)
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"GET /" + b"a" * 100, b"a" * 1024),
        (b"GET / HTTP/1.1\r\nX-Long: ", b"a" * 1024),
        (b"GET / HTTP/1.1\r\n", b"X-Many: a\r\n" * 100),
        (b"POST / HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-After: a\r\n" * 100),
    ],
    ids=["line", "one header", "many headers", "after the body"],
)
async def test_a_head_without_an_end_is_cut_off(begin, part):
    async with _served() as port:
        answer = await _answer(port, begin, *[part] * (4 * _READ // len(part)))
        # The answer is lost where the client still sends when the server hangs up.
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")

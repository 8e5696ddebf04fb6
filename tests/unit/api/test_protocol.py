import asyncio
import contextlib
import socket

import pytest
import uvicorn

from hub.api.protocol import MOST_HEAD_BYTES, Protocol, whole_answer

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
async def _served(app=_echo):
    config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None)
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


def _without_date(answer):
    return [line for line in answer.split(b"\r\n") if not line.startswith(b"date: ")]


async def _whole(scope, receive, send):
    """Answer in one piece, or in ASGI's two, as the path says."""
    body = b"x" * 300_000
    headers = [(b"x-path", scope["path"].encode()[:2]), (b"content-length", b"%d" % len(body))]
    if scope["path"].endswith("/whole"):
        await whole_answer(send)(200, headers, body)
    else:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("head", [b"HTTP/1.1\r\n" + CLOSE, b"HTTP/1.0\r\nHost: hub\r\n"])
async def test_an_answer_in_one_piece_is_as_one_in_two(head):
    async with _served(_whole) as port:
        whole = await _answer(port, b"GET /a/whole " + head + b"\r\n")
        parts = await _answer(port, b"GET /a/parts " + head + b"\r\n")
    assert _without_date(whole) == _without_date(parts)
    assert b"date: " in whole
    assert b"connection: close" in whole
    assert len(whole) > 300_000


async def test_a_connection_is_kept_and_what_is_asked_at_once_is_answered_in_turn():
    async with _served(_whole) as port:
        paths = [b"/1/whole", b"/2/parts", b"/3/whole", b"/4/whole"]
        heads = [b"GET " + path + b" HTTP/1.1\r\nHost: hub\r\n\r\n" for path in paths[:-1]]
        answer = await _answer(port, b"".join(heads), b"GET /4/whole HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert [line for line in answer.split(b"\r\n") if line.startswith(b"x-path")] == [
        b"x-path: /1",
        b"x-path: /2",
        b"x-path: /3",
        b"x-path: /4",
    ]
    assert answer.count(b"HTTP/1.1 200") == 4
    assert answer.count(b"connection: close") == 1


async def test_who_hung_up_is_not_answered_and_nothing_fails(caplog):
    entered, hung_up = asyncio.Event(), asyncio.Event()

    async def late(scope, receive, send):
        entered.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        await whole_answer(send)(200, [(b"content-length", b"1")], b"x")
        hung_up.set()

    async with _served(late) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /a HTTP/1.1\r\nHost: hub\r\n\r\n")
        await asyncio.wait_for(entered.wait(), 20)
        writer.close()
        await asyncio.wait_for(hung_up.wait(), 20)
    assert "Exception" not in caplog.text


async def test_elsewhere_there_is_no_way_to_answer_in_one_piece():
    async def send(message):
        raise AssertionError(message)

    assert whole_answer(send) is None
    assert whole_answer([].append) is None

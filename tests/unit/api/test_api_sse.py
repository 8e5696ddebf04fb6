import asyncio

from hub.api.sse import EventStream


async def endless():
    while True:
        yield b"event: x\ndata: {}\n\n"
        await asyncio.sleep(0)


async def never():
    await asyncio.Event().wait()


async def test_a_client_that_takes_nothing_for_too_long_is_let_go(caplog):
    caplog.set_level("INFO")
    ended = []
    response = EventStream(
        endless(), allowed=lambda: True, on_end=lambda: ended.append(True), patience_s=0.05
    )

    async def send(message):
        if message["type"] == "http.response.body":
            await never()

    await response({}, never, send)
    assert ended == [True]
    assert "took nothing" in caplog.text


async def test_a_client_that_leaves_ends_the_stream():
    ended, sent = [], []
    response = EventStream(endless(), allowed=lambda: True, on_end=lambda: ended.append(True))

    async def receive():
        if len(sent) < 5:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await response({}, receive, send)
    assert ended == [True]
    assert "content-length" not in dict(sent[0]["headers"])

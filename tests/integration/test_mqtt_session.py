import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
import uvloop

from hub.model import Message
from hub.mqtt.packets import KEPT_BYTES, connect, publish
from hub.mqtt.session import BrokerAddress, BrokerRefused, BrokerUnreachable, Delivery, Session
from tests.servers import embedded_broker, free_port, mosquitto, password_lines

pytestmark = pytest.mark.integration

TOPIC = "wards/v1/north/icu/monitor-7/observations"
FILTER = "wards/v1/+/+/+/+"


@contextlib.asynccontextmanager
async def any_broker(kind: str, directory: Path) -> AsyncIterator[tuple[BrokerAddress, dict[str, Any]]]:
    """Yield the address of a broker, and what a session needs to know beside it."""
    if kind == "nats":
        async with embedded_broker(directory) as broker:
            yield broker.address, {"before_connect": broker.release_unacknowledged}
    else:
        with mosquitto(directory) as running:
            yield BrokerAddress(url=running.url), {}


both = pytest.mark.parametrize("kind", ["nats", "mosquitto"])


class Hub:
    """A session that keeps what it was given."""

    def __init__(self, broker: BrokerAddress, *, acknowledge: bool = True, **settings: Any) -> None:
        self.messages: list[Message] = []
        self.deliveries: list[Delivery] = []
        self.states: list[tuple[str, str]] = []
        self.acknowledge = acknowledge
        settings = {"client_id": "ward-hub", "filters": [FILTER], **settings}
        self.session = Session(
            broker, deliver=self.take, on_state=lambda *state: self.states.append(state), **settings
        )
        self._task: asyncio.Task[None] | None = None

    def take(self, delivery: Delivery) -> None:
        self.messages += delivery.messages
        self.deliveries.append(delivery)
        if self.acknowledge:
            delivery.acknowledge()

    async def __aenter__(self) -> "Hub":
        self._task = asyncio.create_task(self.session.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def told(self, state: str) -> list[str]:
        return [text for told, text in self.states if told == state]


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def publisher(broker: BrokerAddress, **settings: Any) -> aiomqtt.Client:
    password = broker.password_bytes()
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.user,
        password=password.decode() if password else None,
        tls_context=broker.ssl_context(),
        **settings,
    )


async def publish_all(broker: BrokerAddress, numbers: range, topic: str = TOPIC) -> None:
    async with publisher(broker, max_inflight_messages=100) as client:
        client.pending_calls_threshold = 1000
        for start in range(numbers.start, numbers.stop, 100):
            part = range(start, min(start + 100, numbers.stop))
            await asyncio.gather(*(client.publish(topic, str(number), qos=1) for number in part))


def numbered(numbers: range) -> list[bytes]:
    return [str(number).encode() for number in numbers]


@both
async def test_messages_come_in_the_order_in_which_they_were_published(kind: str, tmp_path: Path) -> None:
    async with any_broker(kind, tmp_path) as (broker, extra), Hub(broker, **extra) as hub:
        await hub.session.wait_connected(10)
        await publish_all(broker, range(2000))
        await until(lambda: len(hub.messages) >= 2000)
        assert hub.payloads == numbered(range(2000))
        assert {message.topic for message in hub.messages} == {TOPIC}
        assert hub.session.acknowledged == hub.session.received == 2000
        assert hub.session.bytes_received > 2000 * len(TOPIC)


@both
async def test_paho_is_heard_with_retained_empty_and_large_messages(kind: str, tmp_path: Path) -> None:
    async with any_broker(kind, tmp_path) as (broker, extra):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "monitor-7")
        user, password = broker.user, broker.password_bytes()
        if user and password:
            client.username_pw_set(user, password.decode())
        client.connect(broker.host, broker.port)
        client.loop_start()
        sent = [b"", b"\xff\xfe", b"x" * 900_000]
        for payload in sent:
            client.publish(TOPIC, payload, qos=1)
        client.publish(TOPIC[:-12] + "status", b"kept", qos=1, retain=True).wait_for_publish(10)
        async with Hub(broker, **extra) as hub:
            await until(lambda: b"kept" in hub.payloads)
            assert [m.retained for m in hub.messages if m.payload == b"kept"] == [True]
            for payload in sent:
                client.publish(TOPIC, payload, qos=1)
            await until(lambda: len(hub.messages) >= 4)
            assert [payload for payload in hub.payloads if payload != b"kept"] == sent
        await asyncio.to_thread(client.disconnect)
        await asyncio.to_thread(client.loop_stop)


async def test_of_a_message_that_is_too_large_the_beginning_comes_and_it_is_acknowledged(
    tmp_path: Path,
) -> None:
    large = bytes(range(256)) * 12_000
    async with any_broker("mosquitto", tmp_path) as (broker, extra):
        async with Hub(broker, **extra) as hub:
            await hub.session.wait_connected(10)
            async with publisher(broker, timeout=30) as client:
                for payload in (b"before", large, b"after"):
                    await client.publish(TOPIC, payload, qos=1)
            await until(lambda: len(hub.messages) == 3)
            assert hub.payloads == [b"before", large[:KEPT_BYTES], b"after"]
            assert [message.full_size for message in hub.messages] == [0, len(large), 0]
            assert hub.session.bytes_received > len(large)
            assert hub.session.acknowledged == 3
            assert not hub.told("disconnected")
        await publish_all(broker, range(1))
        async with Hub(broker, session_expected=True, **extra) as again:
            await until(lambda: bool(again.messages))
            assert again.payloads == numbered(range(1)), "what is too large does not come for ever"


@both
async def test_what_was_not_acknowledged_comes_again_to_a_new_session_in_order(
    kind: str, tmp_path: Path
) -> None:
    async with any_broker(kind, tmp_path) as (broker, extra):
        async with Hub(broker, acknowledge=False, max_batch=10, **extra) as first:
            await first.session.wait_connected(10)
            await publish_all(broker, range(300))
            await until(lambda: len(first.messages) == 300)
            kept = 0
            for delivery in first.deliveries[: len(first.deliveries) // 2]:
                delivery.acknowledge()
                delivery.acknowledge()
                kept += len(delivery.messages)
            assert 0 < kept < 300
            assert first.session.acknowledged == kept
            # The acknowledgements are with the broker when an answer to something later is.
            await publish_all(broker, range(300, 301))
            await until(lambda: len(first.messages) == 301)
        first.deliveries[-1].acknowledge()
        assert (first.session.acknowledged, first.session.stale_acks) == (kept, 1)

        await publish_all(broker, range(301, 310))
        async with Hub(broker, session_expected=True, **extra) as second:
            await until(lambda: len(second.messages) >= 310 - kept)
            assert second.payloads == numbered(range(kept, 310))
            assert second.messages[0].duplicate
            assert not second.messages[-1].duplicate
            assert not second.told("session-lost")


class Proxy:
    """Stands between a session and its broker, and cuts the wire."""

    def __init__(self, target: BrokerAddress) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pipe = asyncio.create_task(self._pipe(source, sink))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    @staticmethod
    async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.transport.abort()


@both
async def test_nothing_is_lost_over_twenty_reconnects(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.mqtt.session._LONGEST_DELAY_S", 0.2)
    rng = random.Random(7)
    async with any_broker(kind, tmp_path) as (broker, extra), Proxy(broker) as proxy:
        through = broker.model_copy(update={"url": broker.url.replace(f":{broker.port}", f":{proxy.port}")})
        async with Hub(through, max_batch=50, **extra) as hub:
            await hub.session.wait_connected(10)
            published = 0
            for cut in range(1, 21):
                more = range(published, published + 150)
                sending = asyncio.create_task(publish_all(broker, more))
                published = more.stop
                await asyncio.sleep(rng.uniform(0, 0.05))
                proxy.cut()
                await sending
                await until(lambda cuts=cut: hub.session.reconnects == cuts and hub.session.connected)
            await until(lambda: len(set(hub.payloads)) == published)
            assert set(hub.payloads) == set(numbered(range(published)))
            assert not hub.told("session-lost")


@both
async def test_a_paused_session_keeps_its_connection_and_goes_on_where_it_was(
    kind: str, tmp_path: Path
) -> None:
    async with any_broker(kind, tmp_path) as (broker, extra):
        hurried = broker.model_copy(update={"keepalive_s": 2})
        async with Hub(hurried, max_batch=20, **extra) as hub:
            await hub.session.wait_connected(10)
            hub.session.pause()
            await publish_all(broker, range(500))
            # A broker ends a connection after 1.5 keep-alives without a word.
            await asyncio.sleep(5)
            assert hub.session.connected
            assert hub.session.paused_s
            assert hub.messages == []

            hub.session.resume()
            await until(lambda: len(hub.messages) == 500)
            assert hub.payloads == numbered(range(500))
            assert hub.session.reconnects == 0


async def test_pausing_within_a_delivery_leaves_the_rest_in_the_buffer(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as running:
        broker = BrokerAddress(url=running.url)
        hub = Hub(broker, max_batch=5)

        def take(delivery: Delivery) -> None:
            Hub.take(hub, delivery)
            hub.session.pause()

        hub.session._deliver = take
        async with hub:
            await hub.session.wait_connected(10)
            await publish_all(broker, range(20))
            for number in range(1, 21):
                if len(hub.messages) >= 20:
                    break
                await until(lambda: hub.session.paused_s)
                assert len(hub.messages) <= 5 * number
                hub.session.resume()
            await until(lambda: len(hub.messages) == 20)
            assert hub.payloads == numbered(range(20))


async def test_a_session_that_is_paused_connects_all_the_same_and_delivers_nothing(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as running:
        broker = BrokerAddress(url=running.url)
        async with Hub(broker) as hub:
            await hub.session.wait_connected(10)
        await publish_all(broker, range(50))
        hub = Hub(broker)
        hub.session.pause()
        async with hub:
            await until(lambda: hub.session.connected)
            await asyncio.sleep(0.2)
            assert hub.messages == []
            hub.session.resume()
            await until(lambda: len(hub.messages) == 50)


@both
@pytest.mark.parametrize(
    "claim",
    [
        test_messages_come_in_the_order_in_which_they_were_published,
        test_what_was_not_acknowledged_comes_again_to_a_new_session_in_order,
        test_a_paused_session_keeps_its_connection_and_goes_on_where_it_was,
    ],
)
def test_all_is_the_same_on_uvloop(
    claim: Callable[[str, Path], Coroutine[Any, Any, None]], kind: str, tmp_path: Path
) -> None:
    uvloop.run(claim(kind, tmp_path))


@both
async def test_a_client_id_that_another_hub_uses_is_recognised(kind: str, tmp_path: Path) -> None:
    async with any_broker(kind, tmp_path) as (broker, _), Hub(broker) as first:
        await first.session.wait_connected(10)
        async with Hub(broker) as second:
            await until(lambda: bool(first.told("kicked") or second.told("kicked")))
            (text,) = set(first.told("kicked") + second.told("kicked"))
            assert text == "client id 'ward-hub' is used by another hub: give this one its own client_id"


async def test_a_session_that_the_broker_forgot_is_told(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as running:
        async with Hub(BrokerAddress(url=running.url)) as hub:
            await hub.session.wait_connected(10)
            running.kill()
            await until(lambda: not hub.session.connected)
            running.start()
            await hub.session.wait_connected(10)
            assert hub.told("session-lost")
            assert hub.session.state == "connected"
        async with Hub(BrokerAddress(url=running.url), client_id="other", session_expected=True) as other:
            await other.session.wait_connected(10)
            assert other.told("session-lost")


async def test_a_live_lane_of_qos_0_acknowledges_nothing_and_leaves_no_session(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as running:
        broker = BrokerAddress(url=running.url)
        async with Hub(broker, clean_session=True, qos=0, client_id="lane") as hub:
            await hub.session.wait_connected(10)
            await publish_all(broker, range(100))
            await until(lambda: len(hub.messages) == 100)
            assert hub.session.acknowledged == 0
        assert not await Session(
            broker, client_id="lane", filters=[FILTER], deliver=lambda _: None
        ).connect_once()


async def test_what_a_delivery_raises_comes_out_of_run(tmp_path: Path) -> None:
    def fail(_: Delivery) -> None:
        raise LookupError("no such step")

    with mosquitto(tmp_path) as running:
        broker = BrokerAddress(url=running.url)
        session = Session(broker, client_id="c", filters=[FILTER], deliver=fail)
        task = asyncio.create_task(session.run())
        await session.wait_connected(10)
        await publish_all(broker, range(1))
        with pytest.raises(LookupError, match="no such step"):
            await asyncio.wait_for(task, 10)


async def try_once(url: str, **settings: Any) -> bool:
    broker = BrokerAddress(url=url, **settings)
    return await Session(
        broker, client_id="c", filters=[FILTER], deliver=lambda _: None, connect_timeout_s=1
    ).connect_once()


async def test_connecting_once_tells_whether_there_is_a_session(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as running:
        assert not await try_once(running.url)
        assert await try_once(running.url)


async def test_an_address_where_nothing_listens_is_unreachable() -> None:
    with pytest.raises(BrokerUnreachable, match="nothing listens there: start the broker or correct the url"):
        await try_once(f"mqtt://127.0.0.1:{free_port()}")


async def test_a_host_that_is_not_known_is_unreachable() -> None:
    with pytest.raises(BrokerUnreachable, match="host name isn't known"):
        await try_once("mqtt://no-such-host.invalid")


@pytest.mark.parametrize(
    ("user", "password", "says"),
    [
        ("hub", "wrong", "doesn't let user 'hub' in"),
        (None, None, "doesn't let a client without user name in"),
    ],
)
async def test_a_wrong_password_is_refused_and_tried_again_slowly(
    user: str | None, password: str | None, says: str, tmp_path: Path
) -> None:
    with mosquitto(tmp_path, *password_lines(tmp_path, "hub", "right")) as running:
        at = f"mqtt://hub@127.0.0.1:{running.port}"
        assert not await try_once(at, password="right")
        url = at if user else running.url
        with pytest.raises(BrokerRefused, match=says):
            await try_once(url, password=password)
        async with Hub(BrokerAddress(url=url, password=password)) as hub:
            await until(lambda: bool(hub.told("refused")))
            await asyncio.sleep(1)
            assert len(hub.told("refused")) == 1
            assert says in hub.session.state_text


async def test_a_filter_that_the_broker_refuses_is_named(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path) as broker:
        # In flight of all filters together: at most 65,535, and the broker was told of one filter alone.
        filters = [f"{letter}/+" for letter in "abcd"]
        session = Session(broker.address, client_id="c", filters=filters, deliver=lambda _: None)
        with pytest.raises(BrokerRefused, match=r"refuses the filters \['d/\+'\].*max_ack_pending"):
            await session.connect_once()


@pytest.mark.parametrize("answer", ["random", "silence", "http", "endless", "publish"])
async def test_a_server_that_is_no_broker_is_a_clear_error_and_keeps_memory_bounded(answer: str) -> None:
    rng = random.Random(3)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(OSError):
            if answer == "http":
                writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            elif answer == "publish":
                writer.write(b"\x30\x05\x00\x01axx")
            elif answer == "endless":
                # Accepted, and then a packet that never ends.
                writer.write(b"\x20\x02\x00\x00\x90\xff\xff\xff\x7f")
            while answer in ("random", "endless"):
                writer.write(rng.randbytes(100_000))
                await writer.drain()
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Hub(BrokerAddress(url=f"mqtt://127.0.0.1:{port}"), connect_timeout_s=0.3) as hub:
        await until(lambda: connections >= 3)
        await until(lambda: bool(hub.told("disconnected")))
        expected = {
            "silence": "sent no CONNACK",
            "publish": "PUBLISH before CONNACK",
            "endless": "max_packet_bytes is 2097152",
        }
        assert expected.get(answer, "sent what isn't MQTT 3.1.1") in hub.session.state_text
        assert str(port) in hub.session.state_text
        assert not hub.session.connected
        assert hub.session.bytes_received < 10_000_000
        assert hub.messages == []
    server.close()
    await server.wait_closed()


async def test_a_broker_that_falls_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = connect("ward-hub", clean_session=False, keepalive_s=2)
        assert await reader.readexactly(len(hello)) == hello
        writer.write(b"\x20\x02\x00\x00\x90\x03\x00\x01\x01")
        while await reader.read(1000):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Hub(BrokerAddress(url=f"mqtt://127.0.0.1:{port}", keepalive_s=2)) as hub:
        await hub.session.wait_connected(10)
        await until(lambda: bool(hub.told("disconnected")))
        assert "is silent" in hub.told("disconnected")[0]
    server.close()
    await server.wait_closed()


async def test_waiting_for_a_connection_that_does_not_come_tells_why() -> None:
    async with Hub(BrokerAddress(url=f"mqtt://127.0.0.1:{free_port()}")) as hub:
        with pytest.raises(TimeoutError, match="nothing listens there"):
            await hub.session.wait_connected(0.5)


def test_a_backlog_lets_everything_else_have_its_turn() -> None:
    count, packet = 20_000, publish("a/b", b"x" * 300)
    buffer_bytes = 64 << 10
    per_turn: Counter[int] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(b"\x20\x02\x00\x00")
        await reader.read(1 << 16)
        writer.write(b"\x90\x03\x00\x01\x00" + packet * count)
        await reader.read()
        writer.close()

    async def main() -> None:
        loop, turn, done = asyncio.get_running_loop(), 0, asyncio.Event()

        def next_turn() -> None:
            nonlocal turn
            turn += 1
            loop.call_soon(next_turn)

        def deliver(delivery: Delivery) -> None:
            per_turn[turn] += len(delivery.messages)
            if sum(per_turn.values()) == count:
                done.set()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            session = Session(
                BrokerAddress(url=url), client_id="s", filters=["a/#"], deliver=deliver,
                clean_session=True, qos=0, buffer_bytes=buffer_bytes,
            )  # fmt: skip
            next_turn()
            running = asyncio.create_task(session.run())
            await asyncio.wait_for(done.wait(), 30)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    uvloop.run(main())
    assert max(per_turn.values()) <= 2 * buffer_bytes / len(packet)

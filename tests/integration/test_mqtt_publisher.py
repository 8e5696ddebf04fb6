import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import pytest

from hub.model import Message
from hub.mqtt.address import BrokerAddress
from hub.mqtt.packets import PINGREQ, PacketReader, Will
from hub.mqtt.publisher import Publisher
from hub.mqtt.topics import TopicError
from tests.servers import embedded_broker, free_port, mosquitto

pytestmark = pytest.mark.integration

STATUS = "wards/v1/north/hub/hub-1/status"


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Listener:
    """Keeps everything that is published."""

    def __init__(self, broker: BrokerAddress) -> None:
        self._broker = broker
        self._ready = asyncio.Event()
        self.got: list[tuple[str, bytes, bool]] = []

    async def _listen(self) -> None:
        password = self._broker.password_bytes()
        async with aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.user,
            password=password.decode() if password else None,
        ) as client:
            await client.subscribe("#", qos=1)
            self._ready.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                self.got.append((message.topic.value, message.payload, message.retain))

    async def __aenter__(self) -> "Listener":
        self._task = asyncio.create_task(self._listen())
        await asyncio.wait_for(self._ready.wait(), 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload, _ in self.got]


@contextlib.asynccontextmanager
async def running(publisher: Publisher) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(publisher.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_published_arrives_in_order_at_the_embedded_broker(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path) as broker, Listener(broker.address) as listener:
        publisher = Publisher(broker.address, client_id="hub-out")
        for number in range(100):
            assert publisher.publish("a/b", str(number).encode())
        async with running(publisher):
            await until(lambda: len(listener.got) >= 100)
        assert listener.payloads == [str(number).encode() for number in range(100)]
        assert (publisher.published, publisher.dropped) == (100, 0)


async def test_a_full_queue_says_so_at_once_and_counts() -> None:
    publisher = Publisher(BrokerAddress(url=f"mqtt://127.0.0.1:{free_port()}"), client_id="c", limit=3)
    assert [publisher.publish("a", b"") for _ in range(5)] == [True, True, True, False, False]
    assert publisher.dropped == 2
    async with running(publisher):
        await asyncio.sleep(0.1)
    assert publisher.dropped == 5, "what was still waiting isn't silently gone"


async def test_a_topic_that_cannot_be_published_to_is_the_callers_fault() -> None:
    publisher = Publisher(BrokerAddress(url="mqtt://127.0.0.1"), client_id="c")
    with pytest.raises(TopicError):
        publisher.publish("a/+", b"")


async def test_what_waits_is_published_when_the_broker_is_back(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        publisher = Publisher(BrokerAddress(url=broker.url), client_id="hub-out")
        async with running(publisher):
            await until(lambda: publisher.connected)
            broker.kill()
            await until(lambda: not publisher.connected)
            for number in range(10):
                publisher.publish("a/b", str(number).encode(), retain=number == 9)
            broker.start()
            await until(lambda: publisher.published == 10)
        async with Listener(BrokerAddress(url=broker.url)) as listener:
            await until(lambda: listener.got == [("a/b", b"9", True)])


@pytest.mark.parametrize("clean", [True, False])
async def test_the_hub_is_online_while_it_runs_and_offline_after(clean: bool, tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        address = BrokerAddress(url=broker.url)
        publisher = Publisher(
            address, client_id="hub-out", will=Will(STATUS, b"offline"), birth=lambda: b"online"
        )
        async with Listener(address) as listener:
            async with running(publisher):
                await until(lambda: listener.got == [(STATUS, b"online", False)])
                if not clean:
                    # Another client with its id pushes the publisher out: it goes without a word.
                    async with aiomqtt.Client(address.host, address.port, identifier="hub-out"):
                        await until(lambda: (STATUS, b"offline", False) in listener.got)
                    await until(lambda: listener.payloads[-1] == b"online" and len(listener.got) > 2)
            await until(lambda: listener.payloads[-1] == b"offline")
        async with Listener(address) as later:
            await until(lambda: later.got == [(STATUS, b"offline", True)])


async def test_a_message_that_the_broker_does_not_take_blocks_the_others_for_three_attempts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.mqtt.publisher._PUBACK_S", 0.5)
    with mosquitto(tmp_path, "allow_anonymous true", "message_size_limit 1000") as broker:
        address = BrokerAddress(url=broker.url)
        publisher = Publisher(address, client_id="hub-out")
        async with Listener(address) as listener, running(publisher):
            publisher.publish("a", b"x" * 2000)
            publisher.publish("b", b"small")
            await until(lambda: b"small" in listener.payloads)
            assert listener.payloads == [b"small"]


async def test_only_the_message_that_the_broker_does_not_take_is_given_up_among_many_on_their_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.mqtt.publisher._PUBACK_S", 0.5)
    with mosquitto(tmp_path, "allow_anonymous true", "message_size_limit 1000") as broker:
        address = BrokerAddress(url=broker.url)
        publisher = Publisher(address, client_id="hub-out")
        for number in range(60):
            publisher.publish("a", b"x" * 2000 if number == 40 else str(number).encode())
        async with Listener(address) as listener, running(publisher):
            await until(lambda: b"59" in listener.payloads)
        kept = [number for number in range(60) if number != 40]
        assert list(dict.fromkeys(listener.payloads)) == [str(number).encode() for number in kept]


async def test_many_messages_are_on_their_way_at_once_and_no_more() -> None:
    arrived: list[Message] = []

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be a broker that lets a client in and acknowledges nothing."""
        await reader.read(1 << 16)
        writer.write(b"\x20\x02\x00\x00")
        packets = PacketReader()
        while data := await reader.read(1 << 16):
            data = data.replace(PINGREQ, b"")  # which no client has to understand
            arrived.extend(packet for packet in packets.feed(data) if isinstance(packet, Message))
        writer.close()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        publisher = Publisher(BrokerAddress(url=f"mqtt://127.0.0.1:{port}"), client_id="hub-out")
        for number in range(700):
            publisher.publish("a", str(number).encode())
        async with running(publisher):
            await until(lambda: len(arrived) >= 500)
            publisher.publish("a", b"later")
            await asyncio.sleep(0.1)
            assert [one.payload for one in arrived] == [str(number).encode() for number in range(500)]
            assert publisher.published == 0


@pytest.mark.parametrize("lets_in", [False, True])
async def test_a_publisher_that_waits_for_the_broker_ends_when_it_is_cancelled(lets_in: bool) -> None:
    heard = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        if lets_in:
            writer.write(b"\x20\x02\x00\x00")
            await reader.read(1 << 16)
        heard.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        publisher = Publisher(BrokerAddress(url=f"mqtt://127.0.0.1:{port}"), client_id="hub-out")
        publisher.publish("a/b", b"1")
        task = asyncio.create_task(publisher.run())
        await heard.wait()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=10)
        assert done == {task}
        assert task.cancelled()
    assert publisher.dropped == 1

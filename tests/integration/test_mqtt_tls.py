import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest
import uvloop

from hub.mqtt.address import BrokerAddress, BrokerRefused, BrokerUnreachable
from hub.mqtt.broker_settings import BrokerTls
from hub.mqtt.session import Delivery, Session
from tests.certificates import Authority
from tests.servers import embedded_broker, mosquitto

pytestmark = pytest.mark.integration

TOPIC = "wards/v1/north/icu/monitor-7/observations"
both = pytest.mark.parametrize("kind", ["nats", "mosquitto"])


@contextlib.asynccontextmanager
async def tls_broker(kind: str, directory: Path, authority: Authority) -> AsyncIterator[BrokerAddress]:
    """Run a broker that lets only clients in that the authority signed."""
    cert_file, key_file = authority.sign("localhost")
    hub_cert, hub_key = authority.sign("ward-hub")
    if kind == "nats":
        tls = BrokerTls(
            cert_file=cert_file,
            key_file=key_file,
            ca_file=authority.file,
            verify_clients=True,
            hub_cert_file=hub_cert,
            hub_key_file=hub_key,
        )
        async with embedded_broker(directory, tls=tls) as broker:
            assert broker.url == f"mqtts://localhost:{broker.port}"
            yield broker.address
        return
    lines = (
        "allow_anonymous true",
        f"cafile {authority.file}",
        f"certfile {cert_file}",
        f"keyfile {key_file}",
        "require_certificate true",
    )
    with mosquitto(directory, *lines) as running:
        yield BrokerAddress(
            url=f"mqtts://localhost:{running.port}",
            ca_file=authority.file,
            cert_file=hub_cert,
            key_file=hub_key,
        )


async def messages_cross(kind: str, directory: Path) -> None:
    authority = Authority(directory)
    async with tls_broker(kind, directory, authority) as broker:
        got: list[bytes] = []
        done = asyncio.Event()

        def take(delivery: Delivery) -> None:
            got.extend(message.payload for message in delivery.messages)
            delivery.acknowledge()
            if len(got) >= 300:
                done.set()

        session = Session(broker, client_id="ward-hub", filters=["wards/v1/+/+/+/+"], deliver=take)
        task = asyncio.create_task(session.run())
        await session.wait_connected(10)
        password = broker.password_bytes()
        async with aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.user,
            password=password.decode() if password else None,
            tls_context=broker.ssl_context(),
        ) as client:
            session.pause()
            for number in range(300):
                await client.publish(TOPIC, str(number).encode() * 500, qos=1)
            session.resume()
            await asyncio.wait_for(done.wait(), 20)
        assert got == [str(number).encode() * 500 for number in range(300)]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@both
async def test_messages_cross_a_connection_with_tls_and_client_certificates(
    kind: str, tmp_path: Path
) -> None:
    await messages_cross(kind, tmp_path)


@both
def test_messages_cross_tls_on_uvloop(kind: str, tmp_path: Path) -> None:
    uvloop.run(messages_cross(kind, tmp_path))


async def connect_once(broker: BrokerAddress) -> None:
    await Session(
        broker, client_id="c", filters=["a/b"], deliver=lambda _: None, connect_timeout_s=3
    ).connect_once()


@both
async def test_a_broker_that_our_authority_did_not_sign_is_not_trusted(kind: str, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    async with tls_broker(kind, tmp_path, Authority(tmp_path)) as broker:
        wrong = broker.model_copy(update={"ca_file": Authority(stranger).file})
        with pytest.raises(BrokerUnreachable, match=r"certificate that isn't trusted .* set ca_file"):
            await connect_once(wrong)
        elsewhere = broker.model_copy(update={"url": broker.url.replace("localhost", "127.0.0.1")})
        with pytest.raises(BrokerUnreachable, match="use the name in the certificate"):
            await connect_once(elsewhere)


@both
async def test_a_client_without_a_certificate_is_told_what_to_give(kind: str, tmp_path: Path) -> None:
    async with tls_broker(kind, tmp_path, Authority(tmp_path)) as broker:
        bare = broker.model_copy(update={"cert_file": None, "key_file": None})
        with pytest.raises(BrokerUnreachable, match="cert_file"):
            await connect_once(bare)


async def test_tls_at_a_port_without_it_and_the_reverse_are_told(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as running, pytest.raises(BrokerUnreachable):
        await connect_once(BrokerAddress(url=f"mqtts://localhost:{running.port}"))
    async with tls_broker("mosquitto", tmp_path, Authority(tmp_path)) as broker:
        with pytest.raises(BrokerUnreachable, match=r"check that this is the port of an MQTT 3.1.1 broker"):
            await connect_once(BrokerAddress(url=f"mqtt://localhost:{broker.port}"))


async def test_a_key_with_a_passphrase_is_named_and_nobody_is_asked(tmp_path: Path) -> None:
    cert_file, key_file = Authority(tmp_path).sign("ward-hub")
    key_file.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    address = BrokerAddress(url="mqtts://localhost", cert_file=cert_file, key_file=key_file)
    with pytest.raises(BrokerRefused, match=r"key_file .* without a passphrase"):
        address.ssl_context()

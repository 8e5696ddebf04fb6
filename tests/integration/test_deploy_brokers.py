"""The broker configurations of compose.yaml, taken by real brokers; only ports and folders are other ones."""

import os
import queue
import shutil
import subprocess
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from hub.mqtt.broker import find_binary
from tests.servers import MOSQUITTO, free_port, wait_for_port

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"


class Listening:
    """A broker that runs, and how to come in."""

    def __init__(self, port: int, secrets: Path) -> None:
        self.port = port
        self.secrets = secrets

    def client(self, user: str | None, password: str | None, subscribe: str | None = None):
        """Connect over TLS; return the client, what CONNACK said, and a queue of what arrives."""
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"test-{os.urandom(4).hex()}")
        said: queue.Queue = queue.Queue()
        arrived: queue.Queue = queue.Queue()
        client.tls_set(str(self.secrets / "ca_cert"))
        if user is not None:
            client.username_pw_set(user, password)
        client.on_connect = lambda _client, _data, _flags, reason, _properties: said.put(reason)
        client.on_subscribe = lambda *_: said.put("subscribed")
        client.on_message = lambda _client, _data, message: arrived.put((message.topic, message.payload))
        client.connect("localhost", self.port)
        client.loop_start()
        reason = said.get(timeout=10)
        if subscribe is not None and not reason.is_failure:
            client.subscribe(subscribe, qos=1)
            assert said.get(timeout=10) == "subscribed"
        return client, reason, arrived

    def password(self, user: str) -> str:
        return (self.secrets / f"broker_{user}_password").read_text().strip()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copy(DEPLOY / "make_secrets.sh", folder)
    subprocess.run(["sh", folder / "make_secrets.sh"], check=True, stdout=subprocess.DEVNULL)
    users = folder / "secrets" / "broker_users.conf"
    lines = users.read_text().replace(
        "    # A device:",
        '    { user: mon-1, password: "device password", permissions: {\n'
        '        publish: { allow: "wards.v1.*.*.mon-1.>" },\n'
        '        subscribe: { allow: ["wards.v1.*.*.mon-1.>", "$MQTT.sub.>"] } } }\n'
        "    # A device:",
    )
    users.write_text(lines)
    passwords = folder / "secrets" / "mosquitto_passwords"
    for user, password in (
        ("hub", (folder / "secrets" / "broker_hub_password").read_text().strip()),
        ("simulators", (folder / "secrets" / "broker_simulators_password").read_text().strip()),
        ("mon-1", "device password"),
    ):
        command = [shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd", "-b", passwords]
        subprocess.run([*command, user, password], check=True, capture_output=True)
    return folder / "secrets"


def run(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
    except RuntimeError:
        process.kill()
        process.wait()
        raise
    return process


@pytest.fixture(scope="module")
def nats(secrets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nats")
    port = free_port()
    text = (DEPLOY / "nats.conf").read_text()
    text = text.replace("port: 8883", f"port: {port}").replace("port: 4222", f"port: {free_port()}")
    text = text.replace("http: 127.0.0.1:8222", f"http: 127.0.0.1:{free_port()}")
    text = text.replace("/run/secrets", str(secrets)).replace("/data/jetstream", str(folder / "jetstream"))
    (folder / "nats.conf").write_text(text)
    shutil.copy(secrets / "broker_users.conf", folder)
    process = run([str(find_binary()), "--config", str(folder / "nats.conf")], port)
    yield Listening(port, secrets)
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def mosquitto(secrets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosquitto")
    port = free_port()
    text = (DEPLOY / "mosquitto.conf").read_text()
    text = text.replace("listener 8883", f"user root\nlistener {port}").replace("/run/secrets", str(secrets))
    text = text.replace("/mosquitto/data", str(folder)).replace("/mosquitto/config", str(DEPLOY))
    (folder / "mosquitto.conf").write_text(text)
    process = run([MOSQUITTO, "-c", str(folder / "mosquitto.conf")], port)
    yield Listening(port, secrets)
    process.terminate()
    process.wait(20)


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request):
    return request.getfixturevalue(request.param)


def test_nobody_comes_in_without_a_password(broker):
    for user, password in ((None, None), ("hub", "wrong"), ("stranger", "password")):
        client, reason, _ = broker.client(user, password)
        client.loop_stop()
        assert reason.is_failure


def test_the_hub_hears_every_device(broker):
    hub, reason, arrived = broker.client("hub", broker.password("hub"), "wards/v1/#")
    assert not reason.is_failure
    sims, reason, _ = broker.client("simulators", broker.password("simulators"))
    assert not reason.is_failure
    sims.publish("wards/v1/main/icu/mon-7/observations", b"{}", qos=1).wait_for_publish(10)
    assert arrived.get(timeout=10) == ("wards/v1/main/icu/mon-7/observations", b"{}")
    for client in (hub, sims):
        client.disconnect()
        client.loop_stop()


def test_a_device_reaches_its_own_topics_alone(broker):
    hub, _, arrived = broker.client("hub", broker.password("hub"), "wards/v1/#")
    device, reason, told = broker.client("mon-1", "device password", "wards/v1/main/icu/mon-1/diagnostics")
    assert not reason.is_failure
    forger, _, _ = broker.client("mon-1", "device password")
    forger.publish("wards/v1/main/icu/mon-2/observations", b"forged", qos=0)
    device.publish("wards/v1/main/icu/mon-1/observations", b"own", qos=1)
    assert arrived.get(timeout=10) == ("wards/v1/main/icu/mon-1/observations", b"own")
    hub.publish("wards/v1/main/icu/mon-1/diagnostics", b"rejected", qos=1)
    assert told.get(timeout=10) == ("wards/v1/main/icu/mon-1/diagnostics", b"rejected")
    while not arrived.empty():
        assert arrived.get()[1] != b"forged"
    for client in (hub, device, forger):
        client.disconnect()
        client.loop_stop()

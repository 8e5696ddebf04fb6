from pathlib import Path

import pytest

from hub.finding import Finding
from hub.mqtt.address import BrokerAddress
from hub.mqtt.probe import probe_broker
from tests.servers import embedded_broker, free_port, mosquitto

pytestmark = pytest.mark.integration


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject.removeprefix("broker: "): finding for finding in findings}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.mqtt.probe._QUIET_S", 1.0)


async def test_the_embedded_broker_keeps_all_promises(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path) as broker:
        findings = await probe_broker(broker.address, before_connect=broker.release_unacknowledged)
        assert [finding.level for finding in findings] == ["ok"] * 6, findings
        # Nothing stays behind: the same again finds the same.
        again = await probe_broker(broker.address, messages=100, before_connect=broker.release_unacknowledged)
        assert all(finding.ok for finding in again), again


async def test_mosquitto_without_limits_keeps_all_promises_short_of_a_kill(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as running:
        findings = by_subject(await probe_broker(BrokerAddress(url=running.url)))
        assert all(finding.ok for finding in findings.values()), findings
        assert "restart of the broker" in findings["session"].means


async def test_the_defaults_of_mosquitto_drop_4000_of_5000_and_the_probe_says_so(tmp_path: Path) -> None:
    with mosquitto(tmp_path, "allow_anonymous true") as running:
        findings = by_subject(await probe_broker(BrokerAddress(url=running.url)))
        assert findings["queue"].level == "error"
        assert "4000 were acknowledged to the publisher and dropped" in findings["queue"].found
        assert "max_queued_messages" in findings["queue"].change
        assert findings["in flight"].level == "warning"
        assert findings["in flight"].found.startswith("20 messages")
        assert findings["redelivery"].ok


async def test_nats_server_without_the_release_of_unacknowledged_messages_is_told(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path) as broker:
        findings = by_subject(await probe_broker(broker.address, messages=100))
        assert findings["redelivery"].level == "warning"
        assert "ack_wait" in findings["redelivery"].change
        assert findings["queue"].ok


async def test_a_broker_that_cannot_be_had_is_one_finding() -> None:
    (finding,) = await probe_broker(BrokerAddress(url=f"mqtt://127.0.0.1:{free_port()}"))
    assert finding.level == "error"
    assert "nothing listens there" in finding.found

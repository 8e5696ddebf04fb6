import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hub.mqtt.address import BrokerAddress, BrokerRefused


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "tls", "shown"),
    [
        ("mqtt://broker", "broker", 1883, None, False, "mqtt://broker:1883"),
        ("mqtts://broker.example/", "broker.example", 8883, None, True, "mqtts://broker.example:8883"),
        ("mqtt://hub@10.0.0.7:1884", "10.0.0.7", 1884, "hub", False, "mqtt://10.0.0.7:1884"),
        ("mqtt://ward%20hub@[::1]:99", "::1", 99, "ward hub", False, "mqtt://[::1]:99"),
    ],
)
def test_an_address_is_read_from_its_url(
    url: str, host: str, port: int, user: str | None, tls: bool, shown: str
) -> None:
    address = BrokerAddress(url=url)
    assert (address.host, address.port, address.user, address.tls) == (host, port, user, tls)
    assert str(address) == shown


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": "tcp://broker"}, "start the url with mqtt://"),
        ({"url": "broker:1883"}, "start the url with mqtt://"),
        ({"url": "mqtt://hub:geheim@broker"}, "take the password out of the url"),
        ({"url": "mqtt://:1883"}, "name the host"),
        ({"url": "mqtt://broker:0"}, "port from 1 to 65535"),
        ({"url": "mqtt://broker:99999"}, "port from 1 to 65535"),
        ({"url": "mqtt://broker/topic"}, "end the url after the port"),
        ({"url": "mqtt://broker", "password": "x"}, "a password needs a user"),
        ({"url": "mqtt://h@b", "password": "x", "password_file": __file__}, "not both"),
        ({"url": "mqtt://broker", "ca_file": __file__}, "mqtts://"),
        ({"url": "mqtts://broker", "cert_file": __file__}, "go together"),
        ({"url": "mqtts://broker", "ca_file": "/nowhere/ca.pem"}, "does not point to a file"),
        ({"url": "mqtt://broker", "keepalive_s": 1}, "greater than or equal to 2"),
    ],
)
def test_a_bad_address_says_what_to_change(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        BrokerAddress.model_validate(settings)


def test_a_password_shows_nowhere() -> None:
    address = BrokerAddress(url="mqtt://hub@broker", password="geheim")
    assert "geheim" not in f"{address} {address!r} {address.model_dump()}"
    assert address.password_bytes() == b"geheim"
    with pytest.raises(ValidationError) as error:
        BrokerAddress(url="mqtt://hub:geheim@broker")
    assert "geheim" not in str(error.value)


def test_a_password_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("ge heim\n")
    file.chmod(0o600)
    address = BrokerAddress(url="mqtt://hub@broker", password_file=file)
    assert address.password_bytes() == b"ge heim"
    file.unlink()
    with pytest.raises(BrokerRefused, match="password_file"):
        address.password_bytes()


def test_a_password_file_that_others_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "password"
    file.write_text("geheim")
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        BrokerAddress(url="mqtt://hub@broker", password_file=file)
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
def test_a_file_that_holds_no_certificate_is_named(name: str) -> None:
    settings = {"url": "mqtts://broker", name: __file__}
    if name == "cert_file":
        settings["key_file"] = __file__
    address = BrokerAddress.model_validate(settings)
    with pytest.raises(BrokerRefused, match=f"^{name} "):
        address.ssl_context()


def test_tls_is_1_2_or_newer_and_the_certificate_is_checked() -> None:
    assert BrokerAddress(url="mqtt://broker").ssl_context() is None
    context = BrokerAddress(url="mqtts://broker").ssl_context()
    assert context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED

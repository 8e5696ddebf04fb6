from pathlib import Path

import pytest

from device_sims.errors import InputError
from device_sims.target import parse_target


def test_the_port_follows_from_the_scheme() -> None:
    assert parse_target("mqtt://ward").port == 1883
    assert parse_target("mqtts://ward").port == 8883
    assert parse_target("127.0.0.1:1884").port == 1884


def test_a_login_may_stand_in_the_url_and_is_never_shown() -> None:
    target = parse_target("mqtt://me:p%40ss@ward:1883")
    assert (target.username, target.password) == ("me", "p@ss")
    assert target.address == "mqtt://ward:1883"


def test_a_password_file_ends_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert parse_target("mqtt://ward", "me", file).password == "secret"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://ward:1883", "scheme"),
        ("mqtt://:1883", "no host"),
        ("mqtt://ward:port", "HOST:PORT"),
        ("mqtt://ward:70000", "HOST:PORT"),
        ("mqtt://ward:1883/topic", "nothing may follow"),
    ],
)
def test_a_wrong_address_is_told_with_what_to_give(url: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_target(url)


def test_a_password_needs_a_user_and_its_file_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with pytest.raises(InputError, match="can't be read"):
        parse_target("mqtt://ward", "me", file)
    file.write_text("secret")
    with pytest.raises(InputError, match="--username"):
        parse_target("mqtt://ward", None, file)
    with pytest.raises(InputError, match="mqtts"):
        parse_target("mqtt://ward", ca_file=file)
    with pytest.raises(InputError, match="PEM"):
        parse_target("mqtts://ward", ca_file=file)

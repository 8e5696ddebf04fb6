import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.mqtt.broker_settings import (
    BrokerSettings,
    BrokerUser,
    configuration,
    consumer_max_ack_pending,
    max_ack_pending,
)
from hub.mqtt.topics import NATIVE_FILTER

HASH = "$2a$04$" + "a" * 53


def configured(**settings: Any) -> dict[str, Any]:
    given_ = BrokerSettings.model_validate({"data_dir": Path("/data"), **settings})
    config = configuration(given_, port=1, client_port=2, hub_user="hub", hub_password="secret")
    return json.loads(json.dumps(config))


@given(st.lists(st.sampled_from(["a/+", "a/b", "b/#", NATIVE_FILTER]), max_size=31, unique=True))
def test_the_messages_in_flight_of_all_filters_fit_in_one_session(filters: list[str]) -> None:
    whole = max_ack_pending(filters)
    assert 1024 <= whole <= 16_384
    consumers = {text: 2 if text.endswith("/#") else 1 for text in filters}
    assert whole * sum(consumers.values()) <= 65_535
    shares = consumer_max_ack_pending(filters)
    assert sum(shares[text] * count for text, count in consumers.items()) <= whole
    assert all(share > 0 for share in shares.values())


def test_too_many_filters_are_refused_with_their_number() -> None:
    with pytest.raises(ValidationError, match=r"32 filters leave 1023 .* at most 63"):
        BrokerSettings(data_dir=Path("/data"), filters=tuple(f"{n}/#" for n in range(32)))


def test_without_users_everyone_may_connect_but_not_reach_the_administration() -> None:
    config = configured()
    users = {user["user"]: user for user in config["authorization"]["users"]}
    assert "permissions" not in users["hub"]
    assert "$JS.>" in users[config["mqtt"]["no_auth_user"]]["permissions"]["publish"]["deny"]
    assert config["host"] == "127.0.0.1"


def test_with_users_nobody_else_may_connect_and_a_device_reaches_its_own_topics_alone() -> None:
    config = configured(users=[{"name": "p7", "password_hash": HASH, "device": "pump-7"}])
    assert "no_auth_user" not in config["mqtt"]
    users = {user["user"]: user for user in config["authorization"]["users"]}
    assert set(users) == {"hub", "p7"}
    assert users["p7"]["permissions"]["publish"] == {"allow": ["wards.v1.*.*.pump-7.>"]}


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"name": "p", "password_hash": "plain"}, "password_hash"),
        ({"name": "p", "password_hash": HASH, "device": "a.>"}, "1 to 64 of the characters"),
        ({"name": "p", "password_hash": HASH, "device": "*"}, "1 to 64 of the characters"),
        ({"name": "", "password_hash": HASH}, "name"),
    ],
)
def test_a_user_that_could_reach_too_much_is_refused(user: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        BrokerUser.model_validate(user)


def test_sync_interval_is_a_duration_or_always() -> None:
    assert configured(sync_interval="always")["jetstream"]["sync_interval"] == "always"
    with pytest.raises(ValidationError, match="sync_interval"):
        BrokerSettings(data_dir=Path("/data"), sync_interval="often")


def test_a_listener_with_tls_takes_1_2_or_newer_and_can_ask_for_certificates() -> None:
    files = {"cert_file": __file__, "key_file": __file__, "ca_file": __file__}
    tls = configured(tls={**files, "verify_clients": True})["mqtt"]["tls"]
    assert (tls["min_version"], tls["verify"]) == ("1.2", True)
    assert "tls" not in configured()["mqtt"]

"""What the embedded broker is told, and the configuration of nats-server that follows from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FilePath, field_validator

from hub.mqtt.topics import NATIVE_FILTER, check_filter, is_id

ACK_WAIT_S = 300
"""How long nats-server waits for a PUBACK before it hands a message out again, out of order.

Its own 30 s are too short: a journal on a stuck disk would get everything in flight again and again, and a
busy hub that is slow to acknowledge would be given more work for it. Being long costs little here, because
`JetStream.settle_consumers` releases at once, and in order, what a hub that went away left unacknowledged.
"""
_MOST_IN_FLIGHT = 65_535
"""Packet ids of one session: what `max_ack_pending` of all its subscriptions together may come to."""
_ENOUGH_IN_FLIGHT = 16_384
"""Messages of one subscription in flight: 160 ms at 100,000 messages a second, and eight batches."""
_FEWEST_IN_FLIGHT = 1_024
_MOST_TRAFFIC = (NATIVE_FILTER, "wards/v1/+/+/+/observations")
"""Filters that nearly all of a ward's messages come by."""
_MAX_PENDING_BYTES = 256 << 20
"""What nats-server keeps for a connection that doesn't read. Its own 64 MiB are fewer than what may be in
flight to a paused hub, and it closes a connection that has more."""


class BrokerUser(BaseModel):
    """Someone who may connect with a password."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1, max_length=128)
    password_hash: str = Field(pattern=r"^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$", repr=False)
    """bcrypt."""
    device: str | None = None
    """The device that the user is: `wards/v1/+/+/{device}/#` is all that it reaches. None: all topics."""

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str | None) -> str | None:
        if device is not None and not is_id(device):
            raise ValueError("use 1 to 64 of the characters A-Z a-z 0-9 _ -")
        return device


class BrokerTls(BaseModel):
    """Makes the listener speak TLS 1.2 or newer, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cert_file: FilePath
    """The broker's certificate (PEM); it must be good for `server_name`."""
    key_file: FilePath
    ca_file: FilePath
    """Who signed the broker's certificate, and the clients' where those are asked for one."""
    server_name: str = "localhost"
    """Host name by which the hub itself reaches the broker."""
    verify_clients: bool = False
    """Let only clients in that show a certificate signed by `ca_file`."""
    hub_cert_file: FilePath | None = None
    """The hub's own client certificate; needed with `verify_clients`."""
    hub_key_file: FilePath | None = None


class BrokerSettings(BaseModel):
    """What the embedded broker is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data_dir: Path
    """Everything that the broker keeps; the hub that uses it holds a lock there."""
    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=0, le=65_535)
    """0: a free one."""
    filters: tuple[str, ...] = (NATIVE_FILTER,)
    """What the hub will subscribe to: the messages in flight are shared out among these."""
    max_store_bytes: int = Field(default=10 << 30, ge=1 << 20)
    """Disk for what the hub hasn't acknowledged yet. When it is full, publishers get no PUBACK."""
    max_payload_bytes: int = Field(default=1 << 20, ge=1 << 10, le=1_900_000)
    """Below `Session.max_packet_bytes`, so that no message can block the line."""
    max_connections: int = Field(default=20_000, ge=1)
    sync_interval: str = Field(default="2m", pattern=r"^(always|\d+(ms|s|m|h))$")
    """How often JetStream calls fsync: what a loss of power may cost. `always`: nothing, about 5,000
    messages/s."""
    tls: BrokerTls | None = None
    users: tuple[BrokerUser, ...] = ()
    """Where there are none, everyone who reaches the port may connect."""

    @field_validator("filters")
    @classmethod
    def _check_filters(cls, filters: tuple[str, ...]) -> tuple[str, ...]:
        for text in filters:
            check_filter(text)
        max_ack_pending(filters)
        return filters


def max_ack_pending(filters: Sequence[str]) -> int:
    """Return how many messages a session of these filters may have in flight, all subscriptions together.

    nats-server takes the number for a subscription as well, and refuses the one that makes the sum exceed
    65,535. It makes two consumers of `a/#` (for `a` and for `a/...`), so that one counts double.
    Raises ValueError where the filters are too many.
    """
    consumers = _consumers(filters)
    number = min(_MOST_IN_FLIGHT // consumers, _ENOUGH_IN_FLIGHT)
    if number < _FEWEST_IN_FLIGHT:
        raise ValueError(
            f"{len(filters)} filters leave {number} messages in flight to each: take filters together,"
            f" at most {_MOST_IN_FLIGHT // _FEWEST_IN_FLIGHT} (half as many that end in #)"
        )
    return number


def consumer_max_ack_pending(filters: Sequence[str]) -> dict[str, int]:
    """Return how many of the session's messages each filter's consumers may have in flight.

    Together they stay within `max_ack_pending`. nats-server's consumers don't know of each other: what one
    of them hands out when the session has no room is not sent, and comes again only when `ACK_WAIT_S` has
    passed. So many observations in flight would hold up another channel's alarm for five minutes. The
    observations of the native format, which are most of what comes, get half.
    """
    whole = max_ack_pending(filters)
    others = [text for text in filters if text not in _MOST_TRAFFIC]
    if len(others) == len(filters):
        return dict.fromkeys(filters, whole // _consumers(filters))
    half = whole // 2 if others else whole
    most = half // (len(filters) - len(others))
    rest = half // _consumers(others)
    return {text: most if text in _MOST_TRAFFIC else rest for text in filters}


def _consumers(filters: Sequence[str]) -> int:
    return sum(2 if text.endswith("/#") else 1 for text in filters) or 1


def configuration(
    settings: BrokerSettings, *, port: int, client_port: int, hub_user: str, hub_password: str
) -> dict[str, Any]:
    """Return the configuration of nats-server, which reads JSON."""
    mqtt: dict[str, Any] = {
        "host": settings.host,
        "port": port,
        "ack_wait": f"{ACK_WAIT_S}s",
        "max_ack_pending": max_ack_pending(settings.filters),
        # nats-server closes a device's connection when its own JetStream takes longer than this (5 s by
        # default), which on an overloaded machine turns slowness into a storm of reconnects.
        "js_api_timeout": "30s",
        # A session that nobody came back to for three days keeps no messages from being removed any more.
        "consumer_inactive_threshold": "72h",
    }
    if settings.tls:
        mqtt["tls"] = {
            "cert_file": str(settings.tls.cert_file),
            "key_file": str(settings.tls.key_file),
            "ca_file": str(settings.tls.ca_file),
            "verify": settings.tls.verify_clients,
            "min_version": "1.2",
        }
    users: list[dict[str, Any]] = [{"user": hub_user, "password": hub_password}]
    if settings.users:
        users += [_user(user) for user in settings.users]
    else:
        users.append({"user": "anyone", "password": hub_password, "permissions": _permissions(None)})
        mqtt["no_auth_user"] = "anyone"
    return {
        "server_name": "wardhub",
        # The client port is for the hub's own administration; MQTT clients can't use it.
        "host": "127.0.0.1",
        "port": client_port,
        "max_connections": settings.max_connections,
        "max_payload": settings.max_payload_bytes,
        "max_pending": _MAX_PENDING_BYTES,
        # A paused hub doesn't read for as long as its disk is stuck. Whoever is really gone is found by the
        # keep-alive instead.
        "write_deadline": "24h",
        "jetstream": {
            "store_dir": str(settings.data_dir / "jetstream"),
            "max_file_store": settings.max_store_bytes,
            "max_memory_store": 64 << 20,
            "sync_interval": settings.sync_interval,
        },
        "mqtt": mqtt,
        "authorization": {"users": users},
        "logfile": str(settings.data_dir / "nats-server.log"),
        "logfile_size_limit": 10 << 20,
        "logfile_max_num": 3,
    }


def _user(user: BrokerUser) -> dict[str, Any]:
    return {"user": user.name, "password": user.password_hash, "permissions": _permissions(user.device)}


def _permissions(device: str | None) -> dict[str, dict[Literal["allow", "deny"], list[str]]]:
    if device is not None:
        own = f"wards.v1.*.*.{device}.>"
        # Messages of QoS 1 come to a session through subjects of its own under $MQTT.sub.
        return {"publish": {"allow": [own]}, "subscribe": {"allow": [own, "$MQTT.sub.>"]}}
    # $JS/API/... would be the administration of JetStream, to be reached by publishing.
    return {
        "publish": {"deny": ["$JS.>", "$SYS.>", "$MQTT.>"]},
        "subscribe": {"deny": ["$JS.>", "$SYS.>", "_INBOX.>"]},
    }

"""What the embedded broker needs of JetStream's own protocol, where MQTT and the configuration don't reach.

nats-server hands an unacknowledged message out again when `ack_wait` has passed, not when its session comes
back. After a crash of the hub that would hide the newest readings for all that time, and bring them out of
order. Shortening `ack_wait` of a session's consumer for a moment, while nobody is subscribed, puts all of
them at the front of the queue, in order. Protocol: docs.nats.io, "NATS Protocol" and "JetStream wire API".
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

_STREAM = "$MQTT_msgs"
_INBOX = "_INBOX.wardhub"
_SHORT_NS = 1_000_000
_SETTLE_S = 0.3
"""nats-server looks at what is due 100 ms after `ack_wait` was changed."""
_MAX_REPLY_BYTES = 8 << 20
_LEVELS = {"+": "*", "#": ">", "": "/"}
_AT_ONCE = 256
"""Requests that are under way at the same time."""


def subjects_of(filters: Iterable[str]) -> set[str]:
    """Return the subjects of the consumers that nats-server makes for these MQTT filters."""
    subjects: set[str] = set()
    for text in filters:
        levels = [_LEVELS.get(level, level.replace(".", "//")) for level in text.split("/")]
        subjects.add(".".join(["$MQTT.msgs", *levels]))
        if levels[-1] == ">" and len(levels) > 1:
            subjects.add(".".join(["$MQTT.msgs", *levels[:-1]]))
    return subjects


class JetStreamError(Exception):
    """JetStream didn't do what was asked; the text holds its reason."""


class JetStream:
    """A connection to the client port of the embedded broker, for administration.

    `async with` connects; all methods may raise OSError, TimeoutError or JetStreamError.
    """

    def __init__(self, host: str, port: int, *, user: str, password: str, timeout_s: float = 5.0) -> None:
        self._host = host
        self._port = port
        self._login = {"user": user, "pass": password}
        self._timeout_s = timeout_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self._timeout_s):
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
            await self._reader.readline()
            options = {"verbose": False, "pedantic": False, "name": "wardhub", **self._login}
            self._writer.write(f"CONNECT {json.dumps(options)}\r\nSUB {_INBOX} 1\r\n".encode())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    async def bound_messages(self, max_bytes: int) -> None:
        """Bound what is kept for sessions, below the bound of the whole store.

        The session records are in the same store, and nobody can connect when they can't be written: a hub
        that was away while the store ran full could never come back and empty it.
        """
        config = self._checked(await self._ask(f"STREAM.INFO.{_STREAM}", {}))["config"]
        # Refuse what is new, which then isn't acknowledged, instead of dropping what is old and was.
        wanted = {"max_bytes": max_bytes, "discard": "new"}
        if {**config, **wanted} != config:
            self._checked(await self._ask(f"STREAM.UPDATE.{_STREAM}", {**config, **wanted}))

    async def settle_consumers(
        self, max_ack_pending: Callable[[str], int | None], *, ack_wait_ns: int
    ) -> int:
        """Release what sessions that are away left unacknowledged, and bring consumers to these settings.

        `max_ack_pending` says by its subject how many messages a consumer may have in flight, and None for
        one that isn't meant: devices that are away have some too, and thousands of them would take seconds.
        Returns how many messages are released.

        Consumers keep the settings that they were made with, across restarts of the broker too, so changed
        settings must be carried to them; so must a crash between the two steps below be mended.
        """
        released = 0
        short: list[dict[str, Any]] = []
        settled: list[dict[str, Any]] = []
        for consumer in await self._consumers():
            config = consumer["config"]
            in_flight = max_ack_pending(config["filter_subject"])
            if in_flight is None:
                continue
            wanted = {"ack_wait": ack_wait_ns, "max_ack_pending": in_flight}
            if consumer["num_ack_pending"] and not consumer.get("push_bound"):
                released += consumer["num_ack_pending"]
                short.append({**config, "ack_wait": _SHORT_NS})
                settled.append({**config, **wanted})
            elif {**config, **wanted} != config:
                settled.append({**config, **wanted})
        await self._update(short)
        if short:
            await asyncio.sleep(_SETTLE_S)
        await self._update(settled)
        return released

    async def _consumers(self) -> list[dict[str, Any]]:
        consumers: list[dict[str, Any]] = []
        while True:
            reply = self._checked(await self._ask(f"CONSUMER.LIST.{_STREAM}", {"offset": len(consumers)}))
            page = reply.get("consumers") or []
            consumers += page
            if not page or len(consumers) >= reply["total"]:
                return consumers

    async def _update(self, configs: list[dict[str, Any]]) -> None:
        # Sent together and answered in any order: that is the same to us.
        for start in range(0, len(configs), _AT_ONCE):
            part = configs[start : start + _AT_ONCE]
            for config in part:
                request = {"stream_name": _STREAM, "config": config, "action": "update"}
                self._send(f"CONSUMER.CREATE.{_STREAM}.{config['name']}", request)
            for _ in part:
                self._checked(await self._reply())

    @staticmethod
    def _checked(reply: dict[str, Any]) -> dict[str, Any]:
        if error := reply.get("error"):
            raise JetStreamError(str(error.get("description", error)))
        return reply

    async def _ask(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        self._send(call, request)
        return await self._reply()

    def _send(self, call: str, request: dict[str, Any]) -> None:
        if not self._writer:
            raise JetStreamError("not connected")
        body = json.dumps(request).encode()
        self._writer.write(f"PUB $JS.API.{call} {_INBOX} {len(body)}\r\n".encode() + body + b"\r\n")

    async def _reply(self) -> dict[str, Any]:
        if not self._reader or not self._writer:
            raise JetStreamError("not connected")
        async with asyncio.timeout(self._timeout_s):
            while True:
                line = await self._reader.readline()
                words = line.split()
                if not words:
                    raise JetStreamError("the broker closed the connection")
                if words[0] == b"MSG" and int(words[-1]) <= _MAX_REPLY_BYTES:
                    reply: dict[str, Any] = json.loads(await self._reader.readexactly(int(words[-1]) + 2))
                    return reply
                if words[0] == b"PING":
                    self._writer.write(b"PONG\r\n")
                elif words[0] == b"-ERR":
                    raise JetStreamError(line.decode(errors="replace").strip())

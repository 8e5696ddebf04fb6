"""A recording sent again as the device that made it.

It publishes with paho-mqtt: recorded patients then reach the hub through an MQTT implementation that is
not the project's own.
"""

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from device_sims.clock import Clock, rfc3339
from device_sims.errors import BrokerError, LostError
from device_sims.recordings import Recording, Value
from device_sims.target import Target

log = logging.getLogger(__name__)

_CONNECT_S = 10.0


@dataclass(frozen=True)
class Device:
    """Where the device stands in the topics."""

    site: str
    area: str
    id: str


class Acknowledgements(Protocol):
    """Where each acknowledged message is written down."""

    def __call__(self, device: str, time: str | int, seq: int, values: dict[str, Value]) -> None:
        """Take one message that the broker acknowledged; called from the network thread."""


@dataclass(frozen=True)
class Outcome:
    """What became of one replay."""

    device: str
    published: int
    acknowledged: int
    reconnects: int
    behind_s: float
    """The most that a row was sent after its time."""


@dataclass(frozen=True)
class Sent:
    """One message as sent."""

    time: str | int
    seq: int
    values: dict[str, Value]


def message(recording: Recording, row: int, first_ms: int) -> tuple[Sent, bytes]:
    """Render row `row`: what is sent, and its payload."""
    at_ms = first_ms + recording.offsets_ms[row]
    values = recording.rows[row]
    if recording.format == "mimic2":
        sent = Sent(at_ms, row + 1, values)
        body: dict[str, Any] = {"time": sent.time, "seq": sent.seq, **values}
    else:
        sent = Sent(rfc3339(at_ms), row + 1, values)
        body = {"time": sent.time, "seq": sent.seq, "values": values}
        if recording.units:
            body["units"] = recording.units
    return sent, json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


class Replay:
    """One recording, one device, one connection; `run` blocks until all is acknowledged or given up."""

    def __init__(
        self,
        recording: Recording,
        device: Device,
        target: Target,
        clock: Clock,
        *,
        window: int = 200,
        give_up_s: float = 60.0,
        acknowledged: Acknowledgements | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._recording = recording
        self._device = device
        self._target = target
        self._clock = clock
        self._window = window
        self._give_up_s = give_up_s
        self._write_down = acknowledged
        self._progress = progress
        self._native = recording.format == "native"
        if self._native:
            self._topic = f"wards/v1/{device.site}/{device.area}/{device.id}/observations"
            self._status_topic = f"wards/v1/{device.site}/{device.area}/{device.id}/status"
        else:
            self._topic = f"mimic2/v1/{device.site}/{device.id}/numerics"
            self._status_topic = ""
        self._free = threading.Semaphore(window)
        self._lock = threading.Lock()
        self._waiting: dict[int, Sent] = {}
        self._early: set[int] = set()
        self._status_ids: set[int] = set()
        self._acknowledged = 0
        self._published = 0
        self._connects = 0
        self._answer = threading.Event()
        self._refusal: str | None = None
        self._up_at = 0.0
        self._connected = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the replay at its next row; what is in flight is waited for."""
        self._stopped.set()

    def run(self) -> Outcome:
        """Send every row at its time and wait for the acknowledgements.

        Raises BrokerError where the broker can't be reached or refuses the login at the start, LostError
        where the connection stays away for longer than `give_up_s`.
        """
        client = self._client()
        self._connect(client)
        try:
            behind = self._send_all(client)
            self._wait_for_acknowledgements()
            if self._native:
                self._say(client, "offline").wait_for_publish(self._give_up_s)
        finally:
            client.disconnect()
            client.loop_stop()
        return Outcome(
            self._device.id, self._published, self._acknowledged, max(self._connects - 1, 0), round(behind, 3)
        )

    def _client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"replay-{self._device.site}-{self._device.id}"
        )
        client.max_inflight_messages_set(self._window)
        client.reconnect_delay_set(1, 4)
        if self._target.username is not None:
            client.username_pw_set(self._target.username, self._target.password)
        if self._target.tls is not None:
            client.tls_set_context(self._target.tls)
        if self._native:
            client.will_set(self._status_topic, b'{"state":"offline"}', qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _connect(self, client: paho.Client) -> None:
        try:
            client.connect(self._target.host, self._target.port, keepalive=30)
        except ssl.SSLError as error:
            raise BrokerError(
                f"no TLS with {self._target.address}: {error}; give --ca-file or check the port"
            ) from None
        except OSError as error:
            raise BrokerError(
                f"no broker at {self._target.address}: {error.strerror or error}; "
                "start one or change --broker"
            ) from None
        client.loop_start()
        answered = self._answer.wait(_CONNECT_S)
        if answered and self._refusal is None:
            return
        client.disconnect()
        client.loop_stop()
        if not answered:
            raise BrokerError(
                f"{self._target.address} takes connections but answers no MQTT: is it the broker's port?"
            )
        raise BrokerError(
            f"{self._target.address} refuses the connection: {self._refusal}; "
            "check --username and --password-file"
        )

    def _send_all(self, client: paho.Client) -> float:
        speed = self._clock.speed
        first_ms = self._clock.first_ms(time.time_ns() // 1_000_000)
        start = time.monotonic()
        behind = 0.0
        for row, offset_ms in enumerate(self._recording.offsets_ms):
            if speed:
                ahead = start + offset_ms / 1000 / speed - time.monotonic()
                behind = max(behind, -ahead)
                if ahead > 0:
                    self._stopped.wait(ahead)
            if self._stopped.is_set():
                break
            self._take_place()
            sent, payload = message(self._recording, row, first_ms)
            info = client.publish(self._topic, payload, qos=1)
            self._published += 1
            with self._lock:
                if info.mid in self._early:  # acknowledged before publish() had returned
                    self._early.discard(info.mid)
                    self._done(sent)
                else:
                    self._waiting[info.mid] = sent
        return behind

    def _take_place(self) -> None:
        while not self._free.acquire(timeout=1.0):
            self._check_patience()

    def _wait_for_acknowledgements(self) -> None:
        for _ in range(self._window):  # every place free: nothing is in flight any more
            self._take_place()

    def _check_patience(self) -> None:
        away_s = 0.0 if self._connected else time.monotonic() - self._up_at
        if away_s > self._give_up_s:
            raise LostError(
                f"{self._target.address} has been away for {away_s:.0f} s: "
                f"{self._acknowledged} of {len(self._recording.rows)} messages of {self._device.id} were "
                "acknowledged; raise --give-up to wait longer"
            )

    def _done(self, sent: Sent) -> None:
        self._acknowledged += 1
        if self._write_down is not None:
            self._write_down(self._device.id, sent.time, sent.seq, sent.values)
        if self._progress is not None:
            self._progress(1)
        self._free.release()

    def _say(self, client: paho.Client, state: str) -> paho.MQTTMessageInfo:
        body = {"state": state, "model": "replay", "interval": min(self._recording.interval_s, 86400.0)}
        info = client.publish(self._status_topic, json.dumps(body).encode(), qos=1, retain=True)
        self._status_ids.add(info.mid)
        return info

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            self._answer.set()
            return
        self._connects += 1
        self._connected = True
        self._answer.set()
        if self._connects > 1:
            log.info("%s is back at %s", self._device.id, self._target.address)
        if self._native:
            self._say(client, "online")

    def _on_disconnect(self, _client: paho.Client, _data: object, *_details: object) -> None:
        if self._connected:
            self._connected = False
            self._up_at = time.monotonic()
            log.info("%s lost its connection to %s", self._device.id, self._target.address)

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, *_details: object) -> None:
        with self._lock:
            sent = self._waiting.pop(mid, None)
            if sent is not None:
                self._done(sent)
            elif mid in self._status_ids:
                self._status_ids.discard(mid)
            else:
                self._early.add(mid)

"""What every simulated device is: a source of publications, asked once an interval."""

from typing import Any, NamedTuple, Protocol

import msgspec


class Publication(NamedTuple):
    """One MQTT message to be sent."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Device(Protocol):
    """A device without I/O. Times are given: scenario seconds, and the device's clock in epoch ms."""

    id: str
    interval_s: float
    """Seconds between two calls of `tick`."""

    @property
    def will(self) -> Publication | None:
        """What the broker tells when the device goes without a farewell."""

    def birth(self, at_ms: int) -> list[Publication]:
        """Return what is said at each connect."""

    def tick(self, t_s: float, at_ms: int) -> list[Publication]:
        """Return what is measured now. Called in order of time."""

    def farewell(self, at_ms: int) -> list[Publication]:
        """Return what is said before a disconnect that is meant."""


class Native:
    """Topics, status and numbering of a device that speaks the hub's own format."""

    def __init__(self, site: str, area: str, device: str, interval_s: float, model: str) -> None:
        self._root = f"wards/v1/{site}/{area}/{device}"
        self._interval_s = interval_s
        self._model = model
        self._seq = 0

    @property
    def will(self) -> Publication:
        """The last will: offline, retained, without a time as the broker sends it when it notices."""
        return Publication(f"{self._root}/status", b'{"state":"offline"}', 1, retain=True)

    def status(self, at_ms: int, state: str, battery: float | None = None) -> Publication:
        """Tell the device's state, retained."""
        body: dict[str, Any] = {
            "state": state,
            "time": at_ms,
            "model": self._model,
            "interval": self._interval_s,
        }
        if battery is not None:
            body["battery"] = round(battery, 1)
        return Publication(f"{self._root}/status", msgspec.json.encode(body), 1, retain=True)

    def publication(self, channel: str, at_ms: int, body: dict[str, Any], qos: int = 1) -> Publication:
        """Number and time one message of a channel."""
        self._seq += 1
        payload = msgspec.json.encode({"time": at_ms, "seq": self._seq, **body})
        return Publication(f"{self._root}/{channel}", payload, qos)


def psi(kilopascal: float) -> float:
    """Convert a pressure to pounds per square inch."""
    return kilopascal / 6.894757

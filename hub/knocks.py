"""Devices that nobody has registered: what they last sent, and whether a gateway may speak for a device."""

from collections.abc import Callable

from msgspec import Struct

from hub.ward.model import DeviceEntry

MAX_KNOCKS = 1_000
"""Unregistered devices whose last payload is kept; beyond it the one heard least recently is forgotten."""
MAX_PAYLOAD = 4_096
"""Bytes kept of a payload."""
EVERY_NS = 30_000_000_000
"""How often the last payload of one topic is looked at again."""


class Knock(Struct, frozen=True):
    """What an unregistered device last sent."""

    topic: str
    payload: bytes
    """Its beginning, where it is longer than MAX_PAYLOAD."""
    received_ns: int
    gateway: str | None
    """The device that published it, where a payload names the device."""


def why_not(entry: DeviceEntry | None, device: str, gateway: str | None, definition: str) -> str | None:
    """Return why what a gateway says of a device doesn't count; None where it does.

    `entry` is the device's in the registry, `definition` what reads it; several names are joined by `+`.
    """
    if entry is None or not entry.registered:
        return f"the device is not registered under this gateway: {add_command(device, gateway, definition)}"
    if entry.gateway != gateway:
        return "the device is registered under another gateway: change that, or look who publishes here"
    return None


def add_command(device: str, gateway: str | None, definition: str) -> str:
    """Return what to type to register a device."""
    under = f" --gateway {gateway}" if gateway else ""
    # One that knocked is known with what it knocked with; several names are no definition.
    read = f" --definition {definition}" if definition and "+" not in definition else ""
    return f"hub devices add {device}{under}{read}"


class Knocks:
    """Remembers in memory alone: a payload may hold what is a patient's."""

    def __init__(
        self,
        registered: Callable[[str, str], DeviceEntry | None],
        on_new: Callable[[str, str, str, str, str], None],
    ) -> None:
        """`registered` looks up a device; `on_new` is told site, device, definition, area, topic of one."""
        self._registered = registered
        self._on_new = on_new
        self._last: dict[tuple[str, str], Knock] = {}

    def last(self, site: str, device: str) -> Knock | None:
        """Return what a device last sent; None for a registered one and for one that was forgotten."""
        return self._last.get((site, device))

    def heard(self, site: str, device: str, topic: str, payload: bytes, received_ns: int) -> None:
        """Note a payload of a device that the topic names."""
        entry = self._registered(site, device)
        if entry is None or not entry.registered:
            self._keep((site, device), Knock(topic, payload[:MAX_PAYLOAD], received_ns, None))
        else:
            self._last.pop((site, device), None)

    def why_not(self, site: str, device: str, gateway: str | None, definition: str) -> str | None:
        """Return why what a gateway says of a device doesn't count; None where it does."""
        return why_not(self._registered(site, device), device, gateway, definition)

    def unknown(self, site: str, device: str, definition: str, area: str, knock: Knock) -> None:
        """Note a device that a payload names and that is not registered."""
        entry = self._registered(site, device)
        if entry is not None and entry.registered:
            return
        if (site, device) not in self._last:
            self._on_new(site, device, definition, area, knock.topic)
        self._keep((site, device), knock)

    def _keep(self, key: tuple[str, str], knock: Knock) -> None:
        self._last.pop(key, None)
        self._last[key] = knock
        if len(self._last) > MAX_KNOCKS:
            del self._last[next(iter(self._last))]

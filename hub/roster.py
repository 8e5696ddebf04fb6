"""Every device that the hub has heard of, and which topic is whose."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from hub.device import Device
from hub.devices.catalog import Catalog, Route
from hub.devices.decode import Decode

MAX_TOPICS = 200_000
"""Topics remembered; beyond it the memory of topics begins anew."""


class Endpoint:
    """One topic that messages come on: whose it is and how they are decoded."""

    __slots__ = ("decode", "device", "index", "noted_ns", "route")

    def __init__(self, route: Route, device: Device | None, index: int) -> None:
        self.route = route
        self.decode: Decode = route.decode
        self.device = device
        """None where the payload names the device."""
        self.index = index
        """Stands for device and channel in the duplicate window."""
        self.noted_ns = 0
        """When it was last looked whether its device is registered."""


Provisioned = tuple[str, str, float]
"""Area, definition and interval (s) of a device as the registry has it; empty and 0 where it hasn't."""


class TooManyDevices(Exception):  # noqa: N818 - a state of the hub, told as a rejection
    """More devices than the hub is set to know; nothing of the new one is kept but its rejection."""


class Roster:
    """The devices and topics that the line knows. Bounded: a flood of made-up devices can't fill memory."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        max_devices: int,
        provisioned: Callable[[str, str], Provisioned],
        on_new: Callable[[Device, str], None],
    ) -> None:
        self._catalog = catalog
        self._provisioned = provisioned
        self._max_devices = max_devices
        self._on_new = on_new
        self._devices: dict[tuple[str, str], Device] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._indices: dict[tuple[str, str, str], int] = {}
        self._next_index = count()

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def known(self) -> Sequence[Device]:
        """Return the devices as they are now, safe against changes meanwhile."""
        return list(self._devices.values())

    def endpoint(self, topic: str) -> Endpoint | None:
        """Return what is known of a topic, or None where no definition takes it."""
        endpoint = self._endpoints.get(topic)
        if endpoint is None:
            route = self._catalog.resolve(topic)
            if route is None:
                return None
            device = None if route.device is None else self.device(route.site, route.device, route, topic)
            endpoint = Endpoint(route, device, self.index(route.site, route.device or topic, route.channel))
            if len(self._endpoints) >= MAX_TOPICS:
                self._endpoints.clear()
            self._endpoints[topic] = endpoint
        return endpoint

    def explain(self, topic: str) -> str:
        """Return why no definition takes a topic."""
        return self._catalog.explain(topic)

    def device(self, site: str, device_id: str, route: Route, topic: str) -> Device:
        """Return the record of a device, made at its first message. Raises TooManyDevices."""
        device = self.recall(site, device_id)
        if device is None:
            raise TooManyDevices
        if not (device.definition and device.area):
            device.definition, device.area = route.definition, route.area
            device.interval_s = device.interval_s or route.interval_s or 1.0
            self._on_new(device, topic)
        return device

    def recall(self, site: str, device_id: str) -> Device | None:
        """Return the record of a device that an earlier run knew; None when there are too many."""
        device = self._devices.get((site, device_id))
        if device is None and len(self._devices) < self._max_devices:
            area, definition, interval_s = self._provisioned(site, device_id)
            device = self._devices[(site, device_id)] = Device(site, device_id, area, definition, interval_s)
        return device

    def find(self, site: str, device_id: str) -> Device | None:
        """Return a device that is known, or None."""
        return self._devices.get((site, device_id))

    def index(self, site: str, device_id: str, channel: str) -> int:
        """Return a number for device and channel that no other gets.

        It stays the same for as long as the hub runs, unless more than MAX_TOPICS made-up channels come: then
        all begin anew, and what is redelivered just then is kept once by the stores instead.
        """
        key = site, device_id, channel
        index = self._indices.get(key)
        if index is None:
            if len(self._indices) >= MAX_TOPICS:
                self._indices.clear()
                self._endpoints.clear()
            index = self._indices[key] = next(self._next_index)
        return index

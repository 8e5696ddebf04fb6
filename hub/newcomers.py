"""Devices that are heard for the first time, on their way into the registry. The line never waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hub.device import Device
from hub.ward.model import RegistryUnavailable

MOST = 10_000
"""Devices that wait; one beyond them is entered when it is heard after the hub's next start."""
_AT_ONCE = 500
"""In one transaction: a hospital's ten thousand devices all come within the first seconds."""
_RETRY_S = 2.0

Knocked = tuple[str, str, str, str, str]
"""Site, device, definition, area, topic."""


class Newcomers:
    """Enters devices into the registry, many at once, until it takes them."""

    def __init__(
        self,
        knock_all: Callable[[Sequence[Knocked]], Awaitable[object]],
        is_canary: Callable[[Device], bool],
    ) -> None:
        """`knock_all` enters them, or raises RegistryUnavailable; a canary is the hub's own and nobody's."""
        self._knock_all = knock_all
        self._is_canary = is_canary
        self._waiting: asyncio.Queue[Knocked] = asyncio.Queue(MOST)

    @property
    def waiting(self) -> int:
        """How many wait to be entered."""
        return self._waiting.qsize()

    def heard(self, device: Device, topic: str) -> None:
        """Take a device that has just been heard for the first time."""
        if not self._is_canary(device) and not self._waiting.full():
            self._waiting.put_nowait((device.site, device.id, device.definition, device.area, topic))

    def named(self, site: str, device: str, definition: str, area: str, topic: str) -> None:
        """Take a device of which a gateway told."""
        self.heard(Device(site, device, area, definition, 0.0), topic)

    async def run(self) -> None:
        """Enter them until cancelled."""
        while True:
            knocked = [await self._waiting.get()]
            while len(knocked) < _AT_ONCE and not self._waiting.empty():
                knocked.append(self._waiting.get_nowait())
            while True:
                try:
                    await self._knock_all(knocked)
                    break
                except RegistryUnavailable:
                    await asyncio.sleep(_RETRY_S)

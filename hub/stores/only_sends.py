"""A store that takes readings and gives none back: each way to read is refused."""

# ruff: noqa: ARG002 - the methods are Store's

from collections.abc import Sequence

from hub.model import Reading, Waveform, ZoneChange
from hub.stores.store import StoreRefused, Total, TrendPoint


class OnlySends:
    """The reading half of a Store, refused."""

    name: str

    async def readings(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Refuse: this store only sends."""
        raise self._only_sends()

    async def site_readings(
        self, site: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Refuse: this store only sends."""
        raise self._only_sends()

    async def newest(
        self,
        site: str,
        device: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        parameters: Sequence[str] = (),
    ) -> list[Reading]:
        """Refuse: this store only sends."""
        raise self._only_sends()

    async def trend(
        self, site: str, device: str, parameter: str, start_ns: int, end_ns: int, points: int
    ) -> list[TrendPoint]:
        """Refuse: this store only sends."""
        raise self._only_sends()

    async def totals(self, site: str, device: str) -> dict[str, Total]:
        """Refuse: this store only sends."""
        raise self._only_sends()

    async def waveforms(
        self, site: str, device: str, waveform: str, start_ns: int, end_ns: int
    ) -> list[Waveform]:
        """Refuse: this store only sends."""
        raise self._only_sends()

    async def zone_changes(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int
    ) -> list[ZoneChange]:
        """Refuse: this store only sends."""
        raise self._only_sends()

    def _only_sends(self) -> StoreRefused:
        return StoreRefused(f"{self.name} only sends: name a store that keeps readings first")

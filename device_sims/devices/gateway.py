"""Bluetooth gateways in rooms, and the beacons that they hear."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from device_sims.clock import rfc3339
from device_sims.devices.device import Native, Publication
from device_sims.noise import normal, seed_of, smooth, uniform

_NEAR_DBM = -52
_NEXT_ROOM_DBM = -84
_NOISE_DB = 4.0
"""Standard deviation of each strength, beside a fading that lasts for seconds: usual indoors."""


class Beacon(NamedTuple):
    """A beacon and the way it takes."""

    mac: str
    """Twelve hexadecimal digits."""
    room: Callable[[float], str]
    """The room it is in at a time of the scenario; an empty text where no gateway hears it."""


class Gateway:
    """A gateway in one room: sightings in the hub's own format or as a Minew gateway's array."""

    def __init__(
        self,
        site: str,
        area: str,
        device: str,
        room: str,
        beacons: list[Beacon],
        *,
        seed: int = 0,
        minew: bool = False,
    ) -> None:
        self.id = device
        self.interval_s = 2.0
        self._native = Native(site, area, device, self.interval_s, "sim-gateway")
        self._room = room
        self._beacons = beacons
        self._minew = minew
        self._seed = seed_of(seed, device)
        self._mac = f"AC233F{self._seed & 0xFFFFFF:06X}"

    @property
    def will(self) -> Publication | None:
        """The last will; a Minew gateway has none."""
        return None if self._minew else self._native.will

    def birth(self, at_ms: int) -> list[Publication]:
        """Tell that it is online."""
        return [] if self._minew else [self._native.status(at_ms, "online")]

    def farewell(self, at_ms: int) -> list[Publication]:
        """Tell that it is switched off."""
        return [] if self._minew else [self._native.status(at_ms, "offline")]

    def tick(self, t_s: float, at_ms: int) -> list[Publication]:
        """Report the beacons heard: of the room, now and then of the next. Where none is: that it lives."""
        heard = [(beacon.mac, self._rssi(beacon, t_s)) for beacon in self._beacons]
        known = [(mac, rssi) for mac, rssi in heard if rssi is not None]
        if self._minew:
            return [self._array(known, at_ms)]
        if not known:
            return [self._native.status(at_ms, "online")]
        sightings = [{"beacon": mac, "rssi": rssi, "tx_power": -59} for mac, rssi in known]
        return [self._native.publication("sightings", at_ms, {"sightings": sightings})]

    def _rssi(self, beacon: Beacon, t_s: float) -> int | None:
        seed = seed_of(self._seed, beacon.mac)
        fading = 6 * smooth(seed, t_s, 5) + _NOISE_DB * normal(seed, round(1000 * t_s))
        room = beacon.room(t_s)
        if not room:
            return None
        if room == self._room:
            return round(_NEAR_DBM + fading)
        return round(_NEXT_ROOM_DBM + fading) if uniform(seed, int(t_s)) < 0.2 else None

    def _array(self, heard: list[tuple[str, int]], at_ms: int) -> Publication:
        clock = rfc3339(at_ms)
        records: list[dict[str, Any]] = [
            {"timestamp": clock, "type": "Gateway", "mac": self._mac, "gatewayFree": 96, "gatewayLoad": 0.07}
        ]
        records += [
            {
                "timestamp": clock,
                "type": "iBeacon",
                "mac": mac,
                "bleName": "",
                "ibeaconUuid": "E2C56DB5DFFB48D2B060D0F5A71096E0",
                "ibeaconMajor": 0,
                "ibeaconMinor": 0,
                "rssi": rssi,
                "ibeaconTxPower": -59,
                "battery": 90,
            }
            for mac, rssi in heard
        ]
        return Publication(f"/gw/{self._mac.lower()}/status", msgspec.json.encode(records))

"""What follows a reading at once, before any disk: alarm conditions, live values, whereabouts."""

from collections.abc import Callable

from msgspec.structs import replace

from hub.alarms.conditions import Conditions
from hub.device import Device
from hub.devices.decode import Refused
from hub.intake import Taken
from hub.live import Live
from hub.location.whereabouts import Whereabouts
from hub.model import DeviceStatus, Reading
from hub.roster import Roster

TellRejects = Callable[[Device, str, list[Refused]], None]
"""Told of a device that sent something unusable: the device, the topic, what was wrong."""


class Bedside:
    """Lets alarms and live values follow what devices send. Idempotent: what is not news moves nothing."""

    def __init__(
        self,
        *,
        roster: Roster,
        conditions: Conditions,
        live: Live,
        tell_rejects: TellRejects,
        backlog_ns: int,
        whereabouts: Whereabouts | None,
    ) -> None:
        self._roster = roster
        self._conditions = conditions
        self._live = live
        self._tell_rejects = tell_rejects
        self._backlog_ns = backlog_ns
        """Readings older than this are history: they are never alarmed."""
        self._whereabouts = whereabouts

    def follow(self, taken: Taken, broker: str = "") -> None:
        """Let everything follow what was taken from a broker."""
        batch = taken.batch
        self._follow_readings(taken.devices, batch.readings, batch.received_ns, broker)
        for status in batch.statuses:
            self._follow_status(status, broker)
        for alarm in batch.device_alarms:
            raiser = self._roster.find(alarm.site, alarm.device)
            if raiser is not None and alarm.received_ns - alarm.time_ns <= self._backlog_ns:
                self._conditions.device_raised(raiser, alarm, alarm.received_ns)
        for waveform in batch.waveforms:
            self._live.waveform(waveform)
        if batch.sightings:
            # What a gateway hears is all that it ever sends.
            for site, gateway in {(sighting.site, sighting.gateway) for sighting in batch.sightings}:
                self._is_heard(site, gateway, batch.received_ns, broker)
            if self._whereabouts is not None:
                self._whereabouts.take(batch.sightings, batch.received_ns)
        for device, topic, refused in taken.rejecting:
            device.rejected_ns = batch.received_ns
            self._tell_rejects(device, topic, refused)

    def _follow_readings(
        self, devices: list[Device], readings: list[Reading], received_ns: int, broker: str
    ) -> None:
        # The hot path: one loop without a call that isn't needed.
        observe, update, backlog_ns = self._conditions.observe, self._live.update, self._backlog_ns
        for device, reading in zip(devices, readings, strict=True):
            device.broker = broker
            device.received_ns = received_ns
            time_ns, told = reading.time_ns, reading
            if time_ns > device.time_ns:
                device.time_ns = time_ns
            else:
                # Late, or another channel at the same time: only what nothing newer is known of.
                told = news(device, reading)
                if not told.values and not told.exceptions:
                    continue
            if received_ns - time_ns <= backlog_ns:
                observe(device, told, received_ns)
            update(device, told)
            if device.state == "offline" and time_ns > device.state_ns:
                device.state = None  # it lives, whatever its last will said
                self._conditions.technical(device, "device_offline", False, "", received_ns)

    def _is_heard(self, site: str, name: str, received_ns: int, broker: str) -> None:
        device = self._roster.find(site, name)
        if device is not None:
            device.received_ns, device.broker = received_ns, broker

    def _follow_status(self, status: DeviceStatus, broker: str) -> None:
        device = self._roster.find(status.site, status.device)
        if device is None or status.time_ns < device.state_ns:
            return
        device.state, device.state_ns = status.state, status.time_ns
        device.received_ns = status.received_ns
        device.broker = broker
        device.battery = status.battery
        device.interval_s = status.interval_s or device.interval_s
        self._conditions.status(device, status, status.received_ns)


def news(device: Device, reading: Reading) -> Reading:
    """Return what of a late reading, or of another channel's, nothing newer is known of."""
    latest = device.latest_in(reading.channel)

    def is_news(name: str) -> bool:
        known = latest.get(name)
        return known is None or known.time_ns < reading.time_ns

    values = {name: value for name, value in reading.values.items() if is_news(name)}
    exceptions = {name: odd for name, odd in (reading.exceptions or {}).items() if is_news(name)}
    return replace(reading, values=values, exceptions=exceptions or None)

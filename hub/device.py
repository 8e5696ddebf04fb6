"""What the hub knows of one device while it runs: one mutable record, shared by the steps of the line."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hub.clock import DeviceClock
from hub.model import Reading, Value

if TYPE_CHECKING:
    from hub.alarms.conditions import Condition
    from hub.alarms.rules import Limits


MAX_CHANNELS = 64
"""Channels of one device whose newest values are known; beyond it the one that came first is forgotten."""


class Latest:
    """The newest value of one parameter of one device."""

    __slots__ = ("parameter", "quality", "received_ns", "time_ns", "value")

    def __init__(self, parameter: str) -> None:
        self.parameter = parameter
        self.value: Value | None = None
        """None where there is no valid value: invalid and no-value never show a number."""
        self.quality: str = "no-value"
        """valid, questionable, invalid or no-value; whether it is stale is judged when it is read."""
        self.time_ns = 0
        """Corrected determination time."""
        self.received_ns = 0


class Device:
    """One device, as the line sees it. Site and id are its identity; the rest changes while it runs."""

    __slots__ = (
        "_latest",
        "_unsorted",
        "area",
        "battery",
        "broker",
        "changed",
        "channels",
        "clock",
        "conditions",
        "definition",
        "id",
        "interval_s",
        "limits",
        "limits_version",
        "received_ns",
        "rejected_ns",
        "site",
        "state",
        "state_ns",
        "time_ns",
    )

    def __init__(self, site: str, device_id: str, area: str, definition: str, interval_s: float) -> None:
        self.site = site
        self.id = device_id
        self.area = area
        """The routing hint of its topic; never where the patient is."""
        self.definition = definition
        """Name of its device definition."""
        self.interval_s = interval_s
        """Seconds between two observations that it declares."""
        self.state: str | None = None
        """online, offline or standby as its status says; None before it said anything."""
        self.state_ns = 0
        """Since when, corrected time."""
        self.battery: float | None = None
        self.broker = ""
        """Name of the broker that it last came through; empty before it was heard."""
        self.changed = False
        """Whether its values have changed since the live values were last sent. Kept here since each reading
        asks: a set of ten thousand devices is rarely in the processor's cache."""
        self.clock = DeviceClock()
        self.limits: Limits | None = None
        """The alarm limits of the patient it is at, as of `limits_version` of the registry."""
        self.limits_version = -1
        self.conditions: dict[tuple[str, str], Condition] = {}
        """Alarm conditions that are pending or present, by parameter ("" for none) and condition."""
        self.rejected_ns = 0
        """When something of it was last rejected, hub time; 0 for never."""
        self._latest: dict[str, Latest] = {}
        self._unsorted: Reading | None = None
        """The newest reading, where its values are not yet in `_latest`."""
        self.channels: dict[str, dict[str, Latest]] = {}
        """Of each part that reports on its own, for instance a channel of a pump, by vocabulary name."""
        self.time_ns = 0
        """Corrected time of the newest reading: nothing older moves live values or alarms."""
        self.received_ns = 0
        """When anything of it last arrived, hub time."""

    @property
    def latest(self) -> dict[str, Latest]:
        """The newest values of the channel `observations`, by vocabulary name, to be changed in place."""
        waiting = self._unsorted
        if waiting is not None:
            self._unsorted = None
            self._sort(waiting)
        return self._latest

    def take(self, reading: Reading) -> None:
        """Take over what of a reading is not older than what is known.

        Plain values are sorted out when somebody asks for the newest, from the event loop's thread: of a
        device that sends more often than it is looked at, most never are.
        """
        if reading.exceptions is not None or reading.channel != "observations":
            self._sort(reading)
            return
        waiting = self._unsorted
        if waiting is not None and not (
            waiting.time_ns <= reading.time_ns and waiting.values.keys() <= reading.values.keys()
        ):
            self._unsorted = None
            self._sort(waiting)
        self._unsorted = reading

    def _sort(self, reading: Reading) -> None:
        latest = self.latest_in(reading.channel)
        values, exceptions, time_ns = reading.values, reading.exceptions or {}, reading.time_ns
        for name in (*values, *exceptions):
            newest = latest.get(name)
            if newest is None:
                newest = latest[name] = Latest(name)
            if time_ns >= newest.time_ns:
                quality = exceptions[name][0] if name in exceptions else "valid"
                newest.value = values.get(name) if quality in ("valid", "questionable") else None
                newest.quality = quality
                newest.time_ns = time_ns
                newest.received_ns = reading.received_ns

    def latest_in(self, channel: str) -> dict[str, Latest]:
        """Return the newest values of one channel, to be changed in place."""
        if channel == "observations":
            return self.latest
        known = self.channels.get(channel)
        if known is None:
            if len(self.channels) >= MAX_CHANNELS:
                del self.channels[next(iter(self.channels))]
            known = self.channels[channel] = {}
        return known

    def every_channel(self) -> Iterator[tuple[str | None, dict[str, Latest]]]:
        """Yield the newest values of the device itself, under None, and of each of its parts."""
        yield None, self.latest
        yield from self.channels.items()

    def every_latest(self) -> Iterator[Latest]:
        """Yield the newest value of each parameter of each channel."""
        yield from self.latest.values()
        for channel in self.channels.values():
            yield from channel.values()

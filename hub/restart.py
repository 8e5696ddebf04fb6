"""What a hub takes up again when it starts: what it had seen, and the alarms that were present."""

from collections.abc import Iterable

from hub.alarms.alarm import Alarm
from hub.alarms.conditions import Conditions
from hub.bedside import news
from hub.device import Device
from hub.duplicates import Duplicates
from hub.live import Live
from hub.model import Batch, Reading
from hub.normalise import MILLISECOND_NS
from hub.roster import Roster


class Resumption:
    """Rebuilds the duplicate window, devices' newest times and clocks, live values and alarms."""

    def __init__(
        self,
        *,
        roster: Roster,
        duplicates: Duplicates,
        conditions: Conditions,
        live: Live,
        own: Device,
        now_ns: int,
        backlog_ns: int,
    ) -> None:
        self._roster = roster
        self._duplicates = duplicates
        self._conditions = conditions
        self._live = live
        self._own = own
        self._now_ns = now_ns
        self._backlog_ns = backlog_ns
        self._offsets: dict[Device, int] = {}

    def alarms(self, present: Iterable[Alarm]) -> None:
        """Go on with the alarms that had not ended. To be called before `batch`."""
        own = self._own
        for alarm in present:
            of_hub = (alarm.site, alarm.device) == (own.site, own.id)
            device = own if of_hub else self._roster.recall(alarm.site, alarm.device)
            if device is not None:
                self._conditions.restore(device, alarm)

    def batch(self, batch: Batch) -> None:
        """Take up one of the newest batches of the journal; they must come oldest first.

        Readings young enough to alarm are judged once more: an alarm that a crash kept from being told is
        told now, under the id that it would have had.
        """
        for reading in batch.readings:
            index = self._roster.index(reading.site, reading.device, reading.channel)
            self._duplicates.seen(index, reading.device_time_ns, reading.seq)
            device = self._roster.recall(reading.site, reading.device)
            if device is not None:
                self._reading(device, reading)

    def _reading(self, device: Device, reading: Reading) -> None:
        device.received_ns = max(device.received_ns, reading.received_ns)
        if reading.time_ns > device.time_ns:
            device.time_ns = reading.time_ns
        else:  # as when it came: late, or another channel of the device at the same time
            reading = news(device, reading)
            if not reading.values and not reading.exceptions:
                return
        if reading.device_time_ns:
            # An adopted offset is the same to the millisecond from one reading to the next; the difference
            # of a reading that was taken at receipt is not.
            offset_ms = reading.device_time_ns // MILLISECOND_NS - reading.time_ns // MILLISECOND_NS
            if self._offsets.get(device) == offset_ms:
                device.clock.offset_ns = offset_ms * MILLISECOND_NS
            self._offsets[device] = offset_ms
        # What was too old to alarm when it came stays so, also where the hub's clock was set back since.
        if max(self._now_ns, reading.received_ns) - reading.time_ns <= self._backlog_ns:
            self._conditions.observe(device, reading, self._now_ns)
        self._live.update(device, reading)

"""From messages to a batch: decode, normalise, identify. What can't be used becomes a rejection."""

import logging
import traceback

from msgspec import Struct

from hub.clock import ClockLimits
from hub.device import Device
from hub.devices.decode import AlarmSent, Item, Observed, Refused, SightingSent, StatusSent, WaveformSent
from hub.duplicates import Duplicates, payload_hash
from hub.knocks import EVERY_NS, MAX_PAYLOAD, Knock, Knocks
from hub.model import (
    FORMAT_VERSION,
    Batch,
    DeviceAlarm,
    DeviceStatus,
    Message,
    Rejection,
    Sighting,
    Waveform,
)
from hub.normalise import determination_time, normalise
from hub.rejects import too_large
from hub.roster import Endpoint, Roster, TooManyDevices

_log = logging.getLogger(__name__)

MAX_REASONS = 10
"""Faults told of one message; the others are counted."""


class Taken(Struct):
    """What one delivery held: the batch to journal, and whose each reading is."""

    batch: Batch
    devices: list[Device]
    """The device of each of `batch.readings`, in the same order."""
    rejecting: list[tuple[Device, str, list[Refused]]]
    """Devices that sent something unusable, the topic, and what was wrong."""
    refused: list[list[Refused]] = []
    """What was wrong with each of `batch.rejections`, in the same order."""
    duplicates: int = 0
    rejected_messages: int = 0


def empty_batch(received_ns: int) -> Batch:
    """Return a batch that holds nothing yet."""
    return Batch(FORMAT_VERSION, received_ns, [], [], [], [], [], [])


class Intake:
    """Sorts out what messages hold. Keeps no state but the roster's and the duplicate window's."""

    def __init__(
        self,
        roster: Roster,
        duplicates: Duplicates,
        limits: ClockLimits,
        knocks: Knocks | None = None,
        *,
        only_news: bool = True,
    ) -> None:
        """Without `knocks` every device that a payload names counts, whoever publishes it.

        With `only_news` False states that repeat what is known, and ends of what never began, are kept too.
        """
        self._knocks = knocks
        self._only_news = only_news
        self._roster = roster
        self._duplicates = duplicates
        self._limits = limits

    def take(self, messages: list[Message], received_ns: int, *, journalled: bool = True) -> Taken:
        """Sort out messages in the order of their arrival.

        `journalled` False is the live lane: the duplicate window is left alone, since the same messages come
        again to be journalled.
        """
        taken = Taken(empty_batch(received_ns), [], [])
        for message in messages:
            try:
                endpoint = self._roster.endpoint(message.topic)
                if endpoint is None:
                    self._reject(taken, message, None, [Refused("$", self._roster.explain(message.topic))])
                    continue
                if message.full_size:
                    self._reject(taken, message, endpoint, [Refused("$", too_large(message))])
                    continue
                if self._knocks is not None and received_ns - endpoint.noted_ns >= EVERY_NS:
                    self._note(self._knocks, endpoint, message, received_ns)
                refused: list[Refused] = []
                for position, item in enumerate(endpoint.decode(message.payload)):
                    if item.device is not None and (
                        why := self._why_not(endpoint, item, message, received_ns)
                    ):
                        refused.append(why)
                    elif type(item) is Observed:
                        self._observed(taken, message, endpoint, item, position, refused, journalled)
                    else:
                        self._other(taken, message, endpoint, item, position, refused)
                if refused:
                    self._reject(taken, message, endpoint, refused)
            except TooManyDevices:
                reason = "the hub knows as many devices as it is set to; raise line.max_devices"
                self._reject(taken, message, None, [Refused("$", reason)])
            except Exception as fault:  # noqa: BLE001 - a fault of ours must not block the line
                # Neither the exception's text nor its values are logged: they may hold patient data.
                where = traceback.extract_tb(fault.__traceback__)[-1]
                _log.error("%s at %s:%s; see the rejects", type(fault).__name__, where.filename, where.lineno)
                reason = "the hub failed to sort this message out; see its log, then replay the reject"
                self._reject(taken, message, None, [Refused("$", reason)])
        return taken

    def _note(self, knocks: Knocks, endpoint: Endpoint, message: Message, received_ns: int) -> None:
        endpoint.noted_ns = received_ns
        device = endpoint.device
        if device is not None:
            knocks.heard(device.site, device.id, message.topic, message.payload, received_ns)

    def _why_not(self, endpoint: Endpoint, item: Item, message: Message, received_ns: int) -> Refused | None:
        """Return why a device that the payload names doesn't count; None where it does."""
        named, route, owner = item.device, endpoint.route, endpoint.device
        if self._knocks is None or route.vouched or named is None or isinstance(item, Refused):
            return None
        if owner is not None and owner.id == named:
            return None
        gateway = None if owner is None else owner.id
        reason = self._knocks.why_not(route.site, named, gateway, route.definition)
        if reason is None:
            return None
        knock = Knock(message.topic, message.payload[:MAX_PAYLOAD], received_ns, gateway)
        self._knocks.unknown(route.site, named, route.definition, route.area, knock)
        return Refused("$", reason, named)

    def _observed(
        self,
        taken: Taken,
        message: Message,
        endpoint: Endpoint,
        observed: Observed,
        position: int,
        refused: list[Refused],
        journalled: bool,
    ) -> None:
        device = endpoint.device
        index = endpoint.index
        if observed.device is not None or device is None or observed.channel != endpoint.route.channel:
            device = self._owner(endpoint, observed.device, message.topic)
            index = self._roster.index(device.site, device.id, observed.channel)
        seq = observed.seq
        if seq < 0:
            seq = payload_hash(message.payload) + position
        # Without a time and a number of its own a message can't be told from its like: only what the broker
        # marks as sent again may be taken for a duplicate. A reading twice is better than one lost.
        if (
            journalled
            and (observed.time_ns or (observed.seq >= 0 and message.duplicate))
            and self._duplicates.seen(index, observed.time_ns, seq)
        ):
            taken.duplicates += 1
            return
        batch = taken.batch
        reading = normalise(
            observed, device.site, device.id, device.clock, self._limits, batch.received_ns, seq, refused
        )
        if reading.values or reading.exceptions:
            batch.readings.append(reading)
            taken.devices.append(device)

    def _other(
        self,
        taken: Taken,
        message: Message,
        endpoint: Endpoint,
        item: Item,
        position: int,
        refused: list[Refused],
    ) -> None:
        if isinstance(item, Refused):
            refused.append(item)
            return
        device = endpoint.device
        if device is None or item.device is not None:
            device = self._owner(endpoint, item.device, message.topic)
        site, name, batch = device.site, device.id, taken.batch
        received_ns = batch.received_ns
        time_ns = received_ns
        if item.time_ns:
            time_ns = device.clock.correct(item.time_ns, received_ns, self._limits)
        if self._only_news and _is_no_news(device, item, endpoint):
            return
        if isinstance(item, StatusSent):
            batch.statuses.append(
                DeviceStatus(
                    site,
                    name,
                    time_ns,
                    received_ns,
                    item.state,  # type: ignore[arg-type] # decoders give one of the three states
                    item.battery,
                    item.firmware,
                    item.interval_s,
                    message.retained,
                )
            )
        elif isinstance(item, AlarmSent):
            batch.device_alarms.append(
                DeviceAlarm(
                    site,
                    name,
                    time_ns,
                    received_ns,
                    item.condition,
                    item.presence,
                    item.priority,
                    item.kind,
                    item.parameter,
                    item.text,
                )
            )
        elif isinstance(item, SightingSent):
            batch.sightings.append(
                Sighting(
                    site, name, item.beacon, time_ns, received_ns, item.rssi, item.tx_power, item.battery
                )
            )
        elif isinstance(item, WaveformSent):
            seq = item.seq if item.seq >= 0 else payload_hash(message.payload) + position
            batch.waveforms.append(
                Waveform(
                    site,
                    name,
                    item.waveform,
                    determination_time(time_ns, seq),
                    received_ns,
                    seq,
                    item.rate,
                    item.scale,
                    item.offset,
                    item.unit or "",
                    item.samples,
                )
            )

    def _owner(self, endpoint: Endpoint, named: str | None, topic: str) -> Device:
        if named is None and endpoint.device is not None:
            return endpoint.device
        return self._roster.device(endpoint.route.site, named or "", endpoint.route, topic)

    def _reject(
        self, taken: Taken, message: Message, endpoint: Endpoint | None, refused: list[Refused]
    ) -> None:
        device = endpoint.device if endpoint else None
        if device is None and endpoint and refused[0].device:
            device = self._roster.find(endpoint.route.site, refused[0].device)
        told = [f"{one.path}: {one.reason}" for one in refused[1:MAX_REASONS]]
        if len(refused) > MAX_REASONS:
            told.append(f"and {len(refused) - MAX_REASONS} more")
        taken.rejected_messages += 1
        taken.refused.append(refused)
        taken.batch.rejections.append(
            Rejection(
                message.topic,
                message.payload,
                refused[0].path,
                "; ".join([refused[0].reason, *told]),
                taken.batch.received_ns,
                device.site if device else None,
                device.id if device else None,
            )
        )
        if device is not None:
            taken.rejecting.append((device, message.topic, refused))


def _is_no_news(device: Device, item: Item, endpoint: Endpoint) -> bool:
    """Tell whether an item repeats what is known: some formats tell states with every measurement."""
    if endpoint.route.channel != "observations":
        return False
    if isinstance(item, StatusSent):
        return (item.state, item.battery) == (device.state, device.battery)
    if isinstance(item, AlarmSent):
        return item.presence == "absent" and (item.parameter or "", item.condition) not in device.conditions
    return False

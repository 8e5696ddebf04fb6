"""The events of the stream, in the shapes of `contracts/stream-*.schema.json`, and their text.

Rendering is pure. The text is that of the HTML standard's server-sent events: UTF-8, one `data:` line
(JSON holds no line breaks), an empty line at the end.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from msgspec import Struct, json

from hub.alarms.alarm import Activation, Alarm, AlarmEvent, Happening, Signal, SignalPresence
from hub.model import Kind, Presence, Priority, Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ShownQuality = Literal["valid", "questionable", "invalid", "no-value", "stale"]
"""A value's quality as shown: what the device's value is worth, or `stale` when it is too old."""


def moment(time_ns: int) -> datetime:
    """Return nanoseconds since the epoch as UTC, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=time_ns // 1_000_000)


def _moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else moment(time_ns)


def nanoseconds(time: datetime) -> int:
    """Return a time with a zone as nanoseconds since the epoch, exactly."""
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


class Scope(NamedTuple):
    """What part of the hospital a client asked for; None for all of it."""

    site: str | None = None
    ward: str | None = None

    def takes(self, site: str, ward: str | None) -> bool:
        """Tell whether a place belongs to it. What is in no known ward belongs to every ward of its site."""
        if self.site is not None and self.site != site:
            return False
        return self.ward is None or ward is None or self.ward == ward


class BedValue(Struct, frozen=True, gc=False):
    """One parameter as a bed shows it."""

    value: Value | None
    """None when there is no valid value: never a number that can't be relied on."""
    unit: str
    time: datetime
    quality: ShownQuality
    age_s: float
    device: str


class BedPump(Struct, frozen=True, gc=False):
    """One pump at a bed, or one channel of a pump that has several."""

    device: str
    channel: str | None
    """None where the device is one pump."""
    values: dict[str, BedValue]
    """By vocabulary name: what tells about pumps, and the charge of its battery."""


class Bed(Struct, frozen=True, gc=False):
    """What is known at one bed now."""

    site: str
    ward: str
    bed: str
    patient: str | None
    """Surrogate id."""
    values: dict[str, BedValue]
    """By vocabulary name: of each parameter the best that a device tells. What pumps tell is in `pumps`."""
    pumps: list[BedPump]
    """Each with its own values, by device and channel."""


class ToldSignal(Struct, frozen=True, gc=False):
    """The signal of an alarm, as clients see it."""

    presence: SignalPresence
    priority: Priority
    activation: Activation
    activation_until: datetime | None
    due: datetime | None
    raised: datetime | None
    acknowledged_by: str | None
    acknowledged: datetime | None
    acknowledged_until: datetime | None
    assigned: str | None
    step: int
    count: int
    under: str | None


class ToldAlarm(Struct, frozen=True, gc=False):
    """An alarm condition with the place it was at, as clients see it."""

    id: str
    kind: Kind
    priority: Priority
    condition: str
    parameter: str | None
    site: str
    device: str
    ward: str | None
    bed: str | None
    patient: str | None
    onset: datetime
    presence: Presence
    value: Value | None
    limit: float | None
    unit: str | None
    text: str
    ended: datetime | None
    level: int
    origin: str
    part: str
    devices: tuple[str, ...]
    until: datetime | None
    signal: ToldSignal | None


class ToldEvent(Struct, frozen=True, gc=False):
    """One change of one alarm, as clients see it."""

    sequence: int
    event: Happening
    time: datetime
    recorded: bool
    """False when it was told before the local log had it."""
    alarm: ToldAlarm
    who: str | None = None
    why: str | None = None


class Reset(Struct, frozen=True, gc=False):
    """Every alarm that is present: replaces what the client shows."""

    reason: str
    alarms: list[ToldAlarm]


class Heartbeat(Struct, frozen=True, gc=False):
    """A canary's alarm has come out at the end of the whole line since the last one."""

    time: datetime
    hub: str
    sequence: int
    storing: bool
    lag_s: float


def told_alarm(event: AlarmEvent) -> ToldAlarm:
    """Return the alarm of an event with the place where the event happened."""
    alarm: Alarm = event.alarm
    return ToldAlarm(
        id=alarm.id,
        kind=alarm.kind,
        priority=alarm.priority,
        condition=alarm.condition,
        parameter=alarm.parameter,
        site=alarm.site,
        device=alarm.device,
        ward=event.ward,
        bed=event.bed,
        patient=event.patient,
        onset=moment(alarm.onset_ns),
        presence=alarm.presence,
        value=alarm.value,
        limit=alarm.limit,
        unit=alarm.unit,
        text=alarm.text,
        ended=_moment(alarm.ended_ns),
        level=alarm.level,
        origin=alarm.origin,
        part=alarm.part,
        devices=alarm.devices,
        until=_moment(alarm.until_ns),
        signal=None if event.signal is None else told_signal(event.signal),
    )


def told_signal(signal: Signal) -> ToldSignal:
    """Return a signal as clients see it."""
    return ToldSignal(
        presence=signal.presence,
        priority=signal.priority,
        activation=signal.activation,
        activation_until=_moment(signal.activation_until_ns),
        due=_moment(signal.due_ns),
        raised=_moment(signal.raised_ns),
        acknowledged_by=signal.acknowledged_by,
        acknowledged=_moment(signal.acknowledged_ns),
        acknowledged_until=_moment(signal.acknowledged_until_ns),
        assigned=signal.assigned,
        step=signal.step,
        count=signal.count,
        under=signal.under,
    )


def told_event(event: AlarmEvent, recorded: bool) -> ToldEvent:
    """Return an event as clients see it."""
    alarm = told_alarm(event)
    return ToldEvent(
        event.sequence, event.event, moment(event.time_ns), recorded, alarm, event.who, event.why
    )


def alarm_frame(event: AlarmEvent, recorded: bool, event_id: str) -> bytes:
    """Render one event of an alarm: `alarm` for a physiological one, `technical` for the others."""
    name = b"alarm" if event.alarm.kind == "physiological" else b"technical"
    return frame(name, json.encode(told_event(event, recorded)), event_id)


def reset_frame(reason: str, present: Iterable[AlarmEvent], event_id: str) -> bytes:
    """Render a reset. Its id says up to where it holds, so that a reconnect goes on from there."""
    return frame(b"reset", json.encode(Reset(reason, [told_alarm(event) for event in present])), event_id)


def heartbeat_frame(now_ns: int, hub: str, sequence: int, storing: bool, lag_s: float) -> bytes:
    """Render a heartbeat."""
    return frame(b"heartbeat", json.encode(Heartbeat(moment(now_ns), hub, sequence, storing, lag_s)))


def vitals_frame(kind: Literal["snapshot", "update"], now_ns: int, beds: Iterable[bytes]) -> bytes:
    """Render vitals out of beds that are JSON already, so that many clients' frames share one rendering."""
    head = b'{"kind":"%b","time":%b,"beds":[' % (kind.encode(), json.encode(moment(now_ns)))
    return frame(b"vitals", b"%b%b]}" % (head, b",".join(beds)))


def frame(name: bytes, data: bytes, event_id: str | None = None) -> bytes:
    """Return the text of one server-sent event. `data` is JSON, `event_id` has no line break."""
    if event_id is None:
        return b"event: %b\ndata: %b\n\n" % (name, data)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), name, data)

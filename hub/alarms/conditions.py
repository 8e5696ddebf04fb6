"""The alarm conditions of all devices: fed by the line, ticked by the clock, told through the event log.

Nothing here waits: what changes is handed to `tell`, which records and streams it. Another module decides
how a condition is signalled; this one knows only whether it is present.
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from hub.alarms.alarm import Alarm, Happening, alarm_id
from hub.alarms.evaluate import ABSENT, ConditionState, evaluate
from hub.alarms.limits import Limit, Limits, LimitSet
from hub.clock import SECOND_NS
from hub.device import Device
from hub.model import DeviceAlarm, DeviceStatus, Kind, Priority, Reading, Value
from hub.vocabulary import PARAMETERS

SILENCE_MARGIN_NS = 10 * SECOND_NS
"""A device is silent when nothing came for its declared interval and this."""
NO_VALUE_DELAY_NS = 10 * SECOND_NS
REJECTS_QUIET_NS = 60 * SECOND_NS
"""The alarm about rejects ends when none came for so long."""

Tell = Callable[[Happening, Alarm, int], None]
"""Record and stream one event: what happened, the alarm as it is now, hub time."""
LimitsOf = Callable[[Device], Limits]


class Condition:
    """One condition of one device while it is pending or present."""

    __slots__ = ("alarm", "state")

    def __init__(self, state: ConditionState = ABSENT, alarm: Alarm | None = None) -> None:
        self.state = state
        self.alarm = alarm
        """Set while the condition is present."""


class Conditions:
    """Decides, for every device, which alarm conditions are present."""

    def __init__(self, limits_of: LimitsOf, tell: Tell) -> None:
        self._limits_of = limits_of
        self._tell = tell

    def restore(self, device: Device, alarm: Alarm) -> None:
        """Go on with an alarm that was present when the hub stopped."""
        state = ConditionState(alarm.onset_ns, present=True)
        device.conditions[(alarm.parameter or "", alarm.condition)] = Condition(state, alarm)

    def observe(self, device: Device, reading: Reading, now_ns: int) -> None:
        """Judge a reading that is newer than all before it."""
        quiet = self._limits_of(device).quiet
        trouble = bool(device.conditions) or reading.exceptions is not None
        for name, value in reading.values.items():
            bounds = quiet.get(name)
            if bounds is not None and not bounds[0] <= value <= bounds[1]:  # type: ignore[operator] # numeric
                trouble = True
        if trouble:
            self._judge(device, reading, now_ns)

    def status(self, device: Device, status: DeviceStatus, now_ns: int) -> None:
        """Take note of what a device, or its last will, says of its state."""
        offline = status.state == "offline"
        self.technical(device, "device_offline", offline, f"Device {device.id} is offline", now_ns)
        if offline or status.state == "standby":
            self.technical(device, "device_silent", False, "", now_ns)

    def device_raised(self, device: Device, raised: DeviceAlarm, now_ns: int) -> None:
        """Pass on an alarm condition that a device raised or ended itself."""
        key = (raised.parameter or "", raised.condition)
        present = device.conditions.get(key)
        if raised.presence == "present" and present is None:
            text = raised.text or f"Device {device.id} reports {raised.condition.replace('_', ' ')}"
            self._start(device, key, raised.time_ns, now_ns, text, kind=raised.kind, priority=raised.priority)
        elif raised.presence == "absent" and present is not None:
            self._end(device, key, raised.time_ns, now_ns)

    def technical(
        self,
        device: Device,
        condition: str,
        present: bool,
        text: str,
        now_ns: int,
        priority: Priority = "medium",
    ) -> None:
        """Set whether a technical condition of a device is present."""
        key = ("", condition)
        if present and key not in device.conditions:
            self._start(device, key, now_ns, now_ns, text, kind="technical", priority=priority)
        elif not present and key in device.conditions:
            self._end(device, key, now_ns, now_ns)

    def tick(self, devices: Iterable[Device], now_ns: int, listening_since_ns: int | None) -> None:
        """Judge what only the passing of time decides: silence, and rejects that ended.

        `listening_since_ns` is when the hub's broker session last began; None while there is none, when no
        device can be blamed for being silent.
        """
        for device in devices:
            if listening_since_ns is not None and device.received_ns:
                self._judge_silence(device, now_ns, listening_since_ns)
            if device.rejected_ns:
                self._judge_rejects(device, now_ns)

    def _judge_silence(self, device: Device, now_ns: int, listening_since_ns: int) -> None:
        heard_ns = max(device.received_ns, listening_since_ns)
        silent = now_ns - heard_ns > device.interval_s * SECOND_NS + SILENCE_MARGIN_NS
        expected = device.state in (None, "online")
        if silent and expected:
            text = f"Device {device.id} has been silent for longer than it declares"
            self.technical(device, "device_silent", True, text, now_ns)
        elif device.conditions:
            self.technical(device, "device_silent", False, "", now_ns)

    def _judge_rejects(self, device: Device, now_ns: int) -> None:
        rejecting = now_ns - device.rejected_ns < REJECTS_QUIET_NS
        text = f"Messages of device {device.id} can't be used; see its rejects"
        self.technical(device, "rejects", rejecting, text, now_ns, "low")
        if not rejecting:
            device.rejected_ns = 0

    def _judge(self, device: Device, reading: Reading, now_ns: int) -> None:
        time_ns = reading.time_ns
        limits = self._limits_of(device).by_parameter
        for name, value in reading.values.items():
            for limit in limits.get(name, ()):
                if not isinstance(value, str):
                    self._judge_limit(device, limit, value, time_ns, now_ns)
            self._judge_no_value(device, name, time_ns, now_ns, missing=False)
        for name, (quality, _) in (reading.exceptions or {}).items():
            if quality != "questionable":
                self._judge_no_value(device, name, time_ns, now_ns, missing=True)

    def _judge_limit(self, device: Device, limit: Limit, value: float, time_ns: int, now_ns: int) -> None:
        key = (limit.parameter, limit.condition)
        condition = device.conditions.get(key)
        before = condition.state if condition else ABSENT
        after = evaluate(before, value, time_ns, limit)
        if after == before:
            return
        if after.present and not before.present:
            text = _limit_text(limit, value)
            self._start(
                device,
                key,
                after.begun_ns,
                now_ns,
                text,
                kind="physiological",
                priority=limit.priority,
                value=value,
                limit=limit.bound,
            )
        elif before.present and not after.present:
            self._end(device, key, time_ns, now_ns, value)
        elif after is ABSENT:
            del device.conditions[key]
        else:
            device.conditions[key] = Condition(after)

    def _judge_no_value(self, device: Device, name: str, time_ns: int, now_ns: int, *, missing: bool) -> None:
        key = (name, "no_valid_value")
        condition = device.conditions.get(key)
        if not missing:
            if condition is None:
                return
            if condition.alarm is None:
                del device.conditions[key]
            else:
                self._end(device, key, time_ns, now_ns)
        elif condition is None:
            device.conditions[key] = Condition(ConditionState(time_ns))
        elif condition.alarm is None and time_ns - condition.state.begun_ns >= NO_VALUE_DELAY_NS:
            text = f"{PARAMETERS[name].display}: no valid value"
            self._start(device, key, condition.state.begun_ns, now_ns, text, kind="technical", priority="low")

    def _start(
        self,
        device: Device,
        key: tuple[str, str],
        onset_ns: int,
        now_ns: int,
        text: str,
        *,
        kind: Kind,
        priority: Priority,
        value: Value | None = None,
        limit: float | None = None,
    ) -> None:
        parameter, condition = key[0] or None, key[1]
        known = PARAMETERS.get(key[0])
        alarm = Alarm(
            id=alarm_id(device.site, device.id, parameter, condition, onset_ns),
            kind=kind,
            priority=priority,
            condition=condition,
            site=device.site,
            device=device.id,
            onset_ns=onset_ns,
            presence="present",
            text=text,
            parameter=parameter,
            value=value,
            limit=limit,
            unit=known.unit if known else None,
        )
        device.conditions[key] = Condition(ConditionState(onset_ns, present=True), alarm)
        self._tell("start", alarm, now_ns)

    def _end(
        self, device: Device, key: tuple[str, str], time_ns: int, now_ns: int, value: Value | None = None
    ) -> None:
        alarm = device.conditions.pop(key).alarm
        if alarm is not None:
            ended = replace(alarm, presence="absent", value=value, ended_ns=time_ns)
            self._tell("end", ended, now_ns)


def _limit_text(limit: Limit, value: float) -> str:
    parameter = PARAMETERS[limit.parameter]
    side = "below" if limit.side == "low" else "above"
    return f"{parameter.display} {value:g} {parameter.unit} {side} {limit.bound:g} {parameter.unit}"


def limits_lookup(
    limit_set: LimitSet, age_group_of: Callable[[Device], str], version: Callable[[], int]
) -> LimitsOf:
    """Return the limits of whoever a device is at, looked up anew whenever placements change."""

    def limits_of(device: Device) -> Limits:
        current = version()
        limits = device.limits
        if limits is None or device.limits_version != current:
            limits = device.limits = limit_set.of(age_group_of(device))
            device.limits_version = current
        return limits

    return limits_of

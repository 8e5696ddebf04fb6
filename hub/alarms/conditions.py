"""The alarm conditions of all devices: fed by the line, ticked by the clock, told to the signals.

Nothing here waits: what changes is handed to `tell`. Another module decides how a condition is signalled;
this one knows only whether it is present. Conditions of readings run in corrected device time, the others
in hub time.
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from hub.alarms.alarm import PATIENT_CHANGED, RANK, Alarm, Happening, alarm_id
from hub.alarms.evaluate import (
    ABSENT,
    INSIDE,
    ConditionState,
    Levels,
    Sample,
    evaluate_rate,
    evaluate_side,
    lasting,
)
from hub.alarms.rules import CodedRule, Combination, Limits, LimitsOf, Member, Rate, Side, limits_lookup
from hub.alarms.silence import Silence
from hub.clock import SECOND_NS
from hub.device import Device
from hub.model import DeviceAlarm, DeviceStatus, Kind, Priority, Reading, Value
from hub.vocabulary import PARAMETERS

__all__ = ["Condition", "Conditions", "LimitsOf", "Tell", "limits_lookup"]

Tell = Callable[[Happening, Alarm, int], None]
"""Signal, record and stream one event: what happened, the alarm as it is now, hub time."""
Key = tuple[str, str]
"""Parameter, "" for none, and condition; `device:` goes before a condition that the device decided."""

MEMBER_AGE_NS = 60 * SECOND_NS
"""Part of a combination that another message gave counts for so long."""
RULE_GONE = "the limit was switched off"

_TECHNICAL = ("pump_", "battery", "ambient_", "occlusion", "air_in_line", "bag_weight", "drip_rate")


class Condition:
    """One condition of one device while it is pending or present."""

    __slots__ = ("alarm", "judged_ns", "state")

    def __init__(
        self,
        state: Levels | ConditionState = ABSENT,
        alarm: Alarm | None = None,
        judged_ns: int = 0,
    ) -> None:
        self.state = state
        self.alarm = alarm
        """Set while the condition is present."""
        self.judged_ns = judged_ns
        """Readings up to this time were judged before the hub was restarted."""


class Conditions:
    """Decides, for every device, which alarm conditions are present."""

    def __init__(
        self,
        limits_of: LimitsOf,
        tell: Tell,
        *,
        patient_of: Callable[[Device], str | None] = lambda _: None,
        since_of: Callable[[Device], int] = lambda _: 0,
        peers_of: Callable[[Device], Iterable[Device]] = lambda device: (device,),
        gateway_of: Callable[[Device], str | None] = lambda _: None,
        device_of: Callable[[str, str], Device | None] = lambda _, __: None,
    ) -> None:
        """Keep what tells about a device.

        `patient_of`: whose readings it takes now (surrogate id), and `since_of`: since when; older readings
        are another's and don't alarm. `peers_of`: every device of the same patient, itself included.
        `gateway_of`: the id of the gateway that it speaks through. `device_of`: the device of a site and id.
        """
        self._limits_of = limits_of
        self._tell = tell
        self._patient_of = patient_of
        self._since_of = since_of
        self._peers_of = peers_of
        self._patients: dict[Device, str | None] = {}
        self._samples: dict[Device, dict[Key, tuple[ConditionState, tuple[Sample, ...]]]] = {}
        self._silence = Silence(self, limits_of, gateway_of, device_of)

    # --- what the line calls ---------------------------------------------------------------------------

    def restore(self, device: Device, alarm: Alarm) -> None:
        """Go on with an alarm that had not ended when the hub stopped.

        Readings that it had judged by then are not judged again.
        """
        key = (alarm.parameter or "", _keyed(alarm.condition, alarm.origin))
        if alarm.kind == "physiological":
            self._patients[device] = alarm.patient
        if alarm.presence == "absent":  # latched, or an episode that may come again
            device.conditions[key] = Condition(INSIDE, None, alarm.changed_ns)
            return
        begun = ConditionState(alarm.onset_ns, present=True)
        state: Levels | ConditionState = begun
        if alarm.condition in ("limit_low", "limit_high") and alarm.origin == "hub":
            state = Levels(begun, begun if alarm.level == 2 else ABSENT)
        device.conditions[key] = Condition(state, alarm, alarm.changed_ns)

    def observe(self, device: Device, reading: Reading, now_ns: int) -> None:
        """Judge a reading that is newer than all before it."""
        limits = self._limits_of(device)
        quiet = limits.quiet
        trouble = bool(device.conditions) or reading.exceptions is not None
        for name, value in reading.values.items():
            bounds = quiet.get(name)
            if bounds is not None and not bounds[0] <= value <= bounds[1]:  # type: ignore[operator] # of one kind
                trouble = True
        if (trouble or limits.rates) and reading.time_ns >= self._since_of(device):
            self._judge(device, limits, reading, now_ns)

    def status(self, device: Device, status: DeviceStatus, now_ns: int) -> None:
        """Take note of what a device, or its last will, says of its state."""
        offline = status.state == "offline"
        self._silence.offline(device, offline, now_ns)
        if status.state == "standby":
            text = f"Device {device.id} is in standby: its silence doesn't alarm"
            self._absence(device, "standby", text, None, now_ns)
        else:
            self.technical(device, "standby", False, "", now_ns)
        if offline or status.state == "standby":
            self.technical(device, "device_silent", False, "", now_ns)
        if status.battery is not None:
            limits = self._limits_of(device)
            for side in limits.by_parameter.get("battery", ()):
                self._judge_side(device, side, status.battery, status.time_ns, now_ns)

    def device_raised(self, device: Device, raised: DeviceAlarm, now_ns: int) -> None:
        """Pass on an alarm condition that a device raised or ended itself."""
        key = (raised.parameter or "", _keyed(raised.condition, "device"))
        text = raised.text or f"Device {device.id} reports {raised.condition.replace('_', ' ')}"
        self.put(
            device,
            key,
            raised.presence == "present",
            now_ns,
            time_ns=raised.time_ns,
            kind=raised.kind,
            priority=raised.priority,
            text=text,
        )

    def technical(
        self,
        device: Device,
        condition: str,
        present: bool,
        text: str,
        now_ns: int,
        priority: Priority | None = None,
        devices: tuple[str, ...] = (),
    ) -> None:
        """Set whether a technical condition of a device is present.

        Its priority is the one in the limits file, else `priority`, else medium. `devices` are those that it
        takes with it.
        """
        rule = self._limits_of(device).technical.get(condition)
        chosen = rule.priority if rule else priority or "medium"
        self.put(
            device,
            ("", condition),
            present,
            now_ns,
            kind="technical",
            priority=chosen,
            text=text,
            devices=devices,
        )

    def transport(self, device: Device, until_ns: int, who: str, why: str, now_ns: int) -> int:
        """Suppress a device's silence alarm, visibly, until a time; return it, cut to what is allowed."""
        text = f"Device {device.id} is in transport: its silence doesn't alarm ({who}: {why})"
        return self._absence(device, "transport", text, until_ns, now_ns)

    def transport_over(self, device: Device, now_ns: int) -> None:
        """Let a device's silence alarm again."""
        self.technical(device, "transport", False, "", now_ns)

    def tick(self, devices: Iterable[Device], now_ns: int, listening_since_ns: int | None) -> None:
        """Judge what only the passing of time decides: silence, absences, and rejects that ended.

        `listening_since_ns` is when the hub's broker session last began; None while there is none, when no
        device can be blamed for being silent.
        """
        devices = list(devices)
        for device in devices:
            if device.conditions or device in self._patients:
                self._follow_patient(device, now_ns)
            if device.conditions:
                self._end_ruleless(device, now_ns)
                self._end_absences(device, now_ns)
            if device.rejected_ns:
                self._judge_rejects(device, now_ns)
        self._silence.judge(devices, now_ns, listening_since_ns)

    def patient_changed(self, device: Device, now_ns: int) -> None:
        """Take note now that a device has another patient, or none; `tick` does it within a second."""
        self._follow_patient(device, now_ns)

    # --- one condition ---------------------------------------------------------------------------------

    def put(
        self,
        device: Device,
        key: Key,
        present: bool,
        now_ns: int,
        *,
        kind: Kind,
        priority: Priority,
        text: str,
        time_ns: int | None = None,
        onset_ns: int | None = None,
        level: int = 1,
        value: Value | None = None,
        limit: float | None = None,
        devices: tuple[str, ...] = (),
        until_ns: int | None = None,
    ) -> None:
        """Set whether a condition is present, and tell what that changes.

        `time_ns` is the time of what says so, corrected device time where it is a reading; hub time else.
        """
        time_ns = now_ns if time_ns is None else time_ns
        condition = device.conditions.get(key)
        alarm = condition.alarm if condition else None
        if not present:
            if alarm is not None:
                self._end(device, key, time_ns, now_ns, value)
            elif condition is not None and condition.judged_ns < time_ns:
                del device.conditions[key]
            return
        if alarm is None:
            if condition is not None and time_ns <= condition.judged_ns:
                return
            onset_ns = time_ns if onset_ns is None else onset_ns
            parameter, name = key[0] or None, key[1]
            known = PARAMETERS.get(key[0])
            patient = None
            if kind == "physiological":
                patient = self._patients[device] = self._patient_of(device)
            alarm = Alarm(
                id=alarm_id(device.site, device.id, parameter, name, onset_ns),
                kind=kind,
                priority=priority,
                condition=name.removeprefix("device:"),
                site=device.site,
                device=device.id,
                onset_ns=onset_ns,
                presence="present",
                text=text,
                parameter=parameter,
                value=value,
                limit=limit,
                unit=known.unit if known else None,
                level=level,
                changed_ns=time_ns,
                patient=patient,
                devices=devices,
                until_ns=until_ns,
                origin="device" if name.startswith("device:") else "hub",
            )
            state = condition.state if condition else ConditionState(onset_ns, present=True)
            device.conditions[key] = Condition(state, alarm)
            self._tell("start", alarm, now_ns)
            return
        if condition is None or time_ns <= condition.judged_ns:
            return
        if (priority, level, devices, until_ns) == (
            alarm.priority,
            alarm.level,
            alarm.devices,
            alarm.until_ns,
        ):
            return
        happening: Happening = "update"
        if priority != alarm.priority:
            happening = "escalate" if RANK[priority] > RANK[alarm.priority] else "de-escalate"
        condition.alarm = replace(
            alarm,
            priority=priority,
            level=level,
            text=text,
            value=value,
            limit=limit,
            changed_ns=time_ns,
            devices=devices,
            until_ns=until_ns,
        )
        self._tell(happening, condition.alarm, now_ns)

    def _end(
        self,
        device: Device,
        key: Key,
        time_ns: int,
        now_ns: int,
        value: Value | None = None,
        why: str | None = None,
    ) -> None:
        alarm = device.conditions.pop(key).alarm
        if alarm is not None:
            ended = replace(
                alarm, presence="absent", value=value, ended_ns=time_ns, changed_ns=time_ns, ended_why=why
            )
            self._tell("end", ended, now_ns)

    # --- readings --------------------------------------------------------------------------------------

    def _judge(self, device: Device, limits: Limits, reading: Reading, now_ns: int) -> None:
        if self._follow_patient(device, now_ns):
            limits = self._limits_of(device)
        time_ns, values = reading.time_ns, reading.values
        together: dict[str, Combination] = {}
        if limits.rates:
            self._judge_rates(device, limits, reading, now_ns)
        for name, value in values.items():
            if isinstance(value, str):
                for rule in limits.coded.get(name, ()):
                    self._judge_code(device, rule, value, time_ns, now_ns)
            else:
                for side in limits.by_parameter.get(name, ()):
                    self._judge_side(device, side, value, time_ns, now_ns)
            for combination in limits.combinations.get(name, ()):
                together[combination.condition] = combination
            self._judge_no_value(device, limits, name, time_ns, now_ns, missing=False)
        for combination in together.values():
            self._judge_combination(device, combination, reading, now_ns)
        for name, (quality, _) in (reading.exceptions or {}).items():
            if quality != "questionable":
                self._judge_no_value(device, limits, name, time_ns, now_ns, missing=True)

    def _judge_side(self, device: Device, side: Side, value: float, time_ns: int, now_ns: int) -> None:
        key = (side.parameter, side.condition)
        condition = device.conditions.get(key)
        before = condition.state if condition and isinstance(condition.state, Levels) else INSIDE
        if condition is not None and time_ns <= condition.judged_ns:
            return
        after = evaluate_side(before, value, time_ns, side)
        if after is before and condition is not None and condition.alarm is not None:
            return
        level = after.level
        if not level and (condition is None or condition.alarm is None):
            if after == INSIDE:
                device.conditions.pop(key, None)
            else:
                device.conditions[key] = Condition(after)
            return
        limit = side.limit(level or (2 if side.warning is None else 1))
        self.put(
            device,
            key,
            level > 0,
            now_ns,
            kind="technical" if side.parameter.startswith(_TECHNICAL) else "physiological",
            priority=limit.priority,
            text=_limit_text(limit.parameter, value, limit.side, limit.bound),
            time_ns=time_ns,
            onset_ns=after.begun_ns or time_ns,
            level=level or 1,
            value=value,
            limit=limit.bound,
        )
        if level:
            device.conditions[key].state = after
        elif after != INSIDE:
            device.conditions[key] = Condition(after)

    def _judge_code(self, device: Device, rule: CodedRule, value: str, time_ns: int, now_ns: int) -> None:
        parameter = PARAMETERS[rule.parameter]
        self.put(
            device,
            (rule.parameter, rule.condition),
            value == rule.code,
            now_ns,
            kind="technical" if rule.parameter.startswith(_TECHNICAL) else "physiological",
            priority=rule.priority,
            text=f"{parameter.display}: {parameter.meanings.get(rule.code, rule.code)}",
            time_ns=time_ns,
            value=value,
        )

    def _judge_rates(self, device: Device, limits: Limits, reading: Reading, now_ns: int) -> None:
        for name, rates in limits.rates.items():
            value = reading.values.get(name)
            if isinstance(value, float | int):
                for rate in rates:
                    self._judge_rate(device, rate, value, reading.time_ns, now_ns)

    def _judge_rate(self, device: Device, rate: Rate, value: float, time_ns: int, now_ns: int) -> None:
        key = (rate.parameter, rate.condition)
        known = self._samples.setdefault(device, {})
        state, samples = known.get(key, (ABSENT, ()))
        condition = device.conditions.get(key)
        if condition is not None and condition.alarm is not None:
            state = ConditionState(condition.alarm.onset_ns, present=True)
        state, samples = evaluate_rate(state, samples, value, time_ns, rate)
        known[key] = (state, samples)
        parameter = PARAMETERS[rate.parameter]
        seconds = rate.window_ns / SECOND_NS
        self.put(
            device,
            key,
            state.present,
            now_ns,
            kind="physiological",
            priority=rate.priority,
            text=f"{parameter.display} {value:g} {parameter.unit}: a {rate.direction} of {rate.amount:g}"
            f" {parameter.unit} or more within {seconds:g} s",
            time_ns=time_ns,
            value=value,
            limit=rate.amount,
        )

    def _judge_combination(
        self, device: Device, combination: Combination, reading: Reading, now_ns: int
    ) -> None:
        found = [self._newest(device, member, reading) for member in combination.members]
        anchor = found[0][0]
        key = ("", combination.condition)
        if anchor is None:
            return
        condition = anchor.conditions.get(key)
        if any(value is None for _, value in found):
            return  # no valid value says nothing: the state holds
        state = condition.state if condition else ABSENT
        if isinstance(state, Levels):
            state = ABSENT
        time_ns = reading.time_ns
        if condition is not None and time_ns <= condition.judged_ns:
            return
        violated = all(
            value is not None and member.holds(value)
            for member, (_, value) in zip(combination.members, found, strict=True)
        )
        after = lasting(state, violated, time_ns, combination.delay_ns)
        alarm = condition.alarm if condition else None
        if not after.present and alarm is None:
            if after == ABSENT:
                anchor.conditions.pop(key, None)
            else:
                anchor.conditions[key] = Condition(after)
            return
        values = ", ".join(
            f"{PARAMETERS[member.parameter].display} {value:g} {PARAMETERS[member.parameter].unit}"
            for member, (_, value) in zip(combination.members, found, strict=True)
            if isinstance(value, float | int)
        )
        self.put(
            anchor,
            key,
            after.present,
            now_ns,
            kind="physiological",
            priority=combination.priority,
            text=f"{combination.text}: {values}",
            time_ns=time_ns,
            onset_ns=after.begun_ns or time_ns,
        )
        if after.present:
            anchor.conditions[key].state = after

    def _newest(self, device: Device, member: Member, reading: Reading) -> tuple[Device | None, Value | None]:
        """Return the device of the same patient that gave a parameter last, and the value if it is usable."""
        name = member.parameter
        if name in reading.values:
            return device, reading.values[name]
        best: Device | None = None
        value: Value | None = None
        newest_ns = 0
        for peer in self._peers_of(device):
            latest = peer.latest.get(name)
            if latest is not None and latest.time_ns > newest_ns:
                newest_ns, best = latest.time_ns, peer
                usable = latest.value is not None and reading.time_ns - newest_ns <= MEMBER_AGE_NS
                value = latest.value if usable else None
        return best, value

    def _judge_no_value(
        self, device: Device, limits: Limits, name: str, time_ns: int, now_ns: int, *, missing: bool
    ) -> None:
        key = (name, "no_valid_value")
        condition = device.conditions.get(key)
        if condition is None:
            if missing:
                device.conditions[key] = Condition(ConditionState(time_ns))
                if limits.technical_rule("no_valid_value").delay_ns > 0:
                    return
                condition = device.conditions[key]
            else:
                return
        if time_ns <= condition.judged_ns:
            return
        if not missing:
            if condition.alarm is None:
                del device.conditions[key]
            else:
                self._end(device, key, time_ns, now_ns)
            return
        if condition.alarm is None:
            rule = limits.technical_rule("no_valid_value")
            state = condition.state if isinstance(condition.state, ConditionState) else ABSENT
            condition.state = state = lasting(state, True, time_ns, rule.delay_ns)
            if state.present:
                self.put(
                    device,
                    key,
                    True,
                    now_ns,
                    kind="technical",
                    priority=rule.priority,
                    text=f"{PARAMETERS[name].display}: no valid value",
                    time_ns=time_ns,
                    onset_ns=state.begun_ns,
                )

    # --- time and places -------------------------------------------------------------------------------

    def _follow_patient(self, device: Device, now_ns: int) -> bool:
        """End what belonged to another patient: the next one inherits nothing. Tell whether he changed."""
        patient = self._patient_of(device)
        if device not in self._patients:
            self._patients[device] = patient
            return False
        if self._patients[device] == patient:
            return False
        self._patients[device] = patient
        self._samples.pop(device, None)
        for key, condition in list(device.conditions.items()):
            if condition.alarm is None:
                del device.conditions[key]
            elif condition.alarm.kind == "physiological":
                self._end(
                    device, key, max(device.time_ns, condition.alarm.onset_ns), now_ns, why=PATIENT_CHANGED
                )
        return True

    def _end_ruleless(self, device: Device, now_ns: int) -> None:
        keys = self._limits_of(device).keys
        for key, condition in list(device.conditions.items()):
            if key in keys or key[1].startswith("device:"):
                continue
            if condition.alarm is None and key[1] in ("limit_low", "limit_high"):
                del device.conditions[key]
            elif condition.alarm is not None and condition.alarm.kind == "physiological":
                self._end(device, key, now_ns, now_ns, why=RULE_GONE)

    def _absence(self, device: Device, condition: str, text: str, until_ns: int | None, now_ns: int) -> int:
        limits = self._limits_of(device)
        longest_ns = now_ns + limits.longest_absence_ns
        present = device.conditions.get(("", condition))
        if until_ns is None and present is not None and present.alarm is not None:
            until_ns = present.alarm.until_ns  # said again: it doesn't begin anew
        until_ns = longest_ns if until_ns is None else min(until_ns, longest_ns)
        self.put(
            device,
            ("", condition),
            True,
            now_ns,
            kind="technical",
            priority=limits.technical_rule(condition).priority,
            text=text,
            until_ns=until_ns,
        )
        self.technical(device, "device_silent", False, "", now_ns)
        return until_ns

    def _end_absences(self, device: Device, now_ns: int) -> None:
        for name in ("standby", "transport"):
            condition = device.conditions.get(("", name))
            if condition is None or condition.alarm is None:
                continue
            until_ns = condition.alarm.until_ns
            if until_ns is not None and now_ns >= until_ns:
                self._end(device, ("", name), now_ns, now_ns, why="its time is over")

    def _judge_rejects(self, device: Device, now_ns: int) -> None:
        quiet_ns = self._limits_of(device).technical_rule("rejects").delay_ns
        rejecting = now_ns - device.rejected_ns < quiet_ns
        text = f"Messages of device {device.id} can't be used; see its rejects"
        self.technical(device, "rejects", rejecting, text, now_ns, "low")
        if not rejecting:
            device.rejected_ns = 0


def _keyed(condition: str, origin: str) -> str:
    return f"device:{condition}" if origin == "device" else condition


def _limit_text(name: str, value: float, side: str, bound: float) -> str:
    parameter = PARAMETERS[name]
    where = "below" if side == "low" else "above"
    return f"{parameter.display} {value:g} {parameter.unit} {where} {bound:g} {parameter.unit}"

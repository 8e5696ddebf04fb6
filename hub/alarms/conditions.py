"""The alarm conditions of all devices: fed by the line, ticked by the clock, told to the signals.

Nothing here waits: what changes is handed to `tell`. Another module decides how a condition is signalled;
this one knows only whether it is present. Conditions of readings run in corrected device time, the others
in hub time.
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from hub.alarms.alarm import PATIENT_CHANGED, RANK, Alarm, Happening, alarm_id
from hub.alarms.condition import Condition, Key
from hub.alarms.evaluate import ABSENT, INSIDE, ConditionState, Levels
from hub.alarms.judge import Judge
from hub.alarms.rules import LimitsOf, limits_lookup
from hub.alarms.silence import Listening, Silence
from hub.clock import ClockLimits
from hub.device import Device
from hub.model import DeviceAlarm, DeviceStatus, Kind, Priority, Reading, Value
from hub.vocabulary import PARAMETERS

__all__ = ["Condition", "Conditions", "LimitsOf", "Tell", "limits_lookup"]

Tell = Callable[[Happening, Alarm, int], None]
"""Signal, record and stream one event: what happened, the alarm as it is now, hub time."""
RULE_GONE = "the limit was switched off"


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
        places_version: Callable[[], int | None] = lambda: None,
        listening: Callable[[], Listening] = lambda: {"": 0},
        clock_limits: ClockLimits = ClockLimits(),  # noqa: B008 - it can't change
    ) -> None:
        """Keep what tells about a device.

        `patient_of`: whose readings it takes now (surrogate id), and `since_of`: since when; older readings
        are another's and don't alarm. `peers_of`: every device of the same patient, itself included.
        `gateway_of`: the id of the gateway that it speaks through. `device_of`: the device of a site and id.
        `places_version` changes with what `gateway_of` answers; None if that can't be told. `listening`:
        since when the hub hears what comes through each broker.
        """
        self._limits_of = limits_of
        self._tell = tell
        self._clock_limits = clock_limits
        self._patient_of = patient_of
        self._since_of = since_of
        self._patients: dict[Device, str | None] = {}
        self._judge = Judge(self, peers_of, since_of)
        self._silence = Silence(self, limits_of, gateway_of, device_of, places_version, listening)

    # --- what the line calls ---------------------------------------------------------------------------

    def restore(self, device: Device, alarm: Alarm) -> None:
        """Go on with an alarm that had not ended when the hub stopped.

        Readings that it had judged by then are not judged again.
        """
        parameter = f"{alarm.part}/{alarm.parameter or ''}" if alarm.part else alarm.parameter or ""
        key = (parameter, _keyed(alarm.condition, alarm.origin))
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
            if self._follow_patient(device, now_ns):
                limits = self._limits_of(device)
            self._judge.judge(device, limits, reading, now_ns)

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
                self._judge.judge_side(device, side, status.battery, "", status.time_ns, now_ns)

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
        part: str = "",
    ) -> None:
        """Set whether a technical condition of a device, or of a part of it, is present.

        Its priority is the one in the limits file, else `priority`, else medium. `devices` are those that it
        takes with it.
        """
        rule = self._limits_of(device).technical.get(condition)
        chosen = rule.priority if rule else priority or "medium"
        self.put(
            device,
            (f"{part}/" if part else "", condition),
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

    def tick(self, devices: Iterable[Device], now_ns: int) -> None:
        """Judge what only the passing of time decides: silence, absences, and rejects that ended."""
        devices = list(devices)
        patients, clock_limits = self._patients, self._clock_limits
        # Nearly all are well at any moment: a quick look at each finds the others.
        for device in [
            device
            for device in devices
            if device.conditions
            or device.rejected_ns
            or device in patients
            or device.clock.is_off(clock_limits)
        ]:
            if device.conditions or device in patients:
                self._follow_patient(device, now_ns)
            if device.conditions:
                self._end_ruleless(device, now_ns)
                self._end_absences(device, now_ns)
            if device.rejected_ns:
                self._judge_rejects(device, now_ns)
            off = device.clock.is_off(self._clock_limits)
            if off or device.conditions:
                text = f"The clock of device {device.id} is wrong; set it"
                self.technical(device, "clock_off", off, text, now_ns)
        self._silence.judge(devices, now_ns)

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
        condition = device.conditions.get(key)
        if condition is not None and time_ns is not None and time_ns <= condition.judged_ns:
            return
        time_ns = now_ns if time_ns is None else time_ns
        alarm = condition.alarm if condition else None
        if not present:
            if alarm is not None:
                self.end(device, key, time_ns, now_ns, value)
            elif condition is not None:
                del device.conditions[key]
            return
        if alarm is None:
            onset_ns = time_ns if onset_ns is None else onset_ns
            part, _, parameter = key[0].rpartition("/")
            name = key[1]
            known = PARAMETERS.get(parameter)
            patient = None
            if kind == "physiological":
                patient = self._patients[device] = self._patient_of(device)
            alarm = Alarm(
                id=alarm_id(device.site, device.id, key[0], name, onset_ns),
                kind=kind,
                priority=priority,
                condition=name.removeprefix("device:"),
                site=device.site,
                device=device.id,
                onset_ns=onset_ns,
                presence="present",
                text=text,
                parameter=parameter or None,
                part=part,
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
        if condition is None or (priority, level, devices, until_ns) == (
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

    def end(
        self,
        device: Device,
        key: Key,
        time_ns: int,
        now_ns: int,
        value: Value | None = None,
        why: str | None = None,
    ) -> None:
        """End a condition; `why` where something other than itself does."""
        alarm = device.conditions.pop(key).alarm
        if alarm is not None:
            ended = replace(
                alarm, presence="absent", value=value, ended_ns=time_ns, changed_ns=time_ns, ended_why=why
            )
            self._tell("end", ended, now_ns)

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
        self._judge.forget(device)
        for key, condition in list(device.conditions.items()):
            if condition.alarm is None:
                del device.conditions[key]
            elif condition.alarm.kind == "physiological":
                self.end(
                    device, key, max(device.time_ns, condition.alarm.onset_ns), now_ns, why=PATIENT_CHANGED
                )
        return True

    def _end_ruleless(self, device: Device, now_ns: int) -> None:
        keys = self._limits_of(device).keys
        for key, condition in list(device.conditions.items()):
            if (key[0].rpartition("/")[2], key[1]) in keys or key[1].startswith("device:"):
                continue
            if condition.alarm is None and key[1] in ("limit_low", "limit_high"):
                del device.conditions[key]
            elif condition.alarm is not None and condition.alarm.kind == "physiological":
                self.end(device, key, now_ns, now_ns, why=RULE_GONE)

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
                self.end(device, ("", name), now_ns, now_ns, why="its time is over")

    def _judge_rejects(self, device: Device, now_ns: int) -> None:
        quiet_ns = self._limits_of(device).technical_rule("rejects").delay_ns
        rejecting = now_ns - device.rejected_ns < quiet_ns
        text = f"Messages of device {device.id} can't be used; see its rejects"
        self.technical(device, "rejects", rejecting, text, now_ns, "low")
        if not rejecting:
            device.rejected_ns = 0


def _keyed(condition: str, origin: str) -> str:
    return f"device:{condition}" if origin == "device" else condition

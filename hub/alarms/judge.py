"""Judging readings: limits in two levels, codes, rates, combinations, and what has no valid value."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hub.alarms.condition import TECHNICAL, Condition, Key
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
from hub.alarms.rules import CodedRule, Combination, Limits, Member, Rate, Side
from hub.clock import SECOND_NS
from hub.device import Device
from hub.model import Reading, Value
from hub.vocabulary import PARAMETERS

if TYPE_CHECKING:
    from hub.alarms.conditions import Conditions

MEMBER_AGE_NS = 60 * SECOND_NS
"""Part of a combination that another message gave counts for so long."""


class Judge:
    """Holds readings against the rules and sets the conditions of their device.

    Each part of a device that reports on its own, for instance a pump's channel, has conditions of its own.
    """

    def __init__(
        self,
        conditions: "Conditions",
        peers_of: Callable[[Device], Iterable[Device]],
        since_of: Callable[[Device], int],
    ) -> None:
        self._conditions = conditions
        self._peers_of = peers_of
        self._since_of = since_of
        self._samples: dict[Device, dict[Key, tuple[ConditionState, tuple[Sample, ...]]]] = {}

    def forget(self, device: Device) -> None:
        """Forget the samples of a patient who has left."""
        self._samples.pop(device, None)

    def judge(self, device: Device, limits: Limits, reading: Reading, now_ns: int) -> None:
        """Judge a reading that is newer than all before it."""
        time_ns, values = reading.time_ns, reading.values
        part = "" if reading.channel == "observations" else f"{reading.channel}/"
        together: dict[str, Combination] = {}
        if limits.rates:
            self._judge_rates(device, limits, reading, part, now_ns)
        for name, value in values.items():
            if isinstance(value, str):
                for rule in limits.coded.get(name, ()):
                    self._judge_code(device, rule, value, part, time_ns, now_ns)
            else:
                for side in limits.by_parameter.get(name, ()):
                    self.judge_side(device, side, value, part, time_ns, now_ns)
            for combination in limits.combinations.get(name, ()):
                together[combination.condition] = combination
            self._judge_no_value(device, limits, part + name, time_ns, now_ns, missing=False)
        for combination in together.values():
            self._judge_combination(device, combination, reading, now_ns)
        for name, (quality, _) in (reading.exceptions or {}).items():
            if quality != "questionable":
                self._judge_no_value(device, limits, part + name, time_ns, now_ns, missing=True)

    def judge_side(
        self, device: Device, side: Side, value: float, part: str, time_ns: int, now_ns: int
    ) -> None:
        """Judge one value against one side's limits."""
        key = (part + side.parameter, side.condition)
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
        self._conditions.put(
            device,
            key,
            level > 0,
            now_ns,
            kind="technical" if side.parameter.startswith(TECHNICAL) else "physiological",
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

    def _judge_code(
        self, device: Device, rule: CodedRule, value: str, part: str, time_ns: int, now_ns: int
    ) -> None:
        parameter = PARAMETERS[rule.parameter]
        self._conditions.put(
            device,
            (part + rule.parameter, rule.condition),
            value == rule.code,
            now_ns,
            kind="technical" if rule.parameter.startswith(TECHNICAL) else "physiological",
            priority=rule.priority,
            text=f"{parameter.display}: {parameter.meanings.get(rule.code, rule.code)}",
            time_ns=time_ns,
            value=value,
        )

    def _judge_rates(self, device: Device, limits: Limits, reading: Reading, part: str, now_ns: int) -> None:
        for name, rates in limits.rates.items():
            value = reading.values.get(name)
            if isinstance(value, float | int):
                for rate in rates:
                    self._judge_rate(device, rate, value, part, reading.time_ns, now_ns)

    def _judge_rate(
        self, device: Device, rate: Rate, value: float, part: str, time_ns: int, now_ns: int
    ) -> None:
        key = (part + rate.parameter, rate.condition)
        known = self._samples.setdefault(device, {})
        state, samples = known.get(key, (ABSENT, ()))
        condition = device.conditions.get(key)
        if condition is not None and condition.alarm is not None:
            state = ConditionState(condition.alarm.onset_ns, present=True)
        state, samples = evaluate_rate(state, samples, value, time_ns, rate)
        known[key] = (state, samples)
        parameter = PARAMETERS[rate.parameter]
        seconds = rate.window_ns / SECOND_NS
        self._conditions.put(
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
        self._conditions.put(
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
            if latest is not None and latest.time_ns > newest_ns and latest.time_ns >= self._since_of(peer):
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
                self._conditions.end(device, key, time_ns, now_ns)
            return
        if condition.alarm is None:
            rule = limits.technical_rule("no_valid_value")
            state = condition.state if isinstance(condition.state, ConditionState) else ABSENT
            condition.state = state = lasting(state, True, time_ns, rule.delay_ns)
            if state.present:
                self._conditions.put(
                    device,
                    key,
                    True,
                    now_ns,
                    kind="technical",
                    priority=rule.priority,
                    text=f"{PARAMETERS[name.rpartition('/')[2]].display}: no valid value",
                    time_ns=time_ns,
                    onset_ns=state.begun_ns,
                )


def _limit_text(name: str, value: float, side: str, bound: float) -> str:
    parameter = PARAMETERS[name]
    where = "below" if side == "low" else "above"
    return f"{parameter.display} {value:g} {parameter.unit} {where} {bound:g} {parameter.unit}"

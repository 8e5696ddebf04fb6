"""Whether a condition begins or ends: pure functions of its state, a value and a time.

Times are corrected device time, except where a condition has no readings to go by.
"""

from msgspec import Struct

from hub.alarms.rules import Limit, Rate, Side


class ConditionState(Struct, frozen=True, gc=False):
    """What is known of one condition between two readings."""

    begun_ns: int = 0
    """When the limit began to be violated; 0 while it isn't."""
    present: bool = False
    """True once it was violated for the whole condition delay."""


ABSENT = ConditionState()


class Levels(Struct, frozen=True, gc=False):
    """What is known of one side of a parameter: its warning and its critical limit."""

    warning: ConditionState = ABSENT
    critical: ConditionState = ABSENT

    @property
    def level(self) -> int:
        """0 for none, 1 while the warning is present, 2 while the critical condition is."""
        return 2 if self.critical.present else int(self.warning.present)

    @property
    def begun_ns(self) -> int:
        """When the limit that was violated first began to be."""
        begun = [state.begun_ns for state in (self.warning, self.critical) if state.begun_ns]
        return min(begun, default=0)


INSIDE = Levels()


class Sample(Struct, frozen=True, gc=False):
    """One value, for a rate of change."""

    time_ns: int
    value: float


def evaluate(state: ConditionState, value: float | None, time_ns: int, limit: Limit) -> ConditionState:
    """Return the condition's state after one reading.

    `value` None means no valid value, which says nothing about the patient: the state holds. A present
    condition ends only when the value is back inside the limit by the hysteresis.
    """
    if value is None:
        return state
    beyond = limit.bound - value if limit.side == "low" else value - limit.bound
    if state.present:
        inside_by = -beyond
        return ABSENT if inside_by >= limit.hysteresis else state
    return lasting(state, beyond > 0, time_ns, limit.delay_ns)


def evaluate_side(state: Levels, value: float | None, time_ns: int, side: Side) -> Levels:
    """Return the state of both levels after one reading.

    A value beyond the critical limit is beyond the warning limit too, so that when the critical condition
    ends the alarm goes on as a warning and never ends in between.
    """
    warning = evaluate(state.warning, value, time_ns, side.warning) if side.warning else ABSENT
    critical = evaluate(state.critical, value, time_ns, side.critical) if side.critical else ABSENT
    if critical.present and side.warning and not warning.present:
        warning = ConditionState(warning.begun_ns or critical.begun_ns, present=True)
    return state if (warning, critical) == (state.warning, state.critical) else Levels(warning, critical)


def lasting(state: ConditionState, violated: bool, time_ns: int, delay_ns: int) -> ConditionState:
    """Return the state of a condition without hysteresis: present once violated for the whole delay."""
    if not violated:
        return ABSENT
    begun_ns = state.begun_ns or time_ns
    return ConditionState(begun_ns, state.present or time_ns - begun_ns >= delay_ns)


def evaluate_rate(
    state: ConditionState, samples: tuple[Sample, ...], value: float, time_ns: int, rate: Rate
) -> tuple[ConditionState, tuple[Sample, ...]]:
    """Return the state of a rate of change after one reading, and the samples to hand in next time.

    Present when the value has moved by `amount` against its extreme within the window. At most 120 samples
    are kept: of readings that come faster, the extreme of each 1/120 of the window.
    """
    kept = [sample for sample in samples if time_ns - sample.time_ns <= rate.window_ns]
    falling = rate.direction == "fall"
    moved = max((s.value - value if falling else value - s.value for s in kept), default=0.0)
    violated = moved >= rate.amount
    step_ns = rate.window_ns // 120
    if kept and time_ns - kept[-1].time_ns < step_ns:
        more_extreme = value > kept[-1].value if falling else value < kept[-1].value
        if more_extreme:
            kept[-1] = Sample(kept[-1].time_ns, value)
    else:
        kept.append(Sample(time_ns, value))
    return lasting(state, violated, time_ns, 0), tuple(kept)

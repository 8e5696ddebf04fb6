"""Whether a condition begins or ends: a pure function of its state, a value and a time."""

from msgspec import Struct

from hub.alarms.limits import Limit


class ConditionState(Struct, frozen=True, gc=False):
    """What is known of one condition between two readings. Times are corrected device time."""

    begun_ns: int = 0
    """When the limit began to be violated; 0 while it isn't."""
    present: bool = False
    """True once it was violated for the whole condition delay."""


ABSENT = ConditionState()


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
    if beyond <= 0:
        return ABSENT
    begun_ns = state.begun_ns or time_ns
    return ConditionState(begun_ns, time_ns - begun_ns >= limit.delay_ns)

"""The life cycle of one signal: a pure function of its state, what happened, the policy and hub time.

Acknowledging, pausing and switching off act on the signal and never on the condition, and each has an end:
then the signal is back if the condition is still present (IEC 60601-1-8, IEEE 11073 BICEPS).
"""

from typing import NamedTuple

from msgspec.structs import replace

from hub.alarms.alarm import RANK, Alarm, Happening, Signal
from hub.alarms.rules import Policy, higher
from hub.model import Priority


class Change(NamedTuple):
    """What happened to a signal, and what it is now."""

    event: Happening
    signal: Signal
    why: str | None = None


class SignalRefused(ValueError):  # noqa: N818 - a refusal, told to who asked
    """What a person asked for isn't possible; the message says what is."""


def begin(priority: Priority, policy: Policy, now_ns: int) -> Signal:
    """Return the signal of a condition that has just begun. A high priority has no signal delay."""
    if policy.signal_delay_ns and priority != "high":
        return Signal("off", priority, due_ns=now_ns + policy.signal_delay_ns)
    return Signal("on", priority, raised_ns=now_ns)


def is_visible(signal: Signal) -> bool:
    """Tell whether people are shown the signal by itself, not merely listed."""
    return signal.presence != "off" and signal.activation != "off" and signal.under is None


def is_unanswered(signal: Signal) -> bool:
    """Tell whether people are shown the signal and nobody has taken charge of it."""
    return is_visible(signal) and signal.acknowledged_by is None


def raise_again(signal: Signal, now_ns: int) -> Signal:
    """Return the signal as if nobody had done anything about it yet."""
    return replace(
        signal,
        presence="on",
        activation="on",
        activation_until_ns=None,
        due_ns=None,
        raised_ns=signal.raised_ns or now_ns,
        acknowledged_by=None,
        acknowledged_ns=None,
        acknowledged_until_ns=None,
    )


def escalate(signal: Signal, priority: Priority, now_ns: int) -> Signal:
    """Return the signal of a condition whose priority rose: what a person did counted for the lower one."""
    if RANK[priority] <= RANK[signal.priority]:
        return replace(signal, priority=higher(priority, signal.priority))
    return replace(raise_again(signal, now_ns), priority=priority)


def de_escalate(signal: Signal, priority: Priority, policy: Policy) -> Signal:
    """Return the signal of a condition whose priority fell; a latching one goes on showing the higher."""
    return signal if policy.latching else replace(signal, priority=priority)


def come_back(signal: Signal, alarm: Alarm, now_ns: int) -> tuple[Signal, bool]:
    """Return the signal of a condition that came again in the same episode, and whether it is raised anew.

    A latched signal is raised anew, and so is an acknowledged one of a physiological high priority.
    """
    again = replace(signal, count=signal.count + 1, quiet_ns=None)
    urgent = alarm.kind == "physiological" and alarm.priority == "high"
    if signal.presence == "latched" or (
        urgent and not (signal.presence == "on" and signal.activation == "on")
    ):
        return replace(raise_again(again, now_ns), priority=higher(alarm.priority, signal.priority)), True
    return replace(again, priority=higher(alarm.priority, signal.priority)), False


def acknowledge(signal: Signal, who: str, policy: Policy, now_ns: int) -> Signal:
    """Return the signal that a person has taken charge of. A latched one stays latched until it is reset."""
    if signal.presence == "off":
        raise SignalRefused("this alarm gives no signal yet, so there is nothing to acknowledge")
    return replace(
        signal,
        presence="latched" if signal.presence == "latched" else "acknowledged",
        acknowledged_by=who,
        acknowledged_ns=now_ns,
        acknowledged_until_ns=now_ns + policy.acknowledge_ns,
        step_due_ns=None,
    )


def pause(signal: Signal, duration_ns: int, policy: Policy, now_ns: int) -> Signal:
    """Return the signal with its audio paused for a while."""
    if not 0 < duration_ns <= policy.longest_pause_ns:
        raise SignalRefused(f"the audio can be paused for up to {policy.longest_pause_ns / 1e9:g} s")
    return replace(signal, activation="paused", activation_until_ns=now_ns + duration_ns)


def switch_off(signal: Signal, why: str, until_ns: int, policy: Policy, now_ns: int) -> Signal:
    """Return the signal switched off until a time."""
    if not why.strip():
        raise SignalRefused("a signal is switched off with a reason")
    if not now_ns < until_ns <= now_ns + policy.longest_off_ns:
        raise SignalRefused(f"a signal can be switched off for up to {policy.longest_off_ns / 1e9:g} s")
    return replace(signal, activation="off", activation_until_ns=until_ns, step_due_ns=None)


def resume(signal: Signal) -> Signal:
    """Return the signal with a pause or a switching off taken back."""
    if signal.activation == "on":
        raise SignalRefused("this signal is neither paused nor switched off")
    return replace(signal, activation="on", activation_until_ns=None)


def reset(signal: Signal, alarm: Alarm, policy: Policy) -> Signal:
    """Return the signal after a person has reset what it holds of the past."""
    if alarm.presence == "absent" and signal.presence == "latched":
        return replace(signal, presence="off")
    if alarm.presence == "present" and policy.latching and signal.priority != alarm.priority:
        return replace(signal, priority=alarm.priority)
    raise SignalRefused("only a latched signal can be reset; this condition is still present")


def is_over(until_ns: int, longest_ns: int, now_ns: int) -> bool:
    """Tell whether a time is over: also where it is further off than it can have been set.

    Then the hub's clock was set back, and silence must not last for as long as that.
    """
    return now_ns >= until_ns or until_ns - now_ns > longest_ns


def pass_time(signal: Signal, alarm: Alarm, policy: Policy, now_ns: int) -> list[Change]:
    """Return what the passing of time does to a signal."""
    changes: list[Change] = []
    if signal.due_ns is not None and is_over(signal.due_ns, policy.signal_delay_ns, now_ns):
        signal = replace(signal, presence="on", due_ns=None, raised_ns=now_ns)
        changes.append(Change("signalled", signal, "its delay is over"))
    if signal.activation_until_ns is not None:
        paused = signal.activation == "paused"
        longest_ns = policy.longest_pause_ns if paused else policy.longest_off_ns
        if is_over(signal.activation_until_ns, longest_ns, now_ns):
            why = "the pause is over" if paused else "switching off is over"
            signal = replace(signal, activation="on", activation_until_ns=None)
            changes.append(Change("re-alarmed", signal, why))
    until_ns = signal.acknowledged_until_ns
    if (
        signal.presence == "acknowledged"
        and alarm.presence == "present"
        and until_ns is not None
        and is_over(until_ns, policy.acknowledge_ns, now_ns)
    ):
        signal = replace(
            raise_again(signal, now_ns),
            activation=signal.activation,
            activation_until_ns=signal.activation_until_ns,
        )
        changes.append(Change("re-alarmed", signal, "acknowledged, and still present"))
    return changes

"""What makes an alarm and how it is signalled, compiled for the evaluation: limits, rules, policies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from hub.alarms.alarm import RANK, Alarm
from hub.device import Device
from hub.model import Priority, Value

BoundSide = Literal["low", "high"]


class LimitsInvalid(ValueError):  # noqa: N818 - names the state of the file
    """Limits that can't be used; the message lists every error."""


class Limit(Struct, frozen=True):
    """One limit of one parameter: beyond it for `delay_ns`, the condition is present."""

    parameter: str
    condition: str
    """limit_low or limit_high."""
    side: BoundSide
    bound: float
    """In the vocabulary's unit. The bound itself is inside."""
    priority: Priority
    delay_ns: int
    hysteresis: float


class Side(Struct, frozen=True):
    """The low or the high limit of a parameter, in up to two levels."""

    parameter: str
    condition: str
    warning: Limit | None
    critical: Limit | None

    def limit(self, level: int) -> Limit:
        """Return the limit of a level, 1 or 2."""
        chosen = self.critical if level == 2 else self.warning
        if chosen is None:
            raise LookupError(f"{self.parameter} {self.condition} has no level {level}")
        return chosen


class Rate(Struct, frozen=True):
    """A rate of change: by `amount` within `window_ns`."""

    parameter: str
    condition: str
    """fast_fall or fast_rise."""
    direction: Literal["fall", "rise"]
    amount: float
    window_ns: int
    priority: Priority


class Member(Struct, frozen=True):
    """One part of a combination; the bound itself is outside it."""

    parameter: str
    below: float | None
    above: float | None

    def holds(self, value: Value) -> bool:
        """Tell whether a value is what this part asks for."""
        if isinstance(value, str):
            return False
        return (self.below is None or value < self.below) and (self.above is None or value > self.above)


class Combination(Struct, frozen=True):
    """Several values together that mean more than each by itself."""

    condition: str
    text: str
    priority: Priority
    delay_ns: int
    members: tuple[Member, ...]
    """The alarm is that of the device that gives the first."""


class CodedRule(Struct, frozen=True):
    """One code of a coded parameter that is an alarm."""

    parameter: str
    code: str
    condition: str
    priority: Priority


class WarningScore(Struct, frozen=True):
    """How the NEWS2 score alarms."""

    medium: Priority
    """At an aggregate of 5."""
    high: Priority
    """At an aggregate of 7."""
    single: Priority
    """Where a single parameter scores 3."""
    delay_ns: int
    incomplete: bool
    """Whether a score with inputs missing alarms by what is known, which it reaches at least."""
    max_age_ns: Mapping[str, int]
    """By input: an older one is stale."""


class Policy(Struct, frozen=True):
    """How one kind of alarm is signalled."""

    signal_delay_ns: int
    latching: bool
    acknowledge_ns: int
    """An acknowledged signal comes back after so long if the condition is still present."""
    longest_pause_ns: int
    longest_off_ns: int
    repeat_ns: int
    """Unacknowledged and at the end of its chain, it is told again every so often."""


class Technical(Struct, frozen=True):
    """How one technical condition is judged."""

    priority: Priority
    delay_ns: int


class Step(Struct, frozen=True):
    """One step of an escalation chain: who is asked, and how long the hub waits for an answer."""

    role: str
    """nurse, second-nurse, charge-nurse, or whatever a ward assigns people to."""
    wait_ns: int


class Flood(Struct, frozen=True):
    """When many alarms become one."""

    chatter_starts: int = 3
    """A condition that began so often within the window is an episode."""
    chatter_window_ns: int = 120_000_000_000
    chatter_quiet_ns: int = 60_000_000_000
    """An episode ends when the condition stayed away for so long."""
    gateway_devices: int = 3
    """A gateway is lost when all of its devices, at least so many, are silent."""


class Limits(Struct, frozen=True):
    """The rules for one kind of patient, or for one patient."""

    by_parameter: Mapping[str, tuple[Side, ...]]
    quiet: Mapping[str, tuple[Value, Value]]
    """By parameter: the closed range within which nothing needs a closer look."""
    rates: Mapping[str, tuple[Rate, ...]]
    combinations: Mapping[str, tuple[Combination, ...]]
    """By parameter that is part of them."""
    coded: Mapping[str, tuple[CodedRule, ...]]
    news2: WarningScore | None
    technical: Mapping[str, Technical]
    policies: Mapping[Priority, Policy]
    own_policies: Mapping[str, Policy]
    """By `parameter/condition`, `parameter` or `condition`, where it differs from its priority's."""
    flood: Flood
    chains: Mapping[Priority, tuple[Step, ...]]
    keys: frozenset[tuple[str, str]]
    """Parameter ("" for none) and condition of every rule that readings are judged by."""
    longest_absence_ns: int
    """Standby and transport suppress the silence alarm for at most so long."""

    def policy(self, alarm: Alarm) -> Policy:
        """Return how an alarm is signalled."""
        parameter = alarm.parameter or ""
        own = self.own_policies
        return (
            own.get(f"{parameter}/{alarm.condition}")
            or own.get(parameter or alarm.condition)
            or own.get(alarm.condition)
            or self.policies[alarm.priority]
        )

    def technical_rule(self, condition: str) -> Technical:
        """Return how a technical condition is judged."""
        return self.technical.get(condition) or Technical("medium", 0)


class Override(Struct, frozen=True, kw_only=True):
    """A change of the rules for a site, a ward or a patient: who made it, why, and until when."""

    id: int = 0
    scope: Literal["site", "ward", "patient"]
    site: str
    scope_id: str
    """The site's or ward's id, or the patient's surrogate id."""
    table: str
    """The table of the limits file that it changes: a parameter, or `news2`, `technical.X`, `signals.X`."""
    values: dict[str, Any]
    """Keys of that table; None takes a limit away."""
    who: str
    why: str
    set_ns: int
    age_group: str | None = None
    """Only for patients of this group; None for all."""
    until_ns: int | None = None
    bed: str | None = None
    """Of a patient: the bed of the stay for which it was made; it ends with the stay."""
    ended_ns: int | None = None
    ended_by: str | None = None
    ended_why: str | None = None

    def is_for(self, age_group: str) -> bool:
        """Tell whether it concerns patients of an age group."""
        return self.age_group in (None, age_group)

    def holds(self, now_ns: int) -> bool:
        """Tell whether it is in force."""
        return self.ended_ns is None and (self.until_ns is None or now_ns < self.until_ns)


_ORDER = {"site": 0, "ward": 1, "patient": 2}


def in_order(overrides: Sequence[Override]) -> list[Override]:
    """Return overrides in the order in which they apply: what is nearer to the patient, and later, wins."""
    return sorted(overrides, key=lambda one: (_ORDER[one.scope], one.set_ns, one.id))


class RuleSet(Protocol):
    """Where compiled rules come from."""

    def of_valid(self, age_group: str, overrides: Sequence[Override] = ()) -> Limits:
        """Return the rules of an age group with those overrides applied that fit together; never raises."""


LimitsOf = Callable[[Device], Limits]


def limits_lookup(
    rules: RuleSet,
    age_group_of: Callable[[Device], str],
    version: Callable[[], int],
    overrides_of: Callable[[Device], Sequence[Override]] = lambda _: (),
) -> LimitsOf:
    """Return the rules of whoever a device is at, looked up anew whenever `version` rises.

    `version` must rise with every change of a placement and of an override that is in force.
    """

    def limits_of(device: Device) -> Limits:
        current = version()
        limits = device.limits
        if limits is None or device.limits_version != current:
            limits = device.limits = rules.of_valid(age_group_of(device), overrides_of(device))
            device.limits_version = current
        return limits

    return limits_of


def higher(first: Priority, second: Priority) -> Priority:
    """Return the higher of two priorities."""
    return first if RANK[first] >= RANK[second] else second

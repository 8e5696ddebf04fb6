"""The tables of the limits file, as pydantic checks them."""

from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.alarms.rules import Flood, Policy, Step, Technical, WarningScore
from hub.clock import SECOND_NS
from hub.model import Priority
from hub.vocabulary import PARAMETERS, unknown

PRIORITIES: Final[tuple[Priority, ...]] = ("high", "medium", "low", "information")

LONGEST_DELAY_S: Final = 60.0
"""A restart takes running delays up again from the readings of the journal; older ones don't alarm."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    source: str = ""
    """Where the numbers come from."""
    verified: bool = True
    """False where the source was not at hand or is one alone."""


class ParameterTable(_Table):
    """The limits of one parameter."""

    low: float | None = None
    high: float | None = None
    critical_low: float | None = None
    critical_high: float | None = None
    priority: Priority = "medium"
    critical_priority: Priority = "high"
    delay_s: float = Field(default=0.0, ge=0, le=LONGEST_DELAY_S)
    critical_delay_s: float = Field(default=0.0, ge=0, le=LONGEST_DELAY_S)
    hysteresis: float = Field(default=0.0, ge=0)
    fall: float | None = Field(default=None, gt=0)
    """Alarm when the value falls by so much within `rate_window_s`."""
    rise: float | None = Field(default=None, gt=0)
    rate_window_s: float = Field(default=60.0, gt=0, le=3600)
    rate_priority: Priority = "medium"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        bounds = [b for b in (self.critical_low, self.low, self.high, self.critical_high) if b is not None]
        if bounds != sorted(bounds) or len(set(bounds)) != len(bounds):
            raise ValueError("expected critical_low < low < high < critical_high")
        return self


class MemberTable(BaseModel):
    """One part of a combination."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    parameter: str
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        parameter = PARAMETERS.get(self.parameter)
        if parameter is None or not parameter.is_number:
            raise ValueError(unknown(self.parameter) if parameter is None else "combinations take numbers")
        if self.below is None and self.above is None:
            raise ValueError("give below or above")
        return self


class CombinationTable(_Table):
    """Several values that alarm together."""

    condition: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    text: str
    enabled: bool = True
    priority: Priority = "high"
    delay_s: float = Field(default=0.0, ge=0, le=LONGEST_DELAY_S)
    all: list[MemberTable] = Field(min_length=2)


class CodedTable(_Table):
    """One code that alarms."""

    condition: str = ""
    priority: Priority = "medium"


class SignalTable(_Table):
    """How one priority, or one kind of alarm, is signalled. What is left out is as its priority says."""

    signal_delay_s: float | None = Field(default=None, ge=0, le=60)
    latching: bool | None = None
    acknowledge_s: float | None = Field(default=None, gt=0, le=86_400)
    longest_pause_s: float | None = Field(default=None, gt=0, le=3600)
    longest_off_s: float | None = Field(default=None, gt=0, le=7 * 86_400)
    repeat_s: float | None = Field(default=None, gt=0, le=86_400)

    def policy(self, base: Policy | None) -> Policy:
        """Complete the table with a priority's policy; without one every key must be there."""
        missing = [
            name
            for name in (
                "signal_delay_s",
                "latching",
                "acknowledge_s",
                "longest_pause_s",
                "longest_off_s",
                "repeat_s",
            )
            if base is None and getattr(self, name) is None
        ]
        if missing:
            raise ValueError(f"signals: give {', '.join(missing)}")

        def of(seconds: float | None, base_ns: int) -> int:
            return base_ns if seconds is None else round(seconds * SECOND_NS)

        base = base or Policy(0, False, 0, 0, 0, 0)  # every key is there: none of these stays
        return Policy(
            of(self.signal_delay_s, base.signal_delay_ns),
            base.latching if self.latching is None else self.latching,
            of(self.acknowledge_s, base.acknowledge_ns),
            of(self.longest_pause_s, base.longest_pause_ns),
            of(self.longest_off_s, base.longest_off_ns),
            of(self.repeat_s, base.repeat_ns),
        )


class TechnicalTable(_Table):
    """How one technical condition is judged."""

    priority: Priority = "medium"
    delay_s: float = Field(default=0.0, ge=0, le=3600)

    def compiled(self) -> Technical:
        """Return the rule."""
        return Technical(self.priority, round(self.delay_s * SECOND_NS))


class StepTable(BaseModel):
    """One step of an escalation chain."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    role: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    wait_s: float = Field(gt=0, le=3600)


class EscalationTable(_Table):
    """Who is asked about alarms of one priority, in order."""

    steps: list[StepTable] = []

    def compiled(self) -> tuple[Step, ...]:
        """Return the chain."""
        return tuple(Step(step.role, round(step.wait_s * SECOND_NS)) for step in self.steps)


class News2Table(_Table):
    """How the NEWS2 score alarms."""

    enabled: bool = True
    medium: Priority = "medium"
    high: Priority = "high"
    single: Priority = "medium"
    delay_s: float = Field(default=0.0, ge=0, le=3600)
    incomplete: bool = False
    max_age_s: dict[str, float] = {}

    def compiled(self) -> WarningScore:
        """Return the rule."""
        ages = {name: round(seconds * SECOND_NS) for name, seconds in self.max_age_s.items()}
        return WarningScore(
            self.medium, self.high, self.single, round(self.delay_s * SECOND_NS), self.incomplete, ages
        )


class FloodTable(_Table):
    """When many alarms become one, and how long standby and transport may last."""

    chatter_starts: int = Field(default=3, ge=2)
    chatter_window_s: float = Field(default=120.0, gt=0)
    chatter_quiet_s: float = Field(default=60.0, gt=0)
    gateway_devices: int = Field(default=3, ge=2)
    longest_absence_s: float = Field(default=4 * 3600.0, gt=0, le=86_400)

    def compiled(self) -> Flood:
        """Return the rule."""
        return Flood(
            self.chatter_starts,
            round(self.chatter_window_s * SECOND_NS),
            round(self.chatter_quiet_s * SECOND_NS),
            self.gateway_devices,
        )

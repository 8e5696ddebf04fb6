"""Alarm limits: data from a TOML file, checked against the vocabulary, compiled for the evaluation."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hub.model import Priority
from hub.vocabulary import PARAMETERS, unknown

Side = Literal["low", "high"]
DEFAULTS = Path(__file__).with_name("defaults.toml")


class LimitsInvalid(ValueError):  # noqa: N818 - names the state of the file
    """A limits file that can't be used; the message lists every error."""


class Limit(Struct, frozen=True):
    """One limit of one parameter: beyond it for `delay_ns`, the condition is present."""

    parameter: str
    condition: str
    """limit_low, limit_high, critical_low or critical_high."""
    side: Side
    bound: float
    """In the vocabulary's unit. The bound itself is inside."""
    priority: Priority
    delay_ns: int
    hysteresis: float


class Limits(Struct, frozen=True):
    """The limits of one kind of patient."""

    by_parameter: Mapping[str, tuple[Limit, ...]]
    quiet: Mapping[str, tuple[float, float]]
    """By parameter: the closed range within which no limit is violated."""


class _ParameterLimits(BaseModel):
    model_config = ConfigDict(extra="forbid")

    low: float | None = None
    high: float | None = None
    critical_low: float | None = None
    critical_high: float | None = None
    priority: Priority = "medium"
    critical_priority: Priority = "high"
    delay_s: float = Field(default=0.0, ge=0, le=300)
    critical_delay_s: float = Field(default=0.0, ge=0, le=300)
    hysteresis: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> "_ParameterLimits":
        bounds = [b for b in (self.critical_low, self.low, self.high, self.critical_high) if b is not None]
        if not bounds:
            raise ValueError("give at least one of low, high, critical_low, critical_high")
        if bounds != sorted(bounds) or len(set(bounds)) != len(bounds):
            raise ValueError("expected critical_low < low < high < critical_high")
        return self

    def limits(self, parameter: str) -> tuple[Limit, ...]:
        sides: tuple[tuple[Side, str, float | None, Priority, float], ...] = (
            ("low", "limit_low", self.low, self.priority, self.delay_s),
            ("high", "limit_high", self.high, self.priority, self.delay_s),
            ("low", "critical_low", self.critical_low, self.critical_priority, self.critical_delay_s),
            ("high", "critical_high", self.critical_high, self.critical_priority, self.critical_delay_s),
        )
        return tuple(
            Limit(parameter, condition, side, bound, priority, round(delay_s * 1e9), self.hysteresis)
            for side, condition, bound, priority, delay_s in sides
            if bound is not None
        )


class LimitSet:
    """The limits of each age group; a group that the file doesn't name has the adult ones."""

    def __init__(self, groups: Mapping[str, Limits]) -> None:
        self._groups = groups

    def of(self, age_group: str) -> Limits:
        """Return the limits of `adult`, `paediatric` or `neonatal`."""
        return self._groups.get(age_group) or self._groups["adult"]


def load_limits(path: Path = DEFAULTS) -> LimitSet:
    """Read a limits file. Raises LimitsInvalid with every error, each naming file, key and what to change."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LimitsInvalid(f"{path}: can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LimitsInvalid(f"{path}: not TOML: {error}") from error
    errors: list[str] = []
    if document.pop("version", None) != 1:
        errors.append(f"{path}: version: expected 1")
    groups: dict[str, Limits] = {}
    for group, tables in document.items():
        if group not in ("adult", "paediatric", "neonatal") or not isinstance(tables, dict):
            errors.append(f"{path}: {group}: expected a table named adult, paediatric or neonatal")
            continue
        tables.pop("source", None)
        groups[group] = _group(path, group, tables, errors)
    if "adult" not in groups:
        errors.append(f"{path}: adult: the adult limits are missing")
    if errors:
        raise LimitsInvalid("\n".join(errors))
    return LimitSet(groups)


def _group(path: Path, group: str, tables: dict[str, object], errors: list[str]) -> Limits:
    by_parameter: dict[str, tuple[Limit, ...]] = {}
    for name, table in tables.items():
        parameter = PARAMETERS.get(name)
        if parameter is None or parameter.coded is not None:
            problem = unknown(name) if parameter is None else f"{name} is coded; limits are for numbers"
            errors.append(f"{path}: {group}.{name}: {problem}")
            continue
        try:
            by_parameter[name] = _ParameterLimits.model_validate(table).limits(name)
        except ValidationError as error:
            for one in error.errors():
                key = ".".join([group, name, *(str(part) for part in one["loc"])])
                errors.append(f"{path}: {key}: {one['msg']}")
    return Limits(by_parameter, {name: _quiet(limits) for name, limits in by_parameter.items()})


def _quiet(limits: tuple[Limit, ...]) -> tuple[float, float]:
    lows = [limit.bound for limit in limits if limit.side == "low"]
    highs = [limit.bound for limit in limits if limit.side == "high"]
    return max(lows, default=float("-inf")), min(highs, default=float("inf"))

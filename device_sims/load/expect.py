"""Expectations such as "lost=0,alarm_p99_ms<250", and whether a result meets them."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from device_sims.errors import InputError

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORM = re.compile(r"\s*([a-z0-9_]+)\s*(==|!=|<=|>=|=|<|>)\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*")


@dataclass(frozen=True)
class Expectation:
    """One condition that a result must meet."""

    key: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.key}{self.sign}{self.bound:g}"

    def met(self, result: Mapping[str, float | None]) -> bool:
        """Tell whether it is met; what was not measured is not met."""
        value = result[self.key]
        return value is not None and _OPERATORS[self.sign](value, self.bound)


def parse_expectations(text: str, keys: list[str]) -> list[Expectation]:
    """Read expectations separated by commas. Raises InputError naming what is wrong."""
    found = []
    for part in filter(str.strip, text.split(",")):
        form = _FORM.fullmatch(part)
        if form is None:
            raise InputError(f"--expect {part.strip()!r}: give KEY, one of = != < <= > >=, and a number")
        key, sign, bound = form.groups()
        if key not in keys:
            raise InputError(f"--expect {part.strip()!r}: no {key}; there are {', '.join(keys)}")
        try:
            found.append(Expectation(key, sign, float(bound)))
        except ValueError:
            raise InputError(f"--expect {part.strip()!r}: {bound} is no number") from None
    return found

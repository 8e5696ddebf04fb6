"""NEWS2 by the chart of the Royal College of Physicians (2017). Pure.

Values are first rounded to the chart's precision (whole numbers, temperature to 0.1 Cel; halves up), so that
no fraction falls between two bands. What is missing, stale or invalid is named and never counted as 0: then
there is no total, only the sum that the known parts reach at least.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from typing import Any, Literal

from msgspec import Struct

from hub.vocabulary import PARAMETERS

Risk = Literal["low", "low-medium", "medium", "high"]
Doubt = Literal["missing", "stale", "invalid"]

MINIMUM_AGE = 16
"""The chart is not for anybody younger, nor in pregnancy."""

RESPONSES: dict[Risk, str] = {
    "low": "ward-based response",
    "low-medium": "urgent review by a ward-based clinician; monitoring at least hourly",
    "medium": "urgent review within 1 h; monitoring at least hourly",
    "high": "emergency assessment; continuous monitoring",
}
MEDIUM, HIGH, SINGLE = 5, 7, 3
"""Thresholds of the aggregate, and of a single parameter."""

SCORED = ("respiratory_rate", "spo2", "on_oxygen", "systolic", "pulse", "consciousness", "temperature")
"""The seven parts of the score, by the name of their input."""

# Upper ends of all bands but the last, and the score of each band.
_RESPIRATORY_RATE = ((8, 11, 20, 24), (3, 1, 0, 2, 3))
_SPO2_SCALE_1 = ((91, 93, 95), (3, 2, 1, 0))
_SPO2_SCALE_2_ON_AIR = ((83, 85, 87), (3, 2, 1, 0))
_SPO2_SCALE_2_ON_OXYGEN = ((83, 85, 87, 92, 94, 96), (3, 2, 1, 0, 1, 2, 3))
_SYSTOLIC = ((90, 100, 110, 219), (3, 2, 1, 0, 3))
_PULSE = ((40, 50, 90, 110, 130), (3, 1, 0, 1, 2, 3))
_TEMPERATURE = ((350, 360, 380, 390), (3, 1, 0, 1, 2))  # in tenths

_NUMBERS = {
    "respiratory_rate": PARAMETERS["respiratory_rate"],
    "spo2": PARAMETERS["spo2"],
    "systolic": PARAMETERS["nibp_systolic"],
    "pulse": PARAMETERS["pulse_rate"],
    "temperature": PARAMETERS["temperature"],
}
_CONSCIOUSNESS = {"A": 0, "C": 3, "V": 3, "P": 3, "U": 3}
_WORDS = {
    "ALERT": "A",
    "CONFUSION": "C",
    "NEW CONFUSION": "C",
    "VOICE": "V",
    "PAIN": "P",
    "UNRESPONSIVE": "U",
}


class Inputs(Struct, frozen=True, kw_only=True):
    """What is known of a patient; None for what isn't."""

    respiratory_rate: float | None = None
    """/min"""
    spo2: float | None = None
    """%"""
    spo2_scale: int = 1
    """2 only where a clinician prescribed it (hypercapnic respiratory failure)."""
    on_oxygen: bool | None = None
    systolic: float | None = None
    """mm[Hg]"""
    pulse: float | None = None
    """/min"""
    consciousness: str | None = None
    """ACVPU: A, C, V, P or U."""
    temperature: float | None = None
    """Cel"""
    doubts: Mapping[str, Doubt] = {}
    """By input: why a value that is given must not be used."""


class Score(Struct, frozen=True, kw_only=True):
    """A score, or why there is none."""

    total: int | None
    """0 to 20; None where an input is missing, stale or invalid."""
    at_least: int
    """The sum of the known parts: the total is this or more."""
    risk: Risk | None
    """None where there is no total."""
    risk_at_least: Risk
    """What the known parts amount to by themselves."""
    single_three: tuple[str, ...]
    """Parts that score 3 by themselves."""
    scores: dict[str, int | None]
    """By part; None where it is unknown."""
    spo2_scale: int
    problems: dict[str, str]
    """By input: what is wrong with it."""


def score(inputs: Inputs) -> Score:
    """Score a patient by the chart."""
    problems: dict[str, str] = {}
    numbers = {name: _number(inputs, name, problems) for name in _NUMBERS}
    on_oxygen = _on_oxygen(inputs, problems)
    scores: dict[str, int | None] = {
        "respiratory_rate": _banded(numbers["respiratory_rate"], _RESPIRATORY_RATE),
        "spo2": _spo2(numbers["spo2"], inputs.spo2_scale, on_oxygen, problems),
        "on_oxygen": None if on_oxygen is None else 2 * on_oxygen,
        "systolic": _banded(numbers["systolic"], _SYSTOLIC),
        "pulse": _banded(numbers["pulse"], _PULSE),
        "consciousness": _consciousness(inputs, problems),
        "temperature": _banded(numbers["temperature"], _TEMPERATURE),
    }
    known = [points for points in scores.values() if points is not None]
    at_least = sum(known)
    single = tuple(name for name, points in scores.items() if points == SINGLE)
    complete = len(known) == len(scores)
    lowest = _risk(at_least, bool(single))
    return Score(
        total=at_least if complete else None,
        at_least=at_least,
        risk=lowest if complete else None,
        risk_at_least=lowest,
        single_three=single,
        scores=scores,
        spo2_scale=inputs.spo2_scale,
        problems=problems,
    )


def not_for(age_years: float | None, *, pregnant: bool) -> str | None:
    """Return why the chart isn't for this patient, or None where it is."""
    if age_years is not None and age_years < MINIMUM_AGE:
        return f"NEWS2 is not for patients under {MINIMUM_AGE}"
    return "NEWS2 is not for use in pregnancy" if pregnant else None


class News2InputInvalid(ValueError):  # noqa: N818 - names the state of the input
    """The text is no JSON array of objects; the message says what was expected."""


def news2_json(text: str | bytes) -> str:
    """Score a JSON array of inputs and return a JSON array with one object for each, in order.

    Members of an input: `respiratory_rate`, `spo2`, `spo2_scale`, `on_oxygen`, `systolic`, `pulse`,
    `consciousness`, `temperature`, and where known `age` in years and `pregnant`. Raises News2InputInvalid.
    """
    try:
        items = json.loads(text)
    except ValueError as error:
        raise News2InputInvalid(f"expected a JSON array of inputs: {error}") from error
    if not isinstance(items, list):
        raise News2InputInvalid('expected a JSON array of inputs, for instance [{"respiratory_rate": 16}]')
    results = []
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise News2InputInvalid(f"item {position}: expected an object")
        results.append(_score_item(item))
    return json.dumps(results, indent=2)


def _score_item(item: dict[str, Any]) -> dict[str, Any]:
    members = dict(item)
    age, pregnant = members.pop("age", None), members.pop("pregnant", False)
    known = {name: members.pop(name) for name in SCORED if name in members}
    scale = members.pop("spo2_scale", 1)
    unusable = age if isinstance(age, int | float) and not isinstance(age, bool) else None
    reason = not_for(unusable, pregnant=pregnant is True)
    scale_value = scale if type(scale) is int else 0
    result = score(Inputs(**known, spo2_scale=scale_value))
    problems = dict(result.problems)
    for name in members:
        problems[name] = f"no such input; use {', '.join(SCORED)} or spo2_scale"
    if (age is not None and unusable is None) or not isinstance(pregnant, bool):
        problems["age" if isinstance(pregnant, bool) else "pregnant"] = (
            "expected a number of years / a boolean"
        )
    told = {
        "total": result.total,
        "at_least": result.at_least,
        "risk": result.risk,
        "risk_at_least": result.risk_at_least,
        "response": RESPONSES[result.risk] if result.risk else None,
        "single_three": list(result.single_three),
        "complete": result.total is not None,
        "scores": result.scores,
        "spo2_scale": scale,
        "problems": problems,
    }
    if reason is None:
        return told
    nothing = dict.fromkeys(SCORED)
    return {
        **dict.fromkeys(told),
        "single_three": [],
        "complete": False,
        "scores": nothing,
        "spo2_scale": scale,
        "problems": {**problems, "patient": reason},
    }


def _risk(total: int, single_three: bool) -> Risk:
    if total >= HIGH:
        return "high"
    if total >= MEDIUM:
        return "medium"
    return "low-medium" if single_three else "low"


def _banded(value: int | None, bands: tuple[tuple[int, ...], tuple[int, ...]]) -> int | None:
    return None if value is None else bands[1][bisect_left(bands[0], value)]


def _spo2(value: int | None, scale: int, on_oxygen: bool | None, problems: dict[str, str]) -> int | None:
    if scale == 1:
        return _banded(value, _SPO2_SCALE_1)
    if scale != 2:
        problems["spo2_scale"] = "expected 1 or 2"
        return None
    if value is not None and value > 92 and on_oxygen is None:
        problems.setdefault("on_oxygen", "missing")
        return None  # on scale 2 it decides whether this much is too much
    return _banded(value, _SPO2_SCALE_2_ON_OXYGEN if on_oxygen else _SPO2_SCALE_2_ON_AIR)


def _number(inputs: Inputs, name: str, problems: dict[str, str]) -> int | None:
    """Return a usable value at the chart's precision: temperature in tenths, everything else whole."""
    value: object = getattr(inputs, name)
    parameter = _NUMBERS[name]
    problem: str | None = inputs.doubts.get(name)
    if problem is None and value is None:
        problem = "missing"
    elif problem is None and (isinstance(value, bool) or not isinstance(value, int | float)):
        problem = "invalid: expected a number"
    elif problem is None and not (
        isfinite(value) and parameter.low <= value <= parameter.high  # type: ignore[arg-type,operator]
    ):
        problem = f"invalid: outside {parameter.low:g} to {parameter.high:g} {parameter.unit}"
    if problem is not None:
        problems[name] = problem
        return None
    exact = Decimal(str(value))
    if name == "temperature":
        exact *= 10
    return int(exact.to_integral_value(ROUND_HALF_UP))


def _on_oxygen(inputs: Inputs, problems: dict[str, str]) -> bool | None:
    value: object = inputs.on_oxygen
    doubt = inputs.doubts.get("on_oxygen")
    if doubt is None and isinstance(value, bool):
        return value
    problems["on_oxygen"] = doubt or ("missing" if value is None else "invalid: expected true or false")
    return None


def _consciousness(inputs: Inputs, problems: dict[str, str]) -> int | None:
    value: object = inputs.consciousness
    doubt = inputs.doubts.get("consciousness")
    if doubt is None and isinstance(value, str):
        code = value.strip().upper()
        points = _CONSCIOUSNESS.get(_WORDS.get(code, code))
        if points is not None:
            return points
        doubt = "invalid"
    if doubt is None:
        doubt = "missing" if value is None else "invalid"
    problems["consciousness"] = doubt if doubt != "invalid" else "invalid: expected A, C, V, P or U"
    return None

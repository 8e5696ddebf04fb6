"""The limits file: TOML, checked against the vocabulary with every error told, compiled into rules."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from hub.alarms import schema
from hub.alarms.rules import (
    BoundSide,
    CodedRule,
    Combination,
    Limit,
    Limits,
    LimitsInvalid,
    Member,
    Override,
    Policy,
    Rate,
    Side,
    Step,
    in_order,
)
from hub.alarms.selftest import CANARY, SIDE
from hub.clock import SECOND_NS
from hub.model import Priority, Value
from hub.vocabulary import PARAMETERS, unknown

__all__ = ["DEFAULTS", "LimitSet", "LimitsInvalid", "limit_set", "load_limits"]

DEFAULTS = Path(__file__).with_name("defaults.toml")
AGE_GROUPS: Final = ("adult", "paediatric", "neonatal")
_SHARED: Final = ("signals", "technical", "coded", "escalation", "news2", "flood")
"""Tables beside the age groups."""
_NAMED: Final = ("signals", "technical", "coded", "escalation")
"""Those that hold one table a name; others know them as `signals.high` and so on."""
_ALWAYS: Final = ("\uffff", "")
"""A quiet range that holds nothing: every value gets the closer look."""

COMBINATION: Final = "combination."
"""Before the condition of a combination: the name of its table."""

Tables = dict[str, dict[str, Any]]


class LimitSet:
    """The rules of each age group; a group that the file doesn't name has the adult ones."""

    def __init__(self, document: Mapping[str, Any], source: str) -> None:
        self._document = document
        self._source = source
        self._compiled = lru_cache(maxsize=4096)(self._compile)

    def of(self, age_group: str, overrides: Sequence[Override] = ()) -> Limits:
        """Return the rules of an age group. Raises LimitsInvalid for a bad override."""
        group = age_group if age_group in self._document else "adult"
        return self._compiled(group, tuple(_Applied(one) for one in in_order(overrides) if one.is_for(group)))

    def of_valid(self, age_group: str, overrides: Sequence[Override] = ()) -> Limits:
        """Return the rules of an age group with those overrides applied that fit together; never raises.

        Two changes may each be right and contradict each other: a site's lower limit above a patient's upper
        one. The wider one then holds.
        """
        try:
            return self.of(age_group, overrides)
        except LimitsInvalid:
            fitting: list[Override] = []
            for one in in_order(overrides):
                try:
                    self.of(age_group, [*fitting, one])
                except LimitsInvalid:
                    continue
                fitting.append(one)
            return self.of(age_group, fitting)

    def tables(self, age_group: str, overrides: Sequence[Override] = ()) -> Tables:
        """Return the tables of an age group as they are in the file, with overrides applied."""
        group = age_group if age_group in self._document else "adult"
        tables: Tables = {
            name: dict(table) for name, table in self._document[group].items() if isinstance(table, dict)
        }
        combinations = self._document[group].get("combination", [])
        tables |= {name: dict(table) for name, table in _named(combinations)}
        for name in _SHARED:
            shared = self._document.get(name, {})
            if name in _NAMED:
                tables |= {f"{name}.{key}": dict(table) for key, table in shared.items()}
            else:
                tables[name] = dict(shared)
        for one in in_order(overrides):
            if not one.is_for(group) or (one.table.startswith(COMBINATION) and one.table not in tables):
                continue  # not every age group has every combination
            table = tables.setdefault(one.table, {})
            for key, value in one.values.items():
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value
        return tables

    def _compile(self, group: str, overrides: "tuple[_Applied, ...]") -> Limits:
        errors: list[str] = []
        tables = self.tables(group, [one.override for one in overrides])
        limits = _limits(tables, f"{self._source}: {group}", errors)
        if errors:
            raise LimitsInvalid("\n".join(errors))
        return limits


class _Applied:
    """An override as a key: two with the same effect are the same."""

    def __init__(self, override: Override) -> None:
        self.override = override
        self._key = (override.scope, override.table, repr(sorted(override.values.items(), key=repr)))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Applied) and other._key == self._key


def load_limits(path: Path = DEFAULTS) -> LimitSet:
    """Read a limits file. Raises LimitsInvalid with every error, each naming file, key and what to change."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LimitsInvalid(f"{path}: can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LimitsInvalid(f"{path}: not TOML: {error}") from error
    return limit_set(document, str(path))


def limit_set(document: dict[str, Any], source: str) -> LimitSet:
    """Check a parsed limits file. What it has no table for is taken from the built-in one."""
    errors: list[str] = []
    if document.pop("version", None) not in (1, 2):
        errors.append(f"{source}: version: expected 2")
    errors += [
        f"{source}: {name}: expected a table named {', '.join((*AGE_GROUPS, *_SHARED))}"
        for name, table in document.items()
        if name not in (*AGE_GROUPS, *_SHARED) or not isinstance(table, dict)
    ]
    if not errors:
        errors += _unnamed(document, source)
    if "adult" not in document:
        errors.append(f"{source}: adult: the adult limits are missing")
    if errors:
        raise LimitsInvalid("\n".join(errors))
    if source != str(DEFAULTS):
        built_in = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))
        document = {name: built_in[name] for name in _SHARED} | document
    rules = LimitSet(document, source)
    for group in AGE_GROUPS:
        if group in document:
            try:
                rules.of(group)
            except LimitsInvalid as error:
                errors += str(error).splitlines()
    if errors:
        raise LimitsInvalid("\n".join(dict.fromkeys(errors)))
    return rules


def _limits(tables: Tables, where: str, errors: list[str]) -> Limits:
    by_parameter: dict[str, tuple[Side, ...]] = {}
    rates: dict[str, tuple[Rate, ...]] = {}
    policies: dict[str, schema.SignalTable] = {}
    own: dict[str, schema.SignalTable] = {}
    technical: dict[str, schema.TechnicalTable] = {}
    coded: dict[str, tuple[CodedRule, ...]] = {}
    together: dict[str, tuple[Combination, ...]] = {}
    news2: schema.News2Table | None = None
    flood = schema.FloodTable()
    chains: dict[Priority, tuple[Step, ...]] = {}
    for name, table in tables.items():
        kind, _, key = name.partition(".")
        try:
            if kind == "signals":
                (policies if key in schema.PRIORITIES else own)[key] = schema.SignalTable.model_validate(
                    table
                )
            elif kind == "technical":
                technical[key] = schema.TechnicalTable.model_validate(table)
            elif kind == "coded":
                coded[key] = _coded(key, table)
            elif kind == "combination":
                _combine(together, key, schema.CombinationTable.model_validate(table))
            elif kind == "escalation":
                chains[_priority(key)] = schema.EscalationTable.model_validate(table).compiled()
            elif kind == "news2":
                news2 = schema.News2Table.model_validate(table)
            elif kind == "flood":
                flood = schema.FloodTable.model_validate(table)
            else:
                checked = _parameter_table(name, table)
                by_parameter[name] = _sides(name, checked)
                rates[name] = _rates(name, checked)
        except ValidationError as error:
            errors += [_line(where, name, one["loc"], one["msg"]) for one in error.errors()]
        except ValueError as error:
            errors.append(f"{where}.{name}: {error}")
    by_parameter[CANARY] = (SIDE,)
    missing = [priority for priority in schema.PRIORITIES if priority not in policies]
    errors += [f"{where}: signals.{priority}: the table is missing" for priority in missing]
    if errors:
        return Limits({}, {}, {}, {}, {}, None, {}, {}, {}, flood.compiled(), {}, frozenset(), 0)
    by_priority = {priority: policies[priority].policy(None) for priority in schema.PRIORITIES}
    return Limits(
        by_parameter=by_parameter,
        quiet=_quiet(by_parameter, together, coded),
        rates={name: found for name, found in rates.items() if found},
        combinations=together,
        coded=coded,
        news2=news2.compiled() if news2 and news2.enabled else None,
        technical={name: table.compiled() for name, table in technical.items()},
        policies=by_priority,
        own_policies=_own_policies(own, technical, by_parameter, by_priority),
        flood=flood.compiled(),
        chains=chains,
        keys=_keys(by_parameter, rates, together, coded)
        | ({("", "news2")} if news2 and news2.enabled else set()),
        longest_absence_ns=round(flood.longest_absence_s * SECOND_NS),
    )


def _keys(
    by_parameter: Mapping[str, tuple[Side, ...]],
    rates: Mapping[str, tuple[Rate, ...]],
    together: Mapping[str, tuple[Combination, ...]],
    coded: Mapping[str, tuple[CodedRule, ...]],
) -> frozenset[tuple[str, str]]:
    rules = [rule for table in (by_parameter, rates, coded) for found in table.values() for rule in found]
    keys = {(rule.parameter, rule.condition) for rule in rules}
    return frozenset(keys | {("", one.condition) for found in together.values() for one in found})


def _own_policies(
    own: Mapping[str, schema.SignalTable],
    technical: Mapping[str, schema.TechnicalTable],
    by_parameter: Mapping[str, tuple[Side, ...]],
    by_priority: Mapping[Priority, Policy],
) -> dict[str, Policy]:
    """Complete the policies of single conditions with what their priority says."""
    found = {}
    for name, table in own.items():
        priority: Priority = "medium"
        if name in technical:
            priority = technical[name].priority
        elif sides := by_parameter.get(name.partition("/")[0]):
            first = sides[0].warning or sides[0].critical
            priority = first.priority if first else priority
        found[name] = table.policy(by_priority[priority])
    return found


def _priority(name: str) -> Priority:
    for priority in schema.PRIORITIES:
        if name == priority:
            return priority
    raise ValueError(f"expected one of {', '.join(schema.PRIORITIES)}")


def _parameter_table(name: str, table: dict[str, Any]) -> schema.ParameterTable:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise ValueError(unknown(name))
    if parameter.coded is not None:
        raise ValueError(f"{name} is coded; limits are for numbers, use a table [coded.{name}]")
    if not parameter.is_number:
        raise ValueError(f"{name} is free text; limits are for numbers")
    if parameter.kind == "waveform":
        raise ValueError(f"{name} is a waveform; limits are for numbers")
    return schema.ParameterTable.model_validate(table)


def _sides(name: str, table: schema.ParameterTable) -> tuple[Side, ...]:
    def limit(side: BoundSide, bound: float | None, priority: Priority, delay_s: float) -> Limit | None:
        if bound is None:
            return None
        delay_ns = round(delay_s * SECOND_NS)
        return Limit(name, f"limit_{side}", side, bound, priority, delay_ns, table.hysteresis)

    sides = (
        Side(
            name,
            "limit_low",
            limit("low", table.low, table.priority, table.delay_s),
            limit("low", table.critical_low, table.critical_priority, table.critical_delay_s),
        ),
        Side(
            name,
            "limit_high",
            limit("high", table.high, table.priority, table.delay_s),
            limit("high", table.critical_high, table.critical_priority, table.critical_delay_s),
        ),
    )
    return tuple(side for side in sides if side.warning or side.critical)


def _rates(name: str, table: schema.ParameterTable) -> tuple[Rate, ...]:
    window_ns = round(table.rate_window_s * SECOND_NS)
    found = []
    if table.fall is not None:
        found.append(Rate(name, "fast_fall", "fall", table.fall, window_ns, table.rate_priority))
    if table.rise is not None:
        found.append(Rate(name, "fast_rise", "rise", table.rise, window_ns, table.rate_priority))
    return tuple(found)


def _coded(name: str, table: dict[str, Any]) -> tuple[CodedRule, ...]:
    parameter = PARAMETERS.get(name)
    if parameter is None or parameter.coded is None:
        raise ValueError(
            unknown(name) if parameter is None else f"{name} has no codes; give limits of numbers"
        )
    rules = []
    for code, entry in table.items():
        if code not in parameter.coded:
            raise ValueError(f"{name} has no code {code}; use one of {', '.join(sorted(parameter.coded))}")
        checked = schema.CodedTable.model_validate(entry)
        rules.append(CodedRule(name, code, checked.condition or name, checked.priority))
    return tuple(rules)


def _named(combinations: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return combinations as tables by name: `combination.` and the condition, by which changes know them."""
    return [
        (f"{COMBINATION}{table.get('condition', position)}", table)
        for position, table in enumerate(combinations)
    ]


def _unnamed(document: Mapping[str, Any], source: str) -> list[str]:
    """Return what keeps the combinations of a limits file from being tables with a name of their own each."""
    errors = []
    for group in AGE_GROUPS:
        found = document.get(group, {}).get("combination", [])
        if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
            errors.append(f"{source}: {group}.combination: write [[{group}.combination]]")
            continue
        names = [name for name, _ in _named(found)]
        twice = sorted({name for name in names if names.count(name) > 1})
        errors += [
            f"{source}: {group}.{name}: there are several, give each its own condition" for name in twice
        ]
    return errors


def _combine(
    by_parameter: dict[str, tuple[Combination, ...]], name: str, table: schema.CombinationTable
) -> None:
    if table.condition != name:
        raise ValueError("condition: the name of a combination can't be changed")
    if not table.enabled:
        return
    members = tuple(Member(part.parameter, part.below, part.above) for part in table.all)
    delay_ns = round(table.delay_s * SECOND_NS)
    one = Combination(table.condition, table.text, table.priority, delay_ns, members)
    for member in members:
        by_parameter[member.parameter] = (*by_parameter.get(member.parameter, ()), one)


def _quiet(
    by_parameter: Mapping[str, tuple[Side, ...]],
    combinations: Mapping[str, tuple[Combination, ...]],
    coded: Mapping[str, tuple[CodedRule, ...]],
) -> dict[str, tuple[Value, Value]]:
    """Return the ranges within which no limit is violated and no part of a combination holds."""
    ranges: dict[str, tuple[Value, Value]] = dict.fromkeys(coded, _ALWAYS)
    for name in {*by_parameter, *combinations}:
        low, high = float("-inf"), float("inf")
        for side in by_parameter.get(name, ()):
            for limit in (side.warning, side.critical):
                if limit is not None and limit.side == "low":
                    low = max(low, limit.bound)
                elif limit is not None:
                    high = min(high, limit.bound)
        for combination in combinations.get(name, ()):
            for member in combination.members:
                if member.parameter == name and member.below is not None:
                    low = max(low, member.below)
                if member.parameter == name and member.above is not None:
                    high = min(high, member.above)
        ranges[name] = (low, high)
    return ranges


def _line(where: str, name: str, location: tuple[int | str, ...], message: str) -> str:
    key = ".".join([name, *(str(part) for part in location)])
    return f"{where}.{key}: {message.removeprefix('Value error, ')}"

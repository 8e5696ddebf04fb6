"""Changes of the rules for a site, a ward or a patient: who made them, why, and until when."""

from collections.abc import Collection, Mapping

from msgspec import msgpack
from msgspec.structs import replace

from hub.alarms.alarm import RANK
from hub.alarms.book import Book
from hub.alarms.limits import AGE_GROUPS, COMBINATION, LimitSet, LimitsInvalid, Tables
from hub.alarms.rules import Override, in_order
from hub.model import Priority
from hub.vocabulary import PARAMETERS

_KIND = "override"
_LIMITS = ("low", "high", "critical_low", "critical_high")
_decode = msgpack.Decoder(Override).decode


class OverrideRefused(ValueError):  # noqa: N818 - a refusal, told to who asked
    """A change of limits that isn't allowed; the message says what to change, `pointer` where it is."""

    def __init__(self, message: str, pointer: str = "/values") -> None:
        super().__init__(message)
        self.pointer = pointer


class Overrides:
    """The changes that were made. `of` answers from memory; `version` rises with every change in force."""

    def __init__(self, book: Book, rules: LimitSet) -> None:
        self.version = 0
        self._book = book
        self._rules = rules
        self._all: dict[int, Override] = {}
        self._in_force: dict[tuple[str, str, str], tuple[Override, ...]] = {}

    async def start(self, now_ns: int) -> None:
        """Read what is in the book. What no longer fits the limits file is left out of force."""
        self._all = {
            line.id: replace(_decode(line.body), id=line.id) for line in await self._book.lines(_KIND)
        }
        self._index(now_ns)

    def of(self, site: str, ward: str | None, patient: str | None) -> tuple[Override, ...]:
        """Return the changes in force for whoever is there."""
        found = self._in_force.get(("site", site, site), ())
        if ward is not None:
            found += self._in_force.get(("ward", site, ward), ())
        if patient is not None:
            found += self._in_force.get(("patient", site, patient), ())
        return found

    def listed(self, *, with_ended: bool = False) -> list[Override]:
        """Return the changes in the order in which they were made."""
        return [one for one in self._all.values() if with_ended or one.ended_ns is None]

    async def set(self, override: Override, now_ns: int, ward: str | None = None) -> Override:
        """Bring a change into force, in place of an earlier one of the same keys. Raises OverrideRefused.

        A change that would switch an alarm off needs a reason and an end. `ward` is the one that a patient is
        in: what its changes brought is switched off as well.
        """
        self._check(override, ward, now_ns)
        for other in self.listed():
            if _same_place(other, override):
                rest = {key: value for key, value in other.values.items() if key not in override.values}
                if rest != other.values:
                    await self.end(other.id, override.who, now_ns, "replaced")
                    if rest:
                        await self._add(replace(other, id=0, values=rest), now_ns)
        added = await self._add(override, now_ns)
        self._index(now_ns)
        return added

    async def end(self, override_id: int, who: str, now_ns: int, why: str) -> Override:
        """Take a change back. Raises LookupError where there is none in force with this id."""
        override = self._all.get(override_id)
        if override is None or override.ended_ns is not None:
            raise LookupError(f"no change of limits {override_id} is in force")
        ended = replace(override, ended_ns=now_ns, ended_by=who, ended_why=why)
        await self._book.change(override_id, msgpack.encode(ended))
        self._all[override_id] = ended
        self._index(now_ns)
        return ended

    async def follow(self, now_ns: int, bed_of: Mapping[str, str]) -> None:
        """End what is over: its time, or the stay for which it was made. Call it every second.

        `bed_of` gives the bed of every patient that is in one.
        """
        for one in self.listed():
            if one.until_ns is not None and now_ns >= one.until_ns:
                await self.end(one.id, "hub", now_ns, "its time is over")
            elif one.scope == "patient" and bed_of.get(one.scope_id) != one.bed:
                await self.end(one.id, "hub", now_ns, "the patient was discharged or transferred")

    async def erase_unknown(self, known: Collection[str]) -> None:
        """Take out what was changed for patients that the registry no longer knows."""
        for one in list(self._all.values()):
            if one.scope == "patient" and one.scope_id not in known:
                await self._book.remove(one.id)
                del self._all[one.id]

    async def _add(self, override: Override, now_ns: int) -> Override:
        line = await self._book.add(_KIND, now_ns, msgpack.encode(override))
        added = replace(override, id=line)
        self._all[line] = added
        return added

    def _index(self, now_ns: int) -> None:
        in_force: dict[tuple[str, str, str], tuple[Override, ...]] = {}
        for one in in_order([one for one in self._all.values() if one.holds(now_ns)]):
            if self._compiles(one):
                key = (one.scope, one.site, one.scope_id)
                in_force[key] = (*in_force.get(key, ()), one)
        self._in_force = in_force
        self.version += 1

    def _compiles(self, override: Override) -> bool:
        try:
            for group in AGE_GROUPS:
                self._rules.of(group, [override])
        except LimitsInvalid:
            return False
        return True

    def _check(self, override: Override, ward: str | None, now_ns: int) -> None:
        if not override.who.strip() or not override.why.strip():
            raise OverrideRefused("a change of limits says who makes it and why", "/why")
        if not override.values:
            raise OverrideRefused("say which key of the table to change")
        if override.until_ns is not None and override.until_ns <= now_ns:
            raise OverrideRefused("until: expected a time in the future", "/until")
        errors: list[str] = []
        before = [one for one in self.listed() if one.holds(now_ns) and _same_place(one, override)]
        groups = [group for group in AGE_GROUPS if override.is_for(group)]
        if not groups:
            raise OverrideRefused(f"age_group: expected one of {', '.join(AGE_GROUPS)}", "/age_group")
        fixed = [key for key in override.values if override.table == "flood" and key.startswith("chatter_")]
        if fixed:
            raise OverrideRefused(f"flood: {', '.join(fixed)} is the whole hub's: set it in the limits file")
        if override.table.startswith(COMBINATION):
            self._check_combination(override, groups)
        for group in groups:
            try:
                self._rules.of(group, [*before, override])
            except LimitsInvalid as error:
                errors += [line.partition(": ")[2] for line in str(error).splitlines()]
        if errors:
            raise OverrideRefused("; ".join(dict.fromkeys(errors)))
        patient = override.scope_id if override.scope == "patient" else None
        in_force = self.of(override.site, override.scope_id if override.scope == "ward" else ward, patient)
        off = [key for group in groups for key in switched_off(self._rules.tables(group, in_force), override)]
        if off and override.until_ns is None:
            keys = ", ".join(dict.fromkeys(off))
            raise OverrideRefused(
                f"{override.table}: this switches an alarm off ({keys}): say until when (`until`)"
            )

    def _check_combination(self, override: Override, groups: list[str]) -> None:
        tables = {name for group in groups for name in self._rules.tables(group)}
        if override.table not in tables:
            known = ", ".join(sorted(name for name in tables if name.startswith(COMBINATION)))
            raise OverrideRefused(f"{override.table}: there is no such combination; use {known}", "/table")


def switched_off(before: Tables, override: Override) -> list[str]:
    """Return the keys with which a change takes an alarm away, or makes it one that nobody is told of."""
    table = before.get(override.table, {})
    keys = []
    for key, value in override.values.items():
        if key in (*_LIMITS, "fall", "rise") and table.get(key) is not None:
            parameter = PARAMETERS.get(override.table)
            never = (
                parameter is not None
                and value is not None
                and _never(key, value, parameter.low, parameter.high)
            )
            if value is None or never:
                keys.append(key)
        elif (key == "enabled" and value is False) or (key == "all" and table):
            keys.append(key)  # which values other thresholds still take nobody can tell
        elif key.endswith("priority") or (override.table == "news2" and key in ("medium", "high", "single")):
            was: Priority = table.get(key, "high" if key == "critical_priority" else "medium")
            if value == "information" and RANK[was] > RANK["information"]:
                keys.append(key)
    return keys


def _never(key: str, value: float, low: float, high: float) -> bool:
    if key in ("fall", "rise"):
        return value > high - low
    return value <= low if key.endswith("low") else value >= high


def _same_place(one: Override, other: Override) -> bool:
    places = [(o.scope, o.site, o.scope_id, o.table, o.age_group) for o in (one, other)]
    return places[0] == places[1]

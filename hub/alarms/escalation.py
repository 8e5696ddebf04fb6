"""Who is asked to respond to an alarm: people assigned to beds and wards by shift, along the ward's chain."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, msgpack
from msgspec.structs import replace

from hub.alarms.book import Book
from hub.alarms.rules import Step
from hub.alarms.signals import Place, Responder

_KIND: Final = "assignment"
LONGEST_NS: Final = 24 * 3600 * 1_000_000_000


class AssignmentRefused(ValueError):  # noqa: N818 - a refusal, told to who asked
    """An assignment that isn't possible; the message says what to change."""


class Assignment(Struct, frozen=True, kw_only=True):
    """One person in one role at a bed, or at a whole ward, for one shift [from_ns, until_ns)."""

    id: int = 0
    site: str
    ward: str
    bed: str | None = None
    """None for every bed of the ward that nobody else has."""
    role: str
    who: str
    from_ns: int
    until_ns: int
    assigned_by: str

    def holds(self, now_ns: int) -> bool:
        """Tell whether the shift is on."""
        return self.from_ns <= now_ns < self.until_ns


class Assignments:
    """Who is where, by shift; kept in the book, answered from memory."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._all: dict[int, Assignment] = {}
        self._of_role: dict[tuple[str, str, str], list[Assignment]] = {}
        """By site, ward and role: each alarm of a flood asks for several."""

    async def start(self) -> None:
        """Read what is in the book."""
        decode = msgpack.Decoder(Assignment).decode
        for line in await self._book.lines(_KIND):
            self._all[line.id] = replace(decode(line.body), id=line.id)
        self._sort()

    def listed(self, now_ns: int) -> list[Assignment]:
        """Return the shifts that are on or to come."""
        return [one for one in self._all.values() if one.until_ns > now_ns]

    async def assign(self, assignment: Assignment, now_ns: int) -> Assignment:
        """Assign somebody. Raises AssignmentRefused."""
        if not assignment.who.strip():
            raise AssignmentRefused("who: give a name")
        if not assignment.from_ns < assignment.until_ns <= assignment.from_ns + LONGEST_NS:
            raise AssignmentRefused("until: expected a time after `from`, at most a day later")
        if assignment.until_ns <= now_ns:
            raise AssignmentRefused("until: this shift is over")
        line = await self._book.add(_KIND, assignment.until_ns, msgpack.encode(assignment))
        added = self._all[line] = replace(assignment, id=line)
        self._sort()
        return added

    async def remove(self, assignment_id: int) -> None:
        """Take an assignment back. Raises LookupError."""
        if assignment_id not in self._all:
            raise LookupError(f"there is no assignment {assignment_id}")
        await self._book.remove(assignment_id)
        del self._all[assignment_id]
        self._sort()

    async def forget(self, now_ns: int) -> None:
        """Drop shifts that have been over for a week."""
        before_ns = now_ns - 7 * LONGEST_NS
        await self._book.trim(_KIND, before_ns)
        self._all = {key: one for key, one in self._all.items() if one.until_ns >= before_ns}
        self._sort()

    def who(self, role: str, site: str, place: Place, now_ns: int) -> str | None:
        """Return who has a role at a place: for the bed before for the ward, the later assignment first."""
        found = [
            one
            for one in self._of_role.get((site, place.ward or "", role), ())
            if one.bed in (None, place.bed) and one.holds(now_ns)
        ]
        best = max(found, key=lambda one: (one.bed is not None, one.from_ns, one.id), default=None)
        return best.who if best else None

    def _sort(self) -> None:
        self._of_role = {}
        for one in self._all.values():
            self._of_role.setdefault((one.site, one.ward, one.role), []).append(one)

    def responders(self, chain: Sequence[Step], site: str, place: Place, now_ns: int) -> list[Responder]:
        """Return who is asked, in order. A role that nobody has is asked by its own name.

        Nobody is asked twice in a row.
        """
        found: list[Responder] = []
        for step in chain:
            who = self.who(step.role, site, place, now_ns) or step.role
            if found and found[-1].who == who:
                continue
            found.append(Responder(who, step.wait_ns))
        return found

"""What nurses chart for the early warning score: oxygen, consciousness, and what no device measures."""

from typing import Final

from msgspec import Struct, msgpack

from hub.alarms.book import Book
from hub.alarms.news2 import SCORED, Inputs, score

_KIND: Final = "chart"
KEEP_NS: Final = 7 * 24 * 3600 * 1_000_000_000


class ChartRefused(ValueError):  # noqa: N818 - a refusal, told to who asked
    """A charted value that can't be taken; the message says what was expected."""


class Charted(Struct, frozen=True):
    """What one person charted for one patient at one time."""

    patient: str
    """Surrogate id."""
    time_ns: int
    """When it was observed, hub time."""
    values: dict[str, float | bool | str]
    """By input of the score."""
    who: str


class Charts:
    """Charted values of a week, the newest of each input in memory."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._newest: dict[str, dict[str, Charted]] = {}

    async def start(self) -> None:
        """Read what is in the book."""
        decode = msgpack.Decoder(Charted).decode
        for line in await self._book.lines(_KIND):
            self._take(decode(line.body))

    def newest(self, patient: str) -> dict[str, Charted]:
        """Return, by input, what was charted last for a patient."""
        return self._newest.get(patient, {})

    async def enter(self, charted: Charted, now_ns: int) -> None:
        """Enter what was observed. Raises ChartRefused."""
        unknown = sorted(set(charted.values) - set(SCORED))
        if unknown or not charted.values:
            raise ChartRefused(f"expected some of {', '.join(SCORED)}; found {', '.join(unknown) or 'none'}")
        problems = score(Inputs(**charted.values)).problems  # type: ignore[arg-type] # it checks them
        wrong = [
            f"{name}: {problems[name].removeprefix('invalid: ')}"
            for name in charted.values
            if name in problems
        ]
        if wrong:
            raise ChartRefused("; ".join(wrong))
        if not now_ns - KEEP_NS < charted.time_ns <= now_ns + 60 * 1_000_000_000:
            raise ChartRefused("time: expected a time of the last week, not in the future")
        await self._book.add(_KIND, charted.time_ns, msgpack.encode(charted))
        self._take(charted)

    async def forget(self, patients: set[str], now_ns: int) -> None:
        """Drop what is older than a week, and from memory all patients but these."""
        await self._book.trim(_KIND, now_ns - KEEP_NS)
        self._newest = {patient: known for patient, known in self._newest.items() if patient in patients}

    async def erase_unknown(self, known: set[str]) -> None:
        """Take out what belongs to patients that the registry no longer knows."""
        decode = msgpack.Decoder(Charted).decode
        for line in await self._book.lines(_KIND):
            if decode(line.body).patient not in known:
                await self._book.remove(line.id)

    def _take(self, charted: Charted) -> None:
        known = self._newest.setdefault(charted.patient, {})
        for name in charted.values:
            if name not in known or charted.time_ns >= known[name].time_ns:
                known[name] = charted

"""What one key of a definition becomes: a function that takes a record and returns what it means."""

import re
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from msgspec import Struct

from hub.devices.decode import Refused
from hub.devices.expression import Failed
from hub.devices.path import MISSING, Get, Path
from hub.devices.payload import Unusable, found, number
from hub.devices.place import Each, Pick, Place, Scalar, Test, Time
from hub.devices.timestamp import NotATimeError, epoch_ns, hl7_ns, iso_ns, pattern_ns

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_MAX_TEXT: Final = 400
_MAX_SHOWN: Final = 40
_REMEMBERED: Final = 1_000
"""Names that a definition maps: as many as it has seen, and a few that nobody expected."""


class Record(Struct, gc=False):
    """One element of a payload that is being read."""

    value: object
    root: object
    """The whole payload."""
    place: str
    """Where it is, for instance `$[2]`."""
    parts: dict[str, str]
    """The named parts of the topic."""


Field = Callable[[Record], object]
"""Returns what is there, None for null, MISSING. Raises ValueError where it can't be used."""
T = TypeVar("T")


def place_of(entry: Place | Pick | Each) -> Path:
    """Return the path of an entry that has one."""
    return Path(entry.path, jmes=False) if entry.path is not None else Path(entry.jmespath or "", jmes=True)


def field(pick: Pick) -> Field:
    """Compile a pick."""
    if pick.value is not None:
        constant = pick.value
        return lambda _: constant
    if pick.topic is not None:
        part = pick.topic
        get: Field = lambda record: record.parts.get(part, MISSING)  # noqa: E731
    else:
        follow = place_of(pick).getter()
        get = lambda record: follow(record.value, record.root)  # noqa: E731
    if not (pick.map or pick.replace or pick.suffix or pick.upper):
        return get
    known: dict[str, object] = {}

    def named(record: Record) -> object:
        sent = get(record)
        if type(sent) is not str:
            return renamed(sent, pick)
        found = known.get(sent)
        if found is None:
            found = renamed(sent, pick)
            if len(known) < _REMEMBERED:
                known[sent] = found
        return found

    return named


def where(pick: Pick, record: Record) -> str:
    """Return the path that a refusal of a pick shows."""
    if pick.path is None and pick.jmespath is None:
        return record.place
    return place_of(pick).below(record.place)


def first(
    picks: Sequence[Pick], convert: Callable[[object], T]
) -> Callable[[Record], tuple[T | None, Refused | None]]:
    """Compile alternatives: the first that is there counts.

    The function returns what `convert` made of it, or None and why not.
    """
    fields = [(pick, field(pick)) for pick in picks]
    known: dict[str, tuple[T | None, Refused | None]] = {}

    def get(record: Record) -> tuple[T | None, Refused | None]:
        for pick, one in fields:
            try:
                sent = one(record)
                if sent is not MISSING and sent is not None:
                    if type(sent) is not str:
                        return convert(sent), None
                    converted = known.get(sent)
                    if converted is None:
                        converted = convert(sent), None
                        if len(known) < _REMEMBERED:
                            known[sent] = converted
                    return converted
            except ValueError as error:
                return None, Refused(where(pick, record), str(error), found=word_of(error))
        return None, Refused(where(picks[0], record), "is missing")

    return get


def text(sent: object) -> str:
    """Return an identifier or a word as a text. Raises ValueError."""
    if isinstance(sent, str):
        return sent
    if isinstance(sent, bool):
        return "true" if sent else "false"
    if isinstance(sent, int | float):
        return str(sent)
    raise ValueError(f"expected a string, found {found(sent)}")


def spelled(sent: object, pick: Pick) -> str:
    """Return what was sent as a pick's `map` has it. Raises ValueError."""
    word = text(sent)
    for old, new in pick.replace.items():
        word = word.replace(old, new)
    word = word.removesuffix(pick.suffix)
    return word.upper() if pick.upper else word


def number_in(sent: object, *, texts: bool) -> float:
    """Return a number, where `texts` is set also from a text. Raises ValueError."""
    if isinstance(sent, str) and texts:
        stripped = sent.strip()
        if len(stripped) > _MAX_TEXT or not _NUMBER.fullmatch(stripped):
            raise ValueError("expected a number, found another text")
        return number(float(stripped))
    return number(sent)


Known = frozenset[str | tuple[str, Scalar]]


def scalars(values: Sequence[Scalar]) -> Known:
    """Return what `is_one_of` compares with: true is not 1, and 1 is 1.0."""
    return frozenset(value if isinstance(value, str) else _key(value) for value in values)


def is_one_of(sent: object, known: Known) -> bool:
    """Tell whether what was sent is one of the scalars."""
    if type(sent) is str:
        return sent in known
    return isinstance(sent, int | float) and _key(sent) in known


class UnknownWordError(ValueError):
    """A word that nobody knows where one was expected: a code, a unit, a quality, a state."""

    def __init__(self, message: str, word: object) -> None:
        super().__init__(message)
        self.word = shown(word)


def shown(word: object) -> str:
    """Return what came as it is shown: short, on one line; nothing for what is no word."""
    if isinstance(word, bool) or not isinstance(word, str | int | float):
        return {True: "true", False: "false"}.get(word, "") if isinstance(word, bool) else ""
    text = str(word)[: _MAX_SHOWN + 1]
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def word_of(error: ValueError) -> str:
    """Return the word that an error is about; an empty text where it is about none."""
    return error.word if isinstance(error, UnknownWordError) else ""


class UndecidedError(ValueError):
    """A condition whose expression fails; the text says why."""


def test(entry: Test) -> Callable[[Record], bool]:
    """Compile a condition. The function raises UndecidedError where an expression fails."""
    get: Get = place_of(entry).getter() if entry.path is not None else _decided(place_of(entry))
    expected = entry.any_of if entry.equals is None else [entry.equals, *entry.any_of]
    if expected:
        known = scalars(expected)
        return lambda record: is_one_of(get(record.value, record.root), known) is entry.exists
    return lambda record: _is_there(get(record.value, record.root)) is entry.exists


def _decided(path: Path) -> Get:
    follow = path.getter()

    def get(node: object, root: object) -> object:
        sent = follow(node, root)
        if isinstance(sent, Failed):
            raise UndecidedError(sent.reason)
        return sent

    return get


def times(entries: Sequence[Time], site_zone: tzinfo) -> Callable[[Record], tuple[int, str, str]]:
    """Compile where the time is.

    The function returns nanoseconds, 0 for none, and where it is no time its path and the reason.
    """
    compiled = [(place_of(entry), place_of(entry).getter(), _reader(entry, site_zone)) for entry in entries]

    def get(record: Record) -> tuple[int, str, str]:
        for path, follow, convert in compiled:
            sent = follow(record.value, record.root)
            if sent is MISSING or sent is None or sent == "":
                continue
            try:
                return convert(sent), "", ""
            except NotATimeError as error:
                return 0, path.below(record.place), str(error)
        return 0, "", ""

    return get


def _reader(entry: Time, site_zone: tzinfo) -> Callable[[object], int]:
    zone = None if not entry.zone else site_zone if entry.zone == "site" else ZoneInfo(entry.zone)

    def convert(sent: object) -> int:
        if entry.style in ("rfc3339", "hl7", "strptime"):
            if not isinstance(sent, str):
                raise NotATimeError(f"expected a time as a string, found {found(sent)}")
            if entry.style == "rfc3339":
                return iso_ns(sent.strip(), zone)
            if entry.style == "hl7":
                return hl7_ns(sent.strip(), zone)
            return pattern_ns(sent.strip(), entry.pattern, zone or site_zone)
        if isinstance(sent, str) and sent.strip().lstrip("-").isdecimal() and len(sent) < 30:
            return epoch_ns(int(sent), entry.style)
        try:
            return epoch_ns(sent if isinstance(sent, int) else number_in(sent, texts=True), entry.style)
        except ValueError as error:
            raise NotATimeError(str(error)) from None

    return convert


def renamed(sent: object, pick: Pick) -> object:
    """Return what was sent by the name that the hub has for it. Raises ValueError where `map` lacks it."""
    if sent is MISSING or sent is None:
        return sent
    word = spelled(sent, pick)
    if not pick.map:
        return word
    if word in pick.map:
        return pick.map[word]
    if pick.other == "keep":
        return word
    if pick.other == "ignore":
        return MISSING
    raise UnknownWordError(f"expected one of {', '.join(pick.map)}", word)


def _is_there(sent: object) -> bool:
    return sent is not MISSING and sent is not None and not isinstance(sent, Unusable)


def _key(value: Scalar) -> tuple[str, Scalar]:
    return ("flag", value) if isinstance(value, bool) else ("number", value)

"""What one key of a definition becomes: a function that takes a record and returns what it means."""

import re
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Final, TypeVar, cast
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


def source(entry: Pick | Place) -> Field:
    """Compile where a thing is, as it is sent."""
    if isinstance(entry, Pick) and entry.value is not None:
        constant = entry.value
        return lambda _: constant
    if isinstance(entry, Pick) and entry.topic is not None:
        part = entry.topic
        return lambda record: record.parts.get(part, MISSING)
    path = place_of(entry)
    key = path.key
    if key is not None:
        # Most are members of the record: looked up without another call.
        return lambda record: node.get(key, MISSING) if type(node := record.value) is dict else MISSING
    follow = path.getter()
    return lambda record: follow(record.value, record.root)


def renames(pick: Pick) -> bool:
    """Tell whether a pick gives what is sent another name."""
    return bool(pick.map or pick.replace or pick.suffix or pick.upper)


def field(pick: Pick) -> Field:
    """Compile a pick."""
    if not renames(pick):
        return source(pick)
    return converted(pick, lambda sent: sent)


def converted(pick: Pick, convert: Callable[[object], object], *, words: bool = False) -> Field:
    """Compile a pick and what is made of it; nothing and null are left as they are.

    What texts become is remembered where the pick renames them or they are `words`, of which there are few.
    """
    get = source(pick)
    is_renamed = renames(pick)
    room = _REMEMBERED if words or is_renamed else 0
    known: dict[str, object] = {}

    def read(record: Record) -> object:
        sent = get(record)
        if type(sent) is str:
            made = known.get(sent)
            if made is not None:
                return made
        if sent is MISSING or sent is None:
            return sent
        meant = renamed(sent, pick) if is_renamed else sent
        made = meant if meant is MISSING else convert(meant)
        if len(known) < room and type(sent) is str:
            known[sent] = made
        return made

    return read


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
    fields = [(pick, converted(pick, convert, words=True)) for pick in picks]

    def get(record: Record) -> tuple[T | None, Refused | None]:
        for pick, one in fields:
            try:
                made = one(record)
            except ValueError as error:
                return None, Refused(where(pick, record), str(error), found=word_of(error))
            if made is not MISSING and made is not None:
                return cast("T", made), None
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
        is_whole = stripped.isdecimal() and stripped.isascii()  # as many are, and cheaper to see
        if len(stripped) > _MAX_TEXT or not (is_whole or _NUMBER.fullmatch(stripped)):
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
        exists = entry.exists
        return lambda record: is_one_of(get(record.value, record.root), known) is exists
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
    compiled = [(place_of(entry), source(entry), _reader(entry, site_zone)) for entry in entries]

    def get(record: Record) -> tuple[int, str, str]:
        for path, read, convert in compiled:
            sent = read(record)
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
    style, pattern, zone_there = entry.style, entry.pattern, zone or site_zone
    if style in ("rfc3339", "hl7"):
        read = iso_ns if style == "rfc3339" else hl7_ns
        return lambda sent: read(_time_text(sent), zone)
    if style == "strptime":
        return lambda sent: pattern_ns(_time_text(sent), pattern, zone_there)

    def convert(sent: object) -> int:
        if isinstance(sent, str) and sent.strip().lstrip("-").isdecimal() and len(sent) < 30:
            return epoch_ns(int(sent), style)
        try:
            return epoch_ns(sent if isinstance(sent, int) else number_in(sent, texts=True), style)
        except ValueError as error:
            raise NotATimeError(str(error)) from None

    return convert


def _time_text(sent: object) -> str:
    if not isinstance(sent, str):
        raise NotATimeError(f"expected a time as a string, found {found(sent)}")
    return sent.strip()


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

"""What of a definition samples reach, and what of the samples a definition reads: behind `hub devices check`.

A definition was tried on its samples only as far as they lead: a path that none of them reaches may be
misspelt, and nobody would see it before a patient's value is missing.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeGuard

from hub.devices.content import Alarm, Alarms, Named, Value
from hub.devices.definition import Definition, Read
from hub.devices.expression import Failed
from hub.devices.field import Record, UndecidedError, is_one_of, place_of, scalars, spelled, test, text
from hub.devices.lines import Key
from hub.devices.path import MISSING
from hub.devices.payload import Unusable
from hub.devices.place import Entry, Pick, Place, Scalar, Test

Gap = tuple[Key, str]
_INHERITED: Final = ("device", "time", "seq")
"""What a `[[read]]` takes from the definition where it has none."""
_ALTERNATIVES: Final = ("device", "time")
"""Of these the first that is there counts."""
_NUMBER: Final = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*", re.ASCII)
_MAX_TRIED: Final = 2_000
"""Numbers of one payload that are tried, so that a recording isn't tried for hours."""


class Coverage:
    """What of one definition the payloads taken so far reach."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._taken: set[int] = set()
        self._reached: set[Key] = set()
        self._said: set[tuple[Key, str]] = set()
        self.failed: dict[Key, str] = {}
        """Where an expression failed, and why."""

    def take(self, root: object, parts: dict[str, str]) -> None:
        """Note what a payload reaches; `parts` are those of its topic."""
        if not self._holds(self._definition.when, ("when",), Record(root, root, "$", parts)):
            return
        for position, read in enumerate(self._definition.read):
            key: Key = ("read", position)
            for place, element in place_of(read.each).each(root):
                record = Record(element, root, place, parts)
                if isinstance(element, Failed):
                    self.failed[(*key, "each")] = element.reason
                elif not isinstance(element, Unusable) and self._holds(read.when, (*key, "when"), record):
                    self._taken.add(position)
                    self._follow(read, key, record)
                    for name in () if read.ignore else _INHERITED:
                        own = getattr(read, name)
                        if not own or (name == "time" and not self._follow(own, (*key, name), record)):
                            self._follow(getattr(self._definition, name), (name,), record)

    def gaps(self) -> Iterator[Gap]:
        """Return what no payload reaches, each with its key."""
        for name in ("when", *_INHERITED):
            yield from self._gaps(getattr(self._definition, name), (name,))
        for position, read in enumerate(self._definition.read):
            if position in self._taken:
                yield from self._gaps(read, ("read", position))
            else:
                yield ("read", position), "no sample has a record of this kind"
        for name, words in self._definition.maps.items():
            missing = [word for word in words if (("maps", name), word) not in self._said]
            if missing:
                yield ("maps", name), f"no sample has {', '.join(missing)}"

    def _holds(self, tests: list[Test], key: Key, record: Record) -> bool:
        try:
            if not all(test(entry)(record) for entry in tests):
                return False
        except UndecidedError as error:
            self.failed[key] = str(error)
            return False
        self._follow(tests, key, record)
        return True

    def _follow(self, entry: object, key: Key, record: Record) -> bool:
        """Note what an entry and those within it reach; tell whether there is anything."""
        if isinstance(entry, list):
            for position, one in enumerate(entry):
                if self._follow(one, (*key, position), record) and key[-1] in _ALTERNATIVES:
                    return True
            return False
        if not isinstance(entry, Entry) or not self._arrives(entry, key, record):
            return False
        for name, member in _members(entry):
            self._follow(member, (*key, name), record)
        return True

    def _arrives(self, entry: Entry, key: Key, record: Record) -> bool:
        if not _leads(entry):
            return True
        sent = place_of(entry).getter()(record.value, record.root)
        if isinstance(sent, Failed):
            self.failed[key] = sent.reason
        if sent is MISSING or isinstance(sent, Failed):
            return False
        self._reached.add(key)
        for name, words in _words(entry):
            at = self._named(name, words) or (*key, name)
            self._said |= {(at, str(word)) for word in words if _says(entry, sent, word)}
        return True

    def _named(self, name: str, words: list[Scalar]) -> Key | None:
        """Return the key of the named map that these words are of."""
        maps = self._definition.maps if name == "map" else {}
        return next((("maps", called) for called, words_of in maps.items() if list(words_of) == words), None)

    def _gaps(self, entry: object, key: Key) -> Iterator[Gap]:
        if isinstance(entry, list):
            for position, one in enumerate(entry):
                yield from self._gaps(one, (*key, position))
        if (
            not isinstance(entry, Entry)
            or key in self.failed
            or (isinstance(entry, Test) and not entry.exists)
        ):
            return
        if _leads(entry) and key not in self._reached:
            yield key, f"no sample has anything at {place_of(entry).text}"
            return
        for name, words in _words(entry):
            if self._named(name, words):
                continue
            at = (*key, name)
            missing = [str(word) for word in words if (at, str(word)) not in self._said]
            if name == "present" and len(missing) == len(words):
                yield at, "no sample has this condition"
            elif name == "absent" and len(missing) == len(words):
                yield at, "no sample ends this condition"
            elif missing:
                yield at, f"no sample has {', '.join(missing)}"
        for name, member in _members(entry):
            yield from self._gaps(member, (*key, name))


def numbers_read(read: Callable[[object], object], root: object, *, texts: bool) -> dict[str, bool]:
    """Return where a payload has numbers, `[*]` for any element of an array, and whether they are read.

    One is read where making it unusable makes a difference to what `read` returns. `texts`: texts of numbers
    count as numbers.
    """
    found = [root]
    before = repr(read(root))
    matters: dict[str, bool] = {}
    for tried, (place, holder, key) in enumerate(_numbers(found, "", texts=texts)):
        if matters.get(place) or tried >= _MAX_TRIED:
            continue
        sent = holder[key]
        holder[key] = Unusable("a trial")
        matters[place] = repr(read(found[0])) != before
        holder[key] = sent
    return {f"${place[3:]}": is_read for place, is_read in matters.items()}


def _numbers(node: object, place: str, *, texts: bool) -> Iterator[tuple[str, Any, Any]]:
    """Return where each number is: its place, what holds it and under which key."""
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, member in list(members):
        at = f"{place}[*]" if isinstance(node, list) else f"{place}.{key}"
        is_text = texts and isinstance(member, str) and _NUMBER.fullmatch(member) is not None
        if is_text or (isinstance(member, int | float) and not isinstance(member, bool)):
            yield at, node, key
        yield from _numbers(member, at, texts=texts)


def _members(entry: Entry) -> Iterator[tuple[str, object]]:
    """Return what an entry holds; what a `[[read]]` says for all its values is with each of them."""
    for name in type(entry).model_fields:
        if not (isinstance(entry, Read) and name in ("unit", "quality")):
            yield name, getattr(entry, name)


def _leads(entry: object) -> TypeGuard[Place | Pick]:
    """Tell whether an entry leads into the payload: a constant and a part of the topic don't."""
    return isinstance(entry, Place | Pick) and (entry.path is not None or entry.jmespath is not None)


def _words(entry: Entry) -> Iterator[tuple[str, list[Scalar]]]:
    """Return the words that an entry waits for, by the key that lists them."""
    if isinstance(entry, Pick | Named | Value | Alarms):
        yield "map", list(entry.map)
    elif isinstance(entry, Alarm):
        yield "present", entry.present
        yield "absent", entry.absent
    elif isinstance(entry, Test):
        yield "any_of", entry.any_of


def _says(entry: Entry, sent: object, word: Scalar) -> bool:
    """Tell whether what was sent is a word that an entry waits for."""
    if isinstance(entry, Alarm | Test):
        return is_one_of(sent, scalars([word]))
    if isinstance(entry, Alarms) and isinstance(sent, list):
        return any(isinstance(one, str | int | float) and text(one) == word for one in sent)
    if not isinstance(sent, str | int | float):
        return False
    return (spelled(sent, entry) if isinstance(entry, Pick) else text(sent)) == word

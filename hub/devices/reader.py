"""A definition compiled: from a parsed payload to items. Pure; holds no state between payloads."""

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Final

from hub.devices.decode import Item, Observed, Refused
from hub.devices.definition import Definition, Read
from hub.devices.field import (
    Record,
    UndecidedError,
    UnknownWordError,
    field,
    first,
    number_in,
    place_of,
    shown,
    test,
    text,
    times,
    where,
)
from hub.devices.join import join
from hub.devices.parts import Emit, Frame, alarm, alarms, sighting, status, waveform
from hub.devices.path import MISSING, Path
from hub.devices.payload import Unusable, found
from hub.devices.place import Each, Test
from hub.devices.value import Values, value
from hub.mqtt.topics import is_id

MAX_REFUSED: Final = 100
"""Refusals told of one payload; it is kept whole in the rejects anyway."""


class Reader:
    """Reads the payloads of one definition."""

    def __init__(self, name: str, definition: Definition, site_zone: tzinfo) -> None:
        self.name = name
        self._tests = [test(entry) for entry in definition.when]
        self.selective = bool(self._tests)
        """Whether it can tell its payloads from those of others on the same topic."""
        self._may_be_empty = [place_of(read.each) for read in definition.read if read.empty == "ok"]
        groups: dict[Each, list[_Kind]] = {}
        for read in definition.read:
            groups.setdefault(read.each, []).append(_Kind(read, definition, site_zone))
        self._groups = [
            (place_of(each), _chooser(kinds), [one for kind in kinds for one in kind.tests])
            for each, kinds in groups.items()
        ]

    def accepts(self, root: object) -> bool:
        """Tell whether a payload is of this format."""
        if not self._tests:
            return True
        record = Record(root, root, "$", {})
        try:
            return all(holds(record) for holds in self._tests)
        except UndecidedError:
            return False  # where nobody else accepts it, the refusal names `when`

    def read(self, root: object, parts: dict[str, str]) -> list[Item]:
        """Read a parsed payload; `parts` are the named parts of its topic."""
        items: list[Item] = []
        found_any = False
        for each, choose, tests in self._groups:
            for at, element in each.each(root):
                found_any = True
                if isinstance(element, Unusable):
                    items.append(Refused(at, element.reason))
                    continue
                record = Record(element, root, at, parts)
                chosen = choose(record, items)
                if chosen:
                    for kind in chosen:
                        kind.read(record, items)
                else:
                    reason = f"no [[read]] of the definition {self.name} takes this"
                    items.append(Refused(at, reason, found=_tested(tests, record)))
        if not found_any and not any(each.is_empty(root) for each in self._may_be_empty):
            places = ", ".join(each.text for each, *_ in self._groups)
            items.append(Refused("$", f"the definition {self.name} expects records at {places}"))
        return _bounded(join(items) if len(items) > 1 else items)


class _Kind:
    """One `[[read]]`, compiled."""

    def __init__(self, read: Read, definition: Definition, site_zone: tzinfo) -> None:
        self._tests = [test(entry) for entry in read.when]
        self.tests = read.when
        self._ignore = read.ignore
        devices = read.device or definition.device
        self._device = first(devices, _device_id) if devices else None
        self._channel = field(read.channel) if read.channel else None
        self._time = times([*read.time, *definition.time], site_zone)
        self._seq_pick = read.seq or definition.seq
        self._seq = field(self._seq_pick) if self._seq_pick else None
        self._values = [value(entry, definition) for entry in read.value]
        self._emits: list[Emit] = [
            *(alarm(entry) for entry in read.alarm),
            *(alarms(entry) for entry in read.alarms),
            *(waveform(entry) for entry in read.waveform),
            *([status(read.status)] if read.status else []),
            *([sighting(read.sighting)] if read.sighting else []),
        ]

    def takes(self, record: Record, items: list[Item]) -> bool:
        """Tell whether a record is of this kind; that it can't be told is appended to the items."""
        try:
            for holds in self._tests:
                if not holds(record):
                    return False
        except UndecidedError as error:
            items.append(Refused(record.place, f"`when` can't be decided: {error}"))
            return False
        return True

    def read(self, record: Record, items: list[Item]) -> None:
        """Append what a record holds, and what of it can't be used."""
        if self._ignore:
            return
        device: str | None = None
        if self._device is not None:
            device, refused = self._device(record)
            if refused is not None:
                items.append(refused)
                return
        before = len(items)
        time_ns, place, reason = self._time(record)
        if reason:
            kept = f"{reason}; the values are kept with the time of receipt"
            items.append(Refused(place, kept, device))
        seq = -1 if self._seq is None else self._seq_of(record, items, device)
        frame = Frame(device, time_ns, seq, items)
        ignored = bool(self._values) and self._observe(record, frame)
        for emit in self._emits:
            emit(record, frame)
        if len(items) == before and not ignored:
            reason = f"holds nothing that the definition reads: found {found(record.value)}"
            items.append(Refused(record.place, reason, device))

    def _observe(self, record: Record, frame: Frame) -> bool:
        """Append the values of a record; tell whether it holds some that the definition ignores."""
        values = Values()
        for read in self._values:
            read(record, values, frame)
        if not values.values:
            return values.ignored
        channel = "observations"
        if self._channel is not None:
            try:
                sent = self._channel(record)
                channel = channel if sent is MISSING or sent is None else text(sent)
            except ValueError:
                channel = ""
            if not is_id(channel):
                frame.refuse(record.place, "expected a channel of the characters A-Z a-z 0-9 _ -")
                return values.ignored
        frame.items.append(
            Observed(
                values.values,
                frame.time_ns,
                frame.seq,
                values.units or None,
                values.quality or None,
                frame.device,
                channel,
            )
        )
        return values.ignored

    def _seq_of(self, record: Record, items: list[Item], device: str | None) -> int:
        if self._seq is None or self._seq_pick is None:
            return -1
        try:
            sent = self._seq(record)
            return -1 if sent is MISSING or sent is None else _whole(sent)
        except ValueError as error:
            items.append(Refused(where(self._seq_pick, record), str(error), device))
            return -1


Choose = Callable[[Record, list[Item]], Sequence[_Kind]]


def _chooser(kinds: list[_Kind]) -> Choose:
    """Return what finds the kinds of a record: by its word, where words are all that they test."""
    words: dict[str, list[_Kind]] = {}
    places = {one.path for kind in kinds for one in kind.tests}
    path = places.pop() if len(places) == 1 else None
    for kind in kinds:
        expected = [word for one in kind.tests for word in (one.equals, *one.any_of) if word is not None]
        of_words = all(isinstance(word, str) for word in expected) and all(one.exists for one in kind.tests)
        if path is None or len(kind.tests) != 1 or not expected or not of_words:
            return lambda record, items: [kind for kind in kinds if kind.takes(record, items)]
        for word in dict.fromkeys(map(str, expected)):
            words.setdefault(word, []).append(kind)
    get = Path(path or "").getter()

    def choose(record: Record, _items: list[Item]) -> Sequence[_Kind]:
        sent = get(record.value, record.root)
        return words.get(sent, ()) if isinstance(sent, str) else ()

    return choose


def _device_id(sent: object) -> str:
    name = text(sent)
    if not is_id(name):
        expected = "expected a device id of 1 to 64 of the characters A-Z a-z 0-9 _ -; see `replace`"
        raise UnknownWordError(expected, name)
    return name


def _whole(sent: object) -> int:
    seq = sent if type(sent) is int else number_in(sent, texts=True)
    if seq == int(seq) and 0 <= seq < 2**63:
        return int(seq)
    raise ValueError("expected a whole number from 0")


def _tested(tests: Sequence[Test], record: Record) -> str:
    """Return the words by which a record is of no kind that the definition knows."""
    words = {}
    for entry in tests:
        path = place_of(entry)
        word = shown(path.getter()(record.value, record.root))
        if word:
            words[path.text] = f"{path.text}: {word}"
    return ", ".join(words.values())


def _bounded(items: list[Item]) -> list[Item]:
    """Return the items with each refusal once, and no more than MAX_REFUSED of them."""
    refused = [item for item in items if type(item) is Refused]
    if len(refused) < 2:
        return items
    told: set[tuple[str, str, str]] = set()
    kept: list[Item] = []
    for item in items:
        if type(item) is Refused:
            key = (item.path, item.reason, item.found)
            if key in told or len(told) >= MAX_REFUSED:
                continue
            told.add(key)
        kept.append(item)
    more = len({(one.path, one.reason, one.found) for one in refused}) - len(told)
    if more:
        kept.append(Refused("$", f"{more} more parts can't be used"))
    return kept

"""Checks definition files before a hub is to load them: behind `hub devices check`."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from pathlib import Path

from msgspec import Struct

from hub.devices import definition_file
from hub.devices.births import Births
from hub.devices.catalog import BUILT_IN, Catalog
from hub.devices.coverage import Coverage, numbers_read
from hub.devices.decode import Item, Observed, Refused
from hub.devices.definition import Definition, Topic
from hub.devices.formats import FORMATS, Source
from hub.devices.native import DECODERS
from hub.devices.payload import UnreadableError
from hub.devices.problem import DefinitionErrors, Problem
from hub.devices.reader import Reader
from hub.devices.topics import example_topic
from hub.mqtt.topics import TopicPattern
from hub.vocabulary import PARAMETERS


def check(paths: Sequence[Path], samples: Sequence[Path] = (), topics: Sequence[str] = ()) -> list[Problem]:
    """Return all that is wrong (`error`) or doubtful (`warning`) in files and in the `*.toml` of folders.

    Each sample is the payload of one message; it is read by every definition that is checked. With samples,
    what of a definition none of them reaches, and what of them it doesn't read, is doubtful too. `topics` are
    some that devices really publish on: a definition that is checked must take each.
    """
    problems: list[Problem] = []
    checked: list[Path] = []
    for path in paths:
        if not path.exists():
            problems.append(
                Problem(str(path), 0, "", "doesn't exist: name a definition file or a folder of them")
            )
            continue
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not files:
            problems.append(Problem(str(path), 0, "", "holds no *.toml", "warning"))
        checked += files
    payloads = [payload for sample in samples for payload in _payload(sample, problems)]
    for file in checked:
        definition, found = definition_file.read(file)
        problems += found
        if definition is not None and payloads:
            problems += _of_samples(file, definition, payloads, topics)
    return problems + [problem for problem in _together(checked, topics) if problem not in problems]


def _payload(sample: Path, problems: list[Problem]) -> Iterator[tuple[str, bytes]]:
    try:
        yield str(sample), sample.read_bytes()
    except OSError as error:
        problems.append(Problem(str(sample), 0, "", f"can't be read: {error.strerror}"))


def _together(files: Sequence[Path], topics: Sequence[str]) -> list[Problem]:
    """Return what files and the built-in definitions are beside each other, and what they make of topics."""
    names = {str(file) for file in files}
    try:
        catalog = Catalog.load(files=[file for file in files if file.resolve().parent != BUILT_IN])
    except DefinitionErrors as error:
        return [one for one in error.problems if one.file in names]
    return [
        *(doubt for doubt in catalog.doubts if doubt.file in names),
        *(problem for topic in topics for problem in _of_topic(catalog, files, topic)),
    ]


def _of_topic(catalog: Catalog, files: Sequence[Path], topic: str) -> Iterator[Problem]:
    route = catalog.resolve(topic)
    file = str(files[0]) if len(files) == 1 else ""
    if route is None:
        yield Problem(file, 0, "topic", f"{topic}: {catalog.explain(topic)}")
    elif not {one.stem for one in files}.intersection(route.definition.split("+")):
        yield Problem(file, 0, "topic", f"{topic}: is read by {route.definition}", "warning")


def _of_samples(
    file: Path, definition: Definition, payloads: Sequence[tuple[str, bytes]], topics: Sequence[str]
) -> Iterator[Problem]:
    """Return what is doubtful of samples, and of a definition by what they reach of it."""
    tell = definition_file.teller(file)
    reader = Reader(file.stem, definition, UTC)
    coverage = Coverage(definition)
    numbers: dict[str, str] = {}
    read: set[str] = set()
    for sample, payload in payloads:
        trial = _best([_try(topic, reader, payload, topics) for topic in definition.topic])
        yield from _of_items(sample, trial.items)
        if trial.root is None:
            continue
        try:
            coverage.take(trial.root, trial.parts)
            found = numbers_read(trial.read, trial.root, texts=definition.text_numbers)
        except RecursionError:
            continue  # the reader told that it is nested too deeply
        numbers = dict.fromkeys(found, sample) | numbers
        read.update(place for place, is_read in found.items() if is_read)
    for place, sample in numbers.items():
        if place not in read:
            yield Problem(sample, 0, place, "is a number that nothing reads", "warning")
    for key, reason in coverage.failed.items():
        yield tell(key, f"on a sample, {reason}", "error")
    if any(not topic.decoder for topic in definition.topic):
        for key, message in coverage.gaps():
            yield tell(key, message, "warning")


class _Trial(Struct):
    """A sample as read on one topic of a definition."""

    items: list[Item]
    read: Callable[[object], object]
    root: object = None
    """The parsed payload; None where there is none."""
    parts: dict[str, str] = {}

    @property
    def is_good(self) -> bool:
        """Tell whether something was made of it; a payload may be one to ignore."""
        return not self.items or any(not isinstance(item, Refused) for item in self.items)


def _best(trials: Sequence[_Trial]) -> _Trial:
    return next((trial for trial in trials if trial.is_good), trials[-1])


def _try(topic: Topic, reader: Reader, payload: bytes, topics: Sequence[str]) -> _Trial:
    if topic.decoder:
        return _Trial(DECODERS[topic.decoder](payload), lambda _: None)
    pattern = TopicPattern(topic.pattern)
    example = next((one for one in topics if pattern.match(one) is not None), example_topic(topic.pattern))
    parts = pattern.match(example) or {}

    def read(root: object) -> list[Item]:
        if not reader.accepts(root):
            return [Refused("$", f"is not what {reader.name} expects; see `when` there")]
        return reader.read(root, parts)

    try:
        root = FORMATS[topic.format](Source(example, Births()))(payload)
    except UnreadableError as error:
        return _Trial([Refused("$", str(error))], read)
    return _Trial(read(root), read, root, parts)


def _of_items(sample: str, items: Sequence[Item]) -> Iterator[Problem]:
    for item in items:
        if isinstance(item, Refused):
            reason = item.reason + (f"; found {item.found}" if item.found else "")
            if "has no zone" in reason:
                reason += '; in the definition: zone = "site", or an IANA name'
            yield Problem(sample, 0, item.path, reason, "warning")
        elif isinstance(item, Observed):
            yield from _implausible(sample, item)


def _implausible(sample: str, item: Observed) -> Iterator[Problem]:
    for name, value in item.values.items():
        if not isinstance(value, float):
            continue
        parameter = PARAMETERS[name]
        unit = (item.units or {}).get(name, parameter.unit)
        conversion = parameter.units[unit]
        meant = value * conversion.scale + conversion.offset
        if not parameter.low <= meant <= parameter.high:
            plausible = f"{parameter.low:g} to {parameter.high:g} {parameter.unit}"
            told = f"{value:g} {unit} is outside {plausible}: is it the right field, and the right unit?"
            yield Problem(sample, 0, name, told, "warning")

"""Checks definition files before a hub is to load them: behind `hub devices check`."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hub.devices import definition_file
from hub.devices.births import Births
from hub.devices.catalog import Catalog
from hub.devices.decode import Item, Observed, Refused
from hub.devices.problem import DefinitionErrors, Problem
from hub.devices.topics import example_topics
from hub.vocabulary import PARAMETERS


def check(paths: Sequence[Path], samples: Sequence[Path] = ()) -> list[Problem]:
    """Return all that is wrong (`error`) or doubtful (`warning`) in files and in the `*.toml` of folders.

    Each sample is the payload of one message; it is read by every definition that is checked.
    """
    problems: list[Problem] = []
    for path in paths:
        if not path.exists():
            problems.append(
                Problem(str(path), 0, "", "doesn't exist: name a definition file or a folder of them")
            )
            continue
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not files:
            problems.append(Problem(str(path), 0, "", "holds no *.toml", "warning"))
        for file in files:
            definition, found = definition_file.read(file)
            problems += found
            if definition is not None and samples:
                problems += _of_samples(file, samples)
    return problems


def alone(file: Path, zone: str = "UTC") -> Catalog:
    """Load one definition file beside the built-in ones. Raises DefinitionErrors."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.write_bytes(file.read_bytes())
        return Catalog.load([Path(folder)], zone=zone)


def _of_samples(file: Path, samples: Sequence[Path]) -> Iterator[Problem]:
    try:
        catalog = alone(file)
    except DefinitionErrors as error:
        yield from error.problems
        return
    topics = example_topics(catalog.definitions[file.stem])
    for sample in samples:
        try:
            payload = sample.read_bytes()
        except OSError as error:
            yield Problem(str(sample), 0, "", f"can't be read: {error.strerror}")
            continue
        decoded: list[Item] = []
        for topic in topics:
            route = catalog.with_births(Births()).resolve(topic)
            decoded = route.decode(payload) if route is not None else []
            if any(not isinstance(item, Refused) for item in decoded):
                break
        yield from _of_items(str(sample), decoded)


def _of_items(sample: str, items: Sequence[Item]) -> Iterator[Problem]:
    for item in items:
        if isinstance(item, Refused):
            reason = item.reason
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

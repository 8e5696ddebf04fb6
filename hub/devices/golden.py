"""Golden cases: folders of a payload and what it must become. Behind `hub devices test`.

A case is `<definition>/<case>/` with `topic.txt`, one `payload.*` and `expected.json`, a list of items.
Formats that remember have `before-1.topic.txt` and `before-1.payload.*`, `before-2…` in the order they came.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from hub.devices.births import Births
from hub.devices.catalog import Catalog
from hub.devices.decode import Item

NEEDED: Final = ("usual", "no-value", "malformed")
"""The cases that every definition has."""


class Case(Struct, frozen=True):
    """One case and how it went."""

    folder: Path
    decoded: list[dict[str, object]]
    problems: list[str]
    """What differs, or what of the case can't be used; empty where it is as expected."""

    @property
    def name(self) -> str:
        """The definition and the case."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def folders(roots: Sequence[Path]) -> list[Path]:
    """Return the folders of all cases below some folders."""
    return sorted({topic.parent for root in roots for topic in root.rglob("topic.txt")})


def lacking(cases: Sequence[Path]) -> Iterator[str]:
    """Return what cases the definitions lack of those that each should have."""
    by_definition: dict[Path, set[str]] = {}
    for case in cases:
        by_definition.setdefault(case.parent, set()).add(case.name)
    for definition, names in by_definition.items():
        missing = [name for name in NEEDED if name not in names]
        if missing:
            yield f"{definition.name} has no case {', '.join(missing)}"


def run(folder: Path, catalog: Catalog) -> Case:
    """Decode one case and compare. Never raises for what is in the folder."""
    catalog = catalog.with_births(Births())
    try:
        for step in sorted(folder.glob("before-*.topic.txt")):
            _decode(catalog, step, folder, step.name.removesuffix("topic.txt") + "payload.*")
        decoded = _decode(catalog, folder / "topic.txt", folder, "payload.*")
        _same_definition(catalog, folder)
    except (OSError, ValueError) as error:
        return Case(folder, [], [str(error)])
    expected_file = folder / "expected.json"
    try:
        expected = json.loads(expected_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Case(folder, decoded, ["has no expected.json: --update writes it, for you to look at"])
    except (OSError, ValueError) as error:
        return Case(folder, decoded, [f"expected.json: {error}"])
    return Case(folder, decoded, list(_differences(expected, decoded)))


def update(case: Case) -> None:
    """Write what a case decodes to as what is expected: one item a line."""
    lines = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in case.decoded)
    (case.folder / "expected.json").write_text(f"[\n{lines}\n]\n" if lines else "[]\n", encoding="utf-8")


def plain(item: Item) -> dict[str, object]:
    """Return an item as JSON has it: its class, and its members that are not null."""
    members = {key: value for key, value in msgspec.to_builtins(item).items() if value is not None}
    return {"item": type(item).__name__, **members}


def _decode(catalog: Catalog, topic_file: Path, folder: Path, payload: str) -> list[dict[str, object]]:
    topic = topic_file.read_text(encoding="utf-8").strip()
    route = catalog.resolve(topic)
    if route is None:
        raise ValueError(f"{topic_file.name}: {catalog.explain(topic)}")
    files = list(folder.glob(payload))
    if len(files) != 1:
        raise ValueError(f"has {len(files)} files {payload}: give one")
    return [plain(item) for item in route.decode(files[0].read_bytes())]


def _same_definition(catalog: Catalog, folder: Path) -> None:
    route = catalog.resolve((folder / "topic.txt").read_text(encoding="utf-8").strip())
    name = folder.parent.name
    if name in catalog.definitions and route is not None and name not in route.definition.split("+"):
        raise ValueError(f"topic.txt: is a topic of {route.definition}, not of {name}")


def _differences(expected: object, decoded: list[dict[str, object]]) -> Iterator[str]:
    if not isinstance(expected, list):
        yield "expected.json: is no list of items"
        return
    # Through JSON: what is expected has been written and read, and so a tuple is a list.
    got = json.loads(json.dumps(decoded))
    for position in range(max(len(expected), len(got))):
        if position >= len(got):
            yield f"item {position}: is missing: {json.dumps(expected[position], ensure_ascii=False)}"
        elif position >= len(expected):
            yield f"item {position}: is not expected: {json.dumps(got[position], ensure_ascii=False)}"
        elif got[position] != expected[position]:
            yield from _members(position, expected[position], got[position])


def _members(position: int, expected: dict[str, object], got: dict[str, object]) -> Iterator[str]:
    for name in dict.fromkeys([*expected, *got]):
        if expected.get(name) != got.get(name) or (name in expected) != (name in got):
            wanted, found = (json.dumps(one.get(name), ensure_ascii=False) for one in (expected, got))
            yield f"item {position}: {name}: expected {wanted}, got {found}"

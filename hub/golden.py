"""Golden cases: folders of a payload and what must become of it. Behind `hub devices test`.

A case is `<definition>/<case>/` with `topic.txt`, one `payload.*` and `expected.json`, which has the members
MEMBERS of `hub devices decode --json`; empty ones may be left out. `received.txt` may say when the payload
arrives; else it is the newest of its times. Formats that remember have `before-1.topic.txt` and
`before-1.payload.*`, `before-2…` in the order they came.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hub.devices.births import Births
from hub.devices.catalog import Catalog
from hub.devices.timestamp import iso_ns
from hub.preview import Previewer

NEEDED: Final = ("usual", "no-value", "malformed")
"""The cases that every definition has."""
MEMBERS: Final = ("site", "area", "readings", "statuses", "alarms", "sightings", "waveforms", "rejects")
"""What of a preview a case pins: all but what follows from it, and what is this machine's."""


class Case(Struct, frozen=True):
    """One case and how it went."""

    folder: Path
    got: dict[str, Any] | None
    """What became of the payload: MEMBERS but the empty ones. None where the case can't be run."""
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
    """Show one case's payload and compare. Never raises for what is in the folder."""
    previewer = Previewer(catalog.with_births(Births()))
    try:
        for step in sorted(folder.glob("before-*.topic.txt")):
            _show(previewer, catalog, step, step.name.removesuffix("topic.txt") + "payload.*")
        got = _show(previewer, catalog, folder / "topic.txt", "payload.*")
        _same_definition(catalog, folder)
    except (OSError, ValueError) as error:
        return Case(folder, None, [str(error)])
    expected_file = folder / "expected.json"
    try:
        expected = json.loads(expected_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Case(folder, got, ["has no expected.json: --update writes it, for you to look at"])
    except (OSError, ValueError) as error:
        return Case(folder, got, [f"expected.json: {error}"])
    return Case(folder, got, list(_differences(expected, got)))


def update(case: Case) -> None:
    """Write what became of a case's payload as what is expected: one item a line."""
    members = [f"  {json.dumps(name)}: {_written(member)}" for name, member in (case.got or {}).items()]
    text = "{\n" + ",\n".join(members) + "\n}\n"
    (case.folder / "expected.json").write_text(text, encoding="utf-8")


def _written(member: object) -> str:
    if not isinstance(member, list):
        return json.dumps(member, ensure_ascii=False)
    return "[\n" + ",\n".join("    " + json.dumps(one, ensure_ascii=False) for one in member) + "\n  ]"


def _show(previewer: Previewer, catalog: Catalog, topic_file: Path, payload: str) -> dict[str, Any]:
    folder = topic_file.parent
    topic = topic_file.read_text(encoding="utf-8").strip()
    files = list(folder.glob(payload))
    if len(files) != 1:
        raise ValueError(f"has {len(files)} files {payload}: give one")
    received = topic_file.with_name(topic_file.name.replace("topic.txt", "received.txt"))
    received_ns = None
    if received.exists():
        try:
            received_ns = iso_ns(received.read_text(encoding="utf-8").strip(), UTC)
        except ValueError as error:
            raise ValueError(f"{received.name}: {error}") from None
    shown = previewer.show(topic, files[0].read_bytes(), received_ns)
    if shown["definition"] is None:
        raise ValueError(f"{topic_file.name}: {catalog.explain(topic)}")
    got: dict[str, Any] = {name: shown[name] for name in MEMBERS if shown[name]}
    # Through JSON: what is expected has been written and read, and so a tuple is a list.
    return dict(json.loads(json.dumps(got)))


def _same_definition(catalog: Catalog, folder: Path) -> None:
    route = catalog.resolve((folder / "topic.txt").read_text(encoding="utf-8").strip())
    name = folder.parent.name
    if name in catalog.definitions and route is not None and name not in route.definition.split("+"):
        raise ValueError(f"topic.txt: is a topic of {route.definition}, not of {name}")


def _differences(expected: object, got: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(expected, dict):
        yield f"expected.json: is no object of {', '.join(MEMBERS)}; --update writes one, for you to look at"
        return
    for name in expected:
        if name not in MEMBERS:
            yield f"expected.json: {name}: is no member of a case; there are {', '.join(MEMBERS)}"
    for name in MEMBERS:
        wanted, found = expected.get(name) or [], got.get(name) or []
        if isinstance(wanted, list) and isinstance(found, list):
            yield from _items(name, wanted, found)
        elif wanted != found:
            yield f"{name}: expected {json.dumps(wanted)}, got {json.dumps(found)}"


def _items(name: str, wanted: list[Any], found: list[Any]) -> Iterator[str]:
    for position in range(max(len(wanted), len(found))):
        place = f"{name}[{position}]"
        if position >= len(found):
            yield f"{place}: is missing: {json.dumps(wanted[position], ensure_ascii=False)}"
        elif position >= len(wanted):
            yield f"{place}: is not expected: {json.dumps(found[position], ensure_ascii=False)}"
        elif wanted[position] != found[position]:
            yield from _members(place, wanted[position], found[position])


def _members(place: str, wanted: object, found: dict[str, Any]) -> Iterator[str]:
    if not isinstance(wanted, dict):
        yield f"{place}: is no object"
        return
    for name in dict.fromkeys([*wanted, *found]):
        if wanted.get(name) != found.get(name) or (name in wanted) != (name in found):
            one, other = (json.dumps(side.get(name), ensure_ascii=False) for side in (wanted, found))
            yield f"{place}.{name}: expected {one}, got {other}"

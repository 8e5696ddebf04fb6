"""All device definitions, and which of them a topic means."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from hub.devices import definition_file
from hub.devices.births import Births
from hub.devices.decode import Decode, Item, Refused
from hub.devices.definition import Definition, Topic
from hub.devices.formats import FORMATS, Parse, Source
from hub.devices.native import DECODERS
from hub.devices.payload import UnreadableError
from hub.devices.problem import DefinitionErrors, Problem
from hub.devices.reader import Reader
from hub.mqtt.topics import NATIVE_PREFIX, TopicPattern, is_id

BUILT_IN: Final = Path(__file__).with_name("definitions")
DEFAULT_AREA: Final = "main"


class Route(Struct, frozen=True):
    """What a topic means. The line keeps it: it holds for as long as the catalog does."""

    definition: str
    """Name of the definition; several that share the topic are joined by `+`."""
    site: str
    area: str
    device: str | None
    """The device that the topic names, a gateway perhaps; None where only the payload names one."""
    channel: str
    interval_s: float
    decode: Decode
    """Never raises."""
    vouched: bool = False
    """Whether the devices that payloads name count whoever publishes them."""


class _Entry(Struct, frozen=True):
    name: str
    definition: Definition
    topic: Topic
    pattern: TopicPattern
    reader: Reader | None

    def device(self, parts: dict[str, str]) -> str | None:
        """Return the device that the topic names."""
        return self.topic.device.format_map(parts) if self.topic.device else parts.get("device")


class Catalog:
    """The definitions that a hub works with. Immutable once loaded."""

    def __init__(self, entries: Sequence[_Entry], *, site: str, births: Births | None = None) -> None:
        self._entries = tuple(entries)
        self._births = Births() if births is None else births
        self._site = site
        self.filters: list[str] = list(dict.fromkeys(entry.pattern.filter for entry in entries))
        """The MQTT filters to subscribe to, hub to device channels never among them."""
        self.definitions: dict[str, Definition] = {entry.name: entry.definition for entry in entries}

    @classmethod
    def load(
        cls,
        folders: Sequence[Path] = (),
        *,
        files: Sequence[Path] = (),
        site: str = "main",
        zone: str = "UTC",
        births: Births | None = None,
    ) -> "Catalog":
        """Load the built-in definitions, the `*.toml` of the folders and the files.

        Of several with one name the last counts.

        `site` is the site of formats that name none, `zone` the IANA zone of times without one, `births` what
        Sparkplug nodes said in an earlier run.
        Raises DefinitionErrors with every error of every file.
        """
        named: dict[str, Path] = {}
        problems: list[Problem] = []
        for folder in (BUILT_IN, *folders):
            if not folder.is_dir():
                problems.append(Problem(str(folder), 0, "", "is no folder: name one with *.toml in it"))
            named.update({file.stem: file for file in sorted(folder.glob("*.toml"))})
        named.update({file.stem: file for file in files})
        if not is_id(site):
            problems.append(Problem("settings", 0, "site", "use 1 to 64 of the characters A-Z a-z 0-9 _ -"))
        try:
            site_zone: tzinfo = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(Problem("settings", 0, "zone", f"{zone!r} is no IANA zone such as Europe/Berlin"))
            site_zone = ZoneInfo("UTC")
        entries: list[_Entry] = []
        for name, file in named.items():
            definition, found = definition_file.read(file)
            problems += [problem for problem in found if problem.severity == "error"]
            if definition is not None:
                entries += _entries(name, definition, site_zone)
        problems += conflicts(entries, named)
        if problems:
            raise DefinitionErrors(problems)
        return cls(entries, site=site, births=births)

    def with_births(self, births: Births) -> "Catalog":
        """Return the same definitions with another memory of Sparkplug's births."""
        return Catalog(self._entries, site=self._site, births=births)

    def resolve(self, topic: str) -> Route | None:
        """Return what a topic means; None where no definition takes it, `explain` says why."""
        found = [
            (entry, parts) for entry in self._entries if (parts := entry.pattern.match(topic)) is not None
        ]
        if not found:
            return None
        entry, parts = found[0]
        site = parts.get("site") or entry.definition.site or self._site
        area = parts.get("area") or entry.definition.area or DEFAULT_AREA
        device = entry.device(parts)
        if not (is_id(site) and is_id(area)):
            return None
        if device is not None and not is_id(device):
            if not entry.definition.device:
                return None
            device = None
        return Route(
            definition="+".join(dict.fromkeys(entry.name for entry, _ in found)),
            site=site,
            area=area,
            device=device,
            channel=entry.topic.channel,
            interval_s=max(entry.definition.interval_s for entry, _ in found),
            decode=_decoder(found, Source(topic, self._births)),
            vouched=all(entry.definition.gateway == "any" for entry, _ in found),
        )

    def accepting(self, topic: str, payload: bytes) -> str | None:
        """Return the name of the definition that reads a payload; None where no definition takes the topic.

        Of several that share a topic the first where none accepts.
        """
        found = [entry for entry in self._entries if entry.pattern.match(topic) is not None]
        if len(found) > 1:
            with suppress(UnreadableError):
                root = FORMATS[found[0].topic.format](Source(topic, Births()))(payload)
                return next(
                    (one.name for one in found if one.reader and one.reader.accepts(root)), found[0].name
                )
        return found[0].name if found else None

    def fitting(self, payload: bytes) -> list[str]:
        """Return the definitions that make something of a payload, whatever its topic; the best first."""
        scores: dict[str, tuple[int, int]] = {}
        for entry in self._entries:
            if entry.reader is None and not entry.topic.decoder:
                continue
            parts = dict.fromkeys(entry.pattern.names, "x")
            topic = entry.topic.pattern.replace("...}", "}").format_map(parts)
            items = _decoder([(entry, parts)], Source(topic, Births()))(payload)
            refused = sum(isinstance(item, Refused) for item in items)
            if len(items) > refused:
                scores[entry.name] = max(
                    scores.get(entry.name, (0, -refused)), (len(items) - refused, -refused)
                )
        return sorted(scores, key=lambda name: (scores[name][1], scores[name][0]), reverse=True)

    def explain(self, topic: str) -> str:
        """Return what about a topic keeps it from being taken, and what to change."""
        if topic.startswith(NATIVE_PREFIX):
            return self._explain_native(topic)
        for entry in self._entries:
            parts = entry.pattern.match(topic)
            if parts is None:
                continue
            for part in ("site", "area", "device"):
                name = entry.device(parts) if part == "device" else parts.get(part)
                if name is not None and not is_id(name):
                    return f"{part}: use 1 to 64 of the characters A-Z a-z 0-9 _ -, as {entry.topic.pattern}"
            return f"the definition {entry.name} takes it"
        patterns = ", ".join(entry.topic.pattern for entry in self._entries)
        return f"no definition takes this topic; there are {patterns}"

    def _explain_native(self, topic: str) -> str:
        shape = f"{NATIVE_PREFIX}{{site}}/{{area}}/{{device}}/{{channel}}"
        levels = topic.removeprefix(NATIVE_PREFIX).split("/")
        if len(levels) < 4:
            return f"has {len(levels)} levels after {NATIVE_PREFIX}: publish on {shape}"
        for name, level in zip(("site", "area", "device"), levels, strict=False):
            if not is_id(level):
                return f"{name}: use 1 to 64 of the characters A-Z a-z 0-9 _ -, as in {shape}"
        channels = [
            entry.topic.channel for entry in self._entries if entry.topic.pattern.startswith(NATIVE_PREFIX)
        ]
        return f"is no channel from device to hub: publish on one of {', '.join(channels)}"


def conflicts(entries: Sequence[_Entry], files: dict[str, Path]) -> list[Problem]:
    """Return the definitions that share a topic with another and can't tell their payloads apart."""
    problems: list[Problem] = []
    for entry in entries:
        sharing = sorted({other.name for other in entries if other is not entry and _overlap(entry, other)})
        if sharing and (entry.reader is None or not entry.reader.selective):
            message = (
                f"{entry.topic.pattern} takes topics of {', '.join(sharing)} too:"
                " say with `when` which payloads are whose, or change the pattern"
            )
            problems.append(Problem(str(files[entry.name]), 0, "when", message))
        others = {other.topic.format for other in entries if _overlap(entry, other)} - {entry.topic.format}
        if others:
            message = (
                f"{entry.topic.pattern} is read as {', '.join(sorted(others))} by others: one format a topic"
            )
            problems.append(Problem(str(files[entry.name]), 0, "format", message))
    return problems


def _overlap(one: _Entry, other: _Entry) -> bool:
    """Tell whether a topic may be both of one and of the other."""
    ours, theirs = one.topic.pattern.split("/"), other.topic.pattern.split("/")
    for mine, yours in zip(ours, theirs, strict=False):
        if _is_rest(mine) or _is_rest(yours):
            return True
        if not _levels_overlap(mine, yours):
            return False
    longer = ours if len(ours) > len(theirs) else theirs
    shorter = min(len(ours), len(theirs))
    return len(longer) == shorter or (len(longer) == shorter + 1 and _is_rest(longer[-1]))


def _is_rest(level: str) -> bool:
    return level == "#" or level.endswith("...}")


def _levels_overlap(mine: str, yours: str) -> bool:
    if "+" in (mine, yours) or mine == yours:
        return True
    if "{" not in mine and "{" not in yours:
        return False
    begins = mine.partition("{")[0], yours.partition("{")[0]
    ends = mine.rpartition("}")[2], yours.rpartition("}")[2]
    return (begins[0].startswith(begins[1]) or begins[1].startswith(begins[0])) and (
        ends[0].endswith(ends[1]) or ends[1].endswith(ends[0])
    )


def _entries(name: str, definition: Definition, site_zone: tzinfo) -> list[_Entry]:
    reader = Reader(name, definition, site_zone) if definition.read else None
    return [
        _Entry(name, definition, topic, TopicPattern(topic.pattern), None if topic.decoder else reader)
        for topic in definition.topic
    ]


def _decoder(found: list[tuple[_Entry, dict[str, str]]], source: Source) -> Decode:
    entry, _ = found[0]
    if entry.topic.decoder:
        return DECODERS[entry.topic.decoder]
    readers = [(entry.reader, parts) for entry, parts in found if entry.reader is not None]
    return partial(_decode, FORMATS[entry.topic.format](source), readers)


def _decode(parse: Parse, readers: list[tuple[Reader, dict[str, str]]], payload: bytes) -> list[Item]:
    try:
        root = parse(payload)
    except UnreadableError as error:
        return [Refused("$", str(error))]
    for reader, parts in readers:
        if reader.accepts(root):
            return reader.read(root, parts)
    names = ", ".join(reader.name for reader, _ in readers)
    return [Refused("$", f"is not what {names} expects; see `when` there")]

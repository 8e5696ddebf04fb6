"""All device definitions, and which of them a topic means."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import tzinfo
from functools import partial
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
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
from hub.mqtt.overlap import common_topic, is_within
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
    own: bool
    """Whether it is the site's own definition."""

    @property
    def is_selective(self) -> bool:
        """Tell whether it leaves payloads that are not its own to others on the same topic."""
        return self.reader is not None and self.reader.selective

    def goes_before(self, other: "_Entry") -> bool:
        """Tell whether it reads what both take: where it takes less, or the other is only built in."""
        within, around = is_within(self.pattern, other.pattern), is_within(other.pattern, self.pattern)
        if within is not around:
            return within
        return self.own and not other.own


class Catalog:
    """The definitions that a hub works with. Immutable once loaded."""

    def __init__(
        self,
        entries: Sequence[_Entry],
        *,
        site: str,
        births: Births | None = None,
        files: Mapping[str, Path] = MappingProxyType({}),
        doubts: Sequence[Problem] = (),
    ) -> None:
        self._entries = tuple(entries)
        self.files = files
        """Where each definition was read from, by name."""
        self.doubts = tuple(doubts)
        """Topics that two definitions take, and which of them goes first."""
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

        Of several with one name the last counts. Of several that take one topic the one reads that takes
        fewer, then the site's own; those that are neither tell by `when` whose a payload is.
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
                entries += _entries(
                    name, definition, site_zone, own=file.resolve().parent != BUILT_IN.resolve()
                )
        shared = list(conflicts(entries, named))
        problems += [problem for problem in shared if problem.severity == "error"]
        if problems:
            raise DefinitionErrors(problems)
        return cls(
            entries,
            site=site,
            births=births,
            files=named,
            doubts=[problem for problem in shared if problem.severity == "warning"],
        )

    def with_births(self, births: Births) -> "Catalog":
        """Return the same definitions with another memory of Sparkplug's births."""
        return Catalog(self._entries, site=self._site, births=births, files=self.files, doubts=self.doubts)

    def resolve(self, topic: str) -> Route | None:
        """Return what a topic means; None where no definition takes it, `explain` says why."""
        found = self._found(topic)
        if not found:
            return None
        entry, parts = found[0]
        try:
            site = entry.topic.part("site", parts) or entry.definition.site or self._site
            area = entry.topic.part("area", parts) or entry.definition.area or DEFAULT_AREA
            device = entry.topic.part("device", parts)
        except ValueError:
            return None
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
        found = self._found(topic)
        if len(found) > 1:
            with suppress(UnreadableError):
                root = FORMATS[found[0][0].topic.format](Source(topic, Births()))(payload)
                names = [one.name for one, _ in found if one.reader is None or one.reader.accepts(root)]
                return names[0] if names else found[0][0].name
        return found[0][0].name if found else None

    def _found(self, topic: str) -> list[tuple[_Entry, dict[str, str]]]:
        """Return what may read a topic's payloads, with the topic's parts; the first that accepts reads."""
        found = [
            (entry, parts) for entry in self._entries if (parts := entry.pattern.match(topic)) is not None
        ]
        ranked: list[tuple[_Entry, dict[str, str]]] = []
        while found:
            first = next(one for one in found if not any(other.goes_before(one[0]) for other, _ in found))
            ranked.append(first)
            if not first[0].is_selective:
                break
            found.remove(first)
        return ranked

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
        for entry, parts in self._found(topic):
            for name in ("site", "area", "device"):
                wrong = _wrong_part(entry, name, parts)
                if wrong:
                    return wrong
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


def conflicts(entries: Sequence[_Entry], files: dict[str, Path]) -> Iterator[Problem]:
    """Return the definitions that share topics: as errors where nothing says who reads what comes there."""
    for entry, other in combinations(entries, 2):
        shared = common_topic(entry.pattern, other.pattern)
        if shared is None:
            continue
        first, second = (other, entry) if other.goes_before(entry) else (entry, other)
        ordered = first.goes_before(second)
        for one, another in ((entry, other), (other, entry)):
            theirs = f"{another.topic.pattern} of {another.name}"
            what = f"{one.topic.pattern} takes {shared}, which {theirs} takes too"
            if not ordered and not one.is_selective:
                message = f"{what}: say with `when` which payloads are whose, or change the pattern"
                yield Problem(str(files[one.name]), 0, "when", message)
            elif one.topic.format != another.topic.format and (not ordered or first.is_selective):
                yield Problem(str(files[one.name]), 0, "format", f"{what}: give both one format")
            elif ordered and one.own and not another.own:
                who = "this" if one is first else f"{another.name}, the narrower,"
                yield Problem(str(files[one.name]), 0, "topic", f"{what}: {who} goes first", "warning")


def _wrong_part(entry: _Entry, name: str, parts: dict[str, str]) -> str | None:
    """Return what is wrong with the site, area or device of a topic, and what to change; None for nothing."""
    try:
        made = entry.topic.part(name, parts)
    except ValueError as error:
        return f"{name}: {error}, in the definition {entry.name}"
    if made is None or is_id(made) or (name == "device" and entry.definition.device):
        return None
    expected = f"{name}: use 1 to 64 of the characters A-Z a-z 0-9 _ -, as {entry.topic.pattern}"
    odd = dict.fromkeys(char for char in made if not is_id(char))
    if getattr(entry.topic, name) is not None or not odd or len(made) > 64:
        return expected
    replace = ", ".join(f'"{char}" = "-"' for char in odd)
    return f'{expected}; or, in {entry.name}: {name} = {{ topic = "{name}", replace = {{ {replace} }} }}'


def _entries(name: str, definition: Definition, site_zone: tzinfo, *, own: bool) -> list[_Entry]:
    reader = Reader(name, definition, site_zone) if definition.read else None
    return [
        _Entry(name, definition, topic, TopicPattern(topic.pattern), None if topic.decoder else reader, own)
        for topic in definition.topic
    ]


def _decoder(found: list[tuple[_Entry, dict[str, str]]], source: Source) -> Decode:
    readers = [(entry.reader, parts) for entry, parts in found if entry.reader is not None]
    last = found[-1][0].topic.decoder
    if not readers:
        return DECODERS[last]
    parse = FORMATS[found[0][0].topic.format](source)
    return partial(_decode, parse, readers, DECODERS[last] if last else None)


def _decode(
    parse: Parse, readers: list[tuple[Reader, dict[str, str]]], last: Decode | None, payload: bytes
) -> list[Item]:
    try:
        root = parse(payload)
    except UnreadableError as error:
        return [Refused("$", str(error))]
    for reader, parts in readers:
        if reader.accepts(root):
            return reader.read(root, parts)
    if last is not None:
        return last(payload)
    names = ", ".join(reader.name for reader, _ in readers)
    return [Refused("$", f"is not what {names} expects; see `when` there")]

"""MQTT topics, filters and patterns, and the native scheme `wards/v1/{site}/{area}/{device}/{channel}`.

Rules of topics and filters: MQTT 3.1.1 (OASIS), section 4.7.
"""

import re
from functools import lru_cache
from typing import NamedTuple

NATIVE_PREFIX = "wards/v1/"
NATIVE_FILTER = "wards/v1/+/+/+/+"
"""What devices send; `commands/result` has a level more and is subscribed to by whoever sends commands."""

_ID = r"[A-Za-z0-9_-]{1,64}"
_IS_ID = re.compile(_ID)
_NATIVE = re.compile(rf"wards/v1/({_ID})/({_ID})/({_ID})/({_ID}(?:/{_ID})?)")
_PART = re.compile(r"\{([a-z][a-z0-9_]*)(\.\.\.)?\}")
_MAX_BYTES = 65_535


class TopicError(ValueError):
    """A topic, filter or pattern that MQTT or the native scheme doesn't allow; the text says why."""


class NativeTopic(NamedTuple):
    """The parts of a native topic. Area is a routing hint, never where the patient is."""

    site: str
    area: str
    device: str
    channel: str
    """One level, or two for `commands/result`."""

    def __str__(self) -> str:
        return f"{NATIVE_PREFIX}{self.site}/{self.area}/{self.device}/{self.channel}"


def is_id(text: str) -> bool:
    """Tell whether a text can be a site, an area, a device or a channel of the native scheme."""
    return _IS_ID.fullmatch(text) is not None


def parse_native(topic: str) -> NativeTopic | None:
    """Take a native topic apart; None for a topic of another scheme or with ids that it doesn't allow."""
    found = _NATIVE.fullmatch(topic)
    return NativeTopic(*found.groups()) if found else None


def native_topic(site: str, area: str, device: str, channel: str) -> str:
    """Build a native topic. Raises TopicError naming the part that isn't an id."""
    levels = channel.split("/")
    named = [("site", site), ("area", area), ("device", device), *(("channel", level) for level in levels)]
    for name, value in named:
        if not is_id(value):
            raise TopicError(f"{name} {value!r}: use 1 to 64 of the characters A-Z a-z 0-9 _ -")
    if len(levels) > 2:
        raise TopicError(f"channel {channel!r}: use one level, or two as in commands/result")
    return f"{NATIVE_PREFIX}{site}/{area}/{device}/{channel}"


def check_topic(topic: str) -> str:
    """Return a topic name that can be published to. Raises TopicError saying what to change."""
    _check_text("topic", topic)
    if "+" in topic or "#" in topic:
        raise TopicError(f"topic {topic!r}: + and # are wildcards, only a filter may hold them")
    return topic


def check_filter(topic_filter: str) -> str:
    """Return a filter that can be subscribed to. Raises TopicError saying what to change."""
    _check_text("filter", topic_filter)
    levels = topic_filter.split("/")
    for position, level in enumerate(levels, start=1):
        if level != "#" and "#" in level:
            raise TopicError(f"filter {topic_filter!r}: # must be a level of its own, as in a/#")
        if level != "+" and "+" in level:
            raise TopicError(f"filter {topic_filter!r}: + must be a level of its own, as in a/+/b")
        if level == "#" and position != len(levels):
            raise TopicError(f"filter {topic_filter!r}: # must be the last level")
    if levels[0] == "$share":
        raise TopicError(
            f"filter {topic_filter!r}: shared subscriptions break the order of a device's messages;"
            " give each hub the filters of its own areas"
        )
    return topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a valid filter takes a topic. Wildcards never take the first level of `$SYS/...`."""
    return _compiled(topic_filter).fullmatch(topic) is not None


class TopicPattern:
    """A filter whose wildcards have names.

    `{name}` takes one level or, beside literal text, a part of one: `gw-{gateway}`. `{name...}` at the end
    takes all remaining levels, none included, as `#` does. `+` and `#` are allowed where no name is needed.

    >>> TopicPattern("iomt/telemetry/{ward}/{device}").match("iomt/telemetry/icu/pump-7")
    {'ward': 'icu', 'device': 'pump-7'}
    """

    __slots__ = ("_regex", "filter", "names", "text")

    def __init__(self, text: str) -> None:
        """Compile a pattern. Raises TopicError saying what to change."""
        self.text = text
        self.names: tuple[str, ...] = tuple(name for name, _ in _PART.findall(text))
        if len(set(self.names)) != len(self.names):
            raise TopicError(f"pattern {text!r}: a name occurs twice")
        levels = text.split("/")
        filters = [_level_filter(text, level, last=i == len(levels)) for i, level in enumerate(levels, 1)]
        self.filter = check_filter("/".join(filters))
        self._regex = _compile(levels)

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic, or None where the pattern doesn't take it."""
        found = self._regex.fullmatch(topic)
        return found.groupdict("") if found else None

    def __repr__(self) -> str:
        return f"TopicPattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TopicPattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _check_text(kind: str, text: str) -> None:
    if not text:
        raise TopicError(f"the {kind} is empty: give at least one character")
    if "\0" in text:
        raise TopicError(f"{kind} {text!r}: MQTT allows no NUL character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise TopicError(f"{kind} {text!r}: a lone surrogate is not UTF-8") from None
    if size > _MAX_BYTES:
        raise TopicError(f"the {kind} has {size} bytes: MQTT allows {_MAX_BYTES}")


def _level_filter(text: str, level: str, *, last: bool) -> str:
    parts = _PART.findall(level)
    literal = _PART.sub("", level)
    if "{" in literal or "}" in literal:
        raise TopicError(f"pattern {text!r}: write a part as {{name}}, small letters, digits and _")
    if any(dots for _, dots in parts):
        if not last or literal or len(parts) > 1:
            raise TopicError(f"pattern {text!r}: {{name...}} must be the whole last level")
        return "#"
    if parts and ("+" in literal or "#" in literal):
        raise TopicError(f"pattern {text!r}: name the wildcard in {level!r}, as in {{name}}")
    if len(parts) > 1 and "}{" in level:
        raise TopicError(f"pattern {text!r}: put literal text between the parts of {level!r}")
    return "+" if parts else level


@lru_cache(maxsize=4096)
def _compiled(topic_filter: str) -> re.Pattern[str]:
    return _compile(topic_filter.split("/"), named=False)


def _compile(levels: list[str], *, named: bool = True) -> re.Pattern[str]:
    pieces: list[str] = []
    for position, level in enumerate(levels):
        # A wildcard in the first place doesn't take $SYS and the like (section 4.7.2).
        start = "/" if position else r"(?!\$)"
        parts = list(_PART.finditer(level)) if named else []
        if level == "#":
            pieces.append("(?:/.*)?" if position else r"(?!\$).*")
        elif parts and parts[0][2]:
            pieces.append(f"(?:/(?P<{parts[0][1]}>.*))?" if position else rf"(?!\$)(?P<{parts[0][1]}>.*)")
        elif level == "+":
            pieces.append(f"{start}[^/]*")
        elif parts:
            pieces.append(start if position or parts[0].start() == 0 else "")
            pieces.append(_level_regex(level, parts))
        else:
            pieces.append(("/" if position else "") + re.escape(level))
    return re.compile("".join(pieces), re.DOTALL)


def _level_regex(level: str, parts: list[re.Match[str]]) -> str:
    regex, at = "", 0
    for part in parts:
        regex += re.escape(level[at : part.start()]) + f"(?P<{part[1]}>[^/]+)"
        at = part.end()
    return regex + re.escape(level[at:])

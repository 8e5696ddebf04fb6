"""Resource ids: they follow from what a resource is, so the same thing always has the same id.

FHIR allows 64 of `A-Z a-z 0-9 - .`; the hub's ids have other characters and may be longer.
"""

import re
from base64 import b32encode
from functools import lru_cache
from hashlib import blake2b

from msgspec import Struct

_FREE = re.compile(r"[A-Za-z0-9-]+")
_LONGEST = 64
_ESCAPED = re.compile(r"\.([0-9a-f]{2})")
_OBSERVATION = re.compile(r"([a-z2-7]{13})\.([0-9a-f]{16})\.([a-z0-9-]+)(?:\.([a-z2-7]{7}))?")

OBSERVATIONS = "observations"
"""The channel of most readings; others are part of the id."""


class ObservationId(Struct, frozen=True):
    """What an Observation's id says. Device and channel are keys (see `device_key`, `channel_key`)."""

    device: str
    time_ns: int
    group: str
    channel: str
    """Empty for `observations`."""


@lru_cache(maxsize=65_536)
def resource_id(*parts: str) -> str:
    """Return the id of a resource that is known by these parts, for instance a site and a device.

    Other characters than letters, digits and `-` become `.` and two hexadecimal digits, parts are joined by
    `..`; what gets too long becomes `..` and a hash.
    """
    text = "..".join(_escape(part) for part in parts)
    if len(text) <= _LONGEST:
        return text
    return ".." + blake2b("\0".join(parts).encode(), digest_size=20).hexdigest()


def parts_of(text: str) -> tuple[str, ...] | None:
    """Return what `resource_id` was given; None for a hash, which can't be turned round, or another text."""
    if text.startswith(".."):
        return None
    parts = tuple(_ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), part) for part in text.split(".."))
    return parts if resource_id(*parts) == text else None


@lru_cache(maxsize=65_536)
def device_key(site: str, device: str) -> str:
    """Return 13 characters that stand for a device in the ids of its Observations."""
    return _hash(f"{site}/{device}", 8)


@lru_cache(maxsize=4_096)
def channel_key(channel: str) -> str:
    """Return 7 characters that stand for a channel; none for `observations`."""
    return "" if channel == OBSERVATIONS else _hash(channel, 4)


def observation_id(site: str, device: str, channel: str, time_ns: int, group: str) -> str:
    """Return the id of an Observation: the same reading gives the same id."""
    own = channel_key(channel)
    return f"{device_key(site, device)}.{time_ns:016x}.{group}{'.' + own if own else ''}"


def parse_observation_id(text: str) -> ObservationId | None:
    """Return what an Observation's id says, or None for a text that is none."""
    match = _OBSERVATION.fullmatch(text)
    if match is None:
        return None
    device, time, group, channel = match.groups()
    return ObservationId(device, int(time, 16), group, channel or "")


def _escape(part: str) -> str:
    if _FREE.fullmatch(part):
        return part
    return "".join(
        char
        if _FREE.fullmatch(char)
        else "".join(f".{byte:02x}" for byte in char.encode("latin-1", "replace"))
        for char in part
    )


def _hash(text: str, size: int) -> str:
    return b32encode(blake2b(text.encode(), digest_size=size).digest()).decode().rstrip("=").lower()

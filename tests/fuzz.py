"""`make fuzz`: mutated payloads for every decoder. None may raise, and none may invent a value.

    python -m tests.fuzz --cases 100000 --seed 1 --definition hl7-pcd

Each case is a real payload (of tests/cases, and of the recorded data where that is at hand) with a few
mutations: bytes changed, cut, repeated, taken from another payload; JSON values replaced by odd ones.
"""

import argparse
import contextlib
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub.devices.catalog import Catalog
from hub.devices.decode import AlarmSent, Decode, Observed, Refused, SightingSent, StatusSent, WaveformSent
from hub.golden import folders
from hub.vocabulary import PARAMETERS

CASES = Path(__file__).parent / "cases"
RECORDED = Path(__file__).parents[2] / "shared" / "data"
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, 1, -1, 1e308, -1e308, 2**63, 2**64, 10**400, float("nan"), float("inf")),
    *("", " ", "-", "NaN", "null", "0", "-999", "1e999", "\ud800", "\x00", "9" * 500, "1,5", "\uff12"),
    *([], {}, [[]], [None], {"": None}, {"a": {"a": {"a": []}}}),
)
_BYTES = (
    b"\x00",
    b"\xff",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
    b":",
    b"|",
    b"^",
    b"~",
    b"&",
    b"\r",
    b"\n",
)


_MEASURED = ("rssi", "tx_power", "battery", "interval_s")
"""What sightings and states hold of the payload's numbers."""


class Broken(AssertionError):  # noqa: N818 - says what the decoder is
    """A decoder that raised or invented; the message holds the payload."""


def seeds() -> dict[str, list[tuple[str, bytes]]]:
    """Return topics with real payloads, by definition."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for folder in folders([CASES]):
        topic = (folder / "topic.txt").read_text(encoding="utf-8").strip()
        payloads = [file.read_bytes() for file in sorted(folder.glob("*payload.*"))]
        found.setdefault(folder.parent.name, []).extend((topic, payload) for payload in payloads)
    for file in sorted((RECORDED / "hl7v2").glob("*.hl7")):
        found["hl7-pcd"].append(("hl7/v2/main/icu/engine-1", file.read_bytes()))
    for file in sorted((RECORDED / "iomt-fhir").rglob("*.json")):
        for name in ("iomt-flat", "iomt-envelope"):
            found[name].append(("devices/gw-1/messages/events/", file.read_bytes()))
    return found


def fuzz(definition: str, cases: int, seed: int) -> int:
    """Decode mutations of the payloads of one definition; return how many gave something. Raises Broken."""
    chance = random.Random(f"{definition} {seed}")
    known = seeds()
    own, others = known[definition], [payload for many in known.values() for _, payload in many]
    catalog = Catalog.load()
    decoders = {topic: _decoder(catalog, topic) for topic, _ in own}
    gave = 0
    for _ in range(cases):
        topic, payload = chance.choice(own)
        mutated = _mutated(payload, others, chance)
        gave += check(decoders[topic], topic, mutated)
    return gave


def check(decode: Decode, topic: str, payload: bytes) -> bool:
    """Decode one payload; tell whether it gave anything but refusals. Raises Broken."""
    try:
        items = decode(payload)
    except BaseException as error:
        raise Broken(f"{topic}: {type(error).__name__}: {error}: {payload!r}") from error
    gave = False
    numbers: set[float] | None = None
    for item in items:
        if isinstance(item, Refused):
            item.reason.encode("utf-8")
            continue
        _expect(
            isinstance(item, Observed | WaveformSent | StatusSent | AlarmSent | SightingSent), topic, payload
        )
        gave = True
        if not isinstance(item, Observed):
            sent = [getattr(item, name, None) for name in _MEASURED]
            if any(value is not None for value in sent) and not topic.startswith("spBv1.0/"):
                numbers = _numbers(payload) if numbers is None else numbers
                _expect(all(value is None or value in numbers for value in sent), topic, payload)
            continue
        _expect(bool(item.values), topic, payload)
        for name, value in item.values.items():
            parameter = PARAMETERS.get(name)
            _expect(parameter is not None, topic, payload)
            if isinstance(value, str):
                _expect(parameter.holds(value), topic, payload)  # type: ignore[union-attr]
            elif value is not None and not topic.startswith("spBv1.0/"):
                numbers = _numbers(payload) if numbers is None else numbers
                _expect(value in numbers or value != value, topic, payload)
    return gave


def _expect(holds: bool, topic: str, payload: bytes) -> None:
    if not holds:
        raise Broken(f"{topic}: what came out is not in the payload: {payload!r}")


def _numbers(payload: bytes) -> set[float]:
    """Return every number that is written anywhere in a payload."""
    found = {_float(text) for text in _NUMBER.findall(payload)}
    with contextlib.suppress(ValueError, RecursionError):
        found |= set(_leaves(json.loads(payload.decode("utf-8-sig"))))
    return found


def _leaves(node: Any) -> Iterator[float]:
    if isinstance(node, dict):
        for member in node.values():
            yield from _leaves(member)
    elif isinstance(node, list):
        for element in node:
            yield from _leaves(element)
    elif isinstance(node, str):
        yield from (_float(text) for text in _NUMBER.findall(node.encode("utf-8", "replace")))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield _float(str(node).encode())


def _float(text: bytes) -> float:
    try:
        return float(text)
    except (ValueError, OverflowError):
        return float("nan")


def _decoder(catalog: Catalog, topic: str) -> Decode:
    route = catalog.resolve(topic)
    assert route is not None, catalog.explain(topic)
    return route.decode


def _mutated(payload: bytes, others: list[bytes], chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        try:
            return _restructured(payload, chance)
        except (ValueError, RecursionError):
            pass
    data = bytearray(payload)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.randint(0, 12))
        kind = chance.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = chance.choice(_BYTES)
        elif kind == 3:
            data[at:at] = data[at:end] * chance.randint(1, 4)
        elif kind == 4:
            other = chance.choice(others)
            begin = chance.randrange(len(other) + 1)
            data[at:end] = other[begin : begin + chance.randint(0, 40)]
        else:
            data[at:end] = chance.randbytes(end - at)
    return bytes(data)


def _restructured(payload: bytes, chance: random.Random) -> bytes:
    """Replace, drop and repeat values of a JSON payload. Raises ValueError where it is none."""
    root = [json.loads(payload.decode("utf-8-sig"))]
    for _ in range(chance.randint(1, 3)):
        places = list(_places(root))
        holder, key = chance.choice(places)
        kind = chance.randrange(4)
        if kind == 0 and holder is not root:
            del holder[key]
        elif kind == 1:
            other, other_key = chance.choice(places)
            holder[key] = json.loads(json.dumps(other[other_key]))
        else:
            holder[key] = chance.choice(_ODD)
    return json.dumps(root[0], ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = node.keys() if isinstance(node, dict) else range(len(node))
    for key in list(keys):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def main() -> int:
    """Fuzz every definition, or the chosen ones."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=100_000, help="mutated payloads for each definition")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--definition", action="append", help="only this; may be repeated")
    given = options.parse_args()
    for definition in given.definition or sorted(seeds()):
        begun = time.monotonic()
        try:
            gave = fuzz(definition, given.cases, given.seed)
        except Broken as broken:
            print(f"{definition}: {broken}")
            return 1
        took = time.monotonic() - begun
        print(f"{definition:22} {given.cases} cases, {gave} gave something, {took:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

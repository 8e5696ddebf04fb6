"""Ten thousand messages that a hub may get from broken, badly set and hostile devices, with what must become
of each of them.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

Fate = Literal["rejected", "flagged", "stored"]
"""rejected: it is in the rejects, whole, with a reason. flagged: it is stored, and what can't be relied on is
marked. stored: it is good, however often and in whatever order it comes."""

DEVICES = 100
"""Native devices that send nonsense; few enough that each one is told about it."""


class Sent(NamedTuple):
    """One message, and what must become of it."""

    kind: str
    topic: str
    payload: bytes
    fate: Fate
    readings: tuple[tuple[str, int], ...] = ()
    """Device and sequence number of each reading that must be stored, once."""


def observations(device: str, site: str = "main") -> str:
    return f"wards/v1/{site}/fuzz/{device}/observations"


def good(device: str, time_ms: int, seq: int) -> Sent:
    """Return what a sound monitor sends."""
    return Sent("good", observations(device), _body(time_ms, seq), "stored", ((device, seq),))


def _body(time: Any, seq: Any, **values: Any) -> bytes:
    values = values or {"heart_rate": 60 + seq % 50, "spo2": 95 + seq % 5, "temperature": 36.5}
    return json.dumps({"time": time, "seq": seq, "values": values}).encode()


class Nonsense:
    """Makes bad messages, the same ones for the same seed. Every payload is one of a kind."""

    def __init__(self, seed: int, now_ms: int) -> None:
        self._chance = random.Random(seed)
        self._now_ms = now_ms
        self._serial = 0

    def messages(self, count: int, large: int) -> list[Sent]:
        """Return so many in the order in which to send them, with so many of a megabyte among them."""
        makers: list[tuple[float, Callable[[], Iterator[Sent]]]] = [
            (0.14, self._random_bytes),
            (0.14, self._truncated),
            (0.14, self._wrong_types),
            (0.10, self._huge_numbers),
            (0.05, self._deep_nesting),
            (0.08, self._off_the_scheme),
            (0.05, self._other_formats),
            (0.10, self._unknown_devices),
            (0.08, self._impossible_times),
            (0.06, self._implausible),
            (0.03, self._duplicates),
            (0.03, self._reordered),
        ]
        weights = [weight for weight, _ in makers]
        made: list[Sent] = [sent for _ in range(large) for sent in self._megabyte()]
        while len(made) < count:
            made += self._chance.choices(makers, weights)[0][1]()
        self._chance.shuffle(made)
        return made[:count]

    def _next(self) -> tuple[str, int, int]:
        """Return a device, a sequence number that nobody else gets, and a time of now."""
        self._serial += 1
        return f"fuzz-{self._serial % DEVICES}", self._serial, self._now_ms + self._serial % 1000

    def _random_bytes(self) -> Iterator[Sent]:
        device, seq, _ = self._next()
        noise = self._chance.randbytes(self._chance.randint(0, 400)) + b"\xff" + seq.to_bytes(4, "big")
        yield Sent("random bytes", observations(device), noise, "rejected")

    def _truncated(self) -> Iterator[Sent]:
        device, seq, time_ms = self._next()
        body = json.dumps({"seq": seq, "time": time_ms, "values": {"heart_rate": 72, "spo2": 97}}).encode()
        cut = self._chance.randint(len(str(seq)) + 9, len(body) - 1)
        yield Sent("truncated JSON", observations(device), body[:cut], "rejected")

    def _wrong_types(self) -> Iterator[Sent]:
        device, seq, time_ms = self._next()
        bodies: list[dict[str, Any]] = [
            {"values": [72, 97]},
            {"values": {"heart_rate": "fast"}},
            {"values": {"heart_rate": [72]}},
            {"values": {"heart_rate": {"value": 72}}},
            {"values": {"heart_rate": True}},
            {"values": {"hart_rate": 72}},
            {"values": {"acvpu": "Q"}},
            {"values": {}},
            {"values": None},
            {},
            {"values": {"heart_rate": 72}, "time": "yesterday"},
            {"values": {"heart_rate": 72}, "time": {"now": True}},
            {"values": {"heart_rate": 72}, "units": {"heart_rate": "parsec"}},
            {"values": {"heart_rate": 72}, "units": 7},
            {"values": {"heart_rate": 72}, "quality": {"heart_rate": "splendid"}},
            {"values": {"heart_rate": 72}, "seq": "first"},
        ]
        body = {"time": time_ms, "seq": seq, "serial": seq} | self._chance.choice(bodies)
        yield Sent("wrong types", observations(device), json.dumps(body).encode(), "rejected")

    def _huge_numbers(self) -> Iterator[Sent]:
        device, seq, time_ms = self._next()
        rate: str | int = self._chance.choice(["1e999", "-1e999", "9" * 400, "1e+400"])
        number = seq
        if self._chance.random() < 0.5:
            rate, number = 72, 10**30 + seq
        text = f'{{"time":{time_ms},"seq":{number},"values":{{"heart_rate":{rate}}}}}'
        yield Sent("huge numbers", observations(device), text.encode(), "rejected")

    def _deep_nesting(self) -> Iterator[Sent]:
        device, seq, time_ms = self._next()
        depth = self._chance.randint(1_000, 20_000)
        opening, closing = self._chance.choice([(b"[", b"]"), (b'{"a":', b"}")])
        nested = opening * depth + b"%d" % seq + closing * depth
        if self._chance.random() < 0.5:
            nested = b'{"time":%d,"seq":%d,"values":%b}' % (time_ms, seq, nested)
        yield Sent("deep nesting", observations(device), nested, "rejected")

    def _off_the_scheme(self) -> Iterator[Sent]:
        """Topics that the hub's filters let through and that are no device's."""
        _, seq, time_ms = self._next()
        bad = self._chance.choice(["b!d", "mon,1", "x" * 65, "ü", "a=b", "%41"])
        levels = ["main", "fuzz", f"fuzz-{seq % DEVICES}"]
        levels[self._chance.randrange(3)] = bad
        topic = "wards/v1/" + "/".join(levels) + "/observations"
        yield Sent("topic off the scheme", topic, _body(time_ms, seq), "rejected")

    def _other_formats(self) -> Iterator[Sent]:
        """Nonsense on the topics of other formats."""
        _, seq, _ = self._next()
        topic = self._chance.choice(
            [
                "iomt/telemetry/icu/fuzz",
                "hospital/pole/fuzz/telemetry",
                "mimic2/v1/main/fuzz/numerics",
                "gw/fuzz/status",
                "devices/fuzz/messages/events/a",
                "wards/v1/main/fuzz/fuzz-1/status",
                "wards/v1/main/fuzz/fuzz-2/alarms",
                "wards/v1/main/fuzz/fuzz-3/sightings",
                "wards/v1/main/fuzz/fuzz-4/waveforms",
            ]
        )
        body = self._chance.choice([b'{"n":%d', b"%d", b'["%d"]', b'"%d"', b'\xef\xbb\xbf{"n":%d'])
        yield Sent("other formats", topic, body % seq, "rejected")

    def _megabyte(self) -> Iterator[Sent]:
        device, seq, time_ms = self._next()
        padding = self._chance.choice([b" ", b"x", b"[", b'{"a":'])
        payload = b'{"time":%d,"seq":%d,' % (time_ms, seq)
        yield Sent("a megabyte", observations(device), payload.ljust(1_000_000, padding[:1]), "rejected")

    def _unknown_devices(self) -> Iterator[Sent]:
        _, seq, time_ms = self._next()
        device = f"stranger-{seq}"
        yield Sent("unknown device", observations(device), _body(time_ms, seq), "stored", ((device, seq),))

    def _impossible_times(self) -> Iterator[Sent]:
        _, seq, _ = self._next()
        device = f"clock-{seq % 20}"
        time = self._chance.choice(
            [1, 86_400_000, "1970-01-01T00:00:00Z", "2100-06-01T00:00:00Z", 4_102_444_800_000]
        )
        yield Sent("1970 or 2100", observations(device), _body(time, seq), "flagged", ((device, seq),))

    def _implausible(self) -> Iterator[Sent]:
        _, seq, time_ms = self._next()
        device = f"implausible-{seq % 20}"
        number = self._chance.choice([1e308, -1e308, 100_000, -5, 1e15])
        body = _body(time_ms, seq, heart_rate=number, spo2=97)
        yield Sent("implausible", observations(device), body, "flagged", ((device, seq),))

    def _duplicates(self) -> Iterator[Sent]:
        _, seq, time_ms = self._next()
        device = f"echo-{seq % 20}"
        sent = Sent("duplicate", observations(device), _body(time_ms, seq), "stored", ((device, seq),))
        for _ in range(self._chance.randint(2, 4)):
            yield sent

    def _reordered(self) -> Iterator[Sent]:
        """Readings of one device; mixed with all others they come in any order."""
        _, first, time_ms = self._next()
        device = f"shuffled-{first}"
        group = [first, *(self._next()[1] for _ in range(9))]
        for seq in group:
            body = _body(time_ms + (seq - first) * 10, seq)
            yield Sent("reordered", observations(device), body, "stored", ((device, seq),))

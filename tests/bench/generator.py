"""Publishes six-value readings of many devices over a few connections, at a rate or as fast as it goes.

`python -m tests.bench.generator URL --devices D --count N [--rate R]` prints one JSON line at the end. With
`--paced` it says first that it is connected, then publishes no more than the number in the newest line of its
standard input.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from urllib.parse import urlsplit

import uvloop

from hub.mqtt.packets import connect, remaining_length

_WINDOW = 1000
"""Messages of one connection that wait for their PUBACK."""
_TICK_S = 0.005
_FIRST = [b"\x32" + remaining_length(size) for size in range(512)]
"""First byte and length of a PUBLISH of QoS 1, by its remaining length."""


def topic(device: int) -> str:
    """Return the topic of a bench device."""
    return f"wards/v1/main/bench/bench-{device}/observations"


def reading(seq: int, time_ms: int, heart_rate: int = 70) -> bytes:
    """Return a reading of six values as a device sends it; all normal where the heart rate is."""
    return b'{"time":%d,"seq":%d' % (time_ms, seq) + _values(seq, heart_rate)


def _values(seq: int, heart_rate: int) -> bytes:
    return (
        f',"values":{{"heart_rate":{heart_rate + seq % 9},'
        f'"spo2":{95 + seq % 4},"respiratory_rate":{14 + seq % 3},"temperature":36.{seq % 9},'
        f'"nibp_mean":{88 + seq % 5},"pulse_rate":{70 + seq % 9}}}}}'
    ).encode()


_CYCLE = 180
"""After so many sequence numbers the values come again."""


class Publisher:
    """One connection that publishes for its share of the devices.

    It runs on the cores of what is measured, so it joins rendered parts and does little else.
    """

    def __init__(self, number: int, devices: range, alarming: int = 0) -> None:
        """Publish for these devices; the heart rate of those below `alarming` is beyond its limit."""
        self.acknowledged = 0
        self._number = number
        topics = [topic(device).encode() for device in devices]
        self._heads = [len(text).to_bytes(2, "big") + text for text in topics]
        calm, alarmed = ([_values(seq, rate) for seq in range(_CYCLE)] for rate in (70, 150))
        self._tails = [alarmed if device < alarming else calm for device in devices]
        self._in_flight = 0
        self._room = asyncio.Event()
        self._packet_id = 0
        self._sent = 0

    async def open(self, host: str, port: int) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(host, port)
        self._writer.write(connect(f"bench-{self._number}", clean_session=True, keepalive_s=600))
        if (answer := await self._reader.readexactly(4)) != b"\x20\x02\x00\x00":
            raise ConnectionError(f"the broker answers CONNECT with {answer.hex()}")
        self._acks = asyncio.create_task(self._take_acks())
        self._acks.add_done_callback(lambda _: self._room.set())

    async def send(self, count: int) -> None:
        """Publish so many readings, waiting where too many are in flight."""
        parts: list[bytes] = []
        began = b'{"time":%d,"seq":' % (time.time_ns() // 1_000_000)
        heads, tails, packet_id, sent = self._heads, self._tails, self._packet_id, self._sent
        for number in range(sent, sent + count):
            packet_id = packet_id % 65_000 + 1
            seq, at = divmod(number, len(heads))
            seq += 1
            head, digits, tail = heads[at], b"%d" % seq, tails[at][seq % _CYCLE]
            size = len(head) + 2 + len(began) + len(digits) + len(tail)
            parts += (_FIRST[size], head, packet_id.to_bytes(2, "big"), began, digits, tail)
        self._packet_id, self._sent = packet_id, sent + count
        self._writer.write(b"".join(parts))
        self._in_flight += count
        await self._less_than(_WINDOW + 1)

    async def finish(self) -> None:
        """Wait for every acknowledgement."""
        await self._less_than(1)
        self._acks.cancel()
        self._writer.close()

    async def _less_than(self, in_flight: int) -> None:
        while self._in_flight >= in_flight:
            if self._acks.done():
                self._acks.result()  # raises what ended it
            self._room.clear()
            await self._room.wait()

    async def _take_acks(self) -> None:
        rest = b""
        while data := await self._reader.read(1 << 16):
            data = rest + data
            acks = len(data) // 4
            rest = data[4 * acks :]
            if data.count(b"\x40\x02") < acks:
                raise ConnectionError("the broker sends something else than PUBACKs")
            self.acknowledged += acks
            self._in_flight -= acks
            self._room.set()
        raise ConnectionError("the broker closed the connection")


async def generate(
    url: str,
    *,
    devices: int,
    count: int,
    rate: float,
    connections: int,
    alarming: int = 0,
    paced: bool = False,
) -> dict[str, float]:
    """Publish `count` readings and wait for their acknowledgement."""
    parts = urlsplit(url)
    publishers = [Publisher(n, range(n, devices, connections), alarming) for n in range(connections)]
    for publisher in publishers:
        await publisher.open(parts.hostname or "", parts.port or 1883)
    pace = await _pace() if paced else None
    if paced:
        print("connected", flush=True)
    allowed = 0 if pace else count
    began = time.monotonic()
    left, turn, burst = count, 0, 100
    while left > 0:
        while pace and allowed <= count - left:
            allowed = int(await pace.readline())
        if rate:
            due = (time.monotonic() - began) * rate - (count - left)
            burst = min(int(due), left)
            if burst <= 0:
                await asyncio.sleep(_TICK_S)
                continue
        share = min(burst, left)
        await publishers[turn % connections].send(share)
        turn += 1
        left -= share
    await asyncio.gather(*(publisher.finish() for publisher in publishers))
    took_s = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "acknowledged": sum(publisher.acknowledged for publisher in publishers),
        "seconds": took_s,
        "cpu_s": used.ru_utime + used.ru_stime,
    }


async def _pace() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def main() -> None:
    """Run as a process of its own, so that it doesn't share what is measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("url")
    options.add_argument("--devices", type=int, required=True)
    options.add_argument("--count", type=int, required=True)
    options.add_argument("--rate", type=float, default=0.0)
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--alarming", type=int, default=0, help="the first so many devices alarm")
    options.add_argument("--paced", action="store_true", help="publish only as far as standard input says")
    given = options.parse_args()
    done = uvloop.run(
        generate(
            given.url,
            devices=given.devices,
            count=given.count,
            rate=given.rate,
            connections=given.connections,
            alarming=given.alarming,
            paced=given.paced,
        )
    )
    print(json.dumps(done))


if __name__ == "__main__":
    main()

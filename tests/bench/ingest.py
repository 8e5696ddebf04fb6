"""What searches take from ingest: the line's throughput with and without them, by turns under one load."""

import asyncio
import contextlib
import gzip
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, median, stdev

import httpx
import psutil
from msgspec import Struct

from hub.devices.catalog import Catalog
from tests.bench.whole import DEVICES, OUTSTANDING, RATE, _broker, _cpu_s, _generator, _settled
from tests.crash.hub_process import HubProcess, as_json

SEARCHES_PER_S = 20
COUNT = 20
ENOUGH = 10
"""Readings of each device, of six Observations each, before anybody asks for COUNT of them."""
MOST_RUNNING = 40
"""Searches that wait for their answer at once; beyond it the next ones are left out."""
SEARCHED = 200
"""Devices that are asked for in turns, as an EHR asks for its patients' again and again."""
CARRIED_PER_S = 10_620.0
"""Messages/s that a hub is to carry."""
BLOCKS = 10
"""Each is quiet, searched, searched, quiet: what drifts meanwhile is the same for both."""
TURN_S = 2.5
SETTLE_S = 0.5
"""Of a turn's beginning that is left out."""
_MANY = 10_000_000


class Turn(Struct, frozen=True):
    """What one turn showed."""

    messages: float
    """That became durable."""
    seconds: float
    hub_s: float
    """CPU of the hub."""
    main_s: float
    """CPU of its main thread, which takes one message after another."""
    others_s: float
    """CPU of programs that are no part of this."""

    @property
    def per_s(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


class Block(Struct, frozen=True):
    """Two turns without searches and, between them, two with."""

    quiet: tuple[Turn, Turn]
    searched: tuple[Turn, Turn]

    @property
    def drop(self) -> float:
        """By how many percent less there was with searches."""
        return 100 * (1 - _per_s(self.searched) / _per_s(self.quiet))

    @property
    def others(self) -> float:
        """Share of the machine that other programs used."""
        turns = self.quiet + self.searched
        return sum(t.others_s for t in turns) / sum(t.seconds for t in turns) / (psutil.cpu_count() or 1)


async def measure_ingest(folder: Path, broker: str) -> dict[str, float]:
    """By how much throughput falls while SEARCHES_PER_S searches run: at saturation and at CARRIED_PER_S.

    With Mosquitto the hub is what limits. With the embedded broker that is the limit itself, and its own pace
    changes from second to second by more than searches take.
    """
    async with _broker(folder, broker, tuple(Catalog.load().filters)) as url:
        hub = HubProcess(folder, broker_url=url)
        hub.start()
        await hub.ready()
        async with _load(hub, rate=RATE):
            await _settled(hub)
            while hub.metric("hub_durable_readings_total") < ENOUGH * DEVICES:
                await asyncio.sleep(0.5)
        # In the store too: once the line is as busy as it can be, stores are filled later.
        await hub.drained()
        searches = Searches(hub)
        async with searches.opened():
            async with _load(hub):
                saturated = await _by_turns(hub, searches, BLOCKS)
            await hub.drained()
            searches.took_ms.clear()
            async with _load(hub, rate=CARRIED_PER_S):
                carried = await _by_turns(hub, searches, BLOCKS // 2)
        took_ms = sorted(searches.took_ms)
        hub.stop()
    suffix = "" if broker == "mosquitto" else f"_{broker}"
    return {
        f"ingest_drop{suffix}_percent": _told(f"{broker}, saturated", saturated),
        f"ingest_drop{suffix}_error_percent": _error(saturated),
        f"ingest{suffix}_messages_per_s": _per_s([turn for block in saturated for turn in block.quiet]),
        f"ingest{suffix}_carried_drop_percent": _told(f"{broker}, {CARRIED_PER_S:g}/s", carried),
        f"fhir_search_20{suffix}_cpu_ms": _cpu_ms(carried, lambda turn: turn.hub_s),
        f"fhir_search_20{suffix}_main_thread_ms": _cpu_ms(carried, lambda turn: turn.main_s),
        f"fhir_search_20{suffix}_ms": median(took_ms),
        f"fhir_search_20{suffix}_p99_ms": took_ms[int(len(took_ms) * 0.99)],
    }


async def _by_turns(hub: HubProcess, searches: "Searches", count: int) -> list[Block]:
    # As it is day by day: whoever asks has asked before.
    async with searches.running():
        await asyncio.sleep(SEARCHED / SEARCHES_PER_S)
    blocks = []
    for _ in range(count):
        turns = []
        for with_searches in (False, True, True, False):
            async with searches.running() if with_searches else contextlib.nullcontext():
                turns.append(await _turn(hub))
        blocks.append(Block((turns[0], turns[3]), (turns[1], turns[2])))
    return blocks


async def _turn(hub: HubProcess) -> Turn:
    await asyncio.sleep(SETTLE_S)
    process = psutil.Process(hub.pid)
    before, began = await _durable(hub), time.monotonic()
    hub_s, main_s, others_s = _cpu_s(process), _main_thread_s(process), _others_s()
    await asyncio.sleep(TURN_S - SETTLE_S)
    durable = await _durable(hub) - before
    seconds = time.monotonic() - began
    hub_s, main_s = _cpu_s(process) - hub_s, _main_thread_s(process) - main_s
    return Turn(durable, seconds, hub_s, main_s, max(0.0, _others_s() - others_s))


async def _durable(hub: HubProcess) -> float:
    return await asyncio.to_thread(hub.metric, "hub_durable_readings_total")


def _main_thread_s(process: psutil.Process) -> float:
    return float(sum(one.user_time + one.system_time for one in process.threads() if one.id == process.pid))


def _others_s() -> float:
    """Return the CPU that programs other than this one and its children used so far."""
    all_of_it = psutil.cpu_times()
    busy_s = all_of_it.user + all_of_it.nice + all_of_it.system
    own = psutil.Process()
    return float(busy_s - sum(_cpu_s(one) for one in (own, *own.children(recursive=True))))


def _per_s(turns: Sequence[Turn]) -> float:
    return sum(turn.messages for turn in turns) / sum(turn.seconds for turn in turns)


def _cpu_ms(blocks: Sequence[Block], used_s: Callable[[Turn], float]) -> float:
    """Return the CPU of one search in ms: by how much more was used with searches, at one rate."""

    def a_second(turns: list[Turn]) -> float:
        return sum(used_s(turn) for turn in turns) / sum(turn.seconds for turn in turns)

    searched = a_second([turn for block in blocks for turn in block.searched])
    quiet = a_second([turn for block in blocks for turn in block.quiet])
    return 1000 * (searched - quiet) / SEARCHES_PER_S


def _error(blocks: Sequence[Block]) -> float:
    """Return the standard error of the blocks' mean drop."""
    return float(stdev(block.drop for block in blocks) / len(blocks) ** 0.5)


def _told(what: str, blocks: Sequence[Block]) -> float:
    """Show every block; return the drop of the sums."""

    def shown(turns: Iterable[Turn]) -> str:
        return " ".join(f"{turn.per_s:,.0f}" for turn in turns)

    print(
        f"{what}: quiet {shown(turn for block in blocks for turn in block.quiet)}; "
        f"searched {shown(turn for block in blocks for turn in block.searched)} messages/s; "
        f"drops {' '.join(f'{block.drop:.1f}' for block in blocks)} %, mean "
        f"{mean(block.drop for block in blocks):.1f} +- {_error(blocks):.1f}; "
        f"other programs {' '.join(f'{block.others:.0%}' for block in blocks)}",
        file=sys.stderr,
    )
    quiet = _per_s([turn for block in blocks for turn in block.quiet])
    return 100 * (1 - _per_s([turn for block in blocks for turn in block.searched]) / quiet)


class Searches:
    """Asks for the newest COUNT Observations of one device after another, SEARCHES_PER_S times a second.

    The client runs on the processors that the hub is measured on, and isn't what is measured: requests are
    bytes that are made once, on connections that stay open, and answers are read as streams. Each answer is
    unpacked and its Observations are counted. That takes 27 us; aiohttp, which was used before, takes 79.
    """

    def __init__(self, hub: HubProcess) -> None:
        self.took_ms: list[float] = []
        self._hub = hub
        self._requests: list[bytes] = []
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Learn which devices there are; hang up in the end."""
        address = f"127.0.0.1:{self._hub.http_port}"
        head = f"Host: {address}\r\nAuthorization: {self._hub.headers['Authorization']}\r\n"
        head += "Accept: application/fhir+json\r\nAccept-Encoding: gzip\r\n\r\n"
        async with httpx.AsyncClient(headers=self._hub.headers) as client:
            bundle = as_json(await client.get(f"{self._hub.url}/fhir/Device", params={"_count": SEARCHED}))
        for entry in bundle["entry"]:
            path = f"/fhir/Observation?device=Device/{entry['resource']['id']}&_count={COUNT}"
            self._requests.append(f"GET {path} HTTP/1.1\r\n{head}".encode())
        try:
            yield
        finally:
            for _, writer in self._idle:
                writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Search until the context ends."""
        searching = asyncio.create_task(self._search())
        try:
            yield
        finally:
            searching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await searching

    async def _search(self) -> None:
        number, due = 0, time.monotonic()
        async with asyncio.TaskGroup() as running:
            waiting: set[asyncio.Task[None]] = set()
            while True:
                number, due = number + 1, due + 1 / SEARCHES_PER_S
                if len(waiting) < MOST_RUNNING:
                    task = running.create_task(self._ask(self._requests[number % len(self._requests)]))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self, request: bytes) -> None:
        began = time.monotonic()
        reader, writer = await self._connection()
        done = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
            done = True
        finally:
            # What is cancelled in the middle of an answer can't be asked anything else.
            if done:
                self._idle.append((reader, writer))
            else:
                writer.close()
        if b"content-encoding: gzip" in head:
            content = gzip.decompress(content)
        if not head.startswith(b"http/1.1 200 ") or content.count(b'"fullUrl"') < COUNT:
            raise RuntimeError(f"a search answers {head[:60]!r} with {content.count(b'fullUrl')} entries")
        self.took_ms.append((time.monotonic() - began) * 1000)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()  # the hub hangs up after some seconds without a request
        return await asyncio.open_connection("127.0.0.1", self._hub.http_port)


@contextlib.asynccontextmanager
async def _load(hub: HubProcess, rate: float = 0.0) -> AsyncIterator[None]:
    """Publish at a rate, or as fast as it is taken, until the context ends."""
    load = await _generator(hub.broker_url, count=_MANY, rate=rate, paced=not rate)
    feeding = asyncio.create_task(_feed(hub, load)) if not rate else None
    try:
        yield
    finally:
        if feeding is not None:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
        load.terminate()
        await load.wait()


async def _feed(hub: HubProcess, load: asyncio.subprocess.Process) -> None:
    assert load.stdin is not None
    before = await asyncio.to_thread(hub.metric, "hub_durable_readings_total")
    while True:
        taken = await asyncio.to_thread(hub.metric, "hub_durable_readings_total") - before
        load.stdin.write(b"%d\n" % (taken + OUTSTANDING))
        await asyncio.sleep(0.1)

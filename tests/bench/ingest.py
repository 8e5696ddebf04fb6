"""What searches take from ingest: the line's throughput with and without them, by turns under one load."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import aiohttp
import psutil

from tests.bench.whole import DEVICES, OUTSTANDING, RATE, _cpu_s, _generator, _settled
from tests.crash.hub_process import HubProcess

SEARCHES_PER_S = 20
COUNT = 20
MOST_RUNNING = 40
"""Searches that wait for their answer at once; beyond it the next ones are left out."""
SEARCHED = 200
"""Devices that are asked for in turns, as an EHR asks for its patients' again and again."""
CARRIED_PER_S = 10_620.0
"""Messages/s that a hub is to carry."""
BLOCKS = 4
"""Each is quiet, searched, searched, quiet: what drifts meanwhile is the same for both."""
TURN_S = 5.0
SETTLE_S = 1.0
"""Of a turn's beginning that is left out."""
_MANY = 10_000_000


class Turns:
    """What was seen in the turns of one kind."""

    def __init__(self) -> None:
        self.per_s: list[float] = []
        self.cpu_ms_per_s: list[float] = []


async def measure_ingest(folder: Path) -> dict[str, float]:
    """By how much throughput falls while SEARCHES_PER_S searches run: at saturation and at CARRIED_PER_S."""
    hub = HubProcess(folder)
    hub.start()
    await hub.ready()
    async with _load(hub, rate=RATE):
        await _settled(hub)
    await hub.drained()
    searches = Searches(hub)
    async with searches.opened():
        async with _load(hub):
            while hub.metric("hub_durable_readings_total") < (COUNT + 5) * DEVICES:
                await asyncio.sleep(0.5)
            quiet, searched, drops = await _by_turns(hub, searches, BLOCKS)
        await hub.drained()
        searches.took_ms.clear()
        async with _load(hub, rate=CARRIED_PER_S):
            steady_quiet, steady_searched, steady_drops = await _by_turns(hub, searches, BLOCKS // 2)
    took_ms = sorted(searches.took_ms)
    hub.stop()
    cpu_ms = median(steady_searched.cpu_ms_per_s) - median(steady_quiet.cpu_ms_per_s)
    _tell("saturated", quiet, searched, drops)
    _tell(f"{CARRIED_PER_S:g}/s", steady_quiet, steady_searched, steady_drops)
    return {
        "ingest_drop_percent": median(drops),
        "ingest_messages_per_s": median(quiet.per_s),
        "ingest_carried_drop_percent": median(steady_drops),
        "fhir_search_20_cpu_ms": cpu_ms / SEARCHES_PER_S,
        "fhir_search_20_ms": median(took_ms),
        "fhir_search_20_p99_ms": took_ms[int(len(took_ms) * 0.99)],
    }


async def _by_turns(hub: HubProcess, searches: "Searches", blocks: int) -> tuple[Turns, Turns, list[float]]:
    quiet, searched, drops = Turns(), Turns(), []
    # As it is day by day: whoever asks has asked before.
    async with searches.running():
        await asyncio.sleep(SEARCHED / SEARCHES_PER_S)
    for _ in range(blocks):
        for kind in (quiet, searched, searched, quiet):
            async with searches.running() if kind is searched else contextlib.nullcontext():
                await _turn(hub, kind)
        drops.append(100 * (1 - sum(searched.per_s[-2:]) / sum(quiet.per_s[-2:])))
    return quiet, searched, drops


async def _turn(hub: HubProcess, turns: Turns) -> None:
    process = psutil.Process(hub.pid)
    await asyncio.sleep(SETTLE_S)
    before, began, cpu_s = hub.metric("hub_durable_readings_total"), time.monotonic(), _cpu_s(process)
    await asyncio.sleep(TURN_S - SETTLE_S)
    cpu_s = _cpu_s(process) - cpu_s
    durable, took_s = hub.metric("hub_durable_readings_total") - before, time.monotonic() - began
    turns.per_s.append(durable / took_s)
    turns.cpu_ms_per_s.append(cpu_s * 1000 / took_s)


class Searches:
    """Asks for the newest COUNT Observations of one device after another, SEARCHES_PER_S times a second.

    By aiohttp: it takes a third of the CPU that httpx takes, and the client isn't what is measured.
    """

    def __init__(self, hub: HubProcess) -> None:
        self.took_ms: list[float] = []
        self._hub = hub
        self._session: aiohttp.ClientSession
        self._devices: list[str] = []

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connect, and learn which devices there are."""
        async with aiohttp.ClientSession(headers=self._hub.headers) as self._session:
            async with self._session.get(f"{self._hub.url}/fhir/Device?_count={SEARCHED}") as answer:
                bundle = await answer.json(content_type=None)
            self._devices = [entry["resource"]["id"] for entry in bundle["entry"]]
            yield

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
                    task = running.create_task(self._ask(self._devices[number % len(self._devices)]))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self, device: str) -> None:
        began = time.monotonic()
        url = f"{self._hub.url}/fhir/Observation?device=Device/{device}&_count={COUNT}"
        async with self._session.get(url) as answer:
            content = await answer.read()
        if answer.status != 200 or content.count(b'"fullUrl"') < COUNT:
            raise RuntimeError(f"a search answers {answer.status} with {content.count(b'fullUrl')} entries")
        self.took_ms.append((time.monotonic() - began) * 1000)


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


def _tell(what: str, quiet: Turns, searched: Turns, drops: list[float]) -> None:
    def shown(values: list[float]) -> str:
        return " ".join(f"{value:,.0f}" for value in values)

    print(
        f"{what}: quiet {shown(quiet.per_s)}; searched {shown(searched.per_s)} messages/s; "
        f"drops {' '.join(f'{drop:.1f}' for drop in drops)} %; hub's CPU {shown(quiet.cpu_ms_per_s)}; "
        f"{shown(searched.cpu_ms_per_s)} ms/s",
        file=sys.stderr,
    )

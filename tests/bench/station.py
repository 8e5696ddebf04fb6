"""The nurse station in a real browser: what its page costs the screen, and what 200 of them cost the hub."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import linear_regression, median
from typing import Any
from urllib.parse import urlsplit

import psutil
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from tests.bench.whole import _cpu_s
from tests.browser.pretend_device import Device
from tests.browser.real_ward import CHROMIUM, FLAGS, PAGE, PASSWORD, Ward

BEDS = 64
SCREEN = (3840, 2160)
USUAL_SCREEN = (1920, 1080)
"""What most wards have: a quarter of what a machine without a graphics card must put together by itself."""
CURVES = ("ecg_ii", "arterial_pressure", "pleth", "respiration")
"""Of the bed that is looked at: all that its view draws."""
SIGN_INS = 5
MINUTE_S = 60.0
MEMORY_S = 600.0
EVERY_S = 30.0
"""So often the heap is looked at."""
WARM_UP_S = 120.0
"""Left out: what is compiled and filled in the beginning."""
HURRY_S = 0.4
"""A view is looked at for so long in the warm-up: what runs often is compiled, which takes memory once."""
VIEWS = ("#/", "#/bed/main/icu-01", "#/map", "#/handover", "#/")
STATIONS = 200
TURN_S = 15.0
SETTLE_S = 20.0
"""After a start: devices are known, and what was stored of the last hour is fetched."""

_SIGNED_IN = """
beds => new Promise(done => {
  document.querySelector('button.primary').addEventListener('click', () => {
    const began = performance.now();
    const look = () => {
      const numbers = document.querySelectorAll('[data-testid=tile] [data-parameter=heart_rate] .number');
      if (numbers.length === beds) done(performance.now() - began);
      else requestAnimationFrame(look);
    };
    look();
  });
})
"""
_SIZE = """
() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter(one => !new URL(one.name).pathname.startsWith('/api/'))
  .reduce((sum, one) => sum + one.encodedBodySize, 0)
"""
_FRAMES = """
() => {
  window.longFrames = [];
  new PerformanceObserver(list => list.getEntries().forEach(one => window.longFrames.push(one.duration)))
    .observe({type: 'long-animation-frame'});
}
"""
_ALARMS = """
() => [...document.querySelectorAll('[data-testid=alarm-bar] .counts li > span:not(.hidden)')]
  .reduce((sum, one) => sum + Number(one.textContent), 0)
"""


async def measure_station(folder: Path) -> dict[str, float]:
    """One station on a 4K screen, 64 beds at 1 Hz, a minute of the ward's view and one of a bed's."""
    async with _ward(folder) as ward, _browser() as browser:
        first_ms = [await _first_view_ms(browser, ward) for _ in range(SIGN_INS)]
        page = await _signed_in(browser, ward)
        size_kb = await page.evaluate(_SIZE) / 1000
        await asyncio.sleep(SETTLE_S)
        of_ward, of_bed = await _both_views(browser, page, ward)
    return {
        "station_first_view_ms": median(first_ms),
        "page_kb_compressed": size_kb,
        "station_main_thread_percent": max(of_ward.cpu_percent, of_bed.cpu_percent),
        "station_ward_main_thread_percent": of_ward.cpu_percent,
        "station_bed_main_thread_percent": of_bed.cpu_percent,
        "station_longest_frame_ms": max(of_ward.longest_ms, of_bed.longest_ms),
        "station_ward_longest_frame_ms": of_ward.longest_ms,
        "station_bed_longest_frame_ms": of_bed.longest_ms,
        "station_longest_task_cpu_ms": max(of_ward.longest_cpu_ms, of_bed.longest_cpu_ms),
    }


async def measure_station_1080p(folder: Path) -> dict[str, float]:
    """The same minutes on a usual screen: tells what the page costs from what so many pixels cost."""
    async with _ward(folder) as ward, _browser() as browser:
        page = await _signed_in(browser, ward, USUAL_SCREEN)
        await asyncio.sleep(SETTLE_S)
        of_ward, of_bed = await _both_views(browser, page, ward)
    return {
        "station_1080p_ward_main_thread_percent": of_ward.cpu_percent,
        "station_1080p_bed_main_thread_percent": of_bed.cpu_percent,
        "station_1080p_ward_longest_frame_ms": of_ward.longest_ms,
        "station_1080p_bed_longest_frame_ms": of_bed.longest_ms,
        "station_1080p_longest_task_cpu_ms": max(of_ward.longest_cpu_ms, of_bed.longest_cpu_ms),
    }


async def measure_station_memory(folder: Path) -> dict[str, float]:
    """The heap after each collection of garbage, for ten minutes: how much a line through it rises."""
    async with _ward(folder) as ward, _browser() as browser:
        page = await _signed_in(browser, ward)
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable")
        began_s = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began_s < WARM_UP_S:
            await _tour(page, ward, HURRY_S)
        # As long as before the last snapshot: a view that has just been opened holds less.
        await asyncio.sleep(EVERY_S / 2)
        before, alarms = await _held_mb(page), await page.evaluate(_ALARMS)
        at_s: list[float] = []
        heap_mb: list[float] = []
        nodes: list[float] = []
        began_s = asyncio.get_running_loop().time()
        while (now_s := asyncio.get_running_loop().time() - began_s) < MEMORY_S:
            # Through every view: what one of them kept of itself would add up.
            await _tour(page, ward, EVERY_S / 10)
            await asyncio.sleep(EVERY_S / 2)
            await session.send("HeapProfiler.collectGarbage")
            found = await _numbers(session)
            at_s.append(now_s)
            heap_mb.append(found["JSHeapUsedSize"] / 1e6)
            nodes.append(found["Nodes"])
        after = await _held_mb(page)
        alarms = await page.evaluate(_ALARMS) - alarms
    return {
        "station_heap_growth_mb": linear_regression(at_s, heap_mb).slope * MEMORY_S,
        "station_heap_mb": median(heap_mb),
        "station_heap_data_growth_mb": after.data_mb - before.data_mb,
        "station_heap_code_growth_mb": after.code_mb - before.code_mb,
        "station_node_growth": linear_regression(at_s, nodes).slope * MEMORY_S,
        "station_alarm_growth": alarms,
    }


async def measure_streams(folder: Path) -> dict[str, float]:
    """CPU of the hub with 200 open stations less that with none, by turns: none, all, all, none."""
    async with _ward(folder) as ward:
        secret = ward.token("nurse")
        hub = psutil.Process(ward.pid)
        await asyncio.sleep(SETTLE_S)
        alone: list[float] = []
        watched: list[float] = []
        bytes_per_s = 0.0
        for stations in (0, STATIONS, STATIONS, 0):
            readers = Readers(ward.url, secret, stations)
            async with readers.opened():
                await asyncio.sleep(3)
                before_s, before_bytes = _cpu_s(hub), readers.taken
                await asyncio.sleep(TURN_S)
                cpu_percent = (_cpu_s(hub) - before_s) / TURN_S * 100
                (watched if stations else alone).append(cpu_percent)
                bytes_per_s = max(bytes_per_s, (readers.taken - before_bytes) / TURN_S)
    return {
        "streams_200_cpu_percent": sum(watched) / len(watched) - sum(alone) / len(alone),
        "streams_0_hub_cpu_percent": sum(alone) / len(alone),
        "streams_200_mb_per_s": bytes_per_s / 1e6,
    }


class Readers:
    """Open stations that take what they are sent, as fast as it comes, and don't look at it."""

    def __init__(self, url: str, secret: str, count: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._request = (
            f"GET /api/v1/stream HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {secret}\r\n\r\n"
        ).encode()
        self._count = count
        self.taken = 0
        """Bytes, of all of them."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Be there, all of them."""
        running = [asyncio.create_task(self._read()) for _ in range(self._count)]
        try:
            yield
            failed = [one for one in running if one.done()]
            if failed:
                raise RuntimeError(f"{len(failed)} of {self._count} streams have ended")
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _read(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(self._request)
            status = await reader.readline()
            if b" 200 " not in status:
                raise RuntimeError(f"the stream answered {status!r}")
            while data := await reader.read(65_536):
                self.taken += len(data)
        finally:
            writer.close()


class Minute:
    """What the page's main thread did in a minute."""

    def __init__(self, tasks: Iterable[tuple[float, float]], frames_ms: Iterable[float]) -> None:
        """Duration and CPU of each task, us; duration of frames that took long."""
        spans = list(tasks)
        self.cpu_percent = sum(cpu for _, cpu in spans) / (MINUTE_S * 1e6) * 100
        self.longest_ms = max(max(span for span, _ in spans) / 1000, *frames_ms, 0.0)
        self.longest_cpu_ms = max(cpu for _, cpu in spans) / 1000


async def _both_views(browser: Browser, page: Page, ward: Ward) -> tuple[Minute, Minute]:
    of_ward = await _minute(browser, page)
    await page.goto(f"{ward.url}/#/bed/main/icu-01")
    await page.get_by_test_id("waves").get_by_role("img").nth(len(CURVES) - 1).wait_for(timeout=60_000)
    await asyncio.sleep(5)
    return of_ward, await _minute(browser, page)


async def _minute(browser: Browser, page: Page) -> Minute:
    await page.evaluate(_FRAMES)
    await browser.start_tracing(page=page, categories=["toplevel", "__metadata"])
    await asyncio.sleep(MINUTE_S)
    trace = json.loads(await browser.stop_tracing())["traceEvents"]
    frames_ms = await page.evaluate("window.longFrames")
    return Minute(_main_thread(trace), frames_ms)


def _main_thread(trace: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Return duration and CPU in us of each task of the busiest page's main thread."""
    threads = {
        (one["pid"], one["tid"])
        for one in trace
        if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"
    }
    tasks: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for one in trace:
        thread = one["pid"], one["tid"]
        if thread in threads and one["ph"] == "X" and one["name"].endswith("RunTask"):
            tasks.setdefault(thread, []).append((one["dur"], one.get("tdur", one["dur"])))
    return max(tasks.values(), key=lambda found: sum(cpu for _, cpu in found))


async def _tour(page: Page, ward: Ward, rest_s: float) -> None:
    for view in VIEWS:
        await page.goto(f"{ward.url}/{view}")
        await asyncio.sleep(rest_s)


class Held:
    """What a heap snapshot counts of the script's own heap; what the browser itself keeps is left out."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot as Chromium's developer tools write it."""
        fields = snapshot["snapshot"]["meta"]["node_fields"]
        kinds = snapshot["snapshot"]["meta"]["node_types"][0]
        sizes = dict.fromkeys(kinds, 0)
        nodes = snapshot["nodes"]
        kind, size = fields.index("type"), fields.index("self_size")
        for at in range(0, len(nodes), len(fields)):
            sizes[kinds[nodes[at + kind]]] += nodes[at + size]
        self.code_mb: float = sizes.pop("code") / 1e6
        """Compiled code and what it was compiled from."""
        del sizes["native"]
        self.data_mb: float = sum(sizes.values()) / 1e6
        """Objects, arrays, strings, closures and the like."""


async def _held_mb(page: Page) -> Held:
    session = await page.context.new_cdp_session(page)
    pieces: list[str] = []
    session.on("HeapProfiler.addHeapSnapshotChunk", lambda one: pieces.append(one["chunk"]))
    await session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    await session.detach()
    return Held(json.loads("".join(pieces)))


async def _numbers(session: CDPSession) -> dict[str, float]:
    answer = await session.send("Performance.getMetrics")
    return {one["name"]: one["value"] for one in answer["metrics"]}


async def _first_view_ms(browser: Browser, ward: Ward) -> float:
    """Return the time from the click on Sign in until every bed shows a heart rate."""
    page = await _at_the_door(browser, ward)
    seen = asyncio.create_task(page.evaluate(_SIGNED_IN, BEDS))
    await asyncio.sleep(0.3)
    await page.locator("button.primary").click()
    took_ms: float = await seen
    await page.context.close()
    return took_ms


async def _signed_in(browser: Browser, ward: Ward, screen: tuple[int, int] = SCREEN) -> Page:
    page = await _at_the_door(browser, ward, screen)
    await page.locator("button.primary").click()
    await page.get_by_test_id("tile").first.wait_for()
    return page


async def _at_the_door(browser: Browser, ward: Ward, screen: tuple[int, int] = SCREEN) -> Page:
    context = await browser.new_context(viewport={"width": screen[0], "height": screen[1]})
    page = await context.new_page()
    await page.goto(ward.url)
    await page.get_by_label("User").fill("nurse")
    await page.locator("input[type=password]").fill(PASSWORD)
    return page


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def _ward(folder: Path) -> AsyncIterator[Ward]:
    """Start the demo of 64 beds with a nurse; the bed that is looked at has four curves."""
    if CHROMIUM is None:
        raise RuntimeError("there is no chromium on this machine; on Debian: apt-get install chromium")
    await asyncio.to_thread(subprocess.run, [sys.executable, PAGE / "build.py"], check=True)
    ward = await asyncio.to_thread(Ward, folder, BEDS)
    monitor = Device(ward.broker, "icu", "mon-icu-01")
    sending = asyncio.create_task(_curves(monitor))
    try:
        await asyncio.to_thread(ward.add_user, "nurse", "nurse")
        yield ward
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        monitor.close()
        await asyncio.to_thread(ward.stop)


async def _curves(monitor: Device) -> None:
    """Send each second what the simulated monitor doesn't: a pressure and a breathing curve."""
    samples = [round(1000 * abs((at % 50) / 25 - 1)) for at in range(100)]
    while True:
        for name in CURVES:
            if name not in ("ecg_ii", "pleth"):
                monitor.curve(name, 100, samples)
        await asyncio.sleep(1)

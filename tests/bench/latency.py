"""Alarm latency at 10,000 devices x 1 Hz: from publish to two nurse stations and to pagers' topics."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import httpx

from tests.bench.whole import DEVICES, _finish
from tests.crash.hub_process import HubProcess
from tests.crash.publishers import SITE

WARDS = 100
BEDS = 25
"""A ward; each bed has four of the devices."""
ACTIVE = 200
"""Devices whose alarm is present all the time; they are among those that publish at 1 Hz."""
PROBES = 200
PAUSE_S = 0.15
FLOOD = 2_000
FLOOD_S = 1.0
GIVEN_UP_S = 10.0
SECONDS = 75
"""Of load: until the hub has come to rest, and while alarms are measured."""
_QUIET_S = 600
"""Interval that probes declare, so that nothing is told of their silence."""


class Watch:
    """Who waits for alarms: when the alarm of each device was published, and when it came."""

    def __init__(self, devices: Iterable[str]) -> None:
        self.devices = frozenset(devices)
        """Whose alarms it must be told of."""
        self.ready = asyncio.Event()
        self.came_s: dict[str, float] = {}
        """By device: when its alarm first came (monotonic s)."""

    def note(self, alarm: dict[str, Any]) -> None:
        """Take note of an alarm that this receiver was told of."""
        if alarm["condition"] == "limit_high":
            self.came_s.setdefault(alarm["device"], time.monotonic())


async def station(watch: Watch, hub: HubProcess, ward: str | None) -> None:
    """Be a nurse station that looks at a ward, or at everything; a cut connection ends the measurement."""
    scope = f"?site={SITE}&ward={ward}" if ward else ""
    async with (
        httpx.AsyncClient(timeout=None) as client,
        client.stream("GET", f"{hub.url}/api/v1/stream{scope}", headers=hub.headers) as answer,
    ):
        rest = b""
        async for chunk in answer.aiter_raw():
            *frames, rest = (rest + chunk).split(b"\n\n")
            for frame in frames:
                if b"event: alarm\n" in frame[:200]:
                    watch.note(json.loads(frame.partition(b"data: ")[2])["alarm"])
                elif b"event: reset\n" in frame[:200]:
                    watch.ready.set()
                    for alarm in json.loads(frame.partition(b"data: ")[2])["alarms"]:
                        watch.note(alarm)
    raise ConnectionError("the stream has ended")


async def pager(events: Watch, lists: Watch, hub: HubProcess) -> None:
    """Be a pager: one message an event, and the retained list of each area."""
    parts = urlsplit(hub.broker_url)
    async with aiomqtt.Client(parts.hostname or "", parts.port or 1883, identifier="pager") as client:
        await client.subscribe(f"wards/v1/{SITE}/+/hub/alarm-events", qos=1)
        await client.subscribe(f"wards/v1/{SITE}/+/hub/active-alarms", qos=1)
        events.ready.set()
        lists.ready.set()
        async for message in client.messages:
            told = json.loads(message.payload)  # type: ignore[arg-type]
            if str(message.topic).endswith("/alarm-events"):
                events.note(told["alarm"])
            else:
                for alarm in told["alarms"]:
                    lists.note(alarm)


async def measure_latency(folder: Path) -> dict[str, float]:
    """10,000 devices at 1 Hz, 2,500 beds, 200 alarms present: 200 more one by one, then 2,000 in a second."""
    probes = {f"probe-{number}": number % BEDS for number in range(PROBES)}  # all in the first ward
    flood = {f"flood-{number}": number * 89 for number in range(FLOOD)}  # in all wards
    ward_file = folder / "ward.toml"
    ward_file.write_text(_ward(probes | flood))
    hub = HubProcess(folder, settings=f'ward_file = "{ward_file}"')
    hub.start()
    try:
        await hub.ready()
        load = await _load(hub.broker_url)
        await _introduce(hub, probes | flood)
        await _settled(hub)
        watches = {name: Watch(probes | flood) for name in ("hospital", "mqtt", "list")}
        watches["ward"] = Watch(
            [name for name, bed in (probes | flood).items() if bed % (WARDS * BEDS) < BEDS]
        )
        async with _receiving(watches, hub):
            sent_s = await _alarm(hub, watches, probes, flood)
        present, cut_back = hub.metric("hub_alarms_present"), hub.metric("hub_stream_cut_back_total")
        done = await _finish(load)
    finally:
        hub.kill()
    lost = {name: len(watch.devices - watch.came_s.keys()) for name, watch in watches.items()}
    if any(lost.values()) or present < ACTIVE + len(sent_s) or cut_back:
        raise RuntimeError(f"never came: {lost}; {present:g} alarms present; streams cut back: {cut_back:g}")
    figures = {"alarm_10k_messages_per_s": done["acknowledged"] / done["seconds"]}
    for name, watch in watches.items():
        figures |= _latencies(
            f"alarm_10k_{name}", [watch.came_s[one] - sent_s[one] for one in probes if one in watch.devices]
        )
    began_s = min(sent_s[one] for one in flood)
    figures["alarm_flood_published_ms"] = (max(sent_s.values()) - began_s) * 1e3
    for name, watch in watches.items():
        figures[f"alarm_flood_{name}_ms"] = (max(watch.came_s[one] for one in watch.devices) - began_s) * 1e3
    figures["alarm_flood_end_to_end_ms"] = max(figures[f"alarm_flood_{name}_ms"] for name in watches)
    return figures


@asynccontextmanager
async def _receiving(watches: Mapping[str, Watch], hub: HubProcess) -> AsyncIterator[None]:
    receivers = [
        asyncio.create_task(station(watches["hospital"], hub, None)),
        asyncio.create_task(station(watches["ward"], hub, "ward-0")),
        asyncio.create_task(pager(watches["mqtt"], watches["list"], hub)),
    ]
    try:
        for watch in watches.values():
            await asyncio.wait_for(watch.ready.wait(), 30)
        yield
    finally:
        for task in receivers:
            task.cancel()
        await asyncio.gather(*receivers, return_exceptions=True)


async def _introduce(hub: HubProcess, devices: Mapping[str, int]) -> None:
    """Let devices send a normal value first: the hub knows whose alarm it is to tell."""
    parts = urlsplit(hub.broker_url)
    async with aiomqtt.Client(parts.hostname or "", parts.port or 1883, identifier="probe") as client:
        client.pending_calls_threshold = len(devices) + 1
        await _publish(client, devices, FLOOD_S / FLOOD, heart_rate=70)


async def _settled(hub: HubProcess) -> None:
    """Wait until the hub is as it is day by day: its devices known, the live lane of its start closed."""
    deadline_s = time.monotonic() + SECONDS / 2
    while hub.metric("hub_alarms_present") != ACTIVE or hub.metric("hub_live_lane_open"):
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"after {SECONDS / 2:g} s {hub.metric('hub_alarms_present'):g} alarms present")
        await asyncio.sleep(0.5)


async def _alarm(
    hub: HubProcess, watches: Mapping[str, Watch], probes: Mapping[str, int], flood: Mapping[str, int]
) -> dict[str, float]:
    parts = urlsplit(hub.broker_url)
    async with aiomqtt.Client(parts.hostname or "", parts.port or 1883, identifier="probe") as client:
        client.pending_calls_threshold = FLOOD + 1
        sent_s = await _publish(client, probes, PAUSE_S)
        await _come(watches.values(), probes)
        sent_s |= await _publish(client, flood, FLOOD_S / FLOOD)
        await _come(watches.values(), flood)
    return sent_s


def _latencies(name: str, took_s: Iterable[float]) -> dict[str, float]:
    took_ms = sorted(one_s * 1e3 for one_s in took_s)
    return {
        f"{name}_p50_ms": took_ms[len(took_ms) // 2],
        f"{name}_p99_ms": took_ms[int(len(took_ms) * 0.99)],
        f"{name}_max_ms": took_ms[-1],
    }


async def _load(url: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.bench.generator", url, "--devices", str(DEVICES)]
    command += ["--count", str(DEVICES * SECONDS), "--rate", str(DEVICES), "--alarming", str(ACTIVE)]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def _publish(
    client: aiomqtt.Client, devices: Iterable[str], pause_s: float, heart_rate: int = 150
) -> dict[str, float]:
    """Publish a heart rate for each device, beyond its limit by default; return when each was sent."""
    sent_s: dict[str, float] = {}
    calls = []
    began_s = time.monotonic()
    for number, device in enumerate(devices):
        late_s = began_s + number * pause_s - time.monotonic()
        if late_s > 0.001:
            await asyncio.sleep(late_s)
        now_ms = time.time_ns() // 1_000_000
        payload = json.dumps({"time": now_ms, "seq": now_ms, "values": {"heart_rate": heart_rate}})
        sent_s[device] = time.monotonic()
        calls.append(
            asyncio.create_task(
                client.publish(f"wards/v1/{SITE}/bench/{device}/observations", payload, qos=1)
            )
        )
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    return sent_s


async def _come(watches: Iterable[Watch], devices: Mapping[str, int]) -> None:
    """Wait for the alarms of devices at every receiver, for a while."""
    deadline_s = time.monotonic() + GIVEN_UP_S
    while time.monotonic() < deadline_s:
        if all(watch.devices & devices.keys() <= watch.came_s.keys() for watch in watches):
            return
        await asyncio.sleep(0.05)


def _ward(probes: Mapping[str, int]) -> str:
    """Return a hospital of 2,500 beds, four devices each, and devices that alarm, by bed."""
    beds = [f"b-{ward}-{bed}" for ward in range(WARDS) for bed in range(BEDS)]
    lines = [f'[site]\nid = "{SITE}"']
    lines += [
        f'[[ward]]\nid = "ward-{ward}"\nbeds = {json.dumps(beds[ward * BEDS : (ward + 1) * BEDS])}'
        for ward in range(WARDS)
    ]
    lines += [
        f'[[device]]\nid = "bench-{number}"\ndefinition = "native"\nbed = "{beds[number % len(beds)]}"'
        for number in range(DEVICES)
    ]
    lines += [
        f'[[device]]\nid = "{name}"\ndefinition = "native"\nbed = "{beds[bed % len(beds)]}"\n'
        f"interval_s = {_QUIET_S}"
        for name, bed in probes.items()
    ]
    return "\n".join(lines) + "\n"

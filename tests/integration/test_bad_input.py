"""Ten thousand bad messages among good ones, through a real broker into a real hub."""

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import httpx
import psutil
import pytest
from jsonschema import Draft202012Validator

from hub.mqtt.packets import KEPT_BYTES
from tests.bad_messages import DEVICES, Nonsense, Sent, good, observations
from tests.crash.hub_process import HubProcess
from tests.crash.probe import AlarmProbe
from tests.servers import mosquitto

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

BAD = 10_000
LARGE = 20
"""Of a megabyte, the most that the embedded broker takes."""
GOOD_DEVICES = 10
CLIENTS = 4
MOST_GROWTH_MB = 120
"""What the hub may take more at its peak than after warming up: 32 MiB of pending payloads several times
(as they came, as they were decoded, as they are journalled), SQLite's caches and what the allocator keeps."""
DIAGNOSTICS = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "hub/contracts/diagnostics.schema.json").read_text()),
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)

READ_STORE = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as db:
    query = (
        "SELECT device, _seq, count(*), count(_exceptions) FROM readings"
        " JOIN devices ON key = _device GROUP BY ALL"
    )
    for row in db.execute(query).fetchall():
        print(*row)
"""


@contextmanager
def broker(kind: str, folder: Path) -> Iterator[str | None]:
    if kind == "embedded":
        yield None
        return
    with mosquitto(folder) as server:
        yield server.url


def client(url: str, name: str) -> aiomqtt.Client:
    parts = urlsplit(url)
    return aiomqtt.Client(
        parts.hostname or "", parts.port or 1883, identifier=name, timeout=60, max_inflight_messages=200
    )


async def publish(url: str, name: str, messages: list[Sent]) -> None:
    """Publish in order, up to 100 unacknowledged at once."""
    async with client(url, name) as mqtt:
        mqtt.pending_calls_threshold = 1000
        for start in range(0, len(messages), 100):
            part = messages[start : start + 100]
            await asyncio.gather(*(mqtt.publish(one.topic, one.payload, qos=1) for one in part))


class SoundDevices:
    """Monitors that send a reading each every 20 ms for as long as the others send nonsense."""

    def __init__(self, url: str) -> None:
        self.sent: list[Sent] = []
        self._url = url
        self._going = True

    async def run(self) -> None:
        async with client(self._url, "sound") as mqtt:
            seq = 0
            while self._going:
                seq += 1
                now_ms = time.time_ns() // 1_000_000
                for number in range(GOOD_DEVICES):
                    one = good(f"sound-{number}", now_ms, seq)
                    await mqtt.publish(one.topic, one.payload, qos=1)
                    self.sent.append(one)
                await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._going = False


class Told:
    """What the hub tells devices, as they hear it themselves."""

    def __init__(self) -> None:
        self.reasons: dict[str, Counter[str]] = {}
        """By device, and how often."""

    @asynccontextmanager
    async def listening(self, url: str) -> AsyncIterator[None]:
        async with client(url, "listener") as mqtt:
            await mqtt.subscribe("wards/v1/+/+/+/diagnostics", qos=1)
            task = asyncio.create_task(self._listen(mqtt))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _listen(self, mqtt: aiomqtt.Client) -> None:
        async for message in mqtt.messages:
            document = json.loads(message.payload)  # type: ignore[arg-type] # bytes, as it was sent
            DIAGNOSTICS.validate(document)
            reasons = self.reasons.setdefault(message.topic.value.split("/")[4], Counter())
            for reject in document["rejects"]:
                assert reject["reason"]
                assert reject["path"]
                reasons[reject["reason"]] += reject["count"]


class Memory:
    """Watches how much memory a process takes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before_mb = self.now_mb()
        self.peak_mb = self.before_mb

    def now_mb(self) -> float:
        return self._process.memory_info().rss / (1 << 20)

    async def watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, self.now_mb())
            await asyncio.sleep(0.05)


async def rejects_of(hub: HubProcess) -> list[dict[str, Any]]:
    """Read every reject through the API, page by page."""
    found: list[dict[str, Any]] = []
    before: int | None = None
    async with httpx.AsyncClient(timeout=60) as http:
        while True:
            query = {"limit": 500} | ({} if before is None else {"before": before})
            answer = await http.get(f"{hub.url}/api/v1/rejects", params=query, headers=hub.headers)
            page = answer.raise_for_status().json()
            found += page["rejects"]
            before = page["next"]
            if before is None:
                return found


async def all_rejects(hub: HubProcess, expected: int) -> list[dict[str, Any]]:
    """Read the rejects once there are as many as expected, or a minute has passed: the hub may be behind."""
    deadline = time.monotonic() + 60
    while len(found := await rejects_of(hub)) < expected and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    return found


def payload_of(reject: dict[str, Any]) -> bytes:
    payload: str = reject["payload"]
    return base64.b64decode(payload) if reject["encoding"] == "base64" else payload.encode()


def stored_in(file: Path) -> dict[tuple[str, int], tuple[int, int]]:
    """Ask the file in another process: how often each reading is there, and how often it is flagged."""
    done = subprocess.run(
        [sys.executable, "-c", READ_STORE, str(file)], check=True, capture_output=True, text=True, timeout=60
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return {(device, int(seq)): (int(times), int(flagged)) for device, seq, times, flagged in rows}


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
async def test_bad_messages_are_kept_told_or_flagged_and_no_good_one_is_lost(
    kind: str, tmp_path: Path
) -> None:
    with broker(kind, tmp_path) as url:
        hub = HubProcess(tmp_path, broker_url=url)
        hub.start()
        try:
            await hub.ready()
            bad = Nonsense(seed=2026, now_ms=time.time_ns() // 1_000_000).messages(BAD, LARGE)
            told, sound = Told(), SoundDevices(hub.broker_url)
            async with told.listening(hub.broker_url):
                sending = asyncio.create_task(sound.run())
                await asyncio.sleep(2)
                memory = Memory(hub.pid)
                watching = asyncio.create_task(memory.watch())
                # Two alarms each: the third within two minutes would be one episode with the others.
                probes = [
                    AlarmProbe(hub.broker_url, hub.url, hub.headers, f"probe-{number}") for number in range(5)
                ]
                began = time.monotonic()
                alarms = asyncio.gather(*(probe.run(2, pause_s=2) for probe in probes))
                await asyncio.gather(
                    *(publish(hub.broker_url, f"bad-{n}", bad[n::CLIENTS]) for n in range(CLIENTS))
                )
                if kind == "mosquitto":  # the embedded broker takes no such message
                    await publish(hub.broker_url, "huge", [too_large()])
                await alarms
                sound.stop()
                await sending
                await hub.drained()
                took_s = time.monotonic() - began
                await until_told(told)
                watching.cancel()
                after_mb = memory.now_mb()
            refused = Counter((one.topic, one.payload) for one in bad if one.fate == "rejected")
            rejects = await all_rejects(hub, refused.total())
            reconnects = hub.metric("hub_broker_reconnects_total")
            left = hub.metric("hub_pending_messages")
            assert hub.stop() == 0
        finally:
            hub.kill()
    stored = stored_in(hub.data / "series.duckdb")
    latencies_s = [latency_s for probe in probes for latency_s in probe.latencies_s]
    print(
        f"\n{kind}: {len(bad)} bad messages and {len(sound.sent)} good ones in {took_s:.1f} s; "
        f"{len(rejects)} rejects of {len({one['reason'] for one in rejects})} reasons, "
        f"{len(told.reasons)} devices told; RSS {memory.before_mb:.0f} MB before, "
        f"{memory.peak_mb:.0f} MB at most, {after_mb:.0f} MB after; "
        f"{len(latencies_s)} alarms meanwhile, the slowest {max(latencies_s, default=0) * 1000:.0f} ms"
    )

    # Every bad message is in the rejects, whole and once, and nothing else is.
    assert all(one["reason"] and one["path"] for one in rejects)
    huge = [one for one in rejects if one["device"] == "huge"]
    kept = Counter((one["topic"], payload_of(one)) for one in rejects if one not in huge)
    assert kept == refused

    # Every good reading is stored once; what can't be relied on is flagged.
    fates = {reading: one.fate for one in [*bad, *sound.sent] for reading in one.readings}
    seen = {reading: count for reading, count in stored.items() if reading in fates}
    assert {reading: times for reading, (times, _) in seen.items()} == dict.fromkeys(fates, 1)
    flagged = {reading for reading, (_, marked) in seen.items() if marked}
    assert flagged == {reading for reading, fate in fates.items() if fate == "flagged"}

    # The line went on: no new connection, alarms as ever, nothing left over.
    assert (reconnects, left) == (0, 0)
    assert (len(latencies_s), sum(probe.missing for probe in probes)) == (10, 0)
    assert memory.peak_mb - memory.before_mb < MOST_GROWTH_MB

    # Each device that sent nonsense was told so on its own channel.
    assert {f"fuzz-{number}" for number in range(DEVICES)} <= told.reasons.keys()
    assert not any(name.startswith(("sound-", "stranger-", "echo-", "shuffled-")) for name in told.reasons)

    if kind == "mosquitto":
        (one,) = huge
        sent = too_large()
        assert payload_of(one) == sent.payload[:KEPT_BYTES]
        assert f"payload of {len(sent.payload)} bytes is larger than the hub takes" in one["reason"]
        assert f"only its first {KEPT_BYTES} bytes are kept" in one["reason"]
        assert any("is larger than the hub takes" in reason for reason in told.reasons["huge"])


def too_large() -> Sent:
    """Return a message larger than the hub reads whole."""
    return Sent("too large", observations("huge"), b'{"values":{"heart_rate":72}}'.ljust(3 << 20), "rejected")


async def until_told(told: Told) -> None:
    """Wait until the last of the devices was told, a second after its last reject at the latest."""
    before, count = -1, 0
    async with asyncio.timeout(60):
        while count != before:
            before = count
            await asyncio.sleep(2.5)
            count = sum(map(Counter.total, told.reasons.values()))

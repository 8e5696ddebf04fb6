"""The stream over real sockets: uvicorn on a free port, clients with httpx."""

import asyncio
import json
import socket
import time
from pathlib import Path
from statistics import median

import httpx
import pytest
from jsonschema import Draft202012Validator

from hub.alarms.alarm import Alarm
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.api.app import create_api
from hub.api.server import ApiServer, CannotServe
from hub.api.services import Services
from hub.device import Device
from hub.live import Live
from hub.metrics import Metrics
from hub.model import Reading, Waveform
from hub.stream import Stream
from hub.tokens import Tokens
from hub.ward.registry import Registry
from hub.ward.wardfile import parse

pytestmark = pytest.mark.integration

CONTRACTS = Path(__file__).parents[2] / "hub/contracts"
WARD = {
    "site": {"id": "main", "name": "Main"},
    "ward": [
        {"id": "icu", "name": "Intensive care", "beds": ["icu-01", "icu-02"]},
        {"id": "west", "name": "West", "beds": ["west-01"]},
    ],
    "device": [{"id": "mon-1", "definition": "native", "bed": "icu-01", "interval_s": 1}],
}


class Hub:
    """The parts of a hub that serve the stream."""

    def __init__(self, folder):
        url = f"sqlite:///{folder / 'registry.sqlite'}"
        self.registry = Registry(url)
        self.tokens = Tokens(url)
        self.log = EventLog(Records(folder / "alarms.sqlite"))
        self.live = Live(self.registry)
        self.stream = Stream(
            "hub-1", self.log, lambda scope: self.live.snapshot(time.time_ns(), scope), max_bytes=256 * 1024
        )
        self.count = 0

    async def start(self):
        await self.registry.start()
        await self.registry.seed(parse(WARD, "ward.toml"))
        await self.tokens.start()
        await self.log.start()
        self.stream.start()
        self.secret = await self.tokens.create("station", "nurse")
        services = Services(
            hub="hub-1",
            registry=self.registry,
            live=self.live,
            stream=self.stream,
            log=self.log,
            store=None,
            rejects=None,
            replay=None,
            tokens=self.tokens,
            metrics=Metrics(),
            health=list,
            now_ns=time.time_ns,
        )
        self.server = ApiServer(
            create_api(services), self.stream, self.live, host="127.0.0.1", port=0, grace_s=1
        )
        await self.server.start()
        self.url = f"http://127.0.0.1:{self.server.port}/api/v1"

    async def stop(self):
        await self.server.stop()
        await self.log.stop()
        await self.tokens.stop()
        await self.registry.stop()

    def alarm(self, text="SpO2 low", ward="icu"):
        """Raise a further alarm."""
        self.count += 1
        return self._record("start", self.count, text, ward)

    def update(self, text):
        """Tell more of the one alarm number 1."""
        return self._record("update", 1, text, "icu")

    def _record(self, event, number, text, ward):
        now = time.time_ns()
        alarm = Alarm(
            f"al-{number}", "physiological", "high", "limit_low", "main", "mon-1", now, "present", text
        )
        return self.log.record(event, now, alarm, ward=ward, bed=f"{ward}-01", patient="pt-1")


class Station:
    """A client that parses what it reads as it comes, as the HTML standard says."""

    def __init__(self, hub, **options):
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {hub.secret}"}, timeout=20, limits=limits, verify=False
        )
        self.url = hub.url + options.get("path", "/stream")
        self.params = options.get("params")
        self.last_event_id = options.get("last_event_id")
        self.events = []
        self.arrived = asyncio.Condition()
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        headers = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        async with self.http.stream("GET", self.url, headers=headers, params=self.params) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-store"
            fields = {}
            async for line in response.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if "data" in fields:
                    async with self.arrived:
                        self.events.append(
                            (
                                fields["event"],
                                json.loads(fields["data"]),
                                fields.get("id"),
                                time.perf_counter(),
                            )
                        )
                        self.last_event_id = fields.get("id", self.last_event_id)
                        self.arrived.notify_all()
                fields = {}

    def named(self, *names):
        return [event for event in self.events if event[0] in names]

    async def until(self, count, *names):
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.named(*names)) >= count), 20)
        return self.named(*names)

    async def leave(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.http.aclose()


@pytest.fixture
async def hub(tmp_path):
    hub = Hub(tmp_path)
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def station(hub):
    stations = []

    def make(**options):
        stations.append(Station(hub, **options))
        return stations[-1]

    yield make
    for one in stations:
        await one.leave()


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def test_every_event_fits_its_contract(hub, station):
    client = station()
    await client.until(1, "vitals")
    monitor = Device("main", "mon-1", "icu", "native", 1.0)
    now = time.time_ns()
    hub.live.update(monitor, Reading("main", "mon-1", "observations", now, now, now, 1, {"spo2": 97.0}))
    for _ in hub.live.tick(hub.stream, now):
        pass
    hub.alarm()
    await client.until(1, "alarm")
    hub.stream.heartbeat(time.time_ns(), storing=True, lag_s=0.01)
    await client.until(1, "heartbeat")
    assert [name for name, *_ in client.events] == ["reset", "vitals", "vitals", "alarm", "heartbeat"]
    for name, data, event_id, _ in client.events:
        schema = json.loads((CONTRACTS / f"stream-{name}.schema.json").read_text())
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(data)
        assert (event_id is not None) == (name in ("alarm", "reset"))
    assert client.named("vitals")[1][1]["beds"][0]["values"]["spo2"]["value"] == 97.0


async def test_clients_that_are_cut_off_and_come_back_get_each_event_once_and_in_order(hub, station):
    seen = {n: [] for n in range(3)}
    last = dict.fromkeys(range(3))
    for round_ in range(6):
        clients = [station(last_event_id=last[n]) for n in range(3)]
        for client in clients:
            await client.until(1, "vitals")
        for _ in range(20):
            hub.alarm()
            await asyncio.sleep(0)
        for n, client in enumerate(clients):
            await client.until(3 * (n + 1), "alarm")  # each breaks off at another point
            await client.leave()
            if round_:
                assert not client.named("reset")
            seen[n] += [data["sequence"] for _, data, *_ in client.named("alarm")]
            last[n] = client.last_event_id
        for _ in range(5):
            hub.alarm()  # while nobody is connected
    clients = [station(last_event_id=last[n]) for n in range(3)]
    for n, client in enumerate(clients):
        await client.until(hub.count - len(seen[n]), "alarm")
        seen[n] += [data["sequence"] for _, data, *_ in client.named("alarm")]
        assert seen[n] == list(range(1, hub.count + 1))


async def test_a_first_connection_may_go_on_from_an_id_in_the_query(hub, station):
    first = hub.alarm()
    hub.alarm()
    await until(lambda: hub.log.last_sequence == 2)
    client = station(params={"last_event_id": hub.stream.event_id(first.sequence)})
    await client.until(1, "vitals")
    assert [data["sequence"] for _, data, *_ in client.named("alarm")] == [2]
    unknown = station(params={"last_event_id": "hub-1-00000000-1"})
    ((_, data, *_),) = await unknown.until(1, "reset")
    assert len(data["alarms"]) == 2


async def stuck_client(hub, reader=None):
    """Connect a client that reads nothing, and fill all buffers on the way to it."""
    slow = socket.create_connection(("127.0.0.1", hub.server.port))
    request = f"GET /api/v1/stream HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {hub.secret}\r\n\r\n"
    before = hub.stream.clients
    slow.sendall(request.encode())
    await until(lambda: hub.stream.clients == before + 1)
    while not hub.stream.cut_back:
        last = [hub.update(text="x" * 4000) for _ in range(50)][-1].sequence
        await until(lambda last=last: hub.log.last_sequence >= last)
        if reader is not None:
            await reader.until(last, "alarm")
        assert last < 10_000
    return slow


async def test_a_client_that_does_not_read_gets_a_reset_and_holds_nobody_up(hub, station):
    reader = station()
    await reader.until(1, "vitals")
    slow = await stuck_client(hub, reader)
    sent = hub.log.last_sequence
    assert [data["sequence"] for _, data, *_ in reader.named("alarm")] == list(range(1, sent + 1))
    assert len(reader.named("reset")) == 1

    def drain():
        slow.settimeout(20)
        received = bytearray()
        while b"event: reset" not in received[-8000:] or b'"kind":"snapshot"' not in received[-2000:]:
            received += slow.recv(1 << 16)
        return bytes(received)

    received = await asyncio.to_thread(drain)
    slow.close()
    assert b"this client was too slow" in received
    await until(lambda: hub.stream.clients == 1)


async def test_two_hundred_clients_get_an_event_of_one_rendering(hub, station):
    clients = [station() for _ in range(200)]
    for client in clients:
        await client.until(1, "vitals")
    before = hub.stream.rendered
    for _ in range(10):
        hub.alarm()
        await asyncio.sleep(0.05)
    for client in clients:
        assert [data["sequence"] for _, data, *_ in await client.until(10, "alarm")] == list(range(1, 11))
    assert hub.stream.rendered == before + 10


@pytest.mark.parametrize("count", [1, 200])
async def test_from_record_to_received_is_printed(hub, station, count, capsys):
    clients = [station() for _ in range(count)]
    for client in clients:
        await client.until(1, "vitals")
    began = {}
    for _ in range(20):
        at = time.perf_counter()
        began[hub.alarm().sequence] = at
        await asyncio.sleep(0.1)
    took = []
    for client in clients:
        took += [at - began[data["sequence"]] for _, data, _, at in await client.until(20, "alarm")]
    assert len(took) == 20 * count
    with capsys.disabled():
        print(
            f"\nrecord → received, {count} clients in the same process:"
            f" p50 {median(took) * 1e3:.1f} ms, p99 {sorted(took)[len(took) * 99 // 100] * 1e3:.1f} ms"
        )


async def test_a_ward_sees_its_own(hub, station):
    client = station(params={"site": "main", "ward": "west"})
    ((_, snapshot, *_),) = await client.until(1, "vitals")
    assert [bed["bed"] for bed in snapshot["beds"]] == ["west-01"]
    hub.alarm(ward="icu")
    hub.alarm(ward="west")
    ((_, data, *_),) = await client.until(1, "alarm")
    assert data["sequence"] == 2


async def test_a_live_waveform_is_streamed_to_who_asks_and_rendered_for_nobody_else(hub, station):
    def wave(n, device="mon-1"):
        now = time.time_ns()
        return Waveform("main", device, "ecg_ii", now, now, n, 250.0, 0.005, 0.0, "mV", [float(n), None])

    hub.live.waveform(wave(0))
    client = station(path="/devices/main/mon-1/waveforms/ecg_ii/stream")
    await until(lambda: hub.live.waves.viewers == 1)
    hub.live.waveform(wave(1))
    hub.live.waveform(wave(2, device="mon-2"))
    hub.live.waveform(wave(3))
    events = await client.until(2, "waveform")
    assert [data["samples"] for _, data, *_ in events] == [[1.0, None], [3.0, None]]
    await client.leave()
    await until(lambda: hub.live.waves.viewers == 0)


async def test_a_revoked_token_ends_its_streams(hub, station):
    client = station()
    await client.until(1, "vitals")
    await hub.tokens.revoke("station")
    hub.alarm()
    await asyncio.wait_for(client.task, 20)
    assert not client.named("alarm")
    await until(lambda: hub.stream.clients == 0)


async def test_stopping_ends_open_streams_after_what_was_queued(hub, station):
    clients = [station() for _ in range(5)]
    for client in clients:
        await client.until(1, "vitals")
    hub.stream.heartbeat(time.time_ns(), storing=True, lag_s=0.0)
    await asyncio.wait_for(hub.server.stop(), 4)
    for client in clients:
        await asyncio.wait_for(client.task, 4)  # ends without an error: the answer was complete
        assert len(client.named("heartbeat")) == 1


async def test_a_client_that_takes_nothing_does_not_keep_the_hub_from_stopping(hub, caplog):
    slow = await stuck_client(hub)
    await asyncio.wait_for(hub.server.stop(), 5)
    assert hub.stream.clients == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    slow.close()


async def test_a_taken_port_is_one_clear_message(hub):
    other = ApiServer(create_api(None), hub.stream, hub.live, host="127.0.0.1", port=hub.server.port)
    with pytest.raises(CannotServe, match=r"set http\.host to an address of this machine and http\.port"):
        await other.start()

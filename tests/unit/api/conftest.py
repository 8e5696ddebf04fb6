"""The API on a real registry, real tokens, a real journal and a real event log; the store is in memory."""

import asyncio
from dataclasses import dataclass, field, replace

import httpx
import pytest

from hub.alarms.alarm import Alarm
from hub.alarms.channels import NotifySettings
from hub.alarms.limits import load_limits
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.system import AlarmSystem
from hub.api.app import create_api
from hub.api.services import Part, Replayed, Services
from hub.device import Device
from hub.journal import Journal
from hub.live import Live
from hub.metrics import Metrics
from hub.model import Reading, Rejection, Waveform
from hub.stores.store import StoreUnavailable, TrendPoint
from hub.stream import Stream
from hub.tokens import Tokens
from hub.ward.registry import Registry
from hub.ward.wardfile import parse

SECOND = 1_000_000_000
NOW = 1_795_488_192 * SECOND  # 2026-11-24T02:43:12Z

WARD = {
    "site": {"id": "main", "name": "Main"},
    "ward": [
        {"id": "icu", "name": "Intensive care", "beds": ["icu-01", "icu-02"]},
        {"id": "west", "name": "West", "beds": ["west-01"]},
    ],
    "device": [{"id": "mon-1", "definition": "native", "bed": "icu-01", "interval_s": 1}],
}


class MemoryStore:
    """A store that keeps its promises in lists."""

    name = "memory"

    def __init__(self):
        self.kept = []
        self.windows = []
        self.changes = []
        self.error = None

    def add(self, time_ns, device="mon-1", channel="observations", exceptions=None, seq=1, **values):
        self.kept.append(Reading("main", device, channel, time_ns, time_ns, time_ns, seq, values, exceptions))

    async def readings(self, site, device, start_ns, end_ns, limit=10_000):
        if self.error:
            raise self.error
        found = [
            one
            for one in sorted(self.kept, key=lambda one: one.time_ns)
            if (one.site, one.device) == (site, device) and start_ns <= one.time_ns < end_ns
        ]
        return found[:limit]

    async def site_readings(self, site, start_ns, end_ns, limit=10_000):
        devices = {one.device for one in self.kept}
        found = [
            one for device in devices for one in await self.readings(site, device, start_ns, end_ns, 2**62)
        ]
        return sorted(found, key=lambda one: one.time_ns)[:limit]

    async def trend(self, site, device, parameter, start_ns, end_ns, points):
        step = max(1, -(-(end_ns - start_ns) // points))
        steps = {}
        for one in await self.readings(site, device, start_ns, end_ns):
            if parameter in one.values:
                steps.setdefault((one.time_ns - start_ns) // step, []).append(one.values[parameter])
        return [
            TrendPoint(start_ns + n * step, min(found), sum(found) / len(found), max(found), len(found))
            for n, found in sorted(steps.items())
        ]

    async def waveforms(self, site, device, waveform, start_ns, end_ns):
        return [
            one
            for one in self.windows
            if (one.site, one.device, one.waveform) == (site, device, waveform)
            and start_ns <= one.time_ns < end_ns
        ]

    async def zone_changes(self, site, device, start_ns, end_ns, limit):
        if self.error:
            raise self.error
        found = [
            one
            for one in self.changes
            if (one.site, one.device) == (site, device) and start_ns <= one.time_ns < end_ns
        ]
        return sorted(found, key=lambda one: -one.time_ns)[:limit]


@dataclass
class Hospital:
    """What a test needs at hand."""

    services: Services
    store: MemoryStore
    live: Live
    log: EventLog
    journal: Journal
    registry: Registry
    tokens: Tokens
    parts: list[Part]
    replays: list = field(default_factory=list)
    alarms: AlarmSystem | None = None
    heard: dict = field(default_factory=dict)
    """Devices that the alarms know, by id."""

    def device(self, name="mon-1"):
        return Device("main", name, "icu", "native", 1.0)

    def reading(self, time_ns=NOW, exceptions=None, **values):
        return Reading("main", "mon-1", "observations", time_ns, time_ns, time_ns, 1, values, exceptions)

    def waveform(self, time_ns=NOW, samples=(1.0, None, 3.0)):
        return Waveform(
            "main", "mon-1", "ecg_ii", time_ns, time_ns, 1, 250.0, 0.005, 0.0, "mV", list(samples)
        )

    async def alarm(self, number=1, event="start", ward="icu", bed="icu-01", **changes):
        presence = "absent" if event == "end" else "present"
        alarm = Alarm(
            f"al-{number}", "physiological", "high", "limit_low", "main", "mon-1", NOW, presence, "SpO2 low"
        )
        alarm = replace_struct(alarm, **changes)
        recorded = self.log.record(event, NOW, alarm, ward=ward, bed=bed, patient="pt-1")
        for _ in range(2000):
            if self.log.last_sequence >= recorded.sequence:
                return recorded
            await asyncio.sleep(0.001)
        raise AssertionError("the event was never told")

    async def reject(self, payload=b'{"values":{"spo2":"high"}}', reason="expected a number"):
        await self.journal.reject(
            [
                Rejection(
                    "wards/v1/main/icu/mon-1/observations",
                    payload,
                    "$.values.spo2",
                    reason,
                    NOW,
                    "main",
                    "mon-1",
                )
            ]
        )


def replace_struct(struct, **changes):
    from msgspec.structs import replace as replace_members

    return replace_members(struct, **changes)


@pytest.fixture
async def hospital(tmp_path):
    url = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    registry = Registry(url, lambda: NOW)
    await registry.start()
    await registry.seed(parse(WARD, "ward.toml"))
    tokens = Tokens(url, lambda: NOW)
    await tokens.start()
    log = EventLog(Records(tmp_path / "alarms.sqlite"))
    await log.start()
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.start()
    live = Live(registry)
    stream = Stream("hub-1", log, lambda scope: live.snapshot(NOW, scope))
    stream.start()
    store = MemoryStore()
    parts = [Part("broker", "ok", "messages arrive", required=True)]
    replays = []

    async def replay(ids):
        replays.append(list(ids))
        return Replayed(accepted=len(ids), rejected=0, gone=0)

    heard = {}
    alarms = AlarmSystem(
        event_log=log,
        book=tmp_path / "alarm-book.sqlite",
        scores=tmp_path / "scores.sqlite",
        rules=load_limits(),
        places=registry,
        device_of=lambda _, name: heard.get(name),
        listening=lambda: {"": 0},
        own=Device("main", "hub-1", "hub", "hub", 0.0),
        notify=NotifySettings(mqtt=False),
        publish=lambda *_: True,
        now_ns=lambda: NOW,
    )
    await alarms.start()
    services = Services(
        hub="hub-1",
        registry=registry,
        live=live,
        stream=stream,
        log=log,
        store=store,
        rejects=journal,
        replay=replay,
        tokens=tokens,
        metrics=Metrics(),
        health=lambda: parts,
        now_ns=lambda: NOW,
        alarms=alarms,
    )
    yield Hospital(services, store, live, log, journal, registry, tokens, parts, replays, alarms, heard)
    stream.close()
    await alarms.stop()
    await journal.stop()
    await log.stop()
    await tokens.stop()
    await registry.stop()


@pytest.fixture
def api(hospital):
    return create_api(hospital.services)


@pytest.fixture
async def client(hospital, api):
    """A client with a nurse's token."""
    secret = await hospital.tokens.create("nurse station", "nurse")
    async with http(api, secret) as client:
        yield client


@pytest.fixture
async def anonymous(api):
    async with http(api) as client:
        yield client


@pytest.fixture
async def biomed(hospital, api):
    secret = await hospital.tokens.create("engineer", "biomed")
    async with http(api, secret) as client:
        yield client


def http(api, secret=None, peer="192.0.2.7", **options):
    transport = httpx.ASGITransport(api, client=(peer, 40000), **options)
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    return httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers)


@pytest.fixture
def broken_store(hospital):
    hospital.store.error = StoreUnavailable("no route to 10.0.0.7", retry_after_s=7)
    return hospital.store


@pytest.fixture
def with_services(hospital):
    """Make a client of an application with other services."""

    def make(secret=None, **changes):
        return http(create_api(replace(hospital.services, **changes)), secret, raise_app_exceptions=False)

    return make

"""A hub's FHIR interface for tests: real registry, DuckDB, event log, ledger, tokens; no line."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import httpx
from fastapi import FastAPI

from hub.alarms.alarm import Alarm
from hub.alarms.early_warning import Assessment
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.api.app import create_api
from hub.api.fhir.interface import FhirInterface
from hub.api.fhir.ledger import Ledger
from hub.api.fhir.services import FhirServices
from hub.api.services import Part, Replayed, Services
from hub.clients import Clients
from hub.device import Device, Latest
from hub.journal import Journal
from hub.live import Live
from hub.location.places import Places
from hub.metrics import Metrics
from hub.model import Batch, Reading, Waveform
from hub.stores.duckdb import DuckDBStore
from hub.stream import Stream
from hub.tokens import Tokens
from hub.ward.model import Identifier
from hub.ward.registry import Registry
from hub.ward.wardfile import parse

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
NOW = 1_795_488_192 * SECOND  # 2026-11-24T02:43:12Z
MRN = "urn:oid:1.2.36.146.595.217.0.1"

WARD = {
    "site": {"id": "main", "name": "Main"},
    "ward": [
        {"id": "icu", "name": "Intensive care", "beds": ["icu-01", "icu-02", "icu_03"]},
        {"id": "west", "name": "West", "beds": ["west-01"]},
    ],
    "device": [
        {"id": "mon-1", "definition": "native", "bed": "icu-01", "interval_s": 1},
        {"id": "pump-1", "definition": "native", "bed": "icu-01", "interval_s": 5},
        {"id": "mon-2", "definition": "native", "bed": "icu-02", "interval_s": 1},
        {"id": "spare", "definition": "native", "area": "icu"},
    ],
    "zone": [
        {"id": "icu-01", "name": "Room 1", "ward": "icu", "beds": ["icu-01"], "gateways": ["gw-1"]},
        {"id": "exit", "name": "Way out", "gateways": ["gw-2"], "forbidden": True},
    ],
}


class Clock:
    """The hub's clock, which stands until a test moves it."""

    ns = NOW


@dataclass
class FhirHub:
    """What a test needs at hand."""

    api: FastAPI
    services: Services
    fhir: FhirServices
    registry: Registry
    store: DuckDBStore
    log: EventLog
    tokens: Tokens
    ledger: Ledger
    records: dict[tuple[str, str], Device]
    clock: Clock
    interface: FhirInterface
    journal: Journal
    assessments: dict[str, list[Assessment]]
    """Early warning scores by patient."""
    clients: Clients
    rows: int = 0

    async def write(self, *readings: Reading, waveforms: tuple[Waveform, ...] = ()) -> None:
        """Store readings, and let the hub know of them as the line does."""
        self.rows += 1
        batch = Batch(1, NOW, list(readings), list(waveforms), [], [], [], [])
        await self.store.write([(self.rows, batch)])
        for one in readings:
            record = self.records.setdefault(
                (one.site, one.device), Device(one.site, one.device, "icu", "native", 1.0)
            )
            record.state = "online"
            for name in [*one.values, *(one.exceptions or ())]:
                latest = record.latest.setdefault(name, Latest(name))
                if one.time_ns >= latest.time_ns:
                    latest.time_ns = one.time_ns

    def forget(self) -> None:
        """As after a restart long ago: the running hub knows nothing of its devices."""
        self.records.clear()

    async def admit(self, name: str, bed: str, since_ns: int = NOW - 60 * MINUTE, mrn: str = "12345") -> str:
        """Add a patient and put them into a bed."""
        who = await self.registry.add_patient(name, [Identifier(mrn, MRN)], date(1950, 2, 3))
        await self.registry.admit(who, "main", bed, since_ns)
        return who

    async def alarm(self, event: str = "start", number: int = 1, **changes) -> None:
        """Record an alarm event and wait until it is told."""
        from msgspec.structs import replace

        alarm = Alarm(
            f"al-{number}",
            "physiological",
            "high",
            "limit_low",
            "main",
            "mon-1",
            NOW - MINUTE,
            "absent" if event == "end" else "present",
            "SpO2 low",
            "spo2",
            82.0,
            90.0,
        )
        patient = changes.pop("of", None)
        alarm = replace(alarm, patient=patient, **changes)
        told = self.log.record(event, NOW, alarm, ward="icu", bed="icu-01", patient=patient)  # type: ignore[arg-type]
        for _ in range(5000):
            if self.log.last_sequence >= told.sequence:
                return
            await asyncio.sleep(0.001)
        raise AssertionError("the event was never told")

    async def client(self, role: str = "it", name: str = "ehr") -> httpx.AsyncClient:
        """Return a client of the interface with a token of a role."""
        secret = await self.tokens.create(f"{name}-{role}", role)
        return self.http(secret)

    def http(self, secret: str | None = None) -> httpx.AsyncClient:
        """Return a client with this token."""
        transport = httpx.ASGITransport(self.api, client=("192.0.2.7", 40000), raise_app_exceptions=False)
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(transport=transport, base_url="http://hub/fhir", headers=headers)


def vitals(seq: int, time_ns: int, device: str = "mon-1", exceptions=None, channel="observations", **values):
    """Return a reading."""
    values = values or {"heart_rate": 60.0 + seq % 40, "spo2": 97.0, "respiratory_rate": 14.0}
    at_ns = time_ns // 1_000_000 * 1_000_000 + seq % 1_000_000
    return Reading("main", device, channel, at_ns, 0, at_ns + 50_000_000, seq, values, exceptions)


@contextlib.asynccontextmanager
async def fhir_hub(
    folder: Path, ward: dict | None = None, *, public_url: str | None = None
) -> AsyncIterator[FhirHub]:
    """Run everything that stands behind the interface."""
    async with contextlib.AsyncExitStack() as stack:
        url = f"sqlite:///{folder / 'registry.sqlite'}"
        clock = Clock()
        registry = Registry(url, lambda: clock.ns)
        tokens = Tokens(url, lambda: clock.ns)
        clients = Clients(url)
        log = EventLog(Records(folder / "alarms.sqlite"))
        journal = Journal(folder / "journal.sqlite")
        store = DuckDBStore(folder / "series.duckdb")
        ledger = Ledger(folder / "fhir.sqlite")
        for part in (registry, tokens, clients, log, journal, store):
            await part.start()
            stack.push_async_callback(part.stop)
        ward_file = parse(ward or WARD, "ward.toml")
        await registry.seed(ward_file)
        places = Places(ward_file)
        live = Live(registry)
        stream = Stream("hub-1", log, lambda scope: live.snapshot(clock.ns, scope))
        stream.start()
        stack.callback(stream.close)

        async def replay(ids):
            return Replayed(accepted=len(ids), rejected=0, gone=0)

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
            health=lambda: [Part("broker", "ok", "messages arrive", required=True)],
            now_ns=lambda: clock.ns,
        )
        records: dict[tuple[str, str], Device] = {}
        assessments: dict[str, list[Assessment]] = {}

        async def scores(patient: str, start_ns: int, end_ns: int) -> list[Assessment]:
            return [one for one in assessments.get(patient, []) if start_ns <= one.time_ns < end_ns]

        fhir = FhirServices(
            hub="hub-1",
            registry=registry,
            store=store,
            log=log,
            tokens=tokens,
            ledger=ledger,
            find_device=lambda site, device: records.get((site, device)),
            now_ns=lambda: clock.ns,
            exports=folder / "exports",
            clients=clients,
            public_url=public_url,
            scores=scores,
            places=lambda: places,
        )
        interface = FhirInterface(fhir, journal)
        await interface.start()
        stack.push_async_callback(interface.stop)
        api = create_api(services, fhir=interface)
        yield FhirHub(
            api,
            services,
            fhir,
            registry,
            store,
            log,
            tokens,
            ledger,
            records,
            clock,
            interface,
            journal,
            assessments,
            clients,
        )

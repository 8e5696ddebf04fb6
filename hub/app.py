"""The composition root: builds each part once, starts them in order, runs them in one TaskGroup."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from hub.alarms.alarm import AlarmEvent
from hub.alarms.limits import DEFAULTS, load_limits
from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.selftest import came_out
from hub.alarms.system import AlarmSystem
from hub.api.app import create_api
from hub.api.fhir.forgetting import Forgetting
from hub.api.fhir.interface import FhirInterface, PushedWard
from hub.api.fhir.ledger import Ledger
from hub.api.fhir.services import FhirServices
from hub.api.server import ApiServer
from hub.api.services import Services
from hub.api.sign_in import EitherSecret, SignIn
from hub.brokers import Brokers
from hub.canary import AREA
from hub.clients import Clients
from hub.clock import SECOND_NS, hub_clock
from hub.datadir import DataDir
from hub.device import Device
from hub.devices.births import Births
from hub.devices.births_file import BirthsFile
from hub.devices.catalog import Catalog
from hub.devices.decode import Refused
from hub.devices.sparkplug import rebirth_command
from hub.diagnostics import Diagnostics
from hub.duplicates import Duplicates
from hub.housekeeping import Housekeeping
from hub.intake import Intake, Taken, empty_batch
from hub.journal import Journal, JournalState
from hub.knocks import Knocks
from hub.live import Live
from hub.location.event import location_frame
from hub.location.places import Places
from hub.location.tracker import Moved
from hub.location.whereabouts import Whereabout, Whereabouts
from hub.measures import measure
from hub.metrics import Metrics
from hub.newcomers import Newcomers
from hub.openid.settings import OpenIdSettings
from hub.pipeline import Line
from hub.replay import Replay
from hub.restart import Resumption
from hub.roster import Provisioned, Roster
from hub.sessions import Sessions
from hub.settings import MB, DuckDbSettings, FhirPushSettings, InfluxStoreSettings, Settings, StoreSettings
from hub.stores.drain import Drain, DrainState
from hub.stores.duckdb import DuckDBStore
from hub.stores.fhir import NO_WARD, FhirStore, Ward
from hub.stores.influx import InfluxStore
from hub.stores.store import Store, StoreUnavailable
from hub.stores.victoria import VictoriaStore
from hub.stream import Stream
from hub.tokens import Tokens
from hub.upkeep import Upkeep
from hub.users import Users
from hub.ward.registry import Registry
from hub.ward.wardfile import WardFile

if TYPE_CHECKING:
    from hub.openid.provider import Provider

log = logging.getLogger(__name__)

_JOURNAL_OK = "readings are journalled and acknowledged"
_STORE_OK = "readings arrive there"
_STALE_S = 10.0
"""No value is stale sooner, however often its device measures; of real time, in which messages travel."""
_SPOT_S = {
    "nibp_systolic": 3600.0,
    "nibp_diastolic": 3600.0,
    "nibp_mean": 3600.0,
    "glucose_capillary": 6 * 3600.0,
    "gcs_total": 6 * 3600.0,
    "acvpu": 6 * 3600.0,
}
"""What is measured now and then stays current for so long; its age is always shown with it."""
_FOLLOW_S = 2.0
"""How soon the registry sees what another process changed."""


class Hub:
    """Every part of one hub, and how they hang together."""

    def __init__(self, settings: Settings, data: DataDir) -> None:
        self.settings = settings
        self.now_ns = hub_clock(settings.clock.time_scale, settings.epoch_ns)
        now_ns = self.now_ns
        self.births = Births()
        self.births_file = BirthsFile(data.births, self.births)
        self.catalog = Catalog.load(
            settings.definitions, site=settings.site, zone=settings.time_zone, births=self.births
        )
        self.registry = Registry(settings.registry_url, now_ns)
        self.tokens = Tokens(settings.registry_url)
        self.clients = Clients(settings.registry_url)
        self.users = Users(settings.registry_url, now_ns)
        self.sessions = Sessions(settings.registry_url, now_ns)
        self.log = EventLog(Records(data.alarms))
        self.journal = Journal(
            data.journal,
            quota_bytes=settings.journal.quota_mb * MB,
            raw_bytes=settings.journal.raw_mb * MB,
            rejects_days=settings.journal.rejects_days,
            rejects_bytes=settings.journal.rejects_mb * MB,
            on_state=self._journal_changed,
        )
        self.ledger = Ledger(data.fhir)
        self.provider = None if settings.oidc is None else open_provider(settings.oidc)
        pushed = PushedWard(self.registry, self.log, self.ledger)
        self.stores = [open_store(store, data, pushed) for store in settings.stores]
        self.drains = [
            Drain(self.journal, store, on_state=partial(self._store_changed, store.name))
            for store in self.stores
        ]
        self.metrics = Metrics()
        self.own = Device(settings.site, settings.id, AREA, "hub", 0.0)
        """Bears the alarm conditions of the hub itself."""
        self.alarms = AlarmSystem(
            event_log=self.log,
            book=data.alarm_book,
            scores=data.scores,
            rules=load_limits(settings.limits_file or DEFAULTS),
            places=self.registry,
            device_of=self._device_of,
            listening=lambda: self.brokers.listening,
            own=self.own,
            notify=settings.notify,
            publish=self._publish,
            now_ns=now_ns,
            clock_limits=settings.clock.limits(),
        )
        self.conditions = self.alarms.conditions
        self.live = Live(
            self.registry, stale_floor_s=_STALE_S * settings.clock.time_scale, stale_after_s=_SPOT_S
        )
        self.stream = Stream(settings.id, self.log, lambda scope: self.live.snapshot(now_ns(), scope))
        self.duplicates = Duplicates()
        self.newcomers = Newcomers(self.registry.knock_all, self._is_canary)
        self.knocks = Knocks(self.registry.device, self.newcomers.named)
        self.roster = Roster(
            self.catalog,
            max_devices=settings.line.max_devices,
            provisioned=self._provisioned,
            on_new=self.newcomers.heard,
        )
        self.backlog_ns = round(settings.line.backlog_s * settings.clock.time_scale * SECOND_NS)
        self.whereabouts = Whereabouts(
            placement=self.registry.placement,
            find=self.roster.find,
            recall=self.roster.recall,
            conditions=self.conditions,
            tell=self._moved,
            backlog_ns=self.backlog_ns,
            tuning=settings.location.tuning(),
        )
        self.line = Line(
            intake=Intake(self.roster, self.duplicates, settings.clock.limits(), self.knocks),
            roster=self.roster,
            conditions=self.conditions,
            live=self.live,
            journal=self.journal,
            tell_rejects=self._rejected,
            on_told=self.metrics.told_after.observe,
            on_durable=self._durable,
            now_ns=now_ns,
            backlog_ns=self.backlog_ns,
            max_pending=settings.line.max_pending,
            keep_raw=settings.journal.raw_mb > 0,
            whereabouts=self.whereabouts,
        )
        self.upkeep = Upkeep(self.own, self.conditions, now_ns)
        self.upkeep.expect("journal", "ok", _JOURNAL_OK, required=True)
        for store in self.stores:
            self.upkeep.expect(store.name, "ok", _STORE_OK)
        self.diagnostics = Diagnostics(self._publish)
        self.brokers = Brokers(
            settings.broker_addresses,
            settings.embedded_broker.of_broker(data.broker, self.catalog.filters),
            hub=settings.id,
            site=settings.site,
            filters=self.catalog.filters,
            line=self.line,
            roster=self.roster,
            upkeep=self.upkeep,
            now_ns=now_ns,
        )
        self.housekeeping = Housekeeping(
            journal=self.journal,
            stores=self.stores,
            log=self.log,
            registry=self.registry,
            retention=settings.retention,
            now_ns=now_ns,
            others=[Forgetting(self.registry, self.ledger), self.alarms.scores],
            scores=self.alarms.scores,
        )
        measure(self)
        self.fhir = FhirInterface(
            self._fhir_services(data), self.journal, accesses_days=settings.retention.accesses_days
        )
        self.api = ApiServer(
            create_api(self._services(), self._sign_in(), self.fhir),
            self.stream,
            self.live,
            host=settings.http.host,
            port=settings.http.port,
            cert_file=settings.http.cert_file,
            key_file=settings.http.key_file,
        )

    @property
    def url(self) -> str:
        """Where the API is served."""
        http = self.settings.http
        scheme = "https" if http.cert_file else "http"
        host = f"[{http.host}]" if ":" in http.host else http.host
        return f"{scheme}://{host}:{self.api.port}"

    def _services(self) -> Services:
        replay = Replay(
            self.journal,
            self.catalog,
            self.settings.clock.limits(),
            provisioned=self._provisioned,
            offset_of=self._offset_of,
            knocks=self.knocks,
        )
        return Services(
            hub=self.settings.id,
            registry=self.registry,
            live=self.live,
            stream=self.stream,
            log=self.log,
            store=self.stores[0],
            rejects=self.journal,
            replay=replay.by_ids,
            tokens=EitherSecret(self.tokens, self.sessions),
            metrics=self.metrics,
            health=self.upkeep.parts,
            now_ns=self.now_ns,
            alarms=self.alarms,
            whereabouts=self.whereabouts,
            knocks=self.knocks,
            fitting=self.catalog.fitting,
            definitions=tuple(self.catalog.definitions),
        )

    def _sign_in(self) -> SignIn:
        return SignIn(self.users, self.sessions, self.provider, self.ledger.record)

    def _fhir_services(self, data: DataDir) -> FhirServices:
        return FhirServices(
            hub=self.settings.id,
            registry=self.registry,
            store=self.stores[0],
            log=self.log,
            tokens=EitherSecret(self.tokens, self.sessions),
            ledger=self.ledger,
            find_device=self.roster.find,
            now_ns=self.now_ns,
            exports=data.exports,
            clients=self.clients,
            public_url=self.settings.http.public_url,
            scores=self.alarms.scores.of,
            places=lambda: self.whereabouts.places,
        )

    @asynccontextmanager
    async def started(self, ward: WardFile | None) -> AsyncIterator[None]:
        """Start everything that can fail, in order, and undo it in reverse. Its errors say what to change."""
        async with AsyncExitStack() as stack:
            stack.callback(gc.unfreeze)  # what `run` froze: else it is missed, and complained of, at exit
            await self.registry.start()
            stack.push_async_callback(self.registry.stop)
            await self.tokens.start()
            stack.push_async_callback(self.tokens.stop)
            await self.clients.start()
            stack.push_async_callback(self.clients.stop)
            await self.users.start()
            stack.push_async_callback(self.users.stop)
            await self.sessions.start()
            stack.push_async_callback(self.sessions.stop)
            if ward is not None:
                await self.registry.seed(ward)
                self.whereabouts.settle(Places(ward))
            self.births_file.load()
            stack.push_async_callback(self.births_file.save)
            await self.log.start()
            stack.push_async_callback(self.log.stop)
            await self.journal.start()
            stack.push_async_callback(self.journal.stop)
            await self.fhir.start()
            stack.push_async_callback(self.fhir.stop)
            for drain in self.drains:
                await self._start_store(drain)
                stack.push_async_callback(drain.store.stop)
            self.stream.start()
            self.log.listen_to_canaries(self._canary_told)
            await self.alarms.start()
            stack.push_async_callback(self.alarms.stop)
            await self._resume()
            await self.brokers.start(stack, session_expected=self.journal.newest > 0)
            await self.api.start()
            stack.push_async_callback(self.api.stop)
            yield

    async def run(self) -> None:
        """Serve until cancelled; to be called within `started`."""
        _keep_responsive()
        async with asyncio.TaskGroup() as tasks:
            for run in self.brokers.runs():
                tasks.create_task(run)
            for drain in self.drains:
                tasks.create_task(drain.run())
            tasks.create_task(self.live.run(self.stream, self.now_ns))
            tasks.create_task(self.housekeeping.run())
            tasks.create_task(self.alarms.run())
            tasks.create_task(self.fhir.run())
            if self.provider is not None:
                tasks.create_task(self.provider.greet())
            tasks.create_task(self.newcomers.run())
            tasks.create_task(self.births_file.run())
            tasks.create_task(_every(1.0, self._tick))
            tasks.create_task(_every(_FOLLOW_S, self._follow_registry))

    async def _start_store(self, drain: Drain) -> None:
        store = drain.store
        try:
            await store.start()
        except StoreUnavailable as error:
            if isinstance(store, DuckDBStore):
                raise  # nobody else holds its file: what is wrong now stays wrong
            log.warning(
                "%s can't be reached (%s); readings spool in the journal until it can", store.name, error
            )
            drain.state = "down"  # it will tell when it is back
            self._store_changed(store.name, "down", str(error))

    async def _resume(self) -> None:
        resumption = Resumption(
            roster=self.roster,
            duplicates=self.duplicates,
            conditions=self.conditions,
            live=self.live,
            own=self.own,
            now_ns=self.now_ns(),
            backlog_ns=self.backlog_ns,
        )
        resumption.alarms(event.alarm for event in self.log.present())
        after = await self.journal.start_of_recent(self.journal.keep_recent)
        while rows := await self.journal.read(after):
            for _, batch in rows:
                resumption.batch(batch)
                self.whereabouts.resume(batch)
            after = rows[-1][0]
        self.whereabouts.resumed(self.now_ns())

    # What the line and the parts call.

    def _device_of(self, site: str, device_id: str) -> Device | None:
        return self.roster.find(site, device_id)

    def _publish(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        return self.brokers.publish(topic, payload, retain)

    def _provisioned(self, site: str, device_id: str) -> Provisioned:
        entry = self.registry.device(site, device_id)
        return ("", "", 0.0) if entry is None else (entry.area, entry.definition, entry.interval_s or 0.0)

    def _offset_of(self, device: Device) -> int:
        known = self.roster.find(device.site, device.id)
        return known.clock.offset_ns if known else 0

    def _canary_told(self, event: AlarmEvent, _recorded: bool) -> None:
        """Send a heartbeat when the alarms of canaries at every broker came out."""
        brokers = self.brokers
        if came_out(event) and brokers.crossed(event.alarm.device, event.alarm.changed_ns):
            self.stream.heartbeat(self.now_ns(), storing=brokers.storing, lag_s=brokers.lag_s)

    def _is_canary(self, device: Device) -> bool:
        return self.brokers.is_canary(device)

    def _moved(self, moved: Moved, about: Whereabout) -> None:
        zone = self.whereabouts.places.zone(moved.zone)
        frame = location_frame(moved, about, None if zone is None else zone.name)
        wards = {about.ward, zone.ward if zone is not None else None} - {None} or {None}
        for scope in self.stream.scopes():
            if any(scope.takes(moved.site, ward) for ward in wards):
                self.stream.publish(frame, scope)

    def _rejected(self, device: Device, topic: str, refused: list[Refused]) -> None:
        self.diagnostics.add(device, topic, refused)

    def _durable(self, taken: Taken) -> None:
        for rejection in taken.batch.rejections:
            self.metrics.rejected(rejection.reason)
        self.brokers.durable(taken)

    # States of the parts.

    def _journal_changed(self, state: JournalState, reason: str) -> None:
        meaning = (
            _JOURNAL_OK
            if state == "ok"
            else ("nothing new is acknowledged, the broker keeps it; alarms go on by the live lane")
        )
        self.upkeep.note(
            "journal",
            "ok" if state == "ok" else "down",
            meaning,
            condition="journal_full",
            text=f"Storage has stopped: {reason}",
            priority="high",
        )

    def _store_changed(self, name: str, state: DrainState, reason: str) -> None:
        meaning = _STORE_OK if state == "ok" else "readings wait in the journal; none is lost"
        self.upkeep.note(
            name,
            "ok" if state == "ok" else "degraded",
            meaning,
            condition=f"store_unreachable_{name}",
            text=f"Store {name} is unreachable: {reason}",
        )

    # What time brings.

    async def _tick(self) -> None:
        now_ns = self.now_ns()
        self.registry.refresh(now_ns)
        self.brokers.tick()
        self.alarms.tick(self.brokers.devices())
        self.diagnostics.flush(now_ns)
        self.whereabouts.tick(now_ns)
        self._keep_whereabouts(now_ns)
        for group, node in self.births.requests(now_ns):
            self._publish(f"spBv1.0/{group}/NCMD/{node}", rebirth_command(now_ns // 1_000_000))

    def _keep_whereabouts(self, now_ns: int) -> None:
        """Journal changes of zone that no message takes along: those that time brought."""
        if self.journal.state == "ok" and (changes := self.whereabouts.unkept()):
            batch = empty_batch(now_ns)
            batch.zone_changes = changes
            self.journal.append(batch)

    async def _follow_registry(self) -> None:
        await self.registry.follow()
        await self.tokens.follow()
        await self.clients.follow()
        await self.sessions.follow()


def _keep_responsive() -> None:
    """Keep the loop's thread from waiting for others: the journal's, the stores', the garbage collector's.

    Measured with the loop busy: a commit took 609 ms (p99) at Python's switch interval of 5 ms, 188 ms at
    this one; a full collection with 10,000 devices stopped the loop for 97 ms, and 10 ms once what was built
    at the start is out of its sight.
    """
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _every(seconds: float, action: Callable[[], Awaitable[None]]) -> None:
    while True:
        await action()
        await asyncio.sleep(seconds)


def open_provider(settings: OpenIdSettings) -> "Provider":
    """Return the OpenID provider; nothing is asked of it yet."""
    from hub.openid.provider import Provider  # 20 MB: only a hub that has one pays for it

    return Provider(settings)


def open_store(settings: StoreSettings, data: DataDir, ward: Ward = NO_WARD) -> Store:
    """Return the store that the settings name; nothing is opened yet. `ward` is for one that sends."""
    if isinstance(settings, DuckDbSettings):
        return DuckDBStore(data.series, memory_mb=settings.memory_mb)
    if isinstance(settings, InfluxStoreSettings):
        return InfluxStore(settings)
    if isinstance(settings, FhirPushSettings):
        return FhirStore(settings, ward)
    return VictoriaStore(settings)

"""The FHIR interface of a running hub: its ledger, subscriptions and exports, started and ended together."""

import asyncio
import logging
from collections.abc import Sequence

from hub.alarms.alarm import AlarmEvent
from hub.alarms.log import EventLog, LogUnavailable
from hub.api.fhir import directory
from hub.api.fhir.errors import FhirError
from hub.api.fhir.exports import Exports
from hub.api.fhir.ledger import Ledger, LedgerUnavailable
from hub.api.fhir.services import FhirServices, Registry
from hub.api.fhir.subscriptions import Subscriptions
from hub.api.fhir.whose import Whose
from hub.fhir.observation import Attribution
from hub.fhir.patient import system_uri
from hub.journal import Journal
from hub.ward.model import Identifier

log = logging.getLogger(__name__)

_HOUR_S = 3600.0
_DAY_NS = 86_400_000_000_000
_PUSHED = "pushed-alarms"


class PushedWard:
    """What the store that sends must know (hub.stores.fhir.Ward), from registry, ledger and event log."""

    def __init__(self, registry: Registry, event_log: EventLog, ledger: Ledger) -> None:
        self._registry = registry
        self._log = event_log
        self._ledger = ledger
        self._whose = Whose(registry)
        self._version = -1
        self._identifiers: dict[str, Sequence[Identifier]] = {}

    async def attribution(self, site: str, device: str, time_ns: int) -> Attribution:
        """Return whose a reading is."""
        return await self._whose.at(site, device, time_ns)

    async def identifiers(self, patient: str) -> Sequence[Identifier]:
        """Return a patient's numbers, their systems as URIs."""
        if self._registry.version != self._version:
            self._version = self._registry.version
            self._identifiers.clear()
        if patient not in self._identifiers:
            try:
                entry = await directory.patient(self._registry, patient)
            except FhirError:
                return ()
            self._identifiers[patient] = [
                Identifier(one.value, system_uri(one.system)) for one in entry.identifiers
            ]
        return self._identifiers[patient]

    async def alarms(self, limit: int) -> list[AlarmEvent]:
        """Return the next alarm events that are not yet sent; none that was before the first call."""
        events = self._log
        after = await self._ledger.position(_PUSHED)
        if after is None or after > events.last_sequence:
            await self._ledger.advance(_PUSHED, events.last_sequence)
            return []
        try:
            return [told.event for told in await events.after(after, limit)]
        except LogUnavailable:
            return []

    async def sent(self, event: AlarmEvent) -> None:
        """Note that alarm events up to this one are sent."""
        await self._ledger.advance(_PUSHED, event.sequence)


class FhirInterface:
    """What is behind /fhir. `start` before the API serves, `run` beside it, `stop` after it."""

    def __init__(self, services: FhirServices, journal: Journal, *, accesses_days: float = 3650) -> None:
        self.services = services
        self.subscriptions = Subscriptions(services, journal)
        self.exports = Exports(services)
        self._accesses_days = accesses_days

    async def start(self) -> None:
        """Open the ledger and take up the subscriptions. Raises LedgerUnavailable with what to change."""
        await self.services.ledger.start()
        self.exports.start()
        await self.subscriptions.start()

    async def run(self) -> None:
        """Deliver events and apply retention until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.subscriptions.run())
            tasks.create_task(self._expire())

    async def stop(self) -> None:
        """End exports and close the ledger."""
        await self.exports.stop()
        await self.services.ledger.stop()

    async def _expire(self) -> None:
        while True:
            try:
                before_ns = self.services.now_ns() - round(self._accesses_days * _DAY_NS)
                await self.services.ledger.expire(before_ns)
            except LedgerUnavailable as error:
                log.warning("retention of accesses waits: %s", error)
            await asyncio.sleep(_HOUR_S)

"""The FHIR interface of a running hub: its ledger, subscriptions and exports, started and ended together."""

import asyncio
import logging

from hub.api.fhir.exports import Exports
from hub.api.fhir.ledger import LedgerUnavailable
from hub.api.fhir.services import FhirServices
from hub.api.fhir.subscriptions import Subscriptions
from hub.journal import Journal

log = logging.getLogger(__name__)

_HOUR_S = 3600.0
_DAY_NS = 86_400_000_000_000


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

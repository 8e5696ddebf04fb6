"""What the hub does about its own data: retention, erasure, keeping files small."""

import asyncio
import logging
from collections.abc import Sequence

from hub.alarms.book import BookUnusable
from hub.alarms.log import EventLog
from hub.alarms.score_log import ScoreLog
from hub.api.fhir.ledger import LedgerUnavailable
from hub.clock import SECOND_NS, Now
from hub.erasure import Forgets, finish_erasures
from hub.journal import Journal
from hub.settings import RetentionSettings
from hub.stores.store import Store, StoreRefused, StoreUnavailable
from hub.ward.model import RegistryUnavailable
from hub.ward.registry import Registry

log = logging.getLogger(__name__)

TRIM_S = 10.0
FULL_S = 0.5
"""How often a full journal is trimmed: devices wait for it."""
EXPIRE_S = 3600.0
DAY_NS = 86_400 * SECOND_NS


class Housekeeping:
    """Trims the journal every few seconds, finishes erasures, and applies retention every hour."""

    def __init__(
        self,
        *,
        journal: Journal,
        stores: Sequence[Store],
        log: EventLog,
        registry: Registry,
        retention: RetentionSettings,
        now_ns: Now,
        others: Sequence[Forgets] = (),
        scores: ScoreLog | None = None,
    ) -> None:
        self._journal = journal
        self._stores = stores
        self._log = log
        self._registry = registry
        self._retention = retention
        self._now_ns = now_ns
        self._others = others
        """What keeps something of patients beside stores, journal and event log."""
        self._scores = scores

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._trim())
            tasks.create_task(self._expire())

    async def _trim(self) -> None:
        while True:
            await self._until_trim_is_due()
            await self._journal.trim(self._now_ns())
            try:
                await finish_erasures(
                    self._registry,
                    self._stores,
                    self._journal,
                    self._log,
                    draining=True,
                    others=self._others,
                )
            except (RegistryUnavailable, StoreUnavailable, LedgerUnavailable, BookUnusable) as error:
                log.debug("erasures wait: %s", error)

    async def _until_trim_is_due(self) -> None:
        """Wait for TRIM_S, or for a moment while the journal is full: then what stores have makes room."""
        waited_s = 0.0
        while waited_s < TRIM_S:
            await asyncio.sleep(FULL_S)
            waited_s += FULL_S
            if self._journal.state == "full":
                return

    async def _expire(self) -> None:
        while True:
            now_ns = self._now_ns()
            before_ns = now_ns - round(self._retention.alarms_days * DAY_NS)
            await self._log.trim(before_ns)
            await self._expire_scores(before_ns)
            for store in self._stores:
                try:
                    await store.expire(now_ns, self._retention.of_stores())
                except (StoreUnavailable, StoreRefused) as error:
                    log.warning("retention of %s waits: %s", store.name, error)
            await asyncio.sleep(EXPIRE_S)

    async def _expire_scores(self, before_ns: int) -> None:
        if self._scores is not None:
            try:
                await self._scores.expire(before_ns)
            except BookUnusable as error:
                log.warning("retention of scores waits: %s", error)

"""Erasing a patient: from every store, the journal and the event log, then from the registry, in that order.

The registry marks what is to be erased first and forgets the patient last, so an erasure that a crash or an
unreachable store cut short is finished at the next opportunity.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from hub.alarms.log import EventLog
from hub.journal import Journal
from hub.stores.store import Store, StoreUnavailable
from hub.ward.registry import Registry

log = logging.getLogger(__name__)

_PATIENCE_S = 10.0


class Forgets(Protocol):
    """Keeps something of patients beside the stores."""

    async def erase(self, patient: str) -> None:
        """Remove everything of a patient (surrogate id) for good; may be repeated."""


async def finish_erasures(
    registry: Registry,
    stores: Sequence[Store],
    journal: Journal,
    event_log: EventLog,
    *,
    draining: bool,
    others: Sequence[Forgets] = (),
) -> list[str]:
    """Carry out every erasure that was asked for; return the surrogate ids of whom was erased.

    `draining`: drains of this process are at work. `others` keep something of patients too. Raises
    RegistryUnavailable or StoreUnavailable; what is left is done when it is called again.
    """
    erased: list[str] = []
    for patient, periods in (await registry.unfinished_erasures()).items():
        for period in periods:
            where = (period.site, period.device, period.start_ns, period.end_ns)
            await journal.erase(*where)
            for store in stores:
                if draining:
                    await _wait_for_drain(journal, store)
                await store.erase(*where)
        await event_log.erase(patient)
        for other in others:
            await other.erase(patient)
        await registry.finish_erasure(patient, periods)
        erased.append(patient)
        log.info("patient %s is erased", patient)
    return erased


async def _wait_for_drain(journal: Journal, store: Store) -> None:
    """Wait until a drain holds no row that it read before the journal was erased: it would bring it back."""
    newest = journal.newest
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S + store.settle_s
    while await journal.position(store.name) < newest:
        if asyncio.get_running_loop().time() > deadline:
            raise StoreUnavailable(f"{store.name} is behind the journal; the erasure waits for it")
        await asyncio.sleep(0.1)

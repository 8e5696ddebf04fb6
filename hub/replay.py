"""Running rejects again, once their definition has been mended."""

from collections.abc import Callable, Sequence

from hub.api.services import Replayed
from hub.clock import ClockLimits
from hub.device import Device
from hub.devices.catalog import Catalog
from hub.duplicates import Duplicates
from hub.intake import Intake
from hub.journal import Journal
from hub.knocks import Knocks
from hub.model import Batch, Message
from hub.rejects import Rejected, is_cut, replayable
from hub.roster import Provisioned, Roster

PAGE = 500


class Replay:
    """Decodes rejects with the definitions of now and appends what comes of them to the journal.

    They keep the time of their first receipt, so they are stored where they belong and never alarmed. Clocks
    and duplicate windows are its own: what the line knows is left as it is; a value that was stored at
    first is known by the store.
    """

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        limits: ClockLimits,
        *,
        provisioned: Callable[[str, str], Provisioned],
        offset_of: Callable[[Device], int],
        knocks: Knocks | None = None,
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._limits = limits
        self._provisioned = provisioned
        self._offset_of = offset_of
        self._knocks = knocks

    async def by_ids(self, ids: Sequence[int]) -> Replayed:
        """Run these rejects again; what is accepted leaves the rejects once it is durable."""
        found = await self._journal.rejected_by_ids(ids)
        accepted = await self._run(found)
        return Replayed(len(accepted), len(found) - len(accepted), len(set(ids)) - len(found))

    async def all(self, *, device: str | None = None) -> Replayed:
        """Run every reject again, of one device or of all."""
        accepted = rejected = 0
        before: int | None = None
        while found := await self._journal.rejected(device=device, limit=PAGE, before=before):
            before = found[-1].id
            done = await self._run(sorted(found, key=lambda one: one.id))
            accepted += len(done)
            rejected += len(found) - len(done)
        return Replayed(accepted, rejected, 0)

    async def _run(self, found: Sequence[Rejected]) -> list[int]:
        roster = Roster(
            self._catalog,
            max_devices=len(found) + 1,
            provisioned=self._provisioned,
            on_new=lambda _device, _topic: None,
        )
        intake = Intake(roster, Duplicates(), self._limits, self._knocks)
        accepted: list[int] = []
        for one in found:
            batch = self._again(intake, roster, one)
            if batch is not None:
                await self._journal.append(batch)
                accepted.append(one.id)
        await self._journal.delete_rejected(accepted)
        return accepted

    def _again(self, intake: Intake, roster: Roster, one: Rejected) -> Batch | None:
        """Return what a reject holds now; None while something of it still can't be used."""
        rejection = one.rejection
        refused_by_store = replayable(rejection)
        if refused_by_store is not None:
            return refused_by_store
        if is_cut(rejection):
            return None
        endpoint = roster.endpoint(rejection.topic)
        if endpoint is not None and endpoint.device is not None:
            endpoint.device.clock.offset_ns = self._offset_of(endpoint.device)
        taken = intake.take([Message(rejection.topic, rejection.payload)], rejection.received_ns)
        return None if taken.batch.rejections else taken.batch

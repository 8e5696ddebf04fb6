"""What the FHIR interface forgets of a patient who is erased."""

from hub.api.fhir.ledger import Ledger
from hub.api.fhir.services import Registry


class Forgetting:
    """Removes a patient from the ledger; to be asked before the registry forgets the stays."""

    def __init__(self, registry: Registry, ledger: Ledger) -> None:
        self._registry = registry
        self._ledger = ledger

    async def erase(self, patient: str) -> None:
        """Remove the numbers of the patient's visits, and what events of subscriptions hold.

        That somebody looked at the patient stays recorded, by the surrogate id alone.
        """
        stays = await self._registry.stays(patient)
        await self._ledger.erase(patient, [f"stay-{stay.id}" for stay in stays])

"""How what one process holds in memory follows what the others change in the database."""

import logging
from collections.abc import Awaitable, Callable

from hub.ward.database import Database, revision
from hub.ward.model import RegistryUnavailable

logger = logging.getLogger(__name__)

Step = Callable[[], Awaitable[None]]


class Following:
    """Follows one part of the database. While that can't be reached, what is in memory goes on."""

    def __init__(self, database: Database, part: str, what: str) -> None:
        self._database = database
        self._part = part
        self._what = what
        self._reachable = True

    async def follow(self, known: int, load: Step, *due: Step) -> None:
        """Load where the part is at another revision than the known one, then do what else is due.

        Call it every second or so. It never raises RegistryUnavailable: an outage is logged once each way.
        """
        try:
            if await self._database.run(self._stored) != known:
                await load()
            for step in due:
                await step()
        except RegistryUnavailable as error:
            if self._reachable:
                logger.warning("%s unreachable, going on with what is in memory: %s", self._what, error)
            self._reachable = False
        else:
            if not self._reachable:
                logger.warning("%s reachable again", self._what)
            self._reachable = True

    def _stored(self) -> int:
        with self._database.reading() as session:
            return revision(session, self._part)

"""The live lane: how fresh readings reach the alarms while the persistent session is behind."""

import asyncio
import logging
from collections.abc import Callable

from hub.ending import end
from hub.mqtt.session import Session

log = logging.getLogger(__name__)

BEHIND_S = 2.0
"""The lane opens when no canary younger than this has become durable, and whenever nothing is known."""
CAUGHT_UP_S = 1.5
_STEADY_S = 3.0
"""It closes when the session has been caught up for so long."""
_LOOK_S = 0.1


class LiveLane:
    """Opens a clean-session QoS 0 subscription while one broker's persistent session is behind, or may be.

    The persistent session delivers oldest first, so an hour's backlog or a stuck journal would blind the
    alarms. What the lane delivers feeds live values and alarms only; the same messages come again on the
    persistent session to be kept, and the alarms ignore what is not newer than what they have seen.
    """

    def __init__(self, name: str, behind_s: Callable[[], float], open_session: Callable[[], Session]) -> None:
        self.name = name
        self._behind_s = behind_s
        self._open_session = open_session
        self._lane: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the lane is open now."""
        return self._lane is not None

    async def run(self) -> None:
        """Watch the session until cancelled."""
        loop = asyncio.get_running_loop()
        caught_up_since_s: float | None = None
        try:
            while True:
                behind_s = self._behind_s()
                if behind_s > CAUGHT_UP_S:
                    caught_up_since_s = None
                elif caught_up_since_s is None:
                    caught_up_since_s = loop.time()
                if self._lane is None and behind_s > BEHIND_S:
                    log.info("%s: the session is behind, or may be; the live lane opens", self.name)
                    self._lane = asyncio.create_task(self._open_session().run())
                elif (
                    self._lane is not None
                    and caught_up_since_s is not None
                    and loop.time() - caught_up_since_s > _STEADY_S
                ):
                    log.info("%s: the session has caught up; the live lane closes", self.name)
                    await self._close()
                await asyncio.sleep(_LOOK_S)
        finally:
            await self._close()

    async def _close(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            await end(lane)

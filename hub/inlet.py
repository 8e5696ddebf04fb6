"""One broker: the session that feeds the line, its live lane, and what the hub publishes there."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf

from hub.canary import INTERVAL_S, Canary
from hub.lanes import BEHIND_S, LiveLane
from hub.mqtt.address import BrokerUnreachable
from hub.mqtt.publisher import Publisher
from hub.mqtt.session import BrokerAddress, Deliver, Session, State

log = logging.getLogger(__name__)

STUCK_S = 0.3
"""A session that is paused for so long waits for a disk, and not only for its turn."""


def client_id(name: str) -> str:
    """Return the client id of a hub's session: the broker keeps messages for it while the hub is away."""
    return f"wardhub-{name}"


class Inlet:
    """Connects the line to one broker.

    The client id at the broker follows from the hub's id: the broker keeps messages for it while the hub is
    away.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        *,
        name: str,
        site: str,
        filters: Sequence[str],
        receive: Deliver,
        receive_live: Deliver,
        session_expected: bool,
        before_connect: Callable[[], Awaitable[None]] | None,
        on_state: Callable[[State, str], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.name = name
        self.broker = broker
        self._now_ns = now_ns
        self._before_connect = before_connect
        self._connected_s = 0.0
        """When the session last began (monotonic s)."""
        self.publisher = Publisher(broker, client_id=f"wardhub-{name}-out")
        # A publisher of its own: canaries never wait behind what devices are told.
        self._canary_publisher = Publisher(broker, client_id=f"wardhub-{name}-canary", limit=4)
        self.canary = Canary(site, name, self._canary_publisher.publish)
        self.crossed = False
        """Whether the alarm of a canary came out since the last heartbeat."""
        self.listening_since_ns: int | None = None
        """Hub time since which the session stands; None while it doesn't."""
        self.session = Session(
            broker,
            client_id=client_id(name),
            filters=filters,
            deliver=receive,
            session_expected=session_expected,
            before_connect=before_connect,
            on_state=self._changed,
            now_ns=now_ns,
        )
        self._on_state = on_state
        self.lane = LiveLane(
            f"broker {broker}",
            self.behind_s,
            lambda: Session(
                broker,
                client_id=f"wardhub-{name}-live",
                filters=filters,
                deliver=receive_live,
                clean_session=True,
                qos=0,
                now_ns=now_ns,
            ),
        )

    async def try_out(self) -> None:
        """Connect once under another name. Raises BrokerUnreachable or BrokerRefused.

        Not as ourselves: what the broker then sent to the waiting session would come again only after the
        broker's acknowledge timeout.
        """
        await Session(
            self.broker,
            client_id=f"wardhub-{self.name}-try",
            filters=self.session.filters,
            deliver=lambda _: None,
            clean_session=True,
            before_connect=self._before_connect,
        ).connect_once()

    async def run(self) -> None:
        """Serve the broker until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.session.run())
            tasks.create_task(self.publisher.run())
            tasks.create_task(self._canary_publisher.run())
            tasks.create_task(self.lane.run())
            tasks.create_task(self._send_canaries())
            tasks.create_task(self._settle())

    def behind_s(self) -> float:
        """Return how far the persistent session, or its acknowledging, is behind.

        Infinite while nothing is known of it: since it connected no canary has crossed, and nobody can tell
        what had been waiting at the broker; or the line takes nothing from it, for longer than it takes to
        let a full burst through.
        """
        durable_s = self.canary.durable_s
        if durable_s is None or durable_s < self._connected_s or self.session.paused_s > STUCK_S:
            return inf
        return asyncio.get_running_loop().time() - durable_s

    @property
    def storing(self) -> bool:
        """Whether canaries are journalled and acknowledged in time."""
        return self.behind_s() <= BEHIND_S

    async def _settle(self) -> None:
        """Bound what is in flight of the subscriptions too that this session has made for the first time."""
        if self._before_connect is None:
            return
        while True:
            with suppress(TimeoutError):
                await self.session.wait_connected(60)
                break
        try:
            await self._before_connect()
        except BrokerUnreachable as error:
            log.warning("%s: %s", self.broker, error)  # done when the session connects the next time

    async def _send_canaries(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.canary.send(self._now_ns(), loop.time())
            await asyncio.sleep(INTERVAL_S)

    def _changed(self, state: str, text: str) -> None:
        connected = state in ("connected", "session-lost")
        if not connected:
            self.listening_since_ns = None
        elif self.listening_since_ns is None:
            self.listening_since_ns = self._now_ns()
            self._connected_s = asyncio.get_running_loop().time()
        self._on_state(state, text)  # type: ignore[arg-type] # the session tells a State

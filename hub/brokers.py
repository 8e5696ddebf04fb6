"""The brokers that a hub reads from: the embedded one or those of the settings, an inlet each."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from hub.alarms.silence import Listening, came_through
from hub.canary import AREA, Canary
from hub.clock import Now
from hub.device import Device
from hub.inlet import Inlet, client_id
from hub.intake import Taken
from hub.mqtt.broker import EmbeddedBroker
from hub.mqtt.broker_settings import BrokerSettings
from hub.mqtt.session import BrokerAddress, BrokerUnreachable, Session, State
from hub.pipeline import Line
from hub.roster import Roster
from hub.upkeep import Upkeep

log = logging.getLogger(__name__)

_OWN_AREAS = ("", AREA)
"""Of canaries; the empty one until their first reading."""


class Brokers:
    """Reaches every broker, and knows whether what devices publish there comes through."""

    def __init__(
        self,
        addresses: Sequence[BrokerAddress],
        embedded: BrokerSettings,
        *,
        hub: str,
        site: str,
        filters: Sequence[str],
        line: Line,
        roster: Roster,
        upkeep: Upkeep,
        now_ns: Now,
    ) -> None:
        """`embedded` is what the hub's own broker is told, which is started where there are no addresses."""
        self.embedded: EmbeddedBroker | None = None
        """The hub's own broker, where no other is set."""
        if not addresses:
            self.embedded = EmbeddedBroker(embedded, on_state=_tell_embedded)
        self.inlets: list[Inlet] = []
        """One a broker; made by `start`."""
        self._addresses = tuple(addresses)
        self._settings = embedded
        self._hub = hub
        self._site = site
        self._filters = filters
        self._line = line
        self._roster = roster
        self._upkeep = upkeep
        self._now_ns = now_ns
        self._lost: dict[str, str] = {}
        """By name of a broker that can't be reached: why."""

    async def start(self, stack: AsyncExitStack, *, session_expected: bool) -> None:
        """Make the inlets. Raises BrokerUnreachable if no broker can be had, BrokerRefused if one refuses."""
        addresses = self._addresses
        if self.embedded is not None:
            await self._subscribe_first()
            await self.embedded.start()
            stack.push_async_callback(self.embedded.stop)
            addresses = (self.embedded.address,)
        for number, address in enumerate(addresses):
            self.inlets.append(self._inlet(number, address, session_expected))
        unreachable: list[str] = []
        for inlet in self.inlets:
            try:
                await inlet.try_out()
            except BrokerUnreachable as error:
                unreachable.append(str(error))
                self._changed(inlet.name, str(inlet.broker), "disconnected", str(error))
        if len(unreachable) == len(self.inlets):
            raise BrokerUnreachable("\n".join(unreachable))

    def runs(self) -> list[Coroutine[None, None, None]]:
        """Return what must run: the embedded broker's watch and every inlet."""
        watches: list[Coroutine[None, None, None]] = [] if self.embedded is None else [self.embedded.run()]
        return [*watches, *(inlet.run() for inlet in self.inlets)]

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        """Publish at every broker: nobody knows where a device listens. False where a queue is full."""
        taken = [inlet.publisher.publish(topic, payload, retain=retain) for inlet in self.inlets]
        return all(taken)

    def durable(self, taken: Taken) -> None:
        """Note the canaries among readings that are durable and acknowledged."""
        for canary in self._canaries():
            device = self._roster.find(canary.site, canary.name)
            if device is not None and device in taken.devices:
                for owner, reading in zip(taken.devices, taken.batch.readings, strict=True):
                    if owner is device:
                        canary.durable(reading.time_ns)

    def crossed(self, device: str, time_ns: int) -> bool:
        """Note that the alarm of a canary came out; tell whether every broker's has since this was last so.

        `time_ns` is the determination time of its reading.
        """
        monotonic_s = asyncio.get_running_loop().time()
        for inlet in self.inlets:
            if inlet.name == device and inlet.canary.told(time_ns, monotonic_s):
                inlet.crossed = True
        if not self.inlets or not all(inlet.crossed for inlet in self.inlets):
            return False
        for inlet in self.inlets:
            inlet.crossed = False
        return True

    @property
    def lag_s(self) -> float:
        """From sending to telling, of the slowest of the newest canaries."""
        return max(canary.lag_s for canary in self._canaries())

    @property
    def storing(self) -> bool:
        """Whether what comes from every broker is journalled and acknowledged in time."""
        return all(inlet.storing for inlet in self.inlets)

    @property
    def listening(self) -> Listening:
        """By broker: since when it can bring messages. Only so long may its devices be blamed for silence."""
        since = {inlet.name: inlet.listening_since_ns for inlet in self.inlets}
        known = [since_ns for since_ns in since.values() if since_ns is not None]
        return {**since, "": max(known) if known and len(known) == len(since) else None}

    def devices(self) -> list[Device]:
        """Return every device that was heard but the canaries, which are nobody's."""
        # Asked every second of ten thousand: the area tells nearly all of them apart without a call.
        return [one for one in self._roster.known() if one.area not in _OWN_AREAS or not self.is_canary(one)]

    @property
    def heard(self) -> int:
        """How many devices were heard, but the canaries; far less work than counting `devices`."""
        canaries = sum(self._roster.find(one.site, one.name) is not None for one in self._canaries())
        return len(self._roster) - canaries

    def is_canary(self, device: Device) -> bool:
        """Tell whether a device is the hub's own canary at one of the brokers."""
        return device.area in _OWN_AREAS and any(device.id == inlet.name for inlet in self.inlets)

    def tick(self) -> None:
        """Let the alarm of each lost broker list the devices that it takes with it as of now."""
        for inlet in self.inlets:
            if (lost := self._lost.get(inlet.name)) is not None:
                self._note_lost(inlet.name, lost)

    def _canaries(self) -> Iterable[Canary]:
        return (inlet.canary for inlet in self.inlets)

    async def _subscribe_first(self) -> None:
        """Make the hub's session at a new embedded broker before any device can reach it.

        A broker keeps messages for a session that it knows. Without this, what a quick device published
        between the broker's first start and the hub's first subscription would be acknowledged and kept for
        nobody.
        """
        if self._settings.data_dir.joinpath("jetstream").exists():
            return
        unseen = self._settings.model_copy(update={"port": 0, "host": "127.0.0.1"})
        async with EmbeddedBroker(unseen) as broker:
            await Session(
                broker.address, client_id=client_id(self._hub), filters=self._filters, deliver=lambda _: None
            ).connect_once()

    def _inlet(self, number: int, address: BrokerAddress, session_expected: bool) -> Inlet:
        name = self._hub if number == 0 else f"{self._hub}-{number + 1}"
        self._upkeep.expect(f"broker-{name}", "down", "not connected yet", required=number == 0)
        return Inlet(
            address,
            name=name,
            site=self._site,
            filters=self._filters,
            receive=partial(self._line.receive, broker=name),
            receive_live=partial(self._line.receive_live, broker=name),
            session_expected=session_expected,
            before_connect=self.embedded.release_unacknowledged if self.embedded else None,
            on_state=partial(self._changed, name, str(address)),
            now_ns=self._now_ns,
        )

    def _changed(self, name: str, address: str, state: State, text: str) -> None:
        if state == "session-lost":
            log.error("%s: %s", address, text)
        if state in ("connected", "session-lost"):
            self._lost.pop(name, None)
            self._upkeep.note(
                f"broker-{name}", "ok", "devices reach the hub", condition="broker_lost", part=name
            )
        else:
            self._lost[name] = f"Broker {address}: {text}"
            self._note_lost(name, self._lost[name])

    def _note_lost(self, name: str, text: str) -> None:
        names = {name} if len(self._addresses) > 1 else {name, ""}
        listed = self._upkeep.devices("broker_lost", name)
        devices = came_through(self.devices(), names, self._site, listed)
        taken = f", and with it {len(devices)} devices" if devices else ""
        self._upkeep.note(
            f"broker-{name}",
            "down",
            "no device reaches the hub through it",
            condition="broker_lost",
            text=f"{text}{taken}",
            priority="high",
            part=name,
            devices=devices,
        )


def _tell_embedded(state: str, text: str) -> None:
    (log.info if state == "running" else log.error)("%s", text)

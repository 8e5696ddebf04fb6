"""What the API needs of the hub, as interfaces: it never touches the line itself."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from fastapi import Depends
from msgspec import Struct
from starlette.requests import HTTPConnection

from hub.alarms.log import EventLog
from hub.alarms.system import AlarmSystem
from hub.knocks import Knocks
from hub.live import Live
from hub.location.places import Places
from hub.location.whereabouts import Whereabouts
from hub.metrics import Metrics
from hub.rejects import Rejected
from hub.stores.store import Store
from hub.stream import Stream
from hub.ward.model import (
    BedEntry,
    DeviceEntry,
    DevicePeriod,
    PatientEntry,
    Period,
    Placement,
    WardEntry,
)

PartState = Literal["ok", "degraded", "down"]


class Part(Struct, frozen=True):
    """How one part of the hub is."""

    name: str
    state: PartState
    meaning: str
    """What that means for whoever relies on the hub, one sentence. No addresses, no patient data."""
    required: bool = False
    """Whether the line can't work without it."""


class Replayed(Struct, frozen=True):
    """What came of a replay of rejects."""

    accepted: int
    rejected: int
    """Rejected again: the definition does not take them yet."""
    gone: int
    """No longer kept."""


class Token(Protocol):
    """Who asks."""

    @property
    def name(self) -> str:
        """What the token was made for."""

    @property
    def role(self) -> str:
        """One of hub.tokens.ROLES."""


class TokenCheck(Protocol):
    """Checks secrets, in memory."""

    def verify(self, secret: str, now_ns: int) -> Token | None:
        """Return whose secret it is; None for an unknown, expired or revoked one."""


class WardRegistry(Protocol):
    """Who is where: hub.ward.registry.Registry. Awaited calls may raise RegistryUnavailable."""

    def placement(self, site: str, device: str) -> Placement:
        """Tell where a device is now."""

    def beds(self) -> list[BedEntry]:
        """Return every bed as of now."""

    def device(self, site: str, device: str) -> DeviceEntry | None:
        """Return how a device is provisioned; None for one that was never heard of."""

    async def wards(self) -> list[WardEntry]:
        """Return every ward with its beds."""

    async def devices(self) -> list[DeviceEntry]:
        """Return every device."""

    async def add_device(
        self,
        site: str,
        device: str,
        definition: str,
        area: str,
        interval_s: float | None = None,
        gateway: str | None = None,
    ) -> None:
        """Register a device, or change how it is registered. Raises RegistryRefused."""

    async def place_device(
        self,
        site: str,
        device: str,
        at_ns: int,
        *,
        bed: str | None = None,
        patient: str | None = None,
        until_ns: int | None = None,
    ) -> int:
        """Put a device at a bed or on a patient. Raises NotInRegistry, RegistryRefused."""

    async def unassigned(self) -> list[DeviceEntry]:
        """Return the devices that nobody has placed."""

    async def patients(self) -> list[PatientEntry]:
        """Return every patient."""

    async def patient(self, patient: str) -> PatientEntry:
        """Return one patient. Raises NotInRegistry."""

    async def placements(self, site: str, device: str, start_ns: int, end_ns: int) -> list[Period]:
        """Return where one device was and whose its readings are, within [start_ns, end_ns)."""

    async def device_periods_of_patient(self, patient: str, start_ns: int, end_ns: int) -> list[DevicePeriod]:
        """Return when which devices read this patient, within [start_ns, end_ns)."""

    async def device_periods_of_bed(
        self, site: str, bed: str, start_ns: int, end_ns: int
    ) -> list[DevicePeriod]:
        """Return when which devices were at this bed, within [start_ns, end_ns)."""


class RejectList(Protocol):
    """What could not be used: hub.journal.Journal."""

    async def rejected(
        self,
        *,
        site: str | None = None,
        device: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Rejected]:
        """Return rejections, newest first."""


@dataclass(frozen=True)
class Services:
    """Everything that the API stands on."""

    hub: str
    registry: WardRegistry
    live: Live
    stream: Stream
    log: EventLog
    store: Store
    """The one that trends and readings are read from."""
    rejects: RejectList
    replay: Callable[[Sequence[int]], Awaitable[Replayed]]
    """Runs rejects through the line again, by id."""
    tokens: TokenCheck
    metrics: Metrics
    health: Callable[[], Sequence[Part]]
    now_ns: Callable[[], int]
    """The hub's clock."""
    knocks: Knocks | None = None
    """What unregistered devices last sent."""
    fitting: Callable[[bytes], list[str]] = lambda _payload: []
    """Returns the definitions that make something of a payload."""
    definitions: Collection[str] = ()
    """Names of the definitions that there are."""
    whereabouts: Whereabouts | None = None
    """Where beacons are; None where nobody follows them."""
    alarms: AlarmSystem | None = None
    """What people do about alarms; None where only looking is possible."""

    @property
    def places(self) -> Places:
        """The zones of the ward file; none where nobody follows beacons."""
        return Places() if self.whereabouts is None else self.whereabouts.places


async def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that a request came to."""
    services: Services = connection.app.state.services
    return services


Hub = Annotated[Services, Depends(services_of)]
"""The parameter by which a route gets the services."""

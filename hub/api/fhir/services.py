"""What the FHIR interface needs of the hub, as interfaces."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from hub.alarms.early_warning import Assessment
from hub.alarms.log import EventLog
from hub.api.fhir.absence import Absence
from hub.api.fhir.ledger import Ledger
from hub.api.fhir.whose import Whose
from hub.api.services import TokenCheck
from hub.device import Device
from hub.location.places import Places
from hub.stores.store import Store
from hub.ward.model import (
    BedEntry,
    DeviceEntry,
    DevicePeriod,
    PatientEntry,
    Period,
    Placement,
    StayEntry,
    WardEntry,
)
from hub.ward.transaction import Changes

if TYPE_CHECKING:
    from hub.api.fhir.assertion import Assertions, ClientCheck

T = TypeVar("T")


class Registry(Protocol):
    """Who is where: hub.ward.registry.Registry, whose docstrings say what each promises."""

    @property
    def version(self) -> int: ...  # noqa: D102 - as in Registry, here and below
    def placement(self, site: str, device: str) -> Placement: ...  # noqa: D102
    def beds(self) -> list[BedEntry]: ...  # noqa: D102
    def device(self, site: str, device: str) -> DeviceEntry | None: ...  # noqa: D102
    async def wards(self) -> list[WardEntry]: ...  # noqa: D102
    async def devices(self) -> list[DeviceEntry]: ...  # noqa: D102
    async def patients(self) -> list[PatientEntry]: ...  # noqa: D102
    async def patient(self, patient: str) -> PatientEntry: ...  # noqa: D102
    async def stays(self, patient: str) -> list[StayEntry]: ...  # noqa: D102
    async def all_stays(self) -> list[StayEntry]: ...  # noqa: D102
    async def placements(  # noqa: D102
        self, site: str, device: str, start_ns: int, end_ns: int
    ) -> list[Period]: ...
    async def device_periods_of_patient(  # noqa: D102
        self, patient: str, start_ns: int, end_ns: int
    ) -> list[DevicePeriod]: ...
    async def together(self, work: Callable[[Changes], T]) -> T: ...  # noqa: D102


async def _no_scores(_patient: str, _start_ns: int, _end_ns: int) -> Sequence[Assessment]:
    return ()


@dataclass(frozen=True)
class FhirServices:
    """Everything that the FHIR interface stands on."""

    hub: str
    registry: Registry
    store: Store
    """The one that readings are read from."""
    log: EventLog
    tokens: TokenCheck
    ledger: Ledger
    find_device: Callable[[str, str], Device | None]
    """Returns what the running hub knows of a device, by site and id."""
    now_ns: Callable[[], int]
    exports: Path
    """Folder for the files of $export."""
    clients: "ClientCheck"
    """Programs that sign."""
    public_url: str | None = None
    """Where clients find the hub, where it is told; assertions name it, and links begin with it."""
    key: bytes = field(default_factory=lambda: token_bytes(32))
    """Signs access tokens and cursors; a new one each start."""
    scores: Callable[[str, int, int], Awaitable[Sequence[Assessment]]] = _no_scores
    """Returns the early warning scores of a patient within [start, end) ns, oldest first."""
    places: Callable[[], Places] = Places
    """Returns the zones of the ward file; none by default."""
    device_keys: dict[str, DeviceEntry] = field(default_factory=dict)
    """By the key in Observation ids: the devices as `directory` last saw them."""
    absence: Absence = field(default_factory=Absence)

    @cached_property
    def whose(self) -> Whose:
        """Tells whose a device's readings were."""
        return Whose(self.registry)

    @cached_property
    def assertions(self) -> "Assertions":
        """Checks what clients sign."""
        from hub.api.fhir.assertion import Assertions  # 20 MB: only a hub whose clients sign pays for it

        return Assertions(self.clients, self.ledger.spend)


async def services_of(connection: HTTPConnection) -> FhirServices:
    """Return the services of the application that a request came to."""
    services: FhirServices = connection.app.state.fhir
    return services


Fhir = Annotated[FhirServices, Depends(services_of)]
"""The parameter by which a route gets the services."""

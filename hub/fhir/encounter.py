"""A patient's stays as Encounters: one for as long as the patient lies in one bed after another."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from hub.fhir.ids import resource_id
from hub.fhir.location import bed_id
from hub.fhir.resource import Resource, reference, versioned
from hub.fhir.times import instant
from hub.ward.model import FOREVER, Identifier, StayEntry

_CLASS = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "code": "IMP",
    "display": "inpatient encounter",
}


class Chain(Struct, frozen=True):
    """Stays of one patient that follow each other without a gap."""

    stays: tuple[StayEntry, ...]

    @property
    def id(self) -> str:
        """The Encounter's id: that of the first stay."""
        return f"stay-{self.stays[0].id}"

    @property
    def patient(self) -> str:
        """Surrogate id."""
        return self.stays[0].patient

    @property
    def start_ns(self) -> int:
        """When the first stay begins."""
        return self.stays[0].from_ns

    @property
    def end_ns(self) -> int | None:
        """When the last stay ends; None while it is open."""
        return self.stays[-1].until_ns

    def holds(self, time_ns: int) -> bool:
        """Tell whether a time is within."""
        return self.start_ns <= time_ns < (FOREVER if self.end_ns is None else self.end_ns)


def chains(stays: Iterable[StayEntry]) -> list[Chain]:
    """Return a patient's stays as chains, oldest first."""
    found: list[list[StayEntry]] = []
    for stay in sorted(stays, key=lambda stay: stay.from_ns):
        if found and found[-1][-1].until_ns == stay.from_ns:
            found[-1].append(stay)
        else:
            found.append([stay])
    return [Chain(tuple(one)) for one in found]


def encounter(chain: Chain, now_ns: int, identifiers: Sequence[Identifier] = ()) -> Resource:
    """Render a chain of stays as of now."""
    resource: Resource = {"resourceType": "Encounter", "id": chain.id}
    if identifiers:
        resource["identifier"] = [{"system": one.system, "value": one.value} for one in identifiers]
    resource |= {
        "status": _status(chain, now_ns),
        "class": _CLASS,
        "subject": reference("Patient", resource_id(chain.patient)),
        "period": _period(chain.start_ns, chain.end_ns),
        "location": [
            {
                "location": reference("Location", bed_id(stay.site, stay.bed)),
                "status": _location_status(stay, now_ns),
                "period": _period(stay.from_ns, stay.until_ns),
            }
            for stay in chain.stays
        ],
    }
    return versioned(resource)


def _status(chain: Chain, now_ns: int) -> str:
    if chain.start_ns > now_ns:
        return "planned"
    return "in-progress" if chain.holds(now_ns) else "finished"


def _location_status(stay: StayEntry, now_ns: int) -> str:
    if stay.from_ns > now_ns:
        return "planned"
    return "active" if stay.until_ns is None or now_ns < stay.until_ns else "completed"


def _period(start_ns: int, end_ns: int | None) -> dict[str, str]:
    period = {"start": instant(start_ns)}
    return period if end_ns is None else {**period, "end": instant(end_ns)}

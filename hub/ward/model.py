"""The frozen values that the registry hands out.

Times are nanoseconds since 1970-01-01T00:00:00Z. A period is half open: it holds its start and not its
end, so that at a change of patients each instant belongs to one of them.
"""

from datetime import date
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

AgeGroup = Literal["adult", "paediatric", "neonatal"]
PeriodKind = Literal["stay", "placement"]
"""stay: a patient in a bed. placement: a device at a bed, or on a patient."""

FOREVER = 2**63 - 1
"""The end of a period that is still open, where it is compared."""


class RegistryUnavailable(Exception):  # noqa: N818 - a state of the database, not a fault of the caller
    """The database can't be reached, opened or migrated. The message says what to change; retry later."""


class RegistryRefused(ValueError):  # noqa: N818 - a refusal, told to who asked
    """What was asked for contradicts what the registry holds. The message says what; it names no patient."""


class PlacementConflict(RegistryRefused):
    """Two periods would overlap: a device in two places, two patients in a bed, a patient in two beds."""


class NotInRegistry(LookupError):  # noqa: N818
    """The registry holds no such site, ward, bed, device, patient or period."""


class Placement(Struct, frozen=True, gc=False):
    """Where a device is and whose readings it takes, as of now."""

    ward: str | None
    bed: str | None
    patient: str | None
    """Surrogate id."""
    age_group: str = "adult"
    """Of the patient; adult where there is none."""
    since_ns: int = 0
    """Since when the device reads this patient, or nobody, here. Older readings are another's."""


UNPLACED = Placement(None, None, None)


class BedEntry(Struct, frozen=True, gc=False):
    """A bed, who is in it and what is connected, as of now."""

    site: str
    ward: str
    bed: str
    patient: str | None
    devices: tuple[str, ...] = ()
    """At the bed or on its patient, sorted."""


class WardEntry(Struct, frozen=True):
    """A ward and its beds."""

    site: str
    id: str
    name: str
    area: str
    """Routing hint that the topics of its devices carry."""
    beds: tuple[str, ...]


class DeviceEntry(Struct, frozen=True, gc=False):
    """A device as provisioned or, where `registered` is false, as it knocked."""

    site: str
    id: str
    definition: str
    area: str
    interval_s: float | None
    """Seconds between two observations; None leaves it to the definition and the device."""
    gateway: str | None
    """The only device under which payloads may name this one."""
    registered: bool
    first_seen_ns: int | None
    last_topic: str | None


class Identifier(Struct, frozen=True):
    """A number by which others know a patient, for instance a medical record number."""

    value: str
    system: str = "mrn"

    def __repr__(self) -> str:
        return f"Identifier(system={self.system!r})"


class PatientEntry(Struct, frozen=True, kw_only=True):
    """A patient. Its representation shows the surrogate id alone, so that a log can't leak more."""

    id: str
    name: str
    identifiers: tuple[Identifier, ...] = ()
    birth_date: date | None = None
    age_group: AgeGroup = "adult"
    pregnant: bool = False
    spo2_scale: int = 1
    """NEWS2 SpO2 scale: 2 only where a clinician prescribed it."""
    site: str | None = None
    ward: str | None = None
    bed: str | None = None
    """Where the patient is now."""
    erasing: bool = False

    def __repr__(self) -> str:
        return f"PatientEntry(id={self.id!r})"


class PatientChange(Struct, frozen=True, kw_only=True):
    """What of a patient to change; what is unset stays."""

    name: str | UnsetType = UNSET
    identifiers: tuple[Identifier, ...] | UnsetType = UNSET
    birth_date: date | UnsetType | None = UNSET
    age_group: AgeGroup | UnsetType = UNSET
    pregnant: bool | UnsetType = UNSET
    spo2_scale: int | UnsetType = UNSET

    def __repr__(self) -> str:
        return "PatientChange()"


class StayEntry(Struct, frozen=True, gc=False):
    """A patient's period in a bed."""

    id: int
    site: str
    bed: str
    patient: str
    from_ns: int
    until_ns: int | None


class PlacementEntry(Struct, frozen=True, gc=False):
    """A device's period at a bed or, where `patient` is given, on a patient."""

    id: int
    site: str
    device: str
    bed: str | None
    patient: str | None
    from_ns: int
    until_ns: int | None


class PeriodChange(Struct, frozen=True, kw_only=True):
    """What of a period to correct; what is unset stays."""

    bed: str | UnsetType | None = UNSET
    patient: str | UnsetType | None = UNSET
    from_ns: int | UnsetType = UNSET
    until_ns: int | UnsetType | None = UNSET


class Correction(Struct, frozen=True):
    """One recorded correction of a period: who, when, why, and what it was and became."""

    kind: PeriodKind
    period: int
    at_ns: int
    who: str
    why: str
    before: tuple[str | None, str | None, int, int | None]
    """Bed, patient, from, until."""
    after: tuple[str | None, str | None, int, int | None] | None
    """None where the period was struck out."""


class Period(Struct, frozen=True, gc=False):
    """Where one device was, and whose readings it took, for a while."""

    start_ns: int
    end_ns: int
    bed: str | None
    patient: str | None


class DevicePeriod(Struct, frozen=True, gc=False, order=True):
    """While this device's readings were one patient's, or one bed's."""

    site: str
    device: str
    start_ns: int
    end_ns: int

"""Whether the places that a change of limits, an assignment or a trial names are there."""

from hub.api.problems import Fault, Problem, invalid
from hub.api.services import Services


async def has_ward(hub: Services, site: str, ward: str | None) -> bool:
    """Tell whether there is such a ward; without one, such a site. Raises RegistryUnavailable."""
    if any(bed.site == site and ward in (None, bed.ward) for bed in hub.registry.beds()):
        return True
    return any(one.site == site and ward in (None, one.id) for one in await hub.registry.wards())


async def expect_place(
    hub: Services, site: str, ward: str | None, *, bed: str | None = None, member: str = "ward"
) -> None:
    """Refuse a body whose site, ward or bed isn't there; `member` holds the ward. Raises Problem."""
    if not await has_ward(hub, site, None):
        raise unfit("site", f"there is no site {site}")
    if not await has_ward(hub, site, ward):
        raise unfit(member, f"there is no ward {ward} at {site}")
    there = {(one.bed, one.ward) for one in hub.registry.beds() if one.site == site}
    if bed is not None and (bed, ward) not in there:
        raise unfit("bed", f"there is no bed {bed} in ward {ward}")


async def expect_asked_place(hub: Services, site: str, ward: str | None) -> None:
    """Refuse a query that names a site or ward that isn't there. Raises Problem."""
    if not await has_ward(hub, site, None):
        raise invalid("site", f"there is no site {site}")
    if not await has_ward(hub, site, ward):
        raise invalid("ward", f"there is no ward {ward} at {site}")


def unfit(member: str, detail: str) -> Problem:
    """Return the problem of one member of a body."""
    return Problem(422, "invalid-request", f"{member}: {detail}", [Fault(detail, pointer=f"/{member}")])

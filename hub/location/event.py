"""The stream's `location` event, in the shape of `contracts/stream-location.schema.json`."""

from datetime import datetime

from msgspec import Struct, json

from hub.events import frame, moment
from hub.location.tracker import Moved
from hub.location.whereabouts import Whereabout
from hub.location.zone import Change


class ToldLocation(Struct, frozen=True):
    """One change of one beacon, as clients see it."""

    time: datetime
    change: Change
    site: str
    beacon: str
    kind: str
    zone: str | None
    zone_name: str | None
    ward: str | None
    patient: str | None


def location_frame(moved: Moved, about: Whereabout, zone_name: str | None) -> bytes:
    """Render a change."""
    told = ToldLocation(
        time=moment(moved.time_ns),
        change=moved.change,
        site=moved.site,
        beacon=moved.beacon,
        kind=about.owner.kind,
        zone=moved.zone,
        zone_name=zone_name,
        ward=about.ward,
        patient=about.patient,
    )
    return frame(b"location", json.encode(told))

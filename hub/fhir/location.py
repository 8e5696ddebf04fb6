"""Sites, wards, rooms and beds as Locations."""

from hub.fhir.ids import resource_id
from hub.fhir.resource import Resource, reference, versioned
from hub.ward.model import BedEntry, WardEntry

IDENTIFIER = "urn:wardhub:location"
_TYPE = "http://terminology.hl7.org/CodeSystem/location-physical-type"
_STATUS = "http://terminology.hl7.org/CodeSystem/v2-0116"


def site_id(site: str) -> str:
    """Return the id of a site's Location."""
    return resource_id("site", site)


def ward_id(site: str, ward: str) -> str:
    """Return the id of a ward's Location."""
    return resource_id("ward", site, ward)


def bed_id(site: str, bed: str) -> str:
    """Return the id of a bed's Location."""
    return resource_id("bed", site, bed)


def room_id(site: str, zone: str) -> str:
    """Return the id of a zone's Location."""
    return resource_id("room", site, zone)


def site(name: str) -> Resource:
    """Render a site."""
    return _location(site_id(name), name, name, ("si", "Site"))


def ward(entry: WardEntry) -> Resource:
    """Render a ward."""
    resource = _location(
        ward_id(entry.site, entry.id), f"{entry.site}/{entry.id}", entry.name or entry.id, ("wa", "Ward")
    )
    return versioned({**resource, "partOf": reference("Location", site_id(entry.site))})


def room(site: str, zone: str, name: str, in_ward: str | None) -> Resource:
    """Render a zone of the ward file: a room, a corridor, or a way out of the wards."""
    # No ward or bed has a colon in its id: what a zone is called may be a bed's name as well.
    resource = _location(room_id(site, zone), f"{site}/zone:{zone}", name, ("ro", "Room"))
    whole = site_id(site) if in_ward is None else ward_id(site, in_ward)
    return versioned({**resource, "partOf": reference("Location", whole)})


def bed(entry: BedEntry) -> Resource:
    """Render a bed, occupied or not."""
    resource = _location(
        bed_id(entry.site, entry.bed), f"{entry.site}/{entry.ward}/{entry.bed}", entry.bed, ("bd", "Bed")
    )
    code, display = ("O", "Occupied") if entry.patient else ("U", "Unoccupied")
    resource["operationalStatus"] = {"system": _STATUS, "code": code, "display": display}
    return versioned({**resource, "partOf": reference("Location", ward_id(entry.site, entry.ward))})


def _location(location_id: str, identifier: str, name: str, kind: tuple[str, str]) -> Resource:
    coding = {"system": _TYPE, "code": kind[0], "display": kind[1]}
    return versioned(
        {
            "resourceType": "Location",
            "id": location_id,
            "identifier": [{"system": IDENTIFIER, "value": identifier}],
            "status": "active",
            "name": name,
            "mode": "instance",
            "physicalType": {"coding": [coding]},
        }
    )

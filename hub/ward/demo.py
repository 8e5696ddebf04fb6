"""A made-up ward of any size."""

from collections.abc import Iterator, Sequence

from hub.ward.wardfile import Beacon, Device, Patient, Site, Ward, WardFile, Zone

_WARDS = (("icu", "Intensive care"), ("hdu", "High dependency"), ("med", "Medicine"), ("surg", "Surgery"))
_BEDS_PER_WARD = 6
_WITH_BEACONS = ("icu", "hdu")
_ASSETS = ("Ultrasound", "Bladder scanner", "Wheelchair")
_BESIDE = (("store", "Store", False), ("station", "Nurse station", False), ("exit", "Way out", True))
"""What lies across the corridor: id, name, whether a patient there is an alarm."""


def demo_ward(beds: int) -> WardFile:
    """Return a site `main` of that many beds, six a ward.

    Each bed has a monitor `mon-BED`, a pump `pump-BED` and a made-up patient; every second bed of intensive
    care has a ventilator `vent-BED` and the pumps `pump-BED-2` and `pump-BED-3`. The first two wards have
    rooms with gateways `gw-WARD-ROOM`, and beacons of patients and assets. `demo.toml` is what eight beds
    give.
    """
    wards: list[Ward] = []
    devices: list[Device] = []
    patients: list[Patient] = []
    zones: list[Zone] = []
    beacons: list[Beacon] = []
    for first in range(0, beds, _BEDS_PER_WARD):
        number = first // _BEDS_PER_WARD
        ward, name = _WARDS[number] if number < len(_WARDS) else (f"w{number + 1:02d}", f"Ward {number + 1}")
        ids = [f"{ward}-{bed + 1:02d}" for bed in range(min(_BEDS_PER_WARD, beds - first))]
        wards.append(Ward(id=ward, name=name, beds=ids))
        for index, bed in enumerate(ids):
            serial = first + index + 1
            devices.append(Device(id=f"mon-{bed}", definition="native", bed=bed, interval_s=1))
            devices.append(Device(id=f"pump-{bed}", definition="native", bed=bed, interval_s=5))
            if ward == "icu" and index % 2 == 0:
                devices.append(Device(id=f"vent-{bed}", definition="native", bed=bed, interval_s=1))
                syringes = (f"pump-{bed}-2", f"pump-{bed}-3")
                devices += [Device(id=name, definition="native", bed=bed, interval_s=5) for name in syringes]
            if ward in _WITH_BEACONS:
                beacons.append(Beacon(id=f"AC233F{serial:06X}", kind="patient"))
                devices.append(Device(id=beacons[-1].id, definition="native", bed=bed))
            patients.append(
                Patient(name=f"Demo Patient {serial:02d}", identifier=f"DEMO-{serial:04d}", bed=bed)
            )
        if ward in _WITH_BEACONS:
            zones += _zones(ward, ids)
            beacons += [
                Beacon(id=f"AC233FA0{number:02X}{asset:02X}", kind="asset", name=name, ward=ward)
                for asset, name in enumerate(_ASSETS)
            ]
    devices += [
        Device(id=gateway, definition="native", area=zone.ward, interval_s=2)
        for zone in zones
        for gateway in zone.gateways
    ]
    return WardFile(
        site=Site(id="main", name="Demo hospital"),
        ward=wards,
        device=devices,
        patient=patients,
        zone=zones,
        beacon=beacons,
    )


def _zones(ward: str, beds: list[str]) -> Iterator[Zone]:
    """Draw rooms of two beds on one side of a corridor, and what else there is on the other."""
    rooms = [beds[first : first + 2] for first in range(0, len(beds), 2)]
    length = max(6.0 * len(rooms), 12.0)
    width = length / len(rooms)
    for number, two in enumerate(rooms):
        at = (number * width, 0.0, width, 5.0)
        yield _zone(ward, f"room-{number + 1}", f"Room {number + 1}", at, beds=two)
    yield _zone(ward, "corridor", "Corridor", (0.0, 5.0, length, 2.5))
    width = length / len(_BESIDE)
    for number, (room, name, forbidden) in enumerate(_BESIDE):
        yield _zone(ward, room, name, (number * width, 7.5, width, 3.5), forbidden=forbidden)


def _zone(
    ward: str,
    room: str,
    name: str,
    at: tuple[float, float, float, float],
    *,
    beds: Sequence[str] = (),
    forbidden: bool = False,
) -> Zone:
    x, y, width, height = at
    return Zone(
        id=f"{ward}-{room}",
        name=name,
        ward=ward,
        beds=list(beds),
        gateways=[f"gw-{ward}-{room}"],
        forbidden=forbidden,
        x=x,
        y=y,
        width=width,
        height=height,
    )

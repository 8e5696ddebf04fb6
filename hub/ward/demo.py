"""A made-up ward of any size."""

from hub.ward.wardfile import Device, Patient, Site, Ward, WardFile

_WARDS = (("icu", "Intensive care"), ("hdu", "High dependency"), ("med", "Medicine"), ("surg", "Surgery"))
_BEDS_PER_WARD = 6


def demo_ward(beds: int) -> WardFile:
    """Return a site `main` of that many beds, six a ward.

    Each bed has a monitor `mon-BED`, a pump `pump-BED` and a made-up patient; every second bed of intensive
    care has a ventilator `vent-BED` and the pumps `pump-BED-2` and `pump-BED-3`. `demo.toml` is what eight
    beds give.
    """
    wards: list[Ward] = []
    devices: list[Device] = []
    patients: list[Patient] = []
    for first in range(0, beds, _BEDS_PER_WARD):
        number = first // _BEDS_PER_WARD
        ward, name = _WARDS[number] if number < len(_WARDS) else (f"w{number + 1:02d}", f"Ward {number + 1}")
        ids = [f"{ward}-{bed + 1:02d}" for bed in range(min(_BEDS_PER_WARD, beds - first))]
        wards.append(Ward(id=ward, name=name, beds=ids))
        for index, bed in enumerate(ids):
            devices.append(Device(id=f"mon-{bed}", definition="native", bed=bed, interval_s=1))
            devices.append(Device(id=f"pump-{bed}", definition="native", bed=bed, interval_s=5))
            if ward == "icu" and index % 2 == 0:
                devices.append(Device(id=f"vent-{bed}", definition="native", bed=bed, interval_s=1))
                syringes = (f"pump-{bed}-2", f"pump-{bed}-3")
                devices += [Device(id=name, definition="native", bed=bed, interval_s=5) for name in syringes]
            serial = first + index + 1
            patients.append(
                Patient(name=f"Demo Patient {serial:02d}", identifier=f"DEMO-{serial:04d}", bed=bed)
            )
    return WardFile(site=Site(id="main", name="Demo hospital"), ward=wards, device=devices, patient=patients)

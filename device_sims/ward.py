"""A simulated ward: beds with patients and devices, each device with a connection of its own."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from device_sims.client import DeviceClient, probe
from device_sims.clock import Clock
from device_sims.devices.device import Device, Publication
from device_sims.devices.gateway import Beacon, Gateway
from device_sims.devices.monitor import Monitor, PhilipsMonitor
from device_sims.devices.pump import SYRINGES, IomtPump, Pump
from device_sims.devices.thermometer import Thermometer
from device_sims.devices.ventilator import Ventilator
from device_sims.noise import seed_of, uniform
from device_sims.scenario import PumpPlan, Scenario, load
from device_sims.target import Target

MonitorFormat = Literal["native", "philips"]
PumpFormat = Literal["native", "iomt"]
GatewayFormat = Literal["native", "minew"]

_WARDS = ("icu", "hdu", "med", "surg")
_BEDS_PER_WARD = 6
_WITH_BEACONS = 2
_ASSETS = (
    ("store", "corridor", "room-1", "corridor"),
    ("station", "corridor", "store"),
    ("exit", "", "", ""),
)
"""Where each asset of a ward with beacons goes in turn; the wheelchair is out of reach mostly."""
_ASSET_STAYS_S = 120.0
_FAREWELL_S = 10.0

# What a ward looks like by chance: the first bed leaves its limits at once, the second soon, then mostly
# stable patients with one of the others between.
_MIX = (
    *("stable", "stable", "sepsis", "stable", "end_of_infusion", "stable", "hypovolaemia", "stable"),
    *("stable", "occlusion", "stable", "hypoglycaemia"),
)
_FIRST = (("arrhythmia", 6.0), ("opioid_respiratory_depression", 25.0))


@dataclass(frozen=True)
class Bed:
    """One bed: who lies in it and where its scenario begins."""

    ward: str
    name: str
    scenario: Scenario
    begin_s: float
    """Second of the scenario at the start of the run."""
    seed: int


@dataclass(frozen=True)
class Plan:
    """What a ward consists of."""

    site: str
    beds: list[Bed]
    monitor_format: MonitorFormat = "native"
    pump_format: PumpFormat = "native"
    waveforms: int = 0
    """How many monitors, from the first bed on, send curves."""
    nibp_s: float = 300.0
    hour: float = 12.0
    """Hour of the day at the start."""
    gateway_format: GatewayFormat = "native"
    thermometers: int = 0
    """How many beds, from the first on, have a spot-check thermometer."""
    beacons: bool = False
    """Whether the patients and assets of the first two wards have beacons, and their rooms gateways."""


@dataclass
class Station:
    """One device, its client, and its place in the ward."""

    device: Device
    client: DeviceClient
    bed: Bed


def plan_beds(count: int, seed: int, scenarios: Sequence[str] = (), lead_s: float | None = None) -> list[Bed]:
    """Fill `count` beds, six a ward, named as in the hub's demo ward (icu-01, ..., hdu-01, ...).

    Without `scenarios` the beds get a mix in which the first patient leaves the limits within six seconds.
    With them, they are dealt in turn, from their beginning, or so that their first known condition begins
    within `lead_s`.
    """
    beds = []
    for index in range(count):
        number, place = divmod(index, _BEDS_PER_WARD)
        ward = _WARDS[number] if number < len(_WARDS) else f"w{number + 1:02d}"
        name = f"{ward}-{place + 1:02d}"
        bed_seed = seed_of(seed, name)
        if scenarios:
            scenario = load(scenarios[index % len(scenarios)])
            begin = 0.0 if lead_s is None else _lead(scenario, lead_s)
        elif index < len(_FIRST):
            scenario = load(_FIRST[index][0])
            begin = _lead(scenario, _FIRST[index][1])
        else:
            scenario = load(_MIX[(index - len(_FIRST)) % len(_MIX)])
            begin = uniform(bed_seed, 1) * scenario.duration_s / 3
        beds.append(Bed(ward, name, scenario, begin, bed_seed))
    return beds


def _lead(scenario: Scenario, lead_s: float) -> float:
    """Return the second to begin at so that the first known condition has begun `lead_s` later."""
    first = min((truth.before_s for truth in scenario.truth), default=0.0)
    return max(first - lead_s, 0.0)


def build(plan: Plan) -> list[tuple[Bed, Device]]:
    """Make the devices of a ward."""
    devices: list[tuple[Bed, Device]] = []
    for index, bed in enumerate(plan.beds):
        patient = bed.scenario.patient(bed.seed)
        name = f"mon-{bed.name}"
        monitor: Device = (
            Monitor(
                plan.site,
                bed.ward,
                name,
                patient,
                hour=plan.hour,
                nibp_s=plan.nibp_s,
                waveforms=index < plan.waveforms,
            )
            if plan.monitor_format == "native"
            else PhilipsMonitor(name, patient, hour=plan.hour)
        )
        devices += [(bed, monitor), (bed, _pump(plan, bed, f"pump-{bed.name}", bed.scenario.pump))]
        if index < plan.thermometers:
            name = f"therm-{bed.name}"
            fahrenheit = index % 2 == 1  # some are set so: the unit travels with the value
            thermometer = Thermometer(
                plan.site, bed.ward, name, patient, fahrenheit=fahrenheit, hour=plan.hour
            )
            devices.append((bed, thermometer))
        if bed.ward == "icu" and bed.name[-1] in "13579":
            devices.append(
                (bed, Ventilator(plan.site, bed.ward, f"vent-{bed.name}", patient, hour=plan.hour))
            )
            for number, syringe in enumerate(SYRINGES, start=2):
                devices.append((bed, _pump(plan, bed, f"pump-{bed.name}-{number}", syringe)))
    return devices + _gateways(plan)


def _pump(plan: Plan, bed: Bed, device: str, infusion: PumpPlan) -> Device:
    if plan.pump_format == "native":
        return Pump(plan.site, bed.ward, device, infusion)
    return IomtPump(bed.ward, device, infusion)


def _beacons(plan: Plan) -> Iterator[tuple[Bed, Beacon, set[str]]]:
    """Yield the beacons with the rooms that each visits: of patients who wander, or of all and of assets."""
    for index, bed in enumerate(plan.beds):
        mac = f"AC233F{index + 1:06X}"
        ward, place = divmod(index, _BEDS_PER_WARD)
        if bed.scenario.beacon is not None:
            yield bed, Beacon(mac, bed.scenario.beacon.room), {name for _, name in bed.scenario.beacon.rooms}
        elif plan.beacons and ward < _WITH_BEACONS:
            room = f"room-{place // 2 + 1}"
            yield bed, Beacon(mac, partial(_goes, (room,))), {room}
        if plan.beacons and ward < _WITH_BEACONS and place == 0:
            for number, rooms in enumerate(_ASSETS):
                asset = Beacon(f"AC233FA0{ward:02X}{number:02X}", partial(_goes, rooms))
                yield bed, asset, {room for room in rooms if room}


def _goes(rooms: Sequence[str], t_s: float) -> str:
    return rooms[int(t_s / _ASSET_STAYS_S) % len(rooms)]


def _gateways(plan: Plan) -> list[tuple[Bed, Device]]:
    """Make one gateway for each room that a beacon visits; it hears all beacons of its ward."""
    found: dict[tuple[str, str], Bed] = {}
    by_ward: dict[str, list[Beacon]] = {}
    for bed, beacon, rooms in _beacons(plan):
        by_ward.setdefault(bed.ward, []).append(beacon)
        for room in sorted(rooms):
            found.setdefault((bed.ward, room), bed)
    return [
        (
            bed,
            Gateway(
                plan.site,
                ward,
                f"gw-{ward}-{room}",
                room,
                by_ward[ward],
                seed=bed.seed,
                minew=plan.gateway_format == "minew",
            ),
        )
        for (ward, room), bed in found.items()
    ]


class WardRun:
    """A ward at work: `run` connects every device, lets it measure for a time, and says farewell."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        clock: Clock,
        *,
        acknowledged: Callable[[str, Publication], None] | None = None,
    ) -> None:
        self._target = target
        self._clock = clock
        self._stopped = asyncio.Event()
        self._begun = 0.0
        self._first_ms = 0
        self.stations = [self._station(bed, device, acknowledged) for bed, device in build(plan)]

    def known_truth(self) -> list[dict[str, Any]]:
        """Return what must have begun by now: device, condition, parameter, by which second of the run."""
        speed = self._clock.speed
        return [
            {
                "device": f"{'mon' if truth.parameter else 'pump'}-{station.bed.name}",
                "condition": truth.condition,
                "parameter": truth.parameter,
                "by_s": round(max(truth.before_s - station.bed.begin_s, 0.0) / speed, 3),
            }
            for station in self.stations
            if isinstance(station.device, Monitor)
            for truth in station.bed.scenario.truth
            if station.bed.begin_s <= truth.before_s <= station.bed.begin_s + self.elapsed_s
        ]

    @property
    def elapsed_s(self) -> float:
        """Scenario seconds since the start."""
        return (time.monotonic() - self._begun) * self._clock.speed if self._begun else 0.0

    def stop(self) -> None:
        """End the run."""
        self._stopped.set()

    async def run(self, seconds: float) -> None:
        """Run for `seconds` of wall clock; 0: until `stop`. Raises BrokerError before anything has begun."""
        await probe(self._target)
        self._begun = time.monotonic()
        self._first_ms = self._clock.first_ms(time.time_ns() // 1_000_000)
        async with asyncio.TaskGroup() as group:
            links = [group.create_task(station.client.run()) for station in self.stations]
            work = [group.create_task(self._measure(station)) for station in self.stations]
            try:
                async with asyncio.timeout(seconds or None):
                    await self._stopped.wait()
            except TimeoutError:
                pass
            for task in work:
                task.cancel()
            await self._say_farewell()
            for task in links:
                task.cancel()

    def _station(
        self, bed: Bed, device: Device, acknowledged: Callable[[str, Publication], None] | None
    ) -> Station:
        def birth() -> list[Publication]:
            return device.birth(self._now_ms())

        def acked(publication: Publication) -> None:
            if acknowledged is not None:
                acknowledged(device.id, publication)

        client = DeviceClient(
            self._target, f"sim-{device.id}", will=device.will, birth=birth, acknowledged=acked
        )
        return Station(device, client, bed)

    async def _measure(self, station: Station) -> None:
        """Ask the device at each of its intervals; a late turn doesn't move the next one."""
        device, bed = station.device, station.bed
        # Devices don't tick in step: each has its own place within the first second.
        due = self._begun + uniform(seed_of(bed.seed, device.id), 0) * min(1.0, device.interval_s)
        while True:
            await asyncio.sleep(due - time.monotonic())
            t_s = bed.begin_s + self.elapsed_s
            if self._away(station, t_s):
                station.client.vanish()
            else:
                station.client.come_back()
                for publication in device.tick(t_s, self._now_ms()):
                    station.client.publish(publication)
            due = max(due + device.interval_s / self._clock.speed, time.monotonic())

    def _away(self, station: Station, t_s: float) -> bool:
        plan = station.bed.scenario.beacon
        if plan is None or plan.gateway_off is None or not isinstance(station.device, Gateway):
            return False
        off, on = plan.gateway_off
        return off <= t_s < on

    async def _say_farewell(self) -> None:
        now_ms = self._now_ms()
        for station in self.stations:
            for publication in station.device.farewell(now_ms):
                station.client.publish(publication)
        try:
            async with asyncio.timeout(_FAREWELL_S):
                for station in self.stations:
                    await station.client.flushed()
        except TimeoutError:
            pass  # the summary tells how many were not acknowledged

    def _now_ms(self) -> int:
        return self._first_ms + round(self.elapsed_s * 1000)

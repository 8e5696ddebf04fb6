"""Scenarios as data: how a patient and the devices at the bed change, and what is known to be true then."""

import itertools
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from device_sims.errors import InputError
from device_sims.physiology import DRIVES, Patient, Track

_FOLDER = Path(__file__).with_name("scenarios")


class Truth(Struct, frozen=True, forbid_unknown_fields=True):
    """One condition that is known to begin: what an alarm system must tell."""

    condition: str
    """limit_low, limit_high, or a technical condition such as occlusion."""
    after_s: float
    before_s: float
    """It begins between the two, whatever the patient's seed."""
    parameter: str | None = None
    limit: float | None = None


class PumpPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """What an infusion pump at the bed is set to and what befalls it."""

    rate_ml_h: float = 80.0
    volume_ml: float = 500.0
    occlusion_s: float | None = None
    """When the line is kinked."""
    drug: str = "Ringer's lactate"


class BeaconPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the patient's beacon is."""

    rooms: list[tuple[float, str]]
    """From which second on in which room."""
    gateway_off: tuple[float, float] | None = None
    """From when to when the gateway of the first room is gone."""

    def room(self, t_s: float) -> str:
        """Return the room at one time."""
        return next((name for at, name in reversed(self.rooms) if at <= t_s), self.rooms[0][1])


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """One scenario file."""

    title: str
    summary: str
    duration_s: float
    age_years: float
    truth: list[Truth]
    drives: dict[str, list[tuple[float, float]]] = {}
    pump: PumpPlan = PumpPlan()
    beacon: BeaconPlan | None = None
    sleep_apnoea: bool = False
    name: str = ""

    def patient(self, seed: int) -> Patient:
        """Make the patient of this scenario with a seed of its own."""
        drives: dict[str, Track] = {name: tuple(points) for name, points in self.drives.items()}
        return Patient(seed, self.age_years, self.sleep_apnoea, drives)


def names() -> list[str]:
    """Return the scenarios that come with the package."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load(name: str) -> Scenario:
    """Load a scenario by name, or a file of one's own by its path ending in .toml.

    Raises InputError naming file and key.
    """
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"scenario {name} can't be read: {error.strerror}") from None
        return parse(Path(name).stem, text)
    if name not in names():
        raise InputError(f"no scenario {name}; there are {', '.join(names())}, or give a .toml file")
    return parse(name, (_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Scenario:
    """Read one scenario. Raises InputError."""
    try:
        document: dict[str, Any] = {**tomllib.loads(text), "name": name}
        scenario = msgspec.convert(document, Scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"scenario {name}: {error}") from None
    for drive, points in scenario.drives.items():
        if drive not in DRIVES:
            raise InputError(f"scenario {name}: no drive {drive}; there are {', '.join(sorted(DRIVES))}")
        times = [at for at, _ in points]
        if not points or any(b <= a for a, b in itertools.pairwise(times)):
            raise InputError(f"scenario {name}: drives.{drive} needs points whose seconds rise")
    if any(truth.before_s < truth.after_s for truth in scenario.truth):
        raise InputError(f"scenario {name}: a truth has before_s ahead of after_s")
    if scenario.beacon is not None and not scenario.beacon.rooms:
        raise InputError(f"scenario {name}: beacon.rooms is empty; give [[0, 'room-1']]")
    return scenario

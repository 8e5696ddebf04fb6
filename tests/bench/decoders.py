"""What decoding costs: each definition on its usual message, and location a sighting."""

import timeit
from pathlib import Path
from time import process_time

from hub.devices.catalog import Catalog
from hub.golden import folders
from hub.location.tracker import Tracker
from hub.model import Sighting

CASES = Path(__file__).parents[1] / "cases"
BEACONS = 5_000
SIGHTINGS_A_SECOND = 4
ROUNDS = 6
SECOND_NS = 1_000_000_000


async def measure_decoders(_folder: Path) -> dict[str, float]:
    """Return µs a message for the case `usual` of every definition, and µs a sighting of 5,000 beacons."""
    catalog = Catalog.load()
    figures: dict[str, float] = {}
    for case in folders([CASES]):
        if case.name != "usual":
            continue
        for before in sorted(case.glob("before-*.topic.txt")):
            route = catalog.resolve(before.read_text(encoding="utf-8").strip())
            (payload,) = case.glob(before.name.removesuffix("topic.txt") + "payload.*")
            if route is not None:
                route.decode(payload.read_bytes())
        route = catalog.resolve((case / "topic.txt").read_text(encoding="utf-8").strip())
        assert route is not None
        (file,) = case.glob("payload.*")
        figures[f"decode_us_{case.parent.name}"] = _us(route.decode, file.read_bytes())
    figures["location_us_per_sighting"] = _location()
    return figures


def _us(decode: object, payload: bytes) -> float:
    # Of the processor alone: what else runs on the machine is not the decoder's.
    timer = timeit.Timer(
        "decode(payload)", timer=process_time, globals={"decode": decode, "payload": payload}
    )
    number, _ = timer.autorange()
    return min(timer.repeat(3, max(1, number // 2))) / max(1, number // 2) * 1e6


def _location() -> float:
    """Return µs a sighting: every beacon is heard by four of six gateways in turn."""
    tracker = Tracker(lambda _site, gateway: gateway)
    sightings = [
        Sighting(
            "main", f"gw-{(beacon + turn) % 6}", f"b-{beacon}", _ns(turn) + beacon, 0, -55 - 8 * (turn % 4)
        )
        for turn in range(ROUNDS * SIGHTINGS_A_SECOND)
        for beacon in range(BEACONS)
    ]
    begun = process_time()
    tracker.take(sightings)
    return (process_time() - begun) / len(sightings) * 1e6


def _ns(turn: int) -> int:
    return 1_795_488_192 * SECOND_NS + turn * SECOND_NS // SIGHTINGS_A_SECOND

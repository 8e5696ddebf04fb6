"""The zone of one beacon: smoothed strengths, hysteresis, dwell, stale and away times. Pure.

Each gateway's strength is smoothed by a Kalman filter of one state, a random walk seen through noise. The
zone of the strongest gateway is the candidate; it becomes the beacon's zone when it is stronger by a
hysteresis for a dwell time, or at once where the zone of before is not heard any more.
"""

from typing import Final, Literal

from msgspec import Struct

from hub.clock import SECOND_NS

_FIRST_GAP_NS: Final = 2 * SECOND_NS
_GAP_GAIN: Final = 0.2
_MAY_MISS: Final = 1.5

Change = Literal["entered", "left", "lost", "away"]


class Tuning(Struct, frozen=True):
    """How sightings become decisions."""

    noise_db: float = 4.0
    """Standard deviation of one sighting: 4 dB is usual indoors."""
    drift_db: float = 0.5
    """How far a strength walks in a second while the beacon stays where it is: bodies turn, doors close."""
    surprise: float = 2.5
    """Two sightings in a row this many standard deviations off, to one side: the beacon has moved."""
    hysteresis_db: float = 6.0
    """How much stronger another zone must be: at a doorway, strengths cross by chance."""
    dwell_ns: int = 2 * SECOND_NS
    """For how long it must be."""
    missed_db: float = 6.0
    """What a gateway loses for each report in which it no longer hears the beacon, from the second on."""
    fresh_ns: int = 12 * SECOND_NS
    """A gateway that heard nothing for so long has no say."""
    stale_ns: int = 30 * SECOND_NS
    """Heard by nobody for so long, the zone is unknown."""
    away_ns: int = 300 * SECOND_NS
    """Heard by nobody for so long, the beacon is away."""


class Heard:
    """The strength of one beacon at one gateway."""

    __slots__ = ("dbm", "gap_ns", "surprises", "time_ns", "variance", "zone")

    def __init__(self, zone: str, dbm: float, time_ns: int, tuning: Tuning) -> None:
        self.zone = zone
        self.dbm = dbm
        """Smoothed."""
        self.variance = tuning.noise_db**2
        self.time_ns = time_ns
        self.gap_ns: float = _FIRST_GAP_NS
        """Usual time between two sightings."""
        self.surprises = 0
        """Sightings in a row above (or, negative, below) what was expected by far."""


class Track:
    """What is known of one beacon."""

    __slots__ = ("away", "candidate", "candidate_ns", "heard", "last_zone", "since_ns", "time_ns", "zone")

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        """By gateway; those that are heard no more are dropped in time."""
        self.zone: str | None = None
        self.last_zone: str | None = None
        """Where it is, or was before its zone became unknown."""
        self.since_ns = 0
        """Since when it is there, or unknown."""
        self.candidate: str | None = None
        """The zone that is stronger by the hysteresis."""
        self.candidate_ns = 0
        self.time_ns = 0
        """Of the newest sighting."""
        self.away = False

    def strength(self) -> float | None:
        """Return the smoothed strength (dBm) in the zone it is in."""
        found = [heard.dbm for heard in self.heard.values() if heard.zone == self.zone]
        return max(found, default=None)


def see(track: Track, gateway: str, zone: str, rssi: float, time_ns: int, tuning: Tuning) -> str | None:
    """Take one sighting; return the zone that the beacon is in from now on, or None where nothing changes.

    What is older than the newest of the same gateway is ignored: it came late or twice.
    """
    heard = track.heard.get(gateway)
    if heard is None or heard.zone != zone:
        track.heard[gateway] = Heard(zone, rssi, time_ns, tuning)
    elif time_ns > heard.time_ns:
        _smooth(heard, rssi, time_ns, tuning)
    else:
        return None
    track.time_ns = max(track.time_ns, time_ns)
    return _decide(track, tuning)


def _smooth(heard: Heard, rssi: float, time_ns: int, tuning: Tuning) -> None:
    noise = tuning.noise_db * tuning.noise_db
    variance = heard.variance + tuning.drift_db * tuning.drift_db * (time_ns - heard.time_ns) / SECOND_NS
    off = rssi - heard.dbm
    heard.gap_ns += (time_ns - heard.time_ns - heard.gap_ns) * _GAP_GAIN
    heard.time_ns = time_ns
    if off * off > tuning.surprise * tuning.surprise * (variance + noise):
        side = 1 if off > 0 else -1
        if heard.surprises == side:
            variance, heard.surprises = noise, 0
        else:
            heard.surprises = side
    else:
        heard.surprises = 0
    gain = variance / (variance + noise)
    heard.dbm += gain * off
    heard.variance = variance * (1 - gain)


def _decide(track: Track, tuning: Tuning) -> str | None:
    now_ns = track.time_ns
    oldest_ns = now_ns - tuning.fresh_ns
    zone = track.zone
    here = best_dbm = -1e9
    best: str | None = None
    expired = False
    for heard in track.heard.values():
        if heard.time_ns < oldest_ns:
            expired = True
            continue
        dbm = heard.dbm
        missed = (now_ns - heard.time_ns) / heard.gap_ns - _MAY_MISS
        if missed > 0:
            dbm -= missed * tuning.missed_db
        if heard.zone == zone and dbm > here:
            here = dbm
        if dbm > best_dbm:
            best, best_dbm = heard.zone, dbm
    if expired:
        track.heard = {name: heard for name, heard in track.heard.items() if heard.time_ns >= oldest_ns}
    if best is None or best == zone:
        track.candidate = None
        return None
    if zone is not None and best_dbm < here + tuning.hysteresis_db:
        track.candidate = None
        return None
    if track.candidate != best:
        track.candidate, track.candidate_ns = best, now_ns
        # Where nothing is known, anything is better; it too must last, unless it was heard twice.
        if zone is not None or len(track.heard) > 1:
            return None
    if zone is not None and now_ns - track.candidate_ns < tuning.dwell_ns:
        return None
    track.candidate = None
    return best

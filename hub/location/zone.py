"""The zone of one beacon: smoothed strengths, hysteresis, dwell, stale and away times. Pure.

Each gateway's strength is smoothed by a Kalman filter of one state, a random walk seen through noise. When
the gateways together hear what they did not expect, the beacon has moved, and all filters follow faster for a
while. The zone of the strongest gateway is the candidate; it becomes the beacon's zone when it is stronger by
a hysteresis for a dwell time, which is shorter the clearer it is, or at once where the zone of before is not
heard any more.
"""

from typing import Final, Literal

from msgspec import Struct

from hub.clock import SECOND_NS

_FIRST_GAP_NS: Final = 2 * SECOND_NS
_GAP_GAIN: Final = 0.2
_MAY_MISS: Final = 1.5
_UNREST_GAIN: Final = 0.05
_UNREST: Final = 2.2
"""The square of what is off, over its variance, is 1 on average while a beacon stays; above this it moves."""
_CLEAR: Final = 2.0
"""So many times the hysteresis is as clear as can be."""

Change = Literal["entered", "left", "lost", "away"]


class Tuning(Struct, frozen=True):
    """How sightings become decisions."""

    noise_db: float = 4.0
    """Standard deviation of one sighting: 4 dB is usual indoors."""
    drift_db: float = 0.4
    """How far a strength walks in a second while the beacon stays where it is: bodies turn, doors close."""
    moving_db: float = 7.0
    """How far it walks in a second while the beacon moves."""
    hysteresis_db: float = 5.0
    """How much stronger another zone must be: at a doorway, strengths cross by chance."""
    dwell_ns: int = 2 * SECOND_NS
    """For how long it must be; where it is stronger by twice the hysteresis or more, for a quarter of it."""
    missed_db: float = 3.0
    """What a gateway loses for each report in which it no longer hears the beacon, from the second on."""
    fresh_ns: int = 12 * SECOND_NS
    """A gateway that heard nothing for so long has no say."""
    stale_ns: int = 30 * SECOND_NS
    """Heard by nobody for so long, the zone is unknown."""
    away_ns: int = 300 * SECOND_NS
    """Heard by nobody for so long, the beacon is away."""


class Heard:
    """The strength of one beacon at one gateway."""

    __slots__ = ("dbm", "gap_ns", "time_ns", "variance", "zone")

    def __init__(self, zone: str, dbm: float, time_ns: int, tuning: Tuning) -> None:
        self.zone = zone
        self.dbm = dbm
        """Smoothed."""
        self.variance = tuning.noise_db**2
        self.time_ns = time_ns
        self.gap_ns: float = _FIRST_GAP_NS
        """Usual time between two sightings."""


class Track:
    """What is known of one beacon."""

    __slots__ = (
        "away",
        "candidate",
        "candidate_ns",
        "heard",
        "last_zone",
        "own",
        "since_ns",
        "time_ns",
        "unrest",
        "zone",
    )

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        """By gateway; those that are heard no more are dropped in time."""
        self.own: Heard | None = None
        """The strongest of the zone it is in, as last decided."""
        self.unrest = 1.0
        """How much more than noise is in what the gateways heard lately; 1 while the beacon stays."""
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

    def silence(self) -> None:
        """Forget what gateways heard."""
        self.heard.clear()
        self.own = self.candidate = None
        self.unrest = 1.0


def see(track: Track, gateway: str, zone: str, rssi: float, time_ns: int, tuning: Tuning) -> str | None:
    """Take one sighting; return the zone that the beacon is in from now on, or None where nothing changes.

    What is older than the newest of the same gateway is ignored: it came late or twice.
    """
    heard = track.heard.get(gateway)
    if heard is None or heard.zone != zone:
        heard = track.heard[gateway] = Heard(zone, rssi, time_ns, tuning)
    elif time_ns > heard.time_ns:
        _smooth(track, heard, rssi, time_ns, tuning)
    else:
        return None
    track.time_ns = max(track.time_ns, time_ns)
    own = track.own
    # Most sightings can't change anything, and are done here: nothing is a candidate, the zone of now is
    # heard as usual, and this one is no stronger than it by the hysteresis.
    if (
        own is not None
        and track.candidate is None
        and track.time_ns - own.time_ns < own.gap_ns * _MAY_MISS
        and (heard.dbm < own.dbm + tuning.hysteresis_db or zone == track.zone)
    ):
        if zone == track.zone and heard.dbm > own.dbm:
            track.own = heard
        return None
    return _decide(track, tuning)


def _smooth(track: Track, heard: Heard, rssi: float, time_ns: int, tuning: Tuning) -> None:
    noise = tuning.noise_db * tuning.noise_db
    gap_ns = time_ns - heard.time_ns
    off = rssi - heard.dbm
    variance = heard.variance + tuning.drift_db * tuning.drift_db * gap_ns / SECOND_NS
    track.unrest += (off * off / (variance + noise) - track.unrest) * _UNREST_GAIN
    if track.unrest > _UNREST:
        variance = heard.variance + tuning.moving_db * tuning.moving_db * gap_ns / SECOND_NS
    heard.gap_ns += (gap_ns - heard.gap_ns) * _GAP_GAIN
    heard.time_ns = time_ns
    gain = variance / (variance + noise)
    heard.dbm += gain * off
    heard.variance = variance * (1 - gain)


def _decide(track: Track, tuning: Tuning) -> str | None:
    now_ns = track.time_ns
    zone = track.zone
    own, here, best, strongest = None, -1e9, None, -1e9
    expired: list[str] = []
    for name, heard in track.heard.items():
        if now_ns - heard.time_ns > tuning.fresh_ns:
            expired.append(name)
            continue
        dbm = heard.dbm
        missed = (now_ns - heard.time_ns) / heard.gap_ns - _MAY_MISS
        if missed > 0:
            dbm -= missed * tuning.missed_db
        if heard.zone == zone and dbm > here:
            own, here = heard, dbm
        if dbm > strongest:
            best, strongest = heard, dbm
    for name in expired:
        del track.heard[name]
    track.own = own
    if best is None or best.zone == zone or strongest < here + tuning.hysteresis_db:
        track.candidate = None
        return None
    if track.candidate != best.zone:
        track.candidate, track.candidate_ns = best.zone, now_ns
        # Where nothing is known, anything is better; it too must last, unless it was heard alone.
        if zone is not None or len(track.heard) > 1:
            return None
    if zone is not None and now_ns - track.candidate_ns < _dwell_ns(strongest - here, tuning):
        return None
    track.candidate, track.own = None, best
    return best.zone


def _dwell_ns(stronger_db: float, tuning: Tuning) -> float:
    """Return for how long a zone that is stronger by so much must be."""
    part = tuning.hysteresis_db / max(min(stronger_db, _CLEAR * tuning.hysteresis_db), 1e-9)
    return tuning.dwell_ns * part * part

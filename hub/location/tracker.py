"""All beacons of one hub: sightings in, changes of zone out. Pure; time is an argument."""

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from hub.location.zone import Change, Track, Tuning, see
from hub.model import Sighting, ZoneChange

MAX_BEACONS = 100_000
"""Beacons followed; beyond it a new one is not: phones of visitors are beacons too."""

Key = tuple[str, str]
"""Site and beacon."""
ZoneOf = Callable[[str, str], str | None]
"""The zone in which a gateway (site, id) hangs; None for one that is in no zone."""


class Moved(Struct, frozen=True):
    """A beacon has changed its zone, or is heard no more."""

    site: str
    beacon: str
    change: Change
    zone: str | None
    """entered: the zone now. left, lost, away: the zone of before."""
    time_ns: int


class Position(Struct, frozen=True):
    """Where a beacon is."""

    site: str
    beacon: str
    zone: str | None
    """None where it is unknown."""
    since_ns: int
    seen_ns: int
    """Of the newest sighting."""
    away: bool
    rssi: float | None
    """Smoothed, in its zone; dBm."""
    last_zone: str | None
    """Where it is, or was before its zone became unknown."""


class Tracker:
    """Follows beacons that somebody knows, or all where `is_known` takes all."""

    def __init__(
        self,
        zone_of: ZoneOf,
        is_known: Callable[[str, str], bool] = lambda _site, _beacon: True,
        tuning: Tuning | None = None,
    ) -> None:
        self.tuning = tuning or Tuning()
        self._zone_of = zone_of
        self._is_known = is_known
        self._tracks: dict[Key, Track] = {}
        self._listening_ns = 0
        self.unplaced = 0
        """Sightings of gateways that are in no zone."""
        self.not_followed = 0
        """Sightings of beacons beyond MAX_BEACONS."""

    def __len__(self) -> int:
        return len(self._tracks)

    def take(self, sightings: Iterable[Sighting]) -> list[Moved]:
        """Take sightings in the order of their arrival; return what changed."""
        moved: list[Moved] = []
        tracks, tuning = self._tracks, self.tuning
        for sighting in sightings:
            site, gateway, beacon = sighting.site, sighting.gateway, sighting.beacon
            track = tracks.get((site, beacon))
            if track is None:
                track = self._new(site, beacon)
                if track is None:
                    continue
            heard = track.heard.get(gateway)
            # A gateway that was moved is noticed within the time that its last word counts.
            zone = heard.zone if heard is not None else self._zone_of(site, gateway)
            if zone is None:
                self.unplaced += 1
                continue
            found = see(track, gateway, zone, sighting.rssi, sighting.time_ns, tuning)
            if found is not None:
                moved += _enter(site, beacon, track, found, track.time_ns)
        return moved

    def tick(self, now_ns: int) -> list[Moved]:
        """Judge what only the passing of time decides. `now_ns` is hub time."""
        moved: list[Moved] = []
        stale_ns, away_ns = self.tuning.stale_ns, self.tuning.away_ns
        for (site, beacon), track in self._tracks.items():
            silent_ns = now_ns - max(track.time_ns, self._listening_ns)
            if silent_ns < stale_ns:
                continue
            if track.zone is not None:
                moved.append(Moved(site, beacon, "lost", track.zone, now_ns))
                track.zone, track.since_ns = None, now_ns
                track.silence()
            if silent_ns >= away_ns and not track.away:
                track.away = True
                moved.append(Moved(site, beacon, "away", None, now_ns))
        return moved

    def restore(self, change: ZoneChange) -> None:
        """Take up a change of before the hub's restart; they must come oldest first."""
        key = (change.site, change.device)
        track = self._tracks.get(key) or self._new(*key)
        if track is None:
            return
        entered = change.change == "entered"
        track.zone = change.zone if entered else None
        track.last_zone = change.zone or track.last_zone
        track.away = change.change == "away"
        if change.change != "away":  # then it had been lost for a while
            track.since_ns = change.time_ns
        if entered:
            track.time_ns = max(track.time_ns, change.time_ns)

    def heard(self, sighting: Sighting) -> None:
        """Note that a beacon whose change was restored was heard before the restart."""
        track = self._tracks.get((sighting.site, sighting.beacon))
        if track is not None:
            track.time_ns = max(track.time_ns, sighting.time_ns)

    def resumed(self, now_ns: int) -> None:
        """Listen again from now on: that nobody was heard before says nothing."""
        self._listening_ns = now_ns

    def forget(self, beacon: Key) -> None:
        """Follow a beacon no more."""
        self._tracks.pop(beacon, None)

    def positions(self) -> Iterator[Position]:
        """Return where every beacon is."""
        return (_position(site, beacon, track) for (site, beacon), track in self._tracks.items())

    def position(self, site: str, beacon: str) -> Position | None:
        """Return where one beacon is; None for one that was never heard."""
        track = self._tracks.get((site, beacon))
        return None if track is None else _position(site, beacon, track)

    def replaced(self) -> None:
        """Take note that gateways hang elsewhere now: what they heard before says nothing."""
        for track in self._tracks.values():
            track.silence()

    def _new(self, site: str, beacon: str) -> Track | None:
        if not self._is_known(site, beacon):
            return None
        if len(self._tracks) >= MAX_BEACONS:
            self.not_followed += 1
            return None
        track = self._tracks[site, beacon] = Track()
        return track


def _position(site: str, beacon: str, track: Track) -> Position:
    return Position(
        site,
        beacon,
        track.zone,
        track.since_ns,
        track.time_ns,
        track.away,
        track.strength(),
        track.last_zone,
    )


def _enter(site: str, beacon: str, track: Track, zone: str, time_ns: int) -> Iterator[Moved]:
    if track.zone is not None:
        yield Moved(site, beacon, "left", track.zone, time_ns)
    track.zone = track.last_zone = zone
    track.since_ns, track.away = time_ns, False
    yield Moved(site, beacon, "entered", zone, time_ns)

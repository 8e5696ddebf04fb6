"""The settings of location: how sightings become zones."""

from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.clock import SECOND_NS
from hub.location.zone import Tuning

_OWN: Final = Tuning()


class LocationSettings(BaseModel):
    """How sightings of beacons become zones. See docs/reference/locations.md before changing any."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    noise_db: float = Field(default=_OWN.noise_db, ge=0.5, le=20)
    """Standard deviation of one sighting's strength while nothing moves: more smooths more."""
    drift_db: float = Field(default=_OWN.drift_db, gt=0, le=20)
    """How far a strength walks in a second while the beacon stays in its place."""
    moving_db: float = Field(default=_OWN.moving_db, gt=0, le=40)
    """How far it walks in a second while the beacon moves; not below drift_db."""
    hysteresis_db: float = Field(default=_OWN.hysteresis_db, ge=1, le=40)
    """How much stronger another zone must be: more flaps less and follows later."""
    dwell_s: float = Field(default=_OWN.dwell_ns / SECOND_NS, ge=0, le=60)
    """For how long it must be; a quarter of it where it is stronger by twice the hysteresis."""
    missed_db: float = Field(default=_OWN.missed_db, ge=0, le=40)
    """What a gateway loses for each report in which it no longer hears a beacon that it usually hears."""
    fresh_s: float = Field(default=_OWN.fresh_ns / SECOND_NS, ge=1, le=600)
    """A gateway that has not heard a beacon for so long has no say; several times its interval."""
    stale_s: float = Field(default=_OWN.stale_ns / SECOND_NS, ge=1, le=3600)
    """Heard by no gateway for so long, a beacon's zone is unknown; not below fresh_s."""
    away_s: float = Field(default=_OWN.away_ns / SECOND_NS, ge=1, le=86_400)
    """Heard by none for so long, it is away, and a patient's beacon alarms; not below stale_s."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for lower, upper in (("drift_db", "moving_db"), ("fresh_s", "stale_s"), ("stale_s", "away_s")):
            low, high = getattr(self, lower), getattr(self, upper)
            if high < low:
                raise ValueError(f"{upper} is {high:g}: give at least {lower}, which is {low:g}")
        return self

    def tuning(self) -> Tuning:
        """Return what decides."""
        return Tuning(
            noise_db=self.noise_db,
            drift_db=self.drift_db,
            moving_db=self.moving_db,
            hysteresis_db=self.hysteresis_db,
            dwell_ns=round(self.dwell_s * SECOND_NS),
            missed_db=self.missed_db,
            fresh_ns=round(self.fresh_s * SECOND_NS),
            stale_ns=round(self.stale_s * SECOND_NS),
            away_ns=round(self.away_s * SECOND_NS),
        )

"""The clock that a simulated device shows."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """How fast time runs and what the device's clock shows.

    With the same epoch and speed given to the hub (`--time-epoch`, `--time-scale`), both clocks run alike.
    """

    speed: float
    """Device seconds a second; 0 sends as fast as the broker acknowledges (replay only)."""
    epoch_ms: int | None = None
    """Device clock = epoch + (wall clock - epoch) * speed; the start of the run where None."""
    start_ms: int | None = None
    """Device time at the start of the run, whatever epoch and speed say."""

    def first_ms(self, wall_ms: int) -> int:
        """Device time at the start, when the run starts at `wall_ms`."""
        if self.start_ms is not None:
            return self.start_ms
        if self.epoch_ms is None or self.speed == 0:
            return wall_ms
        return self.epoch_ms + round((wall_ms - self.epoch_ms) * self.speed)


def rfc3339(epoch_ms: int) -> str:
    """Write milliseconds since the epoch as RFC 3339 in UTC."""
    moment = datetime.fromtimestamp(epoch_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}Z"

"""Time: the hub's own, and what each device's clock says against it."""

import time
from collections.abc import Callable

from msgspec import Struct

SECOND_NS = 1_000_000_000

Now = Callable[[], int]
"""Hub time in nanoseconds since the epoch."""


def hub_clock(scale: float = 1.0, epoch_ns: int | None = None) -> Now:
    """Return the hub's clock.

    With a scale other than 1, hub time runs `scale` times as fast as real time, both being equal at
    `epoch_ns`: how a recorded patient is replayed faster than he lived.
    """
    if scale == 1.0:
        return time.time_ns
    start_ns = time.time_ns() if epoch_ns is None else epoch_ns
    return lambda: start_ns + round((time.time_ns() - start_ns) * scale)


class ClockLimits(Struct, frozen=True):
    """What is taken for a device's clock, and what no longer is. All in nanoseconds."""

    tolerance_ns: int = 2 * SECOND_NS
    """Readings this far from receipt are taken at their word."""
    evidence_ns: int = 10 * SECOND_NS
    """How long a difference must stay the same before it is the clock's and not a delay's."""
    steady_ns: int = 1 * SECOND_NS
    """How much that difference may move meanwhile. A backlog that drains moves it by far more."""
    ahead_ns: int = 24 * 3600 * SECOND_NS
    """A time further ahead than this is no time at all."""
    behind_ns: int = 30 * 24 * 3600 * SECOND_NS
    """A time further back than this is no time at all: no device buffers for so long."""
    alarm_ns: int = 60 * SECOND_NS
    """An offset beyond this raises the technical alarm clock_off."""


class DeviceClock:
    """One device's clock offset, estimated from the times that it sends and when they arrive.

    A message may arrive late, never early. So what is ahead of the hub is the device's clock, and what is
    behind is either its clock or a delay: a delay changes while a backlog drains, a clock's offset stays.
    The offset is adopted only after it stayed the same for `evidence_ns`, and then kept until it no longer
    fits, so that one reading gets the same corrected time whenever it arrives.
    """

    __slots__ = ("_candidate_ns", "_candidate_since_ns", "offset_ns", "trusted")

    def __init__(self) -> None:
        self.offset_ns = 0
        """Device clock minus hub clock."""
        self.trusted = True
        """False while the device sends times beyond all limits."""
        self._candidate_ns: int | None = None
        self._candidate_since_ns = 0

    def correct(self, device_ns: int, received_ns: int, limits: ClockLimits) -> int:
        """Return a reading's corrected time; `trusted` turns False where only receipt can be relied on."""
        ahead_ns = device_ns - received_ns
        difference_ns = ahead_ns - self.offset_ns
        if -limits.tolerance_ns <= difference_ns <= limits.tolerance_ns:
            self._candidate_ns = None
            self.trusted = True
            return device_ns - self.offset_ns
        if ahead_ns > limits.ahead_ns or ahead_ns < -limits.behind_ns:
            self.trusted = False
            return received_ns
        self.trusted = True
        self._weigh(ahead_ns, received_ns, limits)
        if ahead_ns > self.offset_ns + limits.tolerance_ns:
            return received_ns  # nothing comes from the future: receipt is the better witness
        return device_ns - self.offset_ns

    def is_off(self, limits: ClockLimits) -> bool:
        """Tell whether a person should set this clock."""
        return not self.trusted or abs(self.offset_ns) > limits.alarm_ns

    def _weigh(self, ahead_ns: int, received_ns: int, limits: ClockLimits) -> None:
        candidate_ns = self._candidate_ns
        if candidate_ns is None or abs(ahead_ns - candidate_ns) > limits.steady_ns:
            self._candidate_ns = ahead_ns
            self._candidate_since_ns = received_ns
        elif received_ns - self._candidate_since_ns >= limits.evidence_ns:
            in_step = abs(candidate_ns) <= limits.tolerance_ns
            self.offset_ns = 0 if in_step else candidate_ns // 1_000_000 * 1_000_000
            self._candidate_ns = None

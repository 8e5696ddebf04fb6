"""One condition of one device while it is pending or present."""

from hub.alarms.alarm import Alarm
from hub.alarms.evaluate import ABSENT, ConditionState, Levels

Key = tuple[str, str]
"""Parameter, "" for none, and condition.

`part/` goes before the parameter of a part that reports on its own, for instance a pump's channel; `device:`
before a condition that the device decided.
"""

TECHNICAL = ("pump_", "battery", "ambient_", "occlusion", "air_in_line", "bag_weight", "drip_rate")
"""Beginnings of parameters that tell of a device and not of the patient."""


class Condition:
    """What is known of it."""

    __slots__ = ("alarm", "judged_ns", "state")

    def __init__(
        self,
        state: Levels | ConditionState = ABSENT,
        alarm: Alarm | None = None,
        judged_ns: int = 0,
    ) -> None:
        self.state = state
        self.alarm = alarm
        """Set while the condition is present."""
        self.judged_ns = judged_ns
        """Readings up to this time were judged before the hub was restarted."""

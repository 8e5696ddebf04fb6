"""The canary's alarm: what shows that alarms come out, by coming out itself, every second.

A canary is a device of the hub's own. Its readings go from a broker through decoding, the conditions and
signals of every alarm and the event log's disk to the stream, where they become the heartbeat. Its alarm is
listed, counted and told nowhere.
"""

from typing import Final

from hub.alarms.alarm import Alarm, AlarmEvent
from hub.alarms.rules import Limit, Side
from hub.alarms.signal import is_visible

CANARY: Final = "hub_canary"
"""Its parameter: 1 is beyond the limit, 0 is inside."""
SIDE: Final = Side(CANARY, "limit_high", Limit(CANARY, "limit_high", "high", 0.5, "high", 0, 0.0), None)
"""Its limit: in force for everybody, whatever a limits file says."""
_COMES_OUT: Final = frozenset({"start", "update", "re-alarmed"})
"""A canary comes and goes, so that most of the time its alarm goes on as an episode."""


def is_canary(alarm: Alarm) -> bool:
    """Tell whether an alarm is a canary's."""
    return alarm.parameter == CANARY


def came_out(event: AlarmEvent) -> bool:
    """Tell whether an event of a canary is an urgent alarm that people would be shown."""
    alarm, signal = event.alarm, event.signal
    return (
        event.event in _COMES_OUT
        and (alarm.presence, alarm.priority) == ("present", "high")
        and signal is not None
        and is_visible(signal)
    )

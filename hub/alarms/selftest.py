"""Whether an alarm would come out now: a canary patient of the hub's own, judged and signalled for real.

The nurse stations' heartbeat hangs on it: no heartbeat is sent while the canary's alarm doesn't come out, or
while events wait to be told.
"""

import logging

from hub.alarms.alarm import Alarm, AlarmEvent, Happening, Signal
from hub.alarms.conditions import Conditions
from hub.alarms.limits import LimitSet, load_limits
from hub.alarms.log import EventLog
from hub.alarms.signal import is_visible
from hub.alarms.signals import Signals
from hub.device import Device
from hub.model import Reading, Value

log = logging.getLogger(__name__)

LATE_S = 1.0
"""An event that has waited for so long beyond its time to be told means that the path is broken."""


class SelfTest:
    """A device that desaturates and recovers at each call, with conditions and signals of its own."""

    def __init__(self, event_log: EventLog, rules: LimitSet | None = None) -> None:
        limits = (rules or load_limits()).of("adult")
        self._log = event_log
        self._device = Device("canary", "canary", "hub", "hub", 1.0)
        self._told: list[AlarmEvent] = []
        self._signals = Signals(self._record, limits.policy)
        self._conditions = Conditions(lambda _: limits, self._signals.tell)
        self._works = True

    def passes(self, now_ns: int) -> bool:
        """Tell whether an urgent alarm came out, visible, and ended, and events are told in time."""
        self._told.clear()
        try:
            for step, saturation in enumerate((70.0, 99.0)):
                time_ns = now_ns + step
                values: dict[str, Value] = {"spo2": saturation}
                reading = Reading("canary", "canary", "observations", time_ns, 0, time_ns, 1, values, None)
                self._conditions.observe(self._device, reading, time_ns)
            self._signals.tick(now_ns + 1)
            works = self._came_out() and self._log.late_s < LATE_S
        except Exception:  # whatever it is, an alarm would not have come out
            if self._works:
                log.exception("the canary's alarm failed")
            works = False
        if works is not self._works:
            log.log(
                logging.INFO if works else logging.CRITICAL,
                "the alarm path %s",
                "works" if works else "is broken",
            )
        self._works = works
        return works

    def _came_out(self) -> bool:
        starts = [event for event in self._told if event.event in ("start", "update", "re-alarmed")]
        begun = [event for event in starts if event.alarm.presence == "present"]
        gone = [event for event in self._told if event.alarm.presence == "absent"]
        return bool(
            begun
            and gone
            and begun[0].alarm.priority == "high"
            and begun[0].signal is not None
            and is_visible(begun[0].signal)
        )

    def _record(
        self,
        event: Happening,
        time_ns: int,
        alarm: Alarm,
        *,
        ward: str | None,
        bed: str | None,
        patient: str | None,
        signal: Signal | None,
        who: str | None,
        why: str | None,
    ) -> AlarmEvent:
        told = AlarmEvent(0, event, time_ns, alarm, ward, bed, patient, signal, who, why)
        self._told.append(told)
        return told

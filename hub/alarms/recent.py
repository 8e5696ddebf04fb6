"""What was told lately, and which alarms have not ended: the part of the event log that needs no disk."""

from collections import deque
from collections.abc import Iterable
from itertools import takewhile
from typing import NamedTuple

from hub.alarms.alarm import AlarmEvent

LAST = 2**63 - 1
"""No sequence is higher."""


class Begun(NamedTuple):
    """An alarm: where its life began in the event log, and its newest event."""

    sequence: int
    """Of its `start`: newer alarms have higher ones, and it never changes."""
    time_ns: int
    """Of its `start`, hub time."""
    newest: AlarmEvent


class Recent:
    """The newest told events, and every alarm that has not ended. Events are kept in sequence."""

    def __init__(self, most: int) -> None:
        self._events: deque[AlarmEvent] = deque(maxlen=most)
        self._present: dict[str, Begun] = {}
        self.told = 0
        """Sequence of the newest event that was kept."""
        self.complete_after = 0
        """Every told event with a higher sequence is here."""

    def load(self, told: int, newest: list[AlarmEvent], present: Iterable[Begun]) -> None:
        """Take over what the file holds: its last sequence, its newest events, what has not ended."""
        self.told = told
        self._present = {one.newest.alarm.id: one for one in present}
        self._events.extend(newest)
        if len(newest) == self._events.maxlen:
            self.complete_after = newest[0].sequence - 1 if newest else told

    def keep(self, event: AlarmEvent) -> None:
        """Take note of an event that has been told."""
        if len(self._events) == self._events.maxlen:
            self.complete_after = self._events[0].sequence if self._events else event.sequence
        self._events.append(event)
        self.told = event.sequence
        alarm = event.alarm.id
        if event.event == "end":
            self._present.pop(alarm, None)
            return
        begun = None if event.event == "start" else self._present.get(alarm)
        self._present[alarm] = (
            Begun(event.sequence, event.time_ns, event) if begun is None else begun._replace(newest=event)
        )

    def present(self) -> list[AlarmEvent]:
        """Return the newest event of every alarm that has not ended, in sequence."""
        return sorted((one.newest for one in self._present.values()), key=lambda event: event.sequence)

    def active(self) -> list[Begun]:
        """Return every alarm that has not ended, the newest first."""
        return sorted(self._present.values(), reverse=True)

    def after(self, sequence: int) -> list[AlarmEvent]:
        """Return the events with a higher sequence."""
        # From the newest on: who follows the log asks at every event, for the last few of thousands.
        newer = list(takewhile(lambda event: event.sequence > sequence, reversed(self._events)))
        newer.reverse()
        return newer

    def of_alarm(self, alarm: str) -> list[AlarmEvent]:
        """Return the events of one alarm."""
        return [event for event in self._events if event.alarm.id == alarm]

    def between(self, start_ns: int, end_ns: int, after: int) -> list[AlarmEvent]:
        """Return the events within [start_ns, end_ns) with a higher sequence."""
        return [event for event in self.after(after) if start_ns <= event.time_ns < end_ns]

    def begun(self, rows: Iterable[Begun], start_ns: int, end_ns: int, before: int) -> list[Begun]:
        """Return alarms that began within [start_ns, end_ns), below a sequence, the newest first.

        `rows` are those that the file holds; what was told since is added.
        """
        found = {row.newest.alarm.id: row for row in rows if row.sequence <= self.told}
        for event in self._events:
            alarm, known = event.alarm.id, found.get(event.alarm.id)
            if event.event == "start" and (known is None or event.sequence > known.sequence):
                found.pop(alarm, None)
                if start_ns <= event.time_ns < end_ns and event.sequence < before:
                    found[alarm] = Begun(event.sequence, event.time_ns, event)
            elif known is not None and event.sequence > known.newest.sequence:
                found[alarm] = known._replace(newest=event)
        return sorted(found.values(), reverse=True)

    def erase(self, patient: str) -> None:
        """Forget the events and alarms of a patient."""
        kept = [event for event in self._events if event.patient != patient]
        self._events = deque(kept, self._events.maxlen)
        self._present = {alarm: one for alarm, one in self._present.items() if one.newest.patient != patient}

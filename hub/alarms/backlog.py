"""The events that the log's file does not hold yet, bounded however long the disk is away."""

from itertools import islice

from hub.alarms.alarm import AlarmEvent


class Backlog:
    """Unrecorded events in order. Not thread-safe: its owner holds a lock.

    Up to `limit` everything is kept. Beyond it a newer update takes the place of the same alarm's older one.
    Beyond ten times `limit` an alarm that began and ended unrecorded is left out of the log with all of its
    events. Starts of present alarms, and ends of alarms whose start is recorded, are always kept, so the size
    is bounded by ten times `limit` and a few events for each alarm that is present.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: dict[int, AlarmEvent] = {}
        self._of_alarm: dict[str, list[int]] = {}
        self.left_out = 0
        """Events that will never be in the log: told, counted, shown."""

    def __len__(self) -> int:
        return len(self._events)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._events

    def add(self, event: AlarmEvent) -> None:
        """Take an event in, and leave out what the limits say."""
        of_alarm = self._of_alarm.setdefault(event.alarm.id, [])
        self._events[event.sequence] = event
        of_alarm.append(event.sequence)
        if len(self._events) <= self._limit:
            return
        if event.event == "update":
            older = [number for number in of_alarm[:-1] if self._events[number].event == "update"]
            self._leave_out(older)
        first = self._events[of_alarm[0]]
        if len(self._events) > 10 * self._limit and event.event == "end" and first.event == "start":
            self._leave_out(list(of_alarm))

    def first(self, limit: int) -> list[AlarmEvent]:
        """Return the oldest events, in order."""
        return list(islice(self._events.values(), limit))

    def remove(self, events: list[AlarmEvent]) -> None:
        """Take out events that are recorded now."""
        for event in events:
            self._forget(event.sequence)

    def _leave_out(self, sequences: list[int]) -> None:
        for sequence in sequences:
            self._forget(sequence)
            self.left_out += 1

    def _forget(self, sequence: int) -> None:
        event = self._events.pop(sequence, None)
        if event is None:
            return
        of_alarm = self._of_alarm[event.alarm.id]
        of_alarm.remove(sequence)
        if not of_alarm:
            del self._of_alarm[event.alarm.id]

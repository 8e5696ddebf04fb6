"""The signals of all alarms: what is told of each condition, and what people did about it.

Stands between the conditions and the event log. One condition of one device has one signal at a time; a
condition that comes back while its signal lasts continues it under the same id. Nothing here waits.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from hub.alarms import signal as life
from hub.alarms.alarm import PATIENT_CHANGED, Alarm, AlarmEvent, Happening, Signal
from hub.alarms.collapse import Groups
from hub.alarms.rules import Flood, Policy
from hub.alarms.signal import SignalRefused
from hub.clock import SECOND_NS

Key = tuple[str, str, str, str]
"""Site, device, part and parameter, and condition with its origin."""

_ENDED = 10_000
"""Ended alarms remembered, so that a redelivered reading doesn't raise them again."""
_REDELIVERED_NS = 5 * SECOND_NS
"""A redelivered condition that is still present after so long is an alarm, whatever is remembered."""
LONGEST_WAIT_NS = 3600 * SECOND_NS
"""The longest that a responder may be given."""
HUB = "hub"
"""Who does what nobody did."""


class NoSuchAlarm(LookupError):  # noqa: N818 - told to who asked
    """There is no alarm of this id, or it has ended."""


class Place(NamedTuple):
    """Where a device is, and the surrogate id of the patient there."""

    ward: str | None = None
    bed: str | None = None
    patient: str | None = None


class Responder(NamedTuple):
    """Who is asked to respond, and how long the hub waits for that before it asks the next one."""

    who: str
    wait_ns: int


class Record(Protocol):
    """`hub.alarms.log.EventLog.record`."""

    def __call__(  # noqa: D102
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
    ) -> AlarmEvent: ...


class Entry:
    """One alarm that has not ended."""

    __slots__ = ("alarm", "place", "signal")

    def __init__(self, alarm: Alarm, signal: Signal, place: Place) -> None:
        self.alarm = alarm
        self.signal = signal
        self.place = place


class Signals:
    """What is signalled. `tell` is where Conditions hands its changes to."""

    def __init__(
        self,
        record: Record,
        policy_of: Callable[[Alarm], Policy],
        *,
        place_of: Callable[[str, str], Place] = lambda _, __: Place(),
        responders_of: Callable[[Alarm, Place, int], Sequence[Responder]] = lambda _, __, ___: (),
        flood: Flood = Flood(),  # noqa: B008 - it can't change
    ) -> None:
        """Keep what is needed.

        `place_of`: where a device (site, id) is now. `responders_of`: who is asked to respond to an alarm
        at a place and a time, in order.
        """
        self._record = record
        self._policy_of = policy_of
        self._place_of = place_of
        self._responders_of = responders_of
        self._flood = flood
        self._entries: dict[Key, Entry] = {}
        self._by_id: dict[str, Key] = {}
        self._groups: Groups[Entry] = Groups()
        self._starts: dict[Key, deque[int]] = {}
        """When each condition began lately, hub time: what makes an episode."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._redelivered: dict[Key, tuple[Alarm, int]] = {}
        """Conditions that began again under the id of an ended alarm, and since when."""

    def restore(self, present: Iterable[AlarmEvent], recent: Iterable[AlarmEvent]) -> None:
        """Go on with what the event log holds: alarms that have not ended, and the newest events."""
        for event in present:
            key = _key(event.alarm)
            place = Place(event.ward, event.bed, event.patient)
            signal = event.signal or Signal(priority=event.alarm.priority)
            entry = self._entries[key] = Entry(event.alarm, signal, place)
            self._by_id[event.alarm.id] = key
            self._groups.add(entry)
        for event in recent:
            if event.event == "start" or (event.event in ("update", "re-alarmed") and _came_back(event)):
                self._note_start(_key(event.alarm), event.time_ns)
            elif event.event == "end":
                self._remember_end(event.alarm.id)

    # --- what the conditions say -----------------------------------------------------------------------

    def tell(self, happening: Happening, alarm: Alarm, now_ns: int) -> None:
        """Take in one change of one condition."""
        key = _key(alarm)
        entry = self._entries.get(key)
        if happening == "start":
            self._started(key, entry, alarm, now_ns)
        elif entry is None:
            self._unknown(key, happening, alarm, now_ns)
        elif happening == "end":
            self._condition_ended(key, entry, alarm, now_ns)
        else:
            entry.alarm = alarm = self._as_known(entry, alarm)
            if happening == "escalate":
                entry.signal = self._assign(
                    entry, life.escalate(entry.signal, alarm.priority, now_ns), now_ns
                )
            elif happening == "de-escalate":
                entry.signal = life.de_escalate(entry.signal, alarm.priority, self._policy_of(alarm))
            entry.place = self._place_of(alarm.site, alarm.device)
            self._groups.add(entry)
            self._groups.regroup(entry)
            self._write(happening, entry, now_ns)
            self._gather(entry, now_ns)

    def _started(self, key: Key, entry: Entry | None, alarm: Alarm, now_ns: int) -> None:
        if entry is not None:
            self._came_again(key, entry, alarm, now_ns)
            return
        if alarm.id in self._ended:
            self._redelivered[key] = (alarm, now_ns)
            return
        count = self._note_start(key, now_ns)
        signal = life.begin(alarm.priority, self._policy_of(alarm), now_ns)
        if count >= self._flood.chatter_starts:
            signal = replace(signal, count=count)
        entry = Entry(alarm, signal, self._place_of(alarm.site, alarm.device))
        self._groups.regroup(entry)
        self._groups.add(entry)
        entry.signal = self._assign(entry, entry.signal, now_ns)
        self._entries[key] = entry
        self._by_id[alarm.id] = key
        self._write("start", entry, now_ns)
        self._gather(entry, now_ns)

    def _came_again(self, key: Key, entry: Entry, alarm: Alarm, now_ns: int) -> None:
        self._note_start(key, now_ns)
        entry.alarm = self._as_known(entry, alarm)
        entry.signal, anew = life.come_back(entry.signal, alarm, now_ns)
        entry.place = self._place_of(alarm.site, alarm.device)
        if anew:
            entry.signal = self._assign(entry, entry.signal, now_ns)
        self._write("re-alarmed" if anew else "update", entry, now_ns, why="the condition came back")

    def _unknown(self, key: Key, happening: Happening, alarm: Alarm, now_ns: int) -> None:
        """Follow a condition that was redelivered under the id of an ended alarm."""
        if key not in self._redelivered:
            return
        if happening == "end":
            del self._redelivered[key]
        elif happening == "escalate":
            self._raise_redelivered(key, alarm, now_ns)
        else:
            self._redelivered[key] = (alarm, self._redelivered[key][1])

    def _raise_redelivered(self, key: Key, alarm: Alarm, now_ns: int) -> None:
        del self._redelivered[key]
        self._ended.pop(alarm.id, None)
        self._started(key, None, alarm, now_ns)

    def _condition_ended(self, key: Key, entry: Entry, alarm: Alarm, now_ns: int) -> None:
        entry.alarm = alarm = self._as_known(entry, alarm)
        policy = self._policy_of(alarm)
        signal = entry.signal
        if alarm.ended_why is not None:
            self._end(key, entry, now_ns, why=alarm.ended_why)
        elif policy.latching and signal.raised_ns is not None:
            entry.signal = replace(signal, presence="latched", step_due_ns=None)
            self._write("latched", entry, now_ns)
        elif self._is_episode(key, now_ns):
            entry.signal = replace(signal, quiet_ns=now_ns)
            self._write("update", entry, now_ns, why="the condition comes and goes")
        else:
            self._end(key, entry, now_ns)

    def _end(
        self, key: Key, entry: Entry, now_ns: int, *, who: str | None = None, why: str | None = None
    ) -> None:
        del self._entries[key]
        del self._by_id[entry.alarm.id]
        self._remember_end(entry.alarm.id)
        followers = self._groups.remove(entry)
        entry.signal = replace(
            entry.signal, presence="off", activation="on", activation_until_ns=None, step_due_ns=None
        )
        if not entry.alarm.ended_why:
            entry.place = self._place_of(entry.alarm.site, entry.alarm.device)
        self._write("end", entry, now_ns, who=who, why=why)
        self._release(followers, now_ns)

    # --- what people do --------------------------------------------------------------------------------

    def acknowledge(self, alarm_id: str, who: str, now_ns: int, why: str | None = None) -> AlarmEvent:
        """Take charge of an alarm: its signal and its escalation stop until the acknowledgement times out."""
        entry = self._entry(alarm_id)
        entry.signal = life.acknowledge(entry.signal, who, self._policy_of(entry.alarm), now_ns)
        return self._write("acknowledged", entry, now_ns, who=who, why=why)

    def pause(self, alarm_id: str, who: str, duration_ns: int, now_ns: int) -> AlarmEvent:
        """Pause the audio of an alarm for a while."""
        entry = self._entry(alarm_id)
        entry.signal = life.pause(entry.signal, duration_ns, self._policy_of(entry.alarm), now_ns)
        return self._write("audio-paused", entry, now_ns, who=who)

    def switch_off(self, alarm_id: str, who: str, why: str, until_ns: int, now_ns: int) -> AlarmEvent:
        """Switch the signal of an alarm off until a time, with a reason."""
        entry = self._entry(alarm_id)
        policy = self._policy_of(entry.alarm)
        entry.signal = life.switch_off(entry.signal, why, until_ns, policy, now_ns)
        return self._write("signal-off", entry, now_ns, who=who, why=why)

    def resume(self, alarm_id: str, who: str, now_ns: int) -> AlarmEvent:
        """Take a pause or a switching off back."""
        entry = self._entry(alarm_id)
        entry.signal = life.resume(entry.signal)
        return self._write("re-alarmed", entry, now_ns, who=who, why="taken back")

    def reset(self, alarm_id: str, who: str, now_ns: int) -> AlarmEvent:
        """Reset a latched signal. Where the condition is gone, that ends the alarm."""
        entry = self._entry(alarm_id)
        entry.signal = life.reset(entry.signal, entry.alarm, self._policy_of(entry.alarm))
        told = self._write("reset", entry, now_ns, who=who)
        if entry.alarm.presence == "absent":
            self._end(self._by_id[alarm_id], entry, now_ns, who=who, why="reset")
        return told

    def comment(self, alarm_id: str, who: str, text: str, now_ns: int) -> AlarmEvent:
        """Add a remark to an alarm's history."""
        if not text.strip():
            raise SignalRefused("a comment has a text")
        return self._write("commented", self._entry(alarm_id), now_ns, who=who, why=text)

    def reassign(self, alarm_id: str, who: str, to: str, now_ns: int, why: str | None = None) -> AlarmEvent:
        """Hand an alarm over to somebody."""
        if not to.strip():
            raise SignalRefused("an alarm is handed over to somebody: give a name")
        entry = self._entry(alarm_id)
        entry.signal = replace(entry.signal, assigned=to)
        return self._write("reassigned", entry, now_ns, who=who, why=why)

    # --- time ------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Let time pass: delays, pauses, acknowledgements, episodes and escalation."""
        for key, entry in list(self._entries.items()):
            if self._entries.get(key) is entry:
                self._pass_time(key, entry, now_ns)
        for key, (alarm, since_ns) in list(self._redelivered.items()):
            if now_ns - since_ns >= _REDELIVERED_NS:
                self._raise_redelivered(key, alarm, now_ns)
        for key, starts in list(self._starts.items()):
            if now_ns - starts[-1] > self._flood.chatter_window_ns:
                del self._starts[key]

    def _pass_time(self, key: Key, entry: Entry, now_ns: int) -> None:
        self._follow_place(entry, now_ns)
        if entry.signal.under is not None and entry.signal.under not in self._by_id:
            self._release([entry], now_ns)  # the hub was stopped between that alarm's end and this
        policy = self._policy_of(entry.alarm)
        for change in life.pass_time(entry.signal, entry.alarm, policy, now_ns):
            entry.signal = self._assign(entry, change.signal, now_ns)
            self._write(change.event, entry, now_ns, who=HUB, why=change.why)
        signal = entry.signal
        if entry.alarm.presence == "absent" and self._has_left(entry):
            entry.alarm = replace(entry.alarm, ended_why=PATIENT_CHANGED)
            self._end(key, entry, now_ns, why=PATIENT_CHANGED)
        elif entry.alarm.presence == "absent" and signal.presence != "latched":
            quiet_ns = signal.quiet_ns
            if quiet_ns is None or now_ns - quiet_ns >= self._flood.chatter_quiet_ns:
                self._end(key, entry, now_ns)
        elif signal.step_due_ns is not None and life.is_over(
            signal.step_due_ns, max(policy.repeat_ns, LONGEST_WAIT_NS), now_ns
        ):
            self._next_responder(entry, now_ns)

    def _assign(self, entry: Entry, signal: Signal, now_ns: int) -> Signal:
        """Ask the first of the chain once the signal is there and nobody has taken charge of it."""
        waiting = signal.presence == "on" and signal.activation != "off" and signal.under is None
        if not waiting or (signal.step_due_ns is not None and signal.assigned is not None):
            return signal if waiting else replace(signal, step_due_ns=None)
        chain = self._responders_of(entry.alarm, entry.place, now_ns)
        if not chain:
            return replace(signal, step=0, step_due_ns=now_ns + self._policy_of(entry.alarm).repeat_ns)
        return replace(signal, assigned=chain[0].who, step=0, step_due_ns=now_ns + chain[0].wait_ns)

    def _follow_place(self, entry: Entry, now_ns: int) -> None:
        """Let an alarm go with its patient, or its device, to another bed: who is there is asked from now on.

        An alarm whose patient is no longer at its device ends instead.
        """
        place = self._place_of(entry.alarm.site, entry.alarm.device)
        if place == entry.place or self._has_left(entry):
            return
        entry.place = place
        signal = entry.signal
        if signal.step_due_ns is not None:
            entry.signal = self._assign(entry, replace(signal, assigned=None, step_due_ns=None), now_ns)
        self._write("update", entry, now_ns, who=HUB, why="its place is another")

    def _has_left(self, entry: Entry) -> bool:
        """Tell whether the patient of an alarm is no longer at its device."""
        if entry.alarm.kind != "physiological":
            return False
        return self._place_of(entry.alarm.site, entry.alarm.device).patient != entry.place.patient

    def _next_responder(self, entry: Entry, now_ns: int) -> None:
        signal = entry.signal
        chain = self._responders_of(entry.alarm, entry.place, now_ns)
        step = signal.step + 1
        if step < len(chain):
            who, wait_ns = chain[step]
            entry.signal = replace(signal, assigned=who, step=step, step_due_ns=now_ns + wait_ns)
            self._write("reassigned", entry, now_ns, who=HUB, why="nobody acknowledged in time")
            return
        repeat_ns = self._policy_of(entry.alarm).repeat_ns
        entry.signal = replace(signal, step_due_ns=now_ns + repeat_ns)
        self._write("re-alarmed", entry, now_ns, who=HUB, why="nobody acknowledged in time")

    # --- floods ----------------------------------------------------------------------------------------

    def _note_start(self, key: Key, now_ns: int) -> int:
        starts = self._starts.setdefault(key, deque(maxlen=100))
        starts.append(now_ns)
        while now_ns - starts[0] > self._flood.chatter_window_ns:
            starts.popleft()
        return len(starts)

    def _is_episode(self, key: Key, now_ns: int) -> bool:
        starts = self._starts.get(key, ())
        lately = [start for start in starts if now_ns - start <= self._flood.chatter_window_ns]
        return len(lately) >= self._flood.chatter_starts

    def _gather(self, leader: Entry, now_ns: int) -> None:
        """List the alarms of the devices that a lost gateway or broker took with it under its own."""
        for entry in self._groups.covered(leader):
            self._groups.regroup(entry)
            self._write("update", entry, now_ns, who=HUB, why="listed under another alarm")

    def _release(self, followers: Iterable[Entry], now_ns: int) -> None:
        """Signal what was listed under an alarm that has ended."""
        for entry in followers:
            self._groups.regroup(entry)
            entry.signal = self._assign(entry, entry.signal, now_ns)
            shown = entry.signal.under is None and entry.signal.presence in ("on", "latched")
            event: Happening = "signalled" if shown else "update"
            self._write(event, entry, now_ns, who=HUB, why="what it was listed under has ended")

    # --- bookkeeping -----------------------------------------------------------------------------------

    def _entry(self, alarm_id: str) -> Entry:
        key = self._by_id.get(alarm_id)
        if key is None:
            raise NoSuchAlarm(f"there is no alarm {alarm_id}, or it has ended")
        return self._entries[key]

    def _as_known(self, entry: Entry, alarm: Alarm) -> Alarm:
        """Return the condition under the id and onset that its signal began with."""
        return replace(alarm, id=entry.alarm.id, onset_ns=entry.alarm.onset_ns)

    def _remember_end(self, alarm_id: str) -> None:
        self._ended[alarm_id] = None
        if len(self._ended) > _ENDED:
            self._ended.popitem(last=False)

    def _write(
        self, event: Happening, entry: Entry, now_ns: int, *, who: str | None = None, why: str | None = None
    ) -> AlarmEvent:
        place = entry.place
        return self._record(
            event,
            now_ns,
            entry.alarm,
            ward=place.ward,
            bed=place.bed,
            patient=place.patient,
            signal=entry.signal,
            who=who,
            why=why,
        )


def _key(alarm: Alarm) -> Key:
    condition = f"device:{alarm.condition}" if alarm.origin == "device" else alarm.condition
    return alarm.site, alarm.device, f"{alarm.part}/{alarm.parameter or ''}", condition


def _came_back(event: AlarmEvent) -> bool:
    return event.why == "the condition came back"

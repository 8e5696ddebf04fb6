"""Alarm timelines as data: what goes in over time, and every event that must come out.

A file in tests/alarms holds `about`, optional `rules` (changes of the built-in limits file), `device` tables,
`do` (what happens, by second) and `expect` (every event, in order: second, event, alarm, and what is to be
checked of it as name=value).
"""

import tomllib
from pathlib import Path

import pytest
from alarm_ward import T0, AlarmWard, name, short_name

from hub.alarms.rules import Override
from hub.alarms.signal import SignalRefused
from hub.alarms.signals import Responder
from hub.clock import SECOND_NS

FOLDER = Path(__file__).parents[2] / "alarms"
FILES = sorted(FOLDER.glob("*.toml"))


class Timeline:
    def __init__(self, document: dict) -> None:
        self.document = document
        self.ward = ward = AlarmWard(document.get("rules"))
        for device in document.get("device", []):
            ident = device["id"]
            ward.intervals[ident] = device.get("interval", 1.0)
            ward.patients[ident] = device.get("patient")
            ward.groups[ident] = device.get("group", "adult")
            ward.brokers[ident] = device.get("broker", "")
            ward.listening.setdefault(device.get("broker", ""), T0)
            if "bed" in device:
                ward.beds[ident] = tuple(device["bed"])
            if "gateway" in device:
                ward.gateways[ident] = device["gateway"]
        ward.chain = [Responder(who, wait * SECOND_NS) for who, wait in document.get("chain", [])]

    def run(self) -> None:
        todo = [one for step in self.document["do"] for one in self._spread(step)]
        todo.sort(key=lambda one: one[0])
        last = self.document.get("until", todo[-1][0] + 1)
        second = 0
        while second <= last:
            while todo and todo[0][0] < second + 1:
                at, step = todo[0]
                if at > second:
                    break
                todo.pop(0)
                self.ward.now_ns = T0 + round(at * SECOND_NS)
                self._do(step)
            self.ward.now_ns = T0 + second * SECOND_NS
            self.ward.tick()
            later = [at for at, _ in todo if second < at < second + 1]
            for at in later:
                self.ward.now_ns = T0 + round(at * SECOND_NS)
                self._do(todo.pop(0)[1])
            second += 1

    @staticmethod
    def _spread(step: dict) -> list[tuple[float, dict]]:
        start, until, every = step["at"], step.get("until", step["at"]), step.get("every", 1)
        count = int((until - start) / every) + 1
        return [(start + n * every, step) for n in range(count)]

    def _do(self, step: dict) -> None:
        ward = self.ward
        device = step.get("device", "mon-1")
        who = step.get("who", "nurse-1")
        if "values" in step or "no_value" in step or "invalid" in step:
            exceptions = dict.fromkeys(step.get("no_value", []), ("no-value", None))
            exceptions |= {key: ("invalid", value) for key, value in step.get("invalid", {}).items()}
            values = step.get("values", {})
            exceptions |= {key: ("questionable", values[key]) for key in step.get("questionable", [])}
            time_ns = None
            if "time" in step:
                time_ns = T0 + round(step["time"] * SECOND_NS)
            for _ in range(step.get("times", 1)):
                ward.reads(device, values, exceptions, time_ns, step.get("channel", "observations"))
        if "status" in step:
            ward.says(device, step["status"], step.get("battery"))
        if "raised" in step:
            ward.raises(device, **step["raised"])
        if "rejected" in step:
            ward.rejects(device)
        if "technical" in step:
            ward.conditions.technical(
                ward.device(device),
                step["technical"],
                step["present"],
                step["technical"],
                ward.hub_ns,
                step.get("priority"),
                tuple(step.get("devices", ())),
            )
        if "chart" in step:
            ward.charts(ward.patients[device], who, step["chart"])
        if "part" in step:
            ward.part(**step["part"])
        if "clock_offset" in step:
            ward.device(device).clock.offset_ns = step["clock_offset"] * SECOND_NS
        if "transport" in step:
            until_ns = ward.hub_ns + step["transport"] * SECOND_NS
            ward.conditions.transport(ward.device(device), until_ns, who, step["why"], ward.hub_ns)
        if "patient" in step:
            ward.moves(device, step["patient"] or None)
        if "listening" in step:
            ward.listening[""] = ward.hub_ns if step["listening"] else None
        if "broker" in step:
            ward.broker(device, step["broker"], reachable=step["reachable"])
        if "bed" in step:
            ward.beds[device] = tuple(step["bed"])
        if "clock_step" in step:
            ward.clock_step_ns += step["clock_step"] * SECOND_NS
        if "override" in step:
            ward.overrides += (
                Override(site="main", set_ns=ward.hub_ns, who=who, why="a test", **step["override"]),
            )
        if "restart" in step:
            ward.restart(redelivered=step.get("redelivered", 0))
        if "act" in step:
            self._act(step, who)

    def _act(self, step: dict, who: str) -> None:
        ward, now_ns = self.ward, self.ward.hub_ns
        alarm = ward.alarm(step["alarm"])
        actions = {
            "acknowledge": lambda: ward.signals.acknowledge(alarm, who, now_ns),
            "pause": lambda: ward.signals.pause(alarm, who, step["seconds"] * SECOND_NS, now_ns),
            "off": lambda: ward.signals.switch_off(
                alarm, who, step.get("why", ""), now_ns + step["seconds"] * SECOND_NS, now_ns
            ),
            "resume": lambda: ward.signals.resume(alarm, who, now_ns),
            "reset": lambda: ward.signals.reset(alarm, who, now_ns),
            "comment": lambda: ward.signals.comment(alarm, who, step["why"], now_ns),
            "hand over": lambda: ward.signals.reassign(alarm, who, step["to"], now_ns),
        }
        if step.get("refused"):
            with pytest.raises(SignalRefused):
                actions[step["act"]]()
        else:
            actions[step["act"]]()


def told(event) -> dict:
    signal = event.signal
    return {
        "priority": event.alarm.priority,
        "kind": event.alarm.kind,
        "condition": event.alarm.presence,
        "onset": f"{(event.alarm.onset_ns - T0) / SECOND_NS:g}",
        "value": f"{event.alarm.value:g}" if isinstance(event.alarm.value, float) else str(event.alarm.value),
        "patient": event.patient or "",
        "ward": event.ward or "",
        "bed": event.bed or "",
        "devices": ",".join(event.alarm.devices),
        "ended_why": event.alarm.ended_why or "",
        "signal": signal.presence,
        "shown": signal.priority,
        "activation": signal.activation,
        "count": str(signal.count),
        "assigned": signal.assigned or "",
        "under": "yes" if signal.under else "no",
        "who": event.who or "",
        "why": event.why or "",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_timeline_gives_exactly_the_events_that_it_names(path):
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    timeline = Timeline(document)
    timeline.run()
    events = timeline.ward.log.events()
    several = len(document.get("device", [])) > 1
    lines, expected = [], document["expect"]
    for event in events:
        target = name(event.alarm) if several else short_name(event.alarm)
        lines.append(f"{(event.time_ns - T0) / SECOND_NS:g} {event.event} {target}")
    wanted = [line.partition(" | ")[0].strip() for line in expected]
    assert lines == wanted
    for event, line in zip(events, expected, strict=True):
        facts = told(event)
        for check in filter(None, line.partition(" | ")[2].split("; ")):
            key, _, value = check.partition("=")
            assert facts[key] == value, (line, facts)
    ids = {}
    for event in events:
        if event.event == "start":
            assert event.alarm.id not in ids, "an alarm is started once"
            ids[event.alarm.id] = True
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))

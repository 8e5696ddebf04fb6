"""The timelines hold every condition that the hub can raise, every event and every transition of a signal."""

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import get_args

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test
from test_alarm_machine import AlarmMachine
from test_timelines import FILES, Timeline

import hub
from hub.alarms.alarm import Activation, Happening, SignalPresence
from hub.alarms.limits import AGE_GROUPS, DEFAULTS, load_limits
from hub.alarms.selftest import CANARY

_RAISING = {"technical": 1, "_absence": 1, "_set": 1, "note": "condition"}
"""Calls that set a condition, and which of their arguments names it."""


@cache
def told():
    """Every event of every timeline."""
    found = []
    for path in FILES:
        timeline = Timeline(tomllib.loads(path.read_text(encoding="utf-8")))
        timeline.run()
        found += [(path.stem, event) for event in timeline.ward.log.events()]
    return found


def raised_in_code():
    """The conditions that calls in the hub name; of a name that is put together, its constant beginning."""
    found = set()
    for path in Path(hub.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            where = _RAISING.get(node.func.attr)
            arguments = [one.value for one in node.keywords if one.arg == where]
            if isinstance(where, int):
                arguments = node.args[where : where + 1]
            for argument in arguments:
                begins = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
                if isinstance(begins, ast.Constant) and isinstance(begins.value, str):
                    found.add(begins.value)
    return found


def conditions():
    rules = load_limits()
    by_limits = {
        condition
        for group in AGE_GROUPS
        for parameter, condition in rules.of(group).keys
        if parameter != CANARY
    }
    technical = set(tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))["technical"])
    return sorted(by_limits | technical | raised_in_code() | {"fast_fall", "fast_rise"})


def test_the_sweep_finds_the_conditions_of_rules_of_devices_and_of_the_hub_itself():
    assert {
        "limit_low", "limit_high", "fast_fall", "fast_rise", "respiratory_depression", "occlusion", "news2",
        "no_valid_value", "device_silent", "device_offline", "gateway_lost", "broker_lost", "clock_off",
        "rejects", "standby", "transport", "journal_full", "disk_nearly_full", "notifications_failing",
        "store_unreachable_", "wandering",
    } <= set(conditions())  # fmt: skip


@pytest.mark.parametrize("condition", conditions())
def test_every_condition_begins_and_ends_in_a_timeline(condition):
    events = {
        event.event
        for _, event in told()
        if event.alarm.condition == condition
        or (condition.endswith("_") and event.alarm.condition.startswith(condition))
    }
    assert {"start", "end"} <= events


def test_alarms_that_devices_raise_are_in_timelines_of_their_own_origin_and_kinds():
    raised = [event for _, event in told() if event.alarm.origin == "device"]
    assert {event.event for event in raised} >= {"start", "escalate", "end"}
    assert {event.alarm.kind for event in raised} == {"physiological", "technical"}


@pytest.mark.parametrize("happening", get_args(Happening))
def test_every_event_is_in_a_timeline(happening):
    assert happening in {event.event for _, event in told()}


def transitions(events):
    """What an event makes of presence and activation of a signal, and of the presence of its condition."""
    before, found = {}, set()
    for event in events:
        alarm, signal = event.alarm, event.signal
        after = {"condition": alarm.presence, "signal": signal.presence, "activation": signal.activation}
        ended = event.event == "end"
        for what, state in after.items():
            was = before.get(alarm.id, {}).get(what)
            found.add((what, was, event.event, None if ended else state))
        before[alarm.id] = after
    return found


@cache
def transitions_of_timelines():
    found = set()
    for name in {name for name, _ in told()}:
        found |= transitions(event for of, event in told() if of == name)
    return found


def test_every_transition_that_the_state_machine_finds_is_in_a_timeline():
    found = set()

    class Watched(AlarmMachine):
        def teardown(self):
            found.update(transitions(self.ward.log.events()))

    hypothesis.seed(1)(run_state_machine_as_test)(
        Watched,
        settings=hypothesis.settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
    assert len(found) > 60
    assert sorted(found - transitions_of_timelines(), key=repr) == []


@pytest.mark.parametrize(
    ("what", "states"), [("signal", get_args(SignalPresence)), ("activation", get_args(Activation))]
)
def test_every_state_of_a_signal_is_entered_left_and_ended_from(what, states):
    found = {(was, event, now) for of, was, event, now in transitions_of_timelines() if of == what}
    for state in states:
        assert any(now == state != was for was, _, now in found), f"{state} is entered"
        assert any(was == state != now and now for was, _, now in found), f"{state} is left"
        assert (state, "end", None) in found, f"an alarm ends from {state}"


def test_there_are_timelines_of_restarts_in_every_state():
    """Each names a state in which the hub is stopped: of the signal, of a delay, of what people did."""
    stopped = set()
    for path in FILES:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        timeline = Timeline(document)
        whole = timeline.ward.restart

        def restart(*, redelivered=0, timeline=timeline, whole=whole):
            for event in timeline.ward.log.present():
                signal = event.signal
                stopped.update({("signal", signal.presence), ("activation", signal.activation)})
                stopped.add(("condition", event.alarm.presence))
                stopped.add(("due", signal.due_ns is not None))
                stopped.add(("under", signal.under is not None))
                stopped.add(("escalating", signal.step > 0))
            pending = any(
                one.alarm is None for d in timeline.ward.devices.values() for one in d.conditions.values()
            )
            stopped.add(("delay", pending))
            whole(redelivered=redelivered)

        timeline.ward.restart = restart
        timeline.run()
    wanted = {("signal", state) for state in get_args(SignalPresence)}
    wanted |= {("activation", state) for state in get_args(Activation)}
    wanted |= {("condition", "present"), ("condition", "absent")}
    wanted |= {(what, True) for what in ("due", "under", "escalating", "delay")}
    assert wanted <= stopped

"""Examples of the OpenAPI document: one desaturation as the API tells it, its ward's load, limits, scores."""

from typing import Any, Final

from msgspec import Struct, json
from msgspec.structs import replace

from hub.alarms.load import Figures, Share, csv_head
from hub.events import ToldAlarm, ToldEvent, ToldSignal, moment

Example = dict[str, Any]

_ONSET_NS: Final = 1_795_488_180_000_000_000
"""2026-11-24T02:43:00Z"""
_UNTIL: Final = "2026-11-24T03:13:00Z"


def _at(second: int) -> Any:  # noqa: ANN401 - a time, which msgspec renders
    return moment(_ONSET_NS + second * 1_000_000_000)


def _plain(content: Struct) -> Example:
    found: Example = json.decode(json.encode(content))
    return found


_ON: Final = ToldSignal(
    presence="on",
    priority="high",
    activation="on",
    activation_until=None,
    due=None,
    raised=_at(0),
    acknowledged_by=None,
    acknowledged=None,
    acknowledged_until=None,
    assigned="nurse-1",
    step=0,
    count=1,
    under=None,
)
_TAKEN: Final = replace(
    _ON,
    presence="acknowledged",
    acknowledged_by="nurse-1",
    acknowledged=_at(12),
    acknowledged_until=_at(192),
)
_PRESENT: Final = ToldAlarm(
    id="al-5d1b0c2f9a7e4386",
    kind="physiological",
    priority="high",
    condition="limit_low",
    parameter="spo2",
    site="main",
    device="mon-1",
    ward="icu",
    bed="icu-01",
    patient="pt-7f3a",
    onset=_at(0),
    presence="present",
    value=78.0,
    limit=80.0,
    unit="%",
    text="Oxygen saturation 78 % below 80 %",
    ended=None,
    level=2,
    origin="hub",
    part="",
    devices=(),
    until=None,
    signal=_ON,
)
_START: Final = ToldEvent(4711, "start", _at(0), True, _PRESENT)
_TAKEN_CHARGE: Final = ToldEvent(
    4712, "acknowledged", _at(12), True, replace(_PRESENT, signal=_TAKEN), "nurse-1", "on my way"
)


def _act(event: Any, who: str, why: str | None = None, **signal: Any) -> Example:  # noqa: ANN401 - a member of Happening
    told = ToldEvent(4713, event, _at(20), True, replace(_PRESENT, signal=replace(_ON, **signal)), who, why)
    return _plain(told)


ALARMS: Final[Example] = {
    "alarms": [_plain(_TAKEN_CHARGE.alarm)],
    "last_event_id": "hub-1-9f2c61d0-4712",
    "next": None,
}
EVENTS: Final[Example] = {"events": [_plain(_START), _plain(_TAKEN_CHARGE)], "next": 4712}
HISTORY: Final[Example] = {
    "alarm": _plain(_TAKEN_CHARGE.alarm),
    "events": [_plain(_START), _plain(_TAKEN_CHARGE)],
}
ACKNOWLEDGED: Final = _plain(_TAKEN_CHARGE)
PAUSED: Final = _act("audio-paused", "nurse-1", activation="paused", activation_until=_at(140))
OFF: Final = _act("signal-off", "nurse-1", "probe moved", activation="off", activation_until=_at(1800))
RESUMED: Final = _act("re-alarmed", "nurse-1")
RESET: Final = _plain(
    ToldEvent(
        4713,
        "reset",
        _at(20),
        True,
        replace(_PRESENT, presence="absent", ended=_at(15), signal=replace(_ON, presence="off")),
        "nurse-1",
    )
)
COMMENTED: Final = _act("commented", "nurse-1", "doctor informed")
HANDED_OVER: Final = _act("reassigned", "nurse-1", "break", assigned="nurse-2")

_FIGURES: Final = Figures(
    alarms=412,
    by_priority={"medium": 371, "high": 24, "low": 17},
    alarms_a_bed_a_day=17.167,
    acknowledged=131,
    acknowledge_median_s=21.4,
    acknowledge_p90_s=96.0,
    ended_by_themselves=0.6796,
    top_beds=[Share("icu-03", 141, 0.3422)],
    top_parameters=[Share("spo2", 233, 0.5655)],
    floods=2,
    chattering=19,
    escalated_to_others=11,
)
_FEWER: Final = replace(
    _FIGURES,
    alarms=171,
    by_priority={"medium": 130, "high": 24, "low": 17},
    alarms_a_bed_a_day=7.125,
    top_beds=[Share("icu-03", 44, 0.2573)],
    top_parameters=[Share("heart_rate", 117, 0.6842)],
)
LOAD: Final[Example] = {
    "from": "2026-11-23T02:43:12Z",
    "to": "2026-11-24T02:43:12Z",
    "beds": 24,
    "figures": _plain(_FIGURES),
}
CSV: Final = (
    csv_head()
    + "4711,2026-11-24T02:43:00+00:00,start,al-5d1b0c2f9a7e4386,main,icu,icu-01,pt-7f3a,mon-1,spo2,limit_low,"
    + "physiological,high,present,on,on,nurse-1,1,,,78.0,80.0,%,Oxygen saturation 78 % below 80 %\r\n"
)

_SCORE: Final[Example] = {
    "time": "2026-11-24T02:43:10Z",
    "total": 7,
    "at_least": 7,
    "risk": "high",
    "single_three": ["spo2"],
    "scores": {
        "respiratory_rate": 2,
        "spo2": 3,
        "on_oxygen": 2,
        "systolic": 0,
        "pulse": 0,
        "consciousness": 0,
        "temperature": 0,
    },
    "spo2_scale": 1,
    "problems": {},
    "ages_s": {
        "respiratory_rate": 1.0,
        "spo2": 1.0,
        "on_oxygen": 3600.0,
        "systolic": 840.0,
        "pulse": 1.0,
        "consciousness": 3600.0,
        "temperature": 5400.0,
    },
    "sources": {
        "respiratory_rate": "mon-1",
        "spo2": "mon-1",
        "on_oxygen": "charted by nurse-1",
        "systolic": "mon-1",
        "pulse": "mon-1",
        "consciousness": "charted by nurse-1",
        "temperature": "mon-1",
    },
    "excluded": None,
}
SCORES: Final[Example] = {
    "now": _SCORE,
    "from": "2026-11-23T02:43:12Z",
    "to": "2026-11-24T02:43:12Z",
    "history": [_SCORE],
    "more": False,
}
BED_SCORES: Final[Example] = {
    "scores": [
        {
            "site": "main",
            "bed": "icu-01",
            "patient": "pt-7f3a",
            "time": "2026-11-24T02:43:10Z",
            "total": 7,
            "at_least": 7,
            "risk": "high",
            "known": 7,
            "parts": 7,
            "trend": "rising",
            "excluded": None,
        }
    ]
}

CHANGE: Final[Example] = {
    "scope": "patient",
    "site": "main",
    "scope_id": "pt-7f3a",
    "table": "spo2",
    "values": {"low": 88},
    "why": "COPD, target 88 to 92 %",
    "until": _UNTIL,
}
CHANGED: Final[Example] = {
    "id": 17,
    **CHANGE,
    "age_group": "adult",
    "who": "nurse-1",
    "since": "2026-11-24T02:43:12Z",
    "ended": None,
    "ended_by": None,
    "ended_why": None,
}
CHANGE_ENDED: Final[Example] = CHANGED | {
    "ended": "2026-11-24T02:58:12Z",
    "ended_by": "nurse-1",
    "ended_why": "oxygen given",
}
CHANGES: Final[Example] = {"changes": [CHANGED]}
LIMITS: Final[Example] = {
    "age_group": "adult",
    "tables": {
        "spo2": {"low": 88, "critical_low": 80, "priority": "medium", "hysteresis": 1},
        "signals.high": {"signal_delay_s": 0, "latching": False, "acknowledge_s": 180},
    },
    "changes": [CHANGED],
}
TRY: Final[Example] = {
    "site": "main",
    "ward": "icu",
    "from": "2026-11-23T02:43:12Z",
    "to": "2026-11-24T02:43:12Z",
    "changes": [{"table": "spo2", "values": {"low": 88, "delay_s": 15}}],
}
TRIED: Final[Example] = {
    "in_force": {
        "readings": 2_073_600,
        "figures": _plain(_FIGURES),
        "by_condition": {"spo2 limit_low": 233, "heart_rate limit_high": 117},
    },
    "tried": {
        "readings": 2_073_600,
        "figures": _plain(_FEWER),
        "by_condition": {"heart_rate limit_high": 117, "spo2 limit_low": 54},
    },
}
ASSIGN: Final[Example] = {
    "site": "main",
    "ward": "icu",
    "bed": "icu-01",
    "role": "nurse",
    "who": "nurse-1",
    "from": "2026-11-24T06:00:00Z",
    "until": "2026-11-24T14:00:00Z",
}
SHIFT: Final[Example] = {"id": 5, **ASSIGN, "assigned_by": "charge-1"}
SHIFTS: Final[Example] = {"assignments": [SHIFT]}
TRANSPORT: Final[Example] = {"until": _UNTIL, "why": "to theatre"}
IN_TRANSPORT: Final[Example] = {"until": _UNTIL}

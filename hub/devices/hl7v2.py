"""HL7 v2 as monitors and pumps send it: IHE PCD-01 (ORU^R01) observations and PCD-04 (ORU^R40) alarms.

One message a payload, with or without MLLP's framing; segments end with CR, LF or both. What comes out:

    {"type": "ORU^R01", "id": …, "time": …,
     "observations": [{"code", "name", "system", "sub_id", "value", "unit", "status", "grade", "time",
                       "device"}],
     "alarms": [{"condition", "code", "state", "priority", "kind", "parameter", "text", "time", "device"}]}

Codes are MDC's; `unit` is UCUM where the vocabulary knows the MDC unit. `grade` joins OBX-8 and OBX-11:
valid, questionable, invalid or no-value (IHE PCD Technical Framework, volume 2, appendix B.8).
"""

import re
from collections.abc import Iterator
from typing import Final

from hub.devices.payload import UnreadableError, Unusable
from hub.vocabulary import MDC_UNITS, by_mdc, by_mdc_name

_ESCAPED: Final = re.compile(r"\\([FSTRE]|X(?:[0-9A-Fa-f]{2})+|[^\\]*)\\")
_NAMED: Final = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}
_MAX_SEGMENTS: Final = 5_000

# OBX-11, HL7 table 0085. R and P are usual for what a device sends unasked; D and W take a value back.
_NO_VALUE_STATUS: Final = frozenset({"X", "N", "I", "O", "D", "W"})
# OBX-8, IHE's measurement status. What a device marks as test or demonstration is no patient's value.
_NO_VALUE_FLAGS: Final = frozenset({"NAV", "OFF", "INOP"})
_INVALID_FLAGS: Final = frozenset({"INV", "TEST", "DEMO", "CALIB"})
_QUESTIONABLE_FLAGS: Final = frozenset({"QUES", "EARLY"})

# What an alarm message's OBX-3 says beside the alarm itself, by the name: the codes of drafts differ.
_ATTRIBUTES: Final = {
    "68480": "source",
    "68481": "phase",
    "68482": "state",
    "68483": "inactivation",
    "68484": "priority",
    "68485": "type",
    "68546": "text",
    "MDC_ATTR_ALERT_SOURCE": "source",
    "MDC_ATTR_EVENT_PHASE": "phase",
    "MDC_ATTR_ALARM_STATE": "state",
    "MDC_ATTR_ALARM_INACTIVATION_STATE": "inactivation",
    "MDC_ATTR_ALARM_PRIORITY": "priority",
    "MDC_ATTR_ALERT_TYPE": "type",
    "MDC_ATTR_EVT_TEXT": "text",
    "MDC_ATTR_ALERT_TEXT": "text",
}
_EVENTS: Final = {
    "196648": "limit_high",
    "196670": "limit_low",
    "196674": "limit_low",
    "196940": "occlusion",
    "MDC_EVT_HI": "limit_high",
    "MDC_EVT_HI_VAL_GT_LIM": "limit_high",
    "MDC_EVT_LO": "limit_low",
    "MDC_EVT_LO_VAL_LT_LIM": "limit_low",
    "MDC_EVT_FLUID_LINE_OCCL": "occlusion",
}
_GENERAL_ALARM: Final = "196616"
_PRIORITIES: Final = {"PH": "high", "PM": "medium", "PL": "low", "PI": "information", "PN": "information"}
_KINDS: Final = {"SP": "physiological", "ST": "technical", "SA": "technical"}
_ENDED: Final = frozenset({"end", "inactive", "off"})
_GOING: Final = frozenset(
    {"start", "continue", "update", "escalate", "de-escalate", "reset", "active", "latched"}
)

Segment = list[str]


class _Message:
    """One message taken apart; fields are numbered as HL7 does, from 1."""

    def __init__(self, text: str) -> None:
        self.separator = text[3]
        encoding = text[4 : text.find(self.separator, 4)]
        self.component, self.repetition, self.escape, _ = (*encoding, *r"^~\&"[len(encoding) :])[:4]
        self.segments: list[Segment] = [
            line.split(self.separator) for line in text.replace("\n", "\r").split("\r") if line
        ]
        header = self.segments[0]
        header.insert(1, self.separator)  # MSH-1 is the separator itself

    def field(self, segment: Segment, number: int) -> str:
        """Return a field as sent, an empty text where the segment ends before it."""
        return segment[number] if number < len(segment) else ""

    def part(self, segment: Segment, number: int, component: int = 1) -> str:
        """Return one component of the first repetition, unescaped."""
        sent = segment[number] if number < len(segment) else ""
        if not sent:
            return ""  # as most are
        if self.repetition in sent:
            sent = sent.split(self.repetition, 1)[0]
        parts = sent.split(self.component, component)
        if component > len(parts):
            return ""
        sent = parts[component - 1]
        return self.text(sent) if self.escape in sent else sent.strip()

    def text(self, sent: str) -> str:
        """Return a text without its escapes, and without the blanks around it."""
        if self.escape in sent and self.escape == "\\":
            sent = _ESCAPED.sub(_unescaped, sent)
        return sent.strip()


def parse(payload: bytes) -> object:
    """Take a message apart. Raises UnreadableError."""
    text = _text(payload.strip(b"\x0b\x1c\r\n\t \x00"))
    if not text.startswith("MSH") or len(text) < 9 or text[3].isalnum():
        raise UnreadableError("is not HL7 v2: it begins with no MSH segment")
    message = _Message(text)
    if len(message.segments) > _MAX_SEGMENTS:
        raise UnreadableError(f"has more than {_MAX_SEGMENTS} segments: send fewer observations a message")
    if sum(segment[0] == "MSH" for segment in message.segments) > 1:
        raise UnreadableError("holds several messages: send one a payload")
    header = message.segments[0]
    kind = f"{message.part(header, 9)}^{message.part(header, 9, 2)}"
    root: dict[str, object] = {
        "type": kind,
        "id": message.part(header, 10),
        "time": message.part(header, 7) or None,
    }
    groups = list(_groups(message))
    if kind == "ORU^R40":
        root["alarms"] = [alarm for group in groups for alarm in _alarms(message, *group)]
    else:
        root["observations"] = [
            found for order, results in groups for found in _observations(message, order, results)
        ]
    return root


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8-sig")
    except UnicodeDecodeError:
        return payload.decode("latin-1")  # ISO 8859-1 is what MSH-18 most often names otherwise


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if code.startswith("X"):
        return bytes.fromhex(code[1:]).decode("latin-1")
    return _NAMED.get(code, "")  # what is left are marks of a typesetter


def _device(message: _Message, order: Segment, results: list[Segment]) -> str | None:
    """Return which device an OBR is of: OBX-18 of the whole device, else the filler's EUI-64 in OBR-3."""
    for obx in results:
        if message.field(obx, 18) and _depth(message.field(obx, 4)) <= 1:
            return message.part(obx, 18)
    is_eui = message.part(order, 3, 4) == "EUI-64"
    return message.part(order, 3, 3) or (message.part(order, 3) if is_eui else "") or None


def _depth(sub_id: str) -> int:
    """Return how deep below the device an OBX-4 such as `1.2.0.0` leads: 1 is the device itself."""
    return len(sub_id.rstrip(".0").split(".")) if sub_id else 0


def _groups(message: _Message) -> Iterator[tuple[Segment, list[Segment]]]:
    order: Segment = ["OBR"]
    results: list[Segment] = []
    for segment in message.segments:
        if segment[0] == "OBR":
            if results:
                yield order, results
            order, results = segment, []
        elif segment[0] == "OBX":
            results.append(segment)
    if results:
        yield order, results


def _observations(message: _Message, order: Segment, results: list[Segment]) -> Iterator[dict[str, object]]:
    device = _device(message, order, results)
    for obx in results:
        found = _observation(message, order, obx)
        if found is not None:
            found["device"] = device
            yield found


def _observation(message: _Message, order: Segment, obx: Segment) -> dict[str, object] | None:
    value_type, sent = message.field(obx, 2), message.field(obx, 5)
    if not value_type and not sent:
        return None  # a level of the containment tree: the device, a module, a channel
    code, name = message.part(obx, 3), message.part(obx, 3, 2)
    known = by_mdc(code)
    meant = by_mdc_name(name)
    found: dict[str, object] = {
        "code": code,
        "name": name,
        "system": message.part(obx, 3, 3),
        "sub_id": message.field(obx, 4),
        "value": message.part(obx, 5) or None,
        "status": message.field(obx, 11),
        "grade": _grade(message, obx),
        "time": message.part(obx, 14) or message.part(order, 7) or None,
    }
    if known is not None and meant is not None and meant is not known:
        found["code"] = Unusable(f"code {code} and its name don't belong together")
    if message.repetition in sent:
        found["value"] = Unusable("several values in one OBX-5: send an OBX each")
    unit = _unit(message, obx)
    if unit:
        found["unit"] = unit
    return found


def _unit(message: _Message, obx: Segment) -> str:
    code, name = message.part(obx, 6), message.part(obx, 6, 2)
    return MDC_UNITS.get(code) or MDC_UNITS.get(name) or code


def _grade(message: _Message, obx: Segment) -> str:
    status = message.field(obx, 11).strip()
    flags = {flag.strip() for flag in message.field(obx, 8).split(message.repetition)}
    if status in _NO_VALUE_STATUS or flags & _NO_VALUE_FLAGS:
        return "no-value"
    if flags & _INVALID_FLAGS:
        return "invalid"
    return "questionable" if flags & _QUESTIONABLE_FLAGS else "valid"


def _alarms(message: _Message, order: Segment, results: list[Segment]) -> Iterator[dict[str, object]]:
    """Return the alarm of one OBR: its event, and what the segments beside it say of it."""
    said: dict[str, str] = {}
    event: Segment | None = None
    source = ""
    for obx in results:
        attribute = _ATTRIBUTES.get(message.part(obx, 3, 2)) or _ATTRIBUTES.get(message.part(obx, 3))
        if attribute is not None:
            said.setdefault(attribute, message.part(obx, 5))
        elif event is None:
            event = obx
        elif not source:
            source = message.part(obx, 3)  # a numeric alarm's own value: its code says of what
    if event is None:
        yield {"state": Unusable("nothing: no OBX says which alarm it is")}
        return
    code, name = message.part(event, 3), message.part(event, 3, 2)
    of = by_mdc(source)
    if code == _GENERAL_ALARM:
        code, name = message.part(event, 5), message.part(event, 5, 2)
    elif of is None:
        of = by_mdc(message.part(event, 5))
    flags = {flag.strip() for flag in message.field(event, 8).split(message.repetition)}
    phase, state = said.get("phase", ""), said.get("state", "")
    yield {
        "condition": _condition(code, name),
        "code": code,
        "state": _presence(phase, state),
        "priority": _first(_PRIORITIES, {said.get("priority", ""), *flags}, "medium"),
        "kind": _first(_KINDS, {said.get("type", ""), *flags}, "physiological" if of else "technical"),
        "parameter": of.name if of is not None else None,
        "text": said.get("text") or message.part(event, 5, 9) or message.part(event, 5, 2) or name,
        "time": message.part(event, 14) or message.part(order, 7) or None,
        "device": _device(message, order, results) or message.part(event, 18) or None,
    }


def _presence(phase: str, state: str) -> object:
    if phase == "end" or state in _ENDED:
        return "absent"
    if state in _GOING or phase in _GOING:
        return "present"
    return Unusable("nothing: neither event phase nor alarm state says so")


def _condition(code: str, name: str) -> object:
    known = _EVENTS.get(code) or _EVENTS.get(name)
    if known:
        return known
    word = re.sub(r"[^a-z0-9]+", "_", name.removeprefix("MDC_EVT_").removeprefix("MDC_").lower()).strip("_")
    if word[:1].isalpha():
        return word[:60]
    return f"mdc_{code}" if code.isdecimal() else Unusable("neither a code nor a name says which alarm it is")


def _first(words: dict[str, str], given: set[str], other: str) -> str:
    return next((meaning for word, meaning in words.items() if word in given), other)

"""Subscriptions by topic (R4 backport): what one asks for, and the notifications that it gets."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from msgspec import Struct, json

from hub.fhir.resource import Resource
from hub.fhir.times import instant
from hub.fhir.validate import Issue

TOPICS: Final = ("vitals", "alarm", "device-status")
TOPIC: Final = "urn:wardhub:topic:"
"""In front of a topic's name: the canonical that a Subscription's criteria holds."""
_BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
FILTER: Final = _BACKPORT + "backport-filter-criteria"
CONTENT: Final = _BACKPORT + "backport-payload-content"
HEARTBEAT: Final = _BACKPORT + "backport-heartbeat-period"

Content = Literal["empty", "id-only", "full-resource"]
Notification = Literal["handshake", "heartbeat", "event-notification", "query-status", "query-event"]


class Wanted(Struct, frozen=True):
    """What a Subscription asks for."""

    topic: str
    channel: str
    """rest-hook or websocket."""
    endpoint: str
    headers: dict[str, str]
    content: Content
    heartbeat_s: int
    """0 for none."""
    patients: frozenset[str]
    """Patient ids; empty for all."""
    codes: frozenset[str]
    """Codes, or system|code; empty for all."""
    wards: frozenset[str]
    """Location ids of wards; empty for all."""

    def takes(self, patient: str | None, ward: str | None, codings: Sequence[tuple[str, str]]) -> bool:
        """Tell whether an event is asked for: of this Patient id, in this ward, with these codes."""
        if self.patients and (patient is None or patient not in self.patients):
            return False
        if self.wards and (ward is None or ward not in self.wards):
            return False
        return not self.codes or any(
            code in self.codes or f"{system}|{code}" in self.codes for system, code in codings
        )


class Event(Struct, frozen=True):
    """One event as a notification tells it."""

    number: int
    focus: str
    time_ns: int
    resource: bytes
    """Empty where it is no longer kept."""


def wanted(resource: Mapping[str, Any]) -> tuple[Wanted | None, list[Issue]]:
    """Return what a valid Subscription resource asks for, or why it can't be had."""
    issues: list[Issue] = []
    topic = str(resource.get("criteria", "")).removeprefix(TOPIC)
    if topic not in TOPICS:
        expected = ", ".join(TOPIC + name for name in TOPICS)
        issues.append(Issue("not-supported", f"expected one of {expected}", "Subscription.criteria"))
    channel = resource.get("channel", {})
    kind, endpoint = str(channel.get("type")), str(channel.get("endpoint", ""))
    if kind not in ("rest-hook", "websocket"):
        issues.append(Issue("not-supported", "expected rest-hook or websocket", "Subscription.channel.type"))
    if kind == "rest-hook" and not endpoint.startswith(("http://", "https://")):
        issues.append(Issue("value", "expected an http or https address", "Subscription.channel.endpoint"))
    if channel.get("payload", "application/fhir+json") not in ("application/fhir+json", "application/json"):
        text = "expected application/fhir+json"
        issues.append(Issue("not-supported", text, "Subscription.channel.payload"))
    headers = {}
    for line in channel.get("header", ()):
        name, colon, value = str(line).partition(":")
        if not colon or not name.strip().isascii() or "\n" in line or "\r" in line:
            issues.append(Issue("value", "expected Name: value", "Subscription.channel.header"))
        headers[name.strip()] = value.strip()
    content = _extension(channel.get("_payload"), CONTENT).get("valueCode", "id-only")
    if content not in ("empty", "id-only", "full-resource"):
        text = "expected empty, id-only or full-resource"
        issues.append(Issue("value", text, "Subscription.channel.payload.extension"))
    filters = _filters(resource, issues)
    if issues:
        return None, issues
    return (
        Wanted(
            topic=topic,
            channel=kind,
            endpoint=endpoint,
            headers=headers,
            content=content,
            heartbeat_s=int(_extension(channel, HEARTBEAT).get("valueUnsignedInt", 0)),
            patients=frozenset(text.removeprefix("Patient/") for text in filters["patient"]),
            codes=frozenset(filters["code"]),
            wards=frozenset(text.removeprefix("Location/") for text in filters["ward"]),
        ),
        [],
    )


def _filters(resource: Mapping[str, Any], issues: list[Issue]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"patient": set(), "code": set(), "ward": set()}
    element = resource.get("_criteria")
    extensions = element.get("extension", ()) if isinstance(element, Mapping) else ()
    for extension in extensions:
        if extension.get("url") != FILTER:
            continue
        for name, value in parse_qsl(str(extension.get("valueString", "")).rpartition("?")[2]):
            if name not in found:
                text = f"expected patient, code or ward, found {name[:32]}"
                issues.append(Issue("not-supported", text, "Subscription.criteria.extension"))
            else:
                found[name] |= set(value.split(","))
    return found


def _extension(element: object, url: str) -> Mapping[str, Any]:
    if isinstance(element, Mapping):
        for one in element.get("extension", ()):
            if one.get("url") == url:
                found: Mapping[str, Any] = one
                return found
    return {}


def notification(
    base: str,
    subscription: str,
    asked: Wanted,
    status: str,
    kind: Notification,
    total: int,
    events: Sequence[Event] = (),
) -> bytes:
    """Render a notification: a Bundle of type history, whose first entry is the status.

    `base` is the server's address, `total` the events since the subscription began: a gap shows by it.
    """
    told = status_parameters(subscription, asked, status, kind, total, events)
    url = f"{base}/Subscription/{subscription}/$status"
    entries = [
        b'{"fullUrl":%b,"resource":%b,"request":{"method":"GET","url":%b},"response":{"status":"200"}}'
        % (json.encode(f"urn:wardhub:status:{subscription}:{total}"), json.encode(told), json.encode(url))
    ]
    for event in events if asked.content != "empty" else ():
        resource = b""
        if asked.content == "full-resource" and event.resource:
            resource = b'"resource":%b,' % event.resource
        entries.append(
            b'{"fullUrl":%b,%b"request":{"method":"PUT","url":%b},"response":{"status":"200"}}'
            % (json.encode(f"{base}/{event.focus}"), resource, json.encode(event.focus))
        )
    return b'{"resourceType":"Bundle","type":"history","entry":[%b]}' % b",".join(entries)


def status_parameters(
    subscription: str,
    asked: Wanted,
    status: str,
    kind: Notification,
    total: int,
    events: Sequence[Event] = (),
) -> Resource:
    """Render the status of a subscription: a Parameters resource in R4."""
    parameters: list[dict[str, Any]] = [
        {"name": "subscription", "valueReference": {"reference": f"Subscription/{subscription}"}},
        {"name": "topic", "valueCanonical": TOPIC + asked.topic},
        {"name": "status", "valueCode": status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(total)},
    ]
    for event in events:
        parts: list[dict[str, Any]] = [
            {"name": "event-number", "valueString": str(event.number)},
            {"name": "timestamp", "valueInstant": instant(event.time_ns)},
        ]
        if asked.content != "empty":
            parts.append({"name": "focus", "valueReference": {"reference": event.focus}})
        parameters.append({"name": "notification-event", "part": parts})
    return {"resourceType": "Parameters", "parameter": parameters}

"""Alarm conditions as DetectedIssue (what was found and what was done) and Flag (what is present now).

R4 has no resource for alarms; the hub's own alarm API tells more.
"""

from typing import Any

from hub.alarms.alarm import Alarm, AlarmEvent
from hub.fhir.codes import GROUP_OF
from hub.fhir.device import device_id
from hub.fhir.ids import OBSERVATIONS, resource_id
from hub.fhir.location import bed_id, site_id
from hub.fhir.observation import metric_id
from hub.fhir.resource import Resource, reference, versioned
from hub.fhir.times import instant
from hub.model import Priority
from hub.vocabulary import MDC_SYSTEM

CONDITION_SYSTEM = "urn:wardhub:alarm-condition"
PRIORITY_SYSTEM = "urn:wardhub:alarm-priority"
IDENTIFIER = "urn:wardhub:alarm"

_MDC = {
    "limit_high": ("196648", "MDC_EVT_HI"),
    "limit_low": ("196670", "MDC_EVT_LO"),
    "occlusion": ("196940", "MDC_EVT_FLUID_LINE_OCCL"),
}
_ANY = ("196616", "MDC_EVT_ALARM")
_SEVERITY: dict[Priority, str] = {"high": "high", "medium": "moderate", "low": "low", "information": "low"}


def alarm_id(alarm: Alarm) -> str:
    """Return the id of an alarm's DetectedIssue and Flag."""
    return resource_id(alarm.id)


def detected_issue(event: AlarmEvent) -> Resource:
    """Render an alarm condition as of its newest event, with what people did about it."""
    alarm = event.alarm
    period = {"start": instant(alarm.onset_ns)}
    if alarm.ended_ns is not None:
        period["end"] = instant(max(alarm.ended_ns, alarm.onset_ns))
    resource: Resource = {
        "resourceType": "DetectedIssue",
        "id": alarm_id(alarm),
        "identifier": [{"system": IDENTIFIER, "value": alarm.id}],
        "status": "final" if event.event == "end" else "preliminary",
        "code": _code(alarm),
        "severity": _SEVERITY[alarm.priority],
        "identifiedPeriod": period,
        "author": reference("Device", device_id(alarm.site, alarm.device)),
        "detail": alarm.text or alarm.condition,
    }
    patient = alarm.patient or event.patient
    if patient is not None:
        resource["patient"] = reference("Patient", resource_id(patient))
    if alarm.parameter in GROUP_OF:
        group = GROUP_OF[alarm.parameter or ""]
        metric = metric_id(alarm.site, alarm.device, OBSERVATIONS, group.name)
        resource["implicated"] = [reference("DeviceMetric", metric)]
    signal = event.signal
    if signal is not None and signal.acknowledged_ns is not None:
        action: dict[str, Any] = {"action": {"text": "Alarm acknowledged"}}
        action["date"] = instant(signal.acknowledged_ns)
        resource["mitigation"] = [action]
    return versioned(resource, instant(event.time_ns))


def flag(event: AlarmEvent) -> Resource:
    """Render an alarm as a Flag of the patient or, where it is nobody's, of the place."""
    alarm = event.alarm
    patient = alarm.patient or event.patient
    if patient is not None:
        subject = reference("Patient", resource_id(patient))
    elif event.bed is not None:
        subject = reference("Location", bed_id(alarm.site, event.bed))
    else:
        subject = reference("Location", site_id(alarm.site))
    period = {"start": instant(alarm.onset_ns)}
    ended = event.event == "end"
    if ended:
        period["end"] = instant(max(alarm.ended_ns or event.time_ns, alarm.onset_ns))
    category = {"coding": [{"system": PRIORITY_SYSTEM, "code": alarm.priority}], "text": alarm.kind}
    return versioned(
        {
            "resourceType": "Flag",
            "id": alarm_id(alarm),
            "identifier": [{"system": IDENTIFIER, "value": alarm.id}],
            "status": "inactive" if ended else "active",
            "category": [category],
            "code": _code(alarm),
            "subject": subject,
            "period": period,
            "author": reference("Device", device_id(alarm.site, alarm.device)),
        },
        instant(event.time_ns),
    )


def _code(alarm: Alarm) -> dict[str, Any]:
    code, display = _MDC.get(alarm.condition, _ANY)
    return {
        "coding": [
            {"system": CONDITION_SYSTEM, "code": alarm.condition},
            {"system": MDC_SYSTEM, "code": code, "display": display},
        ],
        "text": alarm.text or alarm.condition,
    }

"""Devices, and what they measure or are set to, as Device and DeviceMetric."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hub.alarms.rules import Limit, Side
from hub.fhir.codes import Group, quantity
from hub.fhir.ids import OBSERVATIONS, resource_id
from hub.fhir.location import bed_id
from hub.fhir.observation import metric_id
from hub.fhir.resource import Resource, reference, versioned
from hub.vocabulary import MDC_SYSTEM, PARAMETERS, UCUM_SYSTEM
from hub.ward.model import DeviceEntry, Placement

IDENTIFIER = "urn:wardhub:device"
EUI64 = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"
LIMITS = "urn:wardhub:fhir:alarm-limits"
"""Extension of a DeviceMetric: the alarm limits in force. R4 has no element for them."""

_EUI64 = re.compile(r"[0-9A-Fa-f]{2}(?:[-:]?[0-9A-Fa-f]{2}){7}")
_MONITORED = frozenset({"heart_rate", "spo2", "arterial_mean"})
_CATEGORY = {"measurement": "measurement", "setting": "setting", "device-status": "measurement"}
_OPERATIONAL = {"online": "on", "offline": "off", "standby": "standby"}


def device_id(site: str, device: str) -> str:
    """Return the id of a device's Device."""
    return resource_id(site, device)


def device(entry: DeviceEntry, placement: Placement, of: Iterable[str] = ()) -> Resource:
    """Render a device where it is now. `of` are the parameters that it tells: they say of what type it is."""
    own = [{"system": IDENTIFIER, "value": f"{entry.site}/{entry.id}"}]
    if _EUI64.fullmatch(entry.id):
        own.append({"system": EUI64, "value": re.sub("[-:]", "", entry.id).upper()})
    resource: Resource = {
        "resourceType": "Device",
        "id": device_id(entry.site, entry.id),
        "identifier": own,
        "status": "active" if entry.registered else "inactive",
        "deviceName": [{"name": entry.id, "type": "user-friendly-name"}],
    }
    kind = _type(of)
    if kind is not None:
        resource["type"] = {"coding": [{"system": MDC_SYSTEM, "code": kind[0], "display": kind[1]}]}
    if entry.definition:
        resource["version"] = [{"type": {"text": "device definition"}, "value": entry.definition}]
    if placement.patient is not None:
        resource["patient"] = reference("Patient", resource_id(placement.patient))
    if placement.bed is not None:
        resource["location"] = reference("Location", bed_id(entry.site, placement.bed))
    return versioned(resource)


def _type(parameters: Iterable[str]) -> tuple[str, str] | None:
    names = set(parameters)
    if any(name.startswith("pump_") for name in names):
        return ("69985", "MDC_DEV_PUMP_INFUS_MDS")
    return ("69965", "MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS") if names & _MONITORED else None


def metric(
    entry: DeviceEntry,
    group: Group,
    *,
    channel: str = OBSERVATIONS,
    state: str | None = None,
    interval_s: float | None = None,
    limits: Mapping[str, Sequence[Side]] | None = None,
) -> Resource:
    """Render what a device measures or is set to: operational status, interval and alarm limits in force."""
    parameter = PARAMETERS[group.members[0]]
    source = reference("Device", device_id(entry.site, entry.id))
    resource: Resource = {
        "resourceType": "DeviceMetric",
        "id": metric_id(entry.site, entry.id, channel, group.name),
        "type": group.code,
        "source": source,
        "parent": source,
        "category": _CATEGORY.get(parameter.kind, "measurement"),
    }
    extensions = [_limits(name, limits[name]) for name in group.members if limits and limits.get(name)]
    if extensions:
        resource["extension"] = extensions
    if parameter.unit:
        resource["unit"] = {
            "coding": [{"system": UCUM_SYSTEM, "code": parameter.unit}],
            "text": parameter.unit,
        }
    if state in _OPERATIONAL:
        resource["operationalStatus"] = _OPERATIONAL[state]
    if interval_s:
        resource["measurementPeriod"] = {"repeat": {"frequency": 1, "period": interval_s, "periodUnit": "s"}}
    return versioned(resource)


def _limits(name: str, sides: Sequence[Side]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"url": "parameter", "valueString": name}]
    for side in sides:
        for level, limit in (("warning", side.warning), ("critical", side.critical)):
            if limit is not None:
                parts.append({"url": f"{limit.side}-{level}", "valueQuantity": _bound(limit)})
    return {"url": LIMITS, "extension": parts}


def _bound(limit: Limit) -> dict[str, Any]:
    return quantity(limit.bound, PARAMETERS[limit.parameter].unit)

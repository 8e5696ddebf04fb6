"""Readings as Observations, as JSON text.

Built from fragments that are rendered once for each parameter and device: about a tenth of what building and
dumping a model costs, at the same content (tests/unit/fhir compares the two for every kind).
"""

from functools import cache, lru_cache
from hashlib import blake2b

from msgspec import Struct, json

from hub.fhir.codes import (
    ABSENT_SYSTEM,
    GROUP_OF,
    STATUS_SYSTEM,
    Group,
    category,
    coded_value,
    concept,
    plain,
)
from hub.fhir.ids import channel_key, device_key, resource_id
from hub.fhir.times import instant
from hub.model import Quality, Reading, Value
from hub.vocabulary import PARAMETERS, UCUM_SYSTEM

ABSENT: dict[str, str] = {"invalid": "error", "no-value": "not-performed", "": "unknown"}
"""Why there is no value, by quality (Point-of-Care Device guide); "" where the reading has no such value."""

_ABSENT_DISPLAY = {"error": "Error", "not-performed": "Not Performed", "unknown": "Unknown"}
_QUESTIONABLE = {"system": STATUS_SYSTEM, "code": "questionable", "display": "Questionable"}
_TAG = ',"tag":[' + json.encode(_QUESTIONABLE).decode() + "]"
_INTERPRETATION = ',"interpretation":[' + json.encode({"coding": [_QUESTIONABLE]}).decode() + "]"


class Attribution(Struct, frozen=True):
    """Whose a reading is: surrogate id of the patient, id of the Encounter; None where nobody's."""

    patient: str | None = None
    encounter: str | None = None


NOBODY = Attribution()


class _Parts(Struct, frozen=True):
    """Fragments that all Observations of one group of one device share."""

    id_tail: str
    head: str
    """Between lastUpdated (and tag) and the subject."""
    profile: str
    subject: str
    """The device as subject; empty where the patient is."""
    unplaced: str
    """As `head`, for a reading of nobody: no vital sign without a patient."""
    device: str


def groups_in(reading: Reading) -> list[Group]:
    """Return what of a reading becomes an Observation, in order of the reading's values."""
    found = dict.fromkeys(GROUP_OF[name].name for name in reading.values if name in GROUP_OF)
    for name in reading.exceptions or ():
        if name in GROUP_OF:
            found.setdefault(GROUP_OF[name].name)
    return [_GROUPS[name] for name in found]


def observations(reading: Reading, attribution: Attribution = NOBODY) -> list[bytes]:
    """Render every Observation of a reading."""
    return [observation(reading, group, attribution) for group in groups_in(reading)]


def observation(reading: Reading, group: Group, attribution: Attribution = NOBODY) -> bytes:
    """Render one Observation of a reading, which has at least one of the group's parameters."""
    parts = _parts(reading.site, reading.device, reading.channel, group.name)
    if group.is_panel:
        content, questionable = _components(reading, group)
    else:
        content, questionable = _value(reading, group.members[0])
    subject, head, profile = parts.subject, parts.head, parts.profile
    if not subject:
        if attribution.patient is None:
            subject, head, profile = _device_subject(reading.site, reading.device), parts.unplaced, ""
        else:
            subject = _patient_subject(attribution.patient)
    encounter = _encounter(attribution.encounter) if attribution.encounter else ""
    received = instant(reading.received_ns)
    rest = (
        f'"lastUpdated":"{received}"{profile}{_TAG if questionable else ""}}}{head}{subject}{encounter}'
        f',"effectiveDateTime":"{instant(reading.time_ns)}","issued":"{received}"{content}{parts.device}'
    )
    body = rest.encode()
    return (
        f'{{"resourceType":"Observation","id":"{device_key(reading.site, reading.device)}.'
        f'{reading.time_ns:016x}.{parts.id_tail}","meta":{{"versionId":"{version(body)}",'
    ).encode() + body


def version(content: bytes) -> str:
    """Return a version id that changes with the content alone."""
    return blake2b(content, digest_size=8).hexdigest()


def number(value: float) -> str:
    """Return a number as JSON, a whole one without a fraction."""
    return repr(plain(value))


_GROUPS = {group.name: group for group in GROUP_OF.values()}


def _value(reading: Reading, name: str) -> tuple[str, bool]:
    """Return the value[x] or the reason for none, and whether it is questionable."""
    exceptions = reading.exceptions
    if exceptions is None or name not in exceptions:
        return _valued(name, reading.values[name]), False
    quality: Quality = exceptions[name][0]
    if quality == "questionable" and name in reading.values:
        return _valued(name, reading.values[name]) + _INTERPRETATION, True
    return _absent(ABSENT.get(quality, "error")), False


def _valued(name: str, value: Value) -> str:
    if isinstance(value, str):
        return _worded(name, value)
    return f',"valueQuantity":{{"value":{number(value)}{_unit(name)}'


def _components(reading: Reading, group: Group) -> tuple[str, bool]:
    rendered, any_questionable = [], False
    exceptions = reading.exceptions or {}
    for name in group.members:
        if name in reading.values or name in exceptions:
            content, questionable = _value(reading, name)
            any_questionable |= questionable
        elif name in group.required:
            content = _absent(ABSENT[""])
        else:
            continue
        rendered.append(f'{{"code":{_code(name)}{content}}}')
    return f',"component":[{",".join(rendered)}]', any_questionable


@cache
def _code(name: str) -> str:
    return json.encode(concept(PARAMETERS[name])).decode()


@cache
def _unit(name: str) -> str:
    unit = PARAMETERS[name].unit
    return f',"unit":{_text(unit)},"system":"{UCUM_SYSTEM}","code":{_text(unit)}}}'


@lru_cache(maxsize=4_096)
def _worded(name: str, value: str) -> str:
    if name in PARAMETERS and PARAMETERS[name].longest:
        return f',"valueString":{_text(value)}'
    return f',"valueCodeableConcept":{json.encode(coded_value(name, value)).decode()}'


@cache
def _absent(code: str) -> str:
    coding = {"system": ABSENT_SYSTEM, "code": code, "display": _ABSENT_DISPLAY[code]}
    return f',"dataAbsentReason":{json.encode({"coding": [coding]}).decode()}'


@lru_cache(maxsize=65_536)
def _parts(site: str, device: str, channel: str, group_name: str) -> _Parts:
    group = _GROUPS[group_name]
    key = channel_key(channel)
    code = json.encode(group.code).decode()
    vital = group.category == "vital-signs"
    kind = f',"category":[{json.encode(category(group.category)).decode()}]'
    metric = metric_id(site, device, channel, group.name)
    return _Parts(
        id_tail=group.name + (f".{key}" if key else ""),
        head=f',"status":"final"{kind},"code":{code}',
        profile=f',"profile":["{group.profile}"]' if group.profile else "",
        subject="" if group.of_patient else _device_subject(site, device),
        unplaced=f',"status":"final"{"" if vital else kind},"code":{code}',
        device=f',"device":{{"reference":"DeviceMetric/{metric}"}}}}',
    )


def metric_id(site: str, device: str, channel: str, group: str) -> str:
    """Return the id of the DeviceMetric that an Observation names."""
    key = channel_key(channel)
    return resource_id(site, device, group, channel) if key else resource_id(site, device, group)


@lru_cache(maxsize=65_536)
def _device_subject(site: str, device: str) -> str:
    return f',"subject":{{"reference":"Device/{resource_id(site, device)}"}}'


@lru_cache(maxsize=65_536)
def _patient_subject(patient: str) -> str:
    return f',"subject":{{"reference":"Patient/{resource_id(patient)}"}}'


@lru_cache(maxsize=65_536)
def _encounter(encounter: str) -> str:
    return f',"encounter":{{"reference":"Encounter/{encounter}"}}'


def _text(text: str) -> str:
    return json.encode(text).decode()

"""Readings as Observations, as JSON text.

Built from fragments that are rendered once for each parameter and device: about a tenth of what building and
dumping a model costs, at the same content (tests/unit/fhir compares the two for every kind).
"""

from collections.abc import Iterable, Iterator
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
    profile: str
    head: str
    """What follows lastUpdated, profile and tag; with the subject where that is the device."""
    unplaced: str
    """As `head`, for a reading of nobody: no vital sign without a patient."""
    device: str


def groups_in(reading: Reading) -> tuple[Group, ...]:
    """Return what of a reading becomes an Observation, in order of the reading's values."""
    return _groups_in((*reading.values, *(reading.exceptions or ())))


def groups_by_name(reading: Reading) -> tuple[Group, ...]:
    """Return what of a reading becomes an Observation, in order of the groups' names."""
    return _groups_by_name((*reading.values, *(reading.exceptions or ())))


@lru_cache(maxsize=4_096)
def _groups_in(names: tuple[str, ...]) -> tuple[Group, ...]:
    found = dict.fromkeys(GROUP_OF[name].name for name in names if name in GROUP_OF)
    return tuple(_GROUPS[name] for name in found)


@lru_cache(maxsize=4_096)
def _groups_by_name(names: tuple[str, ...]) -> tuple[Group, ...]:
    return tuple(sorted(_groups_in(names), key=lambda group: group.name))


def observations(reading: Reading, attribution: Attribution = NOBODY) -> list[bytes]:
    """Render every Observation of a reading."""
    return [content for _, content in rendered(reading, groups_in(reading), attribution)]


def observation(reading: Reading, group: Group, attribution: Attribution = NOBODY) -> bytes:
    """Render one Observation of a reading, which has at least one of the group's parameters."""
    return next(rendered(reading, (group,), attribution))[1]


def rendered(
    reading: Reading, groups: Iterable[Group], attribution: Attribution = NOBODY
) -> Iterator[tuple[str, bytes]]:
    """Give ids and Observations of a reading, which has at least one parameter of each group."""
    fragments = _fragments(reading.site, reading.device, reading.channel)
    start = f"{device_key(reading.site, reading.device)}.{reading.time_ns:016x}."
    received = instant(reading.received_ns)
    patient = "" if attribution.patient is None else _patient_subject(attribution.patient)
    encounter = "" if attribution.encounter is None else _encounter(attribution.encounter)
    times = f'{encounter},"effectiveDateTime":"{instant(reading.time_ns)}","issued":"{received}"'
    for group in groups:
        parts = fragments.get(group.name)
        if parts is None:
            parts = fragments[group.name] = _parts(reading.site, reading.device, reading.channel, group)
        if group.is_panel:
            content, questionable = _components(reading, group)
        else:
            content, questionable = _value(reading, group.members[0])
        profile, head, subject = parts.profile, parts.head, ""
        if group.of_patient:
            subject = patient
            if not patient:
                profile, head = "", parts.unplaced
        rest = (
            f'"lastUpdated":"{received}"{profile}{_TAG if questionable else ""}{head}{subject}{times}'
            f"{content}{parts.device}"
        ).encode()
        own = start + parts.id_tail
        front = f'{{"resourceType":"Observation","id":"{own}","meta":{{"versionId":"{version(rest)}",'
        yield own, front.encode() + rest


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
    parts, any_questionable = [], False
    exceptions = reading.exceptions or {}
    for name in group.members:
        if name in reading.values or name in exceptions:
            content, questionable = _value(reading, name)
            any_questionable |= questionable
        elif name in group.required:
            content = _absent(ABSENT[""])
        else:
            continue
        parts.append(f'{{"code":{_code(name)}{content}}}')
    return f',"component":[{",".join(parts)}]', any_questionable


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
def _fragments(_site: str, _device: str, _channel: str) -> dict[str, _Parts]:
    """Return what is rendered already of one channel of a device, by group; there are as many as GROUPS."""
    return {}


def _parts(site: str, device: str, channel: str, group: Group) -> _Parts:
    key = channel_key(channel)
    code = json.encode(group.code).decode()
    vital = group.category == "vital-signs"
    kind = f',"category":[{json.encode(category(group.category)).decode()}]'
    metric = metric_id(site, device, channel, group.name)
    own = _device_subject(site, device)
    return _Parts(
        id_tail=group.name + (f".{key}" if key else ""),
        profile=f',"profile":["{group.profile}"]' if group.profile else "",
        head=f'}},"status":"final"{kind},"code":{code}{"" if group.of_patient else own}',
        unplaced=f'}},"status":"final"{"" if vital else kind},"code":{code}{own}',
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

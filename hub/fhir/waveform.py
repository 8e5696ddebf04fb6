"""Waveforms and windows of readings as Observations with SampledData: one a stretch, not one a value."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import json

from hub.fhir.codes import GROUP_OF, Group, category
from hub.fhir.ids import observation_id, resource_id
from hub.fhir.observation import NOBODY, Attribution, metric_id, number, version
from hub.fhir.times import SECOND_NS, instant
from hub.model import Reading, Waveform
from hub.vocabulary import PARAMETERS, UCUM_SYSTEM

WAVEFORMS = "waveforms"
"""The channel in the ids of waveforms."""
_MISSING = "E"
"""SampledData: no valid value at this time."""


def waveform(window: Waveform, attribution: Attribution = NOBODY) -> bytes:
    """Render one window of a waveform; its samples stay whole numbers, scale and offset are told once."""
    group = GROUP_OF[window.waveform]
    sampled = {
        # Samples of no absolute scale come without a unit: the vocabulary has an annotation for them.
        "origin": _origin(window.offset, window.unit or PARAMETERS[window.waveform].unit),
        "period": _plain(1000 / window.rate),
        **({} if window.scale == 1 else {"factor": _plain(window.scale)}),
        "dimensions": 1,
        "data": _data(window.samples),
    }
    start_ns = window.time_ns
    end_ns = start_ns + round(max(0, len(window.samples) - 1) * SECOND_NS / window.rate)
    return _render(
        window.site,
        window.device,
        WAVEFORMS,
        group,
        start_ns,
        end_ns,
        window.received_ns,
        sampled,
        attribution,
    )


def windows(readings: Sequence[Reading], period_s: float, attribution: Attribution = NOBODY) -> list[bytes]:
    """Render readings of one channel of one device, oldest first, as one Observation for each parameter.

    Each is one window of evenly spaced steps of `period_s`, from the first reading on; a step without a
    valid value is `E`, of several values in one step the last counts. Panels and coded values are left out:
    they are spot readings.
    """
    if not readings:
        return []
    first = readings[0]
    step_ns = max(1, round(period_s * SECOND_NS))
    steps = (readings[-1].time_ns - first.time_ns) // step_ns + 1
    names = dict.fromkeys(name for reading in readings for name in reading.values if is_sampled(name))
    rendered = []
    for name in names:
        samples: list[float | None] = [None] * steps
        for reading in readings:
            value = reading.values.get(name)
            if isinstance(value, float | int):
                samples[(reading.time_ns - first.time_ns) // step_ns] = value
        sampled = {
            "origin": _origin(0, PARAMETERS[name].unit),
            "period": _plain(period_s * 1000),
            "dimensions": 1,
            "data": _data(samples),
        }
        end_ns = first.time_ns + (steps - 1) * step_ns
        received_ns = max(reading.received_ns for reading in readings)
        rendered.append(
            _render(
                first.site, first.device, first.channel, GROUP_OF[name], first.time_ns, end_ns, received_ns,
                sampled, attribution,
            )
        )  # fmt: skip
    return rendered


def is_sampled(name: str) -> bool:
    """Tell whether a parameter goes into windows: a number that is told alone."""
    parameter = PARAMETERS.get(name)
    return (
        name in GROUP_OF
        and not GROUP_OF[name].is_panel
        and parameter is not None
        and parameter.is_number
        and parameter.kind != "waveform"
    )


def _render(
    site: str,
    device: str,
    channel: str,
    group: Group,
    start_ns: int,
    end_ns: int,
    received_ns: int,
    sampled: dict[str, Any],
    attribution: Attribution,
) -> bytes:
    patient = attribution.patient if group.of_patient else None
    subject = f"Patient/{resource_id(patient)}" if patient else f"Device/{resource_id(site, device)}"
    # The vital signs profiles want a Quantity: a window claims none of them.
    kind = "procedure" if group.category == "vital-signs" else group.category
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": observation_id(site, device, channel, start_ns, group.name),
        "meta": {"lastUpdated": instant(received_ns)},
        "status": "final",
        "category": [category(kind)],
        "code": group.code,
        "subject": {"reference": subject},
        **(
            {"encounter": {"reference": f"Encounter/{attribution.encounter}"}}
            if attribution.encounter
            else {}
        ),
        "effectivePeriod": {"start": instant(start_ns), "end": instant(end_ns)},
        "issued": instant(received_ns),
        "valueSampledData": sampled,
        "device": {"reference": f"DeviceMetric/{metric_id(site, device, channel, group.name)}"},
    }
    resource["meta"]["versionId"] = version(json.encode(resource))
    return json.encode(resource)


def _origin(value: float, unit: str) -> dict[str, Any]:
    # An empty text is none in FHIR.
    return {"value": _plain(value), **({"unit": unit, "system": UCUM_SYSTEM, "code": unit} if unit else {})}


def _data(samples: Iterable[float | None]) -> str:
    return " ".join(_MISSING if sample is None else number(sample) for sample in samples)


def _plain(value: float) -> float:
    return int(value) if value == value // 1 else value

"""From what a device sent to a Reading: names, units, plausibility, quality, time and identity. Pure.

An implausible value is kept and flagged invalid; a name or a type that the vocabulary doesn't have is
rejected, that value alone. `0` is a value; `None` and NaN are "no value".
"""

from collections.abc import Mapping
from math import inf, isfinite

from hub.clock import ClockLimits, DeviceClock
from hub.devices.decode import Observed, Refused
from hub.model import Quality, Reading, Value
from hub.vocabulary import PARAMETERS, Parameter, unknown

MILLISECOND_NS = 1_000_000
_FAR_NS = 2**62
"""The year 2116: times beyond it (they don't fit 64 bits) are as far off as it is."""

_NUMERIC = {
    name: (parameter.low, parameter.high)
    for name, parameter in PARAMETERS.items()
    if parameter.is_number and parameter.kind != "waveform"
}
Exceptions = dict[str, tuple[Quality, Value | None]]


def determination_time(corrected_ns: int, seq: int) -> int:
    """Return the time that identifies a reading: its milliseconds, and below them digits from `seq`."""
    return corrected_ns // MILLISECOND_NS * MILLISECOND_NS + seq % MILLISECOND_NS


def normalise(
    observed: Observed,
    site: str,
    device: str,
    clock: DeviceClock,
    limits: ClockLimits,
    received_ns: int,
    seq: int,
    refused: list[Refused],
) -> Reading:
    """Judge one set of values and return it as a Reading; what can't be used is appended to `refused`.

    `seq` is the message's sequence number, or a hash of its payload where the format has none.
    """
    corrected_ns = received_ns
    device_ns = observed.time_ns
    if device_ns:
        if not -_FAR_NS <= device_ns <= _FAR_NS:
            device_ns = _FAR_NS if device_ns > 0 else -_FAR_NS
        corrected_ns = clock.correct(device_ns, received_ns, limits)
    values, exceptions = clean_values(observed.values, observed.units, observed.quality, refused)
    if device_ns and not clock.trusted:
        exceptions = _doubt_all(values, exceptions)
    return Reading(
        site,
        device,
        observed.channel,
        determination_time(corrected_ns, seq),
        device_ns,
        received_ns,
        seq,
        values,
        exceptions,
    )


def clean_values(
    sent: dict[str, float | str | None],
    units: Mapping[str, str] | None,
    quality: Mapping[str, str] | None,
    refused: list[Refused],
) -> tuple[dict[str, Value], Exceptions | None]:
    """Return the usable values in the vocabulary's units, and what is not simply valid."""
    odd = [] if not units and not quality else [*(units or ()), *(quality or ())]
    for name, value in sent.items():
        bounds = _NUMERIC.get(name)
        if bounds is None or type(value) is not float or not bounds[0] <= value <= bounds[1]:
            odd.append(name)
    if not odd:
        return sent, None  # type: ignore[return-value] # every value was just seen to be a float
    values: dict[str, Value] = {}
    exceptions: Exceptions = {}
    suspects = frozenset(odd)
    for name, value in sent.items():
        if name not in suspects:
            values[name] = value  # type: ignore[assignment] # a plausible float, seen above
            continue
        _judge(name, value, units, quality, values, exceptions, refused)
    for name in suspects.difference(sent):
        if quality and quality.get(name) not in (None, "valid"):
            _refuse(
                refused, f"$.quality.{name}", f"{name} has a quality but no value; send null for no value"
            )
    return values, exceptions or None


def _judge(
    name: str,
    value: float | str | None,
    units: Mapping[str, str] | None,
    quality: Mapping[str, str] | None,
    values: dict[str, Value],
    exceptions: Exceptions,
    refused: list[Refused],
) -> None:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        _refuse(refused, f"$.values.{name[:64]}", unknown(name[:64]))
        return
    if value is None or value != value:  # noqa: PLR0124 - NaN alone differs from itself
        exceptions[name] = ("no-value", None)
        return
    usable = _in_vocabulary_terms(parameter, value, units, refused)
    if usable is None:
        return
    sent_quality = quality.get(name, "valid") if quality else "valid"
    plausible = isinstance(usable, str) or parameter.low <= usable <= parameter.high
    if sent_quality == "invalid" or not plausible:
        exceptions[name] = ("invalid", usable)
        return
    values[name] = usable
    if sent_quality != "valid":
        exceptions[name] = ("questionable", usable)


def _in_vocabulary_terms(
    parameter: Parameter, value: float | str, units: Mapping[str, str] | None, refused: list[Refused]
) -> Value | None:
    name = parameter.name
    if parameter.kind == "waveform":
        _refuse(refused, f"$.values.{name}", f"{name} is a waveform; publish it on the waveforms channel")
        return None
    if not parameter.is_number:
        if isinstance(value, str) and parameter.holds(value):
            return value
        _refuse(refused, f"$.values.{name}", f"expected {parameter.expected}")
        return None
    if isinstance(value, str):
        _refuse(refused, f"$.values.{name}", "expected a number, found a string")
        return None
    try:
        value = float(value)
    except OverflowError:
        value = inf
    unit = units.get(name) if units else None
    if unit is not None and unit != parameter.unit:
        conversion = parameter.units.get(unit)
        if conversion is None:
            accepted = ", ".join(parameter.units)
            _refuse(refused, f"$.units.{name}", f"unit {unit[:32]!r} is not accepted; use one of {accepted}")
            return None
        value = value * conversion.scale + conversion.offset
    if not isfinite(value):
        _refuse(refused, f"$.values.{name}", "the number is too large to be represented")
        return None
    return value


def _doubt_all(values: dict[str, Value], exceptions: Exceptions | None) -> Exceptions:
    doubted: Exceptions = {name: ("questionable", value) for name, value in values.items()}
    return doubted | (exceptions or {})


def _refuse(refused: list[Refused], path: str, reason: str) -> None:
    refused.append(Refused(path, reason))

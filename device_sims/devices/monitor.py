"""A patient monitor: numerics once a second, cuff pressure at intervals, curves on request."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from device_sims.devices.device import Native, Publication
from device_sims.noise import uniform
from device_sims.physiology import Patient, Vitals
from device_sims.waveforms import ecg, pleth

_ECG_HZ = 250
_PLETH_HZ = 125
_ECG_MV = 0.005
"""Millivolts of one step of the ECG's samples."""


class Monitor:
    """A monitor at one patient, in the hub's own format."""

    def __init__(
        self,
        site: str,
        area: str,
        device: str,
        patient: Patient,
        *,
        hour: float = 12.0,
        nibp_s: float = 300.0,
        waveforms: bool = False,
    ) -> None:
        self.id = device
        self.interval_s = 1.0
        self._native = Native(site, area, device, self.interval_s, "sim-monitor")
        self._patient = patient
        self._hour = hour
        self._nibp_s = nibp_s
        self._waveforms = waveforms
        self._next_nibp_s: float | None = None
        self._beat = 0.0

    @property
    def will(self) -> Publication:
        """The last will."""
        return self._native.will

    def birth(self, at_ms: int) -> list[Publication]:
        """Tell that it is online."""
        return [self._native.status(at_ms, "online")]

    def farewell(self, at_ms: int) -> list[Publication]:
        """Tell that it is switched off."""
        return [self._native.status(at_ms, "offline")]

    def tick(self, t_s: float, at_ms: int) -> list[Publication]:
        """Measure: one observation, and one second of curves where wanted."""
        vitals = self._patient.vitals(t_s, self._hour)
        body: dict[str, Any] = {"values": self._numerics(vitals) | self._cuff(vitals, t_s)}
        if vitals.motion > 0.5 and vitals.spo2 is not None:
            body["quality"] = {"spo2": "questionable", "pulse_rate": "questionable"}
        publications = [self._native.publication("observations", at_ms, body)]
        if self._waveforms:
            publications += self._curves(vitals, at_ms)
        return publications

    def _numerics(self, vitals: Vitals) -> dict[str, float | None]:
        return {
            "heart_rate": _whole(vitals.heart_rate),
            "pulse_rate": _whole(vitals.pulse_rate),
            "spo2": _whole(vitals.spo2),
            "respiratory_rate": _whole(vitals.respiratory_rate),
            "temperature": round(vitals.temperature, 1),
        }

    def _cuff(self, vitals: Vitals, t_s: float) -> dict[str, float | None]:
        """Measure with the cuff when its interval is over; it is off by a few mmHg each time."""
        if self._next_nibp_s is None:
            # The beds of a ward don't all inflate in one second, and none waits long for its first value.
            self._next_nibp_s = t_s + int(5 * uniform(self._patient.seed, 7))
        if t_s < self._next_nibp_s:
            return {}
        self._next_nibp_s = t_s + self._nibp_s
        off = 4 * uniform(self._patient.seed, int(t_s)) - 2
        return {
            "nibp_systolic": round(vitals.systolic + off),
            "nibp_diastolic": round(vitals.diastolic + off / 2),
            "nibp_mean": round(vitals.mean + off / 2),
        }

    def _curves(self, vitals: Vitals, at_ms: int) -> list[Publication]:
        """Return the coming second of ECG and pleth; the phase goes on where the last one ended."""
        rate = vitals.heart_rate if vitals.heart_rate is not None else vitals.pulse_rate
        beats = (rate or 0.0) / 60
        phases = [(self._beat + beats * i / _ECG_HZ) % 1.0 for i in range(_ECG_HZ)]
        self._beat = (self._beat + beats) % 1.0
        flat = beats == 0
        curves: list[dict[str, Any]] = [
            {
                "waveform": "ecg_ii",
                "rate": _ECG_HZ,
                "scale": _ECG_MV,
                "unit": "mV",
                "samples": [
                    None if vitals.heart_rate is None else 0 if flat else round(ecg(phase) / _ECG_MV)
                    for phase in phases
                ],
            },
            {
                "waveform": "pleth",
                "rate": _PLETH_HZ,
                "samples": [
                    None if vitals.spo2 is None else round(1000 * pleth((phase - 0.2) % 1.0))
                    for phase in phases[:: _ECG_HZ // _PLETH_HZ]
                ],
            },
        ]
        return [self._native.publication("waveforms", at_ms, curve, qos=0) for curve in curves]


class PhilipsMonitor:
    """A Philips IntelliVue read by VSCapture: all strings, retained, `-` for no value."""

    will = None

    def __init__(self, device: str, patient: Patient, *, hour: float = 12.0) -> None:
        self.id = device
        self.interval_s = 1.0
        self._patient = patient
        self._hour = hour

    def birth(self, at_ms: int) -> list[Publication]:  # noqa: ARG002  the format has no birth
        """Say nothing."""
        return []

    def farewell(self, at_ms: int) -> list[Publication]:  # noqa: ARG002  nor a farewell
        """Say nothing."""
        return []

    def tick(self, t_s: float, at_ms: int) -> list[Publication]:
        """Measure: one array of one object a value."""
        vitals = self._patient.vitals(t_s, self._hour)
        values = {
            "NOM_ECG_CARD_BEAT_RATE": vitals.heart_rate,
            "NOM_PULS_RATE": vitals.pulse_rate,
            "NOM_PULS_OXIM_SAT_O2": vitals.spo2,
            "NOM_RESP_RATE": vitals.respiratory_rate,
        }
        clock = _day_first(at_ms)
        records = [
            {
                "Timestamp": clock,
                "Relativetimestamp": str(int(t_s * 8000)),
                "SystemLocalTime": clock,
                "PhysioID": name,
                "Value": "-" if value is None else str(round(value)),
                "DeviceID": self.id,
            }
            for name, value in values.items()
        ]
        return [Publication(f"intellivue/{self.id}/Numeric", msgspec.json.encode(records), 1, retain=True)]


def _day_first(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{moment:%d-%m-%Y %H:%M:%S}.{at_ms % 1000:03d}"


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)

"""A ventilator in the hub's own format: settings and what is measured, every two seconds."""

from device_sims.devices.device import Native, Publication
from device_sims.noise import seed_of, smooth
from device_sims.physiology import Patient

_LUNG_ML_CMH2O = 45.0
"""Compliance of a healthy adult's lungs and chest under ventilation."""
_RESISTANCE_CMH2O = 7.0
"""What the airways add at the peak."""


class Ventilator:
    """A volume-controlled ventilator at one patient; it stiffens with the lung of the patient."""

    def __init__(
        self,
        site: str,
        area: str,
        device: str,
        patient: Patient,
        *,
        tidal_ml: float = 450.0,
        rate: float = 14.0,
        peep: float = 6.0,
        hour: float = 12.0,
    ) -> None:
        self.id = device
        self.interval_s = 2.0
        self._native = Native(site, area, device, self.interval_s, "sim-ventilator")
        self._patient = patient
        self._tidal_ml = tidal_ml
        self._rate = rate
        self._peep = peep
        self._hour = hour

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
        """Measure."""
        vitals = self._patient.vitals(t_s, self._hour)
        seed = seed_of(self._patient.seed, "ventilator")
        tidal = self._tidal_ml * (1 + 0.03 * smooth(seed, t_s, 20))
        plateau = self._peep + tidal / _LUNG_ML_CMH2O
        values = {
            "ventilator_rate": round(self._rate),
            "tidal_volume": round(tidal),
            "tidal_volume_set": round(self._tidal_ml),
            "minute_volume": round(tidal * self._rate / 1000, 1),
            "peep": round(self._peep + 0.2 * smooth(seed, t_s, 13), 1),
            "plateau_pressure": round(plateau, 1),
            "peak_inspiratory_pressure": round(plateau + _RESISTANCE_CMH2O + smooth(seed, t_s, 9), 1),
            "fio2_set": 40,
            "etco2": round(vitals.etco2),
        }
        return [self._native.publication("observations", at_ms, {"values": values})]

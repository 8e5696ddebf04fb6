"""A spot-check thermometer: one value a round, nothing between."""

from device_sims.devices.device import Native, Publication
from device_sims.physiology import Patient


class Thermometer:
    """A thermometer that a nurse uses at one patient once a round; it sends degrees Fahrenheit if told so."""

    def __init__(
        self,
        site: str,
        area: str,
        device: str,
        patient: Patient,
        *,
        round_s: float = 3600.0,
        fahrenheit: bool = False,
        hour: float = 12.0,
    ) -> None:
        self.id = device
        self.interval_s = round_s
        self._native = Native(site, area, device, round_s, "sim-thermometer")
        self._patient = patient
        self._fahrenheit = fahrenheit
        self._hour = hour

    @property
    def will(self) -> Publication:
        """The last will."""
        return self._native.will

    def birth(self, at_ms: int) -> list[Publication]:
        """Tell that it is online."""
        return [self._native.status(at_ms, "online", battery=80.0)]

    def farewell(self, at_ms: int) -> list[Publication]:
        """Tell that it sleeps."""
        return [self._native.status(at_ms, "standby")]

    def tick(self, t_s: float, at_ms: int) -> list[Publication]:
        """Measure once."""
        celsius = self._patient.vitals(t_s, self._hour).temperature
        if self._fahrenheit:
            body = {
                "values": {"temperature": round(celsius * 1.8 + 32, 1)},
                "units": {"temperature": "[degF]"},
            }
        else:
            body = {"values": {"temperature": round(celsius, 1)}}
        return [self._native.publication("observations", at_ms, body)]

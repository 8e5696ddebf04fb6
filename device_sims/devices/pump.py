"""An infusion pump: drug, rate, volumes, line pressure, near end, end and occlusion."""

from dataclasses import dataclass
from typing import Any

import msgspec

from device_sims.devices.device import Native, Publication, psi
from device_sims.scenario import PumpPlan

SYRINGES = (
    PumpPlan(drug="Noradrenaline 4 mg/50 mL", rate_ml_h=4.8, volume_ml=50.0),
    PumpPlan(drug="Propofol 20 mg/mL", rate_ml_h=12.0, volume_ml=50.0),
)
"""What runs beside the infusion at the bed of a ventilated patient."""
_NEAR_END_S = 180.0
_RESTING_KPA = 12.0
_OCCLUDED_KPA = 90.0
_RISE_KPA_S = 3.5
_BATTERY_H = 8.0


@dataclass(frozen=True)
class PumpState:
    """The state of a pump at one time."""

    status: str
    """infusing, completed or alarm: the names of the hub's vocabulary."""
    rate_ml_h: float
    infused_ml: float
    remaining_ml: float
    pressure_kpa: float
    occluded: bool
    near_end: bool


def pump_state(plan: PumpPlan, t_s: float) -> PumpState:
    """Work out the state `t_s` seconds after the infusion began."""
    stop_s, pressure = t_s, _RESTING_KPA
    if plan.occlusion_s is not None and t_s > plan.occlusion_s:
        pressure = min(_RESTING_KPA + _RISE_KPA_S * (t_s - plan.occlusion_s), _OCCLUDED_KPA)
        stop_s = min(t_s, plan.occlusion_s + (_OCCLUDED_KPA - _RESTING_KPA) / _RISE_KPA_S)
    infused = min(plan.rate_ml_h * stop_s / 3600, plan.volume_ml)
    remaining = plan.volume_ml - infused
    occluded = pressure >= _OCCLUDED_KPA
    empty = remaining <= 0
    return PumpState(
        status="alarm" if occluded else "completed" if empty else "infusing",
        rate_ml_h=0.0 if occluded or empty else plan.rate_ml_h,
        infused_ml=infused,
        remaining_ml=remaining,
        pressure_kpa=pressure,
        occluded=occluded,
        near_end=not empty and remaining < plan.rate_ml_h * _NEAR_END_S / 3600,
    )


class Pump:
    """A pump in the hub's own format: every five seconds, its alarms when they change."""

    def __init__(self, site: str, area: str, device: str, plan: PumpPlan, *, mains: bool = True) -> None:
        self.id = device
        self.interval_s = 5.0
        self._native = Native(site, area, device, self.interval_s, "sim-pump")
        self._plan = plan
        self._mains = mains
        self._told: dict[str, bool] = {}

    @property
    def will(self) -> Publication:
        """The last will."""
        return self._native.will

    def birth(self, at_ms: int) -> list[Publication]:
        """Tell that it is online; what alarms is told again with the next tick."""
        self._told = {}
        return [self._native.status(at_ms, "online", battery=100.0)]

    def farewell(self, at_ms: int) -> list[Publication]:
        """Tell that it is switched off."""
        return [self._native.status(at_ms, "offline")]

    def tick(self, t_s: float, at_ms: int) -> list[Publication]:
        """Measure, and tell the conditions that began or ended."""
        state = pump_state(self._plan, t_s)
        values: dict[str, Any] = {
            "pump_flow_rate": round(state.rate_ml_h, 1),
            "pump_volume_infused": round(state.infused_ml, 2),
            "pump_volume_remaining": round(state.remaining_ml, 2),
            "pump_pressure": round(state.pressure_kpa, 1),
            "pump_drug": self._plan.drug,
            "pump_status": state.status,
            "battery": round(battery(t_s, mains=self._mains), 1),
        }
        publications = [self._native.publication("observations", at_ms, {"values": values})]
        if changed := self._changed(state):
            publications.append(self._native.publication("alarms", at_ms, {"alarms": changed}))
        return publications

    def _changed(self, state: PumpState) -> list[dict[str, str]]:
        now = {
            "occlusion": (state.occluded, "high", "Downstream occlusion, pump stopped"),
            "near_end": (state.near_end, "low", "Infusion ends within three minutes"),
            "end_of_infusion": (state.status == "completed", "medium", "Infusion ended"),
        }
        changed = []
        for condition, (present, priority, text) in now.items():
            if present != self._told.get(condition, False):
                presence = "present" if present else "absent"
                changed.append(
                    {"condition": condition, "state": presence, "priority": priority, "text": text}
                )
            self._told[condition] = present
        return changed


class IomtPump:
    """A pump that sends flat telemetry on `iomt/telemetry/{ward}/{device_id}`: no time, no number."""

    will = None

    def __init__(self, ward: str, device: str, plan: PumpPlan, *, mains: bool = True) -> None:
        self.id = device
        self.interval_s = 5.0
        self._topic = f"iomt/telemetry/{ward}/{device}"
        self._plan = plan
        self._mains = mains

    def birth(self, at_ms: int) -> list[Publication]:  # noqa: ARG002  the format has no birth
        """Say nothing."""
        return []

    def farewell(self, at_ms: int) -> list[Publication]:  # noqa: ARG002  nor a farewell
        """Say nothing."""
        return []

    def tick(self, t_s: float, at_ms: int) -> list[Publication]:  # noqa: ARG002  nor a time
        """Measure."""
        state = pump_state(self._plan, t_s)
        alarm = (
            "OCCLUSION"
            if state.occluded
            else "END_OF_INFUSION"
            if state.status == "completed"
            else "NEAR_END"
            if state.near_end
            else None
        )
        body = {
            "status": state.status,
            "infusion_rate_ml_hr": round(state.rate_ml_h, 1),
            "volume_infused_ml": round(state.infused_ml, 2),
            "volume_remaining_ml": round(state.remaining_ml, 2),
            "battery_percent": round(battery(t_s, mains=self._mains)),
            "pressure_psi": round(psi(state.pressure_kpa), 2),
            "occlusion_detected": state.occluded,
            "air_in_line_detected": False,
            "alarm_active": alarm is not None,
            "alarm_type": alarm,
            "medication": self._plan.drug,
            "patient_id": None,
        }
        return [Publication(self._topic, msgspec.json.encode(body))]


def battery(t_s: float, *, mains: bool) -> float:
    """Return the charge in per cent: full on mains, else empty after eight hours."""
    return 100.0 if mains else max(100.0 * (1 - t_s / 3600 / _BATTERY_H), 0.0)

"""The ward as a table, for a person at a terminal."""

from rich.table import Table

from device_sims.devices.monitor import Monitor
from device_sims.ward import WardRun


def table(run: WardRun, hour: float) -> Table:
    """Draw every bed as its monitor has it now."""
    sent = sum(station.client.acknowledged for station in run.stations)
    view = Table(title=f"{len(run.stations)} devices, {sent} messages acknowledged, {run.elapsed_s:.0f} s")
    for column in ("Bed", "Scenario", "HR", "SpO2", "RR", "Temp", "BP", "Link"):
        view.add_column(column, justify="left" if column in {"Bed", "Scenario"} else "right")
    for station in run.stations:
        if not isinstance(station.device, Monitor):
            continue
        bed = station.bed
        vitals = bed.scenario.patient(bed.seed).vitals(bed.begin_s + run.elapsed_s, hour)
        view.add_row(
            bed.name,
            bed.scenario.title,
            _cell(vitals.heart_rate),
            _cell(vitals.spo2),
            _cell(vitals.respiratory_rate),
            f"{vitals.temperature:.1f}",
            f"{vitals.systolic:.0f}/{vitals.diastolic:.0f}",
            "up" if station.client.connected else "down",
        )
    return view


def _cell(value: float | None) -> str:
    return "-?-" if value is None else f"{value:.0f}"

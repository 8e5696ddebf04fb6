"""Writes docs/reference/scenarios.md and its plots: `python docs/generate/scenarios.py`."""

from collections.abc import Callable
from pathlib import Path

from device_sims.devices.pump import pump_state
from device_sims.physiology import Vitals
from device_sims.scenario import Scenario, load, names

FOLDER = Path(__file__).parents[1] / "reference"
PAGE = FOLDER / "scenarios.md"
SEED = 3
"""The patient that the plots show."""

INTRODUCTION = """\
# Scenarios

<!-- Generated from device_sims/scenarios by docs/generate/scenarios.py; don't edit. -->

What `ward-sims ward --scenario NAME` can play. Every patient is a seeded function of time: the same seed
gives the same patient, another seed another one with the same illness. The grey bands are the known truth: a
condition begins within the band, whatever the seed (tests hold that). The model and its sources are in
`device_sims/physiology.py`; it is made for tests and training, not for decisions about people.

A scenario of your own is a TOML file of the same form: `ward-sims ward --scenario mine.toml`.
"""

Curve = tuple[str, str, Callable[[Vitals], float | None]]
PANELS: tuple[tuple[float, float, tuple[Curve, ...]], ...] = (
    (
        0,
        200,
        (
            ("heart rate /min", "#1a7f37", lambda v: v.heart_rate),
            ("systolic mmHg", "#b3261e", lambda v: v.systolic),
            ("diastolic mmHg", "#d98a84", lambda v: v.diastolic),
        ),
    ),
    (
        0,
        80,
        (
            ("respiratory rate /min", "#9a6700", lambda v: v.respiratory_rate),
            ("etCO2 mmHg", "#57606a", lambda v: v.etco2),
        ),
    ),
    (60, 100, (("SpO2 %", "#0969da", lambda v: v.spo2),)),
    (35, 41, (("temperature °C", "#8250df", lambda v: v.temperature),)),
    (0, 12, (("glucose mmol/L", "#bc4c00", lambda v: v.glucose),)),
)
SHOWN_AS = {
    "heart": "heart_rate",
    "systolic": "nibp_systolic",
    "respiratory": "respiratory_rate",
    "SpO2": "spo2",
    "temperature": "temperature",
    "glucose": "glucose",
    "pump": "pump",
}
"""The parameter that a label's first word stands for."""
WIDTH, LEFT, HEIGHT, GAP, STEPS = 720, 40, 90, 26, 360


def files() -> dict[Path, str]:
    """Return every file of this page and what belongs into it."""
    parts = [INTRODUCTION]
    made: dict[Path, str] = {}
    for name in names():
        scenario = load(name)
        parts.append(f"\n## {scenario.title}\n\n`{name}`: {scenario.summary}\n\n")
        parts.append(f"![{scenario.title}](scenarios/{name}.svg)\n")
        parts += [f"\n- {line}" for line in truths(scenario)]
        parts.append("\n" if scenario.truth else "")
        made[FOLDER / "scenarios" / f"{name}.svg"] = plot(scenario)
    return made | {PAGE: "".join(parts)}


def pages() -> dict[str, str]:
    """Return the page and its plots by their paths."""
    root = FOLDER.parents[1]
    return {str(path.relative_to(root)): text for path, text in files().items()}


def truths(scenario: Scenario) -> list[str]:
    """Return the known truth in words."""
    lines = []
    for truth in scenario.truth:
        what = f"`{truth.condition}`" + (
            f" of `{truth.parameter}` ({truth.limit:g})" if truth.parameter else ""
        )
        lines.append(f"{what} begins between {truth.after_s:g} and {truth.before_s:g} s")
    return lines


def plot(scenario: Scenario) -> str:
    """Draw a scenario: one panel below the other, time in minutes."""
    patient = scenario.patient(SEED)
    times = [scenario.duration_s * i / STEPS for i in range(STEPS + 1)]
    vitals = [patient.vitals(t) for t in times]
    across = (WIDTH - LEFT) / scenario.duration_s
    panels = [
        (low, high, [(n, c, [read(v) for v in vitals]) for n, c, read in curves])
        for low, high, curves in PANELS
    ]
    if any(truth.parameter is None for truth in scenario.truth):
        pump = [pump_state(scenario.pump, t) for t in times]
        panels.append(
            (0, 120, [("pump line pressure kPa", "#57606a", [state.pressure_kpa for state in pump])])
        )
        most = scenario.pump.volume_ml
        panels.append((0, most, [("pump remaining mL", "#0969da", [state.remaining_ml for state in pump])]))
    shapes, top = [], 0.0
    for low, high, curves in panels:
        shown = {SHOWN_AS.get(label.partition(" ")[0], "") for label, _, _ in curves}
        shapes += band(scenario, across, top, shown)
        shapes.append(
            f'<rect x="{LEFT}" y="{top:.0f}" width="{WIDTH - LEFT}" height="{HEIGHT}" fill="none" '
            'stroke="#d8dee4"/>'
        )
        for value, y in ((high, top + 9), (low, top + HEIGHT)):
            shapes.append(f'<text x="{LEFT - 4}" y="{y:.0f}" text-anchor="end">{value:g}</text>')
        place = LEFT
        for label, colour, values in curves:
            shapes.append(
                f'<text x="{place}" y="{top + HEIGHT + 12:.0f}" style="fill:{colour}">{label}</text>'
            )
            place += 140
            shapes += lines(times, values, colour, (across, low, high, top))
        top += HEIGHT + GAP
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = LEFT + share * (WIDTH - LEFT)
        anchor = "end" if share == 1 else "middle"
        minutes = share * scenario.duration_s / 60
        shapes.append(f'<text x="{x:.0f}" y="{top + 4:.0f}" text-anchor="{anchor}">{minutes:g} min</text>')
    style = "text{font:11px sans-serif;fill:#57606a}"
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 10:.0f}">\n'
        f"<style>{style}</style>\n{body}\n</svg>\n"
    )


def band(scenario: Scenario, across: float, top: float, shown: set[str]) -> list[str]:
    """Shade when the known truth about what a panel shows begins."""
    return [
        f'<rect x="{LEFT + truth.after_s * across:.1f}" y="{top:.0f}" '
        f'width="{max((truth.before_s - truth.after_s) * across, 1.5):.1f}" height="{HEIGHT}" '
        'fill="#eaeef2"/>'
        for truth in scenario.truth
        if (truth.parameter or "pump") in shown
    ]


def lines(
    times: list[float], values: list[float | None], colour: str, frame: tuple[float, float, float, float]
) -> list[str]:
    """Draw a curve; where there is no value it is broken."""
    across, low, high, top = frame
    runs: list[list[str]] = [[]]
    for t, value in zip(times, values, strict=True):
        if value is None:
            runs.append([])
            continue
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        runs[-1].append(f"{LEFT + t * across:.1f},{top + HEIGHT * (1 - share):.1f}")
    return [
        f'<polyline points="{" ".join(run)}" fill="none" stroke="{colour}" stroke-width="1.2"/>'
        for run in runs
        if len(run) > 1
    ]


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

"""The report of a load test for people: one HTML page that needs nothing else."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version

import psutil

from device_sims.load.expect import Expectation
from device_sims.load.histogram import Histogram
from device_sims.load.outcome import Outcome
from device_sims.load.plan import LoadPlan

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 210, 60, 10, 24
_COLOURS = ("#1f6feb", "#d1521e", "#2c974b", "#8250df")
_EDGES_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2128;max-width:820px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}
td,th{padding:.2em .8em .2em 0;text-align:left;border-bottom:1px solid #d8dee4;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.met{color:#1a7f37}.not{color:#b3261e;font-weight:600}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#57606a}code{background:#f3f4f6}
.legend span{margin-right:1.2em}.note{border-left:3px solid #bf8700;padding-left:.8em}
"""

Line = tuple[str, Sequence[float | None]]


def page(
    plan: LoadPlan,
    outcome: Outcome,
    expectations: Sequence[Expectation],
    command: str,
    *,
    faults: Sequence[str] = (),
    steps: Sequence[tuple[float, str]] = (),
) -> str:
    """Render the report. `steps`: rates tried by a search for the highest, and what came of each."""
    met = all(expectation.met(outcome.result) for expectation in expectations)
    verdict = (
        "no limits were stated"
        if not expectations
        else "all limits were met"
        if met
        else "limits were not met"
    )
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Load test</title>",
        f"<style>{_STYLE}</style>",
        f"<h1>Load test: {plan.devices:,} devices, {plan.target_rate:,.0f} messages a second</h1>",
        f"<p>{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · {plan.duration_s:g} s · "
        f"<span class={'met' if met else 'not'}>{verdict}</span></p>",
        f"<p><code>{escape(command)}</code></p>",
        _expectations(expectations, outcome),
        *(f"<p class=note>{escape(note)}</p>" for note in outcome.notes),
        _steps(steps),
        "<h2>Losses</h2>",
        _losses(outcome),
        "<h2>Rate</h2>",
        _chart(outcome, "messages/s", [("sent", "sent"), ("acknowledged", "acknowledged")], plan.target_rate),
        "<h2>From schedule to PUBACK, milliseconds</h2>",
        _chart(outcome, "ms", [("p50", "p50_ms"), ("p99", "p99_ms")]),
        _histogram(outcome.latency),
        "<h2>CPU, cores</h2>",
        _chart(
            outcome, "cores", [("hub", "hub_cpu"), ("brokers", "broker_cpu"), ("load generator", "load_cpu")]
        ),
        "<h2>Memory, MB</h2>",
        _chart(outcome, "MB", [("hub", "hub_rss_mb"), ("brokers", "broker_rss_mb")]),
        "<h2>Connections</h2>",
        _chart(outcome, "connections", [("connected", "connected")]),
        "<h2>All figures</h2>",
        _table({key: _figure(value) for key, value in outcome.result.items()}, number=True),
        "<h2>What was tested on what</h2>",
        _table(_setting(plan, faults)),
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _expectations(expectations: Sequence[Expectation], outcome: Outcome) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(one))}<td class=n>{_figure(outcome.result[one.key])}"
        f"<td class={'met' if one.met(outcome.result) else 'not'}>"
        f"{'met' if one.met(outcome.result) else 'not met'}"
        for one in expectations
    )
    return f"<table><tr><th>limit<th>measured<th>{rows}</table>" if rows else ""


def _steps(steps: Sequence[tuple[float, str]]) -> str:
    rows = "".join(f"<tr><td class=n>{rate:,.0f}<td>{escape(what)}" for rate, what in steps)
    head = "<h2>Search for the highest rate</h2><table><tr><th>messages/s<th>what came of it"
    return f"{head}{rows}</table>" if rows else ""


def _losses(outcome: Outcome) -> str:
    if outcome.reckoning is None:
        return "<p>Not reckoned: the test was not told of a hub (--hub or --with-hub).</p>"
    found = outcome.reckoning
    counts = f"<p>lost {found.lost}, doubled {found.doubled}, altered {found.altered}"
    counts += f", alarms missed {len(outcome.missed)}</p>"
    rows = "".join(
        f"<tr><td>{escape(one['device'])}<td class=n>{one['seq']}<td>{escape(one['what'])}"
        for one in found.named
    )
    rows += "".join(f"<tr><td>{escape(device)}<td><td>alarm missed" for device in outcome.missed[:100])
    return counts + (f"<table><tr><th>device<th>number<th>what{rows}</table>" if rows else "")


def _setting(plan: LoadPlan, faults: Sequence[str]) -> dict[str, str]:
    memory = psutil.virtual_memory().total / 1e9
    return {
        "processor": f"{_processor()}, {psutil.cpu_count()} logical cores",
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "wardhub": version("wardhub"),
        "brokers": ", ".join(endpoint.url for endpoint in plan.endpoints),
        "devices": f"{plan.devices:,}, {plan.rate_hz:g} messages/s each",
        "messages": f"QoS {plan.qos}, {plan.values} values",
        "workers, source addresses": f"{plan.workers}, {plan.sources}",
        "faults": "; ".join(faults) or "none",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  no path of a user's
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _table(rows: dict[str, str], *, number: bool = False) -> str:
    kind = " class=n" if number else ""
    body = "".join(f"<tr><td>{escape(name)}<td{kind}>{escape(value)}" for name, value in rows.items())
    return f"<table>{body}</table>"


def _figure(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"


def _chart(outcome: Outcome, unit: str, lines: Sequence[tuple[str, str]], mark: float | None = None) -> str:
    """Draw figures of each second as lines."""
    at = [second.at_s for second in outcome.seconds]
    drawn: list[Line] = [(name, [getattr(s, key) for s in outcome.seconds]) for name, key in lines]
    drawn = [(name, values) for name, values in drawn if any(value is not None for value in values)]
    top = max((v for _, values in drawn for v in values if v is not None), default=0.0)
    top = max(top, mark or 0.0) * 1.05
    if not drawn or not top or len(at) < 2:
        return "<p>not measured</p>"
    across = (_WIDTH - _LEFT) / (at[-1] or 1)
    up = (_HEIGHT - _TOP - _BOTTOM) / top
    shapes = []
    for share in (0.0, 0.5, 1.0):
        y = _HEIGHT - _BOTTOM - top * share * up
        shapes.append(f'<line x1={_LEFT} x2={_WIDTH} y1={y:.0f} y2={y:.0f} stroke="#d8dee4"/>')
        shapes.append(f"<text x={_LEFT - 6} y={y + 4:.0f} text-anchor=end>{top * share:,.4g}</text>")
    for x in (0.0, at[-1] / 2, at[-1]):
        place = _LEFT + x * across
        anchor = "end" if x == at[-1] else "middle"
        shapes.append(f"<text x={place:.0f} y={_HEIGHT - 6} text-anchor={anchor}>{x:.0f} s</text>")
    if mark is not None:
        y = _HEIGHT - _BOTTOM - mark * up
        shapes.append(
            f'<line x1={_LEFT} x2={_WIDTH} y1={y:.0f} y2={y:.0f} stroke="#57606a" stroke-dasharray=4 />'
        )
    legend = []
    for colour, (name, values) in zip(_COLOURS, drawn, strict=False):
        points = " ".join(
            f"{_LEFT + x * across:.1f},{_HEIGHT - _BOTTOM - value * up:.1f}"
            for x, value in zip(at, values, strict=True)
            if value is not None
        )
        shapes.append(f'<polyline points="{points}" fill=none stroke="{colour}" stroke-width=1.5 />')
        legend.append(f'<span style="color:{colour}">{escape(name)}</span>')
    body = "".join(shapes)
    label = f"{', '.join(name for name, _ in drawn)} in {unit}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img aria-label="{escape(label)}">{body}</svg>'
        f"<p class=legend>{''.join(legend)} {escape(unit)}</p>"
    )


def _histogram(latency: Histogram) -> str:
    if not latency.total:
        return ""
    names = [f"< {edge:,} ms" for edge in _EDGES_MS] + [f"≥ {_EDGES_MS[-1]:,} ms"]
    counts = latency.buckets_ms(_EDGES_MS)
    rows = "".join(
        f"<tr><td>{escape(name)}<td class=n>{count:,}<td class=n>{count / latency.total:.3%}"
        f'<td><svg viewBox="0 0 200 10" style="width:200px"><rect width="{200 * count / latency.total:.1f}" '
        f'height=10 fill="{_COLOURS[0]}"/></svg>'
        for name, count in zip(names, counts, strict=True)
        if count
    )
    return f"<table><tr><th>PUBACK after<th>messages<th>share<th>{rows}</table>"

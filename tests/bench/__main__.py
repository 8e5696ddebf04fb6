"""`make bench`: measures the hub on this machine, prints a table and writes build/bench.json."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from tests.bench.alarms import measure_alarms
from tests.bench.decoders import measure_decoders
from tests.bench.export import measure_export
from tests.bench.fhir import measure_fhir
from tests.bench.ingest import measure_ingest
from tests.bench.latency import measure_latency
from tests.bench.line import measure_line
from tests.bench.plain import measure_plain
from tests.bench.size import measure_size
from tests.bench.station import (
    measure_station,
    measure_station_1080p,
    measure_station_memory,
    measure_streams,
)
from tests.bench.whole import measure_steady, measure_throughput

AIMS = {
    "line_us_per_message": "<= 15",
    "alarm_us_per_message": "<= 4",
    "alarm_flood_ms": "< 2000",
    "throughput_ratio_nats": ">= 0.6",
    "throughput_ratio_mosquitto": ">= 0.6",
    "plain_way_cpu_ratio": ">= 50",
    "alarm_p99_ms": "< 250",
    "alarm_10k_hospital_p99_ms": "< 250",
    "alarm_10k_ward_p99_ms": "< 250",
    "alarm_10k_mqtt_p99_ms": "< 250",
    "alarm_flood_end_to_end_ms": "< 2000",
    "rss_mb_10k_devices": "< 400",
    "bytes_per_value": "<= 2",
    "location_us_per_sighting": "<= 10",
    "fhir_render_us": "<= 25",
    "fhir_search_1000_ms": "< 150",
    "fhir_lastn_ms": "< 20",
    "ingest_drop_percent": "< 5",
    "ingest_carried_drop_percent": "< 5",
    "fhir_export_alarm_p99_ms": "< 250",
    "station_first_view_ms": "< 1000",
    "page_kb_compressed": "< 250",
    "station_main_thread_percent": "< 30",
    "station_longest_frame_ms": "<= 50",
    "station_heap_growth_mb": "~ 0",
    "streams_200_cpu_percent": "< 25",
}
PLAIN_WAY = {
    "plain_way_cpu_ratio": "hub_cpu_us_per_message_hospital",
    "plain_way_cpu_ratio_at_half": "hub_cpu_us_per_message",
    "plain_way_line_cpu_ratio": "line_us_per_message",
}
"""Ratios to the CPU of the plain way a message, and of what."""
Measure = Callable[[Path], Awaitable[dict[str, float]]]
PARTS: dict[str, Measure] = {
    "line": measure_line,
    "alarms": measure_alarms,
    "decoders": measure_decoders,
    "size": measure_size,
    "steady": measure_steady,
    "latency": measure_latency,
    "nats": lambda folder: measure_throughput(folder, "nats"),
    "mosquitto": lambda folder: measure_throughput(folder, "mosquitto"),
    "plain": measure_plain,
    "fhir": measure_fhir,
    "ingest": lambda folder: measure_ingest(folder, "mosquitto"),
    "ingest_nats": lambda folder: measure_ingest(folder, "nats"),
    "export": measure_export,
    "station": measure_station,
    "station_1080p": measure_station_1080p,
    "station_memory": measure_station_memory,
    "streams": measure_streams,
}


def main() -> None:
    """Run all parts, or the chosen ones."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="write the figures here, one flat object")
    options.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    given = options.parse_args()
    console = Console(stderr=True)
    figures: dict[str, float] = {}
    for name in given.part or PARTS:
        with console.status(f"measuring: {name}"), tempfile.TemporaryDirectory(prefix="wardhub-bench-") as at:
            figures |= uvloop.run(_measure(PARTS[name], Path(at)))
    for ratio, cheaper in PLAIN_WAY.items():
        if "plain_cpu_us_per_message" in figures and cheaper in figures:
            figures[ratio] = figures["plain_cpu_us_per_message"] / figures[cheaper]
    _print(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


async def _measure(measure: Measure, folder: Path) -> dict[str, float]:
    return await measure(folder)


def _print(figures: dict[str, float]) -> None:
    table = Table("figure", "measured", "aim")
    for name, value in figures.items():
        decoding = (
            ("<= 15" if name == "decode_us_native" else "< 60") if name.startswith("decode_us_") else ""
        )
        table.add_row(name, f"{value:.4g}", AIMS.get(name, decoding))
    Console().print(table)
    print(
        f"{' '.join(['python -m tests.bench', *sys.argv[1:]])}: {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {platform.machine()}; generator, broker and hub on one machine"
    )


if __name__ == "__main__":
    main()

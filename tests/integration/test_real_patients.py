"""Recorded ICU patients through a real broker and a whole hub into three databases at once, and their alarms.

Nothing here believes the hub: what was stored is asked of the databases themselves, and who alarms is read
from the stream as a nurse station does.
"""

import asyncio
import contextlib
import csv
import itertools
import json
import math
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.hub_process import HubProcess
from tests.databases import Server, WriteShim, influxd, victoria_metrics
from tests.servers import mosquitto

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SPEED = 60
REPLAYS = 4
"""Processes that replay at once, five patients each."""
NAMES = {"HR": "heart_rate", "PULSE": "pulse_rate", "RESP": "respiratory_rate", "SpO2": "spo2"}
MIMIC = "s00001-2896-10-10-00-31n"
MIMIC_NAMES = {
    "HR": "heart_rate",
    "PULSE": "pulse_rate",
    "RESP": "respiratory_rate",
    "SpO2": "spo2",
    "ABPSys": "arterial_systolic",
    "ABPDias": "arterial_diastolic",
    "ABPMean": "arterial_mean",
    "NBPSys": "nibp_systolic",
    "NBPDias": "nibp_diastolic",
    "NBPMean": "nibp_mean",
}
PARAMETERS = sorted({*NAMES.values(), *MIMIC_NAMES.values()})

Totals = dict[str, dict[str, tuple[int, float]]]
"""Count and sum by device and parameter; parameters without a value are left out."""

READ_DUCKDB = """
import json, sys, duckdb
file, *parameters = sys.argv[1:]
with duckdb.connect(file, read_only=True) as db:
    columns = ", ".join(f"count({p}), sum({p})" for p in parameters)
    rows = db.execute(
        f"SELECT device, {columns} FROM (SELECT * FROM readings UNION ALL BY NAME SELECT * FROM readings_old)"
        " JOIN devices ON devices.key = _device GROUP BY device"
    ).fetchall()
print(json.dumps([[row[0], list(zip(parameters, row[1::2], row[2::2]))] for row in rows]))
"""


@pytest.fixture(scope="module")
def facts(recorded: Path) -> dict[str, Any]:
    return json.loads((recorded / "numerics" / "bidmc_facts.json").read_text())


@contextlib.contextmanager
def broker(kind: str, folder: Path) -> Iterator[str | None]:
    """Run Mosquitto and yield its URL; None for the hub's own."""
    if kind == "embedded":
        yield None
        return
    with mosquitto(folder) as server:
        yield server.url


@contextlib.asynccontextmanager
async def databases(folder: Path) -> AsyncIterator[tuple[Server, Server, WriteShim]]:
    """Run an InfluxDB behind the shim that gives it the write of 2.x, and a VictoriaMetrics."""
    influx, victoria = influxd(folder), victoria_metrics(folder)
    shim = WriteShim(influx.url)
    async with contextlib.AsyncExitStack() as stack:
        for server in (influx, victoria):
            stack.callback(server.stop)
            await asyncio.to_thread(server.start)
        await shim.start()
        stack.push_async_callback(shim.stop)
        yield influx, victoria, shim


def write_ward(folder: Path, devices: list[str]) -> Path:
    """Put each monitor at a bed of its own with a patient in it."""
    lines = ['[site]\nid = "main"\n[[ward]]\nid = "icu"', f"beds = {json.dumps(['b-' + d for d in devices])}"]
    for number, device in enumerate(devices):
        lines.append(
            f'[[device]]\nid = "{device}"\ndefinition = "native"\nbed = "b-{device}"\ninterval_s = 1'
        )
        lines.append(f'[[patient]]\nname = "Patient {number}"\nidentifier = "P-{number}"\nbed = "b-{device}"')
    file = folder / "ward.toml"
    file.write_text("\n".join(lines))
    return file


def write_limits(folder: Path, limits: dict[str, list[float | None]]) -> Path:
    """Write the limits of the facts, without delay and hysteresis, and nothing else that could alarm."""
    lines = ["version = 2"]
    for name, (low, high) in limits.items():
        lines.append(f"[adult.{NAMES[name]}]\ndelay_s = 0\nhysteresis = 0")
        lines += [f"{side} = {bound}" for side, bound in (("low", low), ("high", high)) if bound is not None]
    lines.append("[news2]\nenabled = false")
    file = folder / "limits.toml"
    file.write_text("\n".join(lines))
    return file


class NurseStation:
    """Reads the hub's stream: which alarms began, by device."""

    def __init__(self, hub: HubProcess) -> None:
        self.began: dict[str, list[dict[str, Any]]] = {}
        """Physiological ones."""
        self.beds_seen: set[str] = set()
        self.listening = asyncio.Event()
        self._hub = hub

    async def run(self) -> None:
        async with (
            httpx.AsyncClient(timeout=None) as client,
            client.stream("GET", f"{self._hub.url}/api/v1/stream", headers=self._hub.headers) as answer,
        ):
            answer.raise_for_status()
            event = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self._take(event, json.loads(line.removeprefix("data: ")))

    def _take(self, event: str, data: dict[str, Any]) -> None:
        self.listening.set()
        if event == "vitals":
            self.beds_seen |= {bed["bed"] for bed in data["beds"] if bed["values"]}
        elif event == "alarm" and data["event"] == "start":
            self.began.setdefault(data["alarm"]["device"], []).append(data["alarm"])


async def replay(url: str, epoch: str, files: list[Path], *more: str) -> int:
    """Run one `ward-sims replay` to its end; return how many messages were acknowledged to it."""
    command = [sys.executable, "-m", "device_sims.cli", "replay", *map(str, files), "--broker", url]
    command += ["--site", "main", "--area", "icu", "--epoch", epoch, "--json", *more]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return int(json.loads(out)["acknowledged"])


def device_of(file: str) -> str:
    return file.removesuffix(".csv")


def expected_of(facts: dict[str, Any]) -> Totals:
    return {
        device_of(file): {
            NAMES[column]: (counts[column]["valid"], counts[column]["sum"])
            for column in NAMES
            if counts[column]["valid"]
        }
        for file, counts in facts["files"].items()
    }


def times_beyond(file: Path, low: float, high: float) -> int:
    """Count how often RESP leaves the limits. No value holds an alarm, so a gap doesn't begin it anew."""
    with file.open(newline="") as lines:
        rows = csv.DictReader(lines, skipinitialspace=True)
        values = [float(row["RESP"]) for row in rows]
    inside = [low <= value <= high for value in values if not math.isnan(value)]
    return sum(before and not now for before, now in itertools.pairwise([True, *inside]))


def expected_of_mimic(record: Path) -> Totals:
    """Count with the `wfdb` package: 0.0 is no signal, NaN a missing sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        signals = wfdb.rdrecord(str(record))
    totals = {}
    for number, name in enumerate(signals.sig_name):
        values = [value for value in signals.p_signal[:, number].tolist() if value == value and value != 0.0]
        totals[MIMIC_NAMES[name]] = (len(values), math.fsum(values))
    return {"mimic-1": totals}


def in_duckdb(file: Path) -> Totals:
    """Ask the file in another process, once the hub has let go of it."""
    command = [sys.executable, "-c", READ_DUCKDB, str(file), *PARAMETERS]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return {
        device: {name: (count, total) for name, count, total in columns if count}
        for device, columns in json.loads(done.stdout)
    }


def in_influxdb(server: Server) -> Totals:
    """Ask InfluxDB itself, without the shim."""
    fields = ", ".join(f'count("{name}") AS "n_{name}", sum("{name}") AS "s_{name}"' for name in PARAMETERS)
    answer = httpx.get(
        f"{server.url}/query",
        params={"db": "vitals", "q": f"SELECT {fields} FROM vitals GROUP BY device"},
        timeout=60,
    )
    totals: Totals = {}
    for series in answer.raise_for_status().json()["results"][0]["series"]:
        row = dict(zip(series["columns"], series["values"][0], strict=True))
        totals[series["tags"]["device"]] = {
            name: (row[f"n_{name}"], row[f"s_{name}"]) for name in PARAMETERS if row[f"n_{name}"]
        }
    return totals


def in_victoria(server: Server) -> Totals:
    """Ask VictoriaMetrics itself for every sample."""
    httpx.get(f"{server.url}/internal/force_flush", timeout=60).raise_for_status()
    totals: Totals = {}
    for name in PARAMETERS:
        # Patients who live faster than real time are ahead of the database's clock at the end.
        span = {"match[]": f"vitals_{name}", "start": "0", "end": str(time.time() + 86_400)}
        answer = httpx.get(f"{server.url}/api/v1/export", params=span, timeout=60)
        for line in answer.raise_for_status().text.splitlines():
            series = json.loads(line)
            values = series["values"]
            totals.setdefault(series["metric"]["device"], {})[name] = (len(values), math.fsum(values))
    return totals


def equal(store: str, found: Totals, expected: Totals) -> None:
    """Hold that counts are the same and sums too: to the last bit, where values are whole numbers."""
    for device, parameters in expected.items():
        counts = {name: count for name, (count, _) in found.get(device, {}).items()}
        assert counts == {name: count for name, (count, _) in parameters.items()}, (store, device)
        for name, (_, total) in parameters.items():
            stored = found[device][name][1]
            assert stored == total if total.is_integer() else math.isclose(stored, total, rel_tol=1e-12)


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
async def test_twenty_patients_arrive_whole_in_three_databases_and_those_beyond_the_limits_alarm(
    kind: str, facts: dict[str, Any], recorded: Path, tmp_path: Path
) -> None:
    bidmc = recorded / "numerics" / "bidmc"
    files = sorted(facts["files"])
    mimic = recorded / "numerics" / "mimic2_numerics" / MIMIC
    began = datetime.now(UTC)
    epoch = began.isoformat(timespec="milliseconds")
    with broker(kind, tmp_path) as url:
        async with databases(tmp_path) as (influx, victoria, shim):
            hub = HubProcess(
                tmp_path,
                broker_url=url,
                settings=f"""
ward_file = "{write_ward(tmp_path, [device_of(file) for file in files])}"
limits_file = "{write_limits(tmp_path, facts["limits"])}"
[clock]
time_scale = {SPEED}
time_epoch = "{epoch}"
[[stores]]
kind = "duckdb"
[[stores]]
kind = "victoriametrics"
url = "{victoria.url}"
[[stores]]
kind = "influxdb"
url = "{shim.url}"
bucket = "vitals"
""",
            )
            hub.start()
            try:
                await hub.ready()
                station = NurseStation(hub)
                watching = asyncio.create_task(station.run())
                await asyncio.wait_for(station.listening.wait(), 30)
                started = time.monotonic()
                long_ago = f"{datetime.fromtimestamp(began.timestamp() - 2 * 86_400, UTC):%Y-%m-%dT%H:%M:%SZ}"
                acknowledged = await asyncio.gather(
                    *(
                        replay(
                            hub.broker_url,
                            epoch,
                            [bidmc / file for file in files[part::REPLAYS]],
                            *("--device", "{stem}", "--speed", str(SPEED)),
                        )
                        for part in range(REPLAYS)
                    ),
                    replay(
                        hub.broker_url,
                        epoch,
                        [mimic],
                        *("--device", "mimic-1", "--speed", "0", "--start", long_ago),
                    ),
                )
                took_s = time.monotonic() - started
                await hub.drained()
                # What the hub told last is on its way to the nurse station for a moment.
                await asyncio.sleep(1)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                assert hub.stop() == 0
            finally:
                hub.kill()
            expected = expected_of(facts) | expected_of_mimic(mimic)
            found = {
                "duckdb": in_duckdb(hub.data / "series.duckdb"),
                "influxdb": in_influxdb(influx),
                "victoriametrics": in_victoria(victoria),
            }
    assert sum(acknowledged) == sum(one["rows"] for one in facts["files"].values()) + 1936
    for store, totals in found.items():
        equal(store, totals, expected)
    beyond = {
        device_of(file)
        for file, counts in facts["files"].items()
        if any(counts[column]["below"] or counts[column]["above"] for column in NAMES)
    }
    values = sum(count for parameters in expected.values() for count, _ in parameters.values())
    alarms_of = {device: len(alarms) for device, alarms in sorted(station.began.items())}
    print(f"\n{kind}: {sum(acknowledged)} messages in {took_s:.1f} s, {values} values in each of 3 stores")
    print("alarms:", alarms_of)
    assert 0 < len(beyond) < len(files)
    assert set(station.began) == beyond
    assert station.beds_seen == {f"b-{device_of(file)}" for file in files}
    for device, alarms in station.began.items():
        counts = facts["files"][f"{device}.csv"]["RESP"]
        assert {alarm["parameter"] for alarm in alarms} == {"respiratory_rate"}
        assert {alarm["bed"] for alarm in alarms} == {f"b-{device}"}
        assert {alarm["condition"] for alarm in alarms} == ({"limit_low"} if counts["below"] else set()) | (
            {"limit_high"} if counts["above"] else set()
        )
        assert len(alarms) == times_beyond(bidmc / f"{device}.csv", *facts["limits"]["RESP"])

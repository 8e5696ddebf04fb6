"""The load test with a hub: what was acknowledged is reckoned with what the hub stored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_sims.load.own_hub import own_hub
from tests.servers import mosquitto

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

GOOD = "lost=0,doubled=0,altered=0,alarms_missed=0,actual_share>=0.9"


def load(*arguments: object, token: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_sims.cli", "load", *map(str, arguments)]
    environment = os.environ | {"WARD_SIMS_TOKEN": token}
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False, env=environment)


def test_one_command_tests_a_hub_with_its_embedded_broker_and_loses_nothing(tmp_path: Path) -> None:
    result_file, report = tmp_path / "load.json", tmp_path / "load.html"
    arguments = ["--with-hub", "--devices", 60, "--rate", 2, "--duration", 6, "--ramp", 200]
    faults = ["--fault", "storm@2", "--fault", "duplicate@1+3:0.5", "--fault", "malformed@1+3:0.2"]
    files = ["--json", result_file, "--report", report]
    done = load(*arguments, *faults, *files, "--expect", GOOD)
    assert done.returncode == 0, done.stderr
    result = json.loads(result_file.read_text())
    assert result["acknowledged"] == result["published"] == 60 * 12
    assert result["stored"] == 720
    assert result["alarms_expected"] == 60
    for measured in ("hub_rss_mb", "hub_cpu_s", "broker_rss_mb", "broker_cpu_s", "alarm_p99_ms"):
        assert result[measured] > 0, measured
    assert "all limits were met" in report.read_text()


def test_a_hub_reads_from_a_given_broker(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        done = load(
            *("--with-hub", "--brokers", server.url, "--devices", 20, "--duration", 4, "--expect", GOOD)
        )
    assert done.returncode == 0, done.stderr


def test_what_the_hub_never_got_is_lost_and_named(tmp_path: Path) -> None:
    report = tmp_path / "load.html"
    with mosquitto(tmp_path) as unread, own_hub(()) as hub:
        where = ["--brokers", unread.url, "--hub", hub.url]
        size = ["--devices", 5, "--duration", 3, "--drain", 1]
        lost = load(*where, *size, "--report", report, token=hub.token)
        refused = load(*where, *size, token="no-such-token")
    assert lost.returncode == 1, lost.stderr
    assert "NOT MET: lost=0 (measured 15)" in lost.stderr
    assert "acknowledged and not stored" in report.read_text()
    assert refused.returncode == 3
    assert "hub token create" in refused.stderr

"""`ward-sims replay` against real brokers, watched by an independent client (paho)."""

import asyncio
import calendar
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import embedded_broker, free_port, mosquitto
from tests.sims_watcher import Watcher

pytestmark = pytest.mark.integration

CSV = "Time [s], HR, PULSE, RESP, SpO2\n" + "".join(
    f"{i},{60 + i % 40},{60 + i % 40},{'NaN' if i % 7 == 0 else 15},97\n" for i in range(200)
)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "patient_1.csv"
    file.write_text(CSV)
    return file


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    with mosquitto(tmp_path) as server:
        yield server.port


def replay(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_sims.cli", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def place(port: int) -> list[object]:
    return ["--broker", f"mqtt://127.0.0.1:{port}", "--site", "main", "--area", "icu", "--device", "{stem}"]


def test_every_row_arrives_once_with_null_for_no_value(broker: int, recording: Path, tmp_path: Path) -> None:
    watcher = Watcher(broker)
    log = tmp_path / "acked.jsonl"
    done = replay(recording, *place(broker), "--speed", 0, "--json", "--acked-log", log)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) | {"behind_s": 0} == {
        "devices": 1,
        "published": 200,
        "acknowledged": 200,
        "reconnects": 0,
        "behind_s": 0,
    }
    received = watcher.wait_for("/observations", 200)
    watcher.stop()
    assert [message["seq"] for message in received] == list(range(1, 201))
    assert [message["values"]["respiratory_rate"] for message in received[:8]] == [None, *[15] * 6, None]
    acked = [json.loads(line) for line in log.read_text().splitlines()]
    assert [{k: line[k] for k in ("time", "seq", "values")} for line in acked] == received
    assert {line["device"] for line in acked} == {"patient_1"}


def test_the_status_is_retained_online_while_it_runs_and_offline_at_the_end(
    broker: int, recording: Path
) -> None:
    watcher = Watcher(broker)
    assert replay(recording, *place(broker), "--speed", 0).returncode == 0
    states = [status["state"] for status in watcher.wait_for("/status", 2)]
    watcher.stop()
    late = Watcher(broker)
    kept = late.wait_for("/status", 1)
    late.stop()
    assert states == ["online", "offline"]
    assert [status["state"] for status in kept] == ["offline"]


def test_rows_come_at_speed_and_the_device_clock_runs_from_the_epoch(broker: int, recording: Path) -> None:
    watcher = Watcher(broker)
    begun = time.monotonic()
    done = replay(recording, *place(broker), "--speed", 100, "--epoch", "2026-01-01T00:00:00Z")
    lasted = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    received = watcher.wait_for("/observations", 200)
    watcher.stop()
    assert lasted > 1.9
    epoch = 1_767_225_600
    first = epoch + (time.time() - lasted - epoch) * 100
    at = [time.strptime(message["time"][:19], "%Y-%m-%dT%H:%M:%S") for message in received]
    said = [calendar.timegm(moment) for moment in at]
    assert first - 100 <= said[0] <= first + 100 * lasted
    assert said[-1] - said[0] == 199


def test_what_a_killed_broker_had_not_acknowledged_is_sent_again(recording: Path, tmp_path: Path) -> None:
    log = tmp_path / "acked.jsonl"
    with mosquitto(tmp_path) as server:
        command = [sys.executable, "-m", "device_sims.cli", "replay", str(recording)]
        command += [str(a) for a in place(server.port)]
        command += ["--speed", "100", "--json", "--acked-log", str(log)]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while not log.exists() or len(log.read_text().splitlines()) < 50:
            time.sleep(0.02)
        server.kill()
        server.start()
        output, _ = running.communicate(timeout=60)
    summary = json.loads(output)
    assert running.returncode == 0
    assert summary["reconnects"] >= 1
    assert summary["acknowledged"] == summary["published"] == 200
    assert sorted(json.loads(line)["seq"] for line in log.read_text().splitlines()) == list(range(1, 201))


def test_a_broker_that_stays_away_ends_the_replay_with_what_was_acknowledged(
    recording: Path, tmp_path: Path
) -> None:
    log = tmp_path / "acked.jsonl"
    with mosquitto(tmp_path) as server:
        command = [sys.executable, "-m", "device_sims.cli", "replay", str(recording)]
        command += [str(a) for a in place(server.port)]
        command += ["--speed", "20", "--give-up", "1", "--window", "5", "--acked-log", str(log)]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not log.exists() or not log.read_text():
            time.sleep(0.02)
        server.kill()
        _, told = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "has been away for" in told
    assert "--give-up" in told


def test_a_refused_login_is_told_at_once(recording: Path, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "sims", "right"], check=True)
    secret = tmp_path / "secret"
    with mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as server:
        refused = replay(recording, *place(server.port))
        secret.write_text("wrong\n")
        login = ["--username", "sims", "--password-file", secret, "--speed", 0]
        wrong = replay(recording, *place(server.port), *login)
        secret.write_text("right\n")
        right = replay(recording, *place(server.port), *login)
    assert (refused.returncode, wrong.returncode, right.returncode) == (3, 3, 0)
    assert "refuses the connection" in wrong.stderr
    assert "--username" in wrong.stderr
    assert "Traceback" not in refused.stderr + wrong.stderr


def test_a_wrong_address_a_missing_file_and_a_wrong_name_are_one_message_each(recording: Path) -> None:
    port = free_port()
    unreachable = replay(recording, *place(port))
    missing = replay(recording.with_name("none.csv"), *place(port))
    name = replay(recording, *place(port)[:-1], "bad name")
    assert [done.returncode for done in (unreachable, missing, name)] == [3, 2, 2]
    assert f"no broker at mqtt://127.0.0.1:{port}" in unreachable.stderr
    assert "no such file" in missing.stderr
    assert "--device 'bad name'" in name.stderr
    for done in (unreachable, missing, name):
        assert len(done.stderr.splitlines()) == 1


async def test_recorded_patients_reach_the_embedded_broker_whole(recorded: Path, tmp_path: Path) -> None:
    files = sorted((recorded / "numerics" / "bidmc").glob("*.csv"))[:4]
    async with embedded_broker(tmp_path) as server:
        watcher = await asyncio.to_thread(Watcher, server.port)
        done = await asyncio.to_thread(replay, *files, *place(server.port), "--speed", 0, "--json")
        assert done.returncode == 0, done.stderr
        received = await asyncio.to_thread(watcher.wait_for, "observations", 4 * 481)
        watcher.stop()
    assert len(received) == 4 * 481
    facts = json.loads((recorded / "numerics" / "bidmc_facts.json").read_text())["files"]
    total = sum(message["values"]["heart_rate"] or 0 for message in received)
    assert total == sum(facts[file.name]["HR"]["sum"] for file in files)


def test_a_wfdb_record_goes_out_in_its_own_format(broker: int, recorded: Path) -> None:
    watcher = Watcher(broker)
    record = recorded / "numerics" / "mimic2_numerics" / "s00001-2896-10-10-00-31n"
    done = replay(record, *place(broker)[:-1], "mimic-1", "--speed", 0, "--start", "2026-01-01T00:00:00Z")
    assert done.returncode == 0, done.stderr
    received = watcher.wait_for("/numerics", 1936)
    watcher.stop()
    assert {message.topic for message in watcher.messages} == {"mimic2/v1/main/mimic-1/numerics"}
    assert received[0]["time"] == 1_767_225_600_000
    assert received[1]["time"] - received[0]["time"] == 60_000
    assert received[-1]["HR"] == 0.0
    assert received[-1]["NBPSys"] is None

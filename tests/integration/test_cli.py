"""The commands of `hub` as a person or a script runs them: each in a process of its own."""

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import httpx
import pytest
import typer

from hub.cli import app
from hub.journal_file import READERS
from hub.ward.registry import Registry
from tests.crash.hub_process import HubProcess
from tests.servers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DONE, FAILED, USAGE, UNAVAILABLE, CONFIG = 0, 1, 2, 69, 78


def hub(*arguments: object, expect: int = DONE, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end; hold its exit code, and that nobody sees a traceback."""
    command = [sys.executable, "-m", "hub.cli", *map(str, arguments)]
    # Wide enough for tables: nothing is cut that a test looks for.
    environment = {**os.environ, "COLUMNS": "250"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, input=stdin, env=environment
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(typer.main.get_command(app)))


@asynccontextmanager
async def running(process: HubProcess) -> AsyncIterator[HubProcess]:
    process.start()
    try:
        await process.ready()
        yield process
    finally:
        process.kill()


async def publish(url: str, *messages: tuple[str, dict[str, Any] | bytes]) -> None:
    parts = urlsplit(url)
    async with aiomqtt.Client(parts.hostname or "", parts.port or 1883, timeout=20) as client:
        for topic, payload in messages:
            body = payload if isinstance(payload, bytes) else json.dumps(payload)
            await client.publish(topic, body, qos=1)


# --help


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_shows_an_example_of_itself(path: tuple[str, ...]) -> None:
    text = ALL[path].help or ""
    assert f"hub {' '.join(path)}" in text.partition("For example:")[2]


def test_help_is_shown_without_settings_and_wrong_usage_is_told_apart_from_failing(tmp_path: Path) -> None:
    assert "Exit codes" in hub("--help").stdout
    assert "hub token create" in hub("token", "create", "--help").stdout
    assert hub("--version").stdout.startswith("hub ")
    assert "--nonsense" in hub("run", "--nonsense", expect=USAGE).stderr


# demo


async def test_the_demo_shows_values_and_an_alarm_and_ends_with_one_line_of_json() -> None:
    command = [sys.executable, "-m", "hub.cli", "demo", "--seconds", "15", "--json"]
    demo = await asyncio.create_subprocess_exec(
        *command,
        "--port",
        "0",
        "--mqtt-port",
        "0",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert demo.stdout
    assert demo.stderr
    said = b""
    try:
        async with asyncio.timeout(60):
            while not re.search(rb"token +(\S+)\n", said):
                said += await demo.stderr.readline()
        api = re.search(rb"API +(\S+)\n", said)
        token = re.search(rb"token +(\S+)\n", said)
        assert api
        assert token
        rest = asyncio.create_task(demo.stderr.read())
        seen = await watch(f"{api[1].decode()}/stream", token[1].decode())
        out = await demo.stdout.read()
        said += await rest
        assert await demo.wait() == DONE, said.decode()
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
    lines = out.decode().splitlines()
    assert len(lines) == 1, "standard output is one line that a script can read"
    summary = json.loads(lines[0])
    print(f"\n{summary}; on the stream: {seen}")
    assert list(summary) == ["received", "stored", "rejected", "alarms", "lost"]
    assert summary["lost"] == 0
    assert summary["stored"] > 0
    assert summary["received"] >= summary["stored"]
    assert summary["alarms"] >= 1
    assert seen["values"] > 0
    assert seen["alarms"] >= 1
    assert b"Traceback" not in said


async def watch(url: str, token: str) -> dict[str, int]:
    """Look at the stream until it ends; count what a nurse station would see."""
    seen = {"values": 0, "alarms": 0, "heartbeats": 0}
    event = ""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(timeout=60) as client, client.stream("GET", url, headers=headers) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                if event == "vitals":
                    seen["values"] += sum(
                        value["value"] is not None for bed in data["beds"] for value in bed["values"].values()
                    )
                elif event == "reset":
                    seen["alarms"] += sum(alarm["presence"] == "present" for alarm in data["alarms"])
                seen["alarms"] += event in ("alarm", "technical") and data["event"] == "start"
                seen["heartbeats"] += event == "heartbeat"
    return seen


def test_a_demo_on_a_taken_port_is_one_message_and_nothing_on_standard_output(tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        arguments = ("demo", "--seconds", 5, "--json", "--port", port, "--mqtt-port", 0)
        done = hub(*arguments, expect=UNAVAILABLE)
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(port) in errors[0]


# token


async def test_a_token_works_from_when_it_is_made_until_it_is_revoked_beside_a_running_hub(
    tmp_path: Path,
) -> None:
    process = HubProcess(tmp_path)
    config = ("--config", tmp_path / "hub.toml")
    async with running(process), httpx.AsyncClient(base_url=process.url) as http:
        secret = hub("token", "create", "--name", "screen-1", "--role", "nurse", *config).stdout.strip()
        headers = {"Authorization": f"Bearer {secret}"}

        async def status() -> int:
            return (await http.get("/api/v1/wards", headers=headers)).status_code

        assert (await http.get("/api/v1/wards")).status_code == 401
        await until(status, 200)
        listed = hub("token", "list", *config).stdout
        assert re.search(r"screen-1.*nurse", listed)
        assert secret not in listed
        twice = hub("token", "create", "--name", "screen-1", *config, expect=FAILED)
        assert "screen-1" in twice.stderr
        hub("token", "revoke", "screen-1", *config)
        await until(status, 401)
        assert "nobody" in hub("token", "revoke", "nobody", *config, expect=FAILED).stderr
        assert (
            "plumber"
            in hub("token", "create", "--name", "x", "--role", "plumber", *config, expect=FAILED).stderr
        )


async def until(ask: Any, wanted: object, seconds: float = 30) -> None:
    """Wait until asking gives what is wanted."""
    deadline = time.monotonic() + seconds
    while (found := await ask()) != wanted:
        assert time.monotonic() < deadline, f"{found} in place of {wanted}"
        await asyncio.sleep(0.1)


# rejects

DEFINITION = """
title = "Acme monitor"
source = "made up for this test"
interval_s = 1
time = {{ path = "at", style = "rfc3339" }}
[[topic]]
pattern = "acme/{{site}}/{{device}}"
[[read]]
value = [{{ path = "state", parameter = "acvpu", map = {{ {awake} = "A" }} }}]
"""


async def test_a_reject_is_replayed_beside_a_running_hub_once_its_definition_is_mended(
    tmp_path: Path,
) -> None:
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    definition = definitions / "acme.toml"
    definition.write_text(DEFINITION.format(awake="alert"))
    process = HubProcess(tmp_path, settings=f'definitions = ["{definitions}"]')
    config = ("--config", tmp_path / "hub.toml")
    determined = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    async with running(process), httpx.AsyncClient(base_url=process.url, headers=process.headers) as http:

        async def readings() -> list[tuple[str, dict[str, str]]]:
            answer = await http.get("/api/v1/devices/main/acme-1/readings")
            if answer.status_code == 404:
                return []
            return [(one["time"], one["values"]) for one in answer.raise_for_status().json()["readings"]]

        async def rejects() -> int:
            return len(hub("rejects", "list", "--json", *config).stdout.splitlines())

        await publish(
            process.broker_url, ("acme/main/acme-1", {"at": determined.isoformat(), "state": "awake"})
        )
        await publish(process.broker_url, ("acme/main/acme-2", b"\xff not JSON"))
        await until(rejects, 2)
        (one,) = map(
            json.loads, hub("rejects", "list", "--json", "--device", "acme-1", *config).stdout.splitlines()
        )
        assert json.loads(one["payload"]) == {"at": determined.isoformat(), "state": "awake"}
        assert (one["topic"], one["device"]) == ("acme/main/acme-1", "acme-1")
        assert "state" in one["path"]
        assert one["reason"]
        assert "acme-1" in hub("rejects", "list", *config).stdout

        again = hub("rejects", "replay", "--device", "acme-1", *config, expect=FAILED)
        assert "0 accepted, 1 rejected again" in again.stderr
        definition.write_text(DEFINITION.format(awake="awake"))
        mended = hub("rejects", "replay", "--device", "acme-1", *config)
        assert "1 accepted, 0 rejected again" in mended.stderr
        await until(readings, [(f"{determined:%Y-%m-%dT%H:%M:%S}Z", {"acvpu": "A"})])
        assert await rejects() == 1, "the other device's is still there"
        definition.write_text("title = ")
        broken = hub("rejects", "replay", *config, expect=CONFIG)
        assert "acme.toml" in broken.stderr


def test_rejects_without_a_journal_say_where_one_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text(f'data_dir = "{tmp_path}/none"\n')
    done = hub("rejects", "list", "--config", tmp_path / "hub.toml", expect=UNAVAILABLE)
    assert f"{tmp_path}/none" in done.stderr


# devices


def test_definitions_are_listed_checked_and_tried_without_a_hub(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text(f'data_dir = "{tmp_path}/data"\n')
    config = ("--config", tmp_path / "hub.toml")
    assert "wards/v1/{site}/{area}/{device}/observations" in hub("devices", "list", *config).stdout
    assert "0 errors" in hub("devices", "check").stderr
    good = tmp_path / "acme.toml"
    good.write_text(DEFINITION.format(awake="awake"))
    assert "0 errors" in hub("devices", "check", good).stderr
    good.write_text(DEFINITION.format(awake="awake").replace("rfc3339", "sundial").replace("acvpu", "avpu"))
    checked = hub("devices", "check", good, expect=FAILED)
    assert str(good) in checked.stdout
    assert "style" in checked.stdout
    assert "avpu" in checked.stdout
    decoded = hub("devices", "decode", "--device", "mon-1", '{"values":{"heart_rate":72}}', *config).stdout
    assert "8867-4" in decoded
    assert "72" in decoded
    refused = hub("devices", "decode", "--device", "mon-1", "{", *config, expect=FAILED)
    assert "$" in refused.stdout
    assert not (tmp_path / "data").exists(), "nothing of it needs or makes a hub's folder"


# doctor


def test_the_doctor_finds_nothing_wrong_with_the_embedded_broker_and_store(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text(f'data_dir = "{tmp_path}/data"\n')
    arguments = ("doctor", "--messages", 200, "--config", tmp_path / "hub.toml")
    findings = json.loads(hub(*arguments, "--json").stdout)
    assert {"disk: fsync", "disk: room", "clock", "registry", "store: duckdb"} <= {
        f["subject"] for f in findings
    }
    assert any(finding["subject"].startswith("broker") for finding in findings)
    assert all(finding["level"] != "error" and finding["means"] for finding in findings)
    assert "disk: fsync" in hub(*arguments).stdout


def test_the_doctor_fails_on_what_can_not_be_reached_and_says_what_to_change(tmp_path: Path) -> None:
    broker, store = free_port(), free_port()
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    (tmp_path / "hub.toml").write_text(
        f'data_dir = "{tmp_path}/data"\nbroker_url = "mqtt://127.0.0.1:{broker}"\n'
        f'[[stores]]\nkind = "influxdb"\nurl = "http://127.0.0.1:{store}"\nbucket = "vitals"\n'
    )
    arguments = ("doctor", "--messages", 200, "--json", "--config", tmp_path / "hub.toml")
    findings = json.loads(hub(*arguments, expect=FAILED).stdout)
    errors = {finding["subject"]: finding for finding in findings if finding["level"] == "error"}
    assert len(errors) == 2
    assert any(str(broker) in finding["found"] for finding in errors.values())
    assert str(store) in errors["store: influxdb"]["found"]
    assert all(finding["change"] for finding in errors.values())

    (definitions / "bad.toml").write_text("title = ")
    (tmp_path / "hub.toml").write_text(f'data_dir = "{tmp_path}/data"\ndefinitions = ["{definitions}"]\n')
    findings = json.loads(hub(*arguments, expect=FAILED).stdout)
    assert [f["subject"] for f in findings if f["level"] == "error"] == ["definitions"]


# patients erase

NAME, NUMBER, MARK = "Erika Musterfrau", "MRN-4711-0815", "left-pocket-diary"
OTHER = "Max Mustermann"
WARD = f"""
[site]
id = "main"
[[ward]]
id = "icu"
beds = ["icu-1", "icu-2"]
[[device]]
id = "mon-1"
definition = "native"
bed = "icu-1"
interval_s = 1
[[device]]
id = "mon-2"
definition = "native"
bed = "icu-2"
interval_s = 1
[[patient]]
name = "{NAME}"
identifier = "{NUMBER}"
bed = "icu-1"
[[patient]]
name = "{OTHER}"
identifier = "MRN-2"
bed = "icu-2"
"""
READINGS = 40


class Ward:
    """A hub with two patients, one of whom has left and is to be erased."""

    def __init__(self, folder: Path) -> None:
        (folder / "ward.toml").write_text(WARD)
        self.config = ("--config", folder / "hub.toml")
        self.hub = HubProcess(folder, settings=f'ward_file = "{folder}/ward.toml"')
        self.patient = ""

    async def live(self) -> None:
        """Let both patients be measured, one alarm, and one device send nonsense; then discharge that one."""
        now_ms = time.time_ns() // 1_000_000
        messages: list[tuple[str, dict[str, Any] | bytes]] = []
        for device in ("mon-1", "mon-2"):
            topic = f"wards/v1/main/icu/{device}"
            messages.append((f"{topic}/status", {"state": "online"}))
            for seq in range(1, READINGS + 1):
                values = {"heart_rate": 150 + seq % 2, "spo2": 97}
                messages.append(
                    (f"{topic}/observations", {"time": now_ms + seq, "seq": seq, "values": values})
                )
            window = {"waveform": "pleth", "rate": 125, "samples": [1, 2, 3], "time": now_ms, "seq": 1}
            messages.append((f"{topic}/waveforms", window))
        messages.append(("wards/v1/main/icu/mon-1/observations", f'{{"values": {MARK}'.encode()))
        await publish(self.hub.broker_url, *messages)
        async with httpx.AsyncClient(base_url=self.hub.url, headers=self.hub.headers) as http:

            async def alarms() -> set[str]:
                answer = (await http.get("/api/v1/alarms")).raise_for_status().json()
                return {alarm["device"] for alarm in answer["alarms"] if alarm["parameter"] == "heart_rate"}

            await until(alarms, {"mon-1", "mon-2"})
            patients = (await http.get("/api/v1/patients")).raise_for_status().json()["patients"]
        self.patient = next(one["id"] for one in patients if one["name"] == NAME)
        await self.hub.drained()
        assert self.traces() != [], "there is something to be erased"
        registry = Registry(f"sqlite:///{self.hub.data / 'registry.sqlite'}")
        await registry.start()
        await registry.discharge(self.patient, time.time_ns())
        await registry.stop()

    def files(self) -> list[Path]:
        """Return all that the hub keeps, but for the broker's: what it acknowledged there is the broker's."""
        kept = [path for path in self.hub.data.rglob("*") if path.is_file()]
        return [path for path in kept if "broker" not in path.relative_to(self.hub.data).parts]

    def traces(self) -> list[str]:
        """Return where the patient's name, number, nonsense or, beyond the registry, id still are."""
        found = []
        for path in self.files():
            content = path.read_bytes()
            wanted = [NAME, NUMBER, MARK]
            if not path.name.startswith("registry.sqlite"):
                wanted.append(self.patient)
            found += [f"{path.name}: {text}" for text in wanted if text.encode() in content]
        return found

    def journalled(self) -> dict[str, int]:
        """Count, in the journal's own rows, what is left of each monitor."""
        left = {"mon-1": 0, "mon-2": 0}
        with closing(sqlite3.connect(self.hub.data / "journal.sqlite")) as db:
            for version, encoded in db.execute("SELECT version, batch FROM rows"):
                batch = READERS[version].decode(encoded)
                for one in [*batch.readings, *batch.waveforms, *batch.statuses]:
                    if one.device in left:
                        left[one.device] += 1
            assert db.execute("SELECT count(*) FROM rejects WHERE device = 'mon-1'").fetchone() == (0,)
        return left

    def stored(self) -> dict[str, int]:
        """Count, in another process, what the time series have of each monitor."""
        code = (
            "import sys, duckdb\n"
            "with duckdb.connect(sys.argv[1], read_only=True) as db:\n"
            "    for table in ('readings', 'readings_old', 'waveforms', 'statuses'):\n"
            "        query = f'SELECT device, count(*) FROM {table} JOIN devices ON key = _device '\n"
            "        query += 'GROUP BY ALL'\n"
            "        for row in db.execute(query).fetchall(): print(*row)\n"
        )
        command = [sys.executable, "-c", code, str(self.hub.data / "series.duckdb")]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        left = {"mon-1": 0, "mon-2": 0}
        for device, count in map(str.split, done.stdout.splitlines()):
            if device in left:
                left[device] += int(count)
        return left

    def nothing_is_left(self) -> None:
        """Hold that every trace has gone and that the other patient's are all there."""
        assert self.traces() == []
        assert any(OTHER.encode() in path.read_bytes() for path in self.files())
        assert self.journalled() == {"mon-1": 0, "mon-2": READINGS + 2}
        assert self.stored() == {"mon-1": 0, "mon-2": READINGS + 2}


async def test_a_patient_is_erased_by_the_running_hub_and_nothing_is_left(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    async with running(ward.hub):
        await ward.live()
        done = await asyncio.to_thread(hub, "patients", "erase", ward.patient, "--yes", *ward.config)
        assert f"{ward.patient} is erased" in done.stderr
        assert ward.traces() == []
        async with httpx.AsyncClient(base_url=ward.hub.url, headers=ward.hub.headers) as http:
            patients = (await http.get("/api/v1/patients")).raise_for_status().json()["patients"]
            assert [one["name"] for one in patients] == [OTHER]
        assert ward.hub.stop() == DONE
    ward.nothing_is_left()


async def test_a_patient_is_erased_by_the_command_itself_while_no_hub_runs(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    async with running(ward.hub):
        await ward.live()
        assert ward.hub.stop() == DONE
    done = hub("patients", "erase", ward.patient, "--yes", *ward.config)
    assert f"{ward.patient} is erased" in done.stderr
    ward.nothing_is_left()


async def test_a_patient_who_is_in_a_bed_or_unknown_is_not_erased_and_a_no_stops_it(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    async with running(ward.hub):
        async with httpx.AsyncClient(base_url=ward.hub.url, headers=ward.hub.headers) as http:
            patients = (await http.get("/api/v1/patients")).raise_for_status().json()["patients"]
        ids = {one["name"]: one["id"] for one in patients}
        refused = hub("patients", "erase", ids[NAME], "--yes", *ward.config, expect=FAILED)
        assert "still has bed icu-1" in refused.stderr
        assert "pt-none" in hub("patients", "erase", "pt-none", "--yes", *ward.config, expect=FAILED).stderr
        hub("patients", "erase", ids[NAME], *ward.config, stdin="n\n", expect=FAILED)
        async with httpx.AsyncClient(base_url=ward.hub.url, headers=ward.hub.headers) as http:
            patients = (await http.get("/api/v1/patients")).raise_for_status().json()["patients"]
        assert {one["name"] for one in patients} == {NAME, OTHER}

"""What `hub run` says and leaves behind when it can't start: one message, an exit code, nothing running."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hub.devices.catalog import Catalog
from tests.databases import influxd
from tests.postgres import postgres
from tests.servers import embedded_broker, free_port, mosquitto, password_lines

pytestmark = pytest.mark.integration

UNAVAILABLE, CONFIG = 69, 78


class Attempt:
    """`hub run` with settings in a folder of its own; everything that it left is looked for."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.http_port, self.mqtt_port = free_port(), free_port()
        self.data = folder / "data"
        document = f'data_dir = "{self.data}"\n' if "data_dir" not in settings else ""
        document += settings
        for section, port in (("http", self.http_port), ("embedded_broker", self.mqtt_port)):
            if f"[{section}]" not in settings:
                document += f"\n[{section}]\nport = {port}\n"
        (folder / "hub.toml").write_text(document)

    def run(self) -> tuple[int, list[str], str]:
        """Return the exit code, the lines of the error message, and all that was said."""
        command = [sys.executable, "-m", "hub.cli", "run", "--config", str(self.folder / "hub.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == "", "standard output is for results"
        assert "Traceback" not in done.stderr, done.stderr
        assert "ResourceWarning" not in done.stderr
        assert " is up" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return done.returncode, [line.removeprefix("error: ") for line in errors], done.stderr

    def left_running(self) -> list[str]:
        """Return the command lines of processes that work in this attempt's folder."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or ())
            ours = str(self.data) in command or str(self.folder / "hub.toml") in command
            if ours and process.pid != os.getpid():
                found.append(command)
        return found


def fails(folder: Path, settings: str, code: int, *says: str, listening: tuple[int, ...] = ()) -> str:
    """Run the hub; hold that it fails with one message that says all of this, and leaves nothing running."""
    attempt = Attempt(folder, settings)
    returned, errors, said = attempt.run()
    assert returned == code, said
    message = "\n".join(errors)
    assert len(errors) == 1, said
    for text in says:
        assert text in message, message
    nothing_left(attempt, listening)
    return message


def nothing_left(attempt: Attempt, listening: tuple[int, ...] = ()) -> None:
    assert attempt.left_running() == []
    for port in (attempt.http_port, attempt.mqtt_port):
        with socket.socket() as probe:
            assert (probe.connect_ex(("127.0.0.1", port)) == 0) == (port in listening)


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """Listen on a port, as another program does."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


# Wrong settings and files: someone must change them.


def test_every_bad_setting_is_told_at_once_with_its_key(tmp_path: Path) -> None:
    attempt = Attempt(
        tmp_path,
        """
id = "a hub"
time_zone = "Mars/Olympus"
[http]
port = 70000
[journal]
quota_mb = "much"
[[stores]]
kind = "influxdb"
""",
    )
    code, errors, said = attempt.run()
    assert code == CONFIG
    keys = {line.split(": ")[1] for line in errors}
    assert {"id", "time_zone", "http.port", "journal.quota_mb"} <= keys, said
    assert any(key.startswith("stores.0.") for key in keys), said
    assert all(line.startswith(f"{tmp_path}/hub.toml: ") for line in errors)
    assert not attempt.data.exists(), "nothing is begun"
    nothing_left(attempt)


def test_an_unknown_setting_is_named_and_nothing_is_begun(tmp_path: Path) -> None:
    message = fails(tmp_path, "[http]\nprot = 9000\n", CONFIG, "http.prot", "no such setting")
    assert "docs/reference/settings.md" in message
    assert not (tmp_path / "data").exists()


def test_a_secret_in_a_bad_setting_is_not_repeated(tmp_path: Path) -> None:
    message = fails(tmp_path, 'broker_url = "mqtt://hub:s3cret@127.0.0.1:badport"\n', CONFIG)
    assert "s3cret" not in message


def test_a_settings_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    fails(tmp_path, "id = \n", CONFIG, f"{tmp_path}/hub.toml", "not TOML")
    (tmp_path / "hub.toml").unlink()
    run = [sys.executable, "-m", "hub.cli", "run", "--config", str(tmp_path / "hub.toml")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == CONFIG
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/hub.toml: can't be read: No such file or directory"
    ]


def test_an_unknown_vocabulary_name_in_a_definition_is_named_with_its_file_and_key(tmp_path: Path) -> None:
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    (definitions / "bad-monitor.toml").write_text(
        """
title = "A monitor"
source = "made up"
interval_s = 1
time = { path = "time", style = "ms" }
[[topic]]
pattern = "acme/{site}/{device}"
[[read]]
value = [{ path = "hr", parameter = "hart_rate", unit = "/min" }]
"""
    )
    fails(
        tmp_path, f'definitions = ["{definitions}"]\n', CONFIG, "bad-monitor.toml", "hart_rate", "heart_rate"
    )


def test_more_topics_than_the_embedded_broker_can_keep_apart_are_told(tmp_path: Path) -> None:
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    for number in range(80):
        (definitions / f"monitor-{number}.toml").write_text(
            f"""
title = "A monitor"
source = "made up"
interval_s = 1
time = {{ path = "time", style = "ms" }}
[[topic]]
pattern = "acme{number}/{{site}}/{{device}}"
[[read]]
value = [{{ path = "hr", parameter = "heart_rate", unit = "/min" }}]
"""
        )
    fails(tmp_path, f'definitions = ["{definitions}"]\n', CONFIG, "embedded_broker", "take filters together")


def test_a_broken_ward_file_is_named_with_every_fault(tmp_path: Path) -> None:
    ward = tmp_path / "ward.toml"
    ward.write_text(
        """
[site]
id = "main"
[[ward]]
id = "icu"
beds = ["icu-1", "icu-1"]
[[device]]
id = "mon-1"
definition = "no-such-model"
bed = "icu-9"
"""
    )
    attempt = Attempt(tmp_path, f'ward_file = "{ward}"\n')
    code, errors, said = attempt.run()
    assert code == CONFIG
    assert len(errors) >= 2
    assert all(line.startswith(f"{ward}: ") for line in errors), said
    for text in ("icu-1", "icu-9", "no-such-model"):
        assert any(text in line for line in errors), said
    assert not (attempt.data / "journal.sqlite").exists(), "nothing is begun"
    nothing_left(attempt)


def test_a_broken_limits_file_is_named_with_every_fault(tmp_path: Path) -> None:
    limits = tmp_path / "limits.toml"
    limits.write_text('version = 2\n[adult.hart_rate]\nlow = 50\n[adult.spo2]\nlow = "ninety"\n')
    attempt = Attempt(tmp_path, f'limits_file = "{limits}"\n')
    code, errors, said = attempt.run()
    assert code == CONFIG
    assert all(line.startswith(f"{limits}: adult") for line in errors), said
    assert any("hart_rate" in line for line in errors)
    assert any("spo2.low" in line for line in errors)
    assert not (attempt.data / "journal.sqlite").exists(), "nothing is begun"
    nothing_left(attempt)


# What can't be had now: trying again later may help.


def test_a_taken_http_port_is_told_and_the_broker_is_stopped_again(tmp_path: Path) -> None:
    with taken_port() as port:
        fails(
            tmp_path,
            f"[http]\nport = {port}\n",
            UNAVAILABLE,
            f"can't listen on 127.0.0.1:{port}",
            "Address already in use",
            "http.port",
        )


def test_a_taken_mqtt_port_is_told(tmp_path: Path) -> None:
    with taken_port() as port:
        fails(tmp_path, f"[embedded_broker]\nport = {port}\n", UNAVAILABLE, str(port), "embedded_broker.port")


def test_a_missing_broker_is_told(tmp_path: Path) -> None:
    port = free_port()
    fails(
        tmp_path,
        f'broker_url = "mqtt://127.0.0.1:{port}"\n',
        UNAVAILABLE,
        f"mqtt://127.0.0.1:{port}",
        "nothing listens there",
        "start the broker or correct the url",
    )


def test_a_broker_that_refuses_the_login_is_told_without_the_password(tmp_path: Path) -> None:
    with mosquitto(tmp_path, *password_lines(tmp_path, "hub", "right")) as broker:
        message = fails(
            tmp_path,
            f'[[brokers]]\nurl = "mqtt://hub@127.0.0.1:{broker.port}"\npassword = "wr0ng"\n',
            CONFIG,
            f"127.0.0.1:{broker.port}",
            "'hub'",
            "password",
        )
    assert "wr0ng" not in message


async def test_a_hub_that_is_running_keeps_a_second_one_out_of_its_folder(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path, filters=tuple(Catalog.load().filters)) as broker:
        settings = f'broker_url = "{broker.url}"\n'
        first = Attempt(tmp_path, settings)
        with running(first):
            second = Attempt(tmp_path, settings)
            code, errors, said = second.run()
            assert code == UNAVAILABLE, said
            assert len(errors) == 1
            assert f"data_dir {first.data} is in use by another hub (process " in errors[0]
            assert "data_dir and an id of its own" in errors[0]


def test_an_unwritable_data_folder_is_told_by_every_command_that_needs_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    setting = f'data_dir = "{tmp_path}/file/data"\n'
    fails(tmp_path, setting, UNAVAILABLE, f"data_dir {tmp_path}/file/data", "folder that the hub may write")
    for arguments in (
        ["token", "create", "--name", "x"],
        ["user", "list"],
        ["patients", "erase", "p", "--yes"],
    ):
        command = [sys.executable, "-m", "hub.cli", *arguments, "--config", str(tmp_path / "hub.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == UNAVAILABLE, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert f"{tmp_path}/file/data" in done.stderr, arguments


def test_an_unreachable_postgresql_is_told_without_the_password(tmp_path: Path) -> None:
    port = free_port()
    message = fails(
        tmp_path,
        f'database_url = "postgresql+psycopg://hub:s3cret@127.0.0.1:{port}/hub"\n',
        UNAVAILABLE,
        f"127.0.0.1:{port}",
        "database",
    )
    assert "s3cret" not in message


def test_a_postgresql_without_the_database_is_told(tmp_path: Path) -> None:
    with postgres() as server:
        url = server.database().rsplit("/", 1)[0]
        fails(tmp_path, f'database_url = "{url}/nowhere"\n', UNAVAILABLE, "nowhere")


def test_a_corrupt_journal_stops_the_start_and_stays_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    journal = data / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(journal)) as db:
        db.execute("CREATE TABLE t (x)")
        db.executemany("INSERT INTO t VALUES (?)", [("x" * 500,) for _ in range(200)])
        db.execute("PRAGMA user_version = 1")
        db.commit()
    damaged = bytearray(journal.read_bytes())
    damaged[100:40_000] = os.urandom(39_900)
    journal.write_bytes(damaged)
    fails(tmp_path, "", UNAVAILABLE, str(journal), "damaged", "saves what can be read", "moving the file")
    assert journal.read_bytes() == damaged, "nobody but a person throws readings away"


def test_a_store_that_refuses_the_token_ends_the_start(tmp_path: Path) -> None:
    server = influxd(tmp_path, auth=True)
    server.start()
    try:
        message = fails(
            tmp_path,
            f'[[stores]]\nkind = "influxdb"\nurl = "{server.url}"\ntoken = "s3cret"\nbucket = "vitals"\n',
            CONFIG,
            server.url,
            "token",
        )
        assert "s3cret" not in message
    finally:
        server.stop()


def test_an_unreachable_time_series_store_is_a_warning_and_readings_spool(tmp_path: Path) -> None:
    """docs/decisions/0007: alarms need no database, and the journal loses nothing."""
    port = free_port()
    attempt = Attempt(
        tmp_path, f'[[stores]]\nkind = "influxdb"\nurl = "http://127.0.0.1:{port}"\nbucket = "vitals"\n'
    )
    with running(attempt) as said:
        pass
    warnings = [line for line in said() if " WARNING " in line and "can't be reached" in line]
    assert len(warnings) == 1
    assert "readings spool in the journal until it can" in warnings[0]
    nothing_left(attempt)


@contextlib.contextmanager
def running(attempt: Attempt) -> Iterator[Callable[[], list[str]]]:
    """Run a hub until the block ends; what it said is then returned by calling what is yielded."""
    log = attempt.folder / "running.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "hub.cli", "run", "--config", str(attempt.folder / "hub.toml")]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while " is up: " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield lambda: log.read_text().splitlines()
        process.terminate()
        code = process.wait(30)
    finally:
        process.kill()
        process.wait(10)
    assert code == 0
    assert "Traceback" not in log.read_text()
    assert "leaked" not in log.read_text()

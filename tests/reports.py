"""`make reports`: the load tests whose reports are in docs/reports, run again with `ward-sims load`.

Each starts the brokers that it needs and ends with a page and a JSON file. They take from three to fifteen
minutes each, and want the machine for themselves.
"""

import argparse
import contextlib
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.certificates import Authority
from tests.servers import Mosquitto

FOLDER = Path("docs/reports")
_NOTHING_LOST = "lost=0,doubled=0,altered=0,alarms_missed=0"
_HOSPITAL = (
    *("--devices", "10620", "--rate", "1", "--duration", "600", "--ramp", "400"),
    *(
        "--expect",
        f"{_NOTHING_LOST},alarm_p99_ms<250,connect_s<60,actual_share>=0.99,hub_rss_late_growth_mb<20",
    ),
)
_HIGHEST = (
    *("--devices", "2000", "--rate", "4", "--duration", "20", "--find-max"),
    *("--expect", f"{_NOTHING_LOST},actual_share>=0.99,alarm_p99_ms<1000"),
)


@dataclass(frozen=True)
class Report:
    """One load test. `brokers`: how many Mosquittos; the embedded broker where none."""

    brokers: int
    command: Sequence[str]
    tls: bool = False
    restart_at_s: int | None = None
    """When every broker is ended in order and started again."""


REPORTS = {
    "hospital-embedded": Report(0, _HOSPITAL),
    "hospital-mosquitto": Report(1, _HOSPITAL),
    "hospital-tls": Report(1, _HOSPITAL, tls=True),
    "highest-embedded": Report(0, _HIGHEST),
    "highest-mosquitto": Report(1, _HIGHEST),
    "connections-40000": Report(
        3,
        (
            *("--devices", "40000", "--rate", "0.1", "--duration", "180", "--ramp", "1000"),
            *("--drain", "120", "--expect", f"{_NOTHING_LOST},connected=40000,actual_share>=0.99"),
        ),
        restart_at_s=60,
    ),
}


def main() -> None:
    """Run the reports that are named, or all."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("name", nargs="*", help=f"one of {', '.join(REPORTS)}; all where none is named")
    names = options.parse_args().name or list(REPORTS)
    for name in names:
        if name not in REPORTS:
            options.error(f"there is no report {name!r}: take one of {', '.join(REPORTS)}")
    FOLDER.mkdir(exist_ok=True)
    codes = [_run(name, REPORTS[name]) for name in names]
    sys.exit(max(codes))


def _run(name: str, report: Report) -> int:
    command = [*("ward-sims", "load", "--with-hub"), *report.command]
    with tempfile.TemporaryDirectory(prefix="wardhub-report-") as folder, contextlib.ExitStack() as stack:
        authority = Authority(Path(folder)) if report.tls else None
        certificate = authority.sign("localhost") if authority else None
        brokers = [
            stack.enter_context(_kept_up(Path(folder, f"broker-{number}"), certificate))
            for number in range(report.brokers)
        ]
        if brokers:
            start = "mqtts://localhost" if report.tls else "mqtt://127.0.0.1"
            command += ["--brokers", ",".join(f"{start}:{broker.port}" for broker in brokers)]
        if authority is not None:
            command += ["--ca-file", str(authority.file)]
        if report.restart_at_s is not None:
            pids = " ".join(str(broker.pid) for broker in brokers)
            command += ["--fault", f"run@{report.restart_at_s}:kill -TERM {pids}"]
        command += ["--json", str(FOLDER / f"{name}.json"), "--report", str(FOLDER / f"{name}.html")]
        print(shlex.join(command), file=sys.stderr)
        program = str(Path(sys.executable).with_name("ward-sims"))
        code = subprocess.run([program, *command[1:]], check=False).returncode
        page = FOLDER / f"{name}.html"
        if page.exists():  # the folder is gone when somebody reads the command
            page.write_text(page.read_text().replace(f"{folder}/", ""))
        return code


@contextlib.contextmanager
def _kept_up(folder: Path, certificate: tuple[Path, Path] | None) -> Iterator[Mosquitto]:
    """Run a Mosquitto that is started again whenever it ends, as a service manager does.

    `certificate`: its own and the key, for TLS.
    """
    folder.mkdir()
    lines = ["allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0"]
    if certificate is not None:
        lines += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
    broker = Mosquitto(folder, *lines)
    broker.start()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            if broker.pid is None:
                broker.start()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield broker
    finally:
        ended.set()
        watcher.join()
        broker.stop()


if __name__ == "__main__":
    main()

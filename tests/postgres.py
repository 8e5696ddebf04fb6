"""A real PostgreSQL for tests: Debian's server, in a directory and on a port of its own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


class Postgres:
    """One server, on 127.0.0.1, without passwords. Ended by its process id."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.folder = folder
        self.port = _free_port()
        self._programs = programs
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def prepare(self) -> None:
        """Make the data directory."""
        subprocess.run(
            [self._programs / "initdb", "-D", self.folder / "data", "-U", "hub", "-A", "trust", "-E", "UTF8"],
            check=True,
            capture_output=True,
            **self._as_user(),
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
        for setting in ("listen_addresses=127.0.0.1", "shared_buffers=16MB", "max_connections=40"):
            command += ["-c", setting]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-k", self.folder], stdout=log, stderr=log, **self._as_user()
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._dsn("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError((self.folder / "server.log").read_text()[-2000:]) from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End the server at once, as `pg_ctl stop -m immediate` does: what it committed stays."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)

    def database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"hub{self._databases}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://hub@127.0.0.1:{self.port}/{name}"

    def files(self, database: str) -> Path:
        """Return the folder of one database's files, with everything committed written to them."""
        self.execute(database, "CHECKPOINT")
        with psycopg.connect(self._dsn(database)) as connection:
            row = connection.execute(
                "SELECT oid FROM pg_database WHERE datname = current_database()"
            ).fetchone()
        return self.folder / "data" / "base" / str(row[0])

    def execute(self, database: str, statement: str) -> None:
        """Run one statement as the owner of everything."""
        with psycopg.connect(self._dsn(database), autocommit=True) as connection:
            connection.execute(statement)

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=hub dbname={database} connect_timeout=2"

    def _as_user(self) -> dict[str, object]:
        # The server refuses to run as root; its working directory must be one that its user may enter.
        drop = {} if self._user is None else {"user": self._user, "group": self._user, "extra_groups": []}
        return {"cwd": self.folder, **drop}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server for the length of the block; skips where Debian's postgresql is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        programs = found[-1].parent
    elif program := shutil.which("postgres"):
        programs = Path(program).parent
    else:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not pytest's tmp_path: that one only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="hub-postgres-"))
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    server = Postgres(programs, folder, user)
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

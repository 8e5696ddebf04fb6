"""The folder in which one hub keeps everything of its own, and the lock that keeps a second hub out."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class DataDirUnusable(Exception):  # noqa: N818 - a state of the folder
    """The folder can't be made, written or is another hub's; the message says what to change."""


class DataDirInUse(DataDirUnusable):
    """A hub is running on it."""


class DataDir:
    """Names the hub's files and holds the lock while it is entered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.sqlite"
        self.alarms = path / "alarms.sqlite"
        self.births = path / "births.sqlite"
        self.alarm_book = path / "alarm-book.sqlite"
        self.scores = path / "scores.sqlite"
        self.fhir = path / "fhir.sqlite"
        self.exports = path / "exports"
        self.series = path / "series.duckdb"
        self.broker = path / "broker"
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        """Make the folder, readable by its owner alone, and lock it. Raises DataDirUnusable, DataDirInUse."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "hub.lock").open("a+")
        except OSError as error:
            raise DataDirUnusable(
                f"data_dir {self.path}: {error.strerror}; set data_dir to a folder that the hub may write"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise DataDirInUse(
                f"data_dir {self.path} is in use by another hub (process {holder}); stop it, or give this"
                " hub a data_dir and an id of its own"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

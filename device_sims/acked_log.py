"""What publishers saw acknowledged, one JSON line a message: the truth that a crash test compares with."""

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from device_sims.errors import InputError
from device_sims.recordings import Value


class AckedLog:
    """A file of acknowledged messages. A line is with the operating system when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise InputError(f"--acked-log {self._path} can't be written: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, device: str, time: str | int, seq: int, values: dict[str, Value]) -> None:
        """Append one message; safe to call from several threads."""
        line = {"device": device, "time": time, "seq": seq, "values": values}
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._file.write(data)

"""CPU and memory of the programs that a load test leans on."""

from dataclasses import dataclass

import psutil


@dataclass
class Usage:
    """What one program took since the start of the watch."""

    cpu_s: float = 0.0
    rss_mb: float = 0.0
    """The most that was seen."""
    rss_first_mb: float = 0.0


class ProgramWatch:
    """One process. Its children are not counted: the hub's broker is one, and is watched for itself."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._cpu_before: float | None = None
        self.usage = Usage()

    def look(self) -> Usage | None:
        """Read CPU and memory now; None where the process has ended."""
        try:
            cpu = sum(self._process.cpu_times()[:2])
            rss = self._process.memory_info().rss / 1e6
        except psutil.Error:
            return None
        if self._cpu_before is None:
            self._cpu_before = cpu
            self.usage.rss_first_mb = rss
        self.usage.cpu_s = cpu - self._cpu_before
        self.usage.rss_mb = max(self.usage.rss_mb, rss)
        return self.usage


def listener(port: int) -> int | None:
    """Return the process that listens on a TCP port of this machine; None where that isn't to be seen."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        address: tuple[object, ...] = connection.laddr
        listens = connection.status == psutil.CONN_LISTEN and address[1:] == (port,)
        if listens and connection.pid:
            return int(connection.pid)
    return None

"""The worker processes of a load test, and what they last said."""

import multiprocessing
import time
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from device_sims.errors import LostError
from device_sims.load import worker
from device_sims.load.histogram import Histogram
from device_sims.load.plan import LoadPlan


class Crew:
    """The worker processes and the last that each said."""

    def __init__(self, plan: LoadPlan) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self.pipes: list[Pipe] = []
        for number in range(plan.workers):
            mine, theirs = context.Pipe()
            process = context.Process(target=worker.main, args=(plan, number, theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self.pipes.append(mine)
        self._open = list(self.pipes)
        """Of workers that still run."""
        self.last: list[dict[str, Any]] = [{} for _ in self.pipes]
        self.accounts: list[tuple[bytes, bytes] | None] = [None for _ in self.pipes]
        self.interval = Histogram()
        """Latencies since the last that was taken."""

    def order(self, what: str, argument: object = None) -> None:
        """Tell all workers."""
        for pipe in self.pipes:
            pipe.send((what, argument))

    def listen(self, seconds: float) -> None:
        """Take what the workers say for that long."""
        end = time.monotonic() + seconds
        while self._open and (left := end - time.monotonic()) > 0:
            for ready in wait(self._open, left):
                number = self.pipes.index(ready)  # type: ignore[arg-type]
                try:
                    kind, said = self.pipes[number].recv()
                except (EOFError, OSError):
                    if self.accounts[number] is None:
                        raise LostError(f"worker {number} of the load test ended by itself") from None
                    self._open.remove(self.pipes[number])
                    continue
                if kind == "snapshot":
                    self.interval.add(said.pop("latency"))
                    self.last[number] = said
                else:
                    self.accounts[number] = said

    def total(self, key: str) -> float:
        """Add up a figure of all workers."""
        return sum(said.get(key) or 0 for said in self.last)

    def most(self, key: str) -> float:
        """Return the highest of all workers."""
        return max((said.get(key) or 0 for said in self.last), default=0.0)

    def least(self, key: str) -> float:
        """Return the lowest of all workers."""
        return min((said.get(key) or 0 for said in self.last), default=0.0)

    def refused(self) -> dict[str, int]:
        """Return how many connects failed, by reason."""
        reasons: dict[str, int] = {}
        for said in self.last:
            for reason, count in said.get("refused", {}).items():
                reasons[reason] = reasons.get(reason, 0) + count
        return reasons

    @property
    def drained(self) -> bool:
        """Whether every worker has sent all and waits for nothing."""
        return all(said.get("waiting") == 0 for said in self.last)

    def end(self) -> None:
        """Let the processes end; those that don't are stopped."""
        for process in self._processes:
            process.join(20)
            if process.is_alive():
                process.terminate()

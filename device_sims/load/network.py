"""The bad network of a load test: proxies on this machine that a share of the devices connects through.

They are there from the beginning and pass everything on, TLS too, until a fault's time. Each broker has a
process of them, so that neither the devices' schedule nor their latencies wait for it.
"""

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

import uvloop

from device_sims.errors import LostError
from device_sims.fault_proxy import FaultProxy, Weather
from device_sims.load.faults import Fault
from device_sims.load.plan import Detour, LoadPlan

_START_S = 30.0
_FAREWELL_S = 2.0
_LOST = "a fault proxy of the load test ended by itself"

Lane = tuple[Fault, ...]
"""Faults that the same devices share."""


class Network:
    """The proxies of one load test; none where no fault is the network's. Ends with its context."""

    def __init__(self, plan: LoadPlan, faults: Sequence[Fault]) -> None:
        self._plan = plan
        self._faults = [fault for fault in faults if fault.of_network]
        self._processes: list[BaseProcess] = []
        self._pipes: list[Pipe] = []
        self.detours: tuple[Detour, ...] = ()
        """Where the devices connect."""

    def __enter__(self) -> Self:
        if self._faults:
            try:
                self._start(lanes_of(self._faults))
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def begin(self, start_ns: int) -> None:
        """Start the faults' time at a wall-clock time. Raises LostError."""
        try:
            for pipe in self._pipes:
                pipe.send(start_ns)
        except OSError:
            raise LostError(_LOST) from None

    def check(self) -> None:
        """Raise LostError where a proxy is no more: the test says nothing then."""
        if not all(process.is_alive() for process in self._processes):
            raise LostError(_LOST)

    def _start(self, lanes: dict[float, Lane]) -> None:
        context = multiprocessing.get_context("spawn")
        for endpoint in self._plan.endpoints:
            target = endpoint.target()
            mine, theirs = context.Pipe()
            arguments = ((target.host, target.port), list(lanes.values()), theirs)
            process = context.Process(target=main, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(mine)
        ports = [_ports(pipe) for pipe in self._pipes]
        self.detours = tuple(
            Detour(share, tuple(of_broker[place] for of_broker in ports)) for place, share in enumerate(lanes)
        )

    def _end(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.terminate()


def lanes_of(faults: Sequence[Fault]) -> dict[float, Lane]:
    """Return each share and its faults, in order: who is of a small share is of the larger ones too."""
    shares = sorted({fault.share for fault in faults})
    return {share: tuple(fault for fault in faults if fault.share >= share) for share in shares}


def weather_at(lane: Lane, at_s: float) -> tuple[Weather, bool]:
    """Return the network's state at a time of the schedule, and whether it swallows all."""
    now = [fault for fault in lane if fault.at_s <= at_s < fault.at_s + fault.for_s]
    return Weather(sum(fault.latency_s for fault in now)), any(fault.kind == "hole" for fault in now)


def devices_through(plan: LoadPlan, faults: Sequence[Fault]) -> int:
    """Return how many devices of one broker connect through a proxy, at most."""
    share = max((fault.share for fault in faults if fault.of_network), default=0.0)
    return int(plan.devices * share) // len(plan.endpoints) + 1 if share else 0


def main(target: tuple[str, int], lanes: Sequence[Lane], pipe: Pipe) -> None:
    """Run a broker's proxies: their ports go through the pipe, the start comes back, its end is theirs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run in order
    uvloop.run(_serve(target, lanes, pipe))


async def _serve(target: tuple[str, int], lanes: Sequence[Lane], pipe: Pipe) -> None:
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(FaultProxy(target)) for _ in lanes]
        pipe.send([proxy.port for proxy in proxies])
        start_ns = await asyncio.to_thread(_said, pipe)
        if start_ns is None:
            return
        changing = [
            asyncio.create_task(_change(proxy, lane, start_ns))
            for proxy, lane in zip(proxies, lanes, strict=True)
        ]
        await asyncio.to_thread(_said, pipe)
        for change in changing:
            change.cancel()
        # What the devices said last still arrives, or the broker would tell their last wills.
        for proxy in proxies:
            proxy.weather = Weather()
            proxy.black_hole(on=False)
        await asyncio.gather(*(proxy.empty(_FAREWELL_S) for proxy in proxies))


async def _change(proxy: FaultProxy, lane: Lane, start_ns: int) -> None:
    """Let the faults of a lane begin and end."""
    loop = asyncio.get_running_loop()
    start = loop.time() + (start_ns - time.time_ns()) / 1e9
    for at_s in sorted({time_s for fault in lane for time_s in (fault.at_s, fault.at_s + fault.for_s)}):
        await asyncio.sleep(start + at_s - loop.time())
        proxy.weather, swallows = weather_at(lane, at_s)
        proxy.black_hole(on=swallows)


def _said(pipe: Pipe) -> int | None:
    """Wait for the parent's word; None: it has closed the pipe or is no more."""
    try:
        said: int = pipe.recv()
    except (EOFError, OSError):
        return None
    return said


def _ports(pipe: Pipe) -> list[int]:
    try:
        if pipe.poll(_START_S):
            ports: list[int] = pipe.recv()
            return ports
    except (EOFError, OSError):
        pass
    raise LostError("a fault proxy of the load test didn't start")

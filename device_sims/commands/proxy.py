"""`ward-sims proxy`: a bad network between devices and a broker."""

import asyncio
import contextlib
import signal
from typing import Annotated

import typer

from device_sims.fault_proxy import FaultProxy, Weather, address, reachable


def proxy(
    *,
    to: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where connections are passed on to.")],
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where devices connect.")
    ] = "127.0.0.1:1884",
    latency: Annotated[float, typer.Option(min=0, metavar="MS", help="One way.")] = 0.0,
    jitter: Annotated[float, typer.Option(min=0, metavar="MS", help="Up to so much more by chance.")] = 0.0,
    bandwidth: Annotated[
        float | None, typer.Option(min=1, metavar="BYTES/S", help="Of each connection, each way.")
    ] = None,
    slice_bytes: Annotated[
        int | None, typer.Option("--slice", min=1, metavar="BYTES", help="The most that arrives at once.")
    ] = None,
    reset_every: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Cut --reset-share of the connections.")
    ] = None,
    reset_share: Annotated[float, typer.Option(min=0, max=1)] = 0.1,
    hole_every: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Let nothing through for --hole.")
    ] = None,
    hole: Annotated[float, typer.Option(min=0, metavar="SECONDS")] = 5.0,
) -> None:
    """Put a bad network between devices and a broker, until interrupted.

    For example:

        ward-sims proxy --to 127.0.0.1:1883 --latency 80 --jitter 40 --slice 7

        ward-sims proxy --to 127.0.0.1:1883 --reset-every 10 --reset-share 0.2
    """
    target, here = address("--to", to), address("--listen", listen)
    weather = Weather(latency / 1000, jitter / 1000, bandwidth, slice_bytes)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(target, here, weather, reset_every, reset_share, hole_every, hole))


async def _run(
    target: tuple[str, int],
    here: tuple[str, int],
    weather: Weather,
    reset_every: float | None,
    reset_share: float,
    hole_every: float | None,
    hole_s: float,
) -> None:
    await reachable(target)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with FaultProxy(target, here) as running, asyncio.TaskGroup() as group:
        running.weather = weather
        typer.echo(f"listening on {here[0]}:{running.port}", err=True)
        troubles = []
        if reset_every is not None:
            troubles.append(group.create_task(_reset(running, reset_every, reset_share)))
        if hole_every is not None:
            troubles.append(group.create_task(_holes(running, hole_every, hole_s)))
        await stopped.wait()
        for trouble in troubles:
            trouble.cancel()


async def _reset(running: FaultProxy, every_s: float, share: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        running.reset(share)


async def _holes(running: FaultProxy, every_s: float, hole_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        running.black_hole(on=True)
        await asyncio.sleep(hole_s)
        running.black_hole(on=False)

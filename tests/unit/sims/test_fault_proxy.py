import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from device_sims.errors import BrokerError, InputError
from device_sims.fault_proxy import FaultProxy, address, reachable


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[tuple[str, int]]:
    serving: set[asyncio.Task] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield ("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*serving), 10)


async def test_bytes_arrive_whole_and_in_order_however_they_are_sliced() -> None:
    sent = bytes(range(256)) * 400
    async with echo() as target, FaultProxy(target) as proxy:
        proxy.weather.slice_bytes = 777
        proxy.weather.jitter_s = 0.002
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        writer.close()


async def test_the_end_of_one_side_reaches_the_other() -> None:
    async with echo() as target, FaultProxy(target) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"last words")
        writer.write_eof()
        assert await reader.read() == b"last words"
        writer.close()


async def test_latency_delays_every_byte_both_ways() -> None:
    async with echo() as target, FaultProxy(target) as proxy:
        proxy.weather.latency_s = 0.1
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        begun = asyncio.get_running_loop().time()
        writer.write(b"x")
        await reader.readexactly(1)
        assert asyncio.get_running_loop().time() - begun >= 0.19
        writer.close()


async def test_bandwidth_bounds_what_passes() -> None:
    async with echo() as target, FaultProxy(target) as proxy:
        proxy.weather.bandwidth = 20_000
        proxy.weather.slice_bytes = 1000
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        begun = asyncio.get_running_loop().time()
        writer.write(b"x" * 8000)
        await reader.readexactly(8000)
        assert asyncio.get_running_loop().time() - begun >= 0.35
        writer.close()


async def test_a_reset_is_felt_as_one() -> None:
    async with echo() as target, FaultProxy(target) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        await reader.readexactly(1)
        assert proxy.reset() == 2
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()


async def test_a_black_hole_holds_everything_back_and_loses_nothing() -> None:
    async with echo() as target, FaultProxy(target) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.black_hole(on=True)
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(4), 0.2)
        proxy.black_hole(on=False)
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"held"
        writer.close()


async def test_a_target_that_is_away_is_felt_as_a_reset() -> None:
    async with echo() as target:
        gone = target
    async with FaultProxy(gone) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(BrokerError, match="--to"):
            await reachable(gone)


async def test_a_taken_port_and_a_wrong_address_are_told() -> None:
    async with echo() as target:
        with pytest.raises(InputError, match="choose another port"):
            async with FaultProxy(target, target):
                pass
    for text in ("host", "host:", ":1883", "host:70000", "host:x"):
        with pytest.raises(InputError, match="HOST:PORT"):
            address("--to", text)

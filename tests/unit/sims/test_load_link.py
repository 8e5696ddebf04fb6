"""A connection's end over a pair of sockets, plain and under TLS."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_sims.load.connection import Connection, Ledger
from device_sims.load.link import Link, Switchboard, dial
from device_sims.load.plan import Endpoint, LoadPlan
from tests.certificates import Authority


class Heard(Link):
    """Keeps what its connection tells."""

    def __init__(self, board: Switchboard) -> None:
        super().__init__(board)
        self.looks = 0
        self.data = b""
        self.told: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def look(self) -> None:
        self.looks += 1
        super().look()

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append("lost" if error is None else type(error).__name__)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server called localhost, and of who trusts it."""
    authority = Authority(Path(tmp_path_factory.mktemp("authority")))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.sign("localhost"))
    return server, ssl.create_default_context(cafile=str(authority.file))


@pytest.fixture(params=["plain", "tls"])
def ends(request: pytest.FixtureRequest, contexts) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket as `dial` returns it, and the broker's end of it, which blocks for 5 s at most."""
    mine, theirs = socket.socketpair()
    theirs.settimeout(5)
    if request.param == "tls":
        server, client = contexts
        wrapped: list[ssl.SSLSocket] = []
        answer = threading.Thread(
            target=lambda: wrapped.append(server.wrap_socket(theirs, server_side=True))  # shakes hands
        )
        answer.start()
        mine = client.wrap_socket(mine, server_hostname="localhost")
        answer.join()
        theirs = wrapped[0]
    mine.setblocking(False)
    yield mine, theirs
    mine.close()
    theirs.close()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_the_socket_does_not_take_follows_in_order_before_the_end(ends) -> None:
    mine, theirs = ends
    link = Heard(Switchboard())
    link.attach(mine)
    packets = [b"%07d" % n * 50 for n in range(5000)]
    for packet in packets:
        link.transmit(packet)
    assert link.told == ["pause"]
    link.finish()
    assert link.linked
    received = await asyncio.to_thread(read_all, theirs)
    assert received == b"".join(packets)
    await until(lambda: not link.linked)
    assert link.told == ["pause", "lost"]


def read_all(sock: socket.socket) -> bytes:
    """Read to the end; that TLS isn't ended by itself is how devices go."""
    received = bytearray()
    with contextlib.suppress(ssl.SSLEOFError):
        while data := sock.recv(65_536):
            received += data
    return bytes(received)


async def test_writing_goes_on_when_all_has_gone(ends) -> None:
    mine, theirs = ends
    link = Heard(Switchboard())
    link.attach(mine)
    sent = 0
    while link.told != ["pause"]:
        link.transmit(b"x" * 1000)
        sent += 1000
    await asyncio.to_thread(read_exactly, theirs, sent)
    await until(lambda: link.told == ["pause", "resume"])
    link.transmit(b"more")
    assert await asyncio.to_thread(read_exactly, theirs, 4) == b"more"


def read_exactly(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        received += sock.recv(size - len(received))
    return bytes(received)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 20_000])
async def test_what_comes_is_read_whole_then_the_end_is_told(ends, size: int) -> None:
    mine, theirs = ends
    link = Heard(Switchboard())
    link.attach(mine)
    theirs.sendall(b"a" * size)
    await until(lambda: len(link.data) == size)
    assert link.told == []
    theirs.close()
    await until(lambda: not link.linked)
    assert link.told == ["lost"]


async def test_all_that_waits_is_read_in_one_look_each_packet_a_record_of_its_own(ends) -> None:
    mine, theirs = ends
    for n in range(20):
        theirs.sendall(b"%04d" % n)
    link = Heard(Switchboard())
    link.attach(mine)
    await until(lambda: link.data)
    assert link.data == b"".join(b"%04d" % n for n in range(20))
    assert link.looks == 1


async def test_who_is_cut_by_another_in_the_same_look_is_not_looked_at(ends) -> None:
    mine, theirs = ends
    first, second = socket.socketpair()
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    board = Switchboard()
    links = [Heard(board), Heard(board)]
    for link, sock in zip(links, (mine, first), strict=True):
        sock.setblocking(False)
        link.attach(sock)
        link.data_received = lambda _, me=link: [other.cut() for other in links if other is not me]
    theirs.sendall(b"x")
    second.sendall(b"x")
    await until(lambda: [link.told for link in links].count(["lost"]) == 1)
    await asyncio.sleep(0.02)
    assert sorted(link.told for link in links) == [[], ["lost"]]
    assert failed == []
    second.close()


def _device(board: Switchboard, down: list[Connection]) -> Connection:
    plan = LoadPlan((Endpoint("mqtt://127.0.0.1:1"),), 1, 1.0, 10.0)
    return Connection(plan, 0, b"hello", b"", plan.tails(), Ledger(), board, down.append)


async def test_a_device_that_gets_no_answer_has_not_been_up_and_so_not_gone_down(ends) -> None:
    mine, theirs = ends
    down: list[Connection] = []
    device = _device(Switchboard(), down)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await device.open(mine)
    assert not device.linked
    assert down == []
    assert await asyncio.to_thread(read_exactly, theirs, 5) == b"hello"


async def test_a_device_is_acknowledged_only_what_it_sent(ends) -> None:
    mine, theirs = ends
    device = _device(Switchboard(), [])
    opening = asyncio.create_task(device.open(mine))
    theirs.sendall(b"\x20\x02\x00\x00\x40\x02\x00\x01\x40\x02\x00\x02")
    await opening
    theirs.sendall(b"\x40\x02\x00\x01")
    await asyncio.sleep(0.02)
    assert device.acknowledged == 0
    device.fire(device._plan.middle(0, 1))
    theirs.sendall(b"\x40\x02\x00\x03\x40\x02")
    theirs.sendall(b"\x00\x01\x40\x02\x00\x01")
    await until(lambda: device.acknowledged == 1)
    device.fire(device._plan.middle(1, 2))
    device.fire(device._plan.middle(2, 3))
    theirs.sendall(b"\x40\x02\x00\x01\x40\x02\x00\x02")
    await until(lambda: device.acknowledged > 1)
    await asyncio.sleep(0.02)
    assert (device.acknowledged, device.unacknowledged) == (2, 1)
    device.cut()


@pytest.mark.parametrize("ending", ["closes", "waits", "talks"])
async def test_a_handshake_that_comes_to_nothing_is_an_error_and_leaves_no_socket(
    contexts, ending: str
) -> None:
    over = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if ending == "talks":
            writer.write(b"I speak something else.\r\n" * 10)
        await reader.read(-1 if ending == "waits" else 1)
        writer.close()
        over.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    told = TimeoutError if ending == "waits" else (ssl.SSLError, ConnectionResetError)
    with pytest.raises(told):
        async with asyncio.timeout(0.3 if ending == "waits" else 5):
            await dial("127.0.0.1", port, contexts[1], "localhost")
    async with asyncio.timeout(5):
        await over.wait()  # who waited saw the end: this side has closed its socket
    server.close()
    await server.wait_closed()


async def test_an_address_of_a_kind_that_the_machine_has_not_leaves_the_next(monkeypatch) -> None:
    served = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = served.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()

    async def addresses(*_: object, **__: object) -> list[tuple]:
        return [
            (200, socket.SOCK_STREAM, 0, "", ("::1", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", addresses)
    async with served:
        sock = await dial("localhost", port, None, "localhost")
    assert sock.getpeername() == ("127.0.0.1", port)
    sock.close()


async def test_a_refused_connection_and_one_from_elsewhere() -> None:
    came: list[str] = []
    server = await asyncio.start_server(
        lambda _, writer: (came.append(writer.get_extra_info("peername")[0]), writer.close()), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    sock = await dial("127.0.0.1", port, None, "localhost", "127.0.0.9")
    await until(lambda: came == ["127.0.0.9"])
    sock.close()
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await dial("127.0.0.1", port, None, "localhost")

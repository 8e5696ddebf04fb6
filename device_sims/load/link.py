"""The sockets of one worker, plain and under TLS: written straight, read together.

A transport of asyncio's costs more than the message itself does, under TLS more still. Here a message is one
`send` of its socket and a PUBACK one `recv`; OpenSSL works on the socket itself.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable

REST_S = 0.003
"""How long what comes may gather before it is looked at; latencies hold it."""
_AT_ONCE = 4096
"""Sockets in one look."""
_READ = 256
"""Bytes: many PUBACKs, and so few that Python's own allocator has them at hand."""
_FLUSH = 16 << 10
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Switchboard:
    """Looks which sockets of a worker something came on, rests, looks again.

    A turn of the loop for each PUBACK would cost more than reading it; who rests shares a turn among many.
    """

    def __init__(self) -> None:
        """Begin, in a running loop and for as long as it runs."""
        self._epoll = select.epoll()
        # By file descriptor: a list is smaller than a dict, and what is small stays in the processor's cache.
        self._links: list[Link | None] = []
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._look)

    def add(self, fd: int, link: "Link") -> None:
        """Look at a socket from now on."""
        missing = fd + 1 - len(self._links)
        self._links += [None] * missing
        self._links[fd] = link
        self._epoll.register(fd, select.EPOLLIN)

    def await_room(self, fd: int, *, wanted: bool) -> None:
        """Look also whether a socket takes bytes again, or no longer."""
        self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Look no more at a socket that is about to be closed."""
        self._links[fd] = None
        self._epoll.unregister(fd)

    def _look(self) -> None:
        events = self._epoll.poll(0, _AT_ONCE)
        try:
            links = self._links
            for fd, _ in events:
                link = links[fd]
                if link is not None:  # else closed by what came before it in this look
                    link.look()
        finally:
            self._loop.call_later(REST_S if len(events) < _AT_ONCE else 0, self._look)


class Link(asyncio.Protocol):
    """One end of a connection: transport and protocol in one, for whoever fills in the protocol's methods.

    What waits to be sent is bounded by the subclass, which writes nothing of its own accord between
    `pause_writing` and `resume_writing`.
    """

    __slots__ = ("_board", "_ending", "_fd", "_records", "_recv", "_send", "_sock", "_unsent")

    _send: Callable[[bytes | bytearray], int]
    _recv: Callable[[int], bytes]

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._sock: socket.socket | None = None
        self._fd = -1
        self._unsent: bytearray | None = None
        self._ending = False
        self._records = False
        """Whether one read brings one record of TLS, however many wait."""

    @property
    def linked(self) -> bool:
        """Whether there is a connection."""
        return self._sock is not None

    def attach(self, sock: socket.socket) -> None:
        """Begin with a connected socket that doesn't block; for TLS, one whose handshake is done."""
        self._sock = sock
        self._fd = sock.fileno()
        # All that differs under TLS: what SSLSocket puts around OpenSSL's two calls costs a twentieth of a
        # message, and nothing public (which is what the type checker knows) leads past it.
        tls = isinstance(sock, ssl.SSLSocket)
        inner = sock._sslobj if tls else None  # type: ignore[attr-defined]  # noqa: SLF001
        if inner is None:
            self._send, self._recv = sock.send, sock.recv
        else:
            self._send, self._recv = inner.write, inner.read
        self._unsent = None
        self._ending = False
        self._records = tls
        self._board.add(self._fd, self)

    def transmit(self, packet: bytes) -> None:
        """Send; what the socket doesn't take follows as soon as it does."""
        if self._unsent is None:
            send = self._send
            try:
                sent = send(packet)
            except _NOT_NOW:
                sent = 0
            except OSError:
                return  # the next look meets the error too, and tells
            if sent == len(packet):
                return
            self._unsent = bytearray(packet[sent:])
            self._board.await_room(self._fd, wanted=True)
            self.pause_writing()
        else:
            self._unsent += packet

    def finish(self) -> None:
        """End the connection when all is sent."""
        if self._unsent is None:
            self.cut()
        else:
            self._ending = True

    def cut(self, error: Exception | None = None) -> None:
        """End the connection now, if there is one."""
        if self._sock is not None:
            self._board.remove(self._fd)
            self._sock.close()
            self._sock = None
            self.connection_lost(error)

    def look(self) -> None:
        """Send what waits and read what came."""
        if self._unsent is not None:
            self._flush()
        while self._sock is not None:
            receive = self._recv
            try:
                data = receive(_READ)
            except _NOT_NOW:
                return
            except ssl.SSLEOFError:  # TCP's end without TLS's
                data = b""
            except OSError as error:
                self.cut(error)
                return
            if not data:
                self.cut()
                return
            self.data_received(data)
            if len(data) < _READ and not (self._records and self.expects()):
                return

    def expects(self) -> bool:
        """Tell whether more may wait to be read; who can't know says yes: all is read then."""
        return True

    def _flush(self) -> None:
        unsent = self._unsent
        while unsent:
            try:
                # Offered again, TLS wants no less than before, beginning with the same bytes.
                sent = self._send(unsent[:_FLUSH])
            except _NOT_NOW:
                return
            except OSError as error:
                self.cut(error)
                return
            del unsent[:sent]
        self._unsent = None
        self._board.await_room(self._fd, wanted=False)
        if self._ending:
            self.cut()
        else:
            self.resume_writing()


async def dial(
    host: str, port: int, tls: ssl.SSLContext | None, name: str, source: str | None = None
) -> socket.socket:
    """Connect, and shake hands where there is `tls`, with a broker whose certificate is for `name`.

    `source`: the address to connect from. Raises OSError (of TLS, ssl.SSLError) as the last of the host's
    addresses had it.
    """
    loop = asyncio.get_running_loop()
    failed: OSError = ConnectionError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # an address of a kind that this machine doesn't have
            failed = error
            continue
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source is not None:
                sock.bind((source, 0))
            await loop.sock_connect(sock, address)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
                await _shake_hands(sock)
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await _event(sock.fileno(), loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _event(sock.fileno(), loop.add_writer, loop.remove_writer)
        else:
            return


async def _event(fd: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    come = asyncio.Event()
    add(fd, come.set)
    try:
        await come.wait()
    finally:
        remove(fd)

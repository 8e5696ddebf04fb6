"""One process of the load test: its share of the devices on one uvloop, told what to do through a pipe."""

import asyncio
import gc
import logging
import random
import resource
import signal
import ssl
import time
from array import array
from multiprocessing.connection import Connection as Pipe
from time import perf_counter
from typing import Any

import uvloop

from device_sims.client import connect_packet
from device_sims.devices.device import Publication
from device_sims.load.connection import Connection, Ledger
from device_sims.load.link import Switchboard, dial
from device_sims.load.plan import BIRTH_ID, TICK_MS, TICK_S, LoadPlan
from device_sims.target import Target
from hub.mqtt.packets import publish

log = logging.getLogger(__name__)

_AT_ONCE = 2000
"""Messages sent before what has come is looked at again."""
_PENDING = 200
"""Connections in the making at one time."""
_ANSWER_S = 20.0
_ANNOUNCED_BEFORE_S = 0.2
"""Before the schedule begins."""
_LONGEST_PAUSE_S = 20.0

_MALFORMED = (
    b"",
    b"\x00\xff\xfe",
    b'{"time":',
    b"[" * 500,
    b'{"seq":1,"values":{"heart_rate":"fast"}}',
    b'{"seq":2,"values":{"heart_rate":1e999}}',
    b'{"seq":3,"time":"yesterday","values":{"heart_rate":70}}',
    b'{"seq":4,"values":{"no_such_thing":1}}',
)
"""What a fault sends. A hub may store some of it flagged: the numbers are below those of the schedule."""


class Worker:
    """The devices of one process."""

    def __init__(self, plan: LoadPlan, number: int) -> None:
        self._plan = plan
        self._targets = [endpoint.target() for endpoint in plan.endpoints]
        self.ledger = Ledger()
        self._board = Switchboard()
        tails = plan.tails()
        self.connections = [self._connection(j, tails) for j in plan.devices_of(number)]
        self._pending = asyncio.Semaphore(_PENDING)
        self._retries: set[asyncio.Task[None]] = set()
        self._announcing: asyncio.Task[None] | None = None
        self._away = False
        self._ended = False
        """Whether every message of the schedule has had its time."""
        self._start = 0.0
        self._start_ms = 0
        self._round = 0
        self._place = 0
        self._behind_s = 0.0
        self._cpu = 0.0
        self._sent_in_time = 0
        self._lasted_s = 0.0
        self._silent: set[int] = set()

    @property
    def sending(self) -> bool:
        """Whether the schedule runs."""
        return self._start > 0 and not self._ended

    async def connect_all(self) -> None:
        """Connect every device, `ramp_per_s` a second; those that fail try again with back-off."""
        share = self._plan.ramp_per_s / self._plan.workers
        begun = perf_counter()
        for count, connection in enumerate(self.connections):
            ahead = begun + count / share - perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            self._keep_up(connection, 0.0)

    def begin(self, start_ns: int) -> None:
        """Start the schedule at a wall-clock time shared by all workers."""
        self._start = perf_counter() + (start_ns - time.time_ns()) / 1e9
        self._start_ms = start_ns // 1_000_000
        for connection in self.connections:
            connection.begin(self._start, self._start_ms)
        self._announcing = asyncio.get_running_loop().create_task(self._announce())
        gc.collect()
        gc.freeze()  # the connections stay: no collection may stall the schedule by looking at them
        self._cpu = time.process_time()
        asyncio.get_running_loop().call_later(max(self._start - perf_counter(), 0), self._tick)

    async def _announce(self) -> None:
        """Let the devices say that they are there, evenly until shortly before the schedule begins.

        Not when they connect: a hub must think a device silent that was there and sends nothing.
        """
        begun, last = perf_counter(), self._start - _ANNOUNCED_BEFORE_S
        each = max(last - begun, 0.0) / max(len(self.connections), 1)
        for count, connection in enumerate(self.connections):
            ahead = begun + count * each - perf_counter()
            if ahead > TICK_S:
                await asyncio.sleep(ahead)
            connection.announce()

    def snapshot(self) -> dict[str, Any]:
        """Return what happened, and the latencies since the last snapshot."""
        ledger = self.ledger
        sent = sum(c.next_round for c in self.connections)
        latency = ledger.latency.sparse()
        ledger.latency.clear()
        return {
            "connected": ledger.connected,
            "sent": sent,
            "acknowledged": sum(c.acknowledged for c in self.connections),
            "lost_links": ledger.lost_links,
            "held": ledger.held,
            "strange": ledger.strange,
            "refused": dict(ledger.refused),
            "sent_in_time": self._sent_in_time if self._ended else sent,
            "lasted_s": self._lasted_s,
            "elapsed_s": max(perf_counter() - self._start, 0.0) if self._start else 0.0,
            "behind_s": self._behind_s,
            "cpu_s": time.process_time() - self._cpu,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "waiting": sum(c.unacknowledged + c.held for c in self.connections) if self._ended else None,
            "latency": latency,
        }

    def account(self) -> tuple[bytes, bytes]:
        """Return, for each device in order, how many messages were acknowledged and how many sent."""
        acknowledged = array("I", (c.acknowledged for c in self.connections))
        return acknowledged.tobytes(), array("I", (c.next_round for c in self.connections)).tobytes()

    async def close_all(self) -> None:
        """End every connection in order."""
        self._away = True
        for task in list(self._retries):
            task.cancel()
        for count, connection in enumerate(self.connections):
            connection.close()
            if count % 500 == 499:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    def drop(self, share: float, away_s: float) -> None:
        """Cut the connections of a random share of the devices; they are back after `away_s` and a jitter."""
        for connection in self._chosen(share):
            if connection.up:
                connection.meant = True
                connection.cut()
                self._keep_up(connection, away_s)

    def silence(self, share: float, silent: bool) -> None:
        """Let a share of the devices hold back what they measure, or all send what they held."""
        self._silent = {connection.j for connection in self._chosen(share)} if silent else set()
        for connection in self.connections:
            if connection.j not in self._silent:
                connection.release()

    def repeat(self, share: float) -> None:
        """Let a random share of the devices send their last three messages again, the oldest last."""
        for connection in self._chosen(share):
            for back in range(3):
                connection.send_again(back)

    def malform(self, share: float) -> None:
        """Let a random share of the devices send something that is no observation (QoS 0)."""
        for count, connection in enumerate(self._chosen(share)):
            payload = _MALFORMED[count % len(_MALFORMED)]
            connection.write(publish(self._topic_of(connection.j, "observations"), payload))

    def _chosen(self, share: float) -> list[Connection]:
        return [c for c in self.connections if random.random() < share]  # noqa: S311  chance, not a secret

    def _topic_of(self, j: int, channel: str) -> str:
        return f"wards/v1/{self._plan.site}/{self._plan.area}/{self._plan.device_name(j)}/{channel}"

    def _connection(self, j: int, tails: list[bytes]) -> Connection:
        plan = self._plan
        topic = self._topic_of(j, "status")
        will = Publication(topic, b'{"state":"offline"}', 1, retain=True) if plan.births else None
        hello = connect_packet(self._target_of(j), f"sim-{plan.device_name(j)}", will, plan.keepalive_s)
        said = f'{{"state":"online","interval":{round(1 / plan.rate_hz, 6)}}}'.encode()
        birth = publish(topic, said, qos=1, packet_id=BIRTH_ID, retain=True) if plan.births else b""
        return Connection(plan, j, hello, birth, tails, self.ledger, self._board, self._went_down)

    def _target_of(self, j: int) -> Target:
        return self._targets[self._plan.endpoint_of(j)]

    def _went_down(self, connection: Connection) -> None:
        if not connection.meant and not self._away:
            self._keep_up(connection, 0.0)

    def _keep_up(self, connection: Connection, pause_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(connection, pause_s))
        self._retries.add(task)
        task.add_done_callback(self._retries.discard)

    async def _connect(self, connection: Connection, pause_s: float) -> None:
        """Connect one device, again and again until it is connected."""
        failures = 0
        if pause_s:
            await asyncio.sleep(pause_s * random.uniform(1.0, 1.2))  # noqa: S311  jitter
        while not connection.up and not self._away:
            reason = await self._try(connection)
            if reason is None:
                return
            self.ledger.refused[reason] = self.ledger.refused.get(reason, 0) + 1
            failures += 1
            longest = min(0.5 * 2**failures, _LONGEST_PAUSE_S)
            await asyncio.sleep(random.uniform(0.2, 1.0) * longest)  # noqa: S311  jitter

    async def _try(self, connection: Connection) -> str | None:
        """Try one connect; return why it failed, None where it didn't."""
        target = self._target_of(connection.j)
        sources = self._plan.sources
        # Sources begin at 127.0.0.2 so that the other programs of this machine keep 127.0.0.1 to themselves.
        source = f"127.0.0.{2 + connection.j % sources}" if sources > 1 else None
        detour = self._plan.detour_of(connection.j)
        host, port = (target.host, target.port) if detour is None else ("127.0.0.1", detour)
        async with self._pending:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    # A certificate is still the broker's own, whatever stands before it.
                    sock = await dial(host, port, target.tls, target.host, source)
                    await connection.open(sock)
            except TimeoutError:
                return "no answer in time"
            except PermissionError as error:
                return error.strerror or str(error)
            except ssl.SSLError as error:
                return f"TLS: {error.reason}"
            except OSError as error:
                return error.strerror or str(error) or type(error).__name__
        return None

    def _tick(self) -> None:
        """Send what is due by now. A late tick sends late, with the times of the schedule."""
        plan, connections, silent = self._plan, self.connections, self._silent
        now = perf_counter()
        ticks = int((now - self._start) / TICK_S)
        n, place, rounds = self._round, self._place, plan.rounds
        budget = _AT_ONCE
        last, middle = -1, b""
        per_tick = plan.ticks_per_message
        devices = plan.devices
        count = len(connections)
        while n < rounds and budget:
            connection = connections[place]
            tick = int((n * devices + connection.j) * per_tick) + 1
            if tick > ticks:
                break
            if tick != last or not place:  # a new moment, or a new round at the same
                last, middle = tick, plan.middle(n, self._start_ms + tick * TICK_MS)
            if silent and connection.j in silent:
                connection.hold()
            else:
                connection.fire(middle)
            budget -= 1
            place += 1
            if place == count:
                n, place = n + 1, 0
        self._round, self._place = n, place
        if last >= 0:
            self._behind_s = max(self._behind_s, now - self._start - (last + 1) * TICK_S)
        loop = asyncio.get_running_loop()
        if n >= rounds:
            self._ended = True
            self._sent_in_time = sum(c.next_round for c in self.connections)
            self._lasted_s = perf_counter() - self._start
        elif not budget:
            loop.call_soon(self._tick)
        else:
            loop.call_later(max(self._start + (ticks + 1) * TICK_S - perf_counter(), 0), self._tick)


def main(plan: LoadPlan, number: int, pipe: Pipe) -> None:
    """Run a worker process: orders come through the pipe, a snapshot goes back every second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run in order
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(_serve(plan, number, pipe))


async def _serve(plan: LoadPlan, number: int, pipe: Pipe) -> None:
    worker = Worker(plan, number)
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(maxsize=100)
    loop.add_reader(pipe.fileno(), lambda: orders.put_nowait(pipe.recv()))
    connecting: asyncio.Task[None] | None = None
    while True:
        try:
            # Before and after the schedule somebody waits for every change; during it a second is enough.
            async with asyncio.timeout(1.0 if worker.sending else 0.2):
                order, argument = await orders.get()
        except TimeoutError:
            pipe.send(("snapshot", worker.snapshot()))
            continue
        if order == "connect":
            connecting = loop.create_task(worker.connect_all())
        elif order == "begin":
            worker.begin(argument)
        elif order == "drop":
            worker.drop(*argument)
        elif order == "silence":
            worker.silence(*argument)
        elif order == "repeat":
            worker.repeat(*argument)
        elif order == "malform":
            worker.malform(*argument)
        elif order == "stop":
            pipe.send(("snapshot", worker.snapshot()))
            pipe.send(("account", worker.account()))
            if connecting is not None:
                connecting.cancel()
            await worker.close_all()
            return

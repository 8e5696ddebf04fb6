"""Tries a broker out, for `hub doctor`: what it does with the session of a hub that is away or slow."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable

import aiomqtt

from hub.finding import Finding
from hub.model import Message
from hub.mqtt.address import BrokerAddress, BrokerRefused, BrokerUnreachable
from hub.mqtt.session import Delivery, Session

_QUIET_S = 3.0
"""When nothing has come for so long, nothing more will."""
_TWO_BATCHES = 2000
"""The line journals 1,000 messages at once at most: one such batch fills while the other is written."""
_WINDOW = 200
"""Messages of the probe that wait for their PUBACK."""
_ROUND_TRIPS = 50
_SLOW_MS = 250.0
"""What the alarm path may take altogether."""


async def probe_broker(
    broker: BrokerAddress,
    *,
    messages: int = 5000,
    before_connect: Callable[[], Awaitable[None]] | None = None,
) -> list[Finding]:
    """Try a broker out with `messages` messages of its own, and clean up after. Takes 5 to 20 s.

    `before_connect` is what the hub's session gets too (see `Session`): for the embedded broker, its
    `release_unacknowledged`. It reads and publishes `wardhub/probe/{random}` alone, under client ids of its
    own. A broker that can't be had is a finding, not an exception.
    """
    probe = _Probe(broker, messages, before_connect)
    began = time.perf_counter()
    try:
        await probe.session.connect_once()
    except (BrokerUnreachable, BrokerRefused) as error:
        return [
            Finding(
                "broker: connect",
                "error",
                str(error),
                "No device of this broker is heard.",
                "Change what the text names.",
            )
        ]
    connect_ms = (time.perf_counter() - began) * 1000
    findings = [
        Finding("broker: connect", "ok", f"{broker} took us in {connect_ms:.0f} ms", "Devices can be heard.")
    ]
    try:
        findings += await probe.run()
    except (aiomqtt.MqttError, TimeoutError, OSError) as error:
        findings.append(
            Finding(
                "broker: publish",
                "error",
                f"{broker} broke the probe off: {error}",
                "It isn't known what this broker keeps.",
                "Let the hub's user publish and read wardhub/probe/#, and see the broker's log.",
            )
        )
    finally:
        await probe.clean_up()
    return findings


class _Probe:
    """One probe: a persistent session that comes and goes, and a publisher beside it."""

    def __init__(
        self,
        broker: BrokerAddress,
        messages: int,
        before_connect: Callable[[], Awaitable[None]] | None,
    ) -> None:
        name = secrets.token_hex(6)
        self._broker = broker
        self._messages = messages
        self._before_connect = before_connect
        self._topic = f"wardhub/probe/{name}"
        self._client_id = f"wardhub-probe-{name}"
        self._lost_told = False
        self._deliver: Callable[[Delivery], None] = lambda _: None
        self.session = self._new_session()

    def _new_session(self, *, clean: bool = False) -> Session:
        return Session(
            self._broker,
            client_id=self._client_id,
            filters=[self._topic],
            deliver=self._take,
            clean_session=clean,
            session_expected=not clean,
            before_connect=self._before_connect,
            on_state=self._note_state,
        )

    def _take(self, delivery: Delivery) -> None:
        self._deliver(delivery)

    def _note_state(self, state: str, _text: str) -> None:
        self._lost_told = self._lost_told or state == "session-lost"

    async def run(self) -> list[Finding]:
        refused = await self._publish(range(self._messages))
        in_flight, held = await self._collect(acknowledge=False)
        again_s = await self._time_redelivery() if held else None
        _, found = await self._collect(acknowledge=True)
        return [
            self._session_finding(),
            self._queue_finding(len(held | found), refused),
            self._in_flight_finding(in_flight),
            self._redelivery_finding(again_s),
            await self._latency_finding(),
        ]

    def _publisher(self) -> aiomqtt.Client:
        password = self._broker.password_bytes()
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.user,
            password=password.decode() if password is not None else None,
            identifier=f"{self._client_id}-out",
            tls_context=self._broker.ssl_context(),
            max_inflight_messages=_WINDOW,
        )
        client.pending_calls_threshold = _WINDOW
        return client

    async def _publish(self, numbers: range) -> int:
        """Publish numbers; return how many the broker didn't acknowledge."""
        missing = 0
        async with self._publisher() as client:
            for start in range(numbers.start, numbers.stop, _WINDOW):
                part = range(start, min(start + _WINDOW, numbers.stop))
                sent = [client.publish(self._topic, str(number), qos=1) for number in part]
                results = await asyncio.gather(*sent, return_exceptions=True)
                missing += sum(isinstance(result, BaseException) for result in results)
        return missing

    async def _collect(self, *, acknowledge: bool) -> tuple[int, set[bytes]]:
        """Connect, take what comes until nothing more does; return how many, and the distinct ones."""
        count, found, arrived = 0, set[bytes](), asyncio.Event()

        def take(delivery: Delivery) -> None:
            nonlocal count
            count += len(delivery.messages)
            found.update(message.payload for message in delivery.messages)
            arrived.set()
            if acknowledge:
                delivery.acknowledge()

        self._deliver = take
        async with _Running(self._new_session()) as session:
            await session.wait_connected(10)
            with contextlib.suppress(TimeoutError):
                while not (acknowledge and len(found) >= self._messages):
                    arrived.clear()
                    await asyncio.wait_for(arrived.wait(), _QUIET_S)
        return count, found

    async def _time_redelivery(self) -> float | None:
        """Return how many seconds after a reconnect what wasn't acknowledged comes; None: not at once."""
        again: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def take(delivery: Delivery) -> None:
            duplicates = [message for message in delivery.messages if message.duplicate]
            if duplicates and not again.done():
                again.set_result(duplicates[0])

        self._deliver = take
        began = time.monotonic()
        async with _Running(self._new_session()):
            try:
                await asyncio.wait_for(again, _QUIET_S)
            except TimeoutError:
                return None
        return time.monotonic() - began

    async def _latency_finding(self) -> Finding:
        arrived = asyncio.Event()

        def take(delivery: Delivery) -> None:
            delivery.acknowledge()
            arrived.set()

        self._deliver = take
        times: list[float] = []
        async with _Running(self._new_session()) as session:
            await session.wait_connected(10)
            async with self._publisher() as client:
                for number in range(_ROUND_TRIPS):
                    arrived.clear()
                    began = time.perf_counter()
                    await client.publish(self._topic, str(number), qos=1)
                    await asyncio.wait_for(arrived.wait(), 10)
                    times.append((time.perf_counter() - began) * 1000)
        times.sort()
        median, slowest = times[len(times) // 2], times[-1]
        slow = median > _SLOW_MS
        return Finding(
            "broker: latency",
            "warning" if slow else "ok",
            f"published to received: median {median:.1f} ms, slowest of {len(times)} {slowest:.1f} ms",
            "Alarms are later by that much.",
            "Put the broker nearer to the hub, or on a quicker disk." if slow else "",
        )

    async def clean_up(self) -> None:
        """Remove the session at the broker: a clean one in its place ends it."""
        self._deliver = lambda _: None
        try:
            await self._new_session(clean=True).connect_once()
        except (BrokerUnreachable, BrokerRefused):
            return

    def _session_finding(self) -> Finding:
        if self._lost_told:
            return Finding(
                "broker: session",
                "error",
                "a persistent session was gone when we came back",
                "What is published while the hub restarts is lost.",
                "Allow persistent sessions of MQTT 3.1.1 (clean session off), and keep them for days.",
            )
        return Finding(
            "broker: session",
            "ok",
            "a persistent session was kept",
            "A restart of the hub loses nothing. Whether a restart of the broker does isn't tried.",
        )

    def _queue_finding(self, delivered: int, refused: int) -> Finding:
        lost = self._messages - refused - delivered
        what = f"{delivered} of {self._messages} published while the subscriber was away were delivered"
        if lost > 0:
            return Finding(
                "broker: queue",
                "error",
                f"{what}; {lost} were acknowledged to the publisher and dropped",
                "Readings that a device was told are safe are lost while the hub is away or slow.",
                "Lift the broker's queue limit (Mosquitto: max_queued_messages 0 and max_queued_bytes 0).",
            )
        if refused:
            return Finding(
                "broker: queue",
                "warning",
                f"{what}; {refused} were not acknowledged to the publisher",
                "Devices have to keep and repeat readings while the hub is away.",
                "Give the broker more room for the queue of a session.",
            )
        return Finding("broker: queue", "ok", what, "The backlog of an absent hub is kept.")

    def _in_flight_finding(self, in_flight: int) -> Finding:
        what = f"{in_flight} messages came before the first was acknowledged"
        if in_flight >= min(_TWO_BATCHES, self._messages):
            return Finding("broker: in flight", "ok", what, "The hub can acknowledge in batches.")
        return Finding(
            "broker: in flight",
            "warning",
            what,
            f"At most {in_flight} messages are under way to the hub: its batches are smaller, it is slower.",
            f"Allow {_TWO_BATCHES} (Mosquitto: max_inflight_messages 0; nats-server: mqtt.max_ack_pending).",
        )

    def _redelivery_finding(self, again_s: float | None) -> Finding:
        if again_s is None:
            return Finding(
                "broker: redelivery",
                "warning",
                f"what wasn't acknowledged didn't come within {_QUIET_S:g} s of a reconnect",
                "After a crash of the hub the last readings are stored late, and out of order.",
                "Shorten the broker's redelivery time (nats-server: mqtt.ack_wait), but not below 30 s.",
            )
        return Finding(
            "broker: redelivery",
            "ok",
            f"what wasn't acknowledged came again {again_s * 1000:.0f} ms after a reconnect",
            "A crash of the hub loses nothing.",
        )


class _Running:
    """Runs a session within `async with`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Session:
        self._task = asyncio.create_task(self._session.run())
        return self._session

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

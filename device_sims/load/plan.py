"""What a load test sends: who, when, and exactly which bytes.

Everything about message `n` of device `j` follows from the plan: its time, its number, its values. That is
how a reconnect can send it again and how the reckoning knows what the hub must have stored.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from device_sims.errors import InputError
from device_sims.target import Target, parse_target
from hub.mqtt.packets import publish

TICK_MS = 10
"""The schedule's grain. A message's time is the end of the tick it is due in."""
TICK_S = TICK_MS / 1000
FIRST_SEQ = 1_000_000
"""Of the schedule; the rubbish that a fault sends has numbers below."""
LAST_ROUND = 8_999_999
"""Numbers keep seven digits, so that a message is patched in place."""
PACKET_IDS = 60_000
BIRTH_ID = 65_535
ID_BYTES = [(n + 1).to_bytes(2, "big") for n in range(PACKET_IDS)]
"""The packet id of round n at n % PACKET_IDS."""
PUBACKS = [b"\x40\x02" + packet_id for packet_id in ID_BYTES]
"""Its acknowledgement."""

WRONG_MS = 90_000

_GOLDEN = 0.6180339887498949
_VARIANTS = 16
_ALARM_RATE = 180
_PARAMETERS: tuple[tuple[str, float, float], ...] = (
    # Name, first value, step: inside the default limits, the same number of digits in every variant.
    ("heart_rate", 100, 1),
    ("spo2", 95, 0.25),
    ("respiratory_rate", 12, 0.5),
    ("temperature", 36.0, 0.05),
    ("nibp_systolic", 110, 1),
    ("nibp_diastolic", 60, 1),
    ("nibp_mean", 71, 1),
    ("pulse_rate", 100, 1),
    ("etco2", 30, 0.5),
    ("cvp", 2.0, 0.25),
    ("fio2", 30, 1),
    ("o2_flow", 2.0, 0.25),
    ("arterial_systolic", 110, 1),
    ("arterial_diastolic", 60, 1),
    ("arterial_mean", 71, 1),
    ("minute_volume", 5.0, 0.25),
)
MAX_VALUES = len(_PARAMETERS)


@dataclass(frozen=True)
class Endpoint:
    """One broker, as a worker process can be told of it."""

    url: str
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def target(self) -> Target:
        """Read it. Raises InputError where the address or a file can't be used."""
        files = (self.password_file, self.ca_file, self.cert_file, self.key_file)
        return parse_target(self.url, self.username, *(Path(file) if file else None for file in files))


@dataclass(frozen=True)
class Detour:
    """A proxy before each broker, for devices with a bad network."""

    share: float
    """Of the devices, 0 to 1, those of detours with a smaller share among them."""
    ports: tuple[int, ...]
    """On 127.0.0.1, one for each endpoint."""


@dataclass(frozen=True)
class LoadPlan:
    """One load test."""

    endpoints: tuple[Endpoint, ...]
    devices: int
    rate_hz: float
    """Messages a second a device."""
    duration_s: float
    values: int = 6
    qos: int = 1
    ramp_per_s: float = 500.0
    """New connections a second, over all workers."""
    workers: int = 1
    sources: int = 1
    """How many 127.0.0.x addresses the connections come from."""
    births: bool = True
    """Each connect has a last will and a retained status."""
    site: str = "main"
    area: str = "load"
    prefix: str = "load"
    alarms: int = 0
    """How many devices leave a limit, once, for `excursion_s`."""
    excursion_s: float = 10.0
    attempt: int = 0
    """Other devices leave a limit in each attempt of a search: to a hub, one that does so again and again
    chatters."""
    window: int = 1000
    """Messages of one device that may await their acknowledgement."""
    keepalive_s: int = 120
    wrong_clocks: float = 0.0
    """Share of the devices whose clock is wrong by `WRONG_MS`, early or late in turn."""
    detours: tuple[Detour, ...] = ()
    """By their share; a device takes the first that it is of."""

    def __post_init__(self) -> None:
        """Refuse what can't be sent."""
        if not 1 <= self.values <= MAX_VALUES:
            raise InputError(f"--values {self.values}: there are 1 to {MAX_VALUES}")
        if self.rate_hz <= 0 or self.rounds > LAST_ROUND:
            raise InputError(
                f"--rate {self.rate_hz} for {self.duration_s} s: at most {LAST_ROUND} messages a device"
            )
        if self.alarms > self.devices:
            raise InputError(f"--alarms {self.alarms}: there are only {self.devices} devices")

    @property
    def rounds(self) -> int:
        """Messages of each device."""
        return max(int(self.duration_s * self.rate_hz), 1)

    @property
    def target_rate(self) -> float:
        """Messages a second of all devices."""
        return self.devices * self.rate_hz

    @cached_property
    def ticks_per_message(self) -> float:
        """Ticks between two messages of the whole test."""
        return 1000 / TICK_MS / self.target_rate

    def device_name(self, j: int) -> str:
        """Return the id of device `j`."""
        return f"{self.prefix}-{j:05d}"

    def tick(self, j: int, n: int) -> int:
        """Return the tick at whose end message `n` of device `j` is due: devices take turns evenly."""
        return int((n * self.devices + j) * self.ticks_per_message) + 1

    def time_ms(self, j: int, n: int, start_ms: int) -> int:
        """Return when a message is due: its determination time by a right clock."""
        return start_ms + self.tick(j, n) * TICK_MS

    def clock_error_ms(self, j: int) -> int:
        """Return by how much a device's clock is wrong; devices that leave a limit have a right one."""
        if not self.wrong_clocks or self.excursion(j) is not None:
            return 0
        place = int(j * self.wrong_clocks)
        if int((j + 1) * self.wrong_clocks) == place:
            return 0
        return WRONG_MS if place % 2 else -WRONG_MS

    def device_ms(self, j: int, n: int, start_ms: int) -> int:
        """Return the determination time of a message as the device's own clock has it."""
        return self.time_ms(j, n, start_ms) + self.clock_error_ms(j)

    def endpoint_of(self, j: int) -> int:
        """Return which broker device `j` is at."""
        return j % len(self.endpoints)

    def detour_of(self, j: int) -> int | None:
        """Return the port on 127.0.0.1 that device `j` connects through; None: it connects straight."""
        # Multiples of the golden ratio spread evenly, whatever brokers and workers take turns by.
        rank = j * _GOLDEN % 1
        for detour in self.detours:
            if rank < detour.share:
                return detour.ports[self.endpoint_of(j)]
        return None

    def devices_of(self, worker: int) -> list[int]:
        """Return the devices of one worker, in the order of their turns."""
        brokers = len(self.endpoints)
        return [j for j in range(self.devices) if j // brokers % self.workers == worker]

    def excursion(self, j: int) -> tuple[int, int] | None:
        """Return the first round beyond the limit and the first one back inside; None: it has none."""
        if not self.alarms:
            return None
        turned = (j + self.attempt) % self.devices
        rank, place = divmod(turned * self.alarms, self.devices)
        if place >= self.alarms:
            return None  # each of `alarms` even shares of the devices has one: its first
        # Excursions begin evenly between a tenth and seven tenths of the time.
        first = int(self.rounds * (0.1 + 0.6 * rank / self.alarms))
        return first, min(first + max(int(self.excursion_s * self.rate_hz), 2), self.rounds)

    @property
    def variants(self) -> int:
        """How many sets of values there are."""
        return _VARIANTS + 1

    def variant(self, j: int, n: int) -> int:
        """Return which of the rendered sets of values message `n` has; the last one is beyond the limit."""
        excursion = self.excursion(j)
        if excursion is not None and excursion[0] <= n < excursion[1]:
            return _VARIANTS
        return (j + n) % _VARIANTS

    def values_of(self, variant: int) -> dict[str, float]:
        """Return the values of a variant."""
        step = 0 if variant == _VARIANTS else variant
        values = {name: first + step * by for name, first, by in _PARAMETERS[: self.values]}
        if variant == _VARIANTS:
            values["heart_rate"] = _ALARM_RATE
        return values

    def tails(self) -> list[bytes]:
        """Render the part after the number, one for each variant, all of one length."""
        tails = [self._tail(self.values_of(variant)) for variant in range(self.variants)]
        if any(len(a) != len(b) for a, b in pairwise(tails)):
            raise AssertionError("variants differ in length")
        return tails

    def middle(self, n: int, time_ms: int) -> bytes:
        """Render what is between head and tail, the same for all messages of round `n` at one time."""
        packet_id = ID_BYTES[n % PACKET_IDS] if self.qos else b""
        return packet_id + b'{"time":%013d,"seq":%d' % (time_ms, FIRST_SEQ + n)

    def _tail(self, values: dict[str, float]) -> bytes:
        steps = {name: by for name, _, by in _PARAMETERS}
        shown = (
            f'"{name}":{value:.2f}' if steps[name] % 1 else f'"{name}":{value:.0f}'
            for name, value in values.items()
        )
        return (',"values":{' + ",".join(shown) + "}}").encode()


def head_of(plan: LoadPlan, j: int, tails: list[bytes]) -> bytes:
    """Render what all messages of device `j` begin with, up to the packet id."""
    rest = plan.middle(0, 0) + tails[0]
    topic = f"wards/v1/{plan.site}/{plan.area}/{plan.device_name(j)}/observations"
    packet = publish(topic, rest[2:] if plan.qos else rest, qos=plan.qos, packet_id=1 if plan.qos else 0)
    return packet[: len(packet) - len(rest)]


def marked_as_duplicate(head: bytes) -> bytes:
    """Return the head of a message that is sent once more."""
    return bytes((head[0] | 8,)) + head[1:]

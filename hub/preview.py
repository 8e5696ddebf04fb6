"""What the hub makes of one message, from decoding to FHIR and line protocol. Stores and tells nothing."""

from collections.abc import Callable, Iterator
from typing import Final, NotRequired, TypedDict

import msgspec

from hub.clock import SECOND_NS, ClockLimits, DeviceClock
from hub.devices.catalog import Catalog
from hub.devices.decode import Item, Refused
from hub.duplicates import Duplicates
from hub.events import moment
from hub.fhir.observation import observations
from hub.intake import Intake
from hub.knocks import add_command, why_not
from hub.model import Batch, Message, Reading
from hub.roster import Endpoint, Roster
from hub.stores.lines import Lines
from hub.stores.store import StoreRefused
from hub.vocabulary import PARAMETERS
from hub.ward.model import DeviceEntry

WITHOUT_TIME_NS: Final = 946_684_800 * SECOND_NS
"""When a payload without any time is taken to arrive, where nobody says: 2000-01-01, the same each time."""
_HOUR_S, _DAY_S = 3_600, 86_400


class Value(TypedDict):
    """One value of one parameter."""

    device: str
    channel: NotRequired[str]
    """The part of the device that reports on its own, where it is one."""
    parameter: str
    value: float | str | None
    """In the vocabulary's unit; None for "no value"."""
    unit: str
    time: str
    """Corrected determination time, RFC 3339; that of receipt where the device sent none."""
    device_time: str | None
    """As the device said; None where it said nothing."""
    quality: str
    """valid, questionable, invalid or no-value."""


class Reject(TypedDict):
    """What of the payload can't be used."""

    path: str
    reason: str
    found: NotRequired[str]
    """The code, unit or word that nobody knows, where that is what is wrong."""


class Clock(TypedDict):
    """A device whose clock is not simply taken at its word (docs/decisions/0005)."""

    device: str
    ahead_s: float
    """Its time less that of receipt."""
    believed: bool
    told: str
    """What becomes of its times."""


class Stranger(TypedDict):
    """A device that the payload names and that doesn't count, whatever is shown of it."""

    device: str
    gateway: str | None
    """Who publishes."""
    reason: str
    command: str
    """What to type to register it."""


class Preview(TypedDict):
    """One message, ready for JSON."""

    topic: str
    definition: str | None
    """None where no definition takes the topic."""
    site: str | None
    area: str | None
    received: str
    readings: list[Value]
    statuses: list[dict[str, object]]
    alarms: list[dict[str, object]]
    """Conditions that the message says are present, and those that it says are absent."""
    sightings: list[dict[str, object]]
    waveforms: list[dict[str, object]]
    rejects: list[Reject]
    clocks: list[Clock]
    unregistered: list[Stranger]
    fhir: list[dict[str, object]]
    """The Observations, of no patient: who a device is at is the registry's to say."""
    line_protocol: list[str]


class Previewer:
    """Shows message after message, as one hub would take them: formats that remember do."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        clock: ClockLimits = ClockLimits(),  # noqa: B008 - it can't change
        backlog_ns: int = 60 * SECOND_NS,
        registered: Callable[[str, str], DeviceEntry | None] | None = None,
    ) -> None:
        """`registered` looks up a device by site and id; without it every device counts."""
        self._catalog = catalog
        self._limits = clock
        self._backlog_ns = backlog_ns
        self._registered = registered
        self._roster = Roster(
            catalog,
            max_devices=100_000,
            provisioned=lambda _site, _device: ("", "", 0.0),
            on_new=lambda _device, _topic: None,
        )
        self._lines = Lines()

    def show(
        self, topic: str, payload: bytes, received_ns: int | None = None, *, made_up: bool = False
    ) -> Preview:
        """Show one message. Without `received_ns` it is taken to arrive when the newest of its times says.

        `made_up`: the topic is an example, and so is the gateway that it names.
        """
        endpoint = self._roster.endpoint(topic)
        items = [] if endpoint is None else endpoint.route.decode(payload)
        if endpoint is not None:
            endpoint.decode = lambda _: (
                items
            )  # a second time it would be another message to formats that remember
        received_ns = received_ns or _newest_ns(items) or WITHOUT_TIME_NS
        intake = Intake(self._roster, Duplicates(), self._limits, only_news=False)
        taken = intake.take([Message(topic, payload)], received_ns)
        batch = taken.batch
        shown_by = self._catalog.accepting(topic, payload) if endpoint else None
        return Preview(
            topic=topic,
            definition=shown_by,
            site=endpoint.route.site if endpoint else None,
            area=endpoint.route.area if endpoint else None,
            received=_time(received_ns),
            readings=[value for reading in batch.readings for value in _values(reading)],
            statuses=[_plain(one) for one in batch.statuses],
            alarms=[_plain(one) for one in batch.device_alarms],
            sightings=[_plain(one) for one in batch.sightings],
            waveforms=[_plain(one) for one in batch.waveforms],
            rejects=[_reject(one) for told in taken.refused for one in told],
            clocks=list(self._clocks(endpoint, items, received_ns)) if endpoint else [],
            unregistered=list(self._strangers(endpoint, shown_by, items, made_up=made_up))
            if endpoint
            else [],
            fhir=[msgspec.json.decode(one) for reading in batch.readings for one in observations(reading)],
            line_protocol=self._rendered(batch),
        )

    def _clocks(self, endpoint: Endpoint | None, items: list[Item], received_ns: int) -> Iterator[Clock]:
        """Tell of the devices whose newest time is not taken at its word."""
        if endpoint is None:
            return
        newest: dict[str, int] = {}
        for item in items:
            time_ns = getattr(item, "time_ns", 0)
            name = item.device or (endpoint.device.id if endpoint.device else "")
            if time_ns:
                newest[name] = max(time_ns, newest.get(name, time_ns))
        for name, time_ns in newest.items():
            device = self._roster.find(endpoint.route.site, name)
            told = device and self._verdict(device.clock, time_ns - received_ns)
            if device is not None and told:
                ahead_s = (time_ns - received_ns) / SECOND_NS
                yield Clock(device=name, ahead_s=ahead_s, believed=device.clock.trusted, told=told)

    def _verdict(self, clock: DeviceClock, ahead_ns: int) -> str | None:
        off = f"{_duration(ahead_ns)} {'ahead of' if ahead_ns > 0 else 'behind'} its receipt"
        if not clock.trusted:
            return (
                f"clock not believed: {off}; its values are questionable, stored and alarmed as of their"
                " receipt, and the alarm clock_off is raised"
            )
        if clock.offset_ns:
            return f"clock corrected by {_duration(clock.offset_ns)}: {off} for some time now"
        if ahead_ns > self._limits.tolerance_ns:
            return (
                f"clock ahead: {off}; receipt is taken until the difference has stayed the same for a while"
            )
        if -ahead_ns > self._backlog_ns:
            return f"old: {off}; taken at its word, stored as history, never alarmed"
        return None

    def _strangers(
        self, endpoint: Endpoint | None, definition: str | None, items: list[Item], *, made_up: bool
    ) -> Iterator[Stranger]:
        """Tell of the devices that the payload names and that are not registered under who publishes it."""
        if endpoint is None or self._registered is None or endpoint.route.vouched:
            return
        publisher = endpoint.device.id if endpoint.device else None
        named = [item.device for item in items if item.device is not None and not isinstance(item, Refused)]
        for device in dict.fromkeys(named):
            entry = self._registered(endpoint.route.site, device)
            gateway = publisher
            if made_up and publisher is not None:
                gateway = entry.gateway if entry and entry.registered else "GATEWAY"
            reason = None if device == gateway else why_not(entry, device, gateway, "")
            if reason is not None:
                yield Stranger(
                    device=device,
                    gateway=gateway,
                    reason=reason.partition(":")[0],
                    command=add_command(device, gateway, definition or ""),
                )

    def _rendered(self, batch: Batch) -> list[str]:
        try:
            return self._lines.render([batch])
        except StoreRefused as error:
            return [f"# {error}"]


def _newest_ns(items: list[Item]) -> int:
    return max((getattr(item, "time_ns", 0) for item in items), default=0)


def _values(reading: Reading) -> Iterator[Value]:
    exceptions = reading.exceptions or {}
    for name in dict.fromkeys([*reading.values, *exceptions]):
        quality, kept = exceptions.get(name, ("valid", None))
        value = Value(
            device=reading.device,
            parameter=name,
            value=reading.values.get(name, kept),
            unit=PARAMETERS[name].unit,
            time=_time(reading.time_ns),
            device_time=_time(reading.device_time_ns) if reading.device_time_ns else None,
            quality=quality,
        )
        if reading.channel != "observations":
            value["channel"] = reading.channel
        yield value


def _reject(refused: Refused) -> Reject:
    reject = Reject(path=refused.path, reason=refused.reason)
    if refused.found:
        reject["found"] = refused.found
    return reject


def _plain(item: msgspec.Struct) -> dict[str, object]:
    """Return the members of an item that say something, times as text."""
    members: dict[str, object] = {}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if name == "time_ns":
            members["time"] = _time(value)
        elif not (value is None or value is False or value == "") and name not in (
            "site",
            "received_ns",
            "seq",
        ):
            members[name] = value
    return members


def _time(time_ns: int) -> str:
    return moment(time_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _duration(ns: int) -> str:
    seconds = round(abs(ns) / SECOND_NS)
    days, rest = divmod(seconds, _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    told = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(told[:2]) or "0 s"

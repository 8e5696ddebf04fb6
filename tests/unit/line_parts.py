"""The line with nothing behind it: real intake, alarms and live values; a journal and a broker in memory."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from hub.alarms.conditions import Conditions
from hub.alarms.limits import load_limits
from hub.alarms.rules import limits_lookup
from hub.clock import ClockLimits
from hub.device import Device
from hub.devices.catalog import Catalog
from hub.devices.decode import Refused
from hub.duplicates import Duplicates
from hub.intake import Intake, Taken
from hub.journal import JournalError
from hub.live import Live
from hub.model import Batch, Message
from hub.mqtt.session import Delivery
from hub.pipeline import Line
from hub.roster import Provisioned, Roster

SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND
CATALOG = Catalog.load(site="main")
RULES = load_limits()


def topic(device: str = "mon-1", channel: str = "observations") -> str:
    return f"wards/v1/main/icu/{device}/{channel}"


def body(time_ns: int | None = NOW, seq: int | None = 1, **values: Any) -> bytes:
    known = {} if time_ns is None else {"time": time_ns // 1_000_000}
    known |= {} if seq is None else {"seq": seq}
    return json.dumps({**known, "values": values or {"heart_rate": 72}}).encode()


def observed(
    device: str = "mon-1", time_ns: int | None = NOW, seq: int | None = 1, packet_id: int = 1, **values: Any
) -> Message:
    """Return what a native monitor sends."""
    return Message(topic(device), body(time_ns, seq, **values), packet_id)


class MemoryJournal:
    """Takes batches; while it is `stuck` nothing of it becomes durable."""

    def __init__(self) -> None:
        self.appended: list[Batch] = []
        self.raw: list[Sequence[Message]] = []
        self.refuses = False
        """Whether the next batch can't be recorded."""
        self._stuck = False
        self._waiting: list[asyncio.Future[int]] = []

    def append(self, batch: Batch, raw: Sequence[Message] = ()) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.refuses:
            self.refuses = False
            future.set_exception(JournalError("a batch can't be encoded"))
            return future
        self.appended.append(batch)
        self.raw.append(raw)
        if self._stuck:
            self._waiting.append(future)
        else:
            future.set_result(len(self.appended))
        return future

    def stick(self) -> None:
        self._stuck = True

    def free(self, batches: int | None = None) -> None:
        """Make the oldest durable, or all."""
        ready = self._waiting[:batches]
        del self._waiting[: len(ready)]
        self._stuck = bool(self._waiting)
        for future in ready:
            future.set_result(1)

    def stop(self) -> None:
        for future in self._waiting:
            future.cancel()


class MemorySession:
    """A broker's session: what was acknowledged, and whether it is held back."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.stale_acks = 0
        self.acks: list[int] = []
        self.paused = False
        self.changes: list[str] = []

    def acknowledge(self, packet_ids: list[int]) -> bool:
        self.acks += packet_ids
        return True

    def pause(self) -> None:
        self.paused = True
        self.changes.append("pause")

    def resume(self) -> None:
        self.paused = False
        self.changes.append("resume")

    def deliver(self, *messages: Message, at_ns: int = NOW) -> Delivery:
        return Delivery(self, self, list(messages), at_ns)  # type: ignore[arg-type] # both in one


class Nowhere:
    """No beds, no placements."""

    version = 1

    def placement(self, site: str, device: str) -> None:
        return None

    def beds(self) -> list[Any]:
        return []


def make_roster(
    max_devices: int = 1000, provisioned: dict[str, Provisioned] | None = None
) -> tuple[Roster, list[tuple[Device, str]]]:
    """Return a roster, and the list that its new devices are added to."""
    new: list[tuple[Device, str]] = []
    known = provisioned or {}
    roster = Roster(
        CATALOG,
        max_devices=max_devices,
        provisioned=lambda _, device: known.get(device, ("", "", 0.0)),
        on_new=lambda device, topic: new.append((device, topic)),
    )
    return roster, new


def make_conditions() -> tuple[Conditions, list[tuple[str, str, str]]]:
    """Return alarm conditions by the built-in limits, and what they tell: event, device, condition."""
    told: list[tuple[str, str, str]] = []
    conditions = Conditions(
        limits_lookup(RULES, lambda _: "adult", lambda: 1),
        lambda event, alarm, _: told.append((event, alarm.device, alarm.condition)),
        listening=lambda: {"": 0, "a broker": NOW},
    )
    return conditions, told


class Parts:
    """A line and everything around it."""

    def __init__(self, *, max_pending: int = 100, keep_raw: bool = False, backlog_s: float = 60) -> None:
        self.now_ns = NOW
        self.roster, self.new = make_roster()
        self.conditions, self.told = make_conditions()
        self.live = Live(Nowhere())
        self.journal = MemoryJournal()
        self.session = MemorySession()
        self.rejects: list[tuple[str, str, list[Refused]]] = []
        self.durable: list[Taken] = []
        self.waited_s: list[float] = []
        self.line = Line(
            intake=Intake(self.roster, Duplicates(), ClockLimits()),
            roster=self.roster,
            conditions=self.conditions,
            live=self.live,
            journal=self.journal,  # type: ignore[arg-type] # in memory
            tell_rejects=lambda device, topic, refused: self.rejects.append((device.id, topic, refused)),
            on_told=self.waited_s.append,
            on_durable=self.durable.append,
            now_ns=lambda: self.now_ns,
            backlog_ns=round(backlog_s * SECOND),
            max_pending=max_pending,
            keep_raw=keep_raw,
        )

    def device(self, name: str = "mon-1") -> Device:
        found = self.roster.find("main", name)
        assert found is not None
        return found

    def value(
        self, parameter: str = "heart_rate", device: str = "mon-1", channel: str = "observations"
    ) -> Any:
        return self.device(device).latest_in(channel)[parameter].value

    async def settle(self) -> None:
        """Let gathered deliveries go to the journal, and what becomes durable be acknowledged."""
        await asyncio.sleep(0.02)

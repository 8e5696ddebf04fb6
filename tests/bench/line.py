"""CPU of the line alone: from the bytes of PUBLISH packets to those of their PUBACKs, journal included."""

import asyncio
import time
from pathlib import Path

from hub.alarms.conditions import Conditions
from hub.alarms.limits import load_limits
from hub.clock import ClockLimits
from hub.devices.catalog import Catalog
from hub.duplicates import Duplicates
from hub.intake import Intake
from hub.journal import Journal
from hub.live import Live
from hub.model import Message
from hub.mqtt.packets import PacketReader, pubacks, publish
from hub.pipeline import Line
from hub.roster import Roster
from tests.bench.generator import reading, topic

MESSAGES = 200_000
DEVICES = 10_000
CHUNK = 64 << 10
"""Bytes of one look into the receive buffer."""


class _Nowhere:
    """Placements of a hospital in which no device has a bed."""

    version = 1

    def placement(self, site: str, device: str) -> None:
        return None

    def beds(self) -> list[object]:
        return []


class _Delivery:
    """What a session hands to the line; its acknowledgement is encoded as the session does it."""

    session = None

    def __init__(self, messages: list[Message], received_ns: int, written: bytearray) -> None:
        self.messages = messages
        self.received_ns = received_ns
        self._written = written

    def acknowledge(self) -> None:
        self._written += pubacks([message.packet_id for message in self.messages])


def stream(messages: int, start_ms: int) -> bytes:
    """Return the packets of so many readings, a second apart for each device."""
    packets = []
    for number in range(messages):
        device, seq = number % DEVICES, number // DEVICES + 1
        time_ms = start_ms + (seq - 1) * 1000 + device % 1000
        packet_id = number % 60_000 + 1
        packets.append(publish(topic(device), reading(seq, time_ms), qos=1, packet_id=packet_id))
    return b"".join(packets)


async def measure_line(folder: Path) -> dict[str, float]:
    """Return `line_us_per_message`, of every thread of the process."""
    limits = load_limits().of("adult")
    journal = Journal(folder / "journal.sqlite", raw_bytes=0)
    await journal.start()
    live = Live(_Nowhere())
    roster = Roster(
        Catalog.load(), max_devices=DEVICES, provisioned=lambda *_: ("", "", 0.0), on_new=lambda *_: None
    )
    told: list[object] = []
    line = Line(
        intake=Intake(roster, Duplicates(), ClockLimits()),
        roster=roster,
        conditions=Conditions(lambda _: limits, lambda *event: told.append(event)),
        live=live,
        journal=journal,
        tell_rejects=lambda *_: None,
        on_told=lambda _: None,
        on_durable=lambda _: None,
        now_ns=time.time_ns,
        backlog_ns=10**18,
        max_pending=10**9,
        keep_raw=False,
    )
    start_ms = time.time_ns() // 1_000_000 - 60_000
    written = bytearray()
    await _run(line, stream(DEVICES, start_ms), start_ms, written)  # devices get to be known
    packets = stream(MESSAGES, start_ms + 3_600_000)
    before = len(written)
    began = time.process_time()
    await _run(line, packets, start_ms + 3_600_000, written)
    cpu_s = time.process_time() - began
    await journal.stop()
    if len(written) - before != 4 * MESSAGES or told or line.counts.rejected:
        raise RuntimeError("not every message was acknowledged, or one was rejected or alarmed")
    return {"line_us_per_message": cpu_s / MESSAGES * 1e6}


async def _run(line: Line, packets: bytes, start_ms: int, written: bytearray) -> None:
    reader = PacketReader()
    seen = 0
    for at in range(0, len(packets), CHUNK):
        messages = reader.feed(packets[at : at + CHUNK])
        received_ns = (start_ms + seen // DEVICES * 1000 + 1000) * 1_000_000
        seen += len(messages)
        line.receive(_Delivery(messages, received_ns, written))
        await asyncio.sleep(0)
    while line.pending:
        await asyncio.sleep(0.01)

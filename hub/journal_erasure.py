"""Removing one device's readings of a period from the journal, for the erasure of a patient."""

import sqlite3
from contextlib import closing
from typing import TypeVar

from msgspec import msgpack

from hub.journal_file import READERS
from hub.journal_writer import count_items
from hub.model import Batch, DeviceAlarm, DeviceStatus, Reading, Sighting, Waveform, ZoneChange

Item = TypeVar("Item", Reading, Waveform, DeviceAlarm, DeviceStatus, ZoneChange)


def erase(db: sqlite3.Connection, site: str, device: str, start_ns: int, end_ns: int) -> None:
    """Remove what the device determined in [start_ns, end_ns), in one transaction.

    Raw messages and rejects tell neither when they were determined nor always by whom. So all raw messages
    received since `start_ns` go, and all rejects since then that are the device's or nobody's.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        _erase_rows(db, site, device, start_ns, end_ns)
        db.execute("DELETE FROM raw WHERE received_ns >= ?", (start_ns,))
        db.execute(
            "DELETE FROM rejects WHERE received_ns >= ? AND (device IS NULL OR (site = ? AND device = ?))",
            (start_ns, site, device),
        )
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    # What was deleted must not stay readable in the write-ahead log.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _erase_rows(db: sqlite3.Connection, site: str, device: str, start_ns: int, end_ns: int) -> None:
    changed: list[tuple[bytes, int]] = []
    with closing(db.execute("SELECT id, version, batch FROM rows")) as rows:
        for row_id, version, encoded in rows:
            batch = READERS[version].decode(encoded)
            if _erase_batch(batch, site, device, start_ns, end_ns):
                changed.append((msgpack.encode(batch), row_id))
    db.executemany("UPDATE rows SET batch = ? WHERE id = ?", changed)


def _erase_batch(batch: Batch, site: str, device: str, start_ns: int, end_ns: int) -> bool:
    def others(items: list[Item]) -> list[Item]:
        return [
            item
            for item in items
            if (item.site, item.device) != (site, device) or not start_ns <= item.time_ns < end_ns
        ]

    def other_sightings(items: list[Sighting]) -> list[Sighting]:
        return [
            item
            for item in items
            if item.site != site
            or device not in (item.gateway, item.beacon)
            or not start_ns <= item.time_ns < end_ns
        ]

    kept = (
        others(batch.readings),
        others(batch.waveforms),
        others(batch.statuses),
        others(batch.device_alarms),
        other_sightings(batch.sightings),
        others(batch.zone_changes),
    )
    before = count_items(batch)
    (
        batch.readings,
        batch.waveforms,
        batch.statuses,
        batch.device_alarms,
        batch.sightings,
        batch.zone_changes,
    ) = kept
    return count_items(batch) != before

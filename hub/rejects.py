"""What could not be used, kept in the journal's file until it is replayed, deleted or too old."""

import sqlite3
from collections.abc import Sequence

from msgspec import Struct, msgpack

from hub.model import (
    FORMAT_VERSION,
    Batch,
    DeviceAlarm,
    DeviceStatus,
    Message,
    Reading,
    Rejection,
    Waveform,
    ZoneChange,
)

STORE_TOPIC = "$store/"
"""Topic prefix of what a store refused: its payload is an encoded Batch, not a device's message."""

_TOO_LARGE = "payload of "

COLUMNS = "id, received_ns, site, device, topic, payload, path, reason"

SCHEMA = """
CREATE TABLE IF NOT EXISTS rejects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, received_ns INTEGER NOT NULL, site TEXT, device TEXT,
    topic TEXT NOT NULL, payload BLOB NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL,
    size INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS rejects_device ON rejects (site, device, id);
CREATE INDEX IF NOT EXISTS rejects_received ON rejects (received_ns);
"""


class Rejected(Struct, frozen=True):
    """A rejection with the id under which it is kept."""

    id: int
    rejection: Rejection


def refused(store: str, batch: Batch, reason: str, received_ns: int) -> Rejection:
    """Return the rejection of what a store refused; `replayable` gives the batch back.

    `batch` holds one item; site and device are taken from it.
    """
    site = device = None
    of_devices: list[Reading | Waveform | DeviceStatus | DeviceAlarm | ZoneChange] = []
    of_devices += [*batch.readings, *batch.waveforms, *batch.statuses, *batch.device_alarms]
    of_devices += batch.zone_changes
    for item in of_devices:
        site, device = item.site, item.device
    for sighting in batch.sightings:
        site, device = sighting.site, sighting.gateway
    payload = msgpack.encode(batch)
    return Rejection(STORE_TOPIC + store, payload, "$", reason, received_ns, site, device)


def too_large(message: Message) -> str:
    """Return the reason for rejecting a message of which only the beginning was kept."""
    return (
        f"{_TOO_LARGE}{message.full_size} bytes is larger than the hub takes; only its first"
        f" {len(message.payload)} bytes are kept: send less at a time"
    )


def is_cut(rejection: Rejection) -> bool:
    """Tell whether only the beginning of the payload was kept, so that nothing can be made of it."""
    return rejection.reason.startswith(_TOO_LARGE)


def replayable(rejection: Rejection) -> Batch | None:
    """Return the batch to append again if a store refused it; None for a device's message."""
    if not rejection.topic.startswith(STORE_TOPIC):
        return None
    batch = msgpack.decode(rejection.payload, type=Batch)
    if batch.version > FORMAT_VERSION:
        raise ValueError(f"format {batch.version} is newer than this hub reads: replay it with a newer hub")
    return batch


def add(connection: sqlite3.Connection, rejections: Sequence[Rejection]) -> int:
    """Insert within the caller's transaction and return the bytes that they take."""
    rows = [
        (r.received_ns, r.site, r.device, r.topic, r.payload, r.path, r.reason, _size(r)) for r in rejections
    ]
    connection.executemany(
        "INSERT INTO rejects (received_ns, site, device, topic, payload, path, reason, size)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    return sum(row[-1] for row in rows)


def _size(rejection: Rejection) -> int:
    """Return about what a row takes: its texts and 64 bytes for the rest."""
    return len(rejection.payload) + len(rejection.topic) + len(rejection.reason) + 64


def newest(
    connection: sqlite3.Connection, site: str | None, device: str | None, limit: int, before: int | None
) -> list[Rejected]:
    """Return rejections, newest first, of one site or device or of all, with ids below `before`."""
    where, arguments = ["id < ?"], [before if before is not None else 2**63 - 1]
    for column, wanted in (("site", site), ("device", device)):
        if wanted is not None:
            where.append(f"{column} = ?")
            arguments.append(wanted)  # type: ignore[arg-type]  # a mixed list of parameters
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM rejects WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",  # noqa: S608 - constants
        [*arguments, limit],
    )
    return [_rejected(row) for row in rows]


def by_ids(connection: sqlite3.Connection, ids: Sequence[int]) -> list[Rejected]:
    """Return the rejections of these ids, oldest first; ids that are gone are left out."""
    found = []
    for wanted in sorted(set(ids)):
        found += connection.execute(f"SELECT {COLUMNS} FROM rejects WHERE id = ?", (wanted,)).fetchall()  # noqa: S608 - constants
    return [_rejected(row) for row in found]


def _rejected(row: tuple[int, int, str | None, str | None, str, bytes, str, str]) -> Rejected:
    number, received_ns, site, device, topic, payload, path, reason = row
    return Rejected(number, Rejection(topic, payload, path, reason, received_ns, site, device))


def by_reason(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many are kept of each reason, most frequent first."""
    rows = connection.execute("SELECT reason, count(*) AS n FROM rejects GROUP BY reason ORDER BY n DESC")
    return dict(rows.fetchall())


def delete(connection: sqlite3.Connection, ids: Sequence[int]) -> int:
    """Delete these and return how many there were."""
    return connection.executemany("DELETE FROM rejects WHERE id = ?", [(i,) for i in ids]).rowcount


def expire(connection: sqlite3.Connection, older_than_ns: int, max_bytes: int) -> int:
    """Delete what was received before `older_than_ns`, then the oldest beyond `max_bytes`.

    Return how many there were.
    """
    gone = connection.execute("DELETE FROM rejects WHERE received_ns < ?", (older_than_ns,)).rowcount
    last = connection.execute(
        "SELECT max(id) FROM (SELECT id, sum(size) OVER (ORDER BY id DESC) AS bytes FROM rejects)"
        " WHERE bytes > ?",
        (max_bytes,),
    ).fetchone()[0]
    if last is not None:
        gone += connection.execute("DELETE FROM rejects WHERE id <= ?", (last,)).rowcount
    return gone


def size(connection: sqlite3.Connection) -> int:
    """Return the bytes that all of them take."""
    total: int = connection.execute("SELECT coalesce(sum(size), 0) FROM rejects").fetchone()[0]
    return total

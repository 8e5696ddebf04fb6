"""Keeps the births of Sparkplug nodes on disk. Written behind the line: no message waits for it."""

import asyncio
import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from hub.devices.births import Birth, Births, Key

_log = logging.getLogger(__name__)
_EVERY_S = 0.2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS birth (
  "group" TEXT, node TEXT, device TEXT, body BLOB NOT NULL, PRIMARY KEY ("group", node, device)
) WITHOUT ROWID"""


class BirthsFile:
    """One SQLite file. What can't be written is told once and tried again; it is asked for anew at need."""

    def __init__(self, path: Path, births: Births) -> None:
        self._path = path
        self._births = births
        self._failing = False

    def load(self) -> None:
        """Read what an earlier run knew. A broken file is put aside: the nodes are asked again."""
        try:
            with closing(self._connect()) as file, file:
                rows = file.execute('SELECT "group", node, device, body FROM birth').fetchall()
            for group, node, device, body in rows:
                for birth in msgspec.msgpack.decode(body, type=list[Birth]):
                    self._births.add((group, node, device), birth)
        except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
            _log.error("%s can't be read (%s); put aside, births are asked for again", self._path, error)
            with suppress(OSError):
                self._path.replace(self._path.with_suffix(".unreadable"))
        self._births.changed.clear()

    async def run(self) -> None:
        """Write what changes, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            if self._births.changed:
                await self.save()

    async def save(self) -> None:
        """Write what has changed."""
        changed, self._births.changed = self._births.changed, set()
        rows = [(key, list(self._births.of(key))) for key in changed]
        try:
            await asyncio.to_thread(self._write, rows)
        except (sqlite3.Error, OSError) as error:
            self._births.changed |= changed
            if not self._failing:
                _log.error("%s can't be written (%s); births are kept in memory", self._path, error)
            self._failing = True
        else:
            if self._failing:
                _log.info("%s is written again", self._path)
            self._failing = False

    def _write(self, rows: list[tuple[Key, list[Birth]]]) -> None:
        with closing(self._connect()) as file, file:
            file.executemany(
                'DELETE FROM birth WHERE "group" = ? AND node = ? AND device = ?',
                [key for key, births in rows if not births],
            )
            file.executemany(
                "INSERT OR REPLACE INTO birth VALUES (?, ?, ?, ?)",
                [(*key, msgspec.msgpack.encode(births)) for key, births in rows if births],
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5)
        connection.execute(_SCHEMA)
        return connection

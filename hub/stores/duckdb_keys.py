"""The DuckDB store's dimensions: integers that stand for devices and names, and the known parameters."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

import numpy as np

from hub.stores.columns import Columns


class Connection(Protocol):
    """What of a DuckDB connection is used outside its own module."""

    def execute(self, query: str, parameters: Sequence[object] | None = None) -> Self:
        """Run a statement with values for its placeholders."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows of the last statement."""


class Keys:
    """Keys are given out at once, written with the transaction, and taken back if it fails."""

    def __init__(self) -> None:
        self.devices: dict[tuple[str, str], int] = {}
        """By site and device."""
        self.names: dict[str, int] = {}
        """Of channels, waveforms and rolled-up parameters."""
        self.parameters: dict[str, bool] = {}
        """The columns of `readings`, and whether they hold text."""
        self._new_devices: list[tuple[str, str]] = []
        self._new_names: list[str] = []
        self._new_parameters: list[str] = []

    @classmethod
    def read(cls, db: Connection) -> Self:
        """Return what the file has."""
        keys = cls()
        for key, site, device in db.execute("SELECT key, site, device FROM devices").fetchall():
            keys.devices[site, device] = key
        keys.names = {name: key for key, name in db.execute("SELECT key, name FROM names").fetchall()}
        columns = db.execute(
            "SELECT column_name, data_type FROM duckdb_columns()"
            " WHERE table_name = 'readings' AND column_name NOT LIKE '\\_%' ESCAPE '\\'"
        ).fetchall()
        keys.parameters = {name: kind == "VARCHAR" for name, kind in columns}
        return keys

    @property
    def numbers(self) -> list[str]:
        """Return the parameters that are numbers."""
        return [name for name, is_text in self.parameters.items() if not is_text]

    def device(self, site: str, device: str) -> int:
        """Return a device's key, a new one if need be."""
        key = self.devices.get((site, device))
        if key is None:
            key = self.devices[site, device] = len(self.devices) + 1
            self._new_devices.append((site, device))
        return key

    def name(self, name: str) -> int:
        """Return a name's key, a new one if need be."""
        key = self.names.get(name)
        if key is None:
            key = self.names[name] = len(self.names) + 1
            self._new_names.append(name)
        return key

    def add_parameter(self, name: str, is_text: bool) -> None:
        """Note a new column."""
        self.parameters[name] = is_text
        self._new_parameters.append(name)

    def new_rows(self) -> Iterator[tuple[str, Columns]]:
        """Return, by table, what the transaction must write."""
        if self._new_devices:
            sites, devices = zip(*self._new_devices, strict=True)
            yield (
                "devices",
                {
                    "key": np.array([self.devices[device] for device in self._new_devices]),
                    "site": np.array(sites, object),
                    "device": np.array(devices, object),
                },
            )
        if self._new_names:
            keys = np.array([self.names[name] for name in self._new_names])
            yield "names", {"key": keys, "name": np.array(self._new_names, object)}

    def keep_new(self) -> None:
        """The transaction is committed."""
        self._new_devices, self._new_names, self._new_parameters = [], [], []

    def forget_new(self) -> None:
        """The transaction is rolled back."""
        for device in self._new_devices:
            del self.devices[device]
        for name in self._new_names:
            del self.names[name]
        for parameter in self._new_parameters:
            del self.parameters[parameter]
        self.keep_new()

"""The promises of a time series store: what every one of them keeps, whatever is behind it."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from hub.model import Batch, Reading, Waveform, ZoneChange


class StoreUnavailable(Exception):  # noqa: N818 - a state of the store, not a fault of the caller
    """The store can't be reached or is overloaded; nothing is wrong with the batch. Retry later."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreRefused(Exception):  # noqa: N818
    """The store understood and will never take this; a person must change something. Retrying can't help."""


class TrendPoint(Struct, frozen=True, gc=False):
    """One step of a down-sampled trend."""

    time_ns: int
    """Start of the step."""
    minimum: float
    mean: float
    maximum: float
    count: int


class Total(Struct, frozen=True, gc=False):
    """How many valid or questionable values of one parameter are stored, and their sum."""

    count: int
    sum: float


class Retention(Struct, frozen=True):
    """How long each kind of data is kept, in days."""

    readings_days: float = 365
    waveforms_days: float = 3
    trends_days: float = 3650


class Store(Protocol):
    """A time series store.

    Order and concurrency: `write` is called by one drain at a time with journal rows in rising order, and
    again with the same rows after a crash or an error. Reads may run at the same time.
    Idempotence: a reading's identity is (site, device, channel, time_ns). Writing the same reading again, in
    the same batch or another, leaves one.
    Durability: when `write` returns, a `kill -9` of hub or store loses nothing of it, except where the class
    says otherwise.
    Errors: `StoreUnavailable` (retry) or `StoreRefused` (never retry); no other exception leaves a store.
    """

    name: str
    """Names the store's cursor in the journal."""

    settle_s: float
    """0 where `write` is durable when it returns; else the seconds after which it surely is.

    The journal then keeps rows until `position` has passed them.
    """

    async def start(self) -> None:
        """Open or connect, and create what is missing; where it is started, see whether it is there.

        Raises StoreUnavailable or StoreRefused.
        """

    async def stop(self) -> None:
        """Let go of everything; what `write` acknowledged stays."""

    async def position(self) -> int | None:
        """Tell the id of the last journal row that the store knows to hold durably, or None if it can't tell.

        Where `settle_s` isn't 0, raises StoreUnavailable when the store may have lost what `write` took.
        """

    async def write(self, rows: Sequence[tuple[int, Batch]]) -> None:
        """Store the journal rows (id, batch): all of them or, with an exception, any part.

        Id 0 stands for a part of a row: it moves no position.
        """

    async def readings(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings with start_ns <= time_ns < end_ns, oldest first, at most `limit`."""

    async def site_readings(
        self, site: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings of every device of a site with start_ns <= time_ns < end_ns, oldest first.

        At most `limit`. For short times: a store may look at all that lies between.
        """

    async def newest(
        self,
        site: str,
        device: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        parameters: Sequence[str] = (),
    ) -> list[Reading]:
        """Return the newest readings with start_ns <= time_ns < end_ns, newest first, at most `limit`.

        With `parameters`, only readings that hold one of them, as a value or as what is not simply valid.
        """

    async def trend(
        self, site: str, device: str, parameter: str, start_ns: int, end_ns: int, points: int
    ) -> list[TrendPoint]:
        """Return at most `points` steps of equal length, oldest first; steps without a value are left out.

        Valid and questionable values count, invalid ones never do.
        """

    async def totals(self, site: str, device: str) -> dict[str, Total]:
        """Return count and sum of every numeric parameter of a device, over all time."""

    async def waveforms(
        self, site: str, device: str, waveform: str, start_ns: int, end_ns: int
    ) -> list[Waveform]:
        """Return the windows that begin in start_ns <= time_ns < end_ns, oldest first."""

    async def zone_changes(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int
    ) -> list[ZoneChange]:
        """Return the newest changes of a beacon with start_ns <= time_ns < end_ns, newest first.

        At most `limit`.
        """

    async def expire(self, now_ns: int, retention: Retention) -> None:
        """Roll up what is older than a day into trends, remove what is past its retention, compact."""

    async def erase(self, site: str, device: str, start_ns: int, end_ns: int) -> None:
        """Remove everything of a device with start_ns <= time_ns < end_ns, for good.

        Of a beacon what gateways heard of it, too.
        """

    async def size_bytes(self) -> int | None:
        """Tell how many bytes the store takes on disk, or None if it can't tell."""

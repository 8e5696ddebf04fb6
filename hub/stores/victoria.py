"""VictoriaMetrics: written through /api/v2/write as InfluxDB is, read through its own export."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, json
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

from hub.model import Batch, Reading, Value, Waveform, ZoneChange
from hub.stores.influx import InfluxClient, InfluxSettings
from hub.stores.lines import Lines, decode, encode, reading_from, zone_change_from
from hub.stores.newest import walk_back
from hub.stores.rollups import Summary, roll_up, step_ns
from hub.stores.store import Retention, StoreRefused, StoreUnavailable, Total, TrendPoint

MS_NS = 1_000_000
COPY = "hub_copy"
"""Label of what is kept aside while a device's series are rewritten."""


class VictoriaSettings(BaseModel):
    """Where VictoriaMetrics is and how to get in."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: HttpUrl
    token: SecretStr | None = None
    """Sent as `Authorization: Token …`, for a proxy in front of it."""
    user: str | None = None
    """Basic authentication (`-httpAuth.username`), together with `password`."""
    password: SecretStr | None = None
    name: str = Field(default="victoriametrics", pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    """Names this store's cursor in the journal: a different one for each store."""
    gzip: bool = True
    timeout_s: float = Field(default=10.0, gt=0)
    settle_s: float = Field(default=30.0, ge=1)
    """After how long the server has surely written to its disk what it took: several times its interval."""


class _Exported(Struct):
    """One line of an export: a series, or a part of it."""

    metric: dict[str, str]
    values: list[float | None]
    timestamps: list[int]
    """Milliseconds."""


_exported = json.Decoder(_Exported)


class VictoriaStore:
    """Time series in VictoriaMetrics.

    It keeps numbers only, and milliseconds: codes, texts and waveforms are not kept, and two readings of one
    device in one millisecond are one. Its own answer is no durable acknowledgement: what it took in the last
    seconds is lost when it is killed. So `position` tells only rows that it took `settle_s` ago from the
    process that still runs, and raises StoreUnavailable once another process is there: the drain then sends
    again what came after. A sample that was sent twice counts once in every read here; start the server with
    `-dedup.minScrapeInterval=1ms` for the same in Grafana. Retention is the server's (`-retentionPeriod`).
    Tried with 1.79.
    """

    def __init__(self, settings: VictoriaSettings) -> None:
        self.name = settings.name
        self.settle_s = settings.settle_s
        self._client = InfluxClient(
            InfluxSettings(
                url=settings.url,
                bucket="wards",
                token=settings.token,
                user=settings.user,
                password=settings.password,
                name=settings.name,
                gzip=settings.gzip,
                timeout_s=settings.timeout_s,
            )
        )
        self._lines = Lines(numbers_only=True)
        self._process = ""
        self._taken: deque[tuple[float, int]] = deque()
        """When rows were taken (monotonic s), and the last id of them."""
        self._settled: int | None = None

    async def start(self) -> None:
        """Connect, and begin to trust the process that runs now."""
        try:
            await self._client.start()
            self._process = await self._running()
        except BaseException:
            await self.stop()
            raise
        self._taken.clear()
        self._settled = None

    async def _running(self) -> str:
        """Return what tells one process of the server from the next: when it was started."""
        content, _ = await self._client.request("GET", "/metrics", {})
        for line in content.decode(errors="replace").splitlines():
            if line.startswith(("vm_app_start_timestamp", "process_start_time_seconds")):
                return line
        raise StoreRefused(f"{self._client.url}/metrics tells no start time; is it VictoriaMetrics?")

    async def stop(self) -> None:
        """Close the sessions."""
        await self._client.stop()

    async def position(self) -> int | None:
        """Return the last row that can't be lost any more, as far as it was written since `start`."""
        if not self._taken and self._settled is None:
            return None
        running = await self._running()
        if running != self._process:
            raise StoreUnavailable(f"{self.name} was restarted; sending again what it may have lost")
        while self._taken and self._taken[0][0] <= time.monotonic() - self.settle_s:
            self._settled = self._taken.popleft()[1]
        return self._settled

    async def write(self, rows: Sequence[tuple[int, Batch]]) -> None:
        """Write a line an item in one request."""
        lines = await asyncio.to_thread(self._lines.render, [batch for _, batch in rows])
        if lines:
            await self._client.write(lines)
        last = max(row_id for row_id, _ in rows)
        if last:
            self._taken.append((time.monotonic(), last))

    async def readings(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings with start_ns <= time_ns < end_ns (both rounded down to ms), oldest first."""
        return await self._readings(_selector(site, device, "vitals_.*"), site, start_ns, end_ns, limit)

    async def site_readings(
        self, site: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings of every device of a site within a time (both rounded down to ms), oldest first."""
        return await self._readings(_selector(site, None, "vitals_.*"), site, start_ns, end_ns, limit)

    async def _readings(
        self, selector: str, site: str, start_ns: int, end_ns: int, limit: int
    ) -> list[Reading]:
        rows: dict[tuple[int, str, str], dict[str, Value]] = {}
        channels: dict[str, str | None] = {}
        for part in await self._export(selector, start_ns, end_ns):
            channel, device = part.metric.get("channel"), part.metric["device"]
            channels[channel or ""] = channel
            field = part.metric["__name__"].removeprefix("vitals_")
            for ms, value in _samples(part, start_ns, end_ns):
                rows.setdefault((ms, device, channel or ""), {})[field] = value
        return [
            reading_from(site, decode(device), channels[channel], ms * MS_NS, rows[ms, device, channel])
            for ms, device, channel in sorted(rows)[:limit]
        ]

    async def newest(
        self,
        site: str,
        device: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        parameters: Sequence[str] = (),
    ) -> list[Reading]:
        """Return the newest readings with start_ns <= time_ns < end_ns, newest first, at most `limit`."""
        return await walk_back(
            lambda begin_ns, until_ns: self.readings(site, device, begin_ns, until_ns, 1_000_000),
            start_ns,
            end_ns,
            limit,
            parameters,
        )

    async def trend(
        self, site: str, device: str, parameter: str, start_ns: int, end_ns: int, points: int
    ) -> list[TrendPoint]:
        """Return at most `points` steps, oldest first; steps without a value are left out."""
        step = step_ns(start_ns, end_ns, points)
        found: dict[tuple[str, int], float] = {}
        for part in await self._export(_selector(site, device, f"vitals_{parameter}"), start_ns, end_ns):
            for ms, value in _samples(part, start_ns, end_ns):
                found[part.metric.get("channel", ""), ms] = value
        summaries: Iterable[Summary] = (
            (max(start_ns, ms * MS_NS), 1, value, value, value) for (_, ms), value in found.items()
        )
        return roll_up(summaries, start_ns, step)

    async def totals(self, site: str, device: str) -> dict[str, Total]:
        """Return count and sum of every numeric parameter of a device, over all time."""
        found: dict[str, dict[tuple[str, int], float]] = {}
        for part in await self._export(_selector(site, device, "vitals_.*"), None, None):
            field = part.metric["__name__"].removeprefix("vitals_")
            if "__" not in field:
                samples = found.setdefault(field, {})
                for ms, value in _samples(part, None, None):
                    samples[part.metric.get("channel", ""), ms] = value
        return {field: Total(len(samples), sum(samples.values())) for field, samples in found.items()}

    async def waveforms(
        self,
        site: str,  # noqa: ARG002 - the promise of every store
        device: str,  # noqa: ARG002
        waveform: str,  # noqa: ARG002
        start_ns: int,  # noqa: ARG002
        end_ns: int,  # noqa: ARG002
    ) -> list[Waveform]:
        """Return nothing: waveforms are not kept here."""
        return []

    async def zone_changes(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int
    ) -> list[ZoneChange]:
        """Return the newest changes of a beacon within a time (both rounded down to ms), newest first."""
        found = {
            (ms, part.metric["change"]): zone_change_from(
                site, device, ms * MS_NS, part.metric, ms * MS_NS + int(received)
            )
            for part in await self._export(
                _selector(site, device, "zone_change_meta__received"), start_ns, end_ns
            )
            for ms, received in _samples(part, start_ns, end_ns)
        }
        return sorted(found.values(), key=lambda one: one.time_ns, reverse=True)[:limit]

    async def expire(self, now_ns: int, retention: Retention) -> None:
        """Do nothing: the server keeps everything for its `-retentionPeriod`."""

    async def erase(self, site: str, device: str, start_ns: int, end_ns: int) -> None:
        """Remove everything of a device with start_ns <= time_ns < end_ns (rounded down to ms).

        The server deletes whole series only. So what stays is first written aside under a label of its own,
        and from there back: whatever is cut short is finished when `erase` is called again.
        """
        await self._erase(site, device, "device", start_ns, end_ns)
        await self._erase(site, device, "beacon", start_ns, end_ns)

    async def _erase(self, site: str, device: str, label: str, start_ns: int, end_ns: int) -> None:
        own = _selector(site, device, ".*", label=label)
        aside = _selector(site, device, ".*", label=label, copies=True)
        stays: dict[str, tuple[dict[str, str], dict[int, float]]] = {}
        for part in [*await self._export(own, None, None), *await self._export(aside, None, None)]:
            part.metric.pop(COPY, None)
            key = json.encode(sorted(part.metric.items())).decode()
            _, samples = stays.setdefault(key, (part.metric, {}))
            inside = range(start_ns // MS_NS, end_ns // MS_NS)
            samples |= {ms: value for ms, value in _samples(part, None, None) if ms not in inside}
        await self._import(stays.values(), {COPY: "1"})
        await self._delete(own)
        await self._import(stays.values(), {})
        await self._delete(aside)

    async def size_bytes(self) -> int | None:
        """Return what the server says that its data take."""
        content, _ = await self._client.request("GET", "/metrics", {})
        sizes = [line for line in content.decode().splitlines() if line.startswith("vm_data_size_bytes")]
        return sum(int(float(line.rpartition(" ")[2])) for line in sizes)

    async def _export(self, selector: str, start_ns: int | None, end_ns: int | None) -> list[_Exported]:
        query = {"match[]": selector, "reduce_mem_usage": "1"}
        query["start"] = "0" if start_ns is None else f"{start_ns // MS_NS / 1000:.3f}"
        if end_ns is not None:
            query["end"] = f"{end_ns // MS_NS / 1000:.3f}"
        content, _ = await self._client.request("GET", "/api/v1/export", query)
        return await asyncio.to_thread(lambda: [_exported.decode(line) for line in content.splitlines()])

    async def _import(
        self, series: Iterable[tuple[dict[str, str], dict[int, float]]], labels: dict[str, str]
    ) -> None:
        lines = [
            json.encode(_Exported(metric | labels, list(samples.values()), list(samples)))
            for metric, samples in series
            if samples
        ]
        if lines:
            await self._client.request("POST", "/api/v1/import", {}, b"\n".join(lines))
        await self._client.request("GET", "/internal/force_flush", {})

    async def _delete(self, selector: str) -> None:
        await self._client.request("POST", "/api/v1/admin/tsdb/delete_series", {"match[]": selector})


def _selector(
    site: str, device: str | None, names: str, *, label: str = "device", copies: bool = False
) -> str:
    """Return the series of a device, or of a whole site, whose names match, or what is kept aside of them."""
    aside = f'{COPY}="1"' if copies else f'{COPY}=""'
    of = "" if device is None else f"{label}={_quoted(device)},"
    return f'{{__name__=~"{names}",site={_quoted(site)},{of}{aside}}}'


def _quoted(name: str) -> str:
    return json.encode(encode(name)).decode()


def _samples(part: _Exported, start_ns: int | None, end_ns: int | None) -> Iterable[tuple[int, Any]]:
    """Return (ms, value) with start <= ms < end; the server includes the end."""
    low = -(2**63) if start_ns is None else start_ns // MS_NS
    high = 2**63 if end_ns is None else end_ns // MS_NS
    for ms, value in zip(part.timestamps, part.values, strict=True):
        if value is not None and low <= ms < high:
            yield ms, value

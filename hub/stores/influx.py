"""InfluxDB: written through /api/v2/write by influxdb-client, read with InfluxQL through /query.

InfluxDB 1.x, 2.x and 3 share both but for what is said at each method; 2.x wants a mapping of the database
name to the bucket (it makes one of the bucket's own name itself).
"""

import asyncio
import gzip
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from msgspec import DecodeError, Struct, json
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator

from hub.model import Batch, Reading, Waveform, ZoneChange
from hub.stores import influxql
from hub.stores.lines import Lines, decode, encode, reading_from, waveform_from, zone_change_from
from hub.stores.newest import holds
from hub.stores.rollups import DAY_NS, MINUTE_NS, roll_up, step_ns
from hub.stores.store import Retention, StoreRefused, StoreUnavailable, Total, TrendPoint

if TYPE_CHECKING:
    import aiohttp

_PAST_RETENTION = "points beyond retention policy"
_CONFIGURATION = {401: "the token or password", 403: "the rights of the token or user", 404: "bucket and url"}
"""Answers to a write that say nothing about the batch: it stays in the journal until a person has acted."""


class InfluxSettings(BaseModel):
    """Where InfluxDB is and how to get in."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: HttpUrl
    bucket: str = Field(min_length=1)
    """The bucket of 2.x, the database of 1.x and 3; one of 1.x is created where it is missing."""
    org: str = ""
    """2.x only."""
    token: SecretStr | None = None
    """2.x and 3."""
    user: str | None = None
    """1.x with authentication, together with `password`."""
    password: SecretStr | None = None
    name: str = Field(default="influxdb", pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    """Names this store's cursor in the journal: a different one for each store."""
    gzip: bool = True
    timeout_s: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together: give both or none")
        if self.token is not None and self.user is not None:
            raise ValueError("give a token (2.x, 3) or user and password (1.x), not both")
        return self


class Series(Struct, frozen=True):
    """A part of an InfluxQL answer."""

    columns: list[str]
    values: list[list[Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the rows by column, without what is null."""
        return [
            {column: value for column, value in zip(self.columns, row, strict=True) if value is not None}
            for row in self.values
        ]


class InfluxClient:
    """The connection: lines out, InfluxQL and HTTP in. Maps every failure to a StoreError.

    `start` connects to nothing; sessions are made in the running loop.
    """

    def __init__(self, settings: InfluxSettings) -> None:
        self.url = str(settings.url).rstrip("/")
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._client: Any = None  # influxdb-client has no types
        self._writer: Any = None

    async def start(self) -> None:
        """Make the sessions."""
        if self._session is not None:
            return
        # Both take 60 MB: only a hub that writes to such a server pays for them.
        import aiohttp
        from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
        from influxdb_client.service.write_service import WriteService

        settings = self._settings
        token, headers, auth = "", {}, None
        if settings.token is not None:
            token = settings.token.get_secret_value()
            headers["Authorization"] = f"Token {token}"
        elif settings.user is not None and settings.password is not None:
            token = f"{settings.user}:{settings.password.get_secret_value()}"
            auth = aiohttp.BasicAuth(settings.user, settings.password.get_secret_value())
        timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
        self._session = aiohttp.ClientSession(headers=headers, auth=auth, timeout=timeout)
        self._client = InfluxDBClientAsync(
            url=self.url, token=token, org=settings.org, timeout=round(settings.timeout_s * 1000)
        )
        self._writer = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]

    async def stop(self) -> None:
        """Close the sessions."""
        session, client = self._session, self._client
        self._session = self._client = self._writer = None
        if client is not None:
            await client.close()
        if session is not None:
            await session.close()

    async def write(self, lines: Sequence[str]) -> None:
        """Send lines with times in nanoseconds.

        Raises StoreRefused where some of them will never be taken; the others are stored.
        """
        if self._writer is None:
            raise StoreUnavailable(f"{self._settings.name} is not started")
        body = await asyncio.to_thread(self._body, lines)
        import aiohttp
        from influxdb_client.rest import ApiException

        encoding = {"content_encoding": "gzip"} if self._settings.gzip else {}
        try:
            await self._writer.post_write_async(
                self._settings.org,
                self._settings.bucket,
                body,
                precision="ns",
                content_type="text/plain; charset=utf-8",
                **encoding,
            )
        except ApiException as error:
            self._judge(error.status or 0, _message(error.body), error.headers or {}, writing=True)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _body(self, lines: Sequence[str]) -> bytes:
        body = "\n".join(lines).encode()
        return gzip.compress(body, 1) if self._settings.gzip else body

    async def request(
        self, method: str, path: str, query: Mapping[str, str], data: bytes | Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return body and headers of an answer."""
        if self._session is None:
            raise StoreUnavailable(f"{self._settings.name} is not started")
        import aiohttp

        try:
            async with self._session.request(method, self.url + path, params=query, data=data) as response:
                content = await response.read()
                if response.status >= 400:
                    self._judge(response.status, _message(content), response.headers, writing=False)
                return content, response.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def query(self, *statements: str, change: bool = False) -> list[list[Series]]:
        """Run InfluxQL and return the series of each statement; times are nanoseconds."""
        options = {"db": self._settings.bucket, "epoch": "ns"}
        text = {"q": ";".join(statements)}
        if change:
            content, _ = await self.request("POST", "/query", options, text)
        else:
            content, _ = await self.request("GET", "/query", options | text)
        try:
            answer = json.decode(content)
        except DecodeError as error:
            raise StoreUnavailable(f"{self.url}/query gave no JSON; is it InfluxDB?") from error
        found = []
        for result in answer.get("results", ()):
            if "error" in result:
                raise StoreRefused(f"{self._settings.name}: {result['error']}")
            found.append([Series(one["columns"], one["values"]) for one in result.get("series", ())])
        return found

    def _judge(self, status: int, message: str, headers: Mapping[str, str], *, writing: bool) -> None:
        """Raise what an error status means; return where it means nothing to worry about."""
        name = f"{self._settings.name} at {self.url}"
        if status in _CONFIGURATION:
            text = f"{name} answered {status} ({message}); check {_CONFIGURATION[status]} in the settings"
            raise StoreUnavailable(text) if writing else StoreRefused(text)
        if status == 429 or status >= 500 or status < 400:
            raise StoreUnavailable(
                f"{name} answered {status} ({message})", _seconds(headers.get("Retry-After"))
            )
        if writing and _PAST_RETENTION in message:
            return  # older than the database keeps: its time is over there as well
        raise StoreRefused(f"{name} answered {status} ({message})")

    def _unreachable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._settings.name} at {self.url} can't be reached ({type(error).__name__})"
        )


def _message(body: object) -> str:
    """Return the error text of an answer, without the lines that it quotes: they are patient data."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        answer = json.decode(text)
        text = str(answer.get("error") or answer.get("message") or "") if isinstance(answer, dict) else text
    except DecodeError:
        pass
    head, _, _ = text.partition("unable to parse")
    return (head.strip() or "unable to parse a line")[:300] if text else "no reason given"


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, min(300.0, float(retry_after or 0)))
    except ValueError:
        return 0.0


class InfluxStore:
    """Time series in InfluxDB; see `lines` for measurements, tags and fields.

    Writing the same reading again overwrites it with the same: a point is its tags and its nanosecond.
    Durable when `write` returns: InfluxDB 1.x and 2.x sync their write-ahead log first.
    `vitals_1m` has the minutes of readings: count, sum, minimum and maximum a parameter. They are made where
    the server can do it (`SELECT … INTO`, 1.x); elsewhere a bucket's own retention and tasks take its place,
    and `expire` does nothing. Only 1.6 was tried here; 2.7 and 3 could not be run.
    """

    settle_s = 0.0

    def __init__(self, settings: InfluxSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._client = InfluxClient(settings)
        self._lines = Lines()
        self._version = ""
        self._gone_ns = self._rolled_ns = 0

    async def start(self) -> None:
        """Connect, create a database of 1.x, and see that the settings let the hub in."""
        try:
            await self._client.start()
            _, headers = await self._client.request("GET", "/ping", {})
            self._version = headers.get("X-Influxdb-Version", "")
            if self._first:
                bucket = influxql.identifier(self._settings.bucket)
                await self._client.query(f"CREATE DATABASE {bucket}", change=True)
            self._gone_ns, self._rolled_ns = await self._progress()
        except BaseException:
            await self.stop()
            raise

    async def _progress(self) -> tuple[int, int]:
        """Return before what time readings are gone, and up to what time they are rolled up (ns)."""
        for series in (await self._client.query(influxql.PROGRESS))[0]:
            if series.columns != ["time", "gone_ns", "rolled_ns"]:
                raise StoreRefused(
                    f"{self._client.url} doesn't answer as InfluxDB does; for VictoriaMetrics set the kind"
                    ' "victoriametrics"'
                )
            _, gone_ns, rolled_ns = series.values[0]
            return gone_ns, rolled_ns
        return 0, 0

    @property
    def _first(self) -> bool:
        """Tell whether the server is a 1.x."""
        return self._version.lstrip("v").startswith("1.")

    async def stop(self) -> None:
        """Close the sessions."""
        await self._client.stop()

    async def position(self) -> int | None:
        """Return None: the journal keeps the cursor."""
        return None

    async def write(self, rows: Sequence[tuple[int, Batch]]) -> None:
        """Write a line an item in one request; StoreRefused where InfluxDB took only some of them."""
        lines = await asyncio.to_thread(self._lines.render, [batch for _, batch in rows])
        if lines:
            await self._client.write(lines)

    async def readings(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings with start_ns <= time_ns < end_ns, oldest first, at most `limit`."""
        return await self._readings(influxql.readings(site, device, start_ns, end_ns, limit))

    async def site_readings(
        self, site: str, start_ns: int, end_ns: int, limit: int = 10_000
    ) -> list[Reading]:
        """Return readings of every device of a site with start_ns <= time_ns < end_ns, oldest first."""
        return await self._readings(influxql.site_readings(site, start_ns, end_ns, limit))

    async def _readings(self, statement: str) -> list[Reading]:
        [series] = await self._client.query(statement)
        found = []
        for one in series:
            for row in one.rows:
                time_ns, channel = row.pop("time"), row.pop("channel", None)
                site, device = decode(row.pop("site")), decode(row.pop("device"))
                found.append(reading_from(site, device, channel, time_ns, row))
        return found

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
        if start_ns >= end_ns:
            return []
        [series] = await self._client.query(
            influxql.newest(site, device, start_ns, end_ns, limit, parameters)
        )
        times = list(dict.fromkeys(row["time"] for one in series for row in one.rows))
        if not times:
            return []
        if len(times) <= influxql.FEW:
            parts = [await self.readings(site, device, at_ns, at_ns + 1, limit) for at_ns in times]
            found = [reading for part in parts for reading in part]
        else:
            found = (await self.readings(site, device, times[-1], times[0] + 1, influxql.ALL))[::-1]
        return [reading for reading in found if holds(reading, parameters)][:limit]

    async def trend(
        self, site: str, device: str, parameter: str, start_ns: int, end_ns: int, points: int
    ) -> list[TrendPoint]:
        """Return at most `points` steps; of minutes where the readings are past their retention."""
        if start_ns >= end_ns:
            return []
        step = step_ns(start_ns, end_ns, points)
        split_ns = min(max(start_ns, self._gone_ns), end_ns)
        raw = influxql.within(site, device, split_ns, end_ns)
        minutes = influxql.within(site, device, start_ns, split_ns)
        answers = await self._client.query(
            influxql.trend(raw, parameter, start_ns, step),
            influxql.trend_of_minutes(minutes, parameter, start_ns, step),
        )
        rows = [row for series in answers for one in series for row in one.rows if row.get("count")]
        return roll_up(
            ((max(row["time"], start_ns), row["count"], row["sum"], row["min"], row["max"]) for row in rows),
            start_ns,
            step,
        )

    async def totals(self, site: str, device: str) -> dict[str, Total]:
        """Return count and sum of every numeric parameter of a device, over all time."""
        answers = await self._client.query(
            influxql.totals(site, device), influxql.totals_of_minutes(site, device, self._gone_ns)
        )
        raw, gone = (series[0].rows[0] if series else {} for series in answers)
        found: dict[str, Total] = {}
        for row, count, total in ((raw, "count_", "sum_"), (gone, "sum_count_", "sum_sum_")):
            for column, value in row.items():
                name = column.removeprefix(total)
                if column.startswith(total) and "__" not in name and f"{count}{name}" in row:
                    before = found.get(name, Total(0, 0.0))
                    found[name] = Total(before.count + int(row[f"{count}{name}"]), before.sum + value)
        return found

    async def waveforms(
        self, site: str, device: str, waveform: str, start_ns: int, end_ns: int
    ) -> list[Waveform]:
        """Return the windows that begin in start_ns <= time_ns < end_ns, oldest first."""
        [series] = await self._client.query(influxql.waveforms(site, device, waveform, start_ns, end_ns))
        return [waveform_from(site, device, waveform, row["time"], row) for one in series for row in one.rows]

    async def zone_changes(
        self, site: str, device: str, start_ns: int, end_ns: int, limit: int
    ) -> list[ZoneChange]:
        """Return the newest changes of a beacon within a time, newest first."""
        [series] = await self._client.query(influxql.zone_changes(site, device, start_ns, end_ns, limit))
        rows = [row for one in series for row in one.rows]
        return [
            zone_change_from(site, device, row["time"], row, row["time"] + row["meta__received"])
            for row in rows
        ]

    async def expire(self, now_ns: int, retention: Retention) -> None:
        """Roll up what is older than a day, and once more what is about to go; then remove it (1.x)."""
        if not self._first:
            return
        gone_ns = (now_ns - int(retention.readings_days * DAY_NS)) // MINUTE_NS * MINUTE_NS
        gone_ns = max(gone_ns, self._gone_ns)
        rolled_ns = max((now_ns - DAY_NS) // MINUTE_NS * MINUTE_NS, self._rolled_ns)
        await self._roll_up(max(gone_ns, self._rolled_ns - DAY_NS), rolled_ns)
        await self._roll_up(self._gone_ns, gone_ns)  # with what came late
        await self._client.write([f"hub_retention gone_ns={gone_ns}i,rolled_ns={rolled_ns}i {now_ns}"])
        self._gone_ns, self._rolled_ns = gone_ns, rolled_ns
        cuts = dict.fromkeys(influxql.MEASUREMENTS, gone_ns)
        cuts["waveforms"] = now_ns - int(retention.waveforms_days * DAY_NS)
        cuts["vitals_1m"] = now_ns - int(retention.trends_days * DAY_NS)
        for measurement, cut_ns in cuts.items():
            await self._client.query(influxql.delete_before(measurement, cut_ns), change=True)

    async def _roll_up(self, start_ns: int, end_ns: int) -> None:
        """Make the minutes of [start_ns, end_ns), a day a statement; making them again changes nothing."""
        [first] = await self._client.query(influxql.first_line(start_ns, end_ns))
        if not first:
            return
        start_ns = first[0].rows[0]["time"] // MINUTE_NS * MINUTE_NS
        while start_ns < end_ns:
            until_ns = min(start_ns + DAY_NS, end_ns)
            await self._client.query(influxql.roll_up(start_ns, until_ns), change=True)
            start_ns = until_ns

    async def erase(self, site: str, device: str, start_ns: int, end_ns: int) -> None:
        """Remove everything of a device with start_ns <= time_ns < end_ns.

        At the ends a trend's minute goes as a whole where its readings are past their retention.
        """
        if not self._first:
            await self._erase_by_api(site, device, start_ns, end_ns)
            return
        first_ns, last_ns = start_ns // MINUTE_NS * MINUTE_NS, -(-end_ns // MINUTE_NS) * MINUTE_NS
        await self._client.query(*influxql.erase(site, device, start_ns, end_ns), change=True)
        for edge_ns in {first_ns, last_ns - MINUTE_NS}:
            await self._roll_up(edge_ns, edge_ns + MINUTE_NS)

    async def _erase_by_api(self, site: str, device: str, start_ns: int, end_ns: int) -> None:
        """Remove by /api/v2/delete (2.x), whose range has both ends included."""
        of = [(measurement, "device") for measurement in influxql.MEASUREMENTS]
        for measurement, tag in [*of, ("sighting", "beacon")]:
            predicate = (
                f'_measurement="{measurement}" AND site={json.encode(encode(site)).decode()}'
                f" AND {tag}={json.encode(encode(device)).decode()}"
            )
            body = {"start": _rfc3339(start_ns), "stop": _rfc3339(end_ns - 1), "predicate": predicate}
            where = {"bucket": self._settings.bucket, "org": self._settings.org}
            await self._client.request("POST", "/api/v2/delete", where, json.encode(body))

    async def size_bytes(self) -> int | None:
        """Return None: InfluxDB doesn't tell."""
        return None


def _rfc3339(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % 1_000_000_000:09d}Z"

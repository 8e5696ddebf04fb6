"""What is InfluxDB's own: partial writes, answers that a batch isn't to blame for, 2.x's way to delete."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from hub.journal import Journal
from hub.model import Batch, Reading
from hub.stores.drain import Drain
from hub.stores.influx import InfluxSettings, InfluxStore
from hub.stores.store import StoreRefused, StoreUnavailable
from tests.databases import WriteShim, influxd
from tests.servers import free_port

pytestmark = pytest.mark.integration

TIME_NS = 1_790_000_000_000_000_000


def reading(seq: int, time_ns: int | None = None, **values: float | str) -> Reading:
    time_ns = TIME_NS + seq * 1_000_000_000 if time_ns is None else time_ns
    return Reading("north", "d", "observations", time_ns, 0, time_ns, seq, values or {"heart_rate": 72.0})


def batch(*readings: Reading) -> Batch:
    return Batch(1, TIME_NS, list(readings), [], [], [], [], [])


class Stub:
    """A server that gives one answer to every write and keeps what it was sent."""

    def __init__(self) -> None:
        self.answer = web.Response(status=204)
        self.version = "v2.7.11"
        self.requests: list[tuple[str, dict[str, str], bytes, dict[str, str]]] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, dict(request.query), await request.read(), dict(request.headers)))
        if request.path == "/ping":
            return web.Response(status=204, headers={"X-Influxdb-Version": self.version})
        if request.path == "/query":
            return web.json_response({"results": [{}]})
        answer = self.answer
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    server = Stub()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def shim(tmp_path: Path) -> AsyncIterator[WriteShim]:
    server = influxd(tmp_path)
    server.start()
    front = WriteShim(server.url)
    await front.start()
    yield front
    await front.stop()
    server.stop()


def store_at(url: str, **settings: object) -> InfluxStore:
    return InfluxStore(InfluxSettings(url=url, bucket="wards", **settings))  # type: ignore[arg-type]  # pydantic parses them


async def test_one_bad_line_loses_nothing_but_itself(shim: WriteShim, tmp_path: Path) -> None:
    store = store_at(shim.url)
    await store.start()
    await store._client.write(
        [f"vitals,device=x,site=y old_parameter=1i {TIME_NS}"]
    )  # someone fixed another type
    with pytest.raises(StoreRefused, match="field type conflict"):
        await store.write([(1, batch(reading(1), reading(2, old_parameter=1.5)))])
    journal = Journal(tmp_path / "journal.db")
    await journal.start()
    good = [reading(n) for n in range(10, 60)]
    last = await journal.append(batch(*good[:25], reading(5000, old_parameter=1.5), *good[25:]))
    drain = Drain(journal, store, linger_s=0)
    await drain._connect()
    await drain._step()
    assert drain.cursor == last
    found = await store.readings("north", "d", TIME_NS + 10_000_000_000, 2**62)
    rejected = await journal.rejected()
    assert [one.seq for one in found] == [one.seq for one in good]
    assert len(rejected) == 1
    assert "field type conflict" in rejected[0].rejection.reason
    await store.stop()
    await journal.stop()


async def test_what_is_older_than_the_database_keeps_is_no_fault(shim: WriteShim) -> None:
    store = store_at(shim.url)
    await store.start()
    shorter = 'ALTER RETENTION POLICY "autogen" ON "wards" DURATION 2d SHARD DURATION 1h'
    await store._client.query(shorter, change=True)
    await store.write([(1, batch(reading(1, time_ns=1_000_000_000_000_000_000)))])
    await store.stop()


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_an_answer_about_the_settings_keeps_the_batch_and_tells_what_to_check(
    stub: Stub, status: int
) -> None:
    store = store_at(stub.url)
    await store.start()
    stub.answer = web.Response(status=status, body=b'{"message":"unauthorized access"}')
    with pytest.raises(StoreUnavailable, match=rf"answered {status} \(unauthorized access\); check"):
        await store.write([(1, batch(reading(1)))])
    await store.stop()


async def test_an_overloaded_server_says_when_to_come_again(stub: Stub) -> None:
    store = store_at(stub.url)
    await store.start()
    stub.answer = web.Response(status=429, headers={"Retry-After": "17"})
    with pytest.raises(StoreUnavailable) as told:
        await store.write([(1, batch(reading(1)))])
    assert told.value.retry_after_s == 17
    await store.stop()


async def test_a_quoted_line_stays_out_of_the_reason(stub: Stub) -> None:
    store = store_at(stub.url)
    await store.start()
    stub.answer = web.Response(
        status=400,
        body=json.dumps({"message": "unable to parse 'vitals,device=bed7 heart_rate=72': x"}).encode(),
    )
    with pytest.raises(StoreRefused) as told:
        await store.write([(1, batch(reading(1)))])
    assert "bed7" not in str(told.value)
    await store.stop()


async def test_version_2_is_written_with_token_organisation_and_gzip_and_erased_by_its_own_api(
    stub: Stub,
) -> None:
    store = store_at(stub.url, token=SecretStr("s3cret"), org="hospital")
    await store.start()
    await store.write([(1, batch(reading(1)))])
    path, query, body, headers = stub.requests[-1]
    assert (path, query) == ("/api/v2/write", {"org": "hospital", "bucket": "wards", "precision": "ns"})
    assert headers["Authorization"] == "Token s3cret"
    assert headers["Content-Encoding"] == "gzip"
    assert body.startswith(b"vitals,device=d,site=north heart_rate=72.0")  # the stub has unpacked it
    written = len(stub.requests)
    await store.erase("north", 'a"b', 1_000_000_000, 3_000_000_001)
    predicates = set()
    for path, query, body, _ in stub.requests[written:]:
        assert (path, query) == ("/api/v2/delete", {"org": "hospital", "bucket": "wards"})
        told = json.loads(body)
        assert (told["start"], told["stop"]) == (
            "1970-01-01T00:00:01.000000000Z",
            "1970-01-01T00:00:03.000000000Z",
        )
        predicates.add(told["predicate"])
    assert r'_measurement="vitals" AND site="north" AND device="a\"b"' in predicates
    assert r'_measurement="sighting" AND site="north" AND beacon="a\"b"' in predicates, "heard by gateways"
    before = len(stub.requests)
    await store.expire(TIME_NS, retention=None)  # type: ignore[arg-type]  # not looked at: its buckets have their own
    assert len(stub.requests) == before
    await store.stop()


def test_settings_that_contradict_each_other_are_told() -> None:
    with pytest.raises(ValidationError, match="go together"):
        InfluxSettings(url="http://x", bucket="b", user="u")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="not both"):
        InfluxSettings(url="http://x", bucket="b", user="u", password="p", token="t")  # type: ignore[arg-type]

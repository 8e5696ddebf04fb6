"""The load generator against real brokers, checked by an independent client (paho)."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device_sims.client import probe
from device_sims.errors import BrokerError, InputError
from device_sims.load.faults import Fault, parse_fault
from device_sims.load.outcome import Outcome
from device_sims.load.plan import FIRST_SEQ, WRONG_MS, Endpoint, LoadPlan
from device_sims.load.run import LoadRun, check_limits
from device_sims.target import parse_target
from tests.certificates import Authority
from tests.servers import Mosquitto, embedded_broker, free_port, mosquitto
from tests.sims_watcher import Watcher

pytestmark = pytest.mark.integration


class Quiet:
    """Nobody watches; `stop_at` a phase may do something."""

    def phase(self, what: str, total: float) -> None:
        pass

    def at(self, done: float, note: str = "") -> None:
        pass


def plan(*ports: int, **changes) -> LoadPlan:
    settings = {"devices": 40, "rate_hz": 10.0, "duration_s": 1.5, "ramp_per_s": 1000.0} | changes
    return LoadPlan(tuple(Endpoint(f"mqtt://127.0.0.1:{port}") for port in ports), **settings)


def run(load: LoadPlan, *faults: Fault, **settings) -> Outcome:
    return LoadRun(load, Quiet(), faults=list(faults), drain_s=30, **settings).run()


def observed(watcher: Watcher, load: LoadPlan, j: int) -> list[int]:
    """The rounds of a device that arrived, in the order of arrival."""
    topic = f"wards/v1/main/load/{load.device_name(j)}/observations"
    return [body["seq"] - FIRST_SEQ for body in watcher.of(topic)]


def load_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_sims.cli", "load", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_message_of_the_schedule_arrives_once_and_in_order(tmp_path: Path, workers: int) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        load = plan(server.port, workers=workers)
        result = run(load).result
        watcher.wait_for("/observations", 600)
        watcher.stop()
    assert result["published"] == result["acknowledged"] == 40 * 15
    assert result["connected"] == 40
    assert result["actual_share"] > 0.9
    for j in range(40):
        assert observed(watcher, load, j) == list(range(15))
    bodies = watcher.of("/load-00003/observations")
    assert [body["values"] for body in bodies] == [load.values_of(load.variant(3, n)) for n in range(15)]
    assert {b["time"] - bodies[0]["time"] for b in bodies} == set(range(0, 1500, 100))


async def test_the_embedded_broker_acknowledges_all(tmp_path: Path) -> None:
    async with embedded_broker(tmp_path) as server:
        load = plan(server.port, values=12)
        result = (await asyncio.to_thread(run, load)).result
    assert result["published"] == result["acknowledged"] == 600
    assert result["strange_packets"] == 0
    assert result["puback_p50_ms"] <= result["puback_p99_ms"] <= result["puback_max_ms"]


def test_devices_spread_over_brokers_and_source_addresses(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with mosquitto(tmp_path / "a", persistence=False) as a, mosquitto(tmp_path / "b", persistence=False) as b:
        watchers = [Watcher(a.port), Watcher(b.port)]
        load = plan(a.port, b.port, sources=3)
        assert run(load).result["acknowledged"] == 600
        for watcher in watchers:
            assert len(watcher.wait_for("/observations", 300)) == 300
            watcher.stop()
    assert observed(watchers[0], load, 2) == observed(watchers[1], load, 3) == list(range(15))


def test_births_and_wills_are_told(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        load = plan(server.port, devices=10)
        run(load, Fault("will", 0.5, 0.2, 1.0))
        states = [status["state"] for status in watcher.wait_for("/load-00000/status", 3)]
        watcher.stop()
    assert states == ["online", "offline", "online"]


def test_a_storm_of_reconnects_loses_nothing(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        load = plan(server.port)
        result = run(load, Fault("storm", 0.4), Fault("drop", 1.0, share=0.5)).result
        watcher.wait_for("/observations", 600)
        watcher.stop()
    assert result["published"] == result["acknowledged"] == 600
    for j in range(40):
        assert set(observed(watcher, load, j)) == set(range(15))


def test_a_killed_broker_costs_no_acknowledged_message_of_the_generator(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        restart = threading.Timer(1.8, _kill_and_start, (server,))
        restart.start()
        result = run(plan(server.port, duration_s=3.0)).result
        restart.join()
    assert result["reconnects"] == 40
    assert result["published"] == result["acknowledged"] == 1200
    assert result["held"] > 0


def _kill_and_start(server: Mosquitto) -> None:
    server.kill()
    time.sleep(0.5)
    server.start()


def test_silent_devices_send_their_backlog_with_its_own_times(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        load = plan(server.port, devices=5)
        result = run(load, Fault("silent", 0.5, 0.5, 1.0)).result
        watcher.wait_for("/observations", 75)
        watcher.stop()
    assert result["acknowledged"] == 75
    assert result["held"] > 0
    bodies = watcher.of("/load-00002/observations")
    assert [body["time"] - bodies[0]["time"] for body in bodies] == list(range(0, 1500, 100))


def test_a_slow_network_delays_its_devices_for_its_time_and_loses_nothing(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        load = plan(server.port, duration_s=4.0)
        outcome = run(load, parse_fault("slow@1.5+1:0.25,600ms"))
        watcher.wait_for("/observations", 1600)
        watcher.stop()
    assert outcome.result["published"] == outcome.result["acknowledged"] == 1600
    assert outcome.result["reconnects"] == 0
    for j in range(40):
        assert observed(watcher, load, j) == list(range(40))
    # Twice the latency, there and back; nobody waited so long before, and most devices never.
    assert outcome.seconds[0].p99_ms < 1200 <= outcome.result["puback_p99_ms"]
    assert outcome.result["puback_p50_ms"] < 1200


def test_a_network_that_swallows_all_lets_it_through_later_under_tls_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert_file, key_file = authority.sign("localhost")
    lines = (f"cafile {authority.file}", f"certfile {cert_file}", f"keyfile {key_file}")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        mosquitto(tmp_path / "a", persistence=False) as a,
        mosquitto(tmp_path / "b", *lines, "allow_anonymous true", persistence=False) as b,
    ):
        # The certificate names the broker's host: it must fit although a proxy stands at 127.0.0.1.
        secret = Endpoint(f"mqtts://localhost:{b.port}", ca_file=str(authority.file))
        load = replace(plan(a.port, duration_s=3.0), endpoints=(*plan(a.port).endpoints, secret))
        watcher = Watcher(a.port)
        outcome = run(load, parse_fault("hole@0.5+1.5:0.5"), parse_fault("slow@1+1:1,50ms"))
        watcher.wait_for("/observations", 600)
        watcher.stop()
    assert outcome.result["published"] == outcome.result["acknowledged"] == 1200
    assert outcome.result["reconnects"] == outcome.result["refused"] == 0
    for j in range(0, 40, 2):
        assert observed(watcher, load, j) == list(range(30))
    assert outcome.result["puback_max_ms"] > 1000
    assert outcome.seconds[0].acknowledged < outcome.seconds[0].sent


def test_a_wrong_clock_is_wrong_in_every_message_and_again_when_it_is_sent_again(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        load = plan(server.port, devices=4, wrong_clocks=0.5)
        run(load, Fault("storm", 0.5), Fault("duplicate", 0.6, 0.5, 1.0))
        watcher.wait_for("/observations", 60)
        watcher.stop()
    bodies = {j: watcher.of(f"/load-{j:05d}/observations") for j in range(4)}
    first = {j: min(body["time"] for body in bodies[j]) - load.time_ms(j, 0, 0) for j in range(4)}
    assert [first[j] - first[0] for j in range(4)] == [0, -WRONG_MS, 0, WRONG_MS]
    for j in range(4):
        times = {body["seq"]: body["time"] for body in bodies[j]}
        assert all(body["time"] == times[body["seq"]] for body in bodies[j])


def test_duplicates_and_rubbish_come_beside_the_good_messages(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        counted: list[bytes] = []
        watcher = Watcher(server.port)
        load = plan(server.port, devices=20)
        result = run(load, Fault("duplicate", 0.5, 1.0, 1.0), Fault("malformed", 0.5, 1.0, 1.0)).result
        watcher.wait_for("/status", 20)
        time.sleep(0.5)
        watcher.stop()
        counted = [m.payload for m in watcher.messages if m.topic.endswith("/observations")]
    assert result["acknowledged"] == 300
    assert result["strange_packets"] == 0
    good = [body["seq"] for body in map(_parsed, counted) if body and body.get("seq", 0) >= FIRST_SEQ]
    assert len(good) > 300
    assert len(counted) - len(good) >= 20


def _parsed(payload: bytes) -> dict | None:
    try:
        body = json.loads(payload)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def test_qos_0_is_sent_and_nothing_is_awaited(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        result = run(plan(server.port, qos=0)).result
        watcher.wait_for("/observations", 600)
        watcher.stop()
    assert len(watcher.of("/observations")) == result["published"] == 600
    assert result["acknowledged"] is None
    assert result["puback_p99_ms"] is None


def test_at_qos_0_nothing_is_sent_again(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        watcher = Watcher(server.port)
        load = plan(server.port, qos=0)
        result = run(load, Fault("storm", 0.7)).result
        watcher.wait_for("/observations", 500)
        watcher.stop()
    assert result["published"] == 600
    assert result["reconnects"] == 0
    for j in range(40):
        rounds = observed(watcher, load, j)
        assert len(rounds) == len(set(rounds))


def test_the_command_writes_its_result_and_fails_what_is_not_met(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        where = ["--brokers", server.url, "--devices", 20, "--duration", 2, "--ramp", 1000]
        files = ["--json", tmp_path / "load.json", "--report", tmp_path / "load.html"]
        good = load_command(*where, *files, "--expect", "actual_share>0.5,connected=20")
        bad = load_command(*where, "--expect", "acknowledged>1000000")
        unmeasured = load_command(*where, "--expect", "lost=0")
    assert good.returncode == 0, good.stderr
    assert (bad.returncode, unmeasured.returncode) == (1, 1)
    assert "NOT MET: acknowledged>1e+06" in bad.stderr
    result = json.loads((tmp_path / "load.json").read_text())
    assert result["acknowledged"] == result["published"] == 40
    assert result["lost"] is None
    assert result["broker_rss_mb"] > 0
    assert "20 devices" in (tmp_path / "load.html").read_text()


def test_the_search_raises_the_rate_until_a_limit_breaks(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as server:
        where = ["--brokers", server.url, "--devices", 20, "--rate", 5, "--duration", 1, "--ramp", 1000]
        files = ["--json", tmp_path / "load.json", "--report", tmp_path / "load.html"]
        done = load_command(*where, *files, "--find-max", "--expect", "target_rate<150")
    assert done.returncode == 0, done.stderr
    assert 140 <= json.loads((tmp_path / "load.json").read_text())["target_rate"] < 150
    assert "broke target_rate" in (tmp_path / "load.html").read_text()


def test_what_can_not_work_is_told_before_the_run(tmp_path: Path) -> None:
    port = free_port()
    nowhere = load_command("--brokers", f"mqtt://127.0.0.1:{port}", "--devices", 5)
    hub = load_command("--hub", f"http://127.0.0.1:{port}", "--devices", 5)
    limits = load_command("--find-max", "--devices", 5)
    many = load_command("--devices", 150_000, "--workers", 1)
    far = load_command("--brokers", "mqtt://192.0.2.1", "--sources", 3)
    assert [done.returncode for done in (nowhere, hub, limits, many, far)] == [3, 2, 2, 2, 2]
    assert f"no broker at mqtt://127.0.0.1:{port}" in nowhere.stderr
    assert "--token-file" in hub.stderr
    assert "--expect" in limits.stderr
    assert "--workers" in many.stderr
    assert "--sources" in far.stderr
    for done in (nowhere, hub, limits, many, far):
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_refused_login_is_told_before_the_run(tmp_path: Path) -> None:
    with mosquitto(tmp_path, "allow_anonymous false", persistence=False) as server:
        refused = load_command("--brokers", server.url, "--devices", 5)
    assert refused.returncode == 3
    assert "--username" in refused.stderr


def test_enough_open_files_and_ports_are_asked_for() -> None:
    check_limits(plan(1883, devices=2000))
    check_limits(plan(1883, 1884, 1885, devices=48_000, workers=4))
    with pytest.raises(InputError, match="--workers"):
        check_limits(plan(1883, devices=10_000_000))
    with pytest.raises(InputError, match="--sources"):
        check_limits(plan(1883, devices=100_000, workers=50))
    check_limits(plan(1883, devices=100_000, workers=50, sources=5))
    with pytest.raises(InputError, match="--fault"):
        check_limits(plan(1883, devices=10_000_000, workers=50_000), [parse_fault("hole@1+1:0.5")])


@contextlib.contextmanager
def encrypted(directory: Path, *, trusted: Path | None = None) -> Iterator[tuple[Mosquitto, LoadPlan]]:
    """Run a Mosquitto with TLS; its plan trusts the authority of a file, the broker's own by default."""
    authority = Authority(directory)
    cert_file, key_file = authority.sign("localhost")
    lines = ("allow_anonymous true", f"certfile {cert_file}", f"keyfile {key_file}")
    with mosquitto(directory, *lines, "max_inflight_messages 0") as server:
        ca_file = str(trusted or authority.file)
        endpoint = Endpoint(f"mqtts://localhost:{server.port}", ca_file=ca_file)
        yield server, replace(plan(1), endpoints=(endpoint,))


def test_a_storm_of_reconnects_loses_nothing_under_tls(tmp_path: Path) -> None:
    with encrypted(tmp_path) as (_, load):
        outcome = run(load, Fault("storm", 0.4), Fault("drop", 1.0, share=0.5))
    assert outcome.result["published"] == outcome.result["acknowledged"] == 600
    assert outcome.result["strange_packets"] == 0
    assert outcome.refused == {}


def test_a_killed_broker_cuts_every_encrypted_connection_and_all_come_back(tmp_path: Path) -> None:
    with encrypted(tmp_path) as (server, load):
        restart = threading.Timer(1.8, _kill_and_start, (server,))
        restart.start()
        result = run(replace(load, duration_s=3.0)).result
        restart.join()
    assert result["reconnects"] == 40
    assert result["published"] == result["acknowledged"] == 1200
    assert result["held"] > 0


def test_a_broker_that_another_authority_signed_is_told_as_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_sims.load.run._CONNECT_PATIENCE_S", 2.0)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other").file
    with (
        encrypted(tmp_path, trusted=other) as (_, load),
        pytest.raises(BrokerError, match="TLS: CERTIFICATE_VERIFY_FAILED"),
    ):
        run(load)


def test_who_asks_for_tls_where_there_is_none_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_sims.load.run._CONNECT_PATIENCE_S", 2.0)
    authority = Authority(tmp_path)
    with mosquitto(tmp_path, persistence=False) as server:
        endpoint = Endpoint(f"mqtts://localhost:{server.port}", ca_file=str(authority.file))
        with pytest.raises(BrokerError, match=r"no device could connect: .*(TLS|reset|closed)"):
            run(replace(plan(1), endpoints=(endpoint,)))


async def test_every_connection_may_be_encrypted_and_show_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert_file, key_file = authority.sign("localhost")
    device_cert, device_key = authority.sign("devices")
    lines = (
        "allow_anonymous true",
        f"cafile {authority.file}",
        f"certfile {cert_file}",
        f"keyfile {key_file}",
        "require_certificate true",
    )
    with mosquitto(tmp_path, *lines, persistence=False) as server:
        url = f"mqtts://localhost:{server.port}"
        files = {"ca_file": authority.file, "cert_file": device_cert, "key_file": device_key}
        endpoint = Endpoint(url, **{name: str(file) for name, file in files.items()})
        result = (await asyncio.to_thread(run, replace(plan(1), endpoints=(endpoint,)))).result
        with pytest.raises(BrokerError):
            await probe(parse_target(url, ca_file=authority.file))
        with pytest.raises(BrokerError, match="--ca-file"):
            await probe(parse_target(url))
    assert result["published"] == result["acknowledged"] == 600
    assert result["strange_packets"] == 0

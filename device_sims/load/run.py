"""One load test from the first check to the reckoning."""

import resource
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from device_sims.errors import BrokerError, InputError, LostError
from device_sims.load.alarm_watch import AlarmWatch, judge
from device_sims.load.crew import Crew
from device_sims.load.faults import Fault, Timeline
from device_sims.load.hub_api import HubApi
from device_sims.load.network import Network, devices_through
from device_sims.load.outcome import KEYS, Outcome, Second
from device_sims.load.plan import LoadPlan
from device_sims.load.processes import ProgramWatch
from device_sims.load.reconcile import Reckoning, reconcile, wait_until_stored

_FILES_EACH = 64
"""File descriptors that a worker needs beside its connections."""
_CONNECT_PATIENCE_S = 30.0
_ANNOUNCED_PER_S = 2000
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_PORTS = 28_232


class Progress(Protocol):
    """Who is told how the test goes."""

    def phase(self, what: str, total: float) -> None:
        """Begin a phase."""

    def at(self, done: float, note: str = "") -> None:
        """Tell how far the phase is."""


class LoadRun:
    """A load test: `run` blocks until it is done."""

    def __init__(
        self,
        plan: LoadPlan,
        progress: Progress,
        *,
        faults: list[Fault] | None = None,
        open_hub: Callable[[], HubApi] | None = None,
        hub_pid: int | None = None,
        broker_pids: list[int] | None = None,
        drain_s: float = 60.0,
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._faults = faults or []
        self._timeline = Timeline(self._faults)
        self._open_hub = open_hub
        self._hub = ProgramWatch(hub_pid) if hub_pid else None
        self._brokers = [ProgramWatch(pid) for pid in broker_pids or []]
        self._drain_s = drain_s
        self._stopped = False

    def stop(self) -> None:
        """End the schedule now; the reckoning still comes."""
        self._stopped = True

    def run(self) -> Outcome:
        """Run the test. Raises BrokerError where nothing can be connected at all."""
        plan, progress = self._plan, self._progress
        check_limits(plan, self._faults)
        with Network(plan, self._faults) as network:
            crew = Crew(replace(plan, detours=network.detours))
            try:
                connect_s = self._connect(crew)
                connected = int(crew.total("connected"))
                alarms = None
                if self._open_hub is not None and plan.alarms:
                    alarms = AlarmWatch(self._open_hub(), plan.prefix)
                    alarms.start()
                announcing_ms = plan.devices * 1000 // _ANNOUNCED_PER_S if plan.births else 0
                start_ns = (time.time_ns() // 1_000_000 + 500 + announcing_ms) * 1_000_000
                outcome = Outcome(dict.fromkeys(KEYS))
                network.begin(start_ns)
                self._send(crew, start_ns, outcome)
                network.check()
                acknowledged, sent = self._accounts(crew)
            finally:
                crew.end()
                self._timeline.finish()
        if alarms is not None:
            alarms.stop()
            self._judge_alarms(outcome, alarms, start_ns // 1_000_000, sent)
        if self._open_hub is not None:
            self._reckon(outcome, start_ns // 1_000_000, acknowledged, sent, self._open_hub)
        self._conclude(outcome, crew, connect_s, connected, acknowledged, sent)
        progress.phase("done", 1)
        return outcome

    def _connect(self, crew: Crew) -> float:
        plan = self._plan
        self._progress.phase("connecting", plan.devices)
        begun = time.monotonic()
        patience = plan.devices / plan.ramp_per_s + _CONNECT_PATIENCE_S
        crew.order("connect")
        while crew.total("connected") < plan.devices:
            crew.listen(0.2)
            self._progress.at(crew.total("connected"))
            late = time.monotonic() - begun > patience
            if late or self._stopped:
                if not crew.total("connected"):
                    reasons = ", ".join(sorted(crew.refused())) or "nobody answers"
                    raise BrokerError(f"no device could connect: {reasons}; check --brokers and the login")
                break
        return time.monotonic() - begun

    def _send(self, crew: Crew, start_ns: int, outcome: Outcome) -> None:
        plan = self._plan
        self._progress.phase("sending", plan.duration_s)
        crew.interval.clear()
        for program in self._programs():
            program.look()
        crew.order("begin", start_ns)
        start = time.monotonic() + (start_ns - time.time_ns()) / 1e9
        deadline = plan.duration_s + self._drain_s
        before = {"sent": 0.0, "acknowledged": 0.0, "cpu_s": 0.0, "hub": 0.0, "broker": 0.0, "at": 0.0}
        while True:
            for order, argument in self._timeline.due(time.monotonic() - start):
                crew.order(order, argument)
            crew.listen(0.2)
            elapsed = time.monotonic() - start
            if crew.least("elapsed_s") - before["at"] >= 0.9:
                outcome.seconds.append(self._second(crew, before))
                outcome.latency.add(crew.interval.sparse())
                crew.interval.clear()
            self._progress.at(
                min(elapsed, plan.duration_s), f"{crew.total('acknowledged'):,.0f} acknowledged"
            )
            if self._stopped or elapsed > deadline or (elapsed > plan.duration_s and crew.drained):
                break
        outcome.result["drain_s"] = round(max(elapsed - plan.duration_s, 0.0), 3)

    def _second(self, crew: Crew, before: dict[str, float]) -> Second:
        """Draw up one second for the plots; `before` keeps the counts of the last one."""
        elapsed = crew.least("elapsed_s")
        now = {key: crew.total(key) for key in ("sent", "acknowledged", "cpu_s")} | {"at": elapsed}
        passed = elapsed - before["at"]
        second = Second(
            at_s=round(elapsed, 2),
            sent=round((now["sent"] - before["sent"]) / passed),
            acknowledged=round((now["acknowledged"] - before["acknowledged"]) / passed),
            connected=int(crew.total("connected")),
            p50_ms=crew.interval.percentile_ms(50),
            p99_ms=crew.interval.percentile_ms(99),
            load_cpu=round((now["cpu_s"] - before["cpu_s"]) / passed, 3),
        )
        if self._hub is not None and (usage := self._hub.look()):
            now["hub"] = usage.cpu_s
            second.hub_cpu = round((usage.cpu_s - before["hub"]) / passed, 3)
            second.hub_rss_mb = round(usage.rss_mb, 1)
        usages = [usage for program in self._brokers if (usage := program.look())]
        if usages:
            now["broker"] = sum(usage.cpu_s for usage in usages)
            second.broker_cpu = round((now["broker"] - before["broker"]) / passed, 3)
            second.broker_rss_mb = round(sum(usage.rss_mb for usage in usages), 1)
        before.update(now)
        return second

    def _accounts(self, crew: Crew) -> tuple[dict[int, int], dict[int, int]]:
        """Return how many messages of each device were acknowledged and sent."""
        crew.order("stop")
        deadline = time.monotonic() + 30
        while not all(crew.accounts) and time.monotonic() < deadline:
            crew.listen(0.1)
        acknowledged: dict[int, int] = {}
        sent: dict[int, int] = {}
        for number, account in enumerate(crew.accounts):
            if account is None:
                raise LostError(f"worker {number} of the load test gave no account of what it sent")
            devices = self._plan.devices_of(number)
            acknowledged.update(zip(devices, array("I", account[0]), strict=True))
            sent.update(zip(devices, array("I", account[1]), strict=True))
        return acknowledged, sent

    def _judge_alarms(
        self, outcome: Outcome, alarms: AlarmWatch, start_ms: int, sent: dict[int, int]
    ) -> None:
        expected, missed, latency = judge(self._plan, start_ms, sent, alarms.told_ms())
        outcome.missed = missed
        outcome.alarm_latency = latency
        outcome.result |= {
            "alarms_expected": expected,
            "alarms_missed": len(missed),
            "alarm_p50_ms": latency.percentile_ms(50),
            "alarm_p99_ms": latency.percentile_ms(99),
        }
        if alarms.interruptions:
            outcome.notes.append(f"the alarm stream was interrupted {alarms.interruptions} times")

    def _reckon(
        self,
        outcome: Outcome,
        start_ms: int,
        acknowledged: dict[int, int],
        sent: dict[int, int],
        open_hub: Callable[[], HubApi],
    ) -> None:
        """Compare with the store; the stores drain a journal, so what is missing is asked for again."""
        deadline = time.monotonic() + self._drain_s
        self._progress.phase("waiting for the store", 1)
        api = open_hub()
        wait_until_stored(self._plan, start_ms, acknowledged, api, self._drain_s)
        api.close()

        def ask() -> Reckoning:
            self._progress.phase("reconciling", 1000)
            return reconcile(
                self._plan,
                start_ms,
                acknowledged,
                sent,
                open_hub,
                lambda done: self._progress.at(done * 1000),
            )

        found = ask()
        while found.lost and time.monotonic() < deadline:
            time.sleep(1)
            found = ask()
        outcome.reckoning = found
        outcome.result |= {
            "stored": found.stored,
            "lost": found.lost,
            "doubled": found.doubled,
            "altered": found.altered,
            "unacknowledged_stored": found.unacknowledged_stored,
        }

    def _conclude(
        self,
        outcome: Outcome,
        crew: Crew,
        connect_s: float,
        connected: int,
        acknowledged: dict[int, int],
        sent: dict[int, int],
    ) -> None:
        plan, latency = self._plan, outcome.latency
        latency.add(crew.interval.sparse())
        published = sum(sent.values())
        lasted = max(crew.most("lasted_s"), plan.duration_s)
        actual = crew.total("sent_in_time") / lasted
        behind = crew.most("behind_s")
        outcome.refused = crew.refused()
        outcome.result |= {
            "devices": plan.devices,
            "connected": connected,
            "target_rate": round(plan.target_rate, 3),
            "actual_rate": round(actual, 3),
            "actual_share": round(actual / plan.target_rate, 4),
            "published": published,
            "acknowledged": sum(acknowledged.values()) if plan.qos else None,
            "puback_p50_ms": latency.percentile_ms(50),
            "puback_p99_ms": latency.percentile_ms(99),
            "puback_p999_ms": latency.percentile_ms(99.9),
            "puback_p9999_ms": latency.percentile_ms(99.99),
            "puback_max_ms": latency.percentile_ms(100),
            "connect_s": round(connect_s, 3),
            "load_cpu_us_per_message": round(crew.total("cpu_s") / published * 1e6, 3) if published else None,
            "load_rss_mb": round(crew.total("rss_mb"), 1),
            "behind_s": round(behind, 3),
            "held": crew.total("held"),
            "reconnects": crew.total("lost_links"),
            "refused": sum(outcome.refused.values()),
            "strange_packets": crew.total("strange"),
        }
        if self._hub is not None:
            usage = self._hub.usage
            outcome.result |= {
                "hub_rss_mb": round(usage.rss_mb, 1),
                "hub_cpu_s": round(usage.cpu_s, 2),
                "hub_rss_growth_mb": round(usage.rss_mb - usage.rss_first_mb, 1),
                "hub_rss_late_growth_mb": _late_growth_mb(outcome.seconds),
            }
        if self._brokers:
            usages = [program.usage for program in self._brokers]
            outcome.result |= {
                "broker_rss_mb": round(sum(usage.rss_mb for usage in usages), 1),
                "broker_cpu_s": round(sum(usage.cpu_s for usage in usages), 2),
                "broker_rss_growth_mb": round(sum(u.rss_mb - u.rss_first_mb for u in usages), 1),
            }
        if behind > 0.1:
            outcome.notes.append(
                f"the load generator was up to {behind:.2f} s behind its schedule: it had too little CPU, "
                "and the latencies hold its delay too"
            )
        outcome.notes += [f"the command failed: {command}" for command in self._timeline.failed_commands]

    def _programs(self) -> list[ProgramWatch]:
        return [*self._brokers, *([self._hub] if self._hub else [])]


def _late_growth_mb(seconds: Sequence[Second]) -> float | None:
    """Return by how much the hub's memory grew in the second half of the test: caches are full by then."""
    sizes = [size for second in seconds[len(seconds) // 2 :] if (size := second.hub_rss_mb) is not None]
    return round(sizes[-1] - sizes[0], 1) if sizes else None


def check_limits(plan: LoadPlan, faults: Sequence[Fault] = ()) -> None:
    """Raise the limit of open files. Raises InputError where this machine can't hold the connections."""
    needed = -(-plan.devices // plan.workers) + _FILES_EACH
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > hard:
        workers = -(-plan.devices // (hard - _FILES_EACH))
        raise InputError(
            f"{plan.devices} devices on {plan.workers} worker(s) need {needed} open files each; the limit is "
            f"{hard}: give --workers {workers} or raise it (ulimit -n)"
        )
    through = devices_through(plan, faults)
    if 2 * through + _FILES_EACH > hard:
        raise InputError(
            f"--fault: {through} devices with a bad network at one broker take two open files each, and the "
            f"limit is {hard}: give a smaller share or more --brokers, or raise it (ulimit -n)"
        )
    if through:  # twice that many while all of them come back
        needed = max(needed, 4 * through + _FILES_EACH)
    ports = _ports()
    shared = -(-plan.devices // len(plan.endpoints) // plan.sources)
    if shared > ports:
        raise InputError(
            f"{shared} connections from one address to one broker, and there are {ports} ports: "
            f"give --sources {-(-plan.devices // len(plan.endpoints) // (ports - 1000))} or more --brokers"
        )
    if needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


def _ports() -> int:
    """Return how many ports the system gives to outgoing connections."""
    try:
        low, high = _PORT_RANGE.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return _USUAL_PORTS
    return int(high) - int(low) + 1

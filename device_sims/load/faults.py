"""What is broken during a load test, and when."""

import re
import subprocess
from dataclasses import dataclass
from typing import Any

from device_sims.errors import InputError

KINDS = {
    "drop": "cut a share of the connections, they come back at once: drop@30:0.1",
    "storm": "cut all connections, all come back at once: storm@60",
    "will": "cut a share of the connections for a time, so that their last wills are told: will@60+20:0.5",
    "silent": "a share of the devices holds back what it measures, then sends its backlog: silent@60+30:0.2",
    "duplicate": "a share of the devices sends its last messages again, out of order: duplicate@10+20:0.1",
    "malformed": "a share of the devices sends rubbish each second: malformed@10+20:0.05",
    "slow": "a share of the devices has a slow network, so much each way: slow@20+10:0.2,150ms",
    "hole": "a share of the devices has a network that swallows all, then lets it through: hole@20+10:0.2",
    "run": "run a command, such as a broker's restart: run@60:systemctl restart mosquitto",
}
"""What each fault does, with an example."""

_FORM = re.compile(r"(\w+)@([0-9.]+)(?:\+([0-9.]+))?(?::(.+))?")
_SLOW = re.compile(r"([0-9.]+),([0-9.]+)(ms|s)")
_TIMED = {"will", "silent", "duplicate", "malformed", "slow", "hole"}
_NETWORK = {"slow", "hole"}
_LONGEST_LATENCY_S = 5.0
"""Each way: a device still gets its answer to CONNECT in time, under TLS too."""

Order = tuple[str, Any]


@dataclass(frozen=True)
class Fault:
    """One fault."""

    kind: str
    at_s: float
    """Seconds after the start of the schedule."""
    for_s: float = 0.0
    share: float = 1.0
    """Of the devices, 0 to 1."""
    command: str = ""
    latency_s: float = 0.0
    """Of a slow network, each way."""

    @property
    def of_network(self) -> bool:
        """Whether it is the network's, and not the devices' own doing."""
        return self.kind in _NETWORK

    def __str__(self) -> str:
        lasting = f" for {self.for_s:g} s" if self.for_s else ""
        what = self.command or f"{self.share:.0%} of the devices"
        if self.latency_s:
            what += f", {self.latency_s * 1000:g} ms each way"
        return f"{self.kind} at {self.at_s:g} s{lasting}: {what}"


def parse_fault(text: str) -> Fault:
    """Read KIND@SECONDS[+DURATION][:SHARE, SHARE,LATENCY or COMMAND]. Raises InputError."""
    form = _FORM.fullmatch(text)
    if form is None or form[1] not in KINDS:
        raise InputError(f"--fault {text}: give one of {'; '.join(KINDS.values())}")
    kind, at, lasting, rest = form.groups()
    latency, unit = "0", "s"
    if kind == "slow":
        slow = _SLOW.fullmatch(rest or "")
        if slow is None:
            raise InputError(f"--fault {text}: it needs a share and a latency in ms or s: {KINDS[kind]}")
        rest, latency, unit = slow.groups()
    try:
        at_s, for_s = float(at), float(lasting or 0)
        share = 1.0 if kind == "run" or rest is None else float(rest)
        latency_s = float(latency) / (1000 if unit == "ms" else 1)
    except ValueError:
        raise InputError(f"--fault {text}: {KINDS[kind]}") from None
    if not 0 < share <= 1:
        raise InputError(f"--fault {text}: the share of the devices is above 0 and at most 1")
    if kind in _TIMED and for_s <= 0:
        raise InputError(f"--fault {text}: it needs a duration: {KINDS[kind]}")
    if kind == "slow" and not 0 < latency_s <= _LONGEST_LATENCY_S:
        raise InputError(f"--fault {text}: the latency is above 0 and at most {_LONGEST_LATENCY_S:g} s")
    if kind == "run" and not rest:
        raise InputError(f"--fault {text}: it needs a command: {KINDS[kind]}")
    return Fault(kind, at_s, for_s, share, rest or "" if kind == "run" else "", latency_s)


class Timeline:
    """Faults as they become due: orders for the workers, commands for the machine.

    Those of the network are not among them: `Network` keeps their times itself.
    """

    def __init__(self, faults: list[Fault]) -> None:
        own = [fault for fault in faults if not fault.of_network]
        self._waiting = sorted(own, key=lambda fault: fault.at_s)
        self._lasting: list[Fault] = []
        self._second = -1
        self._commands: list[tuple[Fault, subprocess.Popen[bytes]]] = []

    @property
    def failed_commands(self) -> list[str]:
        """Commands that ended with an error."""
        return [fault.command for fault, process in self._commands if process.poll()]

    def due(self, elapsed_s: float) -> list[Order]:
        """Return the orders for the workers that are due by now. Called several times a second."""
        orders: list[Order] = []
        while self._waiting and self._waiting[0].at_s <= elapsed_s:
            fault = self._waiting.pop(0)
            orders += self._begin(fault)
        for fault in [fault for fault in self._lasting if fault.at_s + fault.for_s <= elapsed_s]:
            self._lasting.remove(fault)
            if fault.kind == "silent":
                orders.append(("silence", (fault.share, False)))
        if int(elapsed_s) != self._second:
            self._second = int(elapsed_s)
            each = {"duplicate": "repeat", "malformed": "malform"}
            orders += [(each[fault.kind], (fault.share,)) for fault in self._lasting if fault.kind in each]
        return orders

    def finish(self, seconds: float = 30.0) -> None:
        """Wait for the commands that still run."""
        for _, process in self._commands:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.terminate()

    def _begin(self, fault: Fault) -> list[Order]:
        match fault.kind:
            case "drop":
                return [("drop", (fault.share, 0.0))]
            case "storm":
                return [("drop", (1.0, 0.0))]
            case "will":
                return [("drop", (fault.share, fault.for_s))]
            case "run":
                # The person who starts the test gives the command: a shell is what they expect.
                self._commands.append((fault, subprocess.Popen(fault.command, shell=True)))  # noqa: S602
                return []
            case "silent":
                self._lasting.append(fault)
                return [("silence", (fault.share, True))]
            case _:
                self._lasting.append(fault)
                return []

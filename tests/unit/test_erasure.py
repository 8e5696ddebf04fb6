"""The order of an erasure, and that whatever cuts it short leaves it to be finished."""

import asyncio
from dataclasses import dataclass, field

import pytest

from hub import erasure
from hub.erasure import finish_erasures
from hub.stores.store import StoreUnavailable
from hub.ward.model import DevicePeriod

PERIODS = [DevicePeriod("main", "mon-1", 100, 200), DevicePeriod("main", "pump-1", 150, 180)]


@dataclass
class Registry:
    steps: list[str]
    asked: dict[str, list[DevicePeriod]] = field(default_factory=lambda: {"pt-1": list(PERIODS)})

    async def unfinished_erasures(self):
        return dict(self.asked)

    async def finish_erasure(self, patient, periods):
        assert periods == self.asked.pop(patient)
        self.steps.append(f"registry {patient}")


@dataclass
class Journal:
    steps: list[str]
    newest: int = 7
    at: int = 7

    async def erase(self, site, device, start_ns, end_ns):
        self.steps.append(f"journal {device} {start_ns}-{end_ns}")

    async def position(self, store):
        return self.at


@dataclass
class Store:
    steps: list[str]
    name: str = "series"
    settle_s: float = 0.0
    away: bool = False

    async def erase(self, site, device, start_ns, end_ns):
        if self.away:
            raise StoreUnavailable("series is away")
        self.steps.append(f"{self.name} {device}")


@dataclass
class Log:
    steps: list[str]
    name: str = "log"

    async def erase(self, patient):
        self.steps.append(f"{self.name} {patient}")


def make():
    steps = []
    return steps, Registry(steps), Journal(steps), Store(steps), Log(steps)


async def test_a_patient_is_erased_everywhere_and_the_registry_forgets_last():
    steps, registry, journal, store, log = make()
    other = Log(steps, "ledger")
    done = await finish_erasures(registry, [store], journal, log, draining=False, others=[other])
    assert done == ["pt-1"]
    assert steps == [
        "journal mon-1 100-200",
        "series mon-1",
        "journal pump-1 150-180",
        "series pump-1",
        "log pt-1",
        "ledger pt-1",
        "registry pt-1",
    ]
    assert await finish_erasures(registry, [store], journal, log, draining=False) == []


async def test_what_an_unreachable_store_cuts_short_is_finished_the_next_time():
    steps, registry, journal, store, log = make()
    store.away = True
    with pytest.raises(StoreUnavailable):
        await finish_erasures(registry, [store], journal, log, draining=False)
    assert list(registry.asked) == ["pt-1"]
    assert "registry pt-1" not in steps
    store.away = False
    assert await finish_erasures(registry, [store], journal, log, draining=False) == ["pt-1"]
    assert steps[-1] == "registry pt-1"


async def test_a_store_is_erased_only_when_its_drain_holds_nothing_older_than_the_erasure():
    steps, registry, journal, store, log = make()
    journal.at = 6
    finishing = asyncio.create_task(finish_erasures(registry, [store], journal, log, draining=True))
    await asyncio.sleep(0.25)
    assert steps == ["journal mon-1 100-200"], "what the drain holds would bring it back"
    journal.newest = 90  # what came since the erasure of the journal need not be waited for
    journal.at = 7
    await asyncio.sleep(0.25)
    assert "series mon-1" in steps
    journal.at = 90
    assert await finishing == ["pt-1"]


async def test_a_store_that_stays_behind_puts_the_erasure_off(monkeypatch):
    monkeypatch.setattr(erasure, "_PATIENCE_S", 0.1)
    steps, registry, journal, store, log = make()
    journal.at = 6
    with pytest.raises(StoreUnavailable, match="series is behind the journal"):
        await finish_erasures(registry, [store], journal, log, draining=True)
    assert list(registry.asked) == ["pt-1"]
    assert "series mon-1" not in steps

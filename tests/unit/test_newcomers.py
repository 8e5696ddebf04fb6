"""New devices reach the registry, however many come at once and however long it is away."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hub import newcomers
from hub.device import Device
from hub.newcomers import Newcomers
from hub.ward.model import RegistryUnavailable


class Registry:
    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.away = False
        self.refused = 0

    async def knock_all(self, knocked) -> None:
        if self.away:
            self.refused += 1
            raise RegistryUnavailable("it is away")
        self.transactions.append([device for _, device, *_ in knocked])

    @property
    def entered(self) -> list[str]:
        return [device for transaction in self.transactions for device in transaction]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def new(registry) -> AsyncIterator[Newcomers]:
    new = Newcomers(registry.knock_all, lambda device: device.id == "hub-1")
    running = asyncio.create_task(new.run())
    yield new
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def hear(new: Newcomers, *names: str) -> None:
    for name in names:
        new.heard(Device("main", name, "icu", "native", 1.0), "a/topic")


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_who_comes_at_once_shares_few_transactions_in_order(new, registry):
    names = [f"mon-{number}" for number in range(1200)]
    hear(new, *names)
    await until(lambda: len(registry.entered) == 1200)
    assert registry.entered == names
    assert len(registry.transactions) == 3
    assert new.waiting == 0


async def test_the_hubs_own_canary_is_nobodys_device(new, registry):
    hear(new, "hub-1", "mon-1")
    new.named("main", "pump-1", "native", "icu", "a/gateway")
    await until(lambda: len(registry.entered) == 2)
    assert registry.entered == ["mon-1", "pump-1"]


async def test_nobody_is_forgotten_while_the_registry_is_away(new, registry, monkeypatch):
    monkeypatch.setattr(newcomers, "_RETRY_S", 0.01)
    registry.away = True
    hear(new, "mon-1")
    await until(lambda: registry.refused >= 2)
    hear(new, "mon-2")
    registry.away = False
    await until(lambda: len(registry.entered) == 2)
    assert registry.entered == ["mon-1", "mon-2"]


async def test_more_than_may_wait_are_left_for_another_time(registry, monkeypatch):
    monkeypatch.setattr(newcomers, "MOST", 3)
    new = Newcomers(registry.knock_all, lambda _: False)
    hear(new, "a", "b", "c", "d")
    assert new.waiting == 3

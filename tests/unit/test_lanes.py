import asyncio

import pytest

from hub import lanes
from hub.lanes import BEHIND_S, CAUGHT_UP_S, LiveLane


class Session:
    """A subscription that lasts until it is cancelled."""

    def __init__(self, opened):
        self._opened = opened

    async def run(self):
        self._opened.append("open")
        try:
            await asyncio.Event().wait()
        finally:
            self._opened.append("closed")


class Lane:
    def __init__(self):
        self.behind_s = 0.0
        self.opened = []
        self.lane = LiveLane("broker", lambda: self.behind_s, lambda: Session(self.opened))

    async def __aenter__(self):
        self._task = asyncio.create_task(self.lane.run())
        await self.look()
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def look(self, times=5):
        """Let the lane look several times."""
        await asyncio.sleep(times * 0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lanes, "_LOOK_S", 0.005)
    monkeypatch.setattr(lanes, "_STEADY_S", 0.1)


async def test_a_session_that_keeps_up_has_no_lane():
    async with Lane() as one:
        one.behind_s = BEHIND_S
        await one.look()
        assert (one.lane.is_open, one.opened) == (False, [])


async def test_the_lane_opens_once_when_the_session_is_behind_and_closes_when_it_has_caught_up_for_a_while():
    async with Lane() as one:
        one.behind_s = BEHIND_S + 0.1
        await one.look(10)
        assert (one.lane.is_open, one.opened) == (True, ["open"])
        one.behind_s = CAUGHT_UP_S
        await one.look(4)
        assert one.lane.is_open, "not at the first good moment"
        await one.look(30)
        assert (one.lane.is_open, one.opened) == (False, ["open", "closed"])


async def test_a_session_that_falls_behind_again_before_it_is_steady_keeps_its_lane():
    async with Lane() as one:
        one.behind_s = 60.0
        await one.look()
        for _ in range(8):
            one.behind_s = 0.0
            await one.look(4)
            one.behind_s = CAUGHT_UP_S + 0.1
            await one.look(2)
        assert one.opened == ["open"]


async def test_the_lane_ends_with_its_broker():
    async with Lane() as one:
        one.behind_s = 60.0
        await one.look()
    assert one.opened == ["open", "closed"]
    assert not one.lane.is_open

"""The canary's alarm, through the real conditions, signals and event log of a hub; see test_system."""

import asyncio

import pytest
from test_system import NOW, SECOND, Hub

from hub.alarms.limits import DEFAULTS, limit_set
from hub.alarms.records import Records
from hub.alarms.selftest import came_out
from hub.device import Device
from hub.ward.wardfile import parse

WARD = {"site": {"id": "main"}, "ward": [{"id": "icu", "beds": ["icu-01"]}]}


class Canaries:
    """A hub at which a canary flies, and what came out of it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.told: list[tuple[int, bool]] = []
        """Time of each reading whose alarm came out, and whether the disk had it."""
        hub.devices["canary"] = Device("main", "canary", "hub", "native", 0.5)
        hub.log.listen_to_canaries(self._tell)

    def _tell(self, event, recorded) -> None:
        if came_out(event):
            self.told.append((event.alarm.changed_ns, recorded))

    def fly(self, beats: int, since: float = 0) -> list[int]:
        """Send readings, two a second; return the times of those that must come out."""
        for beat in range(beats):
            self.hub.reads("canary", since + beat / 2, hub_canary=float(beat % 2 == 0))
            if beat % 2:
                self.hub.alarms.signals.tick(self.hub.now_ns)
        return [NOW + round((since + beat) * SECOND) for beat in range(beats // 2)]

    async def come(self, count: int) -> list[int]:
        for _ in range(400):
            if len(self.told) >= count:
                break
            await asyncio.sleep(0.005)
        return [time_ns for time_ns, _ in self.told]


@pytest.fixture
async def canaries(tmp_path):
    hub = Hub(tmp_path)
    await hub.registry.start()
    await hub.registry.seed(parse(WARD, "ward.toml"))
    await hub.start()
    yield Canaries(hub)
    await hub.stop()
    await hub.registry.stop()


async def test_the_canarys_alarm_comes_out_time_after_time_and_is_kept_nowhere(canaries, tmp_path):
    hub = canaries.hub
    for since in range(0, 300, 3):  # five minutes, over every delay, pause of an episode and escalation
        sent = canaries.fly(6, since)
        assert (await canaries.come(len(canaries.told) + 3))[-3:] == sent
    assert (hub.log.last_sequence, hub.log.present(), hub.published) == (0, [], [])
    assert await hub.log.after(0) == []
    hub.alarms.pagers.flush()
    assert hub.published == []
    records = Records(tmp_path / "alarms.sqlite")
    assert records.between(0, NOW * 2, 0, 10) == []


async def test_the_canarys_alarm_comes_out_between_others_and_takes_no_number(canaries):
    hub = canaries.hub
    told = []
    hub.log.listen(lambda event, _: told.append((event.sequence, event.alarm.device)))
    hub.reads("mon-1", 0, spo2=70.0)
    sent = canaries.fly(2, 1)
    hub.reads("oxi-1", 2, spo2=70.0)
    assert await canaries.come(1) == sent
    await hub.events()
    assert told == [(1, "mon-1"), (2, "oxi-1")]


async def test_a_canarys_alarm_goes_over_the_disk_and_waits_no_longer_for_it_than_others(
    canaries, monkeypatch
):
    canaries.fly(2)
    await canaries.come(1)
    assert canaries.told[-1][1], "the disk had it"
    stuck = asyncio.Event()
    loop = asyncio.get_running_loop()

    def sticks(*_):
        asyncio.run_coroutine_threadsafe(stuck.wait(), loop).result()

    monkeypatch.setattr(Records, "pass_by", sticks)
    canaries.fly(2, 10)
    await canaries.come(2)
    assert not canaries.told[-1][1]
    stuck.set()


async def test_rules_that_no_longer_alarm_keep_the_canary_from_coming_out(canaries, monkeypatch):
    monkeypatch.setattr("hub.alarms.conditions.Conditions.observe", lambda *_: None)
    canaries.fly(4)
    await asyncio.sleep(0.2)
    assert canaries.told == []


async def test_signals_that_nobody_sees_keep_the_canary_from_coming_out(canaries, monkeypatch):
    monkeypatch.setattr("hub.alarms.selftest.is_visible", lambda _: False)
    canaries.fly(4)
    await asyncio.sleep(0.2)
    assert canaries.told == []


def test_no_limits_file_switches_the_canary_off():
    document = {"version": 2, "adult": {"hub_canary": {"high": 5}}}
    side = limit_set(document, "own.toml").of("adult").by_parameter["hub_canary"][0]
    assert (side.warning.bound, side.warning.priority, side.warning.delay_ns) == (0.5, "high", 0)
    assert DEFAULTS.read_text(encoding="utf-8").count("hub_canary") == 0

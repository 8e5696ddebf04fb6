"""A canary device through the whole line of a real hub: heartbeats with its alarm, traces nowhere."""

import asyncio
import json
import os
import signal
from collections import Counter

import aiomqtt
import httpx
import pytest

from tests.crash.hub_process import HubProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def hub(tmp_path):
    hub = HubProcess(tmp_path)
    hub.start()
    yield hub
    hub.stop()


class Station:
    """Counts heartbeats of the stream and keeps everything else that it tells."""

    def __init__(self) -> None:
        self.beats = 0
        self.told: list[dict] = []

    async def listen(self, hub: HubProcess) -> None:
        async with (
            httpx.AsyncClient(timeout=None) as client,
            client.stream("GET", f"{hub.url}/api/v1/stream", headers=hub.headers) as answer,
        ):
            name = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                    self.beats += name == "heartbeat"
                elif line.startswith("data: ") and name != "heartbeat":
                    self.told.append({"name": name, **json.loads(line.removeprefix("data: "))})

    async def beat(self, times: int, seconds: float = 20.0) -> None:
        wanted = self.beats + times
        async with asyncio.timeout(seconds):
            while self.beats < wanted:
                await asyncio.sleep(0.02)


async def published(hub: HubProcess, topics: Counter[str]) -> None:
    async with aiomqtt.Client("127.0.0.1", hub.mqtt_port) as client:
        await client.subscribe("wards/v1/#", qos=0)
        async for message in client.messages:
            topics[str(message.topic)] += 1


async def test_heartbeats_come_with_the_canarys_alarm_and_stop_when_the_line_does(hub):
    await hub.ready()
    station, topics = Station(), Counter()
    tasks = [asyncio.create_task(station.listen(hub)), asyncio.create_task(published(hub, topics))]
    try:
        await station.beat(4)
        broker = hub.broker_pid()
        os.kill(broker, signal.SIGSTOP)
        try:
            await asyncio.sleep(1)  # what is on its way may still arrive
            beats = station.beats
            await asyncio.sleep(2.5)
            assert station.beats == beats, "no heartbeat while nothing comes through"
        finally:
            os.kill(broker, signal.SIGCONT)
        await station.beat(2)
        await _leaves_no_trace(hub)
        assert {one["name"] for one in station.told if one.get("alarms") != []} <= {"vitals"}
        assert set(topics) == {"wards/v1/main/hub/hub-1/observations"}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _leaves_no_trace(hub: HubProcess) -> None:
    async with httpx.AsyncClient(base_url=hub.url, headers=hub.headers) as client:
        for path, member in (
            ("/api/v1/devices", "devices"),
            ("/api/v1/devices/unassigned", "devices"),
            ("/api/v1/beds", "beds"),
            ("/api/v1/alarms", "alarms"),
            ("/api/v1/alarms/events", "events"),
        ):
            assert (await client.get(path)).json()[member] == [], path
        load = (await client.get("/api/v1/alarms/load")).json()
        assert load["figures"]["alarms"] == 0
        assert len((await client.get("/api/v1/alarms/export.csv")).text.splitlines()) == 1
        for kind in ("Device", "Observation", "DeviceMetric", "Flag"):
            answer = await client.get(f"/fhir/{kind}")
            assert "hub-1" not in answer.text.replace(hub.url, ""), kind
    assert hub.metric("hub_devices") == hub.metric("hub_alarms_present") == 0

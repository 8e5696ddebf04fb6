"""One alarm from a device to two nurse stations, a pager's topic and back, over a kill of the hub."""

import asyncio
import json
import time
from contextlib import suppress

import aiomqtt
import httpx
import pytest

from tests.crash.hub_process import HubProcess

pytestmark = pytest.mark.integration
TOPIC = "wards/v1/main/icu/mon-1/observations"
PAGERS = "wards/v1/main/icu/hub"


class Station:
    """A nurse station: what the stream told it."""

    def __init__(self, hub: HubProcess, headers: dict) -> None:
        self.events: list[dict] = []
        self._hub, self._headers = hub, headers

    async def listen(self) -> None:
        async with (
            httpx.AsyncClient(timeout=None) as client,
            client.stream("GET", f"{self._hub.url}/api/v1/stream", headers=self._headers) as answer,
        ):
            name = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and name in ("alarm", "technical", "reset"):
                    self.events.append({"name": name, **json.loads(line.removeprefix("data: "))})

    def happened(self, condition: str = "limit_low") -> list[str]:
        return [
            e["event"] for e in self.events if e["name"] == "alarm" and e["alarm"]["condition"] == condition
        ]


class Pager:
    """What a pager sees on MQTT."""

    def __init__(self, hub: HubProcess) -> None:
        self.happened: list[str] = []
        self.active: list[dict] | None = None
        self._port = hub.mqtt_port

    async def listen(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self._port) as client:
            await client.subscribe(f"{PAGERS}/#", qos=1)
            async for message in client.messages:
                told = json.loads(message.payload)
                if str(message.topic).endswith("/active-alarms"):
                    self.active = told["alarms"]
                elif told["alarm"]["condition"] == "limit_low":
                    self.happened.append(told["event"])


async def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never came")
        await asyncio.sleep(0.02)


async def measure(hub: HubProcess, seq: int, spo2: float) -> None:
    async with aiomqtt.Client("127.0.0.1", hub.mqtt_port) as client:
        time_ms = int(time.time() * 1000)
        payload = {"time": time_ms, "seq": seq, "values": {"spo2": spo2, "heart_rate": 70}}
        await client.publish(TOPIC, json.dumps(payload), qos=1)


@pytest.fixture
def hub(tmp_path):
    hub = HubProcess(tmp_path)
    hub.nurse = hub._hub("token", "create", "--name", "nurse-1", "--role", "nurse").stdout.strip()
    hub.start()
    yield hub
    hub.stop()


async def test_an_alarm_reaches_two_stations_and_a_pager_and_its_acknowledgement_survives_a_kill(hub):
    await hub.ready()
    headers = {"Authorization": f"Bearer {hub.nurse}"}
    stations, pager = [Station(hub, headers), Station(hub, headers)], Pager(hub)
    tasks = [asyncio.create_task(one.listen()) for one in (*stations, pager)]
    try:
        async with httpx.AsyncClient(base_url=hub.url, headers=headers) as client:
            await until(lambda: all(station.events for station in stations))  # each begins with a reset
            await measure(hub, 1, 97)
            await measure(hub, 2, 70)
            await until(lambda: all(one.happened() == ["start"] for one in stations))
            await until(lambda: pager.happened == ["start"] and pager.active)
            (alarm,) = (one for one in pager.active if one["condition"] == "limit_low")
            answer = await client.post(f"/api/v1/alarms/{alarm['id']}/acknowledge", json={})
            assert answer.status_code == 200, answer.text
            assert answer.json()["recorded"] is True
            await until(lambda: all(one.happened() == ["start", "acknowledged"] for one in stations))
            await until(lambda: pager.active and pager.active[0]["signal"]["presence"] == "acknowledged")
            hub.kill()
            hub.start()
            await hub.ready()
            shown = (await client.get("/api/v1/alarms")).json()["alarms"]
            (again,) = (one for one in shown if one["condition"] == "limit_low")
            assert again["id"] == alarm["id"]
            assert again["signal"]["acknowledged_by"] == "nurse-1"
            await measure(hub, 3, 97)
            await until(lambda: hub_alarm_ended(hub, headers))
            history = (await client.get(f"/api/v1/alarms/{alarm['id']}")).json()["events"]
            assert [event["event"] for event in history] == ["start", "acknowledged", "end"]
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, httpx.HTTPError, aiomqtt.MqttError):
                await task


def hub_alarm_ended(hub: HubProcess, headers: dict) -> bool:
    alarms = httpx.get(f"{hub.url}/api/v1/alarms", headers=headers).json()["alarms"]
    return not any(one["condition"] == "limit_low" for one in alarms)

"""One of two real brokers is stopped: one alarm that lists its devices, and none for each of them."""

import asyncio
import json
import time
from contextlib import ExitStack

import aiomqtt
import httpx
import pytest

from hub.alarms.limits import DEFAULTS
from tests.crash.hub_process import HubProcess
from tests.servers import Mosquitto, mosquitto

pytestmark = pytest.mark.integration

SILENT_S = 2.0
"""Beyond its interval of a second, a device that is silent for so long alarms."""


async def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.1)


class Monitor:
    """A device that publishes twice a second at one broker, while there is one and it isn't switched off."""

    def __init__(self, broker: Mosquitto, name: str, **values: float) -> None:
        self.on = True
        self._broker, self._name, self._values = broker, name, values

    async def run(self) -> None:
        while True:
            try:
                async with aiomqtt.Client("127.0.0.1", self._broker.port, identifier=self._name) as client:
                    while True:
                        if self.on:
                            now_ms = time.time_ns() // 1_000_000
                            payload = json.dumps({"time": now_ms, "seq": now_ms, "values": self._values})
                            await client.publish(f"wards/v1/main/icu/{self._name}/observations", payload, 1)
                        await asyncio.sleep(0.5)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)


async def test_a_lost_broker_is_one_alarm_that_lists_its_devices_until_it_is_back(tmp_path):
    limits = tmp_path / "limits.toml"
    text = DEFAULTS.read_text(encoding="utf-8")
    assert text.count('[technical.device_silent]\npriority = "medium"\ndelay_s = 10') == 1
    limits.write_text(text.replace('"medium"\ndelay_s = 10', f'"medium"\ndelay_s = {SILENT_S}'))
    with ExitStack() as stack:
        brokers = []
        for name in ("north", "south"):
            (tmp_path / name).mkdir()
            brokers.append(stack.enter_context(mosquitto(tmp_path / name)))
        north, south = brokers
        settings = f'limits_file = "{limits}"\n' + "".join(
            f'[[brokers]]\nurl = "{broker.url}"\n' for broker in brokers
        )
        hub = HubProcess(tmp_path, settings=settings)
        hub.start()
        stack.callback(hub.stop)
        await hub.ready()
        monitors = [
            Monitor(north, "a", heart_rate=70),
            Monitor(north, "b", spo2=70),
            Monitor(south, "c", heart_rate=70),
        ]
        running = [asyncio.create_task(monitor.run()) for monitor in monitors]
        try:
            async with httpx.AsyncClient(base_url=f"{hub.url}/api/v1", headers=hub.headers) as client:
                await _follow(client, hub, north, monitors)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _follow(
    client: httpx.AsyncClient, hub: HubProcess, north: Mosquitto, monitors: list[Monitor]
) -> None:
    async def present() -> dict[tuple[str, str], dict]:
        alarms = (await client.get("/alarms")).json()["alarms"]
        return {(one["device"], one["condition"]): one for one in alarms}

    async def only_the_patients() -> bool:
        return (await present()).keys() == {("b", "limit_low")} and hub.metric("hub_devices") == 3

    await until(only_the_patients)
    north.stop()
    monitors[2].on = False  # it falls silent by itself while the other broker is away

    async def the_other_is_silent() -> dict:
        found = await present()
        return found if ("c", "device_silent") in found else {}

    found = await until(the_other_is_silent)
    await asyncio.sleep(SILENT_S + 2)
    found = await present()
    assert found.keys() == {("hub-1", "broker_lost"), ("b", "limit_low"), ("c", "device_silent")}
    lost = found["hub-1", "broker_lost"]
    assert (lost["devices"], lost["priority"], lost["signal"]["presence"]) == (["a", "b"], "high", "on")
    assert "2 devices" in lost["text"]
    urgent = found["b", "limit_low"]
    assert (urgent["presence"], urgent["signal"]["presence"], urgent["signal"]["under"]) == (
        "present",
        "on",
        None,
    )
    north.start()

    async def it_is_back() -> bool:
        return ("hub-1", "broker_lost") not in await present()

    await until(it_is_back)
    monitors[2].on = True
    await until(only_the_patients)
    told = (await client.get("/alarms/events?limit=5000")).json()["events"]
    happened = [(one["event"], one["alarm"]["device"], one["alarm"]["condition"]) for one in told]
    assert not [one for one in happened if one[1] in ("a", "b") and one[2] != "limit_low"]
    assert happened.count(("start", "hub-1", "broker_lost")) == 1
    assert happened.count(("end", "hub-1", "broker_lost")) == 1

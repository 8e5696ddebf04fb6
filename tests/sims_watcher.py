"""An MQTT client that is not the project's own (paho), to see what the simulators publish."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion


class Watcher:
    """Collects what a broker sends on all topics, until `stop`."""

    def __init__(self, port: int) -> None:
        self.messages: list[paho.MQTTMessage] = []
        ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not ready.wait(10):
            raise TimeoutError("no answer to SUBSCRIBE")

    def of(self, topic: str) -> list[Any]:
        """The payloads of all topics that end so."""
        return [json.loads(message.payload) for message in self.messages if message.topic.endswith(topic)]

    def wait_for(self, topic: str, count: int) -> list[Any]:
        """Wait until that many have come."""
        deadline = time.monotonic() + 20
        while len(self.of(topic)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.of(topic)

    async def has(self, topic: str, count: int) -> list[Any]:
        """Wait until that many have come, without holding up the loop."""
        await until(lambda: len(self.of(topic)) >= count)
        return self.of(topic)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def until(true: Callable[[], bool]) -> None:
    """Wait for something to come true; 20 s at most."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("it did not come true within 20 s")

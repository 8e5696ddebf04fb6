"""A device of the tests: speaks for one that the ward file knows, over a connection of its own."""

import json
import time
import uuid
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt


class Device:
    def __init__(self, broker: str, area: str, device: str) -> None:
        parts = urlsplit(broker)
        self._topic = f"wards/v1/main/{area}/{device}"
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"test-{uuid.uuid4().hex[:8]}")
        self._client.connect(parts.hostname, parts.port)
        self._client.loop_start()

    def fresh(self) -> "DeviceAlarm":
        """Return an alarm condition that no test had before: what comes again soon is the same episode."""
        return DeviceAlarm(self, f"test_{uuid.uuid4().hex[:8]}")

    def alarm(self, condition: str, state: str, priority: str = "high", text: str = "", **more) -> None:
        alarm = {"condition": condition, "state": state, "priority": priority, "text": text, **more}
        self._send("alarms", {"alarms": [alarm]})

    def hears(self, beacon: str, rssi: int) -> None:
        """Tell, as a gateway, how strongly a beacon is heard; dBm."""
        self._send("sightings", {"sightings": [{"beacon": beacon, "rssi": rssi, "tx_power": -59}]})

    def curve(self, waveform: str, rate: int, samples: list[int]) -> None:
        """Send a piece of a waveform; `rate` in samples a second."""
        now_ms = round(time.time() * 1000)
        self._send("waveforms", {"time": now_ms, "waveform": waveform, "rate": rate, "samples": samples})

    def _send(self, channel: str, payload: object) -> None:
        sent = self._client.publish(f"{self._topic}/{channel}", json.dumps(payload), qos=1)
        sent.wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class DeviceAlarm:
    """One condition of a device, and what stations say of it."""

    def __init__(self, device: Device, condition: str) -> None:
        self._device = device
        self._condition = condition
        self.text = f"Trouble {condition}"

    def begin(self, priority: str = "high") -> None:
        self._device.alarm(self._condition, "present", priority, self.text)

    def end(self) -> None:
        self._device.alarm(self._condition, "absent")

"""A gateway for many bedside devices, with aiomqtt: one connection, one topic a device."""

import asyncio
import json
import os
import time

import aiomqtt

HOST, PORT = os.environ.get("BROKER", "127.0.0.1:1883").split(":")
SITE, AREA, GATEWAY = "main", "icu", os.environ.get("DEVICE", "acme-gw-1")
READINGS = int(os.environ.get("READINGS", "10"))
BEDSIDE = ("acme-11", "acme-12", "acme-13")


def topic(device: str, channel: str) -> str:
    return f"wards/v1/{SITE}/{AREA}/{device}/{channel}"


async def measure(device: str, waiting: asyncio.Queue[tuple[str, bytes]]) -> None:
    for seq in range(READINGS):
        sent = {
            "time": int(time.time() * 1000),
            "seq": seq,
            "values": {"heart_rate": 70 + seq % 5, "spo2": 97},
        }
        await waiting.put((topic(device, "observations"), json.dumps(sent).encode()))
        await asyncio.sleep(float(os.environ.get("EVERY_S", "1")))


async def publish(waiting: asyncio.Queue[tuple[str, bytes]]) -> None:
    will = aiomqtt.Will(topic(GATEWAY, "status"), json.dumps({"state": "offline"}), qos=1, retain=True)
    unsent: tuple[str, bytes] | None = None
    while True:
        try:
            async with aiomqtt.Client(HOST, int(PORT), identifier=GATEWAY, will=will, keepalive=30) as client:
                await client.publish(
                    topic(GATEWAY, "status"), json.dumps({"state": "online"}), qos=1, retain=True
                )
                while True:
                    # Returns once the broker has acknowledged: until then the reading is kept here.
                    unsent = unsent or await waiting.get()
                    await client.publish(*unsent, qos=1)
                    unsent = None
                    waiting.task_done()
        except aiomqtt.MqttError as error:
            print(f"broker away ({error}): again in a second")
            await asyncio.sleep(1)


async def main() -> None:
    # Bounded: when an hour is buffered, measuring waits. A real gateway buffers on disk (monitor_paho.py).
    waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(3600 * len(BEDSIDE))
    publishing = asyncio.create_task(publish(waiting))
    await asyncio.gather(*(measure(device, waiting) for device in BEDSIDE))
    await waiting.join()
    publishing.cancel()


asyncio.run(main())

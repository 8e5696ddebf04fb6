"""The plain way to do the hub's job, for comparison: libraries put one after the other, a value at a time.

aiomqtt receives, fhir.resources builds and dumps an Observation a value, influxdb-client makes a Point a
message and writes it. Nothing is journalled, no alarm is decided, no duplicate is known.
"""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
from fhir.resources.R4B.observation import Observation
from influxdb_client import Point
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync

from hub.vocabulary import PARAMETERS
from tests.bench.generator import reading, topic
from tests.databases import victoria_metrics
from tests.servers import embedded_broker

MESSAGES = 1_500


async def measure_plain(folder: Path) -> dict[str, float]:
    """Return `plain_cpu_us_per_message`: CPU of this process, without broker, database and publisher."""
    victoria = victoria_metrics(folder)
    victoria.start()
    try:
        async with (
            embedded_broker(folder) as broker,
            InfluxDBClientAsync(url=victoria.url, token="none", org="none") as influx,
        ):
            parts = urlsplit(broker.url)
            where = parts.hostname or "", parts.port or 1883
            publisher = await asyncio.create_subprocess_exec(
                *_publisher_command(broker.url), stdout=asyncio.subprocess.DEVNULL
            )
            async with aiomqtt.Client(*where, identifier="plain", clean_session=False) as client:
                await client.subscribe("wards/v1/+/+/+/observations", qos=1)
                cpu_s = await _take(client, influx)
            await publisher.wait()
    finally:
        victoria.stop()
    return {"plain_cpu_us_per_message": cpu_s / MESSAGES * 1e6}


async def _take(client: aiomqtt.Client, influx: InfluxDBClientAsync) -> float:
    write = influx.write_api()
    taken = 0
    began = 0.0
    async for message in client.messages:
        if not taken:
            began = time.process_time()
        taken += 1
        payload = json.loads(message.payload)  # type: ignore[arg-type]
        device = str(message.topic).split("/")[4]
        moment = datetime.fromtimestamp(payload["time"] / 1000, UTC)
        point = Point("vitals").tag("site", "main").tag("device", device).time(moment)
        for name, value in payload["values"].items():
            _observation(name, value, device, moment).model_dump_json()
            point.field(name, float(value))
        await write.write(bucket="plain", record=point)
        if taken == MESSAGES:
            return time.process_time() - began
    raise RuntimeError("the broker closed the connection")


def _observation(name: str, value: float, device: str, moment: datetime) -> Observation:
    parameter = PARAMETERS[name]
    return Observation(
        status="final",
        category=[
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "vital-signs",
                    }
                ]
            }
        ],
        code={"coding": [{"system": "http://loinc.org", "code": parameter.loinc[0].code}]},
        subject={"reference": "Patient/pt-1"},
        device={"reference": f"Device/{device}"},
        effectiveDateTime=moment,
        valueQuantity={
            "value": value,
            "unit": parameter.unit,
            "system": "http://unitsofmeasure.org",
            "code": parameter.unit,
        },
    )


def _publisher_command(url: str) -> list[str]:
    import sys

    return [sys.executable, "-m", "tests.bench.plain", url]


async def _publish(url: str) -> None:
    parts = urlsplit(url)
    await asyncio.sleep(1)  # until the subscriber is there
    async with aiomqtt.Client(parts.hostname or "", parts.port or 1883, identifier="source") as client:
        for number in range(MESSAGES):
            payload = reading(number, time.time_ns() // 1_000_000)
            await client.publish(topic(number % 100), payload, qos=1)


if __name__ == "__main__":
    import sys

    asyncio.run(_publish(sys.argv[1]))

"""`hub devices decode --watch`: live from a broker, of which nothing is taken away."""

import asyncio
import json
import sys

import aiomqtt
import pytest

from tests.servers import mosquitto

pytestmark = pytest.mark.integration


async def test_what_is_published_is_shown_live_and_the_command_ends_after_its_count(tmp_path):
    with mosquitto(tmp_path) as broker:
        watch = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub.cli", "devices", "decode", "--json", "--count", "2"),
            *("--watch", "iomt/#", "--broker", broker.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert watch.stderr is not None
        assert b"watching iomt/#" in await watch.stderr.readline()
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish("other/topic", "{}", qos=1)
            await client.publish("iomt/telemetry/icu/pump-7", '{"infusion_rate_ml_hr":12.5}', qos=1)
            await client.publish("iomt/unheard/of", "{}", qos=1)
            output, _ = await watch.communicate()
        shown, unknown = map(json.loads, output.splitlines())
        assert watch.returncode == 0
        assert (shown["definition"], shown["readings"][0]["value"]) == ("pump-telemetry", 12.5)
        assert unknown["definition"] is None
        assert unknown["rejects"]

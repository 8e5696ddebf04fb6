"""What a device publishes to a hub that starts for the first time."""

import asyncio
import logging

import pytest

from tests.crash.hub_process import HubProcess
from tests.crash.publishers import Publishers
from tests.crash.run import Result, compare

pytestmark = pytest.mark.integration


@pytest.fixture
def quiet():
    """The clients fail to connect until the broker is there, and say so."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("default")  # of clients whose connect fails
async def test_nothing_is_lost_of_devices_that_were_there_before_the_hub(tmp_path, quiet):
    hub = HubProcess(tmp_path)
    publishers = Publishers(hub.broker_url, 10, period_s=0.01)
    publishing = asyncio.create_task(publishers.run())
    await asyncio.sleep(0.5)
    hub.start()
    await hub.ready()
    await asyncio.sleep(2)
    publishers.stop()
    await publishing
    await hub.drained()
    result = Result()
    await compare(tmp_path, hub, publishers, result, lambda _: None)
    assert result.acknowledged > 100
    assert (result.lost, result.doubled) == (0, 0)

"""The short form of the crash test: `make crash` is the long one."""

import asyncio
import logging

import pytest

from tests.crash.run import SHORT, run_all

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def quiet():
    """Clients whose broker is killed under them log many errors; what counts is the comparison."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("default")  # of clients that lose their socket while they are being closed
async def test_what_was_acknowledged_is_stored_once_after_kills_outages_and_a_full_disk(tmp_path, quiet):
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
    result = await run_all(tmp_path, SHORT, said.append)
    assert result.acknowledged > 5_000, said
    assert (result.lost, result.doubled) == (0, 0), said
    assert result.stored == result.acknowledged, said
    assert result.hub_kills == SHORT.random_kills + 11, said
    assert (result.broker_kills, result.store_outages) == (1, 2), said
    # No test asserts a time: that alarms came at all while storage stood still is the claim here.
    assert result.alarms_timed == SHORT.disk_alarms + SHORT.backlog_alarms, said

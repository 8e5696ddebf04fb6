import asyncio
import json
import subprocess
import sys

import pytest

from hub.alarms.book import Book
from hub.alarms.limits import load_limits
from hub.alarms.overrides import Overrides
from hub.alarms.rules import Override
from hub.intake import empty_batch
from hub.model import Reading
from hub.stores.duckdb import DuckDBStore
from hub.ward.registry import Registry
from hub.ward.wardfile import parse

T0 = 1_795_488_000_000_000_000
SECOND = 1_000_000_000


def hub(*arguments, text=None, cwd=None):
    command = [sys.executable, "-m", "hub.cli", *arguments]
    return subprocess.run(
        command, check=False, input=text, capture_output=True, text=True, cwd=cwd, timeout=60
    )


def test_news2_reads_an_array_and_prints_scores_with_sub_scores():
    item = {"respiratory_rate": 21, "spo2": 93, "on_oxygen": False, "systolic": 120, "pulse": 95}
    item |= {"consciousness": "A", "temperature": 37.5}
    done = hub("news2", "--json", text=json.dumps([item]))
    assert done.returncode == 0, done.stderr
    (score,) = json.loads(done.stdout)
    assert (score["total"], score["risk"]) == (5, "medium")
    assert score["scores"]["spo2"] == 2


def test_news2_says_what_it_expected():
    done = hub("news2", "--json", text="{}")
    assert done.returncode == 1
    assert "expected a JSON array" in done.stderr


WARD = {
    "site": {"id": "main", "name": "Main"},
    "ward": [{"id": "icu", "name": "Intensive care", "beds": ["icu-01"]}],
    "device": [{"id": "mon-1", "definition": "native", "bed": "icu-01", "interval_s": 1}],
}


@pytest.fixture
def stopped_hub(tmp_path):
    """The data folder of a hub that stored ten minutes of a heart rate around its limit, and was stopped."""

    async def fill():
        data = tmp_path / "data"
        data.mkdir()
        registry = Registry(f"sqlite:///{data / 'registry.sqlite'}")
        await registry.start()
        await registry.seed(parse(WARD, "ward.toml"))
        await registry.stop()
        store = DuckDBStore(data / "series.duckdb")
        await store.start()
        batch = empty_batch(T0)
        for second in range(600):
            time_ns = T0 + second * SECOND
            rate = 125.0 if second % 300 < 20 else 90.0
            batch.readings.append(
                Reading(
                    "main", "mon-1", "observations", time_ns, time_ns, time_ns, second, {"heart_rate": rate}
                )
            )
        await store.write([(1, batch)])
        await store.stop()

    asyncio.run(fill())
    (tmp_path / "hub.toml").write_text('data_dir = "data"\n')
    (tmp_path / "ward.toml").write_text("version = 2\n[adult.heart_rate]\nhigh = 130\n")
    return tmp_path


SPAN = ("--from", "2026-11-24T02:00:00Z", "--to", "2026-11-24T03:00:00Z")


def test_replay_tells_the_alarms_of_other_limits_beside_those_in_use(stopped_hub):
    done = hub("alarms", "replay", *SPAN, "--limits", "ward.toml", "--json", cwd=stopped_hub)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["in_use"]["figures"]["alarms"] == 2
    assert told["tried"]["figures"]["alarms"] == 0
    assert told["in_use"]["readings"] == told["tried"]["readings"] == 600
    assert told["in_use"]["by_condition"] == {"heart_rate limit_high": 2}


def test_replay_says_which_limit_is_wrong(stopped_hub):
    (stopped_hub / "ward.toml").write_text("version = 2\n[adult.heart_rat]\nhigh = 130\n")
    done = hub("alarms", "replay", *SPAN, "--limits", "ward.toml", cwd=stopped_hub)
    assert done.returncode == 78
    assert "did you mean heart_rate" in done.stderr


def test_what_the_ward_changed_holds_in_a_replay_beside_both(stopped_hub):
    async def change():
        book = Book(stopped_hub / "data" / "alarm-book.sqlite")
        await book.start()
        override = Override(
            scope="ward",
            site="main",
            scope_id="icu",
            table="heart_rate",
            values={"low": 100},
            who="charge",
            why="a test",
            set_ns=T0,
        )
        await Overrides(book, load_limits()).set(override, T0)
        await book.stop()

    asyncio.run(change())
    done = hub("alarms", "replay", *SPAN, "--limits", "ward.toml", "--json", cwd=stopped_hub)
    told = json.loads(done.stdout)
    assert told["in_use"]["by_condition"] == {"heart_rate limit_high": 2, "heart_rate limit_low": 2}
    assert told["tried"]["by_condition"] == {"heart_rate limit_low": 2}


def test_replay_of_a_ward_that_isnt_there_names_those_that_are(stopped_hub):
    done = hub("alarms", "replay", *SPAN, "--ward", "icuu", cwd=stopped_hub)
    assert done.returncode == 1
    assert "no device is in ward icuu; there are the wards icu" in done.stderr

"""kill -9 at every point of a write: what was acknowledged is there, each once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub.failpoint import arm
from hub.journal import Journal

WRITER = """
import asyncio, sys
from pathlib import Path
from hub.journal import Journal
from hub.model import Batch, Reading, Rejection

async def main():
    journal = Journal(Path(sys.argv[1]))
    await journal.start()
    for n in range(0, 3000, 3):
        batches = []
        for seq in range(n, n + 3):
            reading = Reading("north", "d", "observations", seq, seq, seq, seq, {"heart_rate": 1.0})
            rejected = [Rejection("t", b"", "$", str(seq), seq)] if int(sys.argv[2]) else []
            batches.append(journal.append(Batch(1, seq, [reading], [], [], [], [], rejected)))
            if n % 2:
                await batches[-1]  # alone: a transaction of one row
        await asyncio.gather(*batches)
        print(n + 2, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("passes", [2, 7])
@pytest.mark.parametrize("with_rejects", [0, 1])
@pytest.mark.parametrize("point", ["before-write", "before-commit", "after-commit"])
async def test_a_kill_at_any_point_of_a_write_loses_nothing_acknowledged(
    tmp_path: Path, point: str, with_rejects: int, passes: int
) -> None:
    path = tmp_path / "journal.db"
    killed = subprocess.run(  # noqa: ASYNC221 - the loop has nothing else to do
        [sys.executable, "-c", WRITER, str(path), str(with_rejects)],
        env={**os.environ, "HUB_FAILPOINT": f"journal:{point}:{passes}"},
        stdout=subprocess.PIPE,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    acknowledged = int((killed.stdout.split() or [-1])[-1])
    journal = Journal(path)
    await journal.start()
    stored = [row.readings[0].seq for _, row in await journal.read(0)]
    rejected = sorted(int(r.rejection.reason) for r in await journal.rejected(limit=10_000))
    await journal.stop()
    assert stored == list(range(len(stored)))
    assert len(stored) > acknowledged
    assert rejected == (stored if with_rejects else [])


def test_an_unset_failpoint_does_nothing_and_another_name_is_passed() -> None:
    arm("")("journal:after-commit")
    arm("drain:after-write:2")("journal:after-commit")
    armed = arm("journal:after-commit:2")
    armed("journal:after-commit")

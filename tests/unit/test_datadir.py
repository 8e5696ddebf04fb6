import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub.datadir import DataDir, DataDirInUse, DataDirUnusable

HOLD = """
import sys
from pathlib import Path
from hub.datadir import DataDir
with DataDir(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_folder_is_made_for_its_owner_alone_and_names_the_hubs_files(tmp_path: Path) -> None:
    path = tmp_path / "a" / "hub"
    with DataDir(path) as data:
        assert path.stat().st_mode & 0o777 == 0o700
        assert {data.journal.parent, data.alarms.parent, data.series.parent, data.broker.parent} == {path}


def test_a_second_hub_is_kept_out_and_told_which_process_is_in(tmp_path: Path) -> None:
    with (
        DataDir(tmp_path),
        pytest.raises(DataDirInUse, match=f"process {os.getpid()}.*data_dir and an id of its own"),
    ):
        DataDir(tmp_path).__enter__()
    with DataDir(tmp_path):
        pass


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(DataDirInUse, match=f"process {other.pid}"):
        DataDir(tmp_path).__enter__()
    other.kill()
    other.wait(10)
    other.stdout.close()
    assert other.stdin
    other.stdin.close()
    with DataDir(tmp_path):
        assert (tmp_path / "hub.lock").read_text() == str(os.getpid())


def test_a_folder_that_can_not_be_made_is_named_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnusable, match=r"file/hub.*Not a directory.*set data_dir") as told:
        DataDir(tmp_path / "file" / "hub").__enter__()
    assert not isinstance(told.value, DataDirInUse)

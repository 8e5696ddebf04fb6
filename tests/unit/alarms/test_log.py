import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hub.alarms.alarm import Alarm
from hub.alarms.log import EventLog, LogUnavailable
from hub.alarms.records import LogUnreadable, Records


async def until(condition):
    """Wait for what another thread or task brings about; fail when it never comes."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came")


class Disk(Records):
    """A real file on a disk that can get stuck or fail."""

    def __init__(self, path):
        super().__init__(path)
        self.works = threading.Event()
        self.works.set()
        self.error = None

    def append(self, events):
        self.works.wait()
        if self.error is not None:
            raise self.error
        super().append(events)

    def after(self, sequence, limit):
        self.works.wait()
        return super().after(sequence, limit)


class Nurse:
    def __init__(self):
        self.told = []

    def __call__(self, event, recorded):
        self.told.append((event.sequence, recorded))

    async def wait_for(self, count):
        await until(lambda: len(self.told) >= count)
        return self.told


def alarm(number=1, presence="present"):
    return Alarm(
        f"al-{number}", "physiological", "high", "limit_low", "main", "mon-1", number, presence, "SpO2 low"
    )


def start(log, number=1):
    return log.record("start", number, alarm(number), ward="icu", bed="icu-01", patient="pt-1")


def end(log, number=1):
    return log.record("end", number, alarm(number, "absent"), ward="icu", bed="icu-01", patient="pt-1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alarms.sqlite"


@pytest.fixture
async def opened(path):
    logs, disks = [], []

    async def open_log(**options):
        disk = Disk(path)
        log = EventLog(disk, **options)
        await log.start()
        logs.append(log)
        disks.append(disk)
        return log, disk

    yield open_log
    for disk in disks:
        disk.error = None
        disk.works.set()
    for log in logs:
        await log.stop()


async def test_events_are_numbered_without_gaps_and_told_in_order_as_recorded(opened):
    log, _ = await opened()
    nurse = Nurse()
    log.listen(nurse)
    assert [start(log, number).sequence for number in range(1, 101)] == list(range(1, 101))
    assert [sequence for sequence, _ in await nurse.wait_for(100)] == list(range(1, 101))
    assert log.last_sequence == 100


async def test_an_event_on_a_working_disk_is_told_as_recorded(opened):
    log, _ = await opened(tell_after_s=30)
    nurse = Nurse()
    log.listen(nurse)
    start(log)
    assert await nurse.wait_for(1) == [(1, True)]
    assert log.unrecorded == 0


async def test_an_alarm_does_not_wait_for_a_stuck_disk(opened):
    log, disk = await opened()
    nurse = Nurse()
    log.listen(nurse)
    disk.works.clear()
    start(log)
    assert await nurse.wait_for(1) == [(1, False)]
    assert log.unrecorded == 1


async def test_what_was_told_unrecorded_is_recorded_when_the_disk_works_again_and_not_told_twice(
    opened, path
):
    log, disk = await opened()
    nurse = Nurse()
    log.listen(nurse)
    disk.works.clear()
    for number in (1, 2, 3):
        start(log, number)
    await nurse.wait_for(3)
    assert [told.recorded for told in await log.after(0)] == [False] * 3
    disk.works.set()
    await until(lambda: not log.unrecorded)
    assert [told.recorded for told in await log.after(0)] == [True] * 3
    assert nurse.told == [(1, False), (2, False), (3, False)]
    assert [event.sequence for event in disk.after(0, 10)] == [1, 2, 3]


async def test_while_the_disk_is_known_to_fail_events_are_told_at_once(opened, caplog):
    caplog.set_level("INFO")
    log, disk = await opened(tell_after_s=3600)
    nurse = Nurse()
    log.listen(nurse)
    disk.error = OSError("no space left on device")
    start(log, 1)
    assert await nurse.wait_for(1) == [(1, False)]
    assert log.failing == "no space left on device"
    start(log, 2)
    assert await nurse.wait_for(2) == [(1, False), (2, False)]
    disk.error = None
    await until(lambda: log.failing is None)
    start(log, 3)
    assert (await nurse.wait_for(3))[2] == (3, True)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_on_a_full_disk_events_are_told_and_later_recorded(opened, path):
    log, disk = await opened()
    nurse = Nurse()
    log.listen(nurse)
    pages = disk._db.execute("PRAGMA page_count").fetchone()[0]
    disk._db.execute(f"PRAGMA max_page_count={pages + 1}")
    for number in range(1, 301):
        start(log, number)
    await nurse.wait_for(300)
    await until(lambda: log.failing is not None)
    assert "full" in log.failing
    assert log.unrecorded > 0
    disk._db.execute("PRAGMA max_page_count=1000000")
    await until(lambda: not log.unrecorded)
    assert [event.sequence for event in disk.after(0, 1000)] == list(range(1, 301))


async def test_a_failing_listener_keeps_no_alarm_from_the_others(opened, caplog):
    log, _ = await opened()
    nurse = Nurse()

    def broken(event, recorded):
        raise RuntimeError("screen fell off")

    log.listen(broken)
    log.listen(nurse)
    start(log)
    await nurse.wait_for(1)
    assert "a listener failed at alarm event 1" in caplog.text


async def test_present_holds_the_newest_event_of_every_alarm_that_has_not_ended_also_after_a_restart(opened):
    log, _ = await opened()
    nurse = Nurse()
    log.listen(nurse)
    start(log, 1)
    start(log, 2)
    end(log, 1)
    log.record("escalate", 9, alarm(2), ward="icu")
    await nurse.wait_for(4)
    assert [(event.sequence, event.alarm.id) for event in log.present()] == [(4, "al-2")]
    await log.stop()
    again, _ = await opened()
    assert again.present() == log.present()


async def test_after_returns_told_events_in_order_in_pages_and_goes_on_behind_memory(opened):
    log, _ = await opened(recent=10)
    nurse = Nurse()
    log.listen(nurse)
    for number in range(1, 51):
        start(log, number)
    await nurse.wait_for(50)
    await until(lambda: not log.unrecorded)
    found, after = [], 0
    while page := await log.after(after, 7):
        assert len(page) <= 7
        after = page[-1].event.sequence
        found += [told.event.sequence for told in page]
    assert found == list(range(1, 51))


async def test_recent_events_are_read_without_the_disk(opened):
    log, disk = await opened()
    nurse = Nurse()
    log.listen(nurse)
    start(log)
    await nurse.wait_for(1)
    disk.works.clear()
    assert [told.event.sequence for told in await log.after(0)] == [1]


async def test_old_events_on_a_failing_disk_are_an_error_not_a_gap(opened):
    log, disk = await opened(recent=2)
    nurse = Nurse()
    log.listen(nurse)
    for number in range(1, 6):
        start(log, number)
    await nurse.wait_for(5)

    def fail(sequence, limit):
        raise sqlite3.OperationalError("disk I/O error")

    disk.after = fail
    with pytest.raises(LogUnavailable, match="disk I/O error"):
        await log.after(0)


async def test_after_a_clean_stop_the_sequence_and_the_epoch_go_on(opened):
    log, _ = await opened()
    start(log)
    epoch = log.epoch
    await log.stop()
    again, _ = await opened()
    assert again.epoch == epoch
    assert again.resumable(epoch, 1)
    assert start(again, 2).sequence == 2


async def test_after_a_stop_with_something_unrecorded_lost_ids_are_not_resumable_and_never_used_again(
    opened, path
):
    log, disk = await opened()
    nurse = Nurse()
    log.listen(nurse)
    start(log, 1)
    await nurse.wait_for(1)
    disk.error = OSError("no space left on device")
    start(log, 2)
    await nurse.wait_for(2)
    epoch = log.epoch
    await log.stop()
    again, _ = await opened()
    assert again.epoch != epoch
    assert again.resumable(epoch, 1)
    assert not again.resumable(epoch, 2)
    start(again, 3)
    nurse = Nurse()
    again.listen(nurse)
    await nurse.wait_for(1)
    assert again.resumable(again.epoch, 2)
    assert not again.resumable(epoch, 2)


async def test_ids_of_another_log_and_of_the_future_are_not_resumable(opened):
    log, _ = await opened()
    assert log.resumable(log.epoch, 0)
    assert not log.resumable(log.epoch, 1)
    assert not log.resumable("00000000", 0)


async def test_trim_removes_ended_alarms_whole_and_keeps_present_ones(opened):
    log, _ = await opened()
    nurse = Nurse()
    log.listen(nurse)
    start(log, 1)
    start(log, 2)
    end(log, 2)
    start(log, 50)
    end(log, 50)
    await nurse.wait_for(5)
    await log.trim(50)
    await log.stop()
    again, _ = await opened()
    assert [told.event.sequence for told in await again.after(0)] == [1, 4, 5]
    assert [event.alarm.id for event in again.present()] == ["al-1"]
    assert not again.resumable(again.epoch, 2)
    assert again.resumable(again.epoch, 3)


async def test_trimming_everything_frees_no_number(opened):
    log, _ = await opened()
    start(log)
    end(log)
    await until(lambda: not log.unrecorded)
    await log.trim(2**62)
    await log.stop()
    again, _ = await opened()
    assert start(again, 3).sequence == 3


async def test_a_stuck_disk_does_not_hold_up_the_end_of_the_hub(opened, caplog):
    log, disk = await opened()
    disk.works.clear()
    start(log)
    await log.stop(timeout_s=0.2)
    assert "1 alarm events were told and never recorded" in caplog.text


async def test_a_file_that_is_no_log_is_an_error_that_says_what_to_do(path):
    path.write_bytes(b"not a database, " * 1000)
    with pytest.raises(LogUnreadable, match="move the file away"):
        await EventLog(Records(path)).start()


async def test_a_log_of_a_newer_hub_is_not_touched(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(LogUnreadable, match="newer hub"):
        await EventLog(Records(path)).start()


HUB = """
import asyncio, sys
from pathlib import Path
from hub.alarms.alarm import Alarm
from hub.alarms.log import EventLog
from hub.alarms.records import Records

async def main():
    log = EventLog(Records(Path(sys.argv[1])))
    await log.start()
    log.listen(lambda event, recorded: print(log.epoch, event.sequence, recorded, flush=True))
    number = 0
    while True:
        number += 1
        alarm = Alarm(f"al-{number}", "technical", "low", "rejects", "main", "mon-1", number, "present", "")
        log.record("start", number, alarm)
        await asyncio.sleep(0.0005)

asyncio.run(main())
"""


def test_kill_9_loses_nothing_that_was_told_as_recorded_and_uses_no_id_twice(path):
    ids = set()
    for _ in range(3):
        hub = subprocess.Popen([sys.executable, "-c", HUB, str(path)], stdout=subprocess.PIPE, text=True)
        told = []
        while len(told) < 40:
            epoch, sequence, recorded = hub.stdout.readline().split()
            told.append((epoch, int(sequence), recorded == "True"))
        os.kill(hub.pid, signal.SIGKILL)
        for line in hub.stdout.read().splitlines():
            if line.count(" ") == 2 and line.endswith(("True", "False")):
                epoch, sequence, recorded = line.split()
                told.append((epoch, int(sequence), recorded == "True"))
        hub.wait()
        hub.stdout.close()
        seen = {(epoch, sequence) for epoch, sequence, _ in told}
        assert not seen & ids
        ids |= seen
        stored = [event.sequence for event in Records(path).after(0, 100_000)]
        assert {sequence for _, sequence, recorded in told if recorded} <= set(stored)
        assert stored == list(range(1, len(stored) + 1))


def valid_frames(wal: bytes) -> bytes:
    """Cut off what a write-ahead log holds from before SQLite last began it anew: frames of another salt."""
    salt, frame = wal[16:24], 24 + int.from_bytes(wal[8:12], "big")
    end = 32
    while wal[end + 8 : end + 16] == salt:
        end += frame
    return wal[:end]


def test_a_torn_tail_is_cut_off_and_what_came_before_is_kept(path, tmp_path):
    hub = subprocess.Popen([sys.executable, "-c", HUB, str(path)], stdout=subprocess.PIPE, text=True)
    for _ in range(30):
        hub.stdout.readline()
    os.kill(hub.pid, signal.SIGKILL)
    hub.wait()
    hub.stdout.close()
    tail = Path(f"{path}-wal")
    content = valid_frames(tail.read_bytes())
    whole = tmp_path / "whole.sqlite"
    whole.write_bytes(path.read_bytes())
    Path(f"{whole}-wal").write_bytes(content)
    Records(whole).open()
    recorded = [event.sequence for event in Records(whole).after(0, 100_000)]
    tail.write_bytes(content[:-2000] + os.urandom(500))
    reopened = Records(path)
    reopened.open()
    kept = [event.sequence for event in reopened.after(0, 100_000)]
    assert kept == list(range(1, reopened.last_sequence() + 1))
    assert 0 < kept[-1] < recorded[-1]
    reopened.close(complete=True)


async def test_the_erasure_of_a_patient_leaves_no_event_of_theirs_in_memory_or_file(tmp_path):
    log = EventLog(Records(tmp_path / "alarms.sqlite"))
    await log.start()
    for patient in ("pt-erased", "pt-stays"):
        alarm = Alarm(patient, "physiological", "high", "limit_low", "main", "mon-1", 1, "present", "text")
        log.record("start", 1, alarm, patient=patient)
    await log.erase("pt-erased")
    assert [event.patient for event in log.present()] == ["pt-stays"]
    assert [told.event.patient for told in await log.after(0)] == ["pt-stays"]
    await log.stop()
    for file in tmp_path.iterdir():
        assert b"pt-erased" not in file.read_bytes()


def shown(found):
    return [(one.sequence, one.newest.alarm.id, one.newest.event) for one in found]


@pytest.mark.parametrize("recent", [1, 3, 100])
async def test_alarms_are_listed_by_when_they_began_wherever_their_events_are(opened, recent):
    log, _ = await opened(recent=recent)
    for number in range(1, 6):
        start(log, number)
    end(log, 2)
    log.record("acknowledged", 9, alarm(3), patient="pt-1")
    await log.told(7)
    every = [
        (5, "al-5", "start"),
        (4, "al-4", "start"),
        (3, "al-3", "acknowledged"),
        (2, "al-2", "end"),
        (1, "al-1", "start"),
    ]
    assert shown(await log.begun(0, 100)) == every
    assert shown(await log.begun(2, 5)) == every[1:4]
    assert shown(await log.begun(0, 100, limit=2)) == every[:2]
    assert shown(await log.begun(0, 100, before=4, limit=2)) == every[2:4]
    assert shown(log.active()) == [*every[:3], every[4]]


async def test_what_is_active_is_known_by_its_beginning_after_a_restart_too(opened):
    log, _ = await opened()
    start(log, 1)
    start(log, 2)
    log.record("acknowledged", 9, alarm(1), patient="pt-1")
    await log.told(3)
    before = log.active()
    await log.stop()
    again, _ = await opened()
    assert again.active() == before
    assert shown(before) == [(2, "al-2", "start"), (1, "al-1", "acknowledged")]


@pytest.mark.parametrize("recent", [1, 3, 100])
async def test_an_alarm_that_began_again_is_listed_once_from_then(opened, recent):
    log, _ = await opened(recent=recent)
    start(log, 1)
    end(log, 1)
    log.record("start", 5, alarm(1), patient="pt-1")
    start(log, 2)
    await log.told(4)
    assert shown(await log.begun(0, 100)) == [(4, "al-2", "start"), (3, "al-1", "start")]
    assert await log.begun(0, 2) == []

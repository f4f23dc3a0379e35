"""Vitals: what is measured is so, of late and in all; it fits into a packet; rank 0 leaves all ranks' in one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from harness.folder.run_folder import RunFolder
from harness.watch.beat import NOTICE_BYTES, Beat
from harness.watch.process_readings import ProcessReadings
from harness.watch.ranks_file import Attempted, RanksFile, read_snapshot
from harness.watch.time_split import Watched
from harness.watch.vitals import RECENT_S, Vitals, VitalSigns


class Readings(ProcessReadings):
    """Real readings, but for the time."""

    now = 100.0

    def clock(self):
        return self.now


def test_seconds_go_to_the_phase_and_recent_is_what_was_gained_of_late():
    readings = Readings()
    signs = VitalSigns(3, readings=readings)
    signs.measure(0)
    readings.now += 2
    signs.enter("evaluating")
    for _ in range(20):
        readings.now += 1
        vitals = signs.measure(int(readings.now - 102) * 10)
    assert vitals.age_s == 22 and vitals.seconds == {"starting": 2.0, "other": 20.0}
    assert (vitals.recent.over_s, vitals.recent.examples, vitals.recent.seconds) == (RECENT_S, 50, {"other": RECENT_S})
    signs.enter("waiting")
    readings.now += 4
    assert signs.measure(200).seconds == {"starting": 2.0, "other": 20.0, "waiting": 4.0}
    assert vitals.threads == 3


def test_examples_are_those_of_this_attempt():
    signs = VitalSigns()
    signs.attach(Watched(None), earlier=40)
    assert [signs.measure(examples).examples for examples in (0, 40, 50)] == [0, 0, 10]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is read is Linux's")
def test_what_linux_says_is_what_it_shows_others():
    import psutil

    readings, process = ProcessReadings(), psutil.Process()
    assert readings.rss_bytes == pytest.approx(process.memory_info().rss, rel=0.05)
    before_s, busy_before_s = readings.cpu_s, readings.busy_s
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    assert 0.02 < readings.cpu_s - before_s < 5
    assert 0.0 <= readings.busy_s - busy_before_s <= 60 * os.cpu_count()
    pinned = (
        "import os; os.sched_setaffinity(0, {0});"
        "from harness.watch.process_readings import ProcessReadings as P; print(P().cpus, P().busy_s)"
    )
    out = subprocess.run([sys.executable, "-c", pinned], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == "0" and 0 < float(out[1]) <= readings.busy_s + 60


def test_where_linux_does_not_show_it_nothing_is_made_up(tmp_path):
    readings = ProcessReadings(tmp_path)
    assert (readings.rss_bytes, readings.read_bytes, readings.busy_s) == (None, None, None)
    document = VitalSigns(2, readings=readings).measure().to_json()
    assert not {"rss_bytes", "busy_s", "gpu_percent"} & set(document) and "busy_s" not in document["recent"]
    assert Vitals.from_json(json.loads(json.dumps(document))).rss_bytes is None


class Step:
    """A step whose call goes on; so much of it was waited."""

    def __init__(self, watched_s):
        self.watched_s = watched_s
        self.during = None

    def run(self, most=None):
        time.sleep(0.2)
        self.during = self.outer.so_far(10.0), self.outer.call_s
        return SimpleNamespace(batches=[0], reading_s=self.watched_s)

    def call_waited_s(self):
        return self.watched_s


def test_a_call_that_goes_on_is_divided_already():
    """A chunk may take minutes, the first one too: it is not all compiling."""
    step = Step(0.15)
    step.outer = watched = Watched(step)
    watched.run()
    first, call_s = step.during
    assert call_s >= 0.2 and first["reading"] == 0.15 and first["compiling"] == pytest.approx(call_s - 0.15, abs=0.05)
    watched.run()
    second, _ = step.during
    assert second["reading"] == pytest.approx(0.3) and second["compiling"] == pytest.approx(watched.first_s - 0.15)
    after = watched.so_far(10.0)
    assert after["reading"] == pytest.approx(0.3) and sum(after.values()) == pytest.approx(10.0) and watched.call_s == 0.0


def test_a_first_call_before_the_phase_is_not_counted_twice():
    readings = Readings()
    signs = VitalSigns(readings=readings)
    watched = Watched(SimpleNamespace(call_waited_s=lambda: 0.0))
    watched.first_s = 6.0
    signs.attach(watched, 0)
    readings.now += 10
    assert signs.measure().seconds == {"starting": 4.0, "compiling": 6.0}
    signs.enter("evaluating")
    readings.now += 2
    assert signs.measure().seconds == {"starting": 6.0, "compiling": 6.0}


def full(rank=0, where="chunk 5: data/val-07.tfrecord, records 64..128"):
    vitals = VitalSigns(64).measure(123_456_789).to_json()
    seconds = {name: 12345.678 for name in ("starting", "compiling", "reading", "predicting", "other", "waiting")}
    vitals |= {"seconds": seconds, "rss_bytes": 10**12, "gpu_percent": 100, "gpu_bytes": 10**11, "gpu_total_bytes": 10**11}
    vitals["recent"] |= {"seconds": seconds}
    return Beat(rank, "a-node-with-a-long-name.cluster.example.org", 4_000_000, "evaluating", where=where, vitals=vitals)


def test_a_notice_fits_into_a_packet_and_keeps_the_vitals():
    beat = full(where="chunk 5: " + "ü" * 300)
    notice = beat.to_notice()
    assert len(notice) <= NOTICE_BYTES
    heard = Beat.from_notice(notice, 0)
    assert heard.vitals == beat.vitals and heard.where == beat.where[:100]
    whole = full()
    assert Beat.from_notice(whole.to_notice(), 0) == whole


def test_rank_0_leaves_what_all_told_in_one_file(tmp_path):
    folder = RunFolder(tmp_path)
    folder.progress.mkdir()
    heard = Beat.from_notice(full(1).to_notice(), 1)
    clock = SimpleNamespace(now=0.0)
    file = RanksFile(folder, 4096, Attempted(3, 1000, 10, 2, "s3://key:secret@host/m"), lambda: clock.now)
    file.write_in_turn([full(0), heard])
    snapshot = read_snapshot(folder)
    assert snapshot.attempted == Attempted(3, 1000, 10, 2, "s3://***@host/m")
    assert [beat.rank for beat in snapshot.beats] == [0, 1] and snapshot.beats[1] == heard
    assert abs(snapshot.time_s - time.time()) < 60
    written = (folder.progress / "ranks.json").stat().st_mtime_ns
    for clock.now in range(1, 8):  # 4,096 ranks tell every 8 s how they stand
        file.write_in_turn([full(0)])
    assert (folder.progress / "ranks.json").stat().st_mtime_ns == written
    clock.now = 8.192
    file.write_in_turn([full(0)])
    assert len(read_snapshot(folder).beats) == 1
    assert [path.name for path in folder.progress.iterdir()] == ["ranks.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "ranks": 3}'])
def test_a_file_that_is_torn_or_of_another_version_says_nothing(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.progress.mkdir()
    (folder.progress / "ranks.json").write_text(content)
    assert read_snapshot(folder) is None

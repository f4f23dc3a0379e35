"""Monitors on their own: files that are whole, ports that are taken, the ranks of a node, a rank that stands still."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.errors import UsageError
from harness.job.monitor_spec import MonitorSpec
from harness.ranks.notices import NoNotices
from harness.watch.beat import Beat
from harness.watch.monitor import Monitor, Subject, text_file
from harness.watch.monitor_metrics import Sample
from harness.watch.monitor_pages import HttpPage, TextFile
from harness.watch.node_beats import NodeBeats
from tests.conftest import ROOT
from tests.thread_comm import ThreadComm, on_ranks
from tests.watch.monitored import beat, whole


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def monitor(tmp_path: Path, clock: Clock, spec: MonitorSpec, stall_timeout_s: float = 20.0) -> Monitor:
    node = NodeBeats(NoNotices(), is_first=True)
    subject = Subject(tmp_path, stall_timeout_s, whole())
    opened = Monitor.open(node, subject, 0, spec, tmp_path if spec.textfile else None)
    opened._clock = opened._wall = clock
    opened._write_due_s = opened._disk_due_s = clock()
    return opened


def values(text: str) -> dict[str, dict[str, float]]:
    """Return by metric what is said, by the values of the labels but the run."""
    families = text_string_to_metric_families(text)
    page: dict[str, dict[str, float]] = {}
    for family in families:
        for one in family.samples:
            labels = ",".join(value for name, value in sorted(one.labels.items()) if name != "run")
            page.setdefault(one.name.removeprefix("harness_"), {})[labels] = one.value
    return page


def test_a_file_is_there_while_the_run_is_and_gone_when_it_is_over(tmp_path: Path) -> None:
    clock = Clock()
    opened = monitor(tmp_path, clock, MonitorSpec(textfile="."))
    path = text_file(tmp_path, tmp_path, 0)
    opened.see([beat(0), beat(1)])
    opened.beat(beat(0))
    page = values(path.read_text())
    assert (
        page["examples_total"] == {"0": 320}
        and page["run_chunks_left"] == {"": 14}
        and page["beat_timestamp_seconds"] == {"": 100}
    )
    assert path.stat().st_mode & 0o777 == 0o644
    assert page["run_folder_size_bytes"][""] > page["run_folder_free_bytes"][""] > 0 or "run_folder_size_bytes" not in page
    opened.beat(beat(0, "done"))
    assert list(tmp_path.iterdir()) == []
    opened.beat(beat(0))  # late
    opened.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_leaves_that_died_stays_and_goes_no_further(tmp_path: Path) -> None:
    opened = monitor(tmp_path, Clock(), MonitorSpec(textfile="."))
    opened.beat(beat(0))
    opened.close()
    assert values(text_file(tmp_path, tmp_path, 0).read_text())["beat_timestamp_seconds"] == {"": 100}


def test_a_rank_that_stands_still_is_told_from_one_that_moves(tmp_path: Path) -> None:
    clock = Clock()
    opened = monitor(tmp_path, clock, MonitorSpec(textfile="."), stall_timeout_s=20.0)
    for _ in range(12):
        opened.beat(beat(0))
        clock.now += 1
    run = str(tmp_path)
    assert {Sample("idle_seconds", (run, "0"), 12.0), Sample("stalled", (run, "0", "reading"), 1.0)} <= set(opened.page())
    moved = beat(0)
    moved.moves += 1
    opened.beat(moved)
    stalled = [sample for sample in opened.page() if sample.name == "stalled"]
    assert stalled == [Sample("stalled", (str(tmp_path), "0", "none"), 0.0)]


def test_the_rate_of_a_run_is_that_of_this_attempt(tmp_path: Path) -> None:
    clock = Clock()
    opened = monitor(tmp_path, clock, MonitorSpec(textfile="."))

    def rate(*beats: Beat) -> float | None:
        opened.see(beats)
        opened.beat(beats[0])
        return next((sample.value for sample in opened.page() if sample.name == "run_examples_per_second"), None)

    def at(examples: int, phase: str = "evaluating") -> list[Beat]:
        return [Beat(rank, "n", 1, phase, examples) for rank in range(2)]

    assert rate(*at(0)) is None
    assert rate(*at(500)) is None  # of earlier attempts, say
    clock.now += 10
    assert rate(*at(600)) == 20.0
    assert rate(*at(600, "waiting")) is None


def test_a_page_is_served_until_the_run_is_over(tmp_path: Path) -> None:
    port = free_port()
    opened = monitor(tmp_path, Clock(), MonitorSpec(port=port, address="127.0.0.1"))
    opened.beat(beat(0))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert values(answer.read().decode())["chunks_total"] == {"0": 10}
    opened.beat(beat(0, "interrupted"))
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"monitor.port: expected a port of 127.0.0.1 that is free, found {port}: another process"
        ):
            HttpPage("127.0.0.1", port, list, patience_s=0.0)


def test_a_port_that_an_earlier_attempt_gives_back_is_waited_for() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    threading.Timer(0.5, taken.close).start()
    HttpPage("127.0.0.1", port, list, patience_s=60.0).close()


def test_an_address_that_is_not_of_this_machine_is_said() -> None:
    with pytest.raises(UsageError, match="expected a port of 192.0.2.1 that is free"):
        HttpPage("192.0.2.1", free_port(), list, patience_s=0.0)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="monitor.textfile: expected a folder that this process may write to, found .*gone"):
        TextFile(tmp_path / "gone" / "harness-a.prom", list)


def test_a_disk_that_is_full_later_is_a_warning_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    (tmp_path / "text").mkdir()
    opened = monitor(tmp_path / "text", clock, MonitorSpec(textfile="."))
    text_file(tmp_path / "text", tmp_path / "text", 0).unlink()
    (tmp_path / "text").rmdir()
    for _ in range(3):
        opened.beat(beat(0))
        clock.now += 10
    said = capfd.readouterr().err
    assert said.count("harness: warning: metrics for Prometheus cannot be written") == 1 and said.count("\n") == 1


def test_files_of_runs_that_were_killed_long_ago_are_taken_away(tmp_path: Path) -> None:
    old, new, other = tmp_path / "harness-1-0.prom", tmp_path / "harness-2-0.prom", tmp_path / "disk.prom"
    torn = tmp_path / ".harness-1-0.prom.n.7.ab"
    for path in (old, new, other, torn):
        path.write_text("")
    for path in (old, other, torn):
        os.utime(path, (0, 0))
    TextFile(tmp_path / "harness-3-0.prom", list)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.prom", "harness-2-0.prom", "harness-3-0.prom"]


WRITER = """
import sys
from pathlib import Path
from tests.watch.monitored import node
from harness.watch.monitor_metrics import samples
from harness.watch.monitor_pages import TextFile
page = samples(node())
file = TextFile(Path(sys.argv[1]), lambda: page)
print("ready", flush=True)
while True:
    file.show()
"""


def test_a_kill_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "harness-a-0.prom"
    sizes = set()
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        for _ in range(50):
            sizes.add(len(path.read_bytes()))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        sizes.add(len(path.read_bytes()))
        list(text_string_to_metric_families(path.read_text()))
    assert len(sizes) == 1 and sizes.pop() > 3000
    assert [one.name for one in tmp_path.glob("*.prom")] == [path.name]  # what was torn has another ending


class Hosted(ThreadComm):
    """A rank of one of two machines."""

    @property
    def host(self) -> str:
        return f"n{self.rank // 3}"


def test_the_ranks_of_a_node_tell_its_first() -> None:
    """Five ranks on two machines: 0 to 2, and 3 and 4."""

    def work(comm: ThreadComm) -> Sequence[int]:
        node = NodeBeats.meet(Hosted(comm.rank, comm.size, comm._barrier, comm._board))
        deadline = time.monotonic() + 60
        wanted = {0: 3, 3: 2}.get(comm.rank, 1)
        while True:
            node.tell(Beat(comm.rank, phase="evaluating", chunks=comm.rank))
            known = node.known()
            if len(known) == wanted or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        comm.barrier()
        node.close()
        assert node.is_first is (comm.rank in (0, 3))
        assert all(beat.chunks == beat.rank for beat in known)
        return [beat.rank for beat in known]

    assert on_ranks(5, work) == [[0, 1, 2], [1], [2], [3, 4], [4]]

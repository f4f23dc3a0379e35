"""`harness watch` without ranks: what run folders hold, on terminals of any size, as JSON and back, and how it ends."""

from __future__ import annotations

import io
import json
import os
import sys
import time

import pytest

from harness.folder.run_folder import RunFolder
from harness.ranks.notices import Heard, NoNotices
from harness.watch import remote, screen
from harness.watch.beat import Beat
from harness.watch.diagnosis import Cause
from harness.watch.ranks_file import Attempted, RanksFile
from harness.watch.run_view import from_document, look
from harness.watch.stack_dump import StackAnswers, ask_for_stack
from harness.watch.watching import FolderTarget, Pace, watch

SLOW = {"reading": 4.5, "predicting": 0.5}
WELL = {"reading": 0.5, "predicting": 4.5}


def beat(rank, *, ranks_a_node=8, slow=False, phase="evaluating", call_s=0.2, age_s=60.0):
    examples = 100 if slow else 1000
    vitals = {
        "age_s": age_s, "examples": 10 * examples, "seconds": {"starting": 5.0, "predicting": 50.0}, "call_s": call_s, "cpu_s": 60.0,
        "rss_bytes": 2_000_000_000, "threads": 4, "cpus": "0-31", "busy_s": 100.0, "gpu_percent": 90, "gpu_bytes": 30_000_000_000,
        "gpu_total_bytes": 80_000_000_000,
        "recent": {"over_s": 5.0, "examples": examples, "seconds": SLOW if slow else WELL, "cpu_s": 5.0, "busy_s": 40.0},
    }  # fmt: skip
    where = f"chunk {rank}: data/val-{rank:05d}.tfrecord, records 0..4096"
    return Beat(rank, f"node{rank // ranks_a_node:04d}", 100 + rank, phase, 10 * examples, 10, where, moves=3, vitals=vitals)


def run_folder(path, beats, *, state="running", code=None, examples=40_000_000, attempt=1):
    folder = RunFolder(path)
    folder.progress.mkdir(parents=True)
    folder.set_status(state, code, ranks=len(beats), attempt=attempt)
    RanksFile(folder, len(beats), Attempted(1, examples, 4000, 0, "models/m.keras")).write(beats)
    return folder


@pytest.mark.parametrize("ranks_a_node", [8, 1, 1000])
@pytest.mark.parametrize("width, height", [(80, 24), (200, 60), (40, 12)])
def test_a_thousand_ranks_fit(tmp_path, width, height, ranks_a_node):
    """Nodes first, the outliers, then totals; what is wrong before all of them."""
    beats = [beat(rank, slow=rank == 437, ranks_a_node=ranks_a_node) for rank in range(1000)]
    view = look(run_folder(tmp_path / "run", beats), "run")
    begun = time.monotonic()
    lines = screen.lines(view, width, height)
    assert time.monotonic() - begun < 2
    assert len(lines) <= height and max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "! rank 437 on node" in text
    if width >= 80:
        assert "slow storage: reading takes it" in " ".join(text.split())
        assert lines[0] == "run: running, models/m.keras"
        assert "9,991,000 of 40,000,000 examples, 199,820/s, 2 min 30 s left" in lines[1]
        assert any(line.lstrip().startswith("!437") for line in lines)
        assert lines[-2].startswith("1,000 ranks: 1,000 evaluating, 999 predicting, 1 reading")
        assert lines[-1] == "memory 2.0 TB; examples/s a rank: 20 to 200, half below 200"
    if width >= 80 and ranks_a_node == 8:
        nodes = [line.split()[0] for line in lines if line.startswith("node0")]
        assert nodes[0] == "node0054" and f"… and {125 - len(nodes)} nodes more" in text


def test_few_ranks_are_all_shown(tmp_path):
    view = look(run_folder(tmp_path / "run", [beat(0), beat(1, phase="waiting"), beat(2)], examples=30_000), "run")
    assert screen.lines(view, 120, 24) == [
        "run: running, models/m.keras",
        "evaluating ━━━━━━━━━━━━━━━━━━━━━━━━ 100 %  30,000 of 30,000 examples, 400/s, 0 s left",
        "rank  node      phase       ex/s  cores  memory   gpu  gpu mem  where",
        "   0  node0000  predicting   200    1.0  2.0 GB  90 %  30.0 GB  chunk 0: data/val-00000.tfrecord, records 0..4096",
        "   1  node0000  waiting             1.0  2.0 GB  90 %  30.0 GB  chunk 1: data/val-00001.tfrecord, records 0..4096",
        "   2  node0000  predicting   200    1.0  2.0 GB  90 %  30.0 GB  chunk 2: data/val-00002.tfrecord, records 0..4096",
    ]


def test_who_is_stuck_or_silent_is_said(tmp_path):
    beats = [beat(0), beat(1), beat(2, call_s=95.0), beat(3, age_s=20.0), beat(4, age_s=20.0, phase="done")]
    notes = look(run_folder(tmp_path / "run", beats), "run").notes
    assert notes == [
        "rank 2 on node0000 is in one call of the step for 95 s (chunk 2: data/val-00002.tfrecord, records 0..4096): --stack 2 shows where",
        "rank 3 on node0000 has told nothing for 40 s: its process stands still, or its machine is gone",
    ]  # fmt: skip
    long = look(run_folder(tmp_path / "long", [beat(rank, call_s=95.0) for rank in range(3)]), "long")
    assert long.notes == []  # all chunks are so large
    folder = RunFolder(tmp_path / "run")
    silent = look(folder, "run", lambda: time.time() + 300)
    assert (silent.state, silent.over, len(silent.slow)) == ("silent", False, 0)
    assert silent.notes[0].startswith("rank 0 has written nothing for 30")


def test_what_another_machine_tells_is_shown_as_here(tmp_path):
    folder = run_folder(tmp_path / "run", [*(beat(rank) for rank in range(9)), beat(9, slow=True)])
    view = look(folder, "run")
    document = json.loads(json.dumps(view.document()))
    there = from_document(document)
    assert screen.lines(there, 100, 30) == screen.lines(view, 100, 30) and there.slow[0].cause is Cause.STORAGE
    assert there.document() == document
    assert (document["examples_per_s"], document["stragglers"][0]["rank"], document["chunks_done"]) == (1820.0, 9, 100)
    folder.set_status("interrupted", 4, attempt=1)
    assert from_document(look(folder, "run").document()).exit_code == 4


@pytest.mark.parametrize("state, code", [("failed", 1), ("interrupted", 4), ("ended", 2)])
def test_a_run_that_ended_says_how_and_ends_with_its_code(tmp_path, state, code, capsys):
    folder = run_folder(tmp_path / "run", [beat(0)], state=state, code=code)
    folder.record_failure("rank 1 on n: data/a.tfrecord, record 5: wrong checksum", rank=1)
    running = run_folder(tmp_path / "other", [beat(0)])
    out = io.StringIO()
    assert watch([FolderTarget(folder, "run")], Pace(out=out)) == code
    assert out.getvalue().splitlines()[0] == f"run: {state}"
    assert ("record 5: wrong checksum" in out.getvalue()) is (state == "failed")
    both = [FolderTarget(folder, "run"), FolderTarget(running, "other")]
    assert watch(both, Pace(once=True, out=io.StringIO())) == code


def test_a_run_whose_ranks_have_told_nothing_yet(tmp_path):
    folder = run_folder(tmp_path / "run", [beat(0)])
    (folder.progress / "ranks.json").unlink()
    assert screen.lines(look(folder, "run"), 100, 9)[1] == "  the ranks meet, and look at model and data"
    late = look(folder, "run", lambda: time.time() + 600)
    assert late.state == "running" and "a run that was started in Python tells nothing" in late.notes[0]
    attempted = json.loads((folder.status_json).read_text())
    assert attempted["attempt"] == 1
    folder.set_status("running", None, attempt=2)  # what an earlier attempt left is not shown
    RanksFile(folder, 1, Attempted(1, 10, 1)).write([beat(0)])
    assert look(folder, "run").snapshot is None


@pytest.mark.parametrize(
    "vitals", [{"recent": {"over_s": "x"}}, {"age_s": "5", "call_s": None}, {"cpus": 5, "recent": {"over_s": 5.0, "busy_s": 1.0}}]
)
def test_what_another_version_wrote_is_no_traceback(tmp_path, vitals):
    folder = run_folder(tmp_path / "run", [beat(0), Beat(1, "h", 5, "evaluating", vitals=vitals)])
    view = look(folder, "run")
    assert view.snapshot is None and "is not as this version" in screen.lines(view, 100, 9)[1]


@pytest.mark.parametrize("content", ["{", "[1]", '{"metrics": {}}', '{"metrics": {"a": {"value": NaN}}}', None])
def test_a_result_that_cannot_be_read_is_said_alike_as_text_and_as_json(tmp_path, content):
    folder = run_folder(tmp_path / "run", [beat(0)], state="done", code=0)
    if content is None:
        folder.metrics_json.mkdir()
    else:
        folder.metrics_json.write_text(content)
    for as_json in (False, True):
        out = io.StringIO()
        assert watch([FolderTarget(folder, "run")], Pace(once=True, as_json=as_json, out=out)) == 2
        assert "unreadable" in out.getvalue() and str(folder.metrics_json) in "".join(out.getvalue().split())
    document = json.loads(out.getvalue())
    assert (document["state"], document["exit_code"]) == ("unreadable", 2)
    running = FolderTarget(run_folder(tmp_path / "other", [beat(0)]), "other")  # the others are shown all the same
    assert watch([FolderTarget(folder, "run"), running], Pace(once=True, out=io.StringIO())) == 2


def test_no_time_is_promised_while_a_rank_is_stuck_or_the_run_is_silent(tmp_path):
    folder = run_folder(tmp_path / "run", [beat(0), beat(1), beat(2, call_s=95.0)])
    for view in (look(folder, "run"), look(folder, "run", lambda: time.time() + 300)):
        assert view.left_s is None and view.document()["left_s"] is None
        text = "\n".join(screen.lines(view, 120, 24))
        assert " left" not in text and ("/s" in text.splitlines()[1]) is (view.state == "running"), text
        assert from_document(view.document()).left_s is None


def test_a_long_failure_is_shown_whole(tmp_path):
    folder = run_folder(tmp_path / "run", [beat(0)], state="failed", code=1)
    message = " ".join(f"word{number}" for number in range(60))
    folder.record_failure(message)
    lines = screen.lines(look(folder, "run"), 80, 24)
    assert " ".join(" ".join(lines[1:]).split()) == message and max(map(len, lines)) <= 80


def test_it_looks_again_until_all_is_over(tmp_path):
    folder = run_folder(tmp_path / "run", [beat(0)])
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            folder.set_status("failed", 1)

    out = io.StringIO()
    assert watch([FolderTarget(folder, "run")], Pace(as_json=True, out=out, sleep=sleep)) == 1
    assert [json.loads(line)["state"] for line in out.getvalue().splitlines()] == ["running"] * 3 + ["failed"]
    assert slept == [1.0] * 3

    def leave(seconds):
        raise KeyboardInterrupt

    folder.set_status("running", None, attempt=1)
    assert watch([FolderTarget(folder, "run")], Pace(out=out, sleep=leave)) == 0


def test_the_run_folder_stays_as_it_was(tmp_path):
    folder = run_folder(tmp_path / "run", [beat(0), beat(1, slow=True)])
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    os.chmod(folder.path, 0o555)
    assert watch([FolderTarget(folder, "run")], Pace(once=True, out=io.StringIO())) == 0
    os.chmod(folder.path, 0o755)
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["nothing"], "nothing: expected a run folder, found nothing"),
        (["file"], "file: expected a run folder, found a file"),
        (["folder"], "folder: expected a run folder, found a folder without status.json"),
        (["load"], "load: expected a run folder, found that of a load test"),
        (["s3://bucket/run"], "a run folder lies on a local or shared file system"),
        (["run", "--stack", "0"], "run: expected a run that evaluates, found one that is failed: there is nobody to ask"),
        (["run", "run", "--stack", "0"], "--stack: expected one run"),
        (["run", "--every", "0"], "--every"),
        (["run", "--every", "nan"], "--every"),
        (["run", "--every", "inf"], "--every"),
        ([], "RUN"),
    ],
)
def test_what_cannot_be_watched_is_said_before_anything(harness, tmp_path, words, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("")
    (tmp_path / "load").mkdir()
    for name in ("request.json", "lock"):
        (tmp_path / "load" / name).write_text("{}")
    run_folder(tmp_path / "run", [beat(0)], state="failed", code=1)
    done = harness("watch", *words, cwd=tmp_path)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err


def test_a_number_without_slurm_says_so(harness, tmp_path):
    done = harness("watch", "4711", cwd=tmp_path, environ={"PATH": "/nowhere"})
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no squeue here: a number is watched as a job of Slurm" in done.err


def test_over_ssh_the_same_command_runs_there(tmp_path, monkeypatch, capsys):
    """ssh is a stand-in that runs what it is given by a shell, as sshd does; the harness there is real."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "ssh").write_text('#!/bin/sh\n[ "$4" = login ] || { echo "no such host" >&2; exit 255; }\nexec sh -c "$5"\n')
    (bin_folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    run_folder(tmp_path / "a run", [beat(0), beat(1), beat(2, slow=True)])
    command = f"{sys.executable} -m harness"
    target = remote.SshTarget("login", [str(tmp_path / "a run")], command)
    (shown,) = target.look()
    assert "! rank 2 on node0000 is slow" in "\n".join(shown.lines(100, 20))
    out = io.StringIO()
    assert watch([target], Pace(once=True, as_json=True, out=out)) == 0
    assert json.loads(out.getvalue())["stragglers"][0]["rank"] == 2
    for host, names, words in (
        ("other", ["x"], "--ssh other: no such host"),
        ("login", [str(tmp_path / "none")], "none: expected a run folder, found nothing"),
    ):
        with pytest.raises(remote.UsageError, match=words):
            remote.SshTarget(host, names, command).look()
    with pytest.raises(remote.UsageError, match="--ssh-harness says how"):
        remote.SshTarget("login", ["x"], "no-such-harness").look()


class HeardRank0(NoNotices):
    """Rank 0's newest notice."""

    def __init__(self, beat):
        self._beat = beat

    def heard(self):
        return {0: Heard(self._beat.to_notice(), time.monotonic())}


@pytest.mark.parametrize("datagrams", [True, False])
def test_a_rank_is_asked_for_its_stacks_through_the_run_folder(tmp_path, datagrams):
    folder = RunFolder(tmp_path)
    folder.progress.mkdir()
    beats = [Beat(0, "h", 5, "evaluating"), Beat(1, "h", 6, "evaluating")]
    notices = [NoNotices(), HeardRank0(beats[0]) if datagrams else NoNotices()]
    ranks = [StackAnswers(folder, rank, 2, notices[rank]) for rank in range(2)]

    def pass_time(seconds):
        for answers, own in zip(ranks, beats, strict=True):
            answers._due_s = 0.0
            answers.serve(own)

    text = ask_for_stack(folder, 1, sleep=pass_time)
    assert text.startswith("rank 1 on h, pid 6, evaluating\n") and "test_a_rank_is_asked_for_its_stacks" in text
    assert not (folder.progress / "stack.json").exists()
    pass_time(0)
    assert len(list(folder.progress.iterdir())) == 1 and beats[0].stack is None
    with pytest.raises(Exception, match="rank 3 has not answered for 17 s"):
        ask_for_stack(folder, 3, sleep=pass_time)


@pytest.mark.parametrize("request_", [{"rank": 0}, {"id": "../../../x", "rank": 0}, [], {"id": 5, "rank": 0}, {"id": "0" * 8}])
def test_a_request_that_is_none_is_passed_over(tmp_path, request_):
    folder = RunFolder(tmp_path)
    folder.progress.mkdir()
    (folder.progress / "stack.json").write_text(json.dumps(request_))
    StackAnswers(folder, 0, 1, NoNotices()).serve(Beat(0))
    assert [path.name for path in folder.progress.iterdir()] == ["stack.json"]

"""Heartbeats: slow is not stuck."""

import json
import threading
import time

import pytest

from harness.folder.run_folder import RunFolder, write_atomically
from harness.ranks.notices import Heard, NoNotices
from harness.watch.beat import Beat, read_beat
from harness.watch.heartbeat import Heartbeat


@pytest.mark.parametrize("phase, busy", [("starting", True), ("evaluating", True), ("writing", True), ("waiting", False), ("done", False)])  # fmt: skip
def test_who_waits_for_others_owes_no_progress(phase, busy):
    assert Beat(0, phase=phase).busy is busy


def test_a_beat_says_who_and_where():
    assert str(Beat(3, "node7", 41, "evaluating", where="chunk 5: a")) == "rank 3 on node7, pid 41, evaluating (chunk 5: a)"


@pytest.mark.parametrize("content", [None, "", "{", '{"rank": 1, "odd": 2}', "[]"])
def test_a_beat_that_is_not_there_or_torn_is_a_rank_that_starts(tmp_path, content):
    if content is not None:
        (tmp_path / "b").write_text(content)
    beat = read_beat(tmp_path / "b", 4)
    assert (beat.rank, beat.phase, beat.moves) == (4, "starting", 0)


def beating(tmp_path, rank, size, timeout, monkeypatch, beats=lambda beats: None, goes_on=False, notices=None):
    monkeypatch.setattr("harness.watch.heartbeat.PERIOD_S", 0.01)
    monkeypatch.setattr("harness.watch.heartbeat.STACK_FIRST_S", 0.03)
    monkeypatch.setattr("harness.watch.roster.Roster.delay_s", lambda self, rank: 0.0)
    folder = RunFolder(tmp_path)
    folder.progress.mkdir(exist_ok=True)
    stalled: list[str] = []
    ended = threading.Event()

    def on_stall(beat: Beat, message: str) -> bool:
        stalled.append(message)
        ended.set()
        return goes_on

    return (
        Heartbeat(folder, rank, size, stall_timeout_s=timeout, on_stall=on_stall, on_beats=beats, notices=notices),
        stalled,
        ended,
        folder,
    )


def test_a_rank_that_does_not_move_is_named(tmp_path, monkeypatch):
    heartbeat, stalled, ended, _ = beating(tmp_path, 2, 3, 0.05, monkeypatch)  # watches itself alone
    heartbeat.move("evaluating", "chunk 7: f")
    heartbeat.start()
    assert ended.wait(30)
    heartbeat.stop()
    assert len(stalled) == 1
    assert "rank 2 on " in stalled[0] and "(chunk 7: f) has made no progress for" in stalled[0]


def test_rank_0_names_another_rank_by_its_file(tmp_path, monkeypatch):
    heartbeat, stalled, ended, folder = beating(tmp_path, 0, 2, 0.05, monkeypatch)
    heartbeat.move("waiting")
    folder.heartbeat(1).write_text(json.dumps({"rank": 1, "host": "h", "pid": 5, "phase": "evaluating", "moves": 3}))
    heartbeat.start()
    assert ended.wait(30)
    heartbeat.stop()
    assert stalled[0].startswith("rank 1 on h, pid 5, evaluating has made no progress for")


class HeardOnce(NoNotices):
    """Rank 0 was heard, and is silent from then on."""

    def __init__(self):
        self._heard = {0: Heard(Beat(0, "h", 5, "evaluating", moves=7).to_notice(), time.monotonic())}

    def heard(self):
        return self._heard


@pytest.mark.parametrize("notices", [HeardOnce, NoNotices])
def test_a_rank_that_may_wait_for_rank_0_lets_that_be_named_first(tmp_path, monkeypatch, notices):
    """Rank 0 hands out the chunks: whoever has none stands still too, and is not stuck."""
    monkeypatch.setattr("harness.watch.heartbeat.notice_period_s", lambda size, least_s=0.01: 0.01)
    heartbeat, stalled, ended, folder = beating(tmp_path, 1, 2, 0.3, monkeypatch, notices=notices())
    folder.heartbeat(0).write_text(json.dumps({"rank": 0, "host": "h", "pid": 5, "phase": "evaluating", "moves": 7}))
    heartbeat.move("evaluating", "chunk 3")
    heartbeat.start()
    assert ended.wait(30)
    heartbeat.stop()
    assert [message.split(" has")[0] for message in stalled] == ["rank 0 on h, pid 5, evaluating"]


def test_a_rank_that_is_stuck_names_itself_while_rank_0_moves(tmp_path, monkeypatch):
    heartbeat, stalled, ended, folder = beating(tmp_path, 1, 2, 2.0, monkeypatch)
    heartbeat.move("evaluating", "chunk 3")
    heartbeat.start()
    moves = 0
    while not ended.wait(0.01):
        moves += 1
        write_atomically(
            folder.heartbeat(0), json.dumps({"rank": 0, "host": "h", "pid": 5, "phase": "evaluating", "moves": moves})
        )
    heartbeat.stop()
    assert stalled[0].startswith("rank 1 on ")


def test_a_rank_that_was_given_up_is_named_once_and_the_others_are_watched_on(tmp_path, monkeypatch):
    heartbeat, stalled, _, folder = beating(tmp_path, 0, 3, 0.05, monkeypatch, goes_on=True)
    heartbeat.move("waiting")
    for rank in (1, 2):
        folder.heartbeat(rank).write_text(json.dumps({"rank": rank, "host": "h", "pid": 5, "phase": "evaluating", "moves": 3}))
    heartbeat.start()
    for _ in range(3000):
        if len(stalled) == 2:
            break
        threading.Event().wait(0.01)
    threading.Event().wait(0.2)
    heartbeat.stop()
    assert sorted(message[:6] for message in stalled) == ["rank 1", "rank 2"]


def test_a_rank_that_waits_is_not_stuck_and_0_is_never(tmp_path, monkeypatch):
    for phase, timeout in (("waiting", 0.03), ("evaluating", 0.0)):
        heartbeat, stalled, ended, _ = beating(tmp_path, 0, 1, timeout, monkeypatch)
        heartbeat.move(phase)
        heartbeat.start()
        assert not ended.wait(0.3)
        heartbeat.stop()
        assert stalled == []


def test_rank_0_sees_all_beats_and_its_own_last_one_is_left(tmp_path, monkeypatch):
    seen: list[list[tuple[int, int]]] = []
    told = threading.Event()

    def on_beats(beats: list[Beat]) -> None:
        seen.append([(beat.rank, beat.examples) for beat in beats])
        told.set()

    heartbeat, _, _, folder = beating(tmp_path, 0, 3, 0, monkeypatch, on_beats)
    folder.heartbeat(2).write_text(json.dumps({"rank": 2, "host": "h", "pid": 5, "examples": 30}))
    heartbeat.beat.examples = 10
    heartbeat.start()
    assert told.wait(30)
    heartbeat.beat.examples = 20
    heartbeat.stop()
    assert seen[0] == [(0, 10), (1, 0), (2, 30)]
    assert json.loads(folder.heartbeat(0).read_text())["examples"] == 20

"""What a rank knows of others: notices first, files of those that are silent, few at a time."""

from __future__ import annotations

import json

import pytest

from harness.folder.run_folder import RunFolder
from harness.ranks.notices import Heard, NoNotices
from harness.watch import roster as roster_module
from harness.watch.beat import Beat
from harness.watch.roster import Roster


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Told(NoNotices):
    """What ranks have told, by hand."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._heard = clock, {}

    def tell(self, beat: Beat) -> None:
        self._heard[beat.rank] = Heard(beat.to_notice(), self._clock())

    def heard(self):
        return self._heard


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.progress.mkdir()
    return folder


def write(folder: RunFolder, rank: int, moves: int) -> None:
    folder.heartbeat(rank).write_text(json.dumps({"rank": rank, "host": "h", "pid": 5, "phase": "evaluating", "moves": moves}))


def test_it_times_how_long_nothing_has_changed(folder):
    clock = Clock()
    roster = Roster(folder, 0, 3, NoNotices(), clock)
    steps = [
        # time, rank, moves, phase, idle for
        (0.0, 0, 1, "evaluating", 0.0),
        (3.0, 0, 1, "evaluating", 3.0),
        (3.0, 1, 1, "evaluating", 0.0),  # another rank has a time of its own
        (5.0, 0, 2, "evaluating", 0.0),  # it moved
        (9.0, 0, 2, "evaluating", 4.0),
        (9.0, 1, 1, "evaluating", 6.0),
        (10.0, 0, 2, "waiting", 0.0),  # another phase is a move too
    ]
    for now, rank, moves, phase, idle in steps:
        clock.now = now
        assert roster.idle_s(Beat(rank, moves=moves, phase=phase)) == idle


def test_no_file_is_read_of_ranks_that_tell(folder, monkeypatch):
    clock = Clock()
    told = Told(clock)
    roster = Roster(folder, 0, 4, told, clock)
    read: list[int] = []
    monkeypatch.setattr(roster_module, "read_beat", lambda path, rank: read.append(rank) or Beat(rank))
    for rank in (1, 2, 3):
        told.tell(Beat(rank, moves=7, where="f"))
    assert [(beat.rank, beat.moves) for beat in roster.look()] == [(1, 7), (2, 7), (3, 7)]
    clock.now = 9.0
    told.tell(Beat(1, moves=8))
    told.tell(Beat(2, moves=8))
    assert [beat.moves for beat in roster.look()] == [8, 8, 7] and read == []
    clock.now = 11.0  # rank 3 has been silent for more than ten seconds
    roster.look()
    assert read == [3]
    assert (roster.delay_s(1), roster.delay_s(3)) == (2.0, 2.0)


def test_the_file_of_a_silent_rank_counts_where_it_is_newer(folder):
    clock = Clock()
    told = Told(clock)
    roster = Roster(folder, 0, 2, told, clock)
    told.tell(Beat(1, moves=10))
    for now, in_file, known in ((1.0, 99, 10), (20.0, 5, 10), (21.0, 12, 12), (22.0, 9, 12)):
        clock.now = now
        write(folder, 1, in_file)
        assert roster.look()[0].moves == known


def test_files_of_many_ranks_are_read_in_turns(folder, monkeypatch):
    """Without notices, 4,096 ranks: three files a second, each once in its writer's period."""
    read: list[int] = []
    monkeypatch.setattr(roster_module, "read_beat", lambda path, rank: read.append(rank) or Beat(rank))
    clock = Clock()
    roster = Roster(folder, 0, 4096, NoNotices(), clock)
    for second in range(1366):
        clock.now = second
        roster.look()
        assert len(read) <= 3 * (second + 1)
    assert set(read) == set(range(1, 4096))
    assert roster.delay_s(1) == 2 * 4096 * 4 / 12


def test_a_rank_that_is_silent_among_many_is_waited_for_as_they_are(folder):
    clock = Clock()
    told = Told(clock)
    roster = Roster(folder, 0, 300, told, clock)
    for rank in range(1, 299):
        told.tell(Beat(rank))
    roster.look()
    assert (roster.delay_s(1), roster.delay_s(299)) == (2.0, 2.0)
    clock.now = 60.0  # nobody is heard any more: what is known comes from files, each written every hundred seconds
    roster.look()
    assert (roster.delay_s(1), roster.delay_s(299)) == (200.0, 200.0)


def test_another_rank_watches_rank_0_alone(folder):
    write(folder, 0, 3)
    write(folder, 2, 3)
    assert [(beat.rank, beat.moves) for beat in Roster(folder, 1, 3, NoNotices()).look()] == [(0, 3)]


def test_files_are_looked_at_before_a_short_stall_timeout(folder):
    clock = Clock()
    told = Told(clock)
    roster = Roster(folder, 0, 2, told, clock, stall_timeout_s=4)
    told.tell(Beat(1, "h", 5, "evaluating", moves=1))
    assert roster.idle_s(roster.look()[0]) == 0
    for seconds in range(1, 12):  # no notice comes through any more, the file goes on
        clock.now = seconds
        write(folder, 1, 1 + seconds)
        idle_s = roster.idle_s(roster.look()[0])
        assert idle_s <= 3
    assert idle_s == 0

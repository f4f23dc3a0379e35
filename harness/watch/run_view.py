"""A run as `harness watch` sees it: read from the files of its folder at one moment. Writes nothing, loads no TensorFlow.

What is known of a run that is under way is in `progress/ranks.json`; how it ended in `status.json`. Clocks of two machines are
compared in one place only, with a minute's patience: whether rank 0 still writes.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError
from harness.folder.run_folder import RunFolder, read_json
from harness.results.run_document import finished
from harness.watch.beat import beat_from
from harness.watch.diagnosis import Cause, Rank, Straggler, others_cores, ranks_of, stragglers
from harness.watch.ranks_file import Attempted, Snapshot, read_snapshot

__all__ = ["Node", "RunView", "from_document", "look"]

SILENT_S = 15.0  # and twice the time between two notices: then a rank is silent
ENDED_S = 60.0  # and that for the file of rank 0: clocks of two machines may differ
STUCK_S = 30.0  # in one call of the step, while others go on
STUCK_TIMES = 5  # as long as half of the others' calls
ALONE_STUCK_S = 120.0  # of a rank that has nobody to be compared with
RUNNING = "running"
UNREADABLE = "unreadable"
BEAT = ("rank", "host", "pid", "phase", "examples", "chunks", "where", "vitals")  # what a rank's part of the document holds of it


@dataclass(frozen=True)
class Node:
    """What the ranks of a machine come to together."""

    host: str
    ranks: int
    rate: float
    cores: float
    others_cores: float | None
    rss_bytes: int
    phases: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunView:
    """A run at one moment.

    Attributes:
      path: of its folder, as it was named.
      state: not begun, running, silent, or how it ended: done, failed, interrupted, ended; unreadable where its result is.
      exit_code: of the run; None while it runs.
      snapshot: what rank 0 left last; None before that, and once the run has ended.
      ranks: of it.
      foreign: by rank, how many of its processors work for others.
      slow: stragglers, the slowest first.
      notes: what else a person should know: who is stuck, or silent.
    """

    path: str
    state: str
    exit_code: int | None = None
    attempt: int | None = None
    failure: str = ""
    snapshot: Snapshot | None = None
    ranks: Sequence[Rank] = ()
    foreign: dict[int, float] = field(default_factory=dict)
    slow: Sequence[Straggler] = ()
    notes: Sequence[str] = ()

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.state not in (RUNNING, "silent", "not begun")

    @property
    def examples_done(self) -> int:
        """Examples that are evaluated, those of earlier attempts among them."""
        return sum(rank.beat.examples for rank in self.ranks)

    @property
    def rate(self) -> float:
        """Examples a second of all ranks."""
        return sum(rank.rate for rank in self.ranks)

    @property
    def left_s(self) -> float | None:
        """Seconds until all are evaluated, as it goes now; None where that cannot be told, as with a rank that is stuck."""
        if self.snapshot is None or not self.rate or self.notes:
            return None
        return max(self.snapshot.attempted.examples - self.examples_done, 0) / self.rate

    @property
    def nodes(self) -> list[Node]:
        """Machines, the one with the slowest rank first."""
        groups: dict[str, list[Rank]] = defaultdict(list)
        for rank in self.ranks:
            groups[rank.beat.host].append(rank)
        slowest = {host: min(rank.rate for rank in group) for host, group in groups.items()}
        return [_node(host, groups[host], self.foreign) for host in sorted(groups, key=lambda host: (slowest[host], host))]

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it; one of these is a line of `harness watch --json`."""
        document: dict[str, Any] = {
            "version": 1, "run": self.path, "state": self.state, "exit_code": self.exit_code, "attempt": self.attempt,
            **({"failure": self.failure} if self.failure else {}),
        }  # fmt: skip
        if self.snapshot is None:
            return document
        attempted = self.snapshot.attempted
        return {
            **document, "model": attempted.model, "examples": attempted.examples, "examples_done": self.examples_done,
            "chunks": attempted.chunks, "chunks_done": attempted.earlier_chunks + sum(rank.beat.chunks for rank in self.ranks),
            "time_s": self.snapshot.time_s, "period_s": self.snapshot.period_s,
            "examples_per_s": round(self.rate, 3), "left_s": None if self.left_s is None else round(self.left_s, 1),
            "stragglers": [
                {"rank": slow.rank, "host": slow.host, "cause": str(slow.cause), "detail": slow.detail,
                 "examples_per_s": round(slow.rate, 3), "others_per_s": round(slow.others_rate, 3)}
                for slow in self.slow
            ],
            "notes": list(self.notes),
            "nodes": [{**node.__dict__, "rate": round(node.rate, 3)} for node in self.nodes],
            "ranks": [_rank_document(rank, self.foreign) for rank in self.ranks],
        }  # fmt: skip


def look(folder: RunFolder, name: str, clock: Callable[[], float] = time.time) -> RunView:
    """Look at a run.

    Args:
      folder: of it.
      name: what it is called.
      clock: seconds since 1970.
    Raises: RunFolderError: that is no run folder.
    """
    if not folder.path.is_dir():
        raise RunFolderError(
            f"{name}: expected a run folder, found {'a file' if folder.path.exists() else 'nothing'}; harness evaluate prints "
            "where it writes, and a number that is no path is looked for as a job of Slurm"
        )
    status = read_json(folder.status_json)
    if not isinstance(status, dict):
        if (folder.path / "request.json").exists():
            raise RunFolderError(
                f"{name}: expected a run folder, found that of a load test; when it is done, load.html is its page"
            )
        begun = folder.job_json.exists() or folder.lock.exists() or not any(folder.path.iterdir())
        queued = any(folder.path.glob("slurm-*"))
        if not begun and not queued:
            raise RunFolderError(f"{name}: expected a run folder, found a folder without status.json; is it the right one?")
        return RunView(name, "not begun")
    state = str(status.get("state", "ended"))
    code, attempt = (number if isinstance(number, int) else None for number in (status.get("exit_code"), status.get("attempt")))
    if state != RUNNING:
        failure = read_json(folder.failure_json) or {}
        message = str(failure.get("message", "")) if state == "failed" and isinstance(failure, dict) else ""
        if state == "done" and (problem := _problem(folder, *_stamp(folder.metrics_json))):
            return RunView(name, UNREADABLE, RunFolderError.exit_code, attempt, problem)
        return RunView(name, state, code, attempt, message)
    snapshot = read_snapshot(folder)
    if snapshot is None or snapshot.attempted.attempt != attempt:
        return RunView(name, RUNNING, None, attempt, notes=[_no_word(clock() - folder.status_json.stat().st_mtime)])
    try:
        view = _running(name, snapshot, clock() - snapshot.time_s)
        view.document()  # all of it can be told
    except (TypeError, ValueError, AttributeError):
        note = "progress/ranks.json is not as this version of the harness writes it"
        return RunView(name, RUNNING, None, attempt, notes=[note])
    return view


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
    return ()


@functools.lru_cache(maxsize=1024)
def _problem(folder: RunFolder, *_stamp: int) -> str:
    """Say what is wrong with the result of a run that is done; looked at once."""
    try:
        finished(folder)
    except RunFolderError as exc:
        return str(exc)
    return ""


def _running(name: str, snapshot: Snapshot, old_s: float) -> RunView:
    ranks = ranks_of(snapshot.beats)
    view = RunView(name, RUNNING, None, snapshot.attempted.attempt, "", snapshot, ranks, others_cores(ranks))
    if old_s > ENDED_S + 2 * snapshot.period_s:
        return replace(view, state="silent", notes=[f"rank 0 has written nothing for {old_s:,.0f} s: has the run been killed?"])
    return replace(view, slow=stragglers(ranks), notes=_notes(ranks, snapshot.period_s))


def _no_word(since_s: float) -> str:
    """Say what it may mean that ranks have told nothing yet."""
    if since_s < ENDED_S:
        return "the ranks meet, and look at model and data"
    return (
        f"no word of its ranks since it began, {since_s:,.0f} s ago: a run that was started in Python tells nothing before its "
        "end; any other has been killed, or still copies its model"
    )


def _notes(ranks: Sequence[Rank], period_s: float) -> list[str]:
    """Say who is stuck and who is silent."""
    notes = []
    newest_s = max((rank.vitals.age_s for rank in ranks), default=0.0)
    calls = sorted(rank.vitals.call_s for rank in ranks if rank.evaluates)
    alone = len(calls) < 2
    most_s = ALONE_STUCK_S if alone else max(STUCK_S, STUCK_TIMES * calls[(len(calls) - 1) // 2])
    for rank in ranks:
        behind_s, call_s = newest_s - rank.vitals.age_s, rank.vitals.call_s
        who = f"rank {rank.beat.rank} on {rank.beat.host}"
        if rank.vitals.age_s and behind_s > SILENT_S + 2 * period_s and not rank.beat.over:
            notes.append(f"{who} has told nothing for {behind_s:,.0f} s: its process stands still, or its machine is gone")
        elif rank.evaluates and call_s > most_s:
            where = f" ({rank.beat.where})" if rank.beat.where else ""
            notes.append(f"{who} is in one call of the step for {call_s:,.0f} s{where}: --stack {rank.beat.rank} shows where")
    return notes


def _node(host: str, ranks: Sequence[Rank], foreign: dict[int, float]) -> Node:
    phases: dict[str, int] = defaultdict(int)
    for rank in ranks:
        phases[rank.beat.phase] += 1
    known = [foreign[rank.beat.rank] for rank in ranks if rank.beat.rank in foreign]
    return Node(
        host, len(ranks), sum(rank.rate for rank in ranks), round(sum(rank.cores for rank in ranks), 2),
        round(max(known), 2) if known else None, sum(rank.vitals.rss_bytes or 0 for rank in ranks), dict(phases),
    )  # fmt: skip


def _rank_document(rank: Rank, foreign: dict[int, float]) -> dict[str, Any]:
    beat, others = rank.beat, foreign.get(rank.beat.rank)
    return {
        "rank": beat.rank, "host": beat.host, "pid": beat.pid, "phase": beat.phase, "doing": rank.doing, "where": beat.where,
        "examples": beat.examples, "chunks": beat.chunks, "examples_per_s": round(rank.rate, 3), "cores": round(rank.cores, 2),
        "others_cores": None if others is None else round(others, 2), "vitals": beat.vitals,
    }  # fmt: skip


def from_document(document: Mapping[str, Any]) -> RunView:
    """Make a view of what `RunView.document` returned, on another machine.

    Raises: KeyError, TypeError, ValueError: it is none.
    """
    view = RunView(document["run"], document["state"], document["exit_code"], document["attempt"], document.get("failure", ""))
    if "ranks" not in document:
        return view
    chunks = sum(rank["chunks"] for rank in document["ranks"])
    attempted = Attempted(
        document["attempt"], document["examples"], document["chunks"], document["chunks_done"] - chunks, document["model"]
    )
    beats = [beat_from({name: rank[name] for name in BEAT}, rank["rank"]) for rank in document["ranks"]]
    return replace(
        view,
        snapshot=Snapshot(attempted, document["time_s"], document["period_s"], beats),
        ranks=ranks_of(beats),
        foreign={rank["rank"]: rank["others_cores"] for rank in document["ranks"] if rank["others_cores"] is not None},
        slow=[_straggler(slow) for slow in document["stragglers"]],
        notes=document["notes"],
    )


def _straggler(slow: Mapping[str, Any]) -> Straggler:
    rates = slow["examples_per_s"], slow["others_per_s"]
    return Straggler(slow["rank"], slow["host"], Cause(slow["cause"]), *rates, slow["detail"])

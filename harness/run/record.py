"""How a run ran: what each rank did and what rank 0 makes of it, for run.json. Everything that may differ from run to run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.folder.attempts import Attempt, earlier
from harness.folder.commit import Committer
from harness.folder.journal import Journal
from harness.folder.run_folder import RunFolder, write_atomically
from harness.job.job import Job
from harness.job.specs import SlicesSpec
from harness.names.urls import shown
from harness.prepare.opened import Opened
from harness.ranks.comm import Comm
from harness.ranks.schedule import Assigned
from harness.results.cost import cost_of
from harness.results.definitions import SCHEMA_VERSION
from harness.results.latency import endpoint_latency
from harness.results.slice_latency import by_slice
from harness.run.metering import account, earlier_usage, slurm_usage, usage_of
from harness.run.timer import Timer
from harness.step import tensorflow as tf_setup
from harness.sums.accumulator import Accumulator
from harness.watch.time_split import Watched

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["Process", "Record"]


APART = ("journal", "usage", "slice_latency")  # of a rank's account: told of all ranks together
STARTING = ("import", "connect", "open", "copy", "build", "resume")


@dataclass(frozen=True)
class Process:
    """One rank, and what it evaluates with.

    Attributes:
      comm: the ranks.
      timer: of this attempt.
      threads: of the pipeline and of operations.
      devices: that TensorFlow sees.
    """

    comm: Comm
    timer: Timer
    threads: int
    devices: Sequence[str]


@dataclass(frozen=True)
class Record:
    """One attempt of a run, on one rank.

    Attributes:
      process: the rank.
      attempt: of the run.
      job, opened: what is evaluated.
      assigned: how chunks came to the rank.
      slices: that are reported, those by the version of a served model too.
      same_data: the user's word that the data are those of earlier attempts.
      slurm: what Slurm says of the energy, once it was asked.
    """

    process: Process
    attempt: Attempt
    job: Job
    opened: Opened
    assigned: Assigned
    slices: SlicesSpec | None = None
    same_data: bool = False
    slurm: dict[str, Any] = field(default_factory=dict)

    def account(self, built: Built, accumulator: Accumulator, committer: Committer, journal: Journal) -> dict[str, Any]:
        """Say what this rank did."""
        phases, waited_s, comm = self.process.timer.phases, self.assigned.share.waited_s, self.process.comm
        return {
            "rank": comm.rank, "host": comm.host, "pid": os.getpid(), "devices": list(self.process.devices),
            "threads": self.process.threads, "examples": accumulator.examples, "records_read": built.feed.records_read,
            "batches": accumulator.batches, "chunks": accumulator.chunks, "commits": committer.commits,
            "commit_s": round(committer.cost_s, 6), "journal": journal.names, "seconds": phases,
            "busy_s": round(phases.get("evaluate", 0.0) - waited_s, 6), "idle_s": round(phases.get("wait", 0.0) + waited_s, 6),
            "draws": self.assigned.share.draws,
            **({"endpoints": built.served.account(), "slice_latency": built.served.slice_latency()} if built.served else {}),
        }  # fmt: skip

    def measured(self) -> dict[str, Any]:
        """Say what this rank has used up to now: a part of its account that is put together with those of the others."""
        meter = self.process.timer.meter
        return {} if meter is None else {"usage": account(self.process.comm.rank, meter)}

    def split(self, watched: Watched) -> dict[str, float]:
        """Say what this rank's time went into, up to the sum; see `time_split.py` for the parts of the loop."""
        phases = self.process.timer.phases
        return {
            "start": round(sum(phases.get(name, 0.0) for name in STARTING), 6), **watched.parts(phases.get("evaluate", 0.0)),
            "waiting": phases.get("wait", 0.0), "reducing": round(phases.get("reduce", 0.0) + phases.get("collect", 0.0), 6),
        }  # fmt: skip

    def write(self, folder: RunFolder, ranks: Sequence[dict[str, Any]], problems: Sequence[str], *, alike: bool) -> None:
        """Write run.json, on rank 0.

        Args:
          folder: of the run.
          ranks: what `account` said on each.
          problems: of the certificate.
          alike: whether all ranks gave the same bits for the same batch.
        """
        plan = self.opened.plan
        names = [name for rank in ranks for name in rank["journal"]]
        accounts = [{key: value for key, value in rank.items() if key not in APART} for rank in ranks]
        before = [(number, record) for number, record in earlier(folder) if number < self.attempt.number]
        document = {
            "schema_version": SCHEMA_VERSION,
            "attempts": [
                *({**record, **earlier_usage(folder, number)} for number, record in before),
                {**self._attempt(accounts, alike), **self._latency(ranks), **self._used(ranks)},
            ],
            "journal": sorted([*self.attempt.kept, *names]),
            "environment": tf_setup.environment(),
            "model": self._model(),
            "files": [{"path": f.path, "bytes": f.size_bytes, "examples": f.examples} for f in plan.files],
            "plan": {
                "examples": plan.examples, "chunks": len(plan), "chunk_size": plan.chunk_size, "batch_size": plan.batch_size,
            },
            "certificate": {"valid": not problems, "problems": list(problems)},
        }  # fmt: skip
        cost = cost_of(document, self.job.cost)
        document |= {"cost": cost.to_dict()} if cost is not None else {}
        write_atomically(folder.run_json, json.dumps(document, indent=1) + "\n")

    def write_again(self, folder: RunFolder, ranks: Sequence[dict[str, Any]], problems: Sequence[str], *, alike: bool) -> None:
        """Write run.json again, on rank 0, now that it is known what writing the result took; see `write`."""
        own = ranks[0]
        own["seconds"]["write"] = own["split_s"]["writing"] = self.process.timer.phases["write"]
        own |= self.measured()
        replace(self, slurm=slurm_usage()).write(folder, ranks, problems, alike=alike)

    def _used(self, ranks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Say what this attempt has used up to now."""
        if not all("usage" in rank for rank in ranks):
            return {}
        elapsed_s = time.monotonic() - self.process.timer.begun
        return {"usage": {**usage_of([rank["usage"] for rank in ranks], elapsed_s), **self.slurm}}

    def _latency(self, ranks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Say how long endpoints took in this attempt; nothing where there are none."""
        latency = endpoint_latency(ranks)
        if self.slices is not None:
            for name, entry in latency.items():
                entry["by_slice"] = by_slice([rank.get("slice_latency", {}).get(name, {}) for rank in ranks], self.slices)
        return {"endpoint_latency": latency} if latency else {}

    def _model(self) -> dict[str, Any]:
        """Say which model it was and how it was run."""
        job, opened = self.job, self.opened
        document: dict[str, Any] = {"path": opened.model_path, "eager": job.eager, "copied_to_nodes": bool(opened.copies)}
        if not opened.model_paths:
            return document
        options = {
            name: {"path": opened.model_paths[name], "precision": spec.precision, "jit_compile": spec.jit_compile,
                   **({"python": spec.python} if spec.python else {"signature": spec.signature})}
            for name, spec in job.named_models.items() if name in opened.model_paths
        }  # fmt: skip
        return {**document, **options[""]} if job.model else {**document, "models": options}

    def _attempt(self, ranks: list[dict[str, Any]], alike: bool) -> dict[str, Any]:
        examples = sum(rank["examples"] for rank in ranks)
        elapsed_s = time.monotonic() - self.process.timer.begun
        evaluating_s = max(max(rank["seconds"]["evaluate"] for rank in ranks), 1e-9)
        return {
            "attempt": self.attempt.number, "size": self.process.comm.size, "chunks_resumed": self.attempt.done,
            "started": datetime.fromtimestamp(time.time() - elapsed_s, UTC).isoformat(timespec="seconds"),
            "command": [shown(word) for word in sys.argv], "comm": self.process.comm.name, "schedule": self.assigned.schedule,
            "tickets": self.assigned.counter.name if self.assigned.counter else None, "ranks": ranks,
            "elapsed_s": round(elapsed_s, 3), "examples_per_s": round(examples / evaluating_s, 3),
            "canary": "alike" if alike else "differs", **({"same_data": True} if self.same_data else {}),
        }  # fmt: skip

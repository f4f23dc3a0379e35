"""How a run measures what it uses: a meter on every rank, one account of all of them, and what is left for a later attempt.

The first rank of each node leaves in the run folder now and then what its node has used, in turns: where an attempt is killed,
the next one adds that up.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import NoReading
from harness.folder.attempts import usage_path, usages
from harness.folder.file_rate import USAGES
from harness.folder.run_folder import RunFolder
from harness.machine.allocation import Allocation
from harness.machine.meter import Meter, measure
from harness.machine.slurm_energy import consumed_joules, questions
from harness.names.scratch import scratch_name
from harness.names.variables import POWERCAP
from harness.ranks.comm import Comm, World
from harness.results.usage import Account, usage
from harness.run.timer import Timer
from harness.step import tensorflow as tf_setup

__all__ = ["account", "earlier_usage", "leave_records", "metered", "slurm_usage", "usage_of"]

RECORD_S = 10.0  # between two records of a node, where nodes are few


@contextlib.contextmanager
def metered(world: World | Comm, before: Timer | None = None) -> Iterator[Timer]:
    """Time and measure from now on, until the context is left.

    Args:
      world: where this process is on its node.
      before: of an earlier round of an elastic run, whose meter ends.
    """
    if before is not None and before.meter is not None:
        before.meter.close()
    folder = POWERCAP.get()
    meter = measure(first=world.local_rank == 0, powercap=Path(folder) if folder else None)
    if world.local_rank == 0:
        meter.watch()
    try:
        yield Timer(meter=meter)
    finally:
        meter.close()


def leave_records(comm: Comm, meter: Meter, folder: RunFolder, attempt: int) -> None:
    """Find out which GPUs are whose, read no others, and have the first rank of each node leave records. A collective.

    Args:
      comm: of the ranks.
      meter: of this rank.
      folder: of the run.
      attempt: its number.
    """
    meter.choose(tf_setup.gpu_ordinals())
    sent = json.dumps(meter.allocation.to_dict()).encode()
    allocations = [Allocation.from_dict(json.loads(raw)) for raw in comm.gather(sent)]
    here = [rank for rank, other in enumerate(allocations) if other.machine == meter.allocation.machine]
    if comm.rank != here[0]:
        meter.keep(meter.allocation.gpus)
        return
    meter.keep({gpu for rank in here for gpu in allocations[rank].gpus})
    machines = list(dict.fromkeys(other.machine for other in allocations))
    record = _Record(usage_path(folder, attempt, comm.rank), meter, comm.rank, {rank: allocations[rank] for rank in here})
    turn = USAGES.turn(machines.index(meter.allocation.machine), len(machines), RECORD_S)
    record.due_s, record.every_s = time.monotonic() + turn.first_s, turn.every_s
    meter.on_reading = record.write_in_turn


class _Record:
    """What a node leaves in the run folder.

    Args:
      path: of the file.
      meter: of its first rank.
      rank: of that.
      allocations: of the node's ranks.
    """

    def __init__(self, path: Path, meter: Meter, rank: int, allocations: Mapping[int, Allocation]) -> None:
        self.due_s = 0.0
        self.every_s = RECORD_S
        self._path = path
        self._meter = meter
        self._rank = rank
        self._allocations = allocations

    def write_in_turn(self) -> None:
        """Write it where it is due. Called by the meter's thread."""
        if time.monotonic() < self.due_s:
            return
        self.due_s = time.monotonic() + self.every_s
        readings = self._meter.readings()
        accounts = [
            Account(rank, own, readings if rank == self._rank else None).to_dict() for rank, own in self._allocations.items()
        ]
        temporary = scratch_name(self._path)
        try:
            # No fsync: what a crash of the machine takes was seconds old.
            temporary.write_text(json.dumps({"accounts": accounts}) + "\n")
            os.replace(temporary, self._path)
        except OSError:
            # A full disk stops the run where results are written, not here.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def account(rank: int, meter: Meter) -> dict[str, Any]:
    """Return what a rank says of itself, as JSON holds it."""
    return Account(rank, meter.allocation, meter.readings()).to_dict()


def usage_of(accounts: Sequence[Mapping[str, Any]], elapsed_s: float) -> dict[str, Any]:
    """Return what run.json says of an attempt; see `account`."""
    return usage([Account.from_dict(raw) for raw in accounts], elapsed_s)


def slurm_usage(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what Slurm says of the step's energy so far, for run.json; nothing outside of Slurm."""
    if not questions(environ):
        return {}
    step = {"job": environ.get("SLURM_JOB_ID", ""), "step": environ.get("SLURM_STEP_ID", "")}
    try:
        return {"slurm": {**step, "joules": consumed_joules(environ)}}
    except NoReading as exc:
        return {"slurm": {**step, "joules": None, "reason": str(exc)}}


def earlier_usage(folder: RunFolder, attempt: int) -> dict[str, Any]:
    """Return what is known of an attempt that did not end well, for run.json; nothing where it left no record.

    Hours and joules are those up to the last record of the node that wrote last. Other nodes' energies are those of their own
    last records.
    """
    accounts = []
    for document in usages(folder, attempt):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            accounts += [Account.from_dict(raw) for raw in document["accounts"]]
    elapsed_s = max((entry.readings.elapsed_s for entry in accounts if entry.readings), default=0.0)
    if not elapsed_s:
        return {}
    return {"usage": {**usage(accounts, elapsed_s), "until": "the last record"}}

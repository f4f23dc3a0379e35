"""The end of a run: what the ranks found, put together. A fixed sequence of collectives, the same whatever the data are.

keys of slices -> one sum of certificate, state, grid and canaries -> rows, metric by metric
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.exact.draws import multiplicities
from harness.metrics.contract import Undefined
from harness.metrics.question import Question
from harness.plan.certificate import Certificate
from harness.ranks.comm import Comm
from harness.sums.grid import GridState, union
from harness.sums.row_reduction import reduce_rows
from harness.sums.rows import RowTable
from harness.sums.sums import Layouts, Sums, renumbering

__all__ = ["Reduced", "reduce"]


@dataclass(frozen=True)
class Reduced:
    """What all ranks found together.

    Attributes:
      certificate, state: summed.
      canaries: each rank's hash of the canary batch.
      grid: summed, with the slices of all ranks in the order of the report.
      rows: of each row metric by (slot, draw) what `fold` made of its rows, on rank 0; or why there is none (or none of a draw).
    """

    certificate: Certificate
    state: np.ndarray
    canaries: list[int]
    grid: GridState
    rows: Mapping[str, Mapping[tuple[int, int], Mapping[str, Any] | str] | str]


def reduce(comm: Comm, total: Sums, layouts: Layouts, question: Question, certificate: Certificate, canary: int) -> Reduced:
    """Add up what the ranks have. A collective.

    Args:
      comm: the ranks.
      total: of this rank; it is given up, rows go as they are used.
      layouts: of the sums.
      question: what is asked.
      certificate: of this rank, its lines added.
      canary: its hash of the canary batch.
    Raises: JobError: the ranks together found more slices than the job allows.
    """
    keys: list[str] = []
    if question.slices is not None:
        by_rank: list[list[str]] = [json.loads(part) for part in comm.gather(json.dumps(total.grid.keys).encode())]
        keys = union(by_rank, question.slices)
    numbers = renumbering(total.grid.keys, keys)
    grid = total.grid.placed(keys)
    canaries = np.zeros(comm.size, np.int64)
    canaries[comm.rank] = canary
    parts = [certificate.table.ravel(), total.state, canaries, grid.flat()]
    summed = comm.sum(np.concatenate(parts))
    table, state, marks, flat = np.split(summed, np.cumsum([part.size for part in parts[:-1]]))
    rows = {key: _fold_rows(comm, _take_rows(total, key, layouts, numbers), question, key, 1 + len(keys)) for key in layouts.rows}
    return Reduced(certificate.of(table), state, marks.tolist(), grid.unflat(flat), rows)


def _take_rows(total: Sums, key: str, layouts: Layouts, numbers: np.ndarray) -> RowTable:
    """Take this rank's rows of a metric, their slices numbered as everywhere."""
    store = total.rows.pop(key, None)
    table = store.take() if store is not None and len(store) else layouts.rows[key].empty(layouts.specs)
    return replace(table, slices=numbers[table.slices])


def _fold_rows(
    comm: Comm, table: RowTable, question: Question, key: str, slots: int
) -> Mapping[tuple[int, int], Mapping[str, Any] | str] | str:
    """Sort, exchange and fold the rows of one metric over all ranks."""
    bootstrap, metric = question.bootstrap, question.row_metrics[key]
    drawn = None
    if bootstrap is not None and metric.in_replicates:

        def drawn(ids: np.ndarray) -> np.ndarray:
            return multiplicities(ids, bootstrap.seed, bootstrap.replicates)

    try:
        return reduce_rows(metric, table, comm, slices=slots, multiplicities=drawn)
    except Undefined as exc:
        return str(exc)

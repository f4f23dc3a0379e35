"""The end of a run: what the ranks found, put together. A fixed sequence of collectives, the same whatever the data are.

keys of slices -> one sum of certificate, state, grid and canaries -> examples, where some are kept -> rows, metric by metric
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from harness.sums.selection import Selection, reduce_selection
from harness.sums.sums import Layouts, Sums, renumbering

__all__ = ["GrandTotal", "Reduced", "chosen_examples", "fold_rows", "reduce", "slice_keys"]

FoldedRows = Mapping[tuple[int, int], Mapping[str, Any] | str] | str


@dataclass(frozen=True)
class GrandTotal:
    """What all examples add up to.

    Attributes:
      state: summed.
      grid: summed, with the slices of all ranks in the order of the report.
      rows: of each row metric by (slot, draw) what `fold` made of its rows, on rank 0; or why there is none (or none of a draw).
      selection: the examples that are kept.
    """

    state: np.ndarray
    grid: GridState
    rows: Mapping[str, FoldedRows]
    selection: Selection


@dataclass(frozen=True)
class Reduced(GrandTotal):
    """The grand total of all ranks, and what shows that it is right.

    Attributes:
      certificate: summed.
      canaries: each rank's hash of the canary batch.
    """

    certificate: Certificate
    canaries: list[int]


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
    keys = slice_keys(comm, total, question)
    grid = total.grid.placed(keys)
    canaries = np.zeros(comm.size, np.int64)
    canaries[comm.rank] = canary
    parts = [certificate.table.ravel(), total.state, canaries, grid.flat()]
    summed = comm.sum(np.concatenate(parts))
    table, state, hashes, flat = np.split(summed, np.cumsum([part.size for part in parts[:-1]]))
    selection = chosen_examples(comm, total, layouts, keys)
    rows = {key: fold_rows(comm, total, layouts, question, key, keys) for key in layouts.rows}
    return Reduced(state, grid.unflat(flat), rows, selection, certificate.of(table), hashes.tolist())


def chosen_examples(comm: Comm, total: Sums, layouts: Layouts, keys: Sequence[str]) -> Selection:
    """Select the examples of all ranks. A collective where some are kept.

    Args:
      keys: of the slices, as `slice_keys` returns them.
    """
    if not layouts.examples.most:
        return total.selection
    return reduce_selection(comm, total.selection, renumbering(total.grid.keys, keys))


def slice_keys(comm: Comm, total: Sums, question: Question) -> list[str]:
    """Return the keys of the slices that all ranks found, in the order of the report. A collective where there are slices.

    Raises: JobError: they are more than the job allows.
    """
    if question.slices is None:
        return []
    by_rank: list[list[str]] = [json.loads(part) for part in comm.gather(json.dumps(total.grid.keys).encode())]
    return union(by_rank, question.slices)


def fold_rows(comm: Comm, total: Sums, layouts: Layouts, question: Question, key: str, keys: Sequence[str]) -> FoldedRows:
    """Sort, exchange and fold the rows of one metric over all ranks. A collective.

    Args:
      total: of this rank; the rows of the metric are taken out of it.
      key: of the metric.
      keys: of the slices, as `slice_keys` returns them.
    """
    store = total.rows.pop(key, None)
    table = store.take() if store is not None and len(store) else layouts.rows[key].empty(layouts.specs)
    table = replace(table, slices=renumbering(total.grid.keys, keys)[table.slices])
    bootstrap, metric = question.bootstrap, question.row_metrics[key]
    drawn = None
    if bootstrap is not None and metric.in_replicates:

        def drawn(ids: np.ndarray) -> np.ndarray:
            return multiplicities(ids, bootstrap.seed, bootstrap.replicates)

    try:
        return reduce_rows(metric, table, comm, slices=1 + len(keys), multiplicities=drawn)
    except Undefined as exc:
        return str(exc)

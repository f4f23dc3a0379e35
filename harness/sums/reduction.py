"""The end of a run: what the ranks found, put together. A fixed sequence of collectives, the same whatever the data are.

keys of slices -> one sum of certificate, state, grid and canaries -> rows, metric by metric
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.exact.draws import multiplicities
from harness.job.job import BootstrapSpec, SlicesSpec
from harness.metrics.contract import Metric, RowMetric, Undefined
from harness.plan.certificate import Certificate
from harness.ranks.comm import Comm
from harness.run.loop import Evaluation
from harness.sums.grid import GridState, union
from harness.sums.layout import RowLayout
from harness.sums.row_reduction import reduce_rows
from harness.sums.rows import RowTable

__all__ = ["Reduced", "reduce"]


@dataclass(frozen=True)
class Reduced:
    """What all ranks found together.

    Attributes:
      certificate, state: summed.
      canaries: each rank's hash of the canary batch.
      grid: summed, with the slices of all ranks in the order of the report; None where the job has no grid.
      rows: of each row metric by (slot, draw) what `fold` made of its rows, on rank 0; or why there is none (or none of a draw).
    """

    certificate: Certificate
    state: np.ndarray
    canaries: list[int]
    grid: GridState | None
    rows: Mapping[str, Mapping[tuple[int, int], Mapping[str, Any] | str] | str]


def reduce(
    comm: Comm,
    evaluation: Evaluation,
    canary: int,
    grid: GridState | None,
    row_layouts: Mapping[str, RowLayout],
    metrics: Mapping[str, Metric],
    slices: SlicesSpec | None,
    bootstrap: BootstrapSpec | None,
) -> Reduced:
    """Add up what the ranks have. A collective.

    Args:
      comm: the ranks.
      evaluation: of this rank.
      canary: its hash of the canary batch.
      grid: its grid.
      row_layouts: columns of the rows of each row metric.
      metrics: by key.
      slices, bootstrap: of the job.
    Raises: JobError: the ranks together found more slices than the job allows.
    """
    keys: list[str] = []
    local: GridState | None = grid
    if grid is not None:
        if slices is not None:
            said: list[list[str]] = [json.loads(part) for part in comm.gather(json.dumps(grid.keys).encode())]
            keys = union(said, slices)
        local = grid.placed(keys)
    canaries = np.zeros(comm.size, np.int64)
    canaries[comm.rank] = canary
    table = evaluation.certificate.table
    parts = [table.ravel(), evaluation.state, canaries, local.flat() if local is not None else np.zeros(0, np.int64)]
    total = comm.sum(np.concatenate(parts))
    certified, state, marks, rest = np.split(total, np.cumsum([part.size for part in parts[:-1]]))
    rows = {
        key: _rows(comm, evaluation, key, layout, metrics[key], grid.keys if grid else (), keys, slices, bootstrap)
        for key, layout in row_layouts.items()
    }
    return Reduced(
        evaluation.certificate.of(certified), state, marks.tolist(), local.unflat(rest) if local is not None else None, rows
    )


def _rows(
    comm: Comm,
    evaluation: Evaluation,
    key: str,
    layout: RowLayout,
    metric: Metric,
    here: Sequence[str],
    everywhere: Sequence[str],
    slices: SlicesSpec | None,
    bootstrap: BootstrapSpec | None,
) -> Mapping[tuple[int, int], Mapping[str, Any] | str] | str:
    """Sort, merge and fold the rows of one metric over all ranks."""
    assert isinstance(metric, RowMetric)
    drawn = None
    if bootstrap is not None and metric.in_replicates:

        def drawn(ids: np.ndarray) -> np.ndarray:
            return multiplicities(ids, bootstrap.seed, bootstrap.replicates)

    try:
        # Handed over, not held here: rows are many, and go as they are used.
        return reduce_rows(
            metric,
            _table(evaluation, key, layout, len(slices.by) if slices else 0, _renumbered(here, everywhere)),
            comm,
            slices=1 + len(everywhere),
            multiplicities=drawn,
        )
    except Undefined as exc:
        return str(exc)


def _table(evaluation: Evaluation, key: str, layout: RowLayout, specs: int, renumbered: np.ndarray) -> RowTable:
    """Take this rank's rows of a metric out of the evaluation, their slices numbered as everywhere."""
    store = evaluation.rows.pop(key, None)
    table = layout.empty(specs) if store is None or not len(store) else store.take()
    return replace(table, slices=renumbered[table.slices])


def _renumbered(here: Sequence[str], everywhere: Sequence[str]) -> np.ndarray:
    """Return the global slot of each local one, int32 [local slots + 1]; the last entry keeps -1 what it is."""
    where = {key: number for number, key in enumerate(everywhere, start=1)}
    return np.array([0, *(where[key] for key in here), -1], np.int32)

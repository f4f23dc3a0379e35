"""Reduce rows on 1, 2, 3 and 5 ranks in one process, and insist on the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from harness.metrics.contract import RowMetric, Totals, row_sums
from harness.ranks.comm import Comm
from harness.sums.row_reduction import Folded, Multiplicities, reduce_rows
from harness.sums.rows import RowTable
from tests.thread_comm import on_ranks

__all__ = ["RANKS", "binary", "fold_on_ranks", "rows", "value_of"]

RANKS = (1, 2, 3, 5)


def rows(
    key: Any,
    values: Mapping[str, Any] | None = None,
    *,
    weights: Any = None,
    group: Any = None,
    slices: Any = None,
    ids: Any = None,
    clusters: Any = None,
) -> RowTable:
    """Make a table from lists; ids count up where they are not given."""
    n = len(key)
    return RowTable(
        key=np.asarray(key, np.float64),
        values={name: np.asarray(column) for name, column in (values or {}).items()},
        ids=np.arange(n) if ids is None else np.asarray(ids, np.int64),
        slices=np.zeros((n, 0), np.int64) if slices is None else np.asarray(slices, np.int64).reshape(n, -1),
        group=None if group is None else np.asarray(group, np.int64),
        weights=None if weights is None else np.asarray(weights, np.float64),
        clusters=None if clusters is None else np.asarray(clusters, np.int64),
    )


def binary(scores: Any, positive: Any, **more: Any) -> RowTable:
    """Make a table as the terms of a score metric do."""
    return rows(scores, {"positive": np.asarray(positive, np.int64)}, **more)


def fold_on_ranks(
    metric: RowMetric, table: RowTable, *, slices: int = 1, multiplicities: Multiplicities | None = None
) -> dict[tuple[int, int], Any]:
    """Reduce the table, dealt out at random, on each number of ranks; all must agree bit for bit."""
    found = []
    for size in RANKS:
        owner = np.random.default_rng(size).integers(0, size, len(table))
        shuffled = np.random.default_rng(size + 100).permutation(len(table))

        def work(comm: Comm, owner: Any = owner, shuffled: Any = shuffled) -> dict[tuple[int, int], Folded | str]:
            own = table.take(shuffled[owner[shuffled] == comm.rank])
            return reduce_rows(metric, own, comm, slices=slices, multiplicities=multiplicities)

        first, *others = on_ranks(size, work)
        assert not any(others), "only rank 0 returns a result"
        found.append(first)
    bits = {repr([(which, sorted(_plain(folded).items())) for which, folded in sorted(each.items())]) for each in found}
    assert len(bits) == 1, "the number of ranks shows in the result"
    return found[0]


def value_of(metric: RowMetric, table: RowTable) -> Any:
    """Return the value over all rows, the same at any number of ranks."""
    return value_from(metric, fold_on_ranks(metric, table)[0, 0], len(table))


def value_from(metric: RowMetric, folded: Folded, positions: int = 1) -> Any:
    """Return the value of one fold."""
    return metric.value(Totals(row_sums(folded), positions=positions, weight=Fraction(positions)))


def _plain(folded: Folded | str) -> dict[str, str]:
    """Write exact numbers as text: 3 and Fraction(3) are one number."""
    if isinstance(folded, str):
        return {"": folded}

    def text(number: Any) -> str:
        return str(Fraction(number))

    return {
        name: str([text(part) for part in number]) if isinstance(number, tuple | np.ndarray) else text(number)
        for name, number in folded.items()
    }

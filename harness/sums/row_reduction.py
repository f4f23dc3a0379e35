"""From the rows of all ranks to one metric's exact numbers: sort, cut into parts, fold, add up.

    weights to integers -> sort, combine -> exchange -> cumulate -> fold -> add up on rank 0

A fixed sequence of collectives, whatever the data. All sums are integers or fractions, so the result has the same bits
at any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.exact import wide_integers as wide
from harness.metrics.contract import RowMetric
from harness.metrics.row_part import Part
from harness.ranks.comm import Comm
from harness.ranks.exchange import Route, gather
from harness.sums.exchanged_rows import ExchangedRows, combine, fits, integer_rows, narrow, needed, settle
from harness.sums.row_draws import Multiplicities, torn_groups
from harness.sums.rows import RowTable
from harness.sums.sorted_rows import SortedRows

__all__ = ["Folded", "Multiplicities", "reduce_rows"]

Folded = dict[str, Any]  # what `fold` returned, added up: int, Fraction, an object array of them, or a tuple of them
Which = tuple[int, int]  # slice, replicate


def reduce_rows(
    metric: RowMetric,
    table: RowTable,
    comm: Comm,
    *,
    slices: int = 1,
    multiplicities: Multiplicities | None = None,
) -> dict[Which, Folded | str]:
    """Reduce the rows of all ranks to what `metric.fold` makes of them. A collective.

    Args:
      metric: says how.
      table: the rows of this rank; may be empty.
      comm: the ranks.
      slices: how many slices there are, the whole included: the table names slices 1 .. slices - 1.
      multiplicities: draws the R replicates of a bootstrap, by the clusters of the table; without, by the groups of a
        metric that is drawn by them, else by ids. None for none.
    Returns: by (slice, replicate), on rank 0; nothing elsewhere. Slice 0 is the whole, replicate 0 is not resampled,
      replicate j + 1 is column j of the multiplicities; a text where it says why there are no replicates.
    Raises: Undefined: on all ranks alike, where a key is NaN or a weight cannot be used.
    """
    rows, unit = integer_rows(table, comm)
    del table  # rows are many: what has been passed on is not held
    rows = needed(rows, metric, multiplicities)
    combined = metric.additive is not None and multiplicities is None and rows.group is None and fits(comm, metric, rows)
    if combined:
        rows = combine(rows, metric)
    rows = narrow(comm, rows)
    rows = settle(rows.moved(Route(comm, rows.key, rows.group, is_sorted=combined)), metric, combined)
    refusal = _refusal(metric, rows, comm) if multiplicities is not None else None
    draws = None if refusal else multiplicities
    here = SortedRows(rows, metric, unit, combined, slices, draws)
    folded = _fold_twice(metric, comm, here) if metric.then_by is not None else _fold(metric, comm, here)
    result: dict[Which, Folded | str] = dict(folded)
    if refusal and multiplicities is not None and not comm.rank:
        replicates = multiplicities(np.zeros(0, np.int64)).shape[1]
        result |= {(number, 1 + draw): refusal for number in range(slices) for draw in range(replicates)}
    return result


def _fold(metric: RowMetric, comm: Comm, here: SortedRows) -> dict[Which, Folded]:
    """Fold the parts of this rank, and add up those of all."""
    tallies = _tally(metric, comm, here, here.replicates)
    folded = {
        (piece.slice, replicate): metric.fold(tallies.show(part, piece.slice, replicate))
        for replicate in here.replicates
        for piece, _, part in here.parts(replicate)
    }
    return _add_up(metric, comm, here, folded)


def _refusal(metric: RowMetric, rows: ExchangedRows, comm: Comm) -> str | None:
    """Say why groups cannot be drawn as wholes: a group whose rows are of several clusters. A collective.

    Every rank holds whole groups.
    """
    if metric.drawn_by is None or rows.clusters is None:
        return None
    assert rows.group is not None  # a metric that is drawn by groups keeps its rows by group
    torn, groups = (sum(counts) for counts in zip(*gather(comm, torn_groups(rows.group, rows.clusters)), strict=True))
    if not torn:
        return None
    return (
        f"{torn} of {groups} groups of '{metric.drawn_by}' have examples of several clusters, and a ranking is drawn by whole "
        f"groups: expected clusters that hold whole groups; set bootstrap.cluster to '{metric.drawn_by}', or take it out"
    )


@dataclass(frozen=True)
class _Tallies:
    """Totals of the columns of `cumulate`, over earlier parts and over all."""

    names: tuple[str, ...]
    before: Mapping[Which, Mapping[str, int]]
    total: Mapping[Which, Mapping[str, int]]

    def show(self, part: Part, number: int, replicate: int) -> Part:
        """Return the part with its tallies."""
        zero = dict.fromkeys(self.names, 0)
        before, total = ({**zero, **tally.get((number, replicate), {})} for tally in (self.before, self.total))
        return replace(part, before=before, total=total)


def _tally(metric: RowMetric, comm: Comm, here: SortedRows, replicates: Iterable[int]) -> _Tallies:
    """Add up the columns of `cumulate` over the parts of all ranks."""
    own = {
        (piece.slice, replicate): {name: wide.total(column) for name, column in metric.cumulate(part).items()}
        for replicate in replicates
        for piece, _, part in here.parts(replicate)
    }
    before: dict[Which, dict[str, int]] = {}
    total: dict[Which, dict[str, int]] = {}
    for rank, tallies in enumerate(gather(comm, own)):
        for which, sums in tallies.items():
            for target in (total, before) if rank < comm.rank else (total,):
                into = target.setdefault(which, {})
                for name, count in sums.items():
                    into[name] = into.get(name, 0) + count
    return _Tallies(tuple(metric.cumulate(here.empty)), before, total)


def _fold_twice(metric: RowMetric, comm: Comm, first: SortedRows) -> dict[Which, Folded]:
    """Sort a second time, by `then_by`, taking along what `carry` makes of the first order; then fold."""
    rows = first.rows
    other = np.asarray(rows.values[str(metric.then_by)], np.float64) + 0.0
    route = Route(comm, other, rows.group)
    second = SortedRows(rows.moved(route), metric, first.unit, False, first.slices, first.draw)
    folded: dict[Which, Folded] = {}
    for replicate in first.replicates:
        tallies = _tally(metric, comm, first, [replicate])
        carried = np.zeros((len(rows.key), 1 + rows.slices.shape[1]), np.int64)
        for piece, index, part in first.parts(replicate):
            carried[slice(None) if index is None else index, piece.column] = metric.carry(
                tallies.show(part, piece.slice, replicate)
            )
        carried = route.move(carried)
        tallies = _tally(metric, comm, second, [replicate])
        for piece, index, part in second.parts(replicate):
            carried_here = carried[slice(None) if index is None else index, piece.column]
            part = replace(part, values={**part.values, "carried": carried_here})
            folded[piece.slice, replicate] = metric.fold(tallies.show(part, piece.slice, replicate))
    return _add_up(metric, comm, second, folded)


def _add_up(metric: RowMetric, comm: Comm, here: SortedRows, folded: Mapping[Which, Folded]) -> dict[Which, Folded]:
    """On rank 0: numbers of all parts added up, of tuples the largest; a slice without rows is folded from nothing."""
    by_rank = gather(comm, folded)
    if comm.rank:
        return {}
    result: dict[Which, Folded] = {(number, r): {} for number in range(here.slices) for r in here.replicates}
    for rank_numbers in by_rank:
        for which, numbers in rank_numbers.items():
            into = result[which]
            for name, number in numbers.items():
                if name not in into:
                    into[name] = number
                else:
                    into[name] = max(into[name], number) if isinstance(number, tuple) else into[name] + number
    nothing = here.empty
    if metric.then_by is not None:
        nothing = replace(nothing, values={**nothing.values, "carried": np.zeros(0, np.int64)})
    zero = dict.fromkeys(metric.cumulate(nothing), 0)
    for which, numbers in result.items():
        if not numbers:
            result[which] = metric.fold(replace(nothing, before=zero, total=zero))
    return result

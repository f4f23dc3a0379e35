"""From the rows of all ranks to one metric's exact numbers: sort, cut into parts, fold, add up.

    weights to integers -> sort, combine -> exchange -> cumulate -> fold -> add up on rank 0

A fixed sequence of collectives, whatever the data. All sums are integers or fractions, so the result has the same bits
at any number of ranks.

Real weights become integers: multiples of 2^-53 of the power of two above the largest, rounded to nearest, as close as
one float64 sum can be. Zero weights are left out. A weight below half of that grid, and a negative one, make the
value undefined: they are not rounded away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from harness.exact import wide_integers as wide
from harness.metrics.contract import RowMetric, Totals, Undefined, row_sums
from harness.metrics.row_part import Part
from harness.ranks.comm import Comm
from harness.ranks.exchange import Route, gather
from harness.sums.row_draws import Multiplicities, RowDraws, torn_groups
from harness.sums.rows import RowTable

__all__ = ["Folded", "Multiplicities", "reduce_rows", "row_totals"]

Folded = dict[str, Any]  # what `fold` returned, added up: int, Fraction, an object array of them, or a tuple of them
Which = tuple[int, int]  # slice, replicate

WEIGHT_BITS = 53


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
    rows, unit = _prepare(table, comm)
    del table  # rows are many: what has been passed on is not held
    rows = _needed(rows, metric, multiplicities)
    combined = metric.additive is not None and multiplicities is None and rows.group is None and _fits(comm, metric, rows)
    if combined:
        rows = _combine(rows, metric)
    rows = _narrow(comm, rows)
    rows = _settle(rows.moved(Route(comm, rows.key, rows.group, is_sorted=combined)), metric, combined)
    refusal = _refusal(metric, rows, comm) if multiplicities is not None else None
    draws = None if refusal else multiplicities
    here = _Sorted(rows, metric, unit, combined, slices, draws)
    folded = _fold_twice(metric, comm, here) if metric.then_by is not None else _fold(metric, comm, here)
    result: dict[Which, Folded | str] = dict(folded)
    if refusal and multiplicities is not None and not comm.rank:
        replicates = multiplicities(np.zeros(0, np.int64)).shape[1]
        result |= {(number, 1 + draw): refusal for number in range(slices) for draw in range(replicates)}
    return result


def _fold(metric: RowMetric, comm: Comm, here: _Sorted) -> dict[Which, Folded]:
    """Fold the parts of this rank, and add up those of all."""
    tallies = _tally(metric, comm, here, here.replicates)
    folded = {
        (piece.slice, replicate): metric.fold(tallies.show(part, piece.slice, replicate))
        for replicate in here.replicates
        for piece, _, part in here.parts(replicate)
    }
    return _add_up(metric, comm, here, folded)


def row_totals(folded: Folded, *, positions: int, weight: Fraction, classes: tuple[str, ...] | None = None) -> Totals:
    """Return what `value` is given, from one entry of `reduce_rows`: totals[name] is a float, or an array of them."""
    return Totals(row_sums(folded), positions=positions, weight=weight, classes=classes)


def _needed(rows: _Rows, metric: RowMetric, multiplicities: Multiplicities | None) -> _Rows:
    """Leave out what neither the draws nor the order of equal rows ask for: the less travels."""
    drawn = multiplicities is not None
    ordered = metric.additive is None  # rows of an additive metric that agree in their key are alike
    by_id = drawn and rows.clusters is None and metric.drawn_by is None
    return replace(rows, ids=rows.ids if ordered or by_id else None, clusters=rows.clusters if drawn else None)


@dataclass(frozen=True)
class _Rows:
    """Rows on their way. `counts` is the weight in units, or of combined rows how many units they are.

    `clusters` are what the bootstrap draws by; None where it draws by `ids`, or by groups.
    """

    key: np.ndarray
    group: np.ndarray | None
    values: Mapping[str, np.ndarray]
    counts: np.ndarray
    ids: np.ndarray | None
    slices: np.ndarray
    weighted: bool
    clusters: np.ndarray | None = None

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> _Rows:
        """Change every column."""
        return _Rows(
            change(self.key),
            None if self.group is None else change(self.group),
            {name: change(column) for name, column in self.values.items()},
            change(self.counts),
            None if self.ids is None else change(self.ids),
            change(self.slices) if self.slices.shape[1] else np.zeros((len(change(self.key)), 0), np.int64),
            self.weighted,
            None if self.clusters is None else change(self.clusters),
        )

    def moved(self, route: Route) -> _Rows:
        """Send all rows along a route of their key and group."""
        values = {name: route.move(self.values[name]) for name in sorted(self.values)}
        counts = route.move(self.counts)
        ids = None if self.ids is None else route.move(self.ids)
        slices = route.move(self.slices) if self.slices.shape[1] else np.zeros((len(route.key), 0), np.int64)
        clusters = None if self.clusters is None else route.move(self.clusters)
        return _Rows(route.key, route.group, values, counts, ids, slices, self.weighted, clusters)


def _prepare(table: RowTable, comm: Comm) -> tuple[_Rows, Fraction]:
    """Check keys, bring weights to integers, drop what has none; return the rows and the unit of their counts."""
    key = np.asarray(table.key, np.float64)
    nan = sum(gather(comm, int(np.isnan(key).sum())))
    if nan:
        raise Undefined(f"{nan} rows have NaN for a key")
    values = {name: column if column.dtype.kind == "f" else _narrowest(column) for name, column in table.values.items()}
    rows = _Rows(key, table.group, values, np.ones(len(key), np.uint8), table.ids, table.slices, False, table.clusters)
    if table.weights is None:
        return rows, Fraction(1)
    counts, unit = _integer_weights(np.asarray(table.weights, np.float64), comm)
    rows = replace(rows, counts=counts, weighted=True)
    return (rows if counts.all() else rows.each(lambda column: column[counts != 0])), unit


def _narrowest(column: np.ndarray) -> np.ndarray:
    ends = (int(column.min()), int(column.max())) if len(column) else (0, 0)
    return column.astype(_integer(*ends), copy=False)


def _integer_weights(weights: np.ndarray, comm: Comm) -> tuple[np.ndarray, Fraction]:
    """Return weights as int64 multiples of a unit that all ranks share, and the unit."""
    some = weights[weights != 0]
    ends = (float(some.min()), float(some.max())) if len(some) else (math.inf, 0.0)
    found = gather(comm, ends)
    least, most = min(low for low, _ in found), max(high for _, high in found)
    if least < 0:
        raise Undefined(f"a weight is {least}: rows are sorted and counted with weights of zero or more")
    if least == math.inf:
        return np.zeros(len(weights), np.int64), Fraction(1)
    power = math.frexp(most)[1] - WEIGHT_BITS
    # In fractions: the grid of tiny weights lies below the smallest float64.
    if Fraction(least) < Fraction(2) ** (power - 1):
        raise Undefined(f"weights reach from {least} to {most}: a factor of 2^{WEIGHT_BITS} is what can be added up exactly")
    # In two steps, since 2^-power may be past the range of float64.
    counts = np.rint(np.ldexp(np.ldexp(weights, -(power // 2)), -(power - power // 2))).astype(np.int64)
    bits = int(np.bitwise_or.reduce(counts)) if len(counts) else 0
    for other in gather(comm, bits):
        bits |= other
    shift = (bits & -bits).bit_length() - 1  # weights such as 1, 2 and 0.5 become small numbers
    return counts >> shift, Fraction(2) ** (power + shift)


def _fits(comm: Comm, metric: RowMetric, rows: _Rows) -> bool:
    """Say whether all that could be combined stays below 2^62."""
    largest = max([wide.largest(rows.values[name]) for name in metric.additive or ()], default=1)
    found = gather(comm, (wide.total(rows.counts), largest))
    return sum(count for count, _ in found) * max(1, *(most for _, most in found)) < 1 << 62


def _combine(rows: _Rows, metric: RowMetric) -> _Rows:
    """Sort, and add up the rows that agree in key and slices; their values become sums over what they count."""
    if set(rows.values) != set(metric.additive or ()):
        raise ValueError(f"{type(metric).__name__} declares {metric.additive} additive, its rows hold {sorted(rows.values)}")
    rows = replace(rows, ids=None)
    order = np.lexsort((*rows.slices.T, rows.key)) if rows.slices.shape[1] else np.argsort(rows.key)
    rows = rows.each(partial(np.take, indices=order, axis=0))
    del order
    np.add(rows.key, 0.0, out=rows.key)  # -0.0 + 0.0 is 0.0; sorting takes the two for equal
    if rows.weighted:
        rows = replace(rows, values={name: column * rows.counts for name, column in rows.values.items()})
    return _add_equal(rows)


def _add_equal(rows: _Rows) -> _Rows:
    """Add up neighbours that agree in key and slices, of combined rows."""
    differs = (rows.key[1:] != rows.key[:-1]) | (rows.slices[1:] != rows.slices[:-1]).any(axis=1)
    if differs.all():
        return rows
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(differs) + 1])

    def add(column: np.ndarray) -> np.ndarray:
        return _narrowest(np.add.reduceat(column, starts, dtype=np.int64))

    return _Rows(
        rows.key[starts],
        None,
        {name: add(column) for name, column in rows.values.items()},
        add(rows.counts),
        None,
        rows.slices[starts],
        rows.weighted,
    )


def _narrow(comm: Comm, rows: _Rows) -> _Rows:
    """Bring integer columns to the narrowest dtype that holds them on all ranks: less to keep and to send."""

    def ends(column: np.ndarray) -> tuple[Any, ...]:
        if not len(column):
            return ("i", 0, 0)
        return (column.dtype.kind, 0, 0) if column.dtype.kind == "f" else ("i", int(column.min()), int(column.max()))

    columns = {**rows.values, "": rows.counts}
    found = gather(comm, {name: ends(column) for name, column in columns.items()})
    dtypes: dict[str, Any] = {}
    for name in columns:
        kinds, low, high = zip(*(each[name] for each in found), strict=True)
        dtypes[name] = np.float64 if "f" in kinds else _integer(min(low), max(high))
    narrow = {name: column.astype(dtypes[name]) for name, column in columns.items()}
    return replace(rows, counts=narrow.pop(""), values=narrow)


def _integer(low: int, high: int) -> Any:
    """Return the narrowest integer dtype that holds both ends and that Horovod can send: it knows no uint32 and uint64.

    >>> [_integer(0, 255), _integer(-1, 99), _integer(0, 1 << 40)] == [np.uint8, np.int8, np.int64]
    True
    """
    fits = (d for d in (np.uint8, np.int8, np.uint16, np.int16, np.int32) if np.iinfo(d).min <= low and high <= np.iinfo(d).max)
    return next(fits, np.int64)


def _settle(rows: _Rows, metric: RowMetric, combined: bool) -> _Rows:
    """Order rows that agree in (group, key) by all else, so that their order tells nothing of ranks."""
    np.add(rows.key, 0.0, out=rows.key)  # -0.0 becomes 0.0
    if metric.additive is not None or len(rows.key) < 2:
        # What came from several ranks: fewer rows to show, and no ties among them.
        return _add_equal(rows) if combined and metric.then_by is None and not rows.slices.shape[1] else rows
    same = rows.key[1:] == rows.key[:-1]
    if rows.group is not None:
        same &= rows.group[1:] == rows.group[:-1]
    if not same.any():
        return rows
    run = np.concatenate([np.zeros(1, np.int64), np.cumsum(~same)])
    tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    columns = [*rows.slices.T, rows.counts, *(rows.values[name] for name in sorted(rows.values))]
    if rows.ids is not None:
        columns.append(rows.ids)
    order = np.arange(len(rows.key))
    order[tied] = tied[np.lexsort((*(column[tied] for column in columns), run[tied]))]
    return rows.each(lambda column: column[order])


@dataclass(frozen=True)
class _Piece:
    """The rows of one slice on this rank: their numbers, None for all; `column` is 0, or 1 + the number of the spec."""

    slice: int
    column: int
    index: np.ndarray | None


class _Sorted:
    """This rank's sorted rows, shown as parts by slice and replicate."""

    def __init__(
        self, rows: _Rows, metric: RowMetric, unit: Fraction, combined: bool, slices: int, multiplicities: Multiplicities | None
    ) -> None:
        self.rows = rows
        self.metric = metric
        self.unit = unit
        self.combined = combined
        self.slices = slices
        self.draw = multiplicities
        # Then a column of ones need not be stored.
        self._single = bool((rows.counts == 1).all())
        self.pieces = [_Piece(0, 0, None), *_pieces(rows.slices)]
        self._drawn = None if multiplicities is None else _draw(multiplicities, rows, metric)

    @property
    def replicates(self) -> range:
        """Return all replicates, the one that is not resampled first."""
        return range(1 if self._drawn is None else 1 + self._drawn.replicates)

    @property
    def empty(self) -> Part:
        """Return a part without rows."""
        return self._part(np.zeros(0, np.int64), None)

    def parts(self, replicate: int) -> Iterator[tuple[_Piece, np.ndarray | None, Part]]:
        """Return each slice that has rows here: with the numbers of the rows, and the part."""
        drawn = None if self._drawn is None or not replicate else self._drawn.times(replicate)
        for piece in self.pieces:
            index = piece.index
            if drawn is not None and not self.metric.keeps_undrawn:
                index = np.flatnonzero(drawn) if index is None else index[drawn[index] != 0]
            if len(self.rows.key) if index is None else len(index):
                yield piece, index, self._part(index, drawn)

    def _part(self, index: np.ndarray | None, drawn: np.ndarray | None) -> Part:
        rows = self.rows

        def pick(column: np.ndarray) -> np.ndarray:
            picked = column if index is None else column[index]
            return picked if picked.dtype == np.float64 else picked.astype(np.int64)

        counts = np.broadcast_to(np.int64(1), len(rows.counts)) if index is None and self._single else pick(rows.counts)
        # Of combined rows the counts are how many there were; else they are the weight.
        weighted = rows.weighted and not self.combined
        repeats = pick(drawn) if drawn is not None else np.ones(len(counts), np.int64) if weighted else counts
        return Part(
            key=pick(rows.key),
            group=None if rows.group is None else pick(rows.group),
            values={name: pick(column) for name, column in rows.values.items()},
            multiplicity=repeats,
            weight=counts if weighted else None,
            unit=self.unit,
            combined=self.combined,
        )


def _pieces(slices: np.ndarray) -> Iterator[_Piece]:
    """Find the rows of each slice, in order."""
    for column, numbers in enumerate(slices.T, start=1):
        order = np.argsort(numbers, kind="stable")
        found, starts = np.unique(numbers[order], return_index=True)
        for number, index in zip(found.tolist(), np.split(order, starts[1:]), strict=False):
            if number >= 0:
                yield _Piece(number, column, index)


def _draw(multiplicities: Multiplicities, rows: _Rows, metric: RowMetric) -> RowDraws:
    """Draw whole groups where the metric asks for it, else clusters, else examples."""
    if metric.drawn_by is not None:
        assert rows.group is not None  # a metric that is drawn by groups keeps its rows by group
        return RowDraws.of_groups(multiplicities, rows.group, rows.clusters)
    return RowDraws.of_keys(multiplicities, rows.ids if rows.clusters is None else rows.clusters)


def _refusal(metric: RowMetric, rows: _Rows, comm: Comm) -> str | None:
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


def _tally(metric: RowMetric, comm: Comm, here: _Sorted, replicates: Iterable[int]) -> _Tallies:
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


def _fold_twice(metric: RowMetric, comm: Comm, first: _Sorted) -> dict[Which, Folded]:
    """Sort a second time, by `then_by`, taking along what `carry` makes of the first order; then fold."""
    rows = first.rows
    other = np.asarray(rows.values[str(metric.then_by)], np.float64) + 0.0
    route = Route(comm, other, rows.group)
    second = _Sorted(rows.moved(route), metric, first.unit, False, first.slices, first.draw)
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
            taken = carried[slice(None) if index is None else index, piece.column]
            part = replace(part, values={**part.values, "carried": taken})
            folded[piece.slice, replicate] = metric.fold(tallies.show(part, piece.slice, replicate))
    return _add_up(metric, comm, second, folded)


def _add_up(metric: RowMetric, comm: Comm, here: _Sorted, folded: Mapping[Which, Folded]) -> dict[Which, Folded]:
    """On rank 0: numbers of all parts added up, of tuples the largest; a slice without rows is folded from nothing."""
    found = gather(comm, folded)
    if comm.rank:
        return {}
    result: dict[Which, Folded] = {(number, r): {} for number in range(here.slices) for r in here.replicates}
    for each in found:
        for which, numbers in each.items():
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

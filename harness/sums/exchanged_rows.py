"""Rows as ranks exchange them: weights as integers, columns no wider than they need be, equal rows combined.

Real weights become integers: multiples of 2^-53 of the power of two above the largest, rounded to nearest, as close as
one float64 sum can be. Zero weights are left out. A weight of which that leaves too little, and a negative one, make the
value undefined: a slice may hold small weights alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from harness.exact import wide_integers as wide
from harness.metrics.contract import RowMetric, Undefined
from harness.ranks.comm import Comm
from harness.ranks.exchange import Route, gather
from harness.sums.row_draws import Multiplicities
from harness.sums.rows import RowTable

__all__ = ["ExchangedRows", "combine", "fits", "integer_rows", "narrow", "needed", "settle"]

WEIGHT_BITS = 53
KEPT_BITS = 26  # a weight is rounded by less than 2^-26 of itself


@dataclass(frozen=True)
class ExchangedRows:
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

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> ExchangedRows:
        """Change every column."""
        key = change(self.key)
        return ExchangedRows(
            key,
            None if self.group is None else change(self.group),
            {name: change(column) for name, column in self.values.items()},
            change(self.counts),
            None if self.ids is None else change(self.ids),
            change(self.slices) if self.slices.shape[1] else np.zeros((len(key), 0), np.int64),
            self.weighted,
            None if self.clusters is None else change(self.clusters),
        )

    def moved(self, route: Route) -> ExchangedRows:
        """Send all rows along a route of their key and group."""
        values = {name: route.move(self.values[name]) for name in sorted(self.values)}
        counts = route.move(self.counts)
        ids = None if self.ids is None else route.move(self.ids)
        slices = route.move(self.slices) if self.slices.shape[1] else np.zeros((len(route.key), 0), np.int64)
        clusters = None if self.clusters is None else route.move(self.clusters)
        return ExchangedRows(route.key, route.group, values, counts, ids, slices, self.weighted, clusters)


def integer_rows(table: RowTable, comm: Comm) -> tuple[ExchangedRows, Fraction]:
    """Check keys, bring weights to integers, drop what has none; return the rows and the unit of their counts."""
    key = np.asarray(table.key, np.float64)
    nan = sum(gather(comm, int(np.isnan(key).sum())))
    if nan:
        raise Undefined(f"{nan} rows have NaN for a key")
    values = {name: column if column.dtype.kind == "f" else _narrowest(column) for name, column in table.values.items()}
    rows = ExchangedRows(key, table.group, values, np.ones(len(key), np.uint8), table.ids, table.slices, False, table.clusters)
    if table.weights is None:
        return rows, Fraction(1)
    counts, unit = _integer_weights(np.asarray(table.weights, np.float64), comm)
    rows = replace(rows, counts=counts, weighted=True)
    return (rows if counts.all() else rows.each(lambda column: column[counts != 0])), unit


def _integer_weights(weights: np.ndarray, comm: Comm) -> tuple[np.ndarray, Fraction]:
    """Return weights as int64 multiples of a unit that all ranks share, and the unit."""
    some = weights[weights != 0]
    ends = (float(some.min()), float(some.max())) if len(some) else (math.inf, 0.0)
    ranges = gather(comm, ends)
    least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
    if least < 0:
        raise Undefined(f"a weight is {least}: rows are sorted and counted with weights of zero or more")
    if least == math.inf:
        return np.zeros(len(weights), np.int64), Fraction(1)
    power = math.frexp(most)[1] - WEIGHT_BITS
    # In two steps, since 2^-power may be past the range of float64.
    units = np.ldexp(np.ldexp(weights, -(power // 2)), -(power - power // 2))
    rounded = np.rint(units)
    is_coarse = bool((np.abs(units - rounded) >= np.ldexp(units, -KEPT_BITS))[weights != 0].any())
    counts = rounded.astype(np.int64)
    bits = int(np.bitwise_or.reduce(counts)) if len(counts) else 0
    for other, was_coarse in gather(comm, (bits, is_coarse)):
        bits |= other
        is_coarse |= was_coarse
    if is_coarse:
        raise Undefined(
            f"weights reach from {least} to {most}, and are sorted and counted in 2^{WEIGHT_BITS} steps: the smallest would be "
            f"rounded by more than 2^-{KEPT_BITS} of themselves; give weight 0 to what is not to count, or round weights to "
            "fewer bits"
        )
    shift = (bits & -bits).bit_length() - 1  # weights such as 1, 2 and 0.5 become small numbers
    return counts >> shift, Fraction(2) ** (power + shift)


def needed(rows: ExchangedRows, metric: RowMetric, multiplicities: Multiplicities | None) -> ExchangedRows:
    """Leave out what neither the draws nor the order of equal rows ask for: the less travels."""
    drawn = multiplicities is not None
    ordered = metric.additive is None  # rows of an additive metric that agree in their key are alike
    by_id = drawn and rows.clusters is None and metric.drawn_by is None
    return replace(rows, ids=rows.ids if ordered or by_id else None, clusters=rows.clusters if drawn else None)


def fits(comm: Comm, metric: RowMetric, rows: ExchangedRows) -> bool:
    """Say whether all that could be combined stays below 2^62."""
    largest = max([wide.largest(rows.values[name]) for name in metric.additive or ()], default=1)
    totals = gather(comm, (wide.total(rows.counts), largest))
    return sum(count for count, _ in totals) * max(1, *(most for _, most in totals)) < 1 << 62


def combine(rows: ExchangedRows, metric: RowMetric) -> ExchangedRows:
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


def _add_equal(rows: ExchangedRows) -> ExchangedRows:
    """Add up neighbours that agree in key and slices, of combined rows."""
    differs = (rows.key[1:] != rows.key[:-1]) | (rows.slices[1:] != rows.slices[:-1]).any(axis=1)
    if differs.all():
        return rows
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(differs) + 1])

    def add(column: np.ndarray) -> np.ndarray:
        # Told to add as int64, `reduceat` would convert small pieces, and take four times as long.
        return _narrowest(np.add.reduceat(column.astype(np.int64, copy=False), starts))

    return ExchangedRows(
        rows.key[starts],
        None,
        {name: add(column) for name, column in rows.values.items()},
        add(rows.counts),
        None,
        rows.slices[starts],
        rows.weighted,
    )


def narrow(comm: Comm, rows: ExchangedRows) -> ExchangedRows:
    """Bring integer columns to the narrowest dtype that holds them on all ranks: less to keep and to send."""

    def ends(column: np.ndarray) -> tuple[Any, ...]:
        if not len(column):
            return ("i", 0, 0)
        return (column.dtype.kind, 0, 0) if column.dtype.kind == "f" else ("i", int(column.min()), int(column.max()))

    columns = {**rows.values, "": rows.counts}
    ranges = gather(comm, {name: ends(column) for name, column in columns.items()})
    dtypes: dict[str, Any] = {}
    for name in columns:
        kinds, low, high = zip(*(rank_ranges[name] for rank_ranges in ranges), strict=True)
        dtypes[name] = np.float64 if "f" in kinds else _integer(min(low), max(high))
    narrow = {name: column.astype(dtypes[name]) for name, column in columns.items()}
    return replace(rows, counts=narrow.pop(""), values=narrow)


def _narrowest(column: np.ndarray) -> np.ndarray:
    ends = (int(column.min()), int(column.max())) if len(column) else (0, 0)
    return column.astype(_integer(*ends), copy=False)


def _integer(low: int, high: int) -> Any:
    """Return the narrowest integer dtype that holds both ends and that Horovod can send: it knows no uint32 and uint64.

    >>> [_integer(0, 255), _integer(-1, 99), _integer(0, 1 << 40)] == [np.uint8, np.int8, np.int64]
    True
    """
    fits = (d for d in (np.uint8, np.int8, np.uint16, np.int16, np.int32) if np.iinfo(d).min <= low and high <= np.iinfo(d).max)
    return next(fits, np.int64)


def settle(rows: ExchangedRows, metric: RowMetric, combined: bool) -> ExchangedRows:
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

"""Sorted rows of one rank, shown as parts: slice by slice, replicate by replicate. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from harness.metrics.contract import RowMetric
from harness.metrics.row_part import Part
from harness.sums.exchanged_rows import ExchangedRows
from harness.sums.row_draws import Multiplicities, RowDraws

__all__ = ["SliceRows", "SortedRows"]


@dataclass(frozen=True)
class SliceRows:
    """The rows of one slice on this rank: their numbers, None for all; `column` is 0, or 1 + the number of the spec."""

    slice: int
    column: int
    index: np.ndarray | None


class SortedRows:
    """This rank's sorted rows, shown as parts by slice and replicate."""

    def __init__(
        self,
        rows: ExchangedRows,
        metric: RowMetric,
        unit: Fraction,
        combined: bool,
        slices: int,
        multiplicities: Multiplicities | None,
    ) -> None:
        self.rows = rows
        self.metric = metric
        self.unit = unit
        self.combined = combined
        self.slices = slices
        self.draw = multiplicities
        # Then a column of ones need not be stored.
        self._single = bool((rows.counts == 1).all())
        self.pieces = [SliceRows(0, 0, None), *_pieces(rows.slices)]
        self._drawn = None if multiplicities is None else _draw(multiplicities, rows, metric)

    @property
    def replicates(self) -> range:
        """Return all replicates, the one that is not resampled first."""
        return range(1 if self._drawn is None else 1 + self._drawn.replicates)

    @property
    def empty(self) -> Part:
        """Return a part without rows."""
        return self._part(np.zeros(0, np.int64), None)

    def parts(self, replicate: int) -> Iterator[tuple[SliceRows, np.ndarray | None, Part]]:
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


def _pieces(slices: np.ndarray) -> Iterator[SliceRows]:
    """Find the rows of each slice, in order."""
    for column, numbers in enumerate(slices.T, start=1):
        order = np.argsort(numbers, kind="stable")
        distinct, starts = np.unique(numbers[order], return_index=True)
        for number, index in zip(distinct.tolist(), np.split(order, starts[1:]), strict=False):
            if number >= 0:
                yield SliceRows(number, column, index)


def _draw(multiplicities: Multiplicities, rows: ExchangedRows, metric: RowMetric) -> RowDraws:
    """Draw whole groups where the metric asks for it, else clusters, else examples."""
    if metric.drawn_by is not None:
        assert rows.group is not None  # a metric that is drawn by groups keeps its rows by group
        return RowDraws.of_groups(multiplicities, rows.group, rows.clusters)
    return RowDraws.of_keys(multiplicities, rows.ids if rows.clusters is None else rows.clusters)

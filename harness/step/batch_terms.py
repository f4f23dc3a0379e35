"""What a batch adds, laid side by side, and its sums: all in the graph.

A batch costs a handful of operations however many metrics there are: exact numbers are columns of limbs, counts one
histogram. The state lives on the CPU: TensorFlow's GPU build has no int64 kernels for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from harness.exact.limbs import CELL
from harness.exact.tf_limbs import exact_graph, histogram, sum_cells, to_cells
from harness.sums.layout import Counted, Crossed, Layout, RowLayout, Summed

__all__ = ["BatchTerms"]


@dataclass
class BatchTerms:
    """What one batch adds, before it is summed.

    Attributes:
      numbers: column, and its parts float64 [B, k]: a value, then what rounding took from it.
      counts: column, bucket of each position int32 [B * M] (negative for none), M.
      weighted: column, bucket int32 [B * M], the weight float64 [B * M], M.
      grams: column, what the batch adds to it, int64 [column.size], and of how many blocks.
      shared: metric or binding, and the one whose columns it shares.
      rows: by metric: int64 [n, columns], and the example in the batch int64 [n] that each belongs to.
    """

    numbers: list[tuple[Summed, list[Any]]] = field(default_factory=list)
    counts: list[tuple[Counted, Any, int]] = field(default_factory=list)
    weighted: list[tuple[Summed, Any, Any, int]] = field(default_factory=list)
    grams: list[tuple[Crossed, Any, int]] = field(default_factory=list)
    rows: dict[str, tuple[RowLayout, Any, Any]] = field(default_factory=dict)
    shared: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        """The layout of the state that these terms add up to."""
        summed = [column for column, _ in self.numbers] + [column for column, *_ in self.weighted]
        counted, crossed = tuple(column for column, *_ in self.counts), tuple(column for column, *_ in self.grams)
        return Layout(tuple(summed), counted, tuple(self.shared), crossed)

    @property
    def additions(self) -> int:
        """How many numbers a batch may add to one cell, or to one entry of a Gram matrix."""
        numbers = [parts[0].shape[0] * len(parts) for _, parts in self.numbers]
        weighted = [index.shape[0] for _, index, *_ in self.weighted]
        return max([*numbers, *weighted, *(blocks for *_, blocks in self.grams)], default=0)

    def tensors(self) -> list[Any]:
        """Return all tensors, in the order that `filled` takes."""
        return [
            *(part for _, parts in self.numbers for part in parts),
            *(index for _, index, _ in self.counts),
            *(tensor for _, index, weight, _ in self.weighted for tensor in (index, weight)),
            *(sums for _, sums, _ in self.grams),
            *(tensor for _, packed, owner in self.rows.values() for tensor in (packed, owner)),
        ]

    def filled(self, tensors: Iterable[Any]) -> BatchTerms:
        """Return the same columns with other tensors."""
        left = iter(tensors)
        return BatchTerms(
            [(column, [next(left) for _ in parts]) for column, parts in self.numbers],
            [(column, next(left), width) for column, _, width in self.counts],
            [(column, next(left), next(left), width) for column, _, _, width in self.weighted],
            [(column, next(left), blocks) for column, _, blocks in self.grams],
            {key: (layout, next(left), next(left)) for key, (layout, _, _) in self.rows.items()},
            self.shared,
        )

    def without(self, keys: Collection[str]) -> BatchTerms:
        """Return the sums without those of some metrics; what they share with others stays."""
        needed = {first for key, first in self.shared if key not in keys}
        keys = set(keys) - needed
        if not keys:
            return self

        def kept(columns: list[Any]) -> list[Any]:
            return [entry for entry in columns if entry[0].key[0] not in keys]

        return BatchTerms(kept(self.numbers), kept(self.counts), kept(self.weighted))

    def cells(self) -> Any:
        """Return the numbers of each example as cells, float64 [B, K, CELL]; None without numbers."""
        if not self.numbers:
            return None
        # The parts of an error-free pair go into the same cells. Columns with more parts come last, so that each
        # further level covers a run of columns at the end.
        cells = to_cells(tf.concat([parts[0] for _, parts in self.numbers], axis=1))
        for level in range(1, len(self.numbers[-1][1])):
            more = to_cells(tf.concat([parts[level] for _, parts in self.numbers if len(parts) > level], axis=1))
            cells += tf.pad(more, [[0, 0], [cells.shape[1] - more.shape[1], 0], [0, 0]])
        return cells

    def sums(self) -> Any:
        """Return the sums of the batch, int64 [layout.size]."""
        return exact_graph(self._sums)()

    def _sums(self) -> Any:
        values, columns = [], []
        at = 0
        for column, parts in self.numbers:
            width = column.size // CELL
            for part in parts:  # of an error-free pair both go into the same cell
                values.append(tf.reshape(part, [-1]))
                columns.append(tf.tile(tf.range(at, at + width), part.shape[:1]))
            at += width
        for column, index, weight, _ in self.weighted:
            size = column.size // CELL
            values.append(weight)
            columns.append(tf.where((index >= 0) & (index < size), index + at, -1))
            at += size
        parts = [self._counted(), *(sums for _, sums, _ in self.grams)]
        if values:
            parts = [sum_cells(tf.concat(values, axis=0), tf.concat(columns, axis=0), at), *parts]
        return tf.concat(parts, axis=0)

    def _counted(self) -> Any:
        """Return all counts, side by side."""
        offsets = np.cumsum([0] + [column.size for column, *_ in self.counts])
        # Columns of as many positions are shifted into their place together: a batch costs a few operations, not a few
        # a column.
        alike: dict[int | None, list[int]] = {}
        for number, (_, index, _) in enumerate(self.counts):
            alike.setdefault(index.shape[0], []).append(number)
        indices = []
        for numbers in alike.values():
            index = tf.stack([self.counts[number][1] for number in numbers])
            sizes = np.array([[self.counts[number][0].size] for number in numbers], np.int32)
            shifted = index + offsets[numbers].astype(np.int32)[:, None]
            indices.append(tf.reshape(tf.where((index >= 0) & (index < sizes), shifted, -1), [-1]))
        if not indices:  # a job that only predicts has no metrics
            return tf.zeros([0], tf.int64)
        return histogram(tf.concat(indices, axis=0), int(offsets[-1]))

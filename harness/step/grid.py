"""The grid in the graph: adds a batch's terms to every slice and every replicate that its examples belong to.

The sums are int64 variables on the CPU, added to in place: they can be large, and a batch touches few of their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.draws import THRESHOLDS, stream
from harness.exact.limbs import CELL, HEADROOM, LIMB_BITS, additions
from harness.exact.tf_limbs import exact_graph, to_cells
from harness.exact.tf_splitmix import mix, outputs
from harness.job.specs import SliceFeature
from harness.metrics.question import Question
from harness.step.batch_terms import BatchTerms
from harness.step.grid_variables import TRASH, GridVariables, for_each, in_parts, scatter
from harness.step.slice_keys import keys_of, text_of
from harness.sums.grid import GridLayout, GridState, too_many

__all__ = ["TFGrid"]

MULTIPLICITY = len(THRESHOLDS)  # the largest that is drawn


class TFGrid:
    """Slots and draws of one rank.

    Args:
      question: what is asked; without slices and replicates the grid is empty, and adding to it costs nothing.
      expected: how many slices there are at most, as far as that is known; see `grid.most_slices`.

    Attributes:
      most_slots: the whole, and as many slices as are expected at most.
    """

    def __init__(self, question: Question, expected: int | None = None) -> None:
        self._slices = slices = question.slices
        self._bootstrap = bootstrap = question.bootstrap
        self._left_out = question.outside_grid
        self.active = question.has_grid
        self.draws = 1 + (bootstrap.replicates if bootstrap else 0)
        self.most_slots = 1 + (min(slices.maximum, slices.maximum if expected is None else expected) if slices else 0)
        self._limit = 1 + (slices.maximum if slices else 0)
        self.layout: GridLayout | None = None
        with tf.device("/CPU:0"):
            self._table: Any = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1) if slices else None

    @property
    def slice_specs(self) -> tuple[tuple[SliceFeature, ...], ...]:
        """The crosses of features that the job slices by."""
        return self._slices.by if self._slices else ()

    @property
    def clustered(self) -> bool:
        """Whether the bootstrap draws by the values of a feature, not by example."""
        return self._bootstrap is not None and self._bootstrap.cluster is not None

    @property
    def features(self) -> tuple[str, ...]:
        """The features that slices and clusters are told by."""
        names = [feature.feature for cross in self.slice_specs for feature in cross]
        if self._bootstrap and self._bootstrap.cluster:
            names.append(self._bootstrap.cluster)
        return tuple(dict.fromkeys(names))

    def plan(self, terms: BatchTerms) -> GridLayout:
        """Learn the layout from traced terms."""
        whole = terms.layout
        terms = terms.without(self._left_out) if self.active else BatchTerms()
        times = MULTIPLICITY if self._bootstrap else 1
        self._carry_every = additions(terms.additions * times)
        if not self._carry_every:
            raise ShapeError(
                f"a batch adds up to {terms.additions:,} numbers to one sum, up to {times} times, expected at most {HEADROOM:,} "
                "additions: lower batch_size"
            )
        # Rows of a matrix product: limbs of 2^32, of all parts of one number, so many of them, stay exact in float64.
        parts = max([len(parts) for _, parts in terms.numbers], default=1)
        self._most_rows = (1 << 53 - LIMB_BITS) // (parts * MULTIPLICITY)
        self.layout = GridLayout(
            tuple(column for column, _ in terms.numbers),
            tuple(column for column, _, width in terms.counts if width > 1),
            tuple(column for column, _, width in terms.counts if width == 1),
            tuple(column for column, *_ in terms.weighted),
            whole,
        )
        return self.layout

    def allocate(self, fitting: int | None = None) -> None:
        """Make the variables, for a few slots; they grow in the graph when there are more.

        Args:
          fitting: how many slots there may be for the state to fit into memory; None is any number.
        """
        self._limit = self._limit if fitting is None else min(self._limit, fitting)
        self.variables = GridVariables(self._known, self.draws, self._limit, self._carry_every)

    def clear(self) -> None:
        """Take all sums and slots away."""
        self.variables.empty()
        if self._slices:
            self._table.remove(self._table.export()[0])

    def take(self) -> GridState:
        """Return the sums and leave none; the slots keep their numbers."""
        sums = self.fetch()
        self.variables.empty()
        return sums

    @property
    def _known(self) -> GridLayout:
        assert self.layout is not None  # plan() comes first
        return self.layout

    def add(self, terms: BatchTerms, features: Mapping[str, Any], ids: Any, mask: Any) -> tuple[Any, Any]:
        """Add a batch.

        Args:
          terms: of the batch.
          features: by name, [B, ...].
          ids: int64 [B].
          mask: bool [B].
        Returns: slots int32 [B, specs], and the bootstrap's keys int64 [B]: of examples, or of clusters.
        """
        if not self.active:
            return tf.zeros([tf.shape(mask)[0], 0], tf.int32), ids
        with tf.device("/CPU:0"):
            self.variables.carry_in_time()
            terms = terms.without(self._left_out)
            keys = self._keys(features, ids)
            drawn = self._drawn(keys)
            slots = self._find(features, mask)
            rows = slots + TRASH  # of no slot, -1, the first
            dense = self._dense_part(terms)
            if dense is not None:
                self._add_dense(rows, dense, drawn)
            if self._bootstrap:  # of the whole
                rows = tf.concat([rows, tf.fill([1, mask.shape[0]], TRASH)], axis=0)

            def add(row: Any) -> None:
                self._add_buckets(row, terms, drawn)
                self._add_weighted(row, terms, drawn)

            for_each(add, rows)
            return tf.transpose(slots), keys

    def _dense_part(self, terms: BatchTerms) -> Any:
        """Return limbs and histograms of each example, float64 [B, dense]."""
        parts = []
        if terms.numbers:
            cells = exact_graph(terms.cells)()
            parts.append(tf.reshape(cells, [cells.shape[0], -1]))
        for column, index, width in terms.counts:
            if width > 1:
                rows = index.shape[0] // width
                owner = tf.repeat(tf.range(rows), width)
                place = tf.where((index >= 0) & (index < column.size), owner * column.size + index, -1)
                histogram = tf.math.unsorted_segment_sum(tf.ones_like(place, tf.float64), place, rows * column.size)
                parts.append(tf.reshape(histogram, [rows, column.size]))
        return tf.concat(parts, axis=1) if parts else None

    def _add_dense(self, rows: Any, dense: Any, drawn: Any) -> None:
        if self._bootstrap:
            # The whole: matrix products of so many rows that they are exact in float64.
            for at in range(0, dense.shape[0], self._most_rows):
                rows_ = slice(at, at + self._most_rows)
                whole = tf.matmul(drawn[rows_], dense[rows_], transpose_a=True)
                scatter(self.variables.dense, tf.constant([TRASH]), tf.reshape(tf.cast(whole, tf.int64), [1, -1]))
        if self.slice_specs:

            def add(at: Any, size: int) -> None:
                products = drawn[at : at + size, :, None] * dense[at : at + size, None, :]
                products = tf.reshape(tf.cast(products, tf.int64), [size, self.draws * dense.shape[1]])
                for_each(lambda row: scatter(self.variables.dense, row[at : at + size], products), rows)

            in_parts(add, dense.shape[0], self.draws * dense.shape[1])

    def _add_buckets(self, row: Any, terms: BatchTerms, drawn: Any) -> None:
        width = self._known.scattered

        def find() -> list[Any]:
            places = []
            at = 0
            for column, index, per_example in terms.counts:
                if per_example == 1:
                    places.append(tf.where((index >= 0) & (index < column.size), row * width + at + index, 0))
                    at += column.size
            return places

        places = exact_graph(find)()
        if self.draws == 1:
            if places:
                scatter(self.variables.buckets, tf.concat(places, axis=0), tf.constant(1, tf.int64))
            return
        times = tf.cast(drawn, tf.int64)
        for place in places:
            scatter(self.variables.buckets, place, times)

    def _add_weighted(self, row: Any, terms: BatchTerms, drawn: Any) -> None:
        width = self._known.weighted_buckets
        at = 0
        for column, index, weight, per_example in terms.weighted:
            cells = to_cells(weight)
            size = column.size // CELL
            slot = row if per_example == 1 else tf.repeat(row, per_example)
            times = drawn if per_example == 1 else tf.repeat(drawn, per_example, axis=0)
            place = tf.where((index >= 0) & (index < size), slot * width + at + index, 0)
            self._spread(place, times, cells)
            at += size

    def _spread(self, place: Any, times: Any, cells: Any) -> None:
        """Add the cells of each position to its place, as often as each draw has it."""

        def add(at: Any, size: int) -> None:
            products = tf.cast(times[at : at + size, :, None] * cells[at : at + size, None, :], tf.int64)
            scatter(self.variables.weighted, place[at : at + size], tf.reshape(products, [size, self.draws * CELL]))

        in_parts(add, cells.shape[0], self.draws * CELL)

    def _keys(self, features: Mapping[str, Any], ids: Any) -> Any:
        """Return what the bootstrap draws by, int64 [B]: the id, or a hash of the cluster's value."""
        if self._bootstrap is None or self._bootstrap.cluster is None:
            return ids
        text = text_of(self._bootstrap.cluster, features)
        return tf.bitcast(tf.fingerprint(text[:, None]), tf.int64)

    def _drawn(self, keys: Any) -> Any:
        """Return the multiplicities float64 [B, draws], the first 1; see `bootstrap.multiplicities`."""
        whole = tf.ones([keys.shape[0], 1], tf.float64)
        if not self._bootstrap:
            return whole
        count = self._bootstrap.replicates
        start = tf.bitwise.bitwise_xor(tf.bitcast(keys, tf.uint64), tf.constant(stream(self._bootstrap.seed), tf.uint64))
        z = outputs(mix(start), (count + 1) // 2)
        halves = tf.stack(
            [tf.cast(z, tf.uint32), tf.cast(tf.bitwise.right_shift(z, tf.constant(32, tf.uint64)), tf.uint32)], axis=-1
        )
        # uint32 has few kernels; shifted by 2^31 the order is that of int32
        signed = tf.bitcast(tf.bitwise.bitwise_xor(halves, tf.constant(1 << 31, tf.uint32)), tf.int32)
        signed = tf.reshape(signed, [keys.shape[0], -1])[:, :count]
        times = tf.zeros_like(signed)
        for threshold in THRESHOLDS:
            times += tf.cast(signed >= tf.constant(threshold - 2**31, tf.int32), tf.int32)
        return tf.concat([whole, tf.cast(times, tf.float64)], axis=1)

    def _find(self, features: Mapping[str, Any], mask: Any) -> Any:
        """Return the slots of each example, int32 [specs, B], learning new keys on the way; -1 for padding."""
        if not self.slice_specs:
            return tf.zeros([0, mask.shape[0]], tf.int32)
        # Of all specs at once: a branch for each would take a third of a second to trace.
        keys = tf.stack([keys_of(number, spec, features, tf.shape(mask)) for number, spec in enumerate(self.slice_specs)])
        shape = [len(self.slice_specs), mask.shape[0]]
        table = self._table
        places = tf.ensure_shape(table.lookup(keys), shape)
        new = (places < 0) & mask

        def learn() -> Any:
            fresh = tf.unique(tf.boolean_mask(keys, new)).y
            slots = 1 + table.size() + tf.size(fresh, tf.int64)
            with tf.control_dependencies(
                [table.insert(fresh, table.size() + tf.range(tf.size(fresh, tf.int64))), self.variables.grow(slots)]
            ):
                return table.lookup(keys)

        places = tf.ensure_shape(tf.cond(tf.reduce_any(new), learn, lambda: places), shape)
        return tf.where(mask & (places < self._limit - 1), tf.cast(places, tf.int32) + 1, -1)

    def settle(self) -> None:
        """After a call: refuse more slices than the job allows.

        Raises: JobError: there are too many slices.
        """
        if self._slices and int(self._table.size()) >= self._limit:
            raise too_many(int(self._table.size()), self._slices, self._limit - 1)

    def fetch(self) -> GridState:
        """Return the sums of the slots that were found, cells carried."""
        keys: list[str] = []
        if self._slices:
            names, numbers = (tensor.numpy() for tensor in self._table.export())
            keys = [name.decode("utf-8", "surrogateescape") for name in names[np.argsort(numbers)].tolist()]
        if not self.active:
            return GridState.zero(self._known, self.draws)
        return self.variables.fetch(keys)

"""The grid in the graph: adds a batch's terms to every slice and every replicate that its examples belong to.

The sums are int64 variables on the CPU, added to in place: they can be large, and a batch touches few of their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.draws import THRESHOLDS, stream
from harness.exact.limbs import CELL, HEADROOM, LIMB_BITS, additions, carry
from harness.exact.tf_limbs import carry as carry_cells
from harness.exact.tf_limbs import exact_graph, to_cells
from harness.exact.tf_splitmix import mix, outputs
from harness.exact.tf_subnormals import searchsorted, widened
from harness.job.specs import SliceFeature
from harness.metrics.question import Question
from harness.step.terms import BatchTerms
from harness.sums.grid import ESCAPES, PART_END, SPEC_END, GridLayout, GridState, too_many

__all__ = ["TFGrid"]

MULTIPLICITY = len(THRESHOLDS)  # the largest that is drawn
TRASH = 1  # slots in front of the first: what belongs to no slot is added there
FIRST_SLOTS = 16  # that are allocated; doubled when there are more
PART_NUMBERS = 1 << 21  # of the products of rows with all draws that are made at once


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
        layout, draws = self._known, self.draws
        self._limit = self._limit if fitting is None else min(self._limit, fitting)
        rows = TRASH + min(FIRST_SLOTS, self._limit)
        with tf.device("/CPU:0"):
            self._dense = _growing([rows, draws * layout.dense])
            # Without draws one number each: adding a scalar to a vector is several times faster than rows of one.
            self._buckets = _growing([rows * layout.scattered] + ([draws] if draws > 1 else []))
            self._weighted = _growing([rows * layout.weighted_buckets, draws * CELL])
            self._additions = tf.Variable(tf.zeros([], tf.int64), trainable=False)  # groups since the last carry

    def _grow(self, slots: Any) -> Any:
        """Allocate so many slots, in the graph; twice as many as there were, so that it is seldom done."""
        held = tf.shape(self._dense.value(), tf.int64)[0] - TRASH
        slots = tf.minimum(slots, self._limit)
        more = tf.minimum(tf.maximum(slots, 2 * held), self._limit) - held

        def enlarge() -> Any:
            layout = self._known
            for variable, rows in (
                (self._dense, 1),
                (self._buckets, layout.scattered),
                (self._weighted, layout.weighted_buckets),
            ):
                value = variable.value()
                added = tf.zeros(tf.concat([[more * rows], tf.shape(value, tf.int64)[1:]], axis=0), tf.int64)
                variable.assign(tf.concat([value, added], axis=0))
            return tf.constant(True)

        return tf.cond(slots > held, enlarge, lambda: tf.constant(False))

    def clear(self) -> None:
        """Take all sums and slots away."""
        self._empty()
        if self._slices:
            self._table.remove(self._table.export()[0])

    def take(self) -> GridState:
        """Return the sums and leave none; the slots keep their numbers."""
        sums = self.fetch()
        self._empty()
        return sums

    def _empty(self) -> None:
        for variable in (self._dense, self._buckets, self._weighted, self._additions):
            variable.assign(tf.zeros_like(variable))

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
            self._carry_in_time()
            terms = terms.without(self._left_out)
            keys = self._keys(features, ids)
            drawn = self._drawn(keys)
            slots = [self._find(number, spec, features, mask) for number, spec in enumerate(self.slice_specs)]
            rows = [slot + TRASH for slot in slots]  # of no slot, -1, the first
            dense = self._dense_part(terms)
            if dense is not None:
                self._add_dense(rows, dense, drawn)
            for row in rows + ([tf.fill(tf.shape(mask), TRASH)] if self._bootstrap else []):
                self._add_buckets(row, terms, drawn)
                self._add_weighted(row, terms, drawn)
            packed = tf.stack(slots, axis=1) if slots else tf.zeros([tf.shape(mask)[0], 0], tf.int32)
            return packed, keys

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
                found = tf.math.unsorted_segment_sum(tf.ones_like(place, tf.float64), place, rows * column.size)
                parts.append(tf.reshape(found, [rows, column.size]))
        return tf.concat(parts, axis=1) if parts else None

    def _add_dense(self, rows: list[Any], dense: Any, drawn: Any) -> None:
        if self._bootstrap:
            # The whole: matrix products of so many rows that they are exact in float64.
            for at in range(0, dense.shape[0], self._most_rows):
                rows_ = slice(at, at + self._most_rows)
                whole = tf.matmul(drawn[rows_], dense[rows_], transpose_a=True)
                _scatter(self._dense, tf.constant([TRASH]), tf.reshape(tf.cast(whole, tf.int64), [1, -1]))
        if rows:

            def add(at: Any, size: int) -> None:
                each = drawn[at : at + size, :, None] * dense[at : at + size, None, :]
                each = tf.reshape(tf.cast(each, tf.int64), [size, self.draws * dense.shape[1]])
                for row in rows:
                    _scatter(self._dense, row[at : at + size], each)

            _in_parts(add, dense.shape[0], self.draws * dense.shape[1])

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
                _scatter(self._buckets, tf.concat(places, axis=0), tf.constant(1, tf.int64))
            return
        times = tf.cast(drawn, tf.int64)
        for place in places:
            _scatter(self._buckets, place, times)

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
            each = tf.cast(times[at : at + size, :, None] * cells[at : at + size, None, :], tf.int64)
            _scatter(self._weighted, place[at : at + size], tf.reshape(each, [size, self.draws * CELL]))

        _in_parts(add, cells.shape[0], self.draws * CELL)

    def _keys(self, features: Mapping[str, Any], ids: Any) -> Any:
        """Return what the bootstrap draws by, int64 [B]: the id, or a hash of the cluster's value."""
        if self._bootstrap is None or self._bootstrap.cluster is None:
            return ids
        text = _text(self._bootstrap.cluster, features)
        return tf.bitcast(tf.fingerprint(text[:, None]), tf.int64)

    def _drawn(self, keys: Any) -> Any:
        """Return the multiplicities float64 [B, draws], the first 1; see `bootstrap.multiplicities`."""
        one = tf.ones([keys.shape[0], 1], tf.float64)
        if not self._bootstrap:
            return one
        count = self._bootstrap.replicates
        start = tf.bitwise.bitwise_xor(tf.bitcast(keys, tf.uint64), tf.constant(stream(self._bootstrap.seed), tf.uint64))
        z = outputs(mix(start), (count + 1) // 2)
        halves = tf.stack(
            [tf.cast(z, tf.uint32), tf.cast(tf.bitwise.right_shift(z, tf.constant(32, tf.uint64)), tf.uint32)], axis=-1
        )
        # uint32 has few kernels; shifted by 2^31 the order is that of int32
        signed = tf.bitcast(tf.bitwise.bitwise_xor(halves, tf.constant(1 << 31, tf.uint32)), tf.int32)
        signed = tf.reshape(signed, [keys.shape[0], -1])[:, :count]
        found = tf.zeros_like(signed)
        for threshold in THRESHOLDS:
            found += tf.cast(signed >= tf.constant(threshold - 2**31, tf.int32), tf.int32)
        return tf.concat([one, tf.cast(found, tf.float64)], axis=1)

    def _find(self, number: int, spec: tuple[SliceFeature, ...], features: Mapping[str, Any], mask: Any) -> Any:
        """Return the slot of each example, int32 [B], learning new keys on the way; -1 for padding."""
        parts = [_part(feature, features, crossed=len(spec) > 1) for feature in spec]
        keys = tf.strings.join([tf.fill(tf.shape(mask), f"{number}{SPEC_END}"), tf.strings.join(parts, separator=PART_END)])
        table = self._table
        found = tf.ensure_shape(table.lookup(keys), mask.shape)
        new = (found < 0) & mask

        def learn() -> Any:
            fresh = tf.unique(tf.boolean_mask(keys, new)).y
            slots = 1 + table.size() + tf.size(fresh, tf.int64)
            with tf.control_dependencies(
                [table.insert(fresh, table.size() + tf.range(tf.size(fresh, tf.int64))), self._grow(slots)]
            ):
                return table.lookup(keys)

        found = tf.ensure_shape(tf.cond(tf.reduce_any(new), learn, lambda: found), mask.shape)
        return tf.where(mask & (found < self._limit - 1), tf.cast(found, tf.int32) + 1, -1)

    def _carry_in_time(self) -> None:
        """Carry before one more group could overflow a limb, in the graph: a call may be of any length."""
        layout = self._known
        numbers = sum(column.size for column in layout.numbers)

        def carry_all() -> Any:
            dense = tf.reshape(self._dense.value(), [-1, layout.dense])
            cells = tf.reshape(carry_cells(tf.reshape(dense[:, :numbers], [-1, CELL])), [-1, numbers])
            joined = tf.concat([cells, dense[:, numbers:]], axis=1)
            self._dense.assign(tf.reshape(joined, [-1, self.draws * layout.dense]))
            weighted = carry_cells(tf.reshape(self._weighted.value(), [-1, CELL]))
            self._weighted.assign(tf.reshape(weighted, [-1, self.draws * CELL]))
            return tf.ones([], tf.int64)

        if numbers or layout.weighted:
            self._additions.assign(tf.cond(self._additions < self._carry_every, lambda: self._additions + 1, carry_all))

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
        used, draws, layout = len(keys) + 1, self.draws, self._known
        if not self.active:
            return GridState.zero(layout, draws)
        begin, end = TRASH, TRASH + used
        dense = self._dense[begin:end].numpy().reshape(used, draws, layout.dense)
        numbers = sum(c.size for c in layout.numbers)
        dense[..., :numbers] = carry(dense[..., :numbers].reshape(-1, CELL)).reshape(used, draws, numbers)
        buckets = self._buckets[begin * layout.scattered : end * layout.scattered].numpy().reshape(used, layout.scattered, draws)
        weighted = self._weighted[begin * layout.weighted_buckets : end * layout.weighted_buckets].numpy().reshape(-1, CELL)
        return GridState(tuple(keys), dense, buckets, carry(weighted).reshape(used, layout.weighted_buckets, draws, CELL))


def _growing(shape: list[int]) -> Any:
    """Make a variable of zeros whose first dimension may grow."""
    return tf.Variable(tf.zeros(shape, tf.int64), trainable=False, shape=[None, *shape[1:]])


def _scatter(variable: Any, rows: Any, updates: Any) -> None:
    """Add rows of a matrix, or numbers of a vector, in place."""
    if 0 not in updates.shape:
        tf.raw_ops.ResourceScatterAdd(resource=variable.handle, indices=rows, updates=updates)


def _in_parts(add: Callable[[Any, int], None], rows: int, width: int) -> None:
    """Call `add(start, size)` for runs of rows whose products with all draws, so wide each, stay small."""
    size = max(1, min(rows, PART_NUMBERS // max(width, 1)))
    whole = rows // size

    def body(number: Any) -> Any:
        add(number * size, size)
        return number + 1

    if whole > 1:
        tf.while_loop(lambda number: number < whole, body, [tf.constant(0)], parallel_iterations=1)
    else:
        add(0, size)
    if rows % size:
        add(whole * size, rows % size)


def _part(feature: SliceFeature, features: Mapping[str, Any], *, crossed: bool) -> Any:
    """Return a feature's part of the key, string [B]: its kind, then its value or the number of its bucket."""
    tensor = features[feature.feature]
    if feature.buckets is not None:
        if tensor.dtype == tf.string:
            raise ShapeError(f"slices: buckets need a numeric feature, '{feature.feature}' is a string")
        values = widened(_scalar(feature.feature, tensor))
        bucket = searchsorted(feature.buckets, values, side="right")
        bucket = tf.where(tf.math.is_nan(values), len(feature.buckets) + 1, bucket)
        return tf.strings.join(["b", tf.strings.as_string(bucket)])
    text = _text(feature.feature, features)
    if crossed and tensor.dtype == tf.string:
        for plain, escaped in ESCAPES:
            text = tf.strings.regex_replace(text, plain, escaped)
    return tf.strings.join(["s" if tensor.dtype == tf.string else "i", text])


def _text(name: str, features: Mapping[str, Any]) -> Any:
    tensor = _scalar(name, features[name])
    if tensor.dtype == tf.string:
        return tensor
    if tensor.dtype.is_floating:
        raise ShapeError(
            f"slices: feature '{name}' is {tensor.dtype.name}; cut it into buckets, {{feature: {name}, buckets: [...]}}"
        )
    return tf.strings.as_string(tf.cast(tensor, tf.int64))


def _scalar(name: str, tensor: Any) -> Any:
    if tensor.shape.num_elements() != tensor.shape[0]:
        raise ShapeError(f"slices: expected one value per example of '{name}', found {list(tensor.shape[1:])}")
    return tf.reshape(tensor, [-1])

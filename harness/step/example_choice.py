"""Which examples of a group of batches may be among those that are kept: in the graph, by the loss of each.

Of a group an example leaves the graph where it comes before the last of those that this rank has kept already, and is among
the first of this group. What is left behind cannot be among the first of all: as many are before it. So the bounds need not be
the same on all ranks, nor in all attempts; what they leave of it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import JobError
from harness.exact.draws import stream
from harness.exact.tf_splitmix import mix
from harness.exact.tf_subnormals import ordered
from harness.metrics.example_loss import lower_is_worse
from harness.metrics.question import Question
from harness.step.class_labels import ClassLabels
from harness.step.scored_examples import LossReader, ScoredExamples
from harness.sums.selection import CELL, ID, LIST, ORDER, SLOT, ExamplesLayout, Selection

__all__ = ["ExampleChoice"]

MOST_CLASSES = 1024  # of a confusion matrix whose cells are groups
SINGLE = ("float16", "bfloat16", "float32")  # scores that float32 holds
FIRST, LAST = tf.int64.min, tf.int64.max  # in the order of any list


class ExampleChoice:
    """Chooses examples by the loss of a metric, whatever weighs them.

    Args:
      question: what is asked; without `examples` nothing is chosen.
      labels: looks up class labels that are text.

    Attributes:
      active: whether examples are kept.
      layout: of those that are; known once a group was traced.
    """

    def __init__(self, question: Question, labels: ClassLabels) -> None:
        self.active = question.examples is not None
        self.layout = ExamplesLayout()
        if question.examples is None:
            return
        self._spec = question.examples
        self._key = key = question.examples.by or ""
        self._output = question.bindings[key].output
        self._reader = LossReader(key, question.metrics[key], question.bindings[key], labels)
        self._lower_is_worse = lower_is_worse(question.metrics[key])
        self._slots = 1 + (question.slices.maximum if question.slices else 0)

    def plan(self, features: Mapping[str, Any], outputs: Mapping[str, Any], examples: int) -> ExamplesLayout:
        """Learn the layout from the specs of a group, by name [N, ...].

        Raises: JobError, ShapeError: the job asks for what the metric's output does not tell.
        """
        if not self.active:
            return self.layout

        def trace(features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> None:
            read = self._reader.read(features, outputs, mask)
            self._check(read)
            scores = 0 if read.scores is None else int(read.scores.shape[1])
            kind = "float32" if outputs[self._output].dtype.name in SINGLE else "float64"
            columns = tuple((name, column.dtype.name) for name, column in read.columns.items())
            sliced, by_cell = self._spec.per == "slice", self._spec.per == "confusion"
            self.layout = ExamplesLayout(
                self._spec.lists, self._spec.worst, sliced, by_cell, read.classes, columns, (scores, kind)
            )

        mask = tf.TensorSpec([examples], tf.bool)
        tf.function(trace, autograph=False).get_concrete_function(dict(features), dict(outputs), mask)
        return self.layout

    def allocate(self) -> None:
        """Make the bounds: of each list in each group the last example that is kept."""
        if self.active:
            shape = [len(self.layout.lists), self.layout.groups(self._slots)]
            with tf.device("/CPU:0"):
                self._order = tf.Variable(tf.fill(shape, tf.constant(LAST, tf.int64)), trainable=False)
                self._id = tf.Variable(tf.fill(shape, tf.constant(LAST, tf.int64)), trainable=False)
            self.clear()

    def clear(self) -> None:
        """Forget what was kept."""
        if self.active:
            self._kept = Selection.zero(self.layout)
            for variable in (self._order, self._id):
                variable.assign(tf.fill(variable.shape, tf.constant(LAST, tf.int64)))

    def add(self, selection: Selection) -> None:
        """After a call: keep what it has left, and move the bounds."""
        self._kept = self._kept + selection
        last = self._kept.last()
        if len(selection) and len(last):
            group = last[:, CELL] + 1 if self.layout.by_cell else last[:, SLOT]
            places = np.stack([last[:, LIST], group], axis=1)
            self._order.scatter_nd_update(places, last[:, ORDER])
            self._id.scatter_nd_update(places, last[:, ID])

    def choose(self, features: Mapping[str, Any], outputs: Mapping[str, Any], ids: Any, mask: Any, slots: Any) -> Any:
        """Return the entries of a group of batches that may be kept, int64 [n, layout.width].

        Args:
          features, outputs: by name, [N, ...].
          ids: int64 [N].
          mask: bool [N], the examples that count.
          slots: int32 [N, specs], of the slices; -1 for none.
        """
        read = self._reader.read(features, outputs, mask)
        groups = [tf.zeros_like(ids)[:, None]]
        if self.layout.sliced:
            groups.append(tf.cast(slots, tf.int64))
        elif self.layout.by_cell:
            label, prediction = read.columns["label"], read.columns["prediction"]
            cell = 1 + label * self.layout.classes + prediction
            groups.append(tf.where(read.undefined, -tf.ones_like(cell), cell)[:, None])
        group = tf.concat(groups, axis=1)
        entries = []
        for number, (allowed, order) in enumerate(self._lists(read, ids)):
            example, chosen = self._first(number, allowed[:, None] & (group >= 0), group, order, ids)
            none = tf.zeros_like(chosen)
            head = [
                none + number,
                chosen if self.layout.sliced else none,
                chosen - 1 if self.layout.by_cell else none - 1,
                tf.gather(order, example),
                tf.gather(ids, example),
            ]
            entries.append(tf.concat([tf.stack(head, axis=1), read.packed(example)], axis=1))
        return tf.concat(entries, axis=0)

    def _lists(self, read: ScoredExamples, ids: Any) -> list[tuple[Any, Any]]:
        """Return of each list which examples may be in it, bool [N], and what they are sorted by, int64 [N], ascending."""
        lists = []
        for name in self.layout.lists:
            if name == "worst":
                loss = ordered(read.columns["loss"])
                order = tf.where(read.undefined, tf.constant(FIRST, tf.int64), loss if self._lower_is_worse else -loss)
                lists.append((read.scored, order))
            elif name == "confident":
                wrong = read.scored & ~read.undefined & (read.columns["label"] != read.columns["prediction"])
                lists.append((wrong, -ordered(read.columns["confidence"])))
            else:
                noise = mix(tf.bitcast(ids, tf.uint64) ^ tf.constant(stream(self._spec.seed), tf.uint64))
                lists.append((read.scored, tf.bitcast(noise, tf.int64)))
        return lists

    def _first(self, number: int, allowed: Any, group: Any, order: Any, ids: Any) -> tuple[Any, Any]:
        """Return the examples that may be kept, int64 [n] rows of the batch, and the group of each, int64 [n].

        Args:
          number: of the list.
          allowed: bool [N, groups of an example]. group: int64, the same shape.
          order, ids: int64 [N].
        """
        # A group of -1 is not allowed, and a gather on a CPU refuses it.
        bound, last = (tf.gather(variable[number], tf.maximum(group, 0)) for variable in (self._order, self._id))
        before = (order[:, None] < bound) | ((order[:, None] == bound) & (ids[:, None] <= last))
        places = tf.where(allowed & before)
        example, chosen = places[:, 0], tf.gather_nd(group, places)
        # By group, then order, then id: each sort leaves equals in the order of the one before.
        by = tf.argsort(tf.gather(ids, example), stable=True)
        by = tf.gather(by, tf.argsort(tf.gather(order, tf.gather(example, by)), stable=True))
        by = tf.gather(by, tf.argsort(tf.gather(chosen, by), stable=True))
        example, chosen = tf.gather(example, by), tf.gather(chosen, by)
        start = tf.searchsorted(chosen, chosen, side="left")
        first = tf.range(tf.size(chosen)) - start < self.layout.most
        return tf.boolean_mask(example, first), tf.boolean_mask(chosen, first)

    def _check(self, read: ScoredExamples) -> None:
        """Refuse what cannot be told of an example.

        Raises: JobError: see above.
        """
        if "confident" in self._spec.also and "confidence" not in read.columns:
            raise JobError(f"examples.also: confident: of metric {self._key} an example has no scores of classes")
        if self._spec.per == "confusion" and not 0 < read.classes <= MOST_CLASSES:
            have = f"{read.classes:,} classes" if read.classes else "no single class"
            raise JobError(
                f"examples.per: confusion: expected a class of each example, of at most {MOST_CLASSES:,}, found {have} of metric "
                f"{self._key}; choose per: all, or another metric with examples.by"
            )

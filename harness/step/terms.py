"""One batch: labels and outputs -> the terms of all metrics, in the graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.metrics.contract import Binding, HostMetric, Inputs, Metric, Number, ScoreScale
from harness.step.batch_terms import BatchTerms
from harness.step.class_labels import ClassLabels
from harness.step.host_terms import host_terms
from harness.step.own_code import own_code
from harness.step.paired_positions import BASELINE, paired_positions
from harness.step.positions import Positions
from harness.step.term_columns import add_infinite, add_shared, add_term
from harness.step.term_shapes import check_columns, check_term, square_terms

__all__ = ["Terms"]


class Terms:
    """Forms the terms of a batch for a set of metrics.

    Args:
      metrics: by key.
      bindings: what each reads, by key.
      labels: looks up class labels that are text.

    Attributes:
      labels: the same.
      class_counts: how many classes, or labels, each output has that metrics read so; known once terms were formed.
    """

    def __init__(self, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding], labels: ClassLabels | None = None) -> None:
        self.class_counts: dict[str, int] = {}
        self.labels = labels or ClassLabels()
        self._metrics = metrics
        self._bindings = bindings

    @property
    def features(self) -> tuple[str, ...]:
        """The features that the terms read."""
        read = [n for b in self._bindings.values() for n in (b.label, b.weight, *(feature for _, feature in b.also))]
        return tuple(dict.fromkeys(name for name in read if name is not None))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the model that the terms read."""
        return tuple(dict.fromkeys(name for binding in self._bindings.values() for name in binding.outputs_read))

    def common_positions(self, features: Mapping[str, Any]) -> int:
        """Return what divides the positions of an example, of every metric; 1 where one reads whole examples.

        Args:
          features: labels by name, [B, ...], or their specs.
        """
        return math.gcd(*(_positions_of_label(binding, features) for binding in self._bindings.values())) or 1

    def __call__(self, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> BatchTerms:
        """Return the terms of a batch.

        Args:
          features: labels, weights and what else metrics read, by feature name, [B, ...].
          outputs: by output name, [B, ...].
          mask: bool [B], False where an example is padding.
        Raises: ShapeError: a tensor does not fit its metric.
        """
        terms = BatchTerms()
        with tf.device("/CPU:0"):
            features = self.labels.look_up(features)
            positions = self._positions(terms, features, outputs, mask)
            shared: dict[Any, str] = {}
            for key, metric in self._metrics.items():
                binding, read = positions[self._bindings[key]]
                if (statistic := metric.statistic()) is not None:
                    first = shared.setdefault((binding, type(metric).terms, statistic), key)
                    if first != key:
                        terms.shared.append((key, first))
                        continue
                also = {option: features[feature] for option, feature in self._bindings[key].also}
                also |= {name: outputs[output] for name, output in self._bindings[key].outputs}
                for name, term in _formed(key, metric, read, mask, also).items():
                    add_term(terms, key, name, term, read)
                    if isinstance(term, Number) and metric.infinite_term():
                        add_infinite(terms, key, name, term, read)
        terms.numbers.sort(key=lambda entry: len(entry[1]))
        return terms

    def _positions(
        self, terms: BatchTerms, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any
    ) -> dict[Binding, tuple[Binding, Positions]]:
        """Read what each binding reads, once for all that read the same, and add what their metrics share.

        Returns: by binding, the one whose columns it has, and the positions.
        """
        positions: dict[Binding, tuple[Binding, Positions]] = {}
        for key, binding in self._bindings.items():
            if binding in positions:
                continue
            try:
                read = paired_positions(*self.labels.read_by(binding, features), outputs, mask)
            except ShapeError as exc:
                raise ShapeError(f"metric {key}: {exc}") from None
            if binding.inputs in (Inputs.CLASSES, Inputs.MULTILABEL):
                classes = binding.classes or int(read.predictions.shape[-1])
                self.class_counts |= {name: classes for name in (binding.output, binding.baseline) if name is not None}
            # Where nothing was asked of the scores, the positions are those of who asks nothing.
            owner = binding if read.scores_checked else replace(binding, scale=ScoreScale.ANY)
            if owner not in positions:
                add_shared(terms, owner, read)
                positions[owner] = owner, read
            positions[binding] = positions[owner]
            if owner != binding:
                terms.shared.append((binding, owner))
        return positions


def _positions_of_label(binding: Binding, features: Mapping[str, Any]) -> int:
    """Return the positions of an example where each has a label of its own, else 1."""
    of_positions = binding.inputs in (Inputs.CLASSES, Inputs.BINARY, Inputs.NUMBERS) and not binding.one_hot
    if binding.label is None or not of_positions or binding.also or binding.outputs:
        return 1
    return math.prod(features[binding.label].shape[1:])


def _formed(key: str, metric: Metric, positions: Positions, mask: Any, also: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the terms of a metric by name.

    Raises: ShapeError: one of them has not a line for each position. ModelError: a metric of the user's own fails.
    """
    if positions.baseline is not None:
        also = {**also, BASELINE: positions.baseline}
    try:
        if isinstance(metric, HostMetric):
            return host_terms(key, metric, positions, mask, also)
        terms = own_code(key, metric, lambda: metric.terms(positions.labels, positions.predictions, **also))
        for name, term in terms.items():
            check_term(metric, name, term, positions.valid.shape[0])
        if square := square_terms(terms):
            check_columns(metric, square, _of_half(metric, positions, also))
    except ShapeError as exc:
        raise ShapeError(f"metric {key}: {exc}") from None
    return terms


def _of_half(metric: Metric, positions: Positions, also: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the terms of the first half of the examples; of all where there is one."""
    examples = max(positions.valid.shape[0] // positions.per_example // 2, 1)
    rows = examples * positions.per_example
    labels = None if positions.labels is None else positions.labels[:rows]
    halves = {name: tensor[: rows if name == BASELINE else examples] for name, tensor in also.items()}
    return metric.terms(labels, positions.predictions[:rows], **halves)

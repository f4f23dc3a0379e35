"""A batch through the model, in the graph: its outputs, and what of it is handed to the host. Knows no metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from harness.data import ID
from harness.step.batch import Batch, Masks, pad
from harness.step.class_labels import ClassLabels

__all__ = ["Forward", "Take"]

Take = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]


class Forward:
    """Predicts batches, but for outputs that come with them.

    Args:
      predict: features by name [B, ...] to outputs by name [B, ...]; None where all come with the batches.
      batch_size: B.
      take: features and outputs [B, ...] to tensors by column [B, ...] that are handed to the host; None for none.
      labels: says which examples are skipped for theirs.
    """

    def __init__(
        self,
        predict: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None,
        batch_size: int,
        take: Take | None = None,
        labels: ClassLabels | None = None,
    ) -> None:
        self._predict = predict
        self._batch_size = batch_size
        self._take = take
        self._labels = labels or ClassLabels()

    def outputs(self, batch: Batch) -> Mapping[str, Any]:
        """Return the outputs of a batch by name, [B, ...]."""
        if self._predict is None:
            return batch.outputs
        size = self._batch_size
        # At one row, matrix products take another path whose bits depend on the number of threads.
        rows = max(size, 2)
        features = batch.features
        if rows > size:
            features = {name: pad(tensor, tf.constant(size), rows) for name, tensor in features.items()}
        return {**batch.outputs, **{name: _known(tensor, rows)[:size] for name, tensor in self._predict(features).items()}}

    def columns(self, batch: Batch, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is handed to the host of the examples of a batch that count, by column; their ids under `ID`."""
        if self._take is None:
            return {}
        columns = {ID: batch.ids, **self._take(batch.features, outputs)}
        batch = self._labels.skip(batch)
        if batch.bad is None and batch.keep is None:
            return {name: tensor[: batch.count] for name, tensor in columns.items()}
        kept = Masks.of(tf.range(self._batch_size) < batch.count, batch.bad, batch.keep).kept
        return {name: tf.boolean_mask(tensor, kept) for name, tensor in columns.items()}


def _known(tensor: Any, rows: int) -> Any:
    """Restore the batch dimension that a signature forgets; an output without one is left to `terms` to refuse."""
    return tf.ensure_shape(tensor, [rows, *tensor.shape[1:]] if tensor.shape.rank else [rows])

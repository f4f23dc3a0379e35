"""Keras metrics for what Keras does not have: macro averages of precision, recall and F1, and the confusion matrix."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["ConfusionMatrix", "FScore", "Precision", "Recall", "shares"]


class ConfusionMatrix(keras.metrics.Metric):
    """Examples by label and predicted class. Reports the number of examples; `table` is the matrix, float32 [C, C]."""

    def __init__(self, classes: int, **options: Any) -> None:
        super().__init__(**options)
        self._classes = classes
        self.table = self.add_variable((classes, classes), initializer="zeros", name="table")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        label, guess = _one_hot(y_true, y_pred, self._classes)
        self.table.assign_add(ops.matmul(ops.transpose(label), guess))

    def result(self) -> Any:
        """Return the number of examples."""
        return ops.sum(self.table)


class _PerClass(keras.metrics.Metric):
    """Counts hits, predicted and labelled examples by class."""

    def __init__(self, classes: int, **options: Any) -> None:
        super().__init__(**options)
        self._classes = classes
        self.counts = self.add_variable((3, classes), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        label, guess = _one_hot(y_true, y_pred, self._classes)
        self.counts.assign_add(ops.stack([ops.sum(part, axis=0) for part in (label * guess, guess, label)]))


class Precision(_PerClass):
    """Macro average of hits over predicted."""

    def result(self) -> Any:
        """Return the average."""
        return ops.mean(self.counts[0] / self.counts[1])


class Recall(_PerClass):
    """Macro average of hits over labelled."""

    def result(self) -> Any:
        """Return the average."""
        return ops.mean(self.counts[0] / self.counts[2])


class FScore(_PerClass):
    """Macro average of F1."""

    def result(self) -> Any:
        """Return the average."""
        return ops.mean(2 * self.counts[0] / (self.counts[1] + self.counts[2]))


def shares(table: np.ndarray) -> dict[str, float]:
    """Return the macro averages from a confusion matrix [C, C].

    >>> shares(np.array([[2.0, 0.0], [1.0, 1.0]]))["recall"]
    0.75
    """
    hits, predicted, labelled = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    return {
        "precision": float(np.mean(hits / predicted)),
        "recall": float(np.mean(hits / labelled)),
        "f_beta": float(np.mean(2 * hits / (predicted + labelled))),
    }


def _one_hot(y_true: Any, y_pred: Any, classes: int) -> tuple[Any, Any]:
    label = ops.one_hot(ops.cast(ops.reshape(y_true, [-1]), "int32"), classes)
    return label, ops.one_hot(ops.argmax(y_pred, axis=-1), classes)

"""Which class was predicted, and how unlikely the label was held to be, from stored outputs: what the step does, in NumPy.

Outputs and labels are valid; whoever calls sees to that. Tests hold it against the values of the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.contract import Binding
from harness.metrics.thresholds import log_odds

__all__ = ["Decisions"]

SUM_TOLERANCE = 0.05  # of probabilities, in bfloat16 too
NO_CLASS = -1


@dataclass(frozen=True)
class Decisions:
    """Reads the outputs and labels of examples.

    Attributes:
      binding: how they are read.
      threshold: what the score of class 1 of two has to exceed; None where the highest score decides.
      names: of the classes, where labels may be text.
      logits: whether losses are of logits.
    """

    binding: Binding
    threshold: float | None
    names: Sequence[str] | None
    logits: bool

    def read(self, labels: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Return labels and predicted classes, int64 [n, positions], which are kept, bool, and losses, float64.

        Args:
          labels: [n, ...], numbers, names of classes as bytes, or one-hot rows.
          outputs: [n, ...].
        Losses are None where scores are no probabilities.
        """
        n = len(labels)
        numbers, kept = self._labels(labels)
        if self.binding.classes is not None:
            shape = (n, -1)
            return numbers.reshape(shape), outputs.reshape(shape).astype(np.int64), kept.reshape(shape), None
        scores = self._scores(numbers, outputs)
        numbers, kept = numbers.reshape(n, -1), kept.reshape(n, -1)
        scores = scores.reshape(n, numbers.shape[1], -1)
        return numbers, self._decided(scores), kept, self._losses(scores, np.where(kept, numbers, 0))

    def _labels(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of each label's class, and whether the position is kept."""
        if labels.dtype == object:
            classes = {name.encode(): number for number, name in enumerate(self.names or ())}
            flat = [classes.get(text, NO_CLASS) for text in labels.ravel().tolist()]
            numbers = np.array(flat, np.int64).reshape(labels.shape)
        elif self.binding.one_hot:
            numbers = np.where(labels.any(axis=-1), labels.argmax(axis=-1), NO_CLASS)
        else:
            numbers = labels.astype(np.int64)
        ignored = numbers == self.binding.ignore_label
        if labels.dtype == object:  # a name that is no class is left out, or the run would have failed
            ignored |= numbers == NO_CLASS
        return numbers, ~ignored

    def _scores(self, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return a score for each class; where there is one a position, it is that of class 1 of two."""
        outputs = outputs.astype(np.float64) if outputs.dtype.kind in "iub" else outputs
        inner = outputs.size // labels.size if labels.size else 0
        if inner > 1:
            return outputs
        single = outputs.reshape(labels.shape)
        other = np.zeros_like(single) if self.binding.from_logits else 1 - single
        return np.stack([other, single], axis=-1)

    def _decided(self, scores: np.ndarray) -> np.ndarray:
        if self.threshold is None:
            return scores.argmax(axis=-1)
        if self.binding.from_logits:
            odds = scores[..., 1].astype(np.float64) - scores[..., 0].astype(np.float64)
            return (odds > log_odds(self.threshold)).astype(np.int64)
        return (scores[..., 1] > scores.dtype.type(self.threshold)).astype(np.int64)

    def _losses(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Return the negative log likelihood of each label, float64 [n, positions]; infinite where it was held impossible."""
        wide = scores.astype(np.float64)
        own = np.take_along_axis(wide, labels[..., None], axis=-1)[..., 0]
        if self.logits:
            top = wide.max(axis=-1)
            losses: np.ndarray = np.log(np.exp(wide - top[..., None]).sum(axis=-1)) + (top - own)
            return losses
        if (wide < -SUM_TOLERANCE).any() or (np.abs(wide.sum(axis=-1) - 1) > SUM_TOLERANCE).any():
            return None
        with np.errstate(divide="ignore"):
            return -np.log(np.clip(own, 0.0, 1.0))

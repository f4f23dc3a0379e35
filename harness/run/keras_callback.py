"""A Keras callback: exact validation while a model is trained, on all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from harness.run.api import Evaluator, Results

__all__ = ["ExactValidation"]


class ExactValidation(keras.callbacks.Callback):
    """Evaluates at the end of an epoch, and writes the numbers into `logs` on all ranks.

    What reads them, as EarlyStopping and ModelCheckpoint do, has to come after it in the list of callbacks; all ranks then
    decide alike. The compiled loop is built once.

    Args:
      data, metrics: see `harness.evaluate`.
      prefix: of the names in `logs`.
      every: epochs.
      options: see `harness.Evaluator`.
    """

    def __init__(self, data: Any, metrics: str | Sequence[Any], *, prefix: str = "val_", every: int = 1, **options: Any) -> None:
        super().__init__()
        self._data, self._asked, self._prefix, self._every, self._options = data, metrics, prefix, every, options
        self._evaluator: Evaluator | None = None
        self._of: Any = None
        self.results: list[Results] = []  # of every evaluation so far

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluate, where it is due."""
        if (epoch + 1) % self._every:
            return
        if self._evaluator is None or self._of is not self.model:
            self._evaluator, self._of = Evaluator(self.model, self._data, self._asked, **self._options), self.model
        found = self._evaluator.evaluate()
        self.results.append(found)
        if logs is not None:
            logs.update({f"{self._prefix}{key}": number for key, number in found.numbers.items()})

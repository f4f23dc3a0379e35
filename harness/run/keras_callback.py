"""A Keras callback: exact validation while a model is trained, on all ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import keras

from harness.report.results import Results
from harness.run.evaluator import Evaluator
from harness.run.options import Options

__all__ = ["ExactValidation"]


class ExactValidation(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Evaluates at the end of an epoch, and writes the numbers into `logs` on all ranks.

    What reads them, as EarlyStopping and ModelCheckpoint do, has to come after it in the list of callbacks; all ranks then
    decide alike. The compiled loop is built once.

    Args:
      data, metrics: see `harness.evaluate`.
      prefix: of the names in `logs`.
      every: epochs.
      options: see `harness.evaluate`; `progress` is off unless it is asked for: Keras shows its own.
    """

    def __init__(
        self,
        data: Any,
        metrics: str | Sequence[str | Mapping[str, Any]],
        *,
        prefix: str = "val_",
        every: int = 1,
        **options: Unpack[Options],
    ) -> None:
        super().__init__()
        self._data, self._asked, self._prefix, self._every, self._options = data, metrics, prefix, every, options
        self._options.setdefault("progress", False)
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

"""A Keras callback: exact validation while a model is trained, on all ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import keras

from harness.export.numbers import names_of_whole
from harness.export.targets import Target
from harness.report.results import Results
from harness.run.evaluator import Evaluator
from harness.run.options import Options

if TYPE_CHECKING:
    from harness.export.events import EventFile

__all__ = ["ExactValidation"]

RUN = "exact"  # what TensorBoard calls these numbers, beside Keras' `train` and `validation`


class ExactValidation(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Evaluates at the end of an epoch, and writes the numbers into `logs` on all ranks.

    What reads them, as EarlyStopping and ModelCheckpoint do, has to come after it in the list of callbacks; all ranks then
    decide alike. The compiled loop is built once.

    Args:
      data, metrics: see `harness.evaluate`.
      prefix: of the names in `logs`.
      every: epochs.
      log_dir: that of `keras.callbacks.TensorBoard`. Rank 0 logs there too: `epoch_accuracy` of the run `exact` is drawn beside
        Keras' own, and `exact/epoch_accuracy` is the same number as float64.
      options: see `harness.evaluate`; `progress` is off unless it is asked for: Keras shows its own.
    """

    def __init__(
        self,
        data: Any,
        metrics: str | Sequence[str | Mapping[str, Any]],
        *,
        prefix: str = "val_",
        every: int = 1,
        log_dir: str | Path | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__()
        self._data, self._asked, self._prefix, self._every, self._options = data, metrics, prefix, every, options
        self._options.setdefault("progress", False)
        self._log_dir = log_dir
        self._events: EventFile | None = None
        if log_dir is not None:
            Target.of(f"tensorboard={log_dir}").check()
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
        if self._log_dir is not None and self._evaluator.rank == 0:
            self._log(Path(self._log_dir), found, epoch)
        if logs is not None:
            logs.update({f"{self._prefix}{key}": number for key, number in found.numbers.items()})

    def _log(self, folder: Path, results: Results, epoch: int) -> None:
        """Log the numbers of an epoch for TensorBoard, by the names that Keras has for its own."""
        from harness.export.events import EventFile

        if self._events is None:
            self._events = EventFile(folder / RUN)
        self._events.add({f"epoch_{name}": number for name, number in names_of_whole(results.document).items()}, epoch)

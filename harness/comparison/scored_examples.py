"""The predictions of a run as decisions beside their labels, some examples at a time: what `harness predict` left, in NumPy.

How outputs and labels are read is what a metric of the run says. A run in which that metric is null is refused with its
reason, so that what is read here is valid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.comparison.class_decisions import Decisions
from harness.comparison.pairing import other_contents
from harness.comparison.sides import read_side
from harness.errors import UsageError, nearest
from harness.folder.question_file import read_question
from harness.folder.run_folder import RunFolder
from harness.metrics.contract import Binding, Inputs, Metric
from harness.metrics.predicted_class import PredictedClassMetric
from harness.metrics.question import Question
from harness.names.metric_aliases import METRIC_ALIASES
from harness.predictions.source import OUTPUT, PredictionSource
from harness.results.terminal import finished

__all__ = ["PredictedRun", "Scored", "open_predicted"]

BLOCK = 8192  # examples that are read together


@dataclass(frozen=True)
class Scored:
    """Some examples.

    Attributes:
      ids: int64 [n].
      labels, predicted: [n, positions], classes or numbers.
      kept: bool [n, positions], False where the metric leaves a position out.
      losses: float64 [n], the mean over the positions of an example; None where the scores are no probabilities.
    """

    ids: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    kept: np.ndarray
    losses: np.ndarray | None

    def cut(self, start: int, stop: int | None = None) -> Scored:
        """Return examples [start, stop) of these."""
        part = slice(start, stop)
        losses = None if self.losses is None else self.losses[part]
        return Scored(self.ids[part], self.labels[part], self.predicted[part], self.kept[part], losses)


@dataclass(frozen=True)
class PredictedRun:
    """The predictions of a run, or of one of its models.

    Attributes:
      name: by which it is shown.
      key: of the metric that says how they are read.
      classes: names of the classes; None where there are none.
      data_digest: of the data that were predicted.
      decisions: reads classes; None where outputs are numbers.
    """

    name: str
    key: str
    binding: Binding
    classes: tuple[str, ...] | None
    data_digest: str
    source: PredictionSource
    decisions: Decisions | None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes of this output; None where they are those of another one."""
        # An output may have the name of a feature.
        shapes = {(column.kind, column.source): column.shape for column in self.source.manifest.columns}
        output, label = shapes["output", self.binding.output], shapes["feature", str(self.binding.label)]
        label = label[:-1] if self.binding.one_hot else label
        scores = math.prod(size or 0 for size in output) // max(math.prod(size or 0 for size in label), 1)
        count = self.binding.classes or max(scores, 2)
        return self.classes if self.classes is not None and len(self.classes) == count else None

    def blocks(self) -> Iterator[Scored]:
        """Read all examples, in the order of their ids."""
        for records in self.source.read(0, self.source.plan.examples, BLOCK):
            labels, outputs = records.raw[str(self.binding.label)], records.raw[OUTPUT + self.binding.output]
            if self.decisions is None:
                yield _numbers(records.ids, labels, outputs)
            else:
                label, decided, kept, loss = self.decisions.read(labels, outputs)
                yield Scored(records.ids, label, decided, kept, _example_means(loss, kept))


def open_predicted(paths: Sequence[Path], model: str | None = None, metric: str | None = None) -> list[PredictedRun]:
    """Open the predictions of two runs, or those of two models of one run, the baseline first.

    Args:
      paths: run folders.
      model: of runs with several models the one that is compared.
      metric: the key that says how predictions are read; None is the first that decides a class, else that compares numbers.
    Raises: UsageError: there are not two sides, their examples differ, they ask other questions, or one holds no predictions.
      JobError: predictions are not finished.
    """
    sides = []
    for path in paths:
        question, _ = read_question(RunFolder(path))
        named = [model] if model is not None or len(question.models) < 2 else list(question.models)
        if len(paths) > 1 and len(named) > 1:
            raise UsageError(f"{path} has several models: {', '.join(question.models)}; say which with --model")
        sides += [_open(path, question, name, metric) for name in named]
    if len(sides) != 2:
        raise UsageError(f"--examples: expected two runs, or one run of two models, found {len(sides)}")
    first, second = sides
    if first.data_digest != second.data_digest:
        raise UsageError(f"{first.name} and {second.name} have not the same examples: their data differ")
    if len(paths) > 1 and (reason := other_contents(*(read_side(path, model) for path in paths))):
        raise UsageError(f"{first.name} and {second.name} have not the same examples: {reason}")
    if (first.decisions is None) != (second.decisions is None):
        raise UsageError(f"{first.name} decides by {first.key} and {second.name} by {second.key}: name one metric with --metrics")
    if first.classes != second.classes:
        raise UsageError(f"{first.name} and {second.name} have other classes, or the same in another order")
    return sides


def _open(path: Path, question: Question, model: str | None, metric: str | None) -> PredictedRun:
    several = len(question.models) > 1
    prefix = f"{model}/" if several else ""
    own = {key.removeprefix(prefix): m for key, m in question.metrics.items() if key.startswith(prefix) and not m.compares}
    if several and model not in question.models:
        raise UsageError(f"--model {model}: {path} has no such model: {nearest(str(model), question.models)}")
    key = prefix + _deciding(path, own, {name: question.bindings[prefix + name] for name in own}, metric)
    if (entry := finished(RunFolder(path))["metrics"][key])["value"] is None:
        raise UsageError(f"{path}: {key} is null: {entry['reason']}; its predictions cannot be compared")
    if not (path / "predictions").is_dir():
        raise UsageError(f"{path}: holds no predictions: evaluate with harness predict instead of harness evaluate")
    binding, chosen = question.bindings[key], question.metrics[key]
    source = PredictionSource.open(path)
    held = {(column.kind, column.source) for column in source.manifest.columns}
    if missing := [name for kind, name in (("output", binding.output), ("feature", binding.label)) if (kind, name) not in held]:
        raise UsageError(f"{path}: its predictions hold no column of '{missing[0]}', which metric {key} reads; predict again")
    decisions = None
    if isinstance(chosen, PredictedClassMetric):
        logits = any(b.from_logits for b in question.bindings.values() if b.output == binding.output)
        decisions = Decisions(binding, chosen.threshold, question.classes, logits)
    name = str(model) if several else str(path)
    return PredictedRun(name, key, binding, question.classes, source.manifest.digests["data"], source, decisions)


def _deciding(path: Path, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding], wanted: str | None) -> str:
    """Return the key of the metric that says how predictions are read."""
    of_classes = [key for key in metrics if bindings[key].inputs is Inputs.CLASSES]
    deciding = [key for key in of_classes if isinstance(metrics[key], PredictedClassMetric)]
    known = [*deciding, *(key for key in metrics if bindings[key].inputs is Inputs.NUMBERS)]
    if not known:
        raise UsageError(
            f"{path}: none of its metrics compares a label with a predicted class or a number; predict with one, such as accuracy"
        )
    if wanted is None:
        return known[0]
    key = wanted if wanted in known else METRIC_ALIASES.get(wanted, wanted)
    if key not in known:
        raise UsageError(f"--metrics {wanted}: {path} does not decide by it: {nearest(wanted, known)}")
    return key


def _numbers(ids: np.ndarray, labels: np.ndarray, outputs: np.ndarray) -> Scored:
    """Read numbers: the loss of a position is its absolute error."""
    numbers, predicted = (array.reshape(len(ids), -1).astype(np.float64) for array in (labels, outputs))
    kept = np.ones(numbers.shape, bool)
    return Scored(ids, numbers, predicted, kept, _example_means(np.abs(numbers - predicted), kept))


def _example_means(losses: np.ndarray | None, kept: np.ndarray) -> np.ndarray | None:
    """Return the mean over the positions of each example, float64 [n]; 0 where none is kept."""
    if losses is None:
        return None
    means: np.ndarray = np.where(kept, losses, 0.0).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
    return means

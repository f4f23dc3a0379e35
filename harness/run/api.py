"""`harness.evaluate`: evaluate models that a script or notebook holds, on all ranks of its own Horovod world, or alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from harness.report.results import Results
from harness.run.evaluator import Evaluator

__all__ = ["evaluate"]


def evaluate(  # noqa: PLR0913 - help() lists every option
    model: Any,
    data: Any,
    metrics: str | Sequence[str | Mapping[str, Any]],
    *,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    label: str | None = None,
    weight: str | None = None,
    inputs: Mapping[str, str] | Sequence[str] | None = None,
    slices: Sequence[str | Mapping[str, Any] | Sequence[Any]] | Mapping[str, Any] | None = None,
    bootstrap: Mapping[str, Any] | None = None,
    examples: Mapping[str, Any] | int | None = None,
    classes: Sequence[str] | str | None = None,
    unknown_label: Literal["error", "skip", "null"] | None = "error",
    gate: str | Sequence[Any] | Mapping[str, Any] | None = None,
    batch_size: int = 64,
    chunk_size: int | None = None,
    batched: bool | None = None,
    alone: bool = False,
    folder: str | Path = ".",
    progress: bool = True,
) -> Results:
    """Evaluate a model on data, on all ranks or alone. Where there are several ranks, every one of them calls this.

    Args:
      model: a Keras model, a function, a loaded SavedModel, the path of a model, or the model section of a job. Several by
        name: {"old": model, "new": "models/2"}; each metric is then reported as old/METRIC and new/METRIC.
      data: (x, y) or (x, y, weights) of arrays; arrays by feature name; a pandas DataFrame; a tf.data.Dataset of the like;
        the path of files; or the data section of a job. The same on all ranks: it is the harness that shares it out.
      metrics: names, or names with options, as in a job: ["accuracy", {"top_k": {"k": 3}}].
      output: folder for the files of a run.
      resume: go on from what an earlier attempt in that folder has finished.
      overwrite: take away the run that is in that folder, and begin anew.
      label: the feature that is the label, or an expression; of (x, y) it is known.
      weight: the feature that weighs examples; of (x, y, weights) it is known.
      inputs: the feature that each input of the model reads, {"input": "feature"}; for a function the features it takes.
      slices: features whose values are reported apart, and crosses of them: ["writer", ["writer", "label"]]; or the slices
        section of a job.
      bootstrap: confidence intervals: {"replicates": 200}, also with "seed", "cluster" and "level".
      examples: keep some to look at: {"worst": 50, "by": "cross_entropy"}, see the key `examples` of a job; or how many of the
        worst.
      classes: names of the classes, in the order of the scores; or the path of a file of a name a line.
      unknown_label: what becomes of a label that is text and no class: "error", "skip" leaves the example out, with "null" or
        None it is counted and metrics leave out its label.
      gate: rules that the result is judged by, as in a job: a list of rules, the path of a file, or {"rules": ..., "baseline":
        run folder}; `results.gate` is what they come to, as of `harness.gate`.
      batch_size: examples that the model sees at once.
      chunk_size: examples in a chunk, the unit that ranks share out; None is chosen by the number of examples.
      batched: whether the elements of a tf.data.Dataset are batches, where their shapes do not tell.
      alone: evaluate in this process only, whatever ranks there are.
      folder: what relative paths and own metrics are looked for in.
      progress: show a bar in a notebook.
    Returns: the same on all ranks.
    Raises: HarnessError: what went wrong; where a rank fails, on all of them.
    """
    evaluator = Evaluator(
        model, data, metrics, label=label, weight=weight, inputs=inputs, slices=slices, bootstrap=bootstrap, examples=examples,
        classes=classes, unknown_label=unknown_label, gate=gate, batch_size=batch_size, chunk_size=chunk_size, batched=batched,
        alone=alone,
        folder=folder, progress=progress,
    )  # fmt: skip
    try:
        return evaluator.evaluate(output, resume=resume, overwrite=overwrite)
    finally:
        evaluator.close()

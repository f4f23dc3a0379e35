"""Runs for TensorBoard: a file of events each. Checkpoints of one series share a folder, and so are one line of each chart.

The name of the file is that of the run, so a run that is there is known, and files lie in the order of steps, in which
TensorBoard reads them.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.export.events import file_of_events, hyperparameters, picture, precision_recall, scalars
from harness.export.exported_run import ExportedRun
from harness.export.outcome import Exported
from harness.folder.run_folder import write_atomically
from harness.metrics.plots import Confusion, Thresholds
from harness.report.confused import draw_confusion
from harness.report.drawing import DOTS_PER_INCH, PAPER, new_figure, style
from harness.results.metric_names import exporter_name
from harness.results.plotted import Plotted, plotted_of_run

__all__ = ["write"]

UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
LONGEST_NAME = 60  # letters of a folder's name, before its digest
DIGITS = 8  # of that digest
MOST_CLASSES = 40  # of a matrix that is drawn
CELL, MARGIN = 34, 130  # pixels


def write(runs: Sequence[ExportedRun], place: str) -> Exported:
    """Write a file of events for each run that has none.

    Args:
      place: what `tensorboard --logdir` is told.
    Raises: UsageError: there is something else of that name. RunFolderError: it cannot be written.
    """
    added, remarks = 0, []
    for run in runs:
        if any(Path(place).glob(f"*/events.out.tfevents.*.{run.id}.harness")):
            continue
        folder = Path(place) / _folder_name(run)
        path = folder / f"events.out.tfevents.{run.step or 0:020d}.{run.id}.harness"
        values, missing = _values(run)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(f"{exc.filename}: cannot be made a folder: {exc.strerror}; choose another place") from exc
        # TensorBoard reads any file that is called tfevents: the file has another name until it is whole.
        hidden = folder / f".{run.id}"
        write_atomically(hidden, file_of_events(run.started_s, run.step or 0, values))
        os.replace(hidden, path)
        added += 1
        remarks += [f"{run.folder.path}: {text}" for text in missing]
    return Exported(place, added, len(runs) - added, remarks)


def _folder_name(run: ExportedRun) -> str:
    """Return what TensorBoard calls a run: of checkpoints all of their series, else it alone."""
    name, digest = run.name, run.id
    if run.step is not None:
        name, digest = run.series_name, run.series
    safe = UNSAFE.sub("_", name)[:LONGEST_NAME].strip("._-") or "run"
    return f"{safe}-{digest[:DIGITS]}"


def _values(run: ExportedRun) -> tuple[list[Any], list[str]]:
    """Return what TensorBoard is to show of a run, and what it cannot."""
    numbers = {name: value for number in run.numbers for name, value in number.quantities}
    params = {**run.params, **{f"{name}_digest": digest for name, digest in run.digests.items() if digest}}
    values = [*hyperparameters(params, run.series, run.started_s), *scalars(numbers)]
    try:
        plots = plotted_of_run(run.folder)
    except HarnessError as exc:
        return values, [f"no PR curve and no confusion matrix: {exc}"]
    missing, tags = [], Counter[str]()
    for own in plots:
        kind = f"{type(own.plot).__name__}/{own.key}"
        tags[kind] += 1
        name = exporter_name(own.key, *([str(tags[kind])] if tags[kind] > 1 else []))
        try:
            values += _plot(own, name)
        except UsageError as exc:
            missing.append(f"no picture of {own.key}: {exc}")
    return values, missing


def _plot(own: Plotted, name: str) -> list[Any]:
    """Return the PR curve or the confusion matrix that a metric shows; nothing where it shows neither.

    Raises: UsageError: TensorBoard cannot show it, or what draws is not installed.
    """
    if isinstance(own.plot, Thresholds) and own.plot.points and own.plot.positive:
        return [_curve(own.plot, name, own.key)]
    if isinstance(own.plot, Confusion):
        return [_matrix(own.plot, name)]
    return []


def _curve(plot: Thresholds, name: str, title: str) -> Any:
    low, high = plot.points[0][0], plot.points[-1][0]
    if low < 0 or high > 1:
        raise UsageError(f"scores lie from {low:g} to {high:g}, TensorBoard's thresholds from 0 to 1")
    return precision_recall(f"pr_curve/{name}", title, plot)


def _matrix(plot: Confusion, name: str) -> Any:
    if len(plot.names) > MOST_CLASSES:
        raise UsageError(f"{len(plot.names)} classes; up to {MOST_CLASSES} are drawn")
    height = MARGIN + max(CELL * len(plot.names), MARGIN)
    width = height + MARGIN // 2
    with style():
        figure = new_figure(width, height)
        draw_confusion(figure.subplots(), plot)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, facecolor=PAPER, metadata={"Software": None})
    return picture(f"confusion/{name}", stream.getvalue(), width, height)

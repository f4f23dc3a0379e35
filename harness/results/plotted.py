"""What the metrics of a finished run can show, from the sums in its journal: of all examples, and of each replicate.

Slices have no plots, and their rows are not looked at. Replicates are those of sums in the grid: of rows they would be sorted
once for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import HarnessError, RunFolderError
from harness.folder.journal import add_up
from harness.folder.question_file import file_digest, read_question
from harness.folder.run_folder import RunFolder, read_json
from harness.metrics.contract import Binding, Metric, RowMetric, Undefined
from harness.metrics.plots import Plot, Reliability, Thresholds
from harness.metrics.question import Question
from harness.metrics.question_json import MALFORMED
from harness.ranks.comm import SingleComm
from harness.results.values import result
from harness.sums.row_reduction import reduce_rows
from harness.sums.sums import Layouts, Sums

__all__ = ["Plotted", "plotted", "plotted_of_run"]

BANDED = Thresholds | Reliability  # what a band can be drawn round


@dataclass(frozen=True)
class Plotted:
    """What a metric shows.

    Attributes:
      key: of the metric.
      binding: what it read.
      model: that it is of, where there are several.
      options: of the metric.
      plot: of all examples.
      replicates: the same of each replicate that has it, where a band can be drawn round it.
    """

    key: str
    binding: Binding
    model: str
    options: Mapping[str, Any]
    plot: Plot
    replicates: Sequence[Plot] = ()


def plotted_of_run(folder: RunFolder, own: Callable[[str], type[Metric]] | None = None) -> list[Plotted]:
    """Return what the metrics of a finished run show.

    Args:
      own: finds metrics of the user's own, see `question_json.from_json`; without it they show nothing.
    Raises: RunFolderError: a file is missing, or is not what a run writes.
    """
    run = read_json(folder.run_json)
    names = run.get("journal") if isinstance(run, dict) else None
    if not isinstance(names, list):
        raise RunFolderError(f"{folder.run_json} is missing or torn: it names the sums that plots are made of")
    question, layouts = read_question(folder, own)
    try:
        return plotted(question, layouts, add_up(folder.journal, names, layouts, file_digest(folder)))
    except MALFORMED as exc:
        raise RunFolderError(f"{folder.question_json} and the journal do not go together: {type(exc).__name__}: {exc}") from exc


def plotted(question: Question, layouts: Layouts, sums: Sums) -> list[Plotted]:
    """Return what the metrics show.

    Args:
      question: what was asked.
      layouts: of the sums.
      sums: of all examples; given up.
    """
    shown = []
    for key, metric in question.metrics.items():
        if type(metric).plots is Metric.plots:
            continue
        model = max((name for name in question.models if key.startswith(f"{name}/")), key=len, default="")
        whole = _plots(question, layouts, sums, key, 0)
        banded = any(isinstance(plot, BANDED) for plot in whole)
        replicates = [_plots(question, layouts, sums, key, draw) for draw in _draws(question, metric)] if banded else []
        for number, plot in enumerate(whole):
            drawn = [plots[number] for plots in replicates if len(plots) > number]
            shown.append(Plotted(key, question.bindings[key], model, metric.model_dump(mode="json"), plot, drawn))
    return shown


def _draws(question: Question, metric: Metric) -> range:
    """Return the numbers of the replicates that can be looked at."""
    if question.bootstrap is None or isinstance(metric, RowMetric) or not metric.in_replicates:
        return range(0)
    return range(1, 1 + question.bootstrap.replicates)


def _plots(question: Question, layouts: Layouts, sums: Sums, key: str, draw: int) -> Sequence[Plot]:
    """Return the plots of a metric in a replicate; replicate 0 is all examples. None where the value is null."""
    metric, binding = question.metrics[key], question.bindings[key]
    state = sums.grid.state(0, draw, layouts.grid) if draw else sums.state
    rows = _rows(metric, sums, layouts, key) if isinstance(metric, RowMetric) else None
    totals = result(layouts.state, state, key, metric, binding, question.classes, rows).totals
    if totals is None:
        return ()
    try:
        return metric.plots(totals)
    except Undefined:
        return ()
    except HarnessError:
        raise
    except Exception as exc:
        if type(metric).__module__.startswith("harness."):
            raise
        raise RunFolderError(f"metric {key}: {type(metric).__name__}.plots raised {type(exc).__name__}: {exc}") from exc


def _rows(metric: RowMetric, sums: Sums, layouts: Layouts, key: str) -> Mapping[str, Any] | str:
    """Fold the rows of a metric, of all examples alone; the sums lose them."""
    store = sums.rows.pop(key, None)
    table = store.take() if store is not None and len(store) else layouts.rows[key].empty(layouts.specs)
    try:
        folded = reduce_rows(metric, replace(table, slices=table.slices[:, :0]), SingleComm())
    except Undefined as exc:
        return str(exc)
    return folded[0, 0]

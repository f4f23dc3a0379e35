"""Comparisons and gates from Python: what `harness compare` and `harness gate` do, with objects instead of exit codes.

What reads stored predictions is imported where it is used: it loads pandas.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.comparison.command import Compared
from harness.comparison.curve_command import Curves
from harness.comparison.gate_command import Ruling
from harness.comparison.runs import Run, folder_of
from harness.errors import UsageError
from harness.results.results import Results

if TYPE_CHECKING:
    from harness.comparison.examples_command import ComparedExamples

__all__ = ["compare", "compare_checkpoints", "compare_examples", "gate"]


def compare(
    *runs: str | Path | Results,
    metrics: Collection[str] = (),
    model: str | None = None,
    level: float | None = None,
    pair: bool = True,
    baselines: str | Path | None = None,
) -> Compared:
    """Compare run folders with the first one, or the models of one run with each other.

    Args:
      runs: run folders, names of baselines, or results of `harness.evaluate` and `Results.load`; the baseline first.
      metrics: keys or labels of those that are compared, or short for them; all where none is named.
      model: of runs with several models, the one that is compared.
      level: of intervals and verdicts; default: the bootstrap's.
      pair: take differences within replicates; False is wider, and asks for nothing in common.
      baselines: folder of the baselines that have names; default: `baselines`, or what HARNESS_BASELINES says.
    Returns: `comparisons`, each with its `lines`; `ranked`; `text("markdown")` and other documents.
    Raises: UsageError: runs cannot be paired, or a metric is not there. RunFolderError: a folder holds no finished run.
    """
    folder = None if baselines is None else Path(baselines)
    return Compared.of([_run(run) for run in runs], metrics=metrics, model=model, level=level, pair=pair, baselines=folder)


def compare_checkpoints(
    *runs: str | Path | Results,
    metrics: Collection[str] = (),
    model: str | None = None,
    level: float | None = None,
    pair: bool = True,
    baselines: str | Path | None = None,
) -> Curves:
    """Put checkpoints of one training in order of the step in their names: `harness compare --curve`.

    Args:
      runs: run folders, names of baselines, or results that lie in a folder, in any order.
      metrics, model, level, pair, baselines: see `compare`.
    Returns: `curves`, each with its `points`, the `best` of them and its value `corrected` for the choice; `text("markdown")`
      and other documents.
    Raises: UsageError: the names tell no steps; and see `compare`.
    """
    folder = None if baselines is None else Path(baselines)
    return Curves.of([_run(run) for run in runs], metrics=metrics, model=model, level=level, pair=pair, baselines=folder)


def compare_examples(
    *runs: str | Path | Results,
    metric: str | None = None,
    model: str | None = None,
    discordant: str | Path | None = None,
) -> ComparedExamples:
    """Compare the predictions of two runs, or of the two models of one, example by example: `harness compare --examples`.

    Args:
      runs: folders that `harness predict` wrote, or results that lie in such a folder; the baseline first.
      metric: the key that says how predictions are read; default: the first that decides a class.
      model: of runs with several models, the one that is compared.
      discordant: a .csv or .parquet file for the examples that one side alone has right.
    Returns: `pairs` with `counts`, `flip_rate`, `p` and `ranks`; `text("markdown")` and other documents.
    Raises: UsageError: they have not the same examples, or hold no predictions. JobError: predictions are not finished.
    """
    from harness.comparison.examples_command import ComparedExamples

    folders = [folder_of(_run(run)) for run in runs]
    if (place := next((at for at, folder in enumerate(folders) if folder is None), None)) is not None:
        raise UsageError(f"results {place + 1} lie in no folder, and so hold no predictions: name what harness predict wrote")
    return ComparedExamples.of(
        [folder for folder in folders if folder is not None],
        metrics=() if metric is None else [metric],
        model=model,
        discordant=None if discordant is None else Path(discordant),
    )


def gate(
    run: str | Path | Results,
    rules: Any,
    baseline: str | Path | Results | None = None,
    model: str | None = None,
    baselines: str | Path | None = None,
) -> Ruling:
    """Judge a run by rules.

    Args:
      run, baseline: run folders, names of baselines, or results of `harness.evaluate` and `Results.load`.
      rules: the path of a file, or what such a file holds: [{"accuracy": {"at_least": 0.9}}].
      model: of runs with several models, the one that is judged.
      baselines: see `compare`.
    Returns: `verdict` is "PASS", "FAIL" or "INCONCLUSIVE"; `gated.judgements` has a line a rule.
    Raises: UsageError: a rule is on what is not there, or is null. RunFolderError: there is no finished run.
    """
    file = Path(rules) if isinstance(rules, str | Path) else rules
    folder = None if baselines is None else Path(baselines)
    return Ruling.of(_run(run), file, None if baseline is None else _run(baseline), model, folder)


def _run(run: str | Path | Results) -> Run:
    return run if isinstance(run, Results) else Path(run)

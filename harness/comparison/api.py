"""Comparisons and gates from Python: what `harness compare` and `harness gate` do, with objects instead of exit codes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from harness.comparison.command import Compared
from harness.comparison.gate_command import Ruling
from harness.comparison.runs import Run
from harness.results.results import Results

__all__ = ["compare", "gate"]


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

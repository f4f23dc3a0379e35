"""Runs to targets: what the command line, a job and the Python API ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.export.exported_run import read_runs
from harness.export.outcome import Exported
from harness.export.targets import Target

__all__ = ["export", "targets_of"]


def targets_of(texts: Sequence[str], folder: Path | None = None) -> list[Target]:
    """Read targets as people write them, and see that each can be written.

    Args:
      folder: where relative places lie; default: where the process is.
    Raises: UsageError: there is no such target, one stands there twice, or what it needs is not installed.
    """
    targets = [Target.of(text) if folder is None else Target.of(text).beside(folder) for text in texts]
    if twice := [target for target in targets if targets.count(target) > 1]:
        raise UsageError(f"{twice[0].kind}: stands there twice with the same place; it holds all runs")
    for target in targets:
        target.check()
    return targets


def export(runs: Sequence[Path], targets: Sequence[Target], report: Callable[[str], None] = lambda text: None) -> list[Exported]:
    """Hand finished runs on to each target, checkpoints in order of their steps. What is there already stays as it is.

    Args:
      runs: their folders.
      report: is told what each target came to.
    Returns: what each target came to.
    Raises: HarnessError: a target failed; the others have been written.
    """
    read = read_runs(runs)
    outcomes, failures = [], []
    for target in targets:
        try:
            outcome = target.write(read)
        except HarnessError as exc:
            failures.append(exc)
            continue
        outcomes.append(outcome)
        for remark in outcome.remarks:
            report(f"{target.kind}: {remark}")
        report(f"{target.kind}: {outcome}")
    if failures:
        raise type(failures[0])("\n  ".join(map(str, failures)))
    return outcomes

"""The command that hands finished runs on to trackers and formats of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from harness.cli.paths import FilePath
from harness.cli.verbosity import remark

__all__ = ["export", "to"]


def to(*, required: bool) -> Callable[[Any], Any]:
    """Return a decorator that gives a command the targets that it hands runs on to."""
    return click.option(
        "--to", "targets", multiple=True, required=required, metavar="TARGET[=PLACE]",
        help="tensorboard, mlflow, wandb, csv, parquet, json-lines or openmetrics, and where: a folder, a file, MLflow's URI; "
        "may be repeated.",
    )  # fmt: skip


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FilePath(path_type=Path), metavar="RUN...")
@to(required=True)
def export(runs: Sequence[Path], targets: Sequence[str]) -> int:
    """Hand finished runs on to trackers and formats of others; a run that is there already is not added again."""
    from harness.export.command import export as export_runs
    from harness.export.command import targets_of

    export_runs(runs, targets_of(targets), remark)
    return 0

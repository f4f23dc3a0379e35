"""The commands that look at a model: evaluate, predict, check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.options import JOB, OUTPUT, RESUME, SAME_DATA, SET, STALL

__all__ = ["check", "evaluate", "predict"]


@click.command()
@JOB
@OUTPUT
@SET
@STALL
@RESUME
@SAME_DATA
@click.option(
    "--predictions", type=click.Path(path_type=Path), metavar="DIR",
    help="Evaluate what harness predict wrote, without the model.",
)  # fmt: skip
def evaluate(
    job: Path,
    output: Path | None,
    overrides: Sequence[str],
    stall_timeout: float,
    resume: bool,
    same_data: bool,
    predictions: Path | None,
) -> int:
    """Evaluate a job, as one of the ranks that a launcher started, or alone."""
    from harness.job.job import Job
    from harness.ranks.comm import World
    from harness.run.run import Options, run

    options = Options(output, stall_timeout, resume, predictions=predictions, same_data=same_data)
    return run(Job.load(job, overrides), options, World.from_environment())


@click.command()
@JOB
@OUTPUT
@SET
@STALL
@RESUME
@SAME_DATA
def predict(job: Path, output: Path | None, overrides: Sequence[str], stall_timeout: float, resume: bool, same_data: bool) -> int:
    """Write predictions as a dataset, and metrics where there are labels; every rank writes its own part of it."""
    from harness.job.job import Job
    from harness.ranks.comm import World
    from harness.run.run import Options, run

    options = Options(output, stall_timeout, resume, predict=True, same_data=same_data)
    return run(Job.load(job, overrides, predicts=True), options, World.from_environment())


@click.command()
@JOB
@SET
def check(job: Path, overrides: Sequence[str]) -> int:
    """Validate job, data and model before any rank is started, and say what was found."""
    from harness.job.job import Job
    from harness.run.check import check as run_check

    return run_check(Job.load(job, overrides))

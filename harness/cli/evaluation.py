"""The commands that look at a model: evaluate, predict, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import JOB, OUTPUT, OVERWRITE, RESUME, SAME_DATA, SET, STALL
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.job.job import Job
    from harness.run.run import Options

__all__ = ["check", "evaluate", "predict"]


@click.command()
@JOB
@OUTPUT
@SET
@STALL
@RESUME
@OVERWRITE
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
    overwrite: bool,
    same_data: bool,
    predictions: Path | None,
) -> int:
    """Evaluate a job, as one of the ranks that a launcher started, or alone."""
    from harness.job.job import Job
    from harness.run.run import Options

    options = Options(output, stall_timeout, resume, overwrite, predictions=predictions, same_data=same_data)
    return _run(Job.load(job, overrides), options)


@click.command()
@JOB
@OUTPUT
@SET
@STALL
@RESUME
@OVERWRITE
@SAME_DATA
def predict(
    job: Path,
    output: Path | None,
    overrides: Sequence[str],
    stall_timeout: float,
    resume: bool,
    overwrite: bool,
    same_data: bool,
) -> int:
    """Write predictions as a dataset, and metrics where there are labels; every rank writes its own part of it."""
    from harness.job.job import Job
    from harness.run.run import Options

    options = Options(output, stall_timeout, resume, overwrite, predict=True, same_data=same_data)
    return _run(Job.load(job, overrides, predicts=True), options)


def _run(job: Job, options: Options) -> int:
    from harness.folder.ownership import default_folder
    from harness.ranks.comm import World
    from harness.run.run import run

    if options.resume and options.overwrite:
        raise UsageError("--resume goes on with the run that is there, --overwrite begins anew: say one of them")
    world = World.from_environment()
    if options.output is None and not options.overwrite:
        folder, message = default_folder(job, resume=options.resume)
        options = replace(options, output=folder)
        if message and world.rank == 0:
            click.echo(f"harness: {message}", err=True)
    return run(job, options, world)


@click.command()
@JOB
@SET
def check(job: Path, overrides: Sequence[str]) -> int:
    """Validate job, data and model before any rank is started, and say what was found."""
    from harness.job.job import Job
    from harness.run.check import check as run_check

    return run_check(Job.load(job, overrides))

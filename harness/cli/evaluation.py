"""The commands that look at a model: evaluate, predict, check, init."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import JOB, LABEL, LOGGING, METRICS, MODEL_OUTPUT, OUTPUT, OVERWRITE, RESUME, SAME_DATA, SET, STALL
from harness.cli.paths import FilePath
from harness.cli.verbosity import is_quiet
from harness.errors import UsageError
from harness.names.events import Event
from harness.names.log import LOG

if TYPE_CHECKING:
    from harness.job.job import Job
    from harness.names.status_line import StatusLine
    from harness.run.command import Options

__all__ = ["check", "evaluate", "init", "predict", "run_job", "serve_check", "status_line"]


@click.command()
@click.argument("job", type=FilePath(path_type=Path), metavar="JOB")
@click.argument("data", nargs=-1, type=FilePath(), metavar="| MODEL DATA...")
@OUTPUT
@SET
@LABEL
@METRICS
@MODEL_OUTPUT
@STALL
@RESUME
@OVERWRITE
@SAME_DATA
@LOGGING
@click.option(
    "--predictions", type=FilePath(path_type=Path), metavar="DIR",
    help="Evaluate what harness predict wrote, without the model.",
)  # fmt: skip
@click.option("--limits", is_flag=True, hidden=True, help="Measure what the machine can do at most, for harness bench.")
def evaluate(
    job: Path,
    data: Sequence[str],
    output: Path | None,
    overrides: Sequence[str],
    label: str | None,
    metrics: str | None,
    model_output: str | None,
    stall_timeout: float,
    resume: bool,
    overwrite: bool,
    same_data: bool,
    predictions: Path | None,
    limits: bool,
) -> int:
    """Evaluate a job, as one of the ranks that a launcher started, or alone.

    MODEL DATA... instead of a job evaluates a model on files, globs or a folder, as the job would that harness init writes.
    """
    wishes = {"label": label, "metrics": metrics, "output": model_output}
    with status_line() as line:
        from harness.run.command import Options

        options = Options(
            output,
            stall_timeout,
            resume,
            overwrite,
            predictions=predictions,
            same_data=same_data,
            limits=limits,
            quiet=is_quiet(),
            line=line,
        )
        return _evaluate_draft(job, data, wishes, overrides, options) if data else _evaluate_job(job, wishes, overrides, options)


def _evaluate_draft(
    model: Path, data: Sequence[str], wishes: Mapping[str, str | None], overrides: Sequence[str], options: Options
) -> int:
    """Evaluate the job that `harness init` would write."""
    from harness.prepare.draft import Wishes
    from harness.ranks.comm import World
    from harness.run.drafting import evaluate_draft

    if options.predictions:
        raise UsageError("--predictions goes with a job file: harness init writes one of MODEL DATA")
    return evaluate_draft(str(model), data, Wishes.of(**wishes), overrides, options, World.from_environment())


def _evaluate_job(path: Path, wishes: Mapping[str, str | None], overrides: Sequence[str], options: Options) -> int:
    """Evaluate a job file."""
    from harness.job.job import Job
    from harness.job.messages import other_than_a_job

    if any(wishes.values()) and not other_than_a_job(path):
        raise UsageError(
            "--label, --metrics and --model-output go with MODEL DATA; of a job change the keys: --set data.label=NAME"
        )
    return run_job(Job.load(path, overrides), options)


@click.command()
@JOB
@OUTPUT
@SET
@STALL
@RESUME
@OVERWRITE
@SAME_DATA
@LOGGING
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
    with status_line() as line:
        from harness.job.job import Job
        from harness.run.command import Options

        options = Options(
            output, stall_timeout, resume, overwrite, predict=True, same_data=same_data, quiet=is_quiet(), line=line
        )
        return run_job(Job.load(job, overrides, predicts=True), options)


def status_line() -> StatusLine:
    """Return what this rank shows its status with, from the first moment on."""
    from harness.names.status_line import Status
    from harness.names.status_line import status_line as line_for
    from harness.ranks.comm import World

    world = World.from_environment()
    line = line_for(world.rank, world.size, quiet=is_quiet())
    line.show(Status("starting"))
    return line


def run_job(job: Job, options: Options) -> int:
    """Evaluate a job as one of the ranks; its run goes to a folder of its own where the job names none."""
    from harness.folder.ownership import default_folder
    from harness.ranks.comm import World
    from harness.run.run import run

    world = World.from_environment()
    if options.output is None and not options.overwrite:
        folder, message = default_folder(job, resume=options.resume)
        options = replace(options, output=folder)
        if message and world.rank == 0:
            LOG.say(Event.RUN_FOLDER, message)
    return run(job, options, world)


@click.command()
@JOB
@SET
def check(job: Path, overrides: Sequence[str]) -> int:
    """Validate job, data and model before any rank is started, and say what was found."""
    from harness.job.job import Job
    from harness.run.check import check as run_check

    return run_check(Job.load(job, overrides))


@click.command("serve-check")
@JOB
@SET
def serve_check(job: Path, overrides: Sequence[str]) -> int:
    """Ask what serves the job's model: its metadata, one batch, whether bits repeat and depend on the batch.

    It is `harness check` of a job whose model is behind an endpoint.
    """
    from harness.job.job import Job
    from harness.run.check import check as run_check

    loaded = Job.load(job, overrides)
    if not any(spec.endpoint for spec in loaded.named_models.values()):
        raise UsageError(
            f"{job}: no model of the job is behind an endpoint: model: {{endpoint: grpc://HOST:8500, name: NAME}}; harness check "
            "looks at other models"
        )
    return run_check(loaded)


@click.command()
@click.argument("model", type=FilePath())
@click.argument("data", nargs=-1, required=True, type=FilePath(), metavar="DATA...")
@click.option(
    "-o", "--output", default="job.yaml", show_default=True, type=FilePath(path_type=Path), metavar="FILE",
    help="Where the job is written; - prints it.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@LABEL
@METRICS
@MODEL_OUTPUT
def init(
    model: str,
    data: Sequence[str],
    output: Path,
    force: bool,
    label: str | None,
    metrics: str | None,
    model_output: str | None,
) -> int:
    """Write the job that evaluates a model on files, globs or a folder; look at both, and say in comments what was chosen."""
    with status_line() as line:
        from harness.prepare.draft import Wishes
        from harness.ranks.comm import World
        from harness.run.drafting import init as run_init

        wishes = Wishes.of(label, metrics, model_output)
        text = run_init(model, data, wishes, output, World.from_environment(), line, force=force)
        if text and not is_quiet():
            print(text)
        return 0

"""The command that holds one model against another on the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.evaluation import run_job, status_line
from harness.cli.options import COUNT, JOB, LOGGING, OUTPUT, OVERWRITE, RESUME, SAME_DATA, SET, STALL
from harness.cli.verbosity import is_quiet

if TYPE_CHECKING:
    from harness.job.job import Job

__all__ = ["job_of", "parity"]

TOLERANCE = click.FloatRange(min=0)
SHARE = click.FloatRange(min=0, max=1)


@click.command()
@JOB
@click.option("--model", "reference", metavar="NAME", help="The reference: a model of the job; default: its first.")
@click.option("--against", "candidate", metavar="MODEL", help="What is held against it: another model of the job, or a path.")
@click.option("--endpoint", metavar="URL", help="What is held against it: a model behind an endpoint.")
@click.option("--name", metavar="NAME", help="What the endpoint calls the model; default: as the job's own endpoint does.")
@click.option("--version", "model_version", metavar="N|LABEL", help="Of the endpoint's model.")
@click.option("--atol", default=1e-6, show_default=True, type=TOLERANCE, help="Numbers p and r agree where |p - r| <= atol + ...")
@click.option("--rtol", default=1e-5, show_default=True, type=TOLERANCE, help="... + rtol |r|, r of the reference.")
@click.option("--within", default=1.0, show_default=True, type=SHARE, metavar="SHARE", help="Share of numbers that has to agree.")
@click.option("--flips", type=SHARE, metavar="SHARE", help="Share of decisions that may be others; default: any.")
@click.option("--largest", type=TOLERANCE, metavar="X", help="How far apart two numbers may be at most; default: any.")
@click.option("--model-output", "outputs", multiple=True, metavar="NAME", help="Compare this output; may be repeated.")
@click.option(
    "--worst", default=20, show_default=True, type=COUNT, metavar="N", help="Keep so many examples that are furthest apart."
)
@OUTPUT
@SET
@STALL
@RESUME
@OVERWRITE
@SAME_DATA
@LOGGING
def parity(
    job: Path,
    output: Path | None,
    overrides: Sequence[str],
    stall_timeout: float,
    resume: bool,
    overwrite: bool,
    same_data: bool,
    **wishes: Any,
) -> int:
    """Evaluate two models on the same examples, and say how far apart they are.

    Exit code 0: within the tolerance, 1: not, 5: these examples do not tell.
    """
    with status_line() as line:
        from harness.comparison.parity import show_parity
        from harness.run.command import Options

        options = Options(
            output, stall_timeout, resume, overwrite, same_data=same_data, quiet=is_quiet(), line=line, view=show_parity
        )
        return run_job(job_of(job, overrides, wishes), options)


def job_of(path: Path, overrides: Sequence[str], wishes: Mapping[str, Any]) -> Job:
    """Return the job that evaluates parity, of the job file and the options.

    Raises: UsageError, JobError: see `parity.parity_job`.
    """
    from harness.job.job import Job
    from harness.prepare.parity import ParityLimits, Sides, parity_job

    job = Job.load(path, overrides)
    limits = {key: wishes[key] for key in ("atol", "rtol", "within", "flips", "largest", "outputs", "worst")}
    endpoint = _endpoint(job, wishes["endpoint"], wishes["name"], wishes["model_version"])
    return parity_job(job, Sides(wishes["reference"], wishes["candidate"], endpoint), ParityLimits(**limits))


def _endpoint(job: Job, url: str | None, name: str | None, version: str | None) -> dict[str, Any] | None:
    """Return the keys of a model behind an endpoint.

    Raises: UsageError: options go with an endpoint that is not there, or nobody says what it calls the model.
    """
    from harness.errors import UsageError

    if url is None:
        if name is not None or version is not None:
            raise UsageError(f"{'--version' if name is None else '--name'} goes with --endpoint URL")
        return None
    names = {spec.name for spec in job.named_models.values() if spec.name}
    if name is None and len(names) != 1:
        raise UsageError("--endpoint URL: say what the server calls the model: --name NAME")
    keys = {"endpoint": url, "name": name or names.pop()}
    return keys if version is None else {**keys, "version": version}

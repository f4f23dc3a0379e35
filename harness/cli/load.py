"""The command that puts a service under load: harness load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.options import JOB, SET, Seconds
from harness.cli.paths import FilePath
from harness.cli.verbosity import is_quiet, remark
from harness.errors import UsageError

__all__ = ["load"]

MINUTE_S = 60.0
CONNECTIONS = "model.concurrency"


@click.command()
@JOB
@click.option(
    "--scenario", required=True, type=click.Choice(["offline", "single-stream", "multi-stream", "server"]),
    help="How queries come: all at once, one after the other, eight examples at a time, or at random times.",
)  # fmt: skip
@click.option("--qps", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Of server: queries a second.")
@click.option(
    "--latency-bound", "bounds", multiple=True, metavar="p99=50ms",
    help="Share of queries that has to be answered within a time; may be repeated.",
)  # fmt: skip
@click.option("--seconds", default=60.0, show_default=True, type=Seconds(min=0, min_open=True), help="That queries come for.")
@click.option(
    "--minutes", type=Seconds(min=0, min_open=True), metavar="MINUTES", help="The same in minutes; MLPerf's rule is 10."
)
@click.option("--accuracy", is_flag=True, help="Ask for every example once before, and evaluate the answers.")
@click.option("-o", "--output", type=FilePath(path_type=Path), metavar="FOLDER", help="Default: the job's output, and -load.")
@click.option("--overwrite", is_flag=True, help="Take away the load test that is in the folder.")
@SET
def load(
    job: Path,
    scenario: str,
    qps: float | None,
    bounds: Sequence[str],
    seconds: float,
    minutes: float | None,
    accuracy: bool,
    output: Path | None,
    overwrite: bool,
    overrides: Sequence[str],
) -> int:
    """Put the endpoint of a job under load with MLPerf LoadGen, and say how it bears it.

    Exit code 0: every bound is kept; without a bound every query was answered. 1: a bound is missed, or the server is overloaded;
    without a bound a query had no answer. 5: it cannot be told. With --accuracy the job's gate may say 1 or 5 too.
    """
    from harness.bench.loadgen_run import load_loadgen
    from harness.job.job import Job
    from harness.load.request import SCENARIOS, LatencyBound, LoadRequest, check_job
    from harness.names.status_line import Status, status_line
    from harness.ranks.comm import World

    world = World.from_environment()
    if world.size > 1:
        raise UsageError(f"harness load is one process, found {world.size} ranks: LoadGen sends all queries")
    if minutes is not None:
        if click.get_current_context().get_parameter_source("seconds") is not click.core.ParameterSource.DEFAULT:
            raise UsageError("--seconds and --minutes say the same: give one of them")
        seconds = MINUTE_S * minutes
    request = LoadRequest(SCENARIOS[scenario], seconds, qps, tuple(map(LatencyBound.parse, bounds)), accuracy)
    read = Job.load(job, overrides)
    if not any(override.startswith(f"{CONNECTIONS}=") for override in overrides) and read.model and read.model.endpoint:
        connections = request.connections(read.model.concurrency)
        read = Job.load(job, [*overrides, f"{CONNECTIONS}={connections}"])
    check_job(read, request)
    load_loadgen()
    with status_line(0, 1, quiet=is_quiet()) as line:
        line.show(Status("importing TensorFlow"))
        from harness.step import tensorflow as tf_setup

        tf_setup.import_tensorflow()  # others import it, and not as quietly
        from harness.load.load import LoadFolder
        from harness.load.load import load as put_under_load

        folder = LoadFolder(output or read.output_folder.with_name(f"{read.output_folder.name}-load"))
        findings = put_under_load(read, request, folder, line, remark, overwrite=overwrite)
    findings.show()
    remark(f"load: {folder.load_json}")
    return findings.exit_code

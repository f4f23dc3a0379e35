"""The command that submits a job to Slurm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import COUNT, OUTPUT, SET, STALL, Seconds, flags
from harness.cli.paths import FilePath
from harness.cli.verbosity import words as verbosity_words

__all__ = ["submit"]


class _PassingOn(click.Command):
    """Keeps what stands after -- for another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["passed_on"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


SBATCH = (
    ("--nodes", "N", str, "Nodes."),
    ("--ntasks", "N", COUNT, "Ranks in all."),
    ("--ntasks-per-node", "N", COUNT, "Ranks on each node."),
    ("--cpus-per-task", "N", COUNT, "CPUs, and so threads, of each rank."),
    ("--gpus-per-task", "N", str, "GPUs of each rank: 1, where any."),
    ("--mem", "SIZE", str, "Memory of each node."),
    ("--time", "T", str, "Time limit; a run that reaches it goes on in the next start."),
    ("--partition", "NAME", str, "Partition."),
    ("--account", "NAME", str, "Account."),
    ("--qos", "NAME", str, "Quality of service."),
    ("--job-name", "NAME", str, "Name in the queue; default: the job file's."),
)


@click.command(cls=_PassingOn)
@click.argument("jobs", nargs=-1, required=True, type=FilePath(path_type=Path), metavar="JOB... [-- SBATCH OPTIONS]")
@OUTPUT
@SET
@STALL
@click.option("--predict", is_flag=True, help="Write predictions too, like harness predict.")
@flags(SBATCH)
@click.option(
    "--launcher",
    type=click.Choice(["auto", "srun", "mpirun", "horovodrun"]),
    default="auto",
    show_default=True,
    help="What starts the ranks; auto: srun where its pmix works, else mpirun, else horovodrun.",
)
@click.option("--module", "modules", multiple=True, metavar="NAME", help="What 'module load' brings; may be repeated.")
@click.option("--container", metavar="IMAGE", help="An Apptainer image that has the harness.")
@click.option(
    "--max-requeues",
    default=10,
    show_default=True,
    metavar="K",
    type=click.IntRange(min=0),
    help="How often a run goes on after its time limit.",
)
@click.option("--array", is_flag=True, help="A job array: each job, or each checkpoint, is a task of it.")
@click.option("--checkpoints", metavar="GLOB", help="With --array: models, each of which takes the place of the job's.")
@click.option("--at-once", metavar="N", type=COUNT, help="With --array: so many tasks at a time at most.")
@click.option(
    "--watch",
    "watch_s",
    metavar="SECONDS",
    type=Seconds(min=0, min_open=True),
    help="With --checkpoints: look for new ones so often, until interrupted.",
)
@click.option(
    "--patience",
    "patience_s",
    metavar="SECONDS",
    type=Seconds(min=0),
    help="With --watch: end when no new one has come for so long.",
)
@click.option("--wait", is_flag=True, help="Follow the job to its end, and end with its exit code.")
@click.option("--dry-run", is_flag=True, help="Print the script, submit nothing.")
@click.option("--limits", is_flag=True, hidden=True, help="Measure what the machine can do at most, for harness bench.")
@click.pass_context
def submit(
    ctx: click.Context,
    jobs: tuple[Path, ...],
    output: Path | None,
    overrides: tuple[str, ...],
    stall_timeout: float,
    predict: bool,
    launcher: str,
    container: str | None,
    limits: bool,
    **options: Any,
) -> int:
    """Submit a job to Slurm: write its batch script into the run folder, give it to sbatch, print the job's number."""
    from harness_launch.slurm_script import Launcher, Resources
    from harness_launch.submit import Submission, run
    from harness_launch.workstation import built_with

    from harness.folder.ownership import default_folder
    from harness.folder.run_folder import RunFolder
    from harness.job.job import Job
    from harness.prepare.binding import make_metrics

    specs = tuple(Job.load(job, overrides, predicts=predict) for job in jobs)
    for spec in specs:
        metrics = make_metrics(spec)  # found wrong before anything waits in a queue
        if spec.gate is not None:
            from harness.run.job_gate import JobGate

            JobGate.of(spec, metrics)
    fields = {flag[2:].replace("-", "_") for flag, _, _, _ in SBATCH}
    resources = {name: options.pop(name) for name in fields}
    resources["job_name"] = resources["job_name"] or jobs[0].stem
    words = [word for override in overrides for word in ("--set", override)]
    if ctx.get_parameter_source("stall_timeout") is not click.core.ParameterSource.DEFAULT:
        words += ["--stall-timeout", str(stall_timeout)]
    words += ["--limits"] if limits else []
    words += verbosity_words()
    container_words = (
        ["apptainer", "exec", *(["--nv"] if resources["gpus_per_task"] else []), container, "harness"] if container else []
    )
    if launcher == "auto" and not container and not built_with("mpi"):
        launcher = "horovodrun"  # Gloo's ranks meet through it
    requested = Resources(**resources, sbatch_words=ctx.meta["passed_on"])
    subcommand = "predict" if predict else "evaluate"
    if output is None and not options["array"]:
        output, message = default_folder(specs[0])
        if message:
            click.echo(f"harness: {message}", err=True)
    submission = Submission(
        jobs, specs, requested, output, tuple(words), subcommand, Launcher(launcher), harness=tuple(container_words), **options
    )
    RunFolder(output or submission.job_specs[0].output_folder)  # refuses a URL
    return run(submission)

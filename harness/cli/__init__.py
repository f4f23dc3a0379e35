"""The command line: one console script, `harness`. Loads what a command needs when it is called, not before."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError, Interrupted, OtherRankFailed, UsageError, nearest
from harness.version import __version__

__all__ = ["main"]

LAST_WORDS_S = 2.0


class _Commands(click.Group):
    """Names the nearest command when one is unknown."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}': {nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


JOB = click.argument("job", type=click.Path(path_type=Path))
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Change a key of the job; may be repeated."
)
COUNT = click.IntRange(min=1)
OUTPUT = click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder; default: the job's output.")
STALL = click.option(
    "--stall-timeout", default=600.0, show_default=True, metavar="SECONDS", type=click.FloatRange(min=0),
    help="End the job when a rank makes no progress for so long; 0 is never.",
)  # fmt: skip


RESUME = click.option("--resume", is_flag=True, help="Go on from what earlier attempts have finished, at any number of ranks.")
SAME_DATA = click.option(
    "--same-data", is_flag=True, help="Go on although files changed since they were evaluated: they hold the same."
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Exact distributed evaluation of TensorFlow models.

    Every rank runs the same command; alone it is one rank. Start several with horovodrun, mpirun or srun, or let
    `harness launch` do it.
    """


@cli.command()
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


@cli.command()
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


@cli.command()
@JOB
@SET
def check(job: Path, overrides: Sequence[str]) -> int:
    """Validate job, data and model before any rank is started, and say what was found."""
    from harness.job.job import Job
    from harness.run.check import check as run_check

    return run_check(Job.load(job, overrides))


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def show(run: Path) -> int:
    """Show the result of a run as a table."""
    from harness.folder.run_folder import RunFolder
    from harness.results.terminal import show as show_run

    show_run(RunFolder(run))
    return 0


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def verify(run: Path) -> int:
    """Check the certificate of a run again, from its files alone."""
    from harness.folder.run_folder import RunFolder
    from harness.run.verify import verify as run_verify

    lines, good = run_verify(RunFolder(run))
    click.echo("\n".join(lines))
    return 0 if good else 1


@cli.command()
@click.argument("name", required=False)
def metrics(name: str | None) -> int:
    """List the metrics there are, or one with its options."""
    from harness.metrics.describe import describe, overview

    click.echo(describe(name) if name else overview())
    return 0


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
def index(files: Sequence[str]) -> int:
    """Write the record index of TFRecord files beside them."""
    from harness.data import expand
    from harness.data.tfrecord_index import index_path, write_index

    for path in expand(files, files):
        click.echo(f"{index_path(path)}: {write_index(path):,} records")
    return 0


@cli.command()
def doctor() -> int:
    """Say what is installed, what Horovod was built with, and what would go wrong."""
    from harness_launch.workstation import count_gpus

    from harness.run.doctor import doctor as run_doctor

    return run_doctor(count_gpus())


PODS = (
    ("--image", "IMAGE", str, "Container image; see launch/Dockerfile."),
    ("--workers", "N", COUNT, "Pods that the ranks are spread over; default: one."),
    ("--cpus", "N", COUNT, "CPUs, and so threads, of each rank."),
    ("--gpus", "N", click.IntRange(min=0), "GPUs of each rank."),
    ("--memory", "SIZE", str, "Memory of each pod, as in 8Gi."),
    ("--claim", "NAME", str, "PersistentVolumeClaim that pods see as /work: job, data and runs."),
    ("--namespace", "NAME", str, "Namespace."),
)


ELASTIC = (
    ("--host-discovery-script", "SCRIPT", click.Path(path_type=Path, exists=True),
     "Ranks may come and go, over Gloo; the script prints the hosts there are now, HOST:N a line."),
    ("--min-np", "N", COUNT, "Go on as long as there are so many ranks; default: one."),
    ("--max-np", "N", COUNT, "At most so many ranks."),
    ("--elastic-timeout", "SECONDS", COUNT, "End when there are too few places for so long; default: 120."),
    ("--network-interface", "NAME", str, "Needed where the run begins on a single host."),
)  # fmt: skip


def _pod_options(command: Any) -> Any:
    for flag, metavar, kind, text in reversed(PODS):
        command = click.option(flag, metavar=metavar, type=kind, help=f"Kubernetes: {text}")(command)
    return command


def _elastic_options(command: Any) -> Any:
    for flag, metavar, kind, text in reversed(ELASTIC):
        command = click.option(flag, metavar=metavar, type=kind, help=f"Elastic: {text}")(command)
    return command


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-np",
    "ranks",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Ranks; auto: all that the hosts take, or one per GPU, else one per core up to 8.",
)
@click.option("--gloo", "comm", flag_value="gloo", help="Talk over Gloo.")
@click.option("--mpi", "comm", flag_value="mpi", help="Talk over MPI; the default where Horovod was built with it.")
@click.option("--dry-run", is_flag=True, help="Print the command and leave.")
@click.option(
    "--restarts",
    default=0,
    show_default=True,
    metavar="K",
    type=click.IntRange(min=0),
    help="After a failure start again with --resume, at most so often.",
)
@click.option("-H", "hosts", metavar="HOST:N,...|slurm", help="Hosts and their ranks; slurm: those of the job this runs in.")
@click.option("--hostfile", type=click.Path(path_type=Path), help="A file of hosts: HOST slots=N, a line each.")
@click.option("--kubernetes", is_flag=True, help="Make it an MPIJob for Kubeflow's MPI operator; --dry-run prints that.")
@_pod_options
@_elastic_options
@click.argument("command", nargs=-1, required=True, metavar="-- evaluate JOB.yaml ...")
def launch(
    ranks: str,
    comm: str | None,
    dry_run: bool,
    restarts: int,
    hosts: str | None,
    hostfile: Path | None,
    kubernetes: bool,
    command: Sequence[str],
    **more: Any,
) -> int:
    """Start a command on several ranks of this workstation, or of several hosts: over MPI by mpirun, over Gloo by horovodrun."""
    from harness_launch import hosts as places
    from harness_launch.workstation import launch as run_launch

    from harness.job.job import Job
    from harness.prepare.prepare import make_metrics

    words = list(command[1:] if command[0] == "--" else command)
    starts = {"evaluate": evaluate, "predict": predict}
    if words[0] not in starts:
        raise UsageError(f"launch starts 'evaluate JOB.yaml ...' or 'predict JOB.yaml ...', found '{' '.join(words)}'")
    given = starts[words[0]].make_context(words[0], words[1:]).params
    elastic = _elastic({flag: more.pop(flag[2:].replace("-", "_")) for flag, *_ in ELASTIC})
    asked = {key: value for key, value in more.items() if value is not None}
    if kubernetes:
        return _to_kubernetes(words, given["job"], ranks, restarts, asked, dry_run=dry_run)
    if asked:
        raise UsageError(f"--{min(asked)} goes with --kubernetes")
    job = Job.load(given["job"], given["overrides"], predicts=words[0] == "predict")
    make_metrics(job)  # found wrong before ranks are started
    if hosts and hostfile:
        raise UsageError("-H and --hostfile: say one of them")
    where = places.from_file(hostfile) if hostfile else None
    if hosts:
        where = places.allocated(os.environ) if hosts == "slurm" else places.parse(hosts)
    if elastic and where:
        raise UsageError("--host-discovery-script finds the hosts: leave -H and --hostfile away")
    folder = (given["output"] or job.output_folder).absolute()
    return run_launch(
        words, ranks=ranks, comm=comm, dry_run=dry_run, restarts=restarts, hosts=where, folder=folder, elastic=elastic
    )


def _elastic(asked: dict[str, Any]) -> Any:
    """Return what an elastic run is started with; None where it is none."""
    from harness_launch.workstation import ELASTIC_TIMEOUT_S, Elastic

    script, least, most, timeout_s, interface = asked.values()
    if script is None:
        if given := [flag for flag, value in asked.items() if value is not None]:
            raise UsageError(f"{given[0]}: expected --host-discovery-script with it, found none")
        return None
    return Elastic(script.absolute(), least or 1, most, timeout_s or ELASTIC_TIMEOUT_S, interface)


def _to_kubernetes(words: Sequence[str], job: Path, ranks: str, retries: int, asked: dict[str, Any], *, dry_run: bool) -> int:
    """Make an MPIJob of a command; its paths are those in the pods, so the job cannot be looked at from here."""
    from harness_launch.kubernetes import Pods, manifest, name_of, render, submit

    workers = asked.pop("workers", 1)
    if ranks != "auto" and (not ranks.isdigit() or not int(ranks) or int(ranks) % workers):
        raise UsageError(f"-np {ranks}: expected a number of ranks that {workers} workers can share evenly")
    if "image" not in asked:
        raise UsageError("--kubernetes needs --image: the container image that ranks run in, built from launch/Dockerfile")
    each = 1 if ranks == "auto" else int(ranks) // workers
    pods = Pods(workers=workers, ranks_per_worker=each, retries=retries, **asked)
    text = render(manifest(name_of(job.stem), words, pods))
    if dry_run:
        click.echo(text, nl=False)
        return 0
    return submit(text)


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


def _sbatch_options(command: Any) -> Any:
    for flag, metavar, kind, text in reversed(SBATCH):
        command = click.option(flag, metavar=metavar, type=kind, help=text)(command)
    return command


@cli.command(cls=_PassingOn)
@click.argument("jobs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="JOB... [-- SBATCH OPTIONS]")
@OUTPUT
@SET
@STALL
@click.option("--predict", is_flag=True, help="Write predictions too, like harness predict.")
@_sbatch_options
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
    type=click.FloatRange(min=0, min_open=True),
    help="With --checkpoints: look for new ones so often, until interrupted.",
)
@click.option(
    "--patience",
    "patience_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="With --watch: end when no new one has come for so long.",
)
@click.option("--wait", is_flag=True, help="Follow the job to its end, and end with its exit code.")
@click.option("--dry-run", is_flag=True, help="Print the script, submit nothing.")
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
    **options: Any,
) -> int:
    """Submit a job to Slurm: write its batch script into the run folder, give it to sbatch, print the job's number."""
    from harness_launch.slurm_script import Launcher, Resources
    from harness_launch.submit import Submission, run
    from harness_launch.workstation import built_with

    from harness.folder.run_folder import RunFolder
    from harness.job.job import Job
    from harness.prepare.prepare import make_metrics

    specs = tuple(Job.load(job, overrides, predicts=predict) for job in jobs)
    for spec in specs:
        make_metrics(spec)  # found wrong before anything waits in a queue
    asked = {flag[2:].replace("-", "_") for flag, _, _, _ in SBATCH}
    resources = {name: options.pop(name) for name in asked}
    resources["job_name"] = resources["job_name"] or jobs[0].stem
    words = [word for override in overrides for word in ("--set", override)]
    if ctx.get_parameter_source("stall_timeout") is not click.core.ParameterSource.DEFAULT:
        words += ["--stall-timeout", str(stall_timeout)]
    inside = ["apptainer", "exec", *(["--nv"] if resources["gpus_per_task"] else []), container, "harness"] if container else []
    if launcher == "auto" and not container and not built_with("mpi"):
        launcher = "horovodrun"  # Gloo's ranks meet through it
    asks = Resources(**resources, more=ctx.meta["passed_on"])
    does = "predict" if predict else "evaluate"
    wanted = Submission(jobs, specs, asks, output, tuple(words), does, Launcher(launcher), harness=tuple(inside), **options)
    RunFolder(output or wanted.job_specs[0].output_folder)  # refuses a URL
    return run(wanted)


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the table too: .csv or .parquet; may be repeated.",
)
def collect(runs: Sequence[Path], outputs: Sequence[Path]) -> int:
    """Make one table of many runs, one row a run."""
    from harness.results.collect import check_ending, print_summary, write_summary
    from harness.results.collect import collect as collect_runs
    from harness.results.terminal import console_for

    for path in outputs:
        check_ending(path)
    frame = collect_runs(runs)
    print_summary(frame, console_for(1))
    for path in outputs:
        write_summary(frame, path)
        click.echo(f"table: {path}", err=True)
    return 0


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; end the process with the exit code of the contract."""
    code = 1
    try:
        code = cli.main(args=args, standalone_mode=False) or 0
    except click.exceptions.Exit as exc:
        code = exc.exit_code
    except click.ClickException as exc:
        if _speaks():
            exc.show()
        code = 2
    except (KeyboardInterrupt, click.Abort):
        code = Interrupted.exit_code
        print("harness: interrupted", file=sys.stderr)
    except HarnessError as exc:
        code = exc.exit_code
        if not isinstance(exc, OtherRankFailed) and (_speaks() or code == 1):
            print(f"harness: error: {exc}", file=sys.stderr)
    _tell_launcher(code)
    if code and not _speaks():
        # Launchers end all ranks when the first one leaves: what all find alike is said by rank 0 before that.
        time.sleep(LAST_WORDS_S)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the pipeline may still be reading: leave without waiting for them.
    os._exit(code)


def _speaks() -> bool:
    """Whether this rank prints what all ranks find alike: the first one, and a process that is alone."""
    from harness.ranks.comm import World

    return World.from_environment().rank == 0


def _tell_launcher(code: int) -> None:
    if os.environ.get("HARNESS_STATUS") and _speaks():
        from harness.watch.failure import tell_launcher

        tell_launcher(code)

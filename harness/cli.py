"""The command line: one console script, `harness`. Loads what a command needs when it is called, not before."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import harness
from harness.errors import HarnessError, Interrupted, OtherRankFailed, UsageError, nearest

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
OUTPUT = click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder; default: the job's output.")
STALL = click.option(
    "--stall-timeout", default=600.0, show_default=True, metavar="SECONDS", type=click.FloatRange(min=0),
    help="End the job when a rank makes no progress for so long; 0 is never.",
)  # fmt: skip


RESUME = click.option("--resume", is_flag=True, help="Go on from what earlier attempts have finished, at any number of ranks.")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(harness.__version__, prog_name="harness")
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
@click.option(
    "--predictions", type=click.Path(path_type=Path), metavar="DIR",
    help="Evaluate what harness predict wrote, without the model.",
)  # fmt: skip
def evaluate(
    job: Path, output: Path | None, overrides: Sequence[str], stall_timeout: float, resume: bool, predictions: Path | None
) -> int:
    """Evaluate a job, as one of the ranks that a launcher started, or alone."""
    from harness.comm import World
    from harness.job import Job
    from harness.run import Options, run

    options = Options(output, stall_timeout, resume, predictions=predictions)
    return run(Job.load(job, overrides), options, World.from_environment())


@cli.command()
@JOB
@OUTPUT
@SET
@STALL
@RESUME
def predict(job: Path, output: Path | None, overrides: Sequence[str], stall_timeout: float, resume: bool) -> int:
    """Write predictions as a dataset, and metrics where there are labels; every rank writes its own part of it."""
    from harness.comm import World
    from harness.job import Job
    from harness.run import Options, run

    options = Options(output, stall_timeout, resume, predict=True)
    return run(Job.load(job, overrides, predicts=True), options, World.from_environment())


@cli.command()
@JOB
@SET
def check(job: Path, overrides: Sequence[str]) -> int:
    """Validate job, data and model before any rank is started, and say what was found."""
    from harness.check import check as run_check
    from harness.job import Job

    return run_check(Job.load(job, overrides))


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def show(run: Path) -> int:
    """Show the result of a run as a table."""
    from harness.report import show as show_run
    from harness.runfolder import RunFolder

    show_run(RunFolder(run))
    return 0


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def verify(run: Path) -> int:
    """Check the certificate of a run again, from its files alone."""
    from harness.runfolder import RunFolder
    from harness.verify import verify as run_verify

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
    from harness.data.tfrecord import index_path, write_index

    for path in expand(files, files):
        click.echo(f"{index_path(path)}: {write_index(path):,} records")
    return 0


@cli.command()
def doctor() -> int:
    """Say what is installed, what Horovod was built with, and what would go wrong."""
    from harness.doctor import doctor as run_doctor
    from launch.workstation import count_gpus

    return run_doctor(count_gpus())


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
@click.argument("command", nargs=-1, required=True, metavar="-- evaluate JOB.yaml ...")
def launch(
    ranks: str, comm: str | None, dry_run: bool, restarts: int, hosts: str | None, hostfile: Path | None, command: Sequence[str]
) -> int:
    """Start a command on several ranks of this workstation, or of several hosts, through horovodrun."""
    from harness.job import Job
    from harness.prepare import make_metrics
    from launch import hosts as places
    from launch.workstation import launch as run_launch

    words = list(command[1:] if command[0] == "--" else command)
    starts = {"evaluate": evaluate, "predict": predict}
    if words[0] not in starts:
        raise UsageError(f"launch starts 'evaluate JOB.yaml ...' or 'predict JOB.yaml ...', found '{' '.join(words)}'")
    given = starts[words[0]].make_context(words[0], words[1:]).params
    job = Job.load(given["job"], given["overrides"], predicts=words[0] == "predict")
    make_metrics(job)  # found wrong before ranks are started
    if hosts and hostfile:
        raise UsageError("-H and --hostfile: say one of them")
    where = places.from_file(hostfile) if hostfile else None
    if hosts:
        where = places.allocated(os.environ) if hosts == "slurm" else places.parse(hosts)
    folder = (given["output"] or job.output_folder).absolute()
    return run_launch(words, ranks=ranks, comm=comm, dry_run=dry_run, restarts=restarts, hosts=where, folder=folder)


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
        if not exc.reported and not isinstance(exc, OtherRankFailed) and (_speaks() or code == 1):
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
    from harness.comm import World

    return World.from_environment().rank == 0


def _tell_launcher(code: int) -> None:
    if os.environ.get("HARNESS_STATUS") and _speaks():
        from harness.runfolder import write_status

        write_status(Path(os.environ["HARNESS_STATUS"]), "ended", code)

"""The command that starts ranks: on this workstation, on several hosts, as an MPIJob on Kubernetes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.evaluation import evaluate, predict
from harness.cli.options import COUNT, LOGGING, flags
from harness.cli.parity import job_of, parity
from harness.cli.paths import FilePath
from harness.cli.verbosity import words as verbosity_words
from harness.errors import UsageError, nearest
from harness.names.events import Event
from harness.names.log import JSON, LOG, TEXT
from harness.names.variables import LOG_FORMAT

if TYPE_CHECKING:
    from harness_launch.horovodrun import Elastic
    from harness_launch.hosts import Hosts

__all__ = ["launch"]

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
    ("--host-discovery-script", "SCRIPT", FilePath(path_type=Path, exists=True),
     "Ranks may come and go, over Gloo; the script prints the hosts there are now, HOST:N a line."),
    ("--min-np", "N", COUNT, "Go on as long as there are so many ranks; default: one."),
    ("--max-np", "N", COUNT, "At most so many ranks."),
    ("--elastic-timeout", "SECONDS", COUNT, "End when there are too few places for so long; default: 120."),
    ("--network-interface", "NAME", str, "Needed where the run begins on a single host."),
)  # fmt: skip


STARTED = {"evaluate": evaluate, "predict": predict, "parity": parity}
RUNS = "runs"  # where runs of MODEL DATA lie


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
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
@click.option("--hostfile", type=FilePath(path_type=Path), help="A file of hosts: HOST slots=N, a line each.")
@click.option("--kubernetes", is_flag=True, help="Make it an MPIJob for Kubeflow's MPI operator; --dry-run prints that.")
@LOGGING
@flags(PODS, "Kubernetes: ")
@flags(ELASTIC, "Elastic: ")
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
    **options: Any,
) -> int:
    """Start a command on several ranks of this workstation, or of several hosts: over MPI by mpirun, over Gloo by horovodrun."""
    from harness_launch.launcher_output import RankKilled
    from harness_launch.workstation import launch as run_launch

    from harness.folder.killed_attempt import KilledAttempt

    words, params = _started(command)
    if restarts and params["overwrite"]:
        raise UsageError("--restarts goes on with a run, --overwrite begins anew: say --overwrite without --restarts")
    elastic = _elastic({flag: options.pop(flag[2:].replace("-", "_")) for flag, *_ in ELASTIC})
    pod_options = {name: value for name, value in options.items() if value is not None}
    if kubernetes:
        return _to_kubernetes(words, params["job"], ranks, restarts, pod_options, dry_run=dry_run)
    if pod_options:
        raise UsageError(f"--{min(pod_options)} goes with --kubernetes")
    listed = _hosts(hosts, hostfile)
    if elastic and listed:
        raise UsageError("--host-discovery-script finds the hosts: leave -H and --hostfile away")
    folder, message = _run_folder(words[0], params)
    if message:
        LOG.say(Event.RUN_FOLDER, message)
        words += ["-o", str(folder)]
    words = _logging_by_variable(words) + verbosity_words()
    folder = folder.absolute()
    places, attempt = elastic or listed, KilledAttempt(folder)
    try:
        return run_launch(words, ranks=ranks, comm=comm, dry_run=dry_run, restarts=restarts, places=places, folder=folder)
    except RankKilled as exc:
        attempt.record(str(exc))
        raise


def _started(command: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return what ranks are to run, and what it says, read as they will read it.

    Raises: UsageError: launch does not start that.
    """
    context = click.get_current_context()
    words = list(command[1:] if command[0] == "--" else command)
    if words and words[0].startswith("-"):
        raise click.NoSuchOption(words[0], ctx=context)
    if not words or words[0] not in STARTED:
        near = nearest(words[0], STARTED).partition("? valid")[0] + "?" if words else ""
        meant = f"; {near}" if near.startswith("did") else "; say evaluate before it" if words and _is_file(words[0]) else ""
        raise UsageError(f"launch starts 'evaluate JOB.yaml ...' or 'predict JOB.yaml ...', found '{shlex.join(words)}'{meant}")
    return words, STARTED[words[0]].make_context(words[0], words[1:], parent=context).params


def _logging_by_variable(words: Sequence[str]) -> list[str]:
    """Take --log out of what ranks run: they inherit the variable, and horovodrun takes the option for one of its own."""
    kept: list[str] = []
    skipped = False
    for word in words:
        if skipped or word == "--log" or word.startswith("--log="):
            os.environ[LOG_FORMAT.name] = JSON if LOG.is_json else TEXT
            skipped = word == "--log"
        else:
            kept.append(word)
    return kept


def _is_file(word: str) -> bool:
    return Path(word).suffix in (".yaml", ".yml") or os.path.exists(word)


def _run_folder(name: str, params: Mapping[str, Any]) -> tuple[Path, str]:
    """Return the folder of the run, and a message where it is not the job's own.

    Of MODEL DATA each rank writes the job for itself, and names the folder by what it finds.

    Raises: JobError, ModelError: the job is wrong, or there is no such file; it is found before ranks are started.
    """
    from harness.data import expand
    from harness.folder.ownership import default_folder
    from harness.job.job import Job
    from harness.models.files import resolve
    from harness.prepare.binding import make_metrics
    from harness.prepare.draft import Wishes
    from harness.prepare.draft_metrics import completed

    if params.get("data"):
        wishes = Wishes.of(params["label"], params["metrics"], params["model_output"])
        completed(wishes.metrics, None, None, None, Path("."))
        resolve(str(params["job"]))
        expand(params["data"], params["data"], folders=True)
        return params["output"] or Path(RUNS), ""
    if name == "parity":
        job = job_of(params["job"], params["overrides"], params)
    else:
        job = Job.load(params["job"], params["overrides"], predicts=name == "predict")
    metrics = make_metrics(job)
    if job.gate is not None:
        from harness.run.job_gate import JobGate

        JobGate.of(job, metrics)
    if params["output"] is not None:
        return params["output"], ""
    return (job.output_folder, "") if params["overwrite"] else default_folder(job, resume=params["resume"])


def _hosts(hosts: str | None, hostfile: Path | None) -> Hosts | None:
    """Return the hosts that were named, and their ranks; None where none were.

    Raises: UsageError: they were named twice, or in a way that is not understood.
    """
    from harness_launch.hosts import allocated, from_file, parse

    if hosts and hostfile:
        raise UsageError("-H and --hostfile: say one of them")
    if hostfile:
        return from_file(hostfile)
    if hosts:
        return allocated(os.environ) if hosts == "slurm" else parse(hosts)
    return None


def _elastic(values: Mapping[str, Any]) -> Elastic | None:
    """Return what an elastic run is started with, from the values of `ELASTIC`; None where it is none."""
    from harness_launch.horovodrun import ELASTIC_TIMEOUT_S, Elastic

    script, least, most, timeout_s, interface = values.values()
    if script is None:
        if flags_without_script := [flag for flag, value in values.items() if value is not None]:
            raise UsageError(f"{flags_without_script[0]}: expected --host-discovery-script with it, found none")
        return None
    return Elastic(script.absolute(), least or 1, most, timeout_s or ELASTIC_TIMEOUT_S, interface)


def _to_kubernetes(
    words: Sequence[str], job: Path, ranks: str, retries: int, pod_options: Mapping[str, Any], *, dry_run: bool
) -> int:
    """Make an MPIJob of a command; its paths are those in the pods, so the job cannot be looked at from here."""
    from harness_launch.kubernetes import Pods, manifest, name_of, render, submit

    workers = pod_options.get("workers", 1)
    if ranks != "auto" and (not ranks.isdigit() or not int(ranks) or int(ranks) % workers):
        raise UsageError(f"-np {ranks}: expected a number of ranks that {workers} workers can share evenly")
    if "image" not in pod_options:
        raise UsageError("--kubernetes needs --image: the container image that ranks run in, built from launch/Dockerfile")
    ranks_per_worker = 1 if ranks == "auto" else int(ranks) // workers
    pods = Pods(**{**pod_options, "workers": workers}, ranks_per_worker=ranks_per_worker, retries=retries)
    text = render(manifest(name_of(job.stem), words, pods))
    if dry_run:
        click.echo(text, nl=False)
        return 0
    return submit(text)

"""The command that looks at runs that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import Seconds

if TYPE_CHECKING:
    from harness_launch.slurm_queue import Queue

    from harness.watch.watching import Shown, Target

__all__ = ["watch"]


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--once", is_flag=True, help="Look once, and leave.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: one a run and look.")
@click.option(
    "--every", "every_s", metavar="SECONDS", type=Seconds(min=0.1),
    help="From one look to the next; default: 1 on a terminal, 10 elsewhere.",
)  # fmt: skip
@click.option("--stack", metavar="RANK", type=click.IntRange(min=0), help="Of one run: print the stacks of a rank, and leave.")
@click.option("--ssh", "host", metavar="HOST", help="Look on another machine: the same command runs there.")
@click.option(
    "--ssh-harness", "remote", metavar="COMMAND", default="harness", show_default=True, help="With --ssh: how it is called there."
)
def watch(
    runs: Sequence[str], once: bool, as_json: bool, every_s: float | None, stack: int | None, host: str | None, remote: str
) -> int:
    """Look at runs that are under way: who is slow or stuck, and why; how fast it goes, and how long it takes.

    RUN is a run folder, or the number of a job of Slurm, as 4711 or 4711_3.
    """
    from harness.errors import UsageError
    from harness.watch.watching import Pace
    from harness.watch.watching import watch as look_again_and_again

    if stack is not None:
        if len(runs) > 1 or as_json:
            raise UsageError("--stack: expected one run, and no --json: the stacks of one rank are printed")
        return _print_stack(runs[0], stack, host, remote)
    if host is not None:
        from harness.watch.remote import SshTarget

        targets: list[Target] = [SshTarget(host, runs, remote)]
    else:
        targets = [_target(name) for name in runs]
    return look_again_and_again(targets, Pace(every_s, once, as_json))


def _target(name: str) -> Target:
    from harness.folder.run_folder import RunFolder
    from harness.watch.watching import FolderTarget

    if _is_job(name):
        from harness_launch.slurm_queue import Queue

        return _JobTarget(name, Queue())
    return FolderTarget(RunFolder(Path(name)), name)


def _is_job(name: str) -> bool:
    job, _, task = name.partition("_")
    return job.isdigit() and (not task or task.isdigit()) and not Path(name).exists()


@dataclass(frozen=True)
class _JobTarget:
    """A job of Slurm, or the tasks of an array, and their runs."""

    name: str
    queue: Queue

    def look(self) -> Sequence[Shown]:
        from harness_launch.slurm_queue import folders

        from harness.errors import RunFolderError
        from harness.folder.run_folder import RunFolder
        from harness.watch.run_view import look
        from harness.watch.watching import ShownRun

        shown: list[Shown] = []
        for job, path in folders(self.queue.jobs_of_late(self.name)):
            shown.append(job)
            if path is None or job.state == "PENDING":
                continue
            folder = RunFolder(path)
            try:
                shown.append(ShownRun(look(folder, str(path)), folder))
            except RunFolderError:
                continue  # not begun yet
        return shown


def _print_stack(name: str, rank: int, host: str | None, remote: str) -> int:
    from harness.errors import UsageError
    from harness.folder.run_folder import RunFolder
    from harness.watch.run_view import look
    from harness.watch.stack_dump import ask_for_stack

    if host is not None:
        from harness.watch.remote import print_remote_stack

        return print_remote_stack(host, remote, name, rank)
    path = Path(name)
    if _is_job(name):
        from harness_launch.slurm_queue import Queue, folders

        paths = [path for _, path in folders(Queue().jobs(name)) if path is not None]
        if len(paths) != 1:
            raise UsageError(f"--stack: expected the job of one run, found {len(paths)} run folders; name the run folder")
        path = paths[0]
    folder = RunFolder(path)
    view = look(folder, name)
    if view.over or view.snapshot is None:
        raise UsageError(f"{name}: expected a run that evaluates, found one that is {view.state}: there is nobody to ask")
    if rank >= len(view.ranks):
        raise UsageError(f"--stack: expected a rank from 0 to {len(view.ranks) - 1}, found {rank}")
    click.echo(ask_for_stack(folder, rank, view.snapshot.period_s), nl=False)
    return 0

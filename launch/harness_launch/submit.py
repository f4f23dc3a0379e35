"""What `harness submit` does: from its options to scripts, submitted or printed; alone, as an array, or watching a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import JobError, UsageError
from harness.job.job import Job
from harness_launch.checkpoints import named, watch
from harness_launch.slurm import Follow, Slurm, State, exit_code, follow, submit
from harness_launch.slurm_script import Launcher, Resources, Script, Task, collect_script, script

__all__ = ["Submission", "run"]

COLLECT, NEXT = "slurm-collect.sbatch", "slurm-next"
SUMMARY = ("summary.csv", "summary.parquet")
FIRST_PASS = "first_pass.csv"


@dataclass(frozen=True)
class Submission:
    """The options.

    Attributes:
      jobs: job files; several make an array.
      job_specs: the same, loaded and found to be right.
      resources: what is asked of Slurm.
      output: the run folder; of an array the folder of its runs.
      words: options of harness evaluate, as they stand.
      command: evaluate or predict.
      launcher, modules, max_requeues: see Script; without modules those that the environment was built with.
      harness: the command; empty is that of the environment that this process runs in.
      array: whether each job, or each checkpoint, is a task of an array.
      checkpoints: a glob of models, each of which takes the place of the job's.
      at_once: how many tasks of an array may run at a time.
      watch_s: how often to look for new checkpoints.
      patience_s: how long to look without finding one.
      wait: follow what was submitted to its end.
      dry_run: print, submit nothing.
    """

    jobs: tuple[Path, ...]
    job_specs: tuple[Job, ...]
    resources: Resources
    output: Path | None = None
    words: tuple[str, ...] = ()
    command: str = "evaluate"
    launcher: Launcher = Launcher.AUTO
    modules: tuple[str, ...] = ()
    harness: tuple[str, ...] = ()
    max_requeues: int = 10
    array: bool = False
    checkpoints: str | None = None
    at_once: int | None = None
    watch_s: float | None = None
    patience_s: float | None = None
    wait: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.array and (len(self.jobs) > 1 or self.checkpoints):
            raise UsageError("several jobs, or checkpoints, make a job array: say --array")
        if self.watch_s is not None and not self.checkpoints:
            raise UsageError("--watch looks for new checkpoints: say which with --checkpoints 'GLOB'")
        if self.checkpoints and any(job.model is None for job in self.job_specs):
            raise JobError("--checkpoints takes the place of a job's model: expected a job with one model, found several")

    @property
    def folder(self) -> Path:
        """Where the script and the log go: the run folder, or the folder of an array's runs."""
        own = (self.output or self.job_specs[0].output_folder).absolute()
        return own if self.output or not self.array else own.parent / f"{own.name}-sweep"

    def script(self, tasks: Sequence[Task]) -> Script:
        """Return what the batch script says."""
        home = Path(sys.executable).parent
        last = f"0-{len(tasks) - 1}" + (f"%{self.at_once}" if self.at_once else "")
        return Script(
            tasks=tuple(tasks),
            resources=self.resources,
            log=_pattern(self.folder, "slurm-%A_%a.log" if self.array else "slurm-%j.log"),
            harness=self.harness or (str(home / "harness"),),
            path=() if self.harness else (str(home),),
            array=last if self.array else None,
            launcher=self.launcher,
            modules=self.modules or (() if self.harness else _modules(Path(sys.prefix))),
            max_requeues=self.max_requeues,
        )

    def tasks(self) -> list[Task]:
        """Return what is to be run: the job, each job, or each job with each checkpoint that there is now."""
        if not self.array:
            return [self._task(self.jobs[0], self.folder)]
        if not self.checkpoints:
            names = [path.stem for path in self.jobs]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise UsageError(f"several jobs are named {', '.join(twice)}: their runs would share a folder; rename one")
            return [self._task(path, self.folder / path.stem) for path in self.jobs]
        return [task for tasks in self.checkpoint_tasks().values() for task in tasks]

    def checkpoint_tasks(self) -> dict[Path, list[Task]]:
        """Return the tasks of every checkpoint that there is now: one for each job."""
        assert self.checkpoints
        several = len(self.jobs) > 1
        return {
            path: [self._task(job, self.folder / (f"{job.stem}-{name}" if several else name), path) for job in self.jobs]
            for path, name in named(self.checkpoints).items()
        }

    def _task(self, job: Path, folder: Path, model: Path | None = None) -> Task:
        # A value of --set is YAML: a path may look like anything but a string.
        place = ("--set", f"model.path={json.dumps(str(model))}") if model else ()
        return Task(str(folder), (self.command, str(job.absolute()), "-o", str(folder), *self.words, *place))


def run(wanted: Submission, slurm: Slurm | None = None) -> int:
    """Submit, or print; return the exit code: of what was submitted where it is waited for."""
    if wanted.dry_run:
        tasks = wanted.tasks()
        print(script(wanted.script(tasks)), end="")
        if wanted.array:
            print(_collect(wanted, tasks), end="")
        return 0
    slurm = slurm or Slurm()
    if wanted.array:
        return _run_array(wanted, slurm)
    (task,) = wanted.tasks()
    (wanted.folder / NEXT).unlink(missing_ok=True)
    job = submit(script(wanted.script([task])), wanted.folder, slurm)
    print(job, flush=True)
    _say(f"job {job} is submitted; its output: {wanted.folder / f'slurm-{job}.log'}")
    if not wanted.wait:
        return 0
    how = Follow(slurm, lambda job: wanted.folder / f"slurm-{job}.log", wanted.folder / NEXT)
    return exit_code(_followed([job], [how]))


def _run_array(wanted: Submission, slurm: Slurm) -> int:
    """Submit an array, or one after the other as checkpoints come, each with a job after it that makes the table."""
    begun: list[Task] = []
    arrays: list[str] = []
    tables: list[str] = []

    def start(tasks: Sequence[Task]) -> None:
        begun.extend(tasks)
        for task in tasks:
            (Path(task.run) / NEXT).unlink(missing_ok=True)
        job = submit(script(wanted.script(tasks)), wanted.folder, slurm)
        arrays.append(job)
        print(job, flush=True)
        tables.append(submit(_collect(wanted, begun), wanted.folder, slurm, f"--dependency=afterany:{job}", name=COLLECT))
        _say(f"array {job} of {len(tasks)} runs is submitted, job {tables[-1]} makes {wanted.folder / SUMMARY[0]} after it")

    if wanted.watch_s is None:
        tasks = wanted.tasks()
        if not tasks:
            raise UsageError(f"--checkpoints {wanted.checkpoints}: finds nothing")
        start(tasks)
    else:
        _say(f"looking for {wanted.checkpoints} every {wanted.watch_s:g} s")
        latest: dict[Path, list[Task]] = {}

        def look() -> list[Path]:
            latest.update(wanted.checkpoint_tasks())
            # Of what is done already there is nothing to do.
            return [path for path, tasks in latest.items() if not all((Path(t.run) / "metrics.json").exists() for t in tasks)]

        watch(
            look,
            lambda paths: start([task for path in paths for task in latest[path]]),
            every_s=wanted.watch_s,
            patience_s=wanted.patience_s,
        )
    if not wanted.wait or not arrays:
        return 0
    states = _followed(arrays, [Follow(slurm)] * len(arrays))
    for task in begun:  # where a site lets no job be requeued, a job of its own goes on
        after = Path(task.run) / NEXT
        if after.exists():
            states += _followed([after.read_text().strip()], [Follow(slurm, following=after)])
    states += _followed(tables[-1:], [Follow(slurm, lambda job: wanted.folder / f"slurm-collect-{job}.log")])
    return exit_code(states)


def _modules(environment: Path) -> tuple[str, ...]:
    """Return the modules that launch/install built an environment with."""
    try:
        return tuple((environment / "modules").read_text().split())
    except OSError:
        return ()


def _followed(jobs: Sequence[str], how: Sequence[Follow]) -> list[State]:
    try:
        return [state for job, options in zip(jobs, how, strict=True) for state in follow(job, options)]
    except KeyboardInterrupt:
        _say(f"not followed any longer; the jobs go on: 'scancel {' '.join(jobs)}' ends them")
        raise


def _collect(wanted: Submission, tasks: Sequence[Task]) -> str:
    content = replace(wanted.script(tasks), log=_pattern(wanted.folder, "slurm-collect-%j.log"))
    has_gates = all(spec.gate is not None for spec in wanted.job_specs)
    first_pass = str(wanted.folder / FIRST_PASS) if has_gates else None
    return collect_script([task.run for task in tasks], [str(wanted.folder / name) for name in SUMMARY], content, first_pass)


def _pattern(folder: Path, name: str) -> str:
    """Return where output goes, as sbatch takes it: % stands for a replacement, a backslash would switch them off.

    Raises: UsageError: the folder's name cannot be told to sbatch.
    """
    if "\\" in str(folder):
        raise UsageError(f"{folder}: a path with a backslash cannot be told to sbatch; choose another folder with -o")
    return str(folder).replace("%", "%%") + "/" + name


def _say(text: str) -> None:
    print(f"harness: {text}", file=sys.stderr, flush=True)

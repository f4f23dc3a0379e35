"""Run trials: each is the job at one size, in processes of its own, and leaves a folder with its run and its facts.

The command line of a trial is text that is built in one function and run in another. Loads neither TensorFlow nor Horovod.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.bench.bench_folder import OUTPUT, RUN, BenchFolder
from harness.bench.document_shape import check_trial
from harness.bench.facts import Facts, blank_facts, facts_of
from harness.bench.figures import figures
from harness.bench.rules import Rules, Trial
from harness.bench.slurm_jobs import end_left_over
from harness.errors import Interrupted, UsageError
from harness.names.variables import THREADS

__all__ = ["Bench", "end_with_parent", "run_trial", "run_trials", "trial_command"]

NOT_RUN = "not run: an earlier trial of this size failed"
USAGE = f"exit code {UsageError.exit_code}: "
ALONE = ("export=[]", "gate=null", "monitor=null")  # trials are no results to hand on, and part of the data passes no gate
ENDING_S = 30.0
PR_SET_PDEATHSIG = 1
HARNESS = (sys.executable, "-m", "harness")


@dataclass(frozen=True)
class Bench:
    """What a bench is of.

    Attributes:
      job: its file.
      rules: how it is done.
      examples: so many at most; None is all that the job has.
      folder: where it is kept.
    """

    job: Path
    rules: Rules
    folder: BenchFolder
    examples: int | None = None


def trial_command(bench: Bench, trial: Trial, folder: Path) -> list[str]:
    """Return the command line of a trial, without the interpreter and `-m harness`.

    Args:
      folder: of the run.

    >>> bench = Bench(Path("job.yaml"), Rules((1, 2), comm="gloo"), BenchFolder(Path("b")))
    >>> from harness.bench.rules import trials
    >>> " ".join(trial_command(bench, trials(bench.rules)[1], Path("/b/run")))
    'launch -np 2 --gloo -- evaluate job.yaml --set export=[] --set gate=null --set monitor=null -o /b/run --limits -q'
    """
    rules = bench.rules
    overrides = [*rules.overrides, *trial.overrides(bench.examples, rules.ranks[-1]), *ALONE]
    words = [str(bench.job), *(word for override in overrides for word in ("--set", override)), "-o", str(folder), "--limits"]
    if rules.slurm:
        resources = ["--ntasks", str(trial.ranks), "--partition", rules.slurm]
        resources += ["--gpus-per-task", str(rules.gpus_per_rank)] if rules.gpus_per_rank else []
        resources += ["--cpus-per-task", str(trial.threads)] if trial.threads else []
        resources += ["--launcher", "horovodrun"] if rules.comm == "gloo" else []
        return ["submit", *words, *resources, "--job-name", f"bench-{trial.name}", "--max-requeues", "0", "--wait"]
    places = ["-H", rules.hosts] if rules.hosts else []
    return [
        "launch",
        "-np",
        str(trial.ranks),
        *([f"--{rules.comm}"] if rules.comm else []),
        *places,
        "--",
        "evaluate",
        *words,
        "-q",
    ]


def trial_environment(bench: Bench, trial: Trial, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a trial: the threads of a rank, and no GPU where the rules say none."""
    environ = dict(base)
    if trial.threads:
        environ[THREADS.name] = environ["OMP_NUM_THREADS"] = str(trial.threads)
    if bench.rules.gpus_per_rank == 0:
        environ["CUDA_VISIBLE_DEVICES"] = ""
    return environ


def run_trials(
    bench: Bench,
    order: Sequence[Trial],
    say: Callable[[str], None] = lambda _: None,
    *,
    has_time: Callable[[Sequence[Facts], Trial], bool] = lambda facts, trial: True,
) -> list[Facts]:
    """Run the trials that are not done yet, one after the other; return the facts of all.

    A size that fails is not run again in this bench: its later trials say so. What is done is kept.

    Args:
      order: of the trials.
      say: is told what is done.
      has_time: asked before each trial, with the facts of those before it; no leaves this one and all after it out.
    Raises: Interrupted: somebody asked to stop; what is over is kept. UsageError: the first trial finds the job wrong.
    """
    facts: list[Facts] = []
    failed: set[tuple[Any, ...]] = set()
    for number, trial in enumerate(order, start=1):
        kept = _kept(bench.folder, trial)
        if kept is not None and kept.is_done:
            facts.append(kept)
            continue
        if trial.size in failed:
            facts.append(blank_facts(trial, NOT_RUN))
            continue
        if not has_time(facts, trial):
            break
        fact = run_trial(bench, trial)
        facts.append(fact)
        place = f"trial {number} of {len(order)}, {described(trial)}"
        if fact.is_done:
            say(f"{place}: {figures(fact, queued=bench.rules.slurm is not None).solution_s:.1f} s to solution")
        else:
            failed.add(trial.size)
            say(f"{place}: FAILED: {fact.reason}")
            if len(facts) == 1 and fact.reason.startswith(USAGE):
                raise UsageError(f"the first trial is refused: {fact.reason}. Mend that, then go on with --resume")
    return facts


def _kept(folder: BenchFolder, trial: Trial) -> Facts | None:
    """Read what a trial came to; None where it is not over, or where what lies there is torn or of another trial."""
    account = folder.account(trial.name)
    try:
        if account is None:
            return None
        check_trial(account)
    except ValueError:
        return None
    facts = Facts.from_json(account)
    own = (trial.name, trial.ranks, str(trial.scaling), trial.repeat, dict(trial.setting))
    return facts if (facts.name, facts.ranks, facts.scaling, facts.repeat, dict(facts.setting)) == own else None


def described(trial: Trial) -> str:
    """Say what a trial is.

    >>> described(Trial((("schedule", "static"),), 0, "strong", 4, 0))
    '4 ranks, schedule=static, warm-up'
    """
    parts = [f"{trial.ranks} rank{'s' if trial.ranks > 1 else ''}", *(f"{key}={value}" for key, value in trial.setting)]
    parts += ["weak scaling"] if trial.scaling == "weak" else []
    return ", ".join([*parts, "warm-up" if trial.is_warm_up else f"repeat {trial.repeat}"])


def run_trial(bench: Bench, trial: Trial) -> Facts:
    """Run one trial, and keep it.

    Raises: Interrupted: somebody asked to stop; nothing of this trial is kept.
    """
    if bench.rules.slurm:
        end_left_over(bench.folder.hidden(trial.name) / OUTPUT)  # of a bench that was killed
    hidden = bench.folder.begin(trial.name)
    begun, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    # Absolute, for Slurm; its script and log lie there too.
    run = hidden.absolute() / RUN
    argv = [*HARNESS, *trial_command(bench, trial, run)]
    try:
        code = _run(argv, trial_environment(bench, trial, os.environ), hidden / OUTPUT)
    except Interrupted:
        if bench.rules.slurm:
            end_left_over(hidden / OUTPUT)
        raise
    wall_s = round(time.monotonic() - start, 6)
    reason = "" if code == 0 else f"exit code {code}: {bench.folder.last_words(hidden)}"
    facts = facts_of(run, blank_facts(trial, reason, begun=begun, wall_s=wall_s))
    bench.folder.finish(trial.name, facts.to_json())
    return facts


def _run(argv: Sequence[str], environ: Mapping[str, str], output: Path) -> int:
    """Run a command; end it when this process is asked to end, or ends.

    Raises: Interrupted: this process was asked to.
    """
    asked: list[int] = []
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            output.open("wb") as stream,
            subprocess.Popen(
                argv,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that a Ctrl-C reaches it once, through us
                preexec_fn=end_with_parent,
            ) as process,
        ):
            while process.poll() is None:
                if asked:
                    process.terminate()
                    _wait(process)
                    break
                _wait(process, 0.1)
            code = process.returncode
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise Interrupted("asked to stop; the trials that are over are kept: --resume goes on with the others")
    return code


def _wait(process: subprocess.Popen[bytes], seconds: float = ENDING_S) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        if seconds >= ENDING_S:
            process.kill()
            process.wait()


def end_with_parent() -> None:
    """Have Linux end the trial when the bench is killed: ranks that go on would disturb the bench that is resumed."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return

"""A bench from the job to its documents: look at what is asked, choose, run the trials, answer, write. Loads no TensorFlow."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.bench.answer import Answer, answer
from harness.bench.bench_folder import BenchFolder
from harness.bench.best_job import best_job
from harness.bench.budget import Chosen, Pilot, Timed, choose, has_time, spent_sentence
from harness.bench.documents import to_csv, to_json, to_markdown
from harness.bench.facts import Facts
from harness.bench.figures import figures
from harness.bench.machine_description import describe
from harness.bench.page import check_page, render
from harness.bench.rules import Rules, Scaling, Setting, Trial, differing, settings, trials
from harness.bench.tables import result_text
from harness.bench.trials import Bench, run_trial, run_trials
from harness.errors import HarnessError, RunFolderError, UsageError
from harness.folder.run_folder import write_atomically
from harness.job.job import Job
from harness.names.urls import shown
from harness.prepare.binding import make_metrics

__all__ = ["Request", "run", "write"]

LOCK, PILOT = ".lock", "pilot"
OF_PILOT = (LOCK, PILOT)  # what a bench leaves that has not begun
PILOT_EXAMPLES = 2000
PILOT_S = 3.0  # of evaluating, from which on a pilot tells the rate
FEWEST_PILOTS = 3
GPU_DEVICES = "nvidia[0-9]*"


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
      job: its file.
      rules: as they were asked for.
      folder: of the bench.
      resume: whether it goes on.
      command: that does it again.
    """

    job: Path
    rules: Rules
    folder: BenchFolder
    resume: bool
    command: Sequence[str]


def run(request: Request, say: Callable[[str], None]) -> Answer:
    """Do a bench, and write what it comes to.

    Raises: UsageError: what is asked for is wrong; nothing has been run. Interrupted: asked to stop; what is over is kept.
      HarnessError: the pilot failed.
    """
    job = _look_at(request)
    with _held(request):
        chosen = _begin(request, job, say)
        rules = replace(request.rules, repeat=chosen.repeat)
        bench = Bench(request.job, rules, request.folder, chosen.examples)
        machine = describe(_first_file(job), request.folder.path)
        facts, rules = _within_minutes(bench, chosen, say)
        found = answer(request.job.name, rules, chosen.examples, facts, machine, [shown(word) for word in request.command])
        write(found, request.folder, request.job)
    return found


def write(found: Answer, folder: BenchFolder, job: Path | None = None) -> None:
    """Write the documents of a bench."""
    write_atomically(folder.bench_json, to_json(found))
    write_atomically(folder.bench_md, to_markdown(found))
    write_atomically(folder.bench_csv, to_csv(found))
    write_atomically(folder.report_html, render(found))
    if job is not None and (best := next((swept for swept in found.swept if swept.is_best), None)) is not None:
        changed = result_text(best) if best.same_bits is False else ""
        write_atomically(folder.best_yaml, best_job(job, best.setting, found.rules.overrides, folder.path, changed))


def _look_at(request: Request) -> Job:
    """See that the job, and each setting of it, can be run; return the job.

    Raises: UsageError: it cannot.
    """
    rules = request.rules
    job = Job.load(request.job, rules.overrides)
    make_metrics(job)
    check_page()
    for setting in settings(rules.sweeps):
        trial = Trial(setting, 0, Scaling.STRONG, rules.ranks[-1], 1)
        make_metrics(Job.load(request.job, [*rules.overrides, *trial.overrides(None, 1)]))
    if rules.gpus_per_rank and rules.gpus_per_rank > 1:
        raise UsageError(f"--gpus-per-rank {rules.gpus_per_rank}: a rank computes on one GPU; say 1, and more ranks")
    if rules.gpus_per_rank and not rules.slurm and not rules.hosts:
        here = len(list(Path("/dev").glob(GPU_DEVICES)))
        if here < rules.ranks[-1] * rules.gpus_per_rank:
            raise UsageError(
                f"--gpus-per-rank {rules.gpus_per_rank}: {rules.ranks[-1]} ranks need as many GPUs, this machine has {here}"
            )
    return job


@contextlib.contextmanager
def _held(request: Request) -> Iterator[None]:
    """Hold the folder of a bench: two benches would time each other.

    Raises: UsageError: another process holds it, or it is another bench's, or holds something else.
    """
    path, kept = request.folder.path, request.folder.rules()
    if kept is None and path.exists() and (not path.is_dir() or any(entry.name not in OF_PILOT for entry in path.iterdir())):
        raise UsageError(f"{path}: expected a folder of a bench, or none, found something else; choose another with -o")
    if kept is None and request.resume:
        raise UsageError(f"{path}: there is no bench to go on with; leave --resume away, or say where it is with -o")
    if kept is not None and not request.resume:
        raise UsageError(f"{path}: there is a bench; --resume goes on with it, or choose another folder with -o")
    if kept is not None:
        before = Rules.from_json(kept.get("asked") or {})
        if differences := differing(before, request.rules):
            raise UsageError(f"{path}: the bench there has other rules: {'; '.join(differences)}; ask for the same, or choose -o")
        if kept.get("job") != str(request.job.absolute()):
            raise UsageError(f"{path}: the bench there is of {kept.get('job')}, not of {request.job.absolute()}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as exc:
        raise RunFolderError(f"{path}: cannot be written: {exc.strerror}; choose another folder with -o") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise UsageError(f"{path}: another process is at work on this bench; wait for it, or choose another folder") from exc
    try:
        yield
    finally:
        os.close(lock)


def _within_minutes(bench: Bench, chosen: Chosen, say: Callable[[str], None]) -> tuple[list[Facts], Rules]:
    """Run the trials; where the minutes are over before the last repeat, the rules are those of the repeats that were done."""
    minutes, rules = bench.rules.minutes, bench.rules
    if minutes is None:
        return run_trials(bench, trials(rules), say), rules

    def has_time_for(facts: Sequence[Facts], trial: Trial) -> bool:
        return has_time(minutes, chosen.pilot_s, _timed(facts), trial.repeat)

    facts = run_trials(bench, trials(rules), say, has_time=has_time_for)
    if len(facts) < len(trials(rules)):
        rules = replace(rules, repeat=facts[-1].repeat)
        say(f"{minutes:g} minutes allow {rules.repeat} of {bench.rules.repeat} repeats")
        bench.folder.keep_chosen(vars(replace(chosen, repeat=rules.repeat)))
    say(spent_sentence(minutes, chosen.pilot_s, _timed(facts)))
    return facts, rules


def _timed(facts: Sequence[Facts]) -> list[Timed]:
    return [Timed(fact.repeat, fact.wall_s) for fact in facts]


def _begin(request: Request, job: Job, say: Callable[[str], None]) -> Chosen:
    """Choose how many examples and repeats there are, or read what was chosen when the bench began."""
    if (kept := request.folder.rules()) is not None:
        if kept.get("keys", _keys(job)) != _keys(job):
            raise UsageError(f"{request.job}: edited since the bench there began; choose another folder with -o")
        try:
            return Chosen(**kept["chosen"])
        except (KeyError, TypeError) as exc:
            raise RunFolderError(
                f"{request.folder.rules_json}: not as harness bench writes it: {exc!r}; begin anew with -o"
            ) from exc
    chosen = _choose(request, job, say)
    document: dict[str, Any] = {"job": str(request.job.absolute()), "keys": _keys(job)}
    document |= {"asked": request.rules.to_json(), "chosen": vars(chosen)}
    request.folder.keep_rules(document)
    return chosen


def _keys(job: Job) -> str:
    """Return the SHA-256 of all keys of a job: a bench is of one job."""
    return hashlib.sha256(json.dumps(job.resolved, sort_keys=True).encode()).hexdigest()


def _choose(request: Request, job: Job, say: Callable[[str], None]) -> Chosen:
    """Choose by the minutes; weak scaling has to know how many examples there are.

    Raises: HarnessError: the pilot failed. UsageError: the minutes are too few.
    """
    rules = request.rules
    if rules.minutes is None:
        if not rules.weak:
            return Chosen(None, rules.repeat)
        say("pilot: how many examples there are")
        return Chosen(_pilot(request, None)[1], rules.repeat)
    count, begun = PILOT_EXAMPLES, time.monotonic()
    for _ in range(FEWEST_PILOTS):
        say(f"pilot: {count:,} examples")
        pilot, examples = _pilot(request, count)
        if examples < count or examples / pilot.rate >= PILOT_S:
            break
        count = max(2 * count, min(100 * count, round(pilot.rate * PILOT_S * 2)))
    places = None if rules.slurm or rules.hosts else len(os.sched_getaffinity(0))
    combined = len(settings(rules.sweeps)) * (2 if rules.weak else 1)
    pilot = replace(pilot, spent_s=round(time.monotonic() - begun, 6))
    chosen = choose(
        pilot, rules.minutes, rules.ranks, repeat=rules.repeat, warm_ups=rules.warm_ups, settings=combined, places=places
    )
    most = min(chosen.examples or examples, job.data.limit or chosen.examples or examples)
    if examples < count:
        most = min(most, examples)
    elif most > count:  # a limit above what there is would be in the digest of the job: other bytes for the same examples
        say(f"pilot: whether there are {most:,} examples")
        most = _pilot(request, most)[1]
    say(f"chosen for {rules.minutes:g} minutes: {most:,} examples at most, {chosen.repeat} repeats")
    return replace(chosen, examples=most, pilot_s=round(time.monotonic() - begun, 6))


def _pilot(request: Request, examples: int | None) -> tuple[Pilot, int]:
    """Run the job once at the smallest size; return what it took, and how many examples it had."""
    rules = request.rules
    setting: Setting = settings(rules.sweeps)[0]
    bench = Bench(request.job, rules, BenchFolder(request.folder.path / PILOT), examples)
    facts = run_trial(bench, Trial(setting, 0, Scaling.STRONG, rules.ranks[0], 0))
    if not facts.is_done:
        raise HarnessError(f"the pilot failed: {facts.reason}")
    found = figures(facts, queued=rules.slurm is not None)
    rate = found.rate or float(facts.attempt.get("examples_per_s") or 1.0)
    limits_s = float(facts.limits.get("elapsed_s") or 0.0)
    return Pilot(max(0.0, found.solution_s - facts.examples / rate), limits_s, rate), facts.examples


def _first_file(job: Job) -> str | None:
    return job.resolve(job.data.files[0]) if job.data.files else None

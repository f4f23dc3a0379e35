"""One run, from job to results, as every rank goes through it: puts the parts together. Imported late: loads TensorFlow.

open -> agree -> build -> evaluate -> one sum -> certify -> write
"""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import CommError, DataError, HarnessError, JobError, OtherRankFailed, RunFolderError, WorldChanged
from harness.folder.attempts import Attempt, Lock
from harness.folder.commit import Committer
from harness.folder.journal import Journal, load
from harness.folder.run_folder import RunFolder
from harness.folder.segment import Origin
from harness.job.job import Job
from harness.metrics.contract import Metric
from harness.plan.certificate import Certificate
from harness.plan.plan import Chunk
from harness.predictions import dataset as predictions
from harness.predictions.dataset import Manifest, PartWriter
from harness.prepare.prepare import (
    Opened,
    copy_models,
    make_metrics,
    open_data,
    open_predictions,
    prepare_model,
    wanted_predictions,
    without_labels,
)
from harness.ranks import open_files
from harness.ranks.comm import Comm, World
from harness.ranks.schedule import Assigned, Schedule, assign
from harness.results import files as results
from harness.results.terminal import console_for, show
from harness.run.consensus import check_shared, connect, from_rank_0, together
from harness.run.engine import certify, compute, loop, summary
from harness.run.provenance import Provenance, Reading, meet, summed
from harness.run.record import Record, Timer
from harness.run.run_lock import began, claim, origin
from harness.step import tensorflow as tf_setup
from harness.sums.accumulator import Accumulator
from harness.sums.capacity import allowed_bytes, peak_bytes
from harness.sums.reduction import Reduced, reduce
from harness.sums.sums import Layouts, Sums
from harness.watch.elastic import Stuck, Watch, is_elastic, rounds
from harness.watch.failure import end_all, report_failure
from harness.watch.heartbeat import Beat, Heartbeat
from harness.watch.interrupt import Interrupt
from harness.watch.progress import Progress
from harness.watch.time_split import Watched

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What the command line adds to a job."""

    output: Path | None = None
    stall_timeout_s: float = 600.0
    resume: bool = False
    predict: bool = False  # write predictions
    predictions: Path | None = None  # evaluate those written earlier, instead of a model
    same_data: bool = False  # take the user's word that the data are those of earlier attempts
    again: bool = False  # in a further round of an elastic run


@dataclass
class Context:
    """What one rank holds during a run."""

    job: Job
    metrics: Mapping[str, Metric]
    folder: RunFolder
    comm: Comm
    timer: Timer
    threads: int
    devices: list[str]
    heartbeat: Heartbeat
    progress: Progress
    opened: Opened
    attempt: Attempt
    interrupt: Interrupt
    provenance: Provenance
    before: int = 0  # examples of this rank's part of what earlier attempts have finished
    writer: PartWriter | None = None
    reading: Reading | None = None
    predict: bool = False
    same_data: bool = False
    watch: Watch | None = None  # of an elastic run
    stuck: Stuck | None = None


def run(job: Job, options: Options, world: World) -> int:
    """Evaluate a job as one of the ranks of the world; return the exit code.

    Raises: HarnessError: what went wrong. A failure while ranks work ends all of them at once.
    """
    interrupt = Interrupt()
    interrupt.start()
    lock = Lock(RunFolder((options.output or job.output_folder).absolute()))
    try:
        return _run(job, options, world, interrupt, lock)
    finally:
        interrupt.close()
        lock.give_back()


def _run(job: Job, options: Options, world: World, interrupt: Interrupt, lock: Lock) -> int:
    """Make this process ready, and go through the run: an elastic one in rounds."""
    timer = Timer()
    open_files.keep_some_back()
    metrics = make_metrics(job)
    if options.predict:
        metrics = without_labels(job, metrics)
    elif not metrics:
        raise JobError("metrics: expected at least one metric, found none; harness predict does without")
    folder = RunFolder((options.output or job.output_folder).absolute())
    with timer.phase("import"):
        tf_setup.import_tensorflow()
    threads = tf_setup.threads_per_rank(world)
    devices = tf_setup.set_up(world.local_rank, threads, job.seed, eager=job.eager)
    ready = Ready(job, metrics, options, folder, threads, devices, interrupt, lock)
    if not is_elastic():
        with timer.phase("connect"):
            comm = connect(world)
        return _round(ready, comm, timer)

    def play(comm: Comm, again: bool) -> int:
        nonlocal timer
        timer = Timer() if again else timer
        return _round(replace(ready, options=replace(options, resume=options.resume or again, again=again)), comm, timer)

    return rounds(lambda: connect(world, elastic=True), play, folder, lock.give_back)


@dataclass(frozen=True)
class Ready:
    """What a process needs for a run, before it has met the others."""

    job: Job
    metrics: Mapping[str, Metric]
    options: Options
    folder: RunFolder
    threads: int
    devices: list[str]
    interrupt: Interrupt
    lock: Lock


def _round(ready: Ready, comm: Comm, timer: Timer) -> int:
    """Go through a run with the ranks that are there."""
    job, options, folder, interrupt, lock = ready.job, ready.options, ready.folder, ready.interrupt, ready.lock
    with timer.phase("open"):
        opened, attempt = _open(job, options, folder, comm, lock)
    provenance = meet(comm, opened.source, opened.plan, opened.inventory)
    if attempt is None:
        if not options.same_data:
            provenance.confirm(comm, folder, summed(folder), finished=True)
        if comm.rank == 0:
            with contextlib.suppress(RunFolderError):  # the disk may have been full just after the result was written
                folder.set_status("done", 0)
            show(folder, console_for(comm.size))
            print(
                "this run is done already, nothing was evaluated; "
                "to do it again choose another folder with -o, or remove this one"
            )
        comm.close()
        return 0
    check_shared(folder, comm)
    progress = Progress(opened.plan.examples)
    watch, stuck = (Watch(comm, folder, attempt.number), Stuck(comm, folder)) if is_elastic() else (None, None)
    heartbeat = _heartbeat(folder, comm, options, progress, stuck)
    interrupt.attach(comm, folder, attempt.number, heartbeat, lock.give_back)
    context = Context(
        job, ready.metrics, folder, comm, timer, ready.threads, ready.devices, heartbeat, progress, opened, attempt, interrupt,
        provenance, predict=options.predict, same_data=options.same_data, watch=watch, stuck=stuck,
    )  # fmt: skip
    if watch is not None:
        watch.start()
        comm.on_new_hosts(watch.invite)
    try:
        if not options.same_data:
            provenance.confirm(comm, folder, attempt.kept, finished=False, trusted=options.again, moved=lambda: heartbeat.move())
        _work(context)
    except (OtherRankFailed, WorldChanged):
        raise
    except HarnessError as exc:
        if watch is not None and isinstance(exc, CommError):
            raise
        if isinstance(exc, RunFolderError) and heartbeat.beat.phase == "writing":
            exc.exit_code = HarnessError.exit_code  # a disk that is full by now is no wrong command
        end_all(comm, folder, exc)
        raise
    except Exception as exc:
        traceback.print_exc()
        bug = HarnessError(f"{type(exc).__name__}: {exc}; this is a bug of the harness, the lines above say where")
        end_all(comm, folder, bug)
        raise bug from exc
    finally:
        if watch is not None and stuck is not None:
            watch.close()
            if stuck.counter is not None:
                stuck.counter.close()  # where this round is given up, whoever asks it learns so
        progress.close()
        heartbeat.stop()
    comm.close()
    return 0


def _open(job: Job, options: Options, folder: RunFolder, comm: Comm, lock: Lock) -> tuple[Opened, Attempt | None]:
    """Open the data and claim the run folder on rank 0, tell the others; no attempt where the run is done already."""

    def work() -> tuple[Opened, Attempt | None]:
        if options.predictions:
            opened = open_predictions(job, options.predictions)
        else:
            opened = open_data(job, began(folder) if options.resume else None, comm.size)
        if not options.predict:
            return claim(folder, opened, lock, comm.size, resume=options.resume)
        spec = wanted_predictions(job)
        return claim(
            folder, opened, lock, comm.size, resume=options.resume, marks={"predictions": predictions.digest(spec)},
            clear=lambda done: predictions.clear(folder.predictions, spec.format, keep=done),
        )  # fmt: skip

    return from_rank_0(comm, work)


def _work(context: Context) -> None:
    """Build, evaluate, sum, and on rank 0 write."""
    comm, timer, plan = context.comm, context.timer, context.opened.plan
    left = np.setdiff1d(np.arange(len(plan)), np.array(context.opened.done, np.int64))
    with timer.phase("connect"):
        wanted = Schedule.DYNAMIC if context.watch else Schedule(context.job.schedule) if context.job.schedule else None
        assigned = assign(comm, plan, left, wanted)
    if context.stuck is not None:
        context.stuck.counter = assigned.counter
    if assigned.problem and comm.rank == 0:
        print(f"harness: warning: chunks are shared out before the loop: {assigned.problem}", file=sys.stderr)
    if context.opened.copies:  # what rank 0 found, and so the same on all
        with timer.phase("copy"):
            together(comm, lambda: copy_models(context.opened) if comm.local_rank == 0 else None)
    with timer.phase("build"):
        built = together(comm, lambda: _build(context, assigned))
    step = built.step
    accumulator = Accumulator(step.layouts, step.grid.take if step.grid.active else None)
    certificate = Certificate(plan)
    with timer.phase("resume"):
        whose = origin(context.opened, step)
        earlier = together(comm, lambda: _earlier(context, whose, step.layouts))
        context.before = earlier.examples
        certificate.expect(plan[index] for index in earlier.chunks.tolist())
        accumulator.resume(earlier)
    journal = Journal(
        context.folder.journal, whose, context.attempt.number, comm.rank, lambda: context.attempt.check(context.folder)
    )
    if comm.rank == 0:
        context.provenance.record(context.folder, context.reading)

    def commit(sums: Sums) -> None:
        context.provenance.check(sums.chunks.tolist())  # what changed since is read of other data
        journal.write(sums)

    committer = Committer(accumulator, certificate.matches, commit)
    context.interrupt.guard(committer)
    watched = Watched(step)
    if assigned.counter is None or not assigned.counter.needs_progress:
        comm.rest()
    with timer.phase("evaluate"):
        try:
            _evaluate(context, built, watched, assigned, accumulator, committer)
        finally:
            assigned.share.close()
    with timer.phase("certify"):
        certificate.expect(assigned.share.chunks)
    context.heartbeat.move("waiting", "")
    with timer.phase("wait"):
        comm.wake()
        comm.barrier()  # apart from the sum, so that run.json tells waiting from reducing
        if assigned.counter is not None:
            assigned.counter.close()
    record = Record(
        context.job, context.opened, context.attempt, comm, timer, context.threads, context.devices, assigned, context.same_data
    )
    account = record.account(built, accumulator, committer, journal)
    with timer.phase("reduce"):
        total = accumulator.total()
        certificate.add(total.lines)
        reduced = reduce(comm, total, step.layouts, built.question, certificate, built.canary)
    written = None
    if context.writer:
        with timer.phase("collect"):
            kind = wanted_predictions(context.job).format
            columns = built.prepared.columns
            written = predictions.collect(comm, context.writer, context.folder.predictions, plan, kind, columns)
    account |= {"peak_bytes": peak_bytes(), "split_s": record.split(watched)}
    ranks = [json.loads(line) for line in comm.gather(json.dumps(account).encode())]
    if comm.rank == 0:
        context.heartbeat.move("writing")
        context.progress.finish(reduced.certificate.examples)
        _write(context, built, reduced, record, ranks, written)
    context.heartbeat.move("done")
    # Nobody leaves before rank 0 has written: a launcher may end the job when the first rank is gone.
    comm.barrier()


def _earlier(context: Context, whose: Origin, layouts: Layouts) -> Sums:
    """Read this rank's share of what earlier attempts have finished, added up."""
    comm = context.comm
    total = Sums.zero(layouts)
    for name in context.attempt.kept[comm.rank :: comm.size]:
        (sums,) = load(context.folder.journal, [name], whose)
        total.add(sums)
        total.carry(layouts)
        context.heartbeat.move()
    return total


def _build(context: Context, assigned: Assigned) -> Built:
    """Load the model, bind the metrics, compile the step."""
    from harness.step.build import Resources, compile_step

    job, opened, heartbeat = context.job, context.opened, context.heartbeat
    prepared = prepare_model(job, context.metrics, opened, predict=context.predict)
    heartbeat.move()
    share = opened.plan.examples // context.comm.size
    resources = Resources(context.threads, allowed_bytes(context.comm.local_size), share)
    built = compile_step(job, opened, prepared, assigned.share, resources, heartbeat.move)
    if prepared.columns:
        context.writer = PartWriter(context.folder.predictions, wanted_predictions(job).format, prepared.columns)
    context.reading = Reading.of(opened.source, prepared.matched, skip=job.data.on_bad_record == "skip")
    return built


def _evaluate(
    context: Context, built: Built, watched: Watched, assigned: Assigned, accumulator: Accumulator, committer: Committer
) -> None:
    """Run the loop, showing progress and committing what is finished."""
    heartbeat, plan = context.heartbeat, context.opened.plan

    def progress(chunk: Chunk) -> None:
        heartbeat.beat.examples, heartbeat.beat.chunks = context.before + accumulator.examples, accumulator.chunks
        heartbeat.move("evaluating", f"chunk {chunk.index}: {plan.describe(chunk)}")

    def border() -> None:
        committer.border()
        if context.watch is not None and context.watch.leaving:
            committer.finish()
            raise WorldChanged("there are new hosts")

    try:
        step = predictions.Writing(watched, context.writer) if context.writer else watched
        loop(
            built, plan, context.job, assigned.share, accumulator, step=step, progress=progress, border=border,
        )  # fmt: skip
        committer.finish()
    except HarnessError as exc:
        with contextlib.suppress(HarnessError):
            committer.keep(0.0)  # all chunks before the one that failed
        if isinstance(exc, DataError) and built.feed.reading is not None:
            context.provenance.check([built.feed.reading.index])  # says better why a file cannot be read
        raise
    heartbeat.beat.examples, heartbeat.beat.chunks = context.before + accumulator.examples, accumulator.chunks


def _write(
    context: Context, built: Built, reduced: Reduced, record: Record, ranks: list[dict[str, Any]], written: Manifest | None
) -> None:
    """On rank 0: certify, compute the values, write the files, print the table.

    Raises: InvalidRun: what the ranks counted is not what the plan holds; no result is written.
    """
    folder, opened, job = context.folder, context.opened, context.job
    problems = reduced.certificate.problems()
    alike = len(set(reduced.canaries)) == 1
    record.write(folder, ranks, problems, alike=alike)
    certify(problems)
    with context.timer.phase("write"):
        found = compute(built, reduced, context.heartbeat.move)
        if written is not None:
            predictions.commit(folder.predictions, written.certified(opened.digests, reduced.certificate))
        results.write(folder, found, summary(job, opened, reduced.certificate, found))
    ranks[0]["seconds"]["write"] = ranks[0]["split_s"]["writing"] = context.timer.phases["write"]
    try:
        record.write(folder, ranks, problems, alike=alike)  # again: what writing took is known now
        folder.set_status("done", 0)
    except HarnessError as exc:
        print(f"warning: the result is written, but {exc}", file=sys.stderr)  # metrics.json says that the run is done
    show(folder, console_for(context.comm.size))
    if not alike:
        print(
            "warning: the machines gave different bits for one and the same batch; another split of the work over them "
            "may change the last digits",
            file=sys.stderr,
        )


def _heartbeat(folder: RunFolder, comm: Comm, options: Options, progress: Progress, stuck: Stuck | None) -> Heartbeat:
    """Start this rank's heartbeat; on rank 0 it shows the progress of all."""

    def on_stall(_beat: Beat, message: str) -> bool:
        report_failure(comm, folder, f"{message}; the job ends. Look at that machine, or allow more time")
        comm.abort(1)
        return False

    heartbeat = Heartbeat(
        folder,
        comm.rank,
        comm.size,
        stall_timeout_s=options.stall_timeout_s,
        on_stall=stuck or on_stall,
        on_beats=progress.show,
    )
    heartbeat.start()
    return heartbeat

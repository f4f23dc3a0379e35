"""One run, from job to results, as every rank goes through it: puts the parts together. Imported late: loads TensorFlow.

open -> agree -> build -> evaluate -> one sum -> certify -> write
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness import predictions, results, tf_setup
from harness.agree import check_shared, connect, together
from harness.attempts import Attempt, Lock, begin, earlier
from harness.certificate import Certificate
from harness.comm import Comm, World
from harness.commit import Committer, unite_with
from harness.differences import differences
from harness.errors import HarnessError, InvalidRun, JobError, OtherRankFailed, RunFolderError
from harness.evaluate import Evaluation, evaluate
from harness.failure import end_all, report_failure, translate
from harness.heartbeat import Heartbeat
from harness.interrupt import Interrupt
from harness.job import Job
from harness.journal import Journal, United, find, load, plan_digest, unite
from harness.memory import allowed_bytes
from harness.metrics.contract import Binding, Metric, RowMetric
from harness.outcome import Outcome, outcome
from harness.parts import Column
from harness.plan import Chunk
from harness.predictions import Manifest, PartWriter
from harness.prepare import (
    Began,
    Opened,
    class_list,
    columns_of,
    copy_models,
    make_metrics,
    open_data,
    open_predictions,
    prepare_model,
    taker,
    wanted_predictions,
    without_labels,
)  # fmt: skip
from harness.progress import Progress
from harness.reduce import Reduced, reduce
from harness.report import console_for, show
from harness.runfolder import RunFolder, read_json, write_atomically
from harness.schedule import static_share
from harness.segment import Origin, Segment, merge

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What the command line adds to a job."""

    output: Path | None = None
    stall_timeout_s: float = 600.0
    resume: bool = False
    predict: bool = False  # write predictions
    predictions: Path | None = None  # evaluate those written earlier, instead of a model


@dataclass
class Timer:
    """Seconds by phase."""

    begun: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - start, 6)


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
    earlier: Segment | None = None  # this rank's part of what earlier attempts have finished
    predict: bool = False


@dataclass
class Built:
    """The compiled step of a rank, and what it was made of."""

    step: Any
    feed: Any
    bindings: Mapping[str, Binding]
    canary: int
    writer: PartWriter | None = None
    columns: tuple[Column, ...] = ()


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
    timer = Timer()
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
    with timer.phase("connect"):
        comm = connect(world)
    with timer.phase("open"):
        opened, attempt = _open(job, options, folder, comm, lock)
    if attempt is None:
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
    together(comm, lambda: check_shared(folder, comm))
    progress = Progress(opened.plan.examples)
    heartbeat = _heartbeat(folder, comm, options, progress)
    interrupt.attach(comm, folder, attempt.number, heartbeat, lock.give_back)
    context = Context(
        job, metrics, folder, comm, timer, threads, devices, heartbeat, progress, opened, attempt, interrupt,
        predict=options.predict,
    )  # fmt: skip
    try:
        _work(context)
    except OtherRankFailed:
        raise
    except HarnessError as exc:
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
        progress.close()
        heartbeat.stop()
    comm.close()
    return 0


def _open(job: Job, options: Options, folder: RunFolder, comm: Comm, lock: Lock) -> tuple[Opened, Attempt | None]:
    """Open the data and claim the run folder on rank 0, tell the others; no attempt where the run is done already."""

    def work() -> tuple[Opened, Attempt | None] | None:
        if comm.rank:
            return None
        if options.predictions:
            opened = open_predictions(job, options.predictions)
        else:
            opened = open_data(job, _began(folder) if options.resume else None, comm.size)
        marks = {"predictions": predictions.digest(wanted_predictions(job))} if options.predict else {}
        if folder.claim({**opened.digests, **marks}):
            return opened, None
        lock.take()
        united = _unite(opened, folder, options.resume)
        folder.clear()
        done = tuple(united.done.tolist())
        if options.predict:
            predictions.clear(folder.predictions, wanted_predictions(job).format, keep=done)
        attempt = begin(folder, united.kept, len(united.done), comm.size)
        began = {"model": opened.model_path, "models": opened.model_paths, **opened.plan.to_dict()}
        write_atomically(folder.plan_json, json.dumps(began) + "\n")
        folder.set_status("running", None, pid=os.getpid(), ranks=comm.size, attempt=attempt.number)
        return replace(opened, done=done), attempt

    # Ranks of one job trust each other: what travels here never comes from outside.
    found: tuple[Opened, Attempt | None] = pickle.loads(comm.broadcast(pickle.dumps(together(comm, work))))
    return found


def _began(folder: RunFolder) -> Began | None:
    """Return what the run in a folder began with; None where it has left nothing to go on from."""
    raw = read_json(folder.plan_json) if folder.has_segments or folder.metrics_json.exists() else None
    return Began(raw["models"], tuple(file["path"] for file in raw["files"])) if raw else None


def _unite(opened: Opened, folder: RunFolder, resume: bool) -> United:
    """Say what earlier attempts have finished.

    Raises: RunFolderError: there is something, and nobody asked to go on from it; or it was of another plan.
    """
    found, torn = find(folder.journal)
    if found and not resume:
        chunks = len(unite(found, opened.plan).done)
        raise RunFolderError(
            f"{folder.path}: holds a run that is not finished, {chunks} of {len(opened.plan)} chunks; nothing of it is lost: "
            "--resume goes on from there. To begin anew choose another folder with -o, or remove this one"
        )
    for each in found:
        here = replace(each.origin, **opened.digests, plan=plan_digest(opened.plan))
        if other := each.origin.differences(here):
            raise RunFolderError(
                f"{folder.journal / each.name} cannot be resumed: it is of another {' and another '.join(other)}; choose "
                "another folder with -o"
            )
    united = unite(found, opened.plan)
    for warning in [*torn, *united.warnings]:
        print(f"harness: warning: {warning}", file=sys.stderr)
    if resume:
        print(
            f"{len(united.done)} of {len(opened.plan)} chunks are done already, from {len(united.kept)} segments", file=sys.stderr
        )
    return united


def _work(context: Context) -> None:
    """Build, evaluate, sum, and on rank 0 write."""
    comm, timer, plan = context.comm, context.timer, context.opened.plan
    left = np.setdiff1d(np.arange(len(plan)), np.array(context.opened.done, np.int64))
    chunks = static_share(plan, comm.rank, comm.size, left)
    if context.opened.copies:  # what rank 0 found, and so the same on all
        with timer.phase("copy"):
            together(comm, lambda: copy_models(context.opened) if comm.local_rank == 0 else None)
    with timer.phase("build"):
        built = together(comm, lambda: _build(context, chunks))
    # A replicate may leave out the one row that a metric would have kept.
    keep = {} if context.job.bootstrap else {k: m.keep for k, m in context.metrics.items() if isinstance(m, RowMetric)}
    step = built.step
    evaluation = Evaluation.empty(step.layout, Certificate(plan), keep)
    with timer.phase("resume"):
        origin = Origin(
            **context.opened.digests, plan=plan_digest(plan), layout=_layout_digest(step), software=tf_setup.software()
        )
        context.earlier = together(comm, lambda: _earlier(context, origin))
    journal = Journal(
        context.folder.journal, origin, context.attempt.number, comm.rank, lambda: context.attempt.check(context.folder)
    )
    committer = Committer(evaluation, journal.write, step.grid.fetch if step.grid else None)
    context.interrupt.guard(committer)
    with timer.phase("evaluate"):
        _evaluate(context, built, chunks, evaluation, committer)
    with timer.phase("certify"):
        evaluation.certificate.expect(chunks)
    context.heartbeat.move("waiting", "")
    with timer.phase("wait"):
        comm.barrier()  # apart from the sum, so that run.json tells waiting from reducing
    account = _account(context, built, evaluation, committer, journal)
    with timer.phase("reduce"):
        job = context.job
        grid = step.grid.fetch() if step.grid else None
        if context.earlier is not None:
            grid = unite_with(evaluation, grid, context.earlier)
            evaluation.certificate.expect(plan[index] for index in context.earlier.chunks.tolist())
        reduced = reduce(comm, evaluation, built.canary, grid, step.row_layouts, context.metrics, job.slices, job.bootstrap)
    if built.writer:
        with timer.phase("collect"):
            kind = wanted_predictions(context.job).format
            written = predictions.collect(comm, built.writer, context.folder.predictions, plan, kind, built.columns)
    ranks = [json.loads(line) for line in comm.gather(json.dumps(account).encode())]
    if comm.rank == 0:
        context.heartbeat.move("writing")
        context.progress.finish(reduced.certificate.examples)
        _write(context, built, reduced, ranks, written if built.writer else None)
    context.heartbeat.move("done")
    # Nobody leaves before rank 0 has written: a launcher may end the job when the first rank is gone.
    comm.barrier()


def _layout_digest(step: Any) -> str:
    """Return a digest of all columns that are summed."""
    columns = (step.layout, step.grid.layout if step.grid else None, step.row_layouts)
    return hashlib.sha256(repr(columns).encode()).hexdigest()


def _earlier(context: Context, origin: Origin) -> Segment | None:
    """Read this rank's share of what earlier attempts have finished, added up."""
    comm = context.comm
    total: Segment | None = None
    for name in context.attempt.kept[comm.rank :: comm.size]:
        (segment,) = load(context.folder.journal, [name], origin)
        total = segment if total is None else merge([total, segment])
        context.heartbeat.move()
    return total


def _build(context: Context, chunks: list[Chunk]) -> Built:
    """Load the model, bind the metrics, compile the step."""
    from harness.tf_build import compile_step

    job, opened, heartbeat = context.job, context.opened, context.heartbeat
    passed = wanted_predictions(job).features if context.predict else ()
    model, bindings, matched = prepare_model(job, context.metrics, opened, passed)
    heartbeat.move()
    columns = columns_of(job, bindings, model, matched) if context.predict else ()
    made = compile_step(
        job, context.metrics, bindings, opened,
        model=model, matched=matched, chunks=chunks, threads=context.threads, moved=heartbeat.move,
        take=taker(columns) if columns else None,
        allowed=allowed_bytes(context.comm.local_size),
    )  # fmt: skip
    writer = PartWriter(context.folder.predictions, wanted_predictions(job).format, columns) if columns else None
    return Built(made.step, made.feed, bindings, made.canary, writer, columns)


def _evaluate(context: Context, built: Built, chunks: list[Chunk], evaluation: Evaluation, committer: Committer) -> None:
    """Run the loop, showing progress and committing what is finished."""
    heartbeat, plan = context.heartbeat, context.opened.plan
    before = 0 if context.earlier is None else int(context.earlier.lines[:, 1].sum())
    at: Chunk | None = None

    def progress(chunk: Chunk) -> None:
        nonlocal at
        at = chunk
        heartbeat.beat.examples, heartbeat.beat.chunks = before + evaluation.examples, evaluation.chunks
        heartbeat.move("evaluating", f"chunk {chunk.index}: {plan.describe(chunk)}")

    try:
        step = predictions.Writing(built.step, built.writer) if built.writer else built.step
        evaluate(chunks, step, evaluation, progress, committer.border)
        committer.finish()
    except Exception as exc:
        with contextlib.suppress(HarnessError):
            committer.keep(0.0)  # all chunks before the one that failed
        raise translate(exc, built.feed, plan, at, context.job) from exc
    heartbeat.beat.examples, heartbeat.beat.chunks = before + evaluation.examples, evaluation.chunks


def _account(context: Context, built: Built, evaluation: Evaluation, committer: Committer, journal: Journal) -> dict[str, Any]:
    """Say what this rank did, for run.json."""
    return {
        "rank": context.comm.rank, "host": context.comm.host, "pid": os.getpid(), "devices": context.devices,
        "threads": context.threads, "examples": evaluation.examples, "records_read": built.feed.records_read,
        "batches": evaluation.batches, "chunks": evaluation.chunks, "commits": committer.commits,
        "commit_s": round(committer.cost_s, 6), "journal": journal.names, "seconds": context.timer.phases,
    }  # fmt: skip


def _write(
    context: Context, built: Built, reduced: Reduced, ranks: list[dict[str, Any]], written: Manifest | None = None
) -> None:
    """On rank 0: certify, compute the values, write the files, print the table.

    Raises: InvalidRun: what the ranks counted is not what the plan holds; no result is written.
    """
    folder, opened, plan, job, step = context.folder, context.opened, context.opened.plan, context.job, built.step
    certificate = reduced.certificate
    problems = certificate.problems()
    alike = len(set(reduced.canaries)) == 1
    document = {
        "attempts": [
            *(record for number, record in earlier(folder) if number < context.attempt.number),
            _attempt(context, ranks, alike),
        ],
        "journal": sorted([*context.attempt.kept, *(name for rank in ranks for name in rank.pop("journal"))]),
        "environment": tf_setup.environment(),
        "model": _model(context),
        "files": [{"path": f.path, "bytes": f.size_bytes, "examples": f.examples} for f in plan.files],
        "plan": {
            "examples": plan.examples, "chunks": len(plan), "chunk_size": plan.chunk_size, "batch_size": plan.batch_size,
        },
        "certificate": {"valid": not problems, "problems": problems},
    }  # fmt: skip
    write_atomically(folder.run_json, json.dumps(document, indent=1) + "\n")
    if problems:
        raise InvalidRun("\n  ".join(["INVALID, no result was written:", *problems, "the reader or the pipeline is at fault"]))
    found = outcome(
        reduced,
        step.layout,
        step.grid.layout if step.grid else None,
        context.metrics,
        built.bindings,
        class_list(job),
        job.slices,
        job.bootstrap,
        context.heartbeat.move,
    )
    if written is not None:
        predictions.commit(folder.predictions, replace(written, digests=opened.digests))
    results.write(
        folder,
        found,
        {
            "certificate": {
                "examples": plan.examples,
                "chunks": len(plan),
                "id_hash": certificate.id_hash,
                **certificate.left_out,
            },
            "digests": opened.digests,
            **_compared(job, found),
        },
    )
    try:
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


def _compared(job: Job, found: Outcome) -> dict[str, Any]:
    """Return what metrics.json says of several models: the differences from the first."""
    if len(job.models) < 2:
        return {}
    each = differences(found, list(job.models), job.bootstrap.level if job.bootstrap else None)
    document: dict[str, Any] = {}
    for one in each:
        entry = {"value": one.value, **({"interval": results.interval_json(one.interval)} if one.interval else {})}
        document.setdefault(f"{one.model} - {next(iter(job.models))}", {})[one.metric] = entry
    return {"differences": document}


def _model(context: Context) -> dict[str, Any]:
    """Say which model it was and how it was run."""
    job, opened = context.job, context.opened
    found: dict[str, Any] = {"path": opened.model_path, "eager": job.eager, "copied_to_nodes": bool(opened.copies)}
    if not opened.model_paths:
        return found
    options = {
        name: {"path": opened.model_paths[name], "precision": spec.precision, "jit_compile": spec.jit_compile,
               **({"python": spec.python} if spec.python else {"signature": spec.signature})}
        for name, spec in job.named_models.items()
    }  # fmt: skip
    return {**found, **options[""]} if job.model else {**found, "models": options}


def _attempt(context: Context, ranks: list[dict[str, Any]], alike: bool) -> dict[str, Any]:
    examples = sum(rank["examples"] for rank in ranks)
    elapsed_s = time.monotonic() - context.timer.begun
    evaluating_s = max(max(rank["seconds"]["evaluate"] for rank in ranks), 1e-9)
    return {
        "attempt": context.attempt.number, "size": context.comm.size, "chunks_resumed": context.attempt.done,
        "started": datetime.fromtimestamp(time.time() - elapsed_s, UTC).isoformat(timespec="seconds"),
        "command": sys.argv, "comm": context.comm.name, "schedule": "static", "ranks": ranks,
        "elapsed_s": round(elapsed_s, 3), "examples_per_s": round(examples / evaluating_s, 3),
        "canary": "alike" if alike else "differs",
    }  # fmt: skip


def _heartbeat(folder: RunFolder, comm: Comm, options: Options, progress: Progress) -> Heartbeat:
    """Start this rank's heartbeat; on rank 0 it shows the progress of all."""

    def on_stall(message: str) -> None:
        report_failure(comm, folder, message)
        comm.abort(1)

    heartbeat = Heartbeat(
        folder,
        comm.rank,
        comm.size,
        stall_timeout_s=options.stall_timeout_s,
        on_stall=on_stall,
        on_beats=progress.show,
    )
    heartbeat.start()
    return heartbeat

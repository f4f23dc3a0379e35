"""One run, from job to results, as every rank goes through it: puts the parts together. Imported late: loads TensorFlow.

open -> agree -> build -> evaluate -> one sum -> certify -> write
"""

from __future__ import annotations

import contextlib
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

from harness import predictions, results, tf_setup
from harness.agree import check_shared, connect, together
from harness.certificate import Certificate
from harness.comm import Comm, World
from harness.differences import differences
from harness.errors import HarnessError, InvalidRun, JobError, OtherRankFailed
from harness.evaluate import Evaluation, evaluate
from harness.failure import end_all, report_failure, translate
from harness.heartbeat import Heartbeat
from harness.job import Job
from harness.metrics.contract import Binding, Metric, RowMetric
from harness.outcome import Outcome, outcome
from harness.parts import Column
from harness.plan import Chunk
from harness.predictions import Manifest, PartWriter
from harness.prepare import (
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
from harness.runfolder import RunFolder, write_atomically
from harness.schedule import static_share

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What the command line adds to a job."""

    output: Path | None = None
    stall_timeout_s: float = 600.0
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
        opened, done = _open(job, options, folder, comm)
    if done:
        if comm.rank == 0:
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
    context = Context(job, metrics, folder, comm, timer, threads, devices, heartbeat, progress, opened, options.predict)
    try:
        _work(context)
    except OtherRankFailed:
        raise
    except HarnessError as exc:
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


def _open(job: Job, options: Options, folder: RunFolder, comm: Comm) -> tuple[Opened, bool]:
    """Open the data and claim the run folder on rank 0, tell the others; also whether the run is done already."""

    def work() -> tuple[Opened, bool] | None:
        if comm.rank:
            return None
        opened = open_predictions(job, options.predictions) if options.predictions else open_data(job, comm.size)
        marks = {"predictions": predictions.digest(wanted_predictions(job))} if options.predict else {}
        done = folder.claim({**opened.digests, **marks})
        if not done:
            if options.predict:
                predictions.clear(folder.predictions, wanted_predictions(job).format)
            folder.set_status("running", None, pid=os.getpid(), ranks=comm.size)
        return opened, done

    # Ranks of one job trust each other: what travels here never comes from outside.
    found: tuple[Opened, bool] = pickle.loads(comm.broadcast(pickle.dumps(together(comm, work))))
    return found


def _work(context: Context) -> None:
    """Build, evaluate, sum, and on rank 0 write."""
    comm, timer, plan = context.comm, context.timer, context.opened.plan
    chunks = static_share(plan, comm.rank, comm.size)
    if context.opened.copies:  # what rank 0 found, and so the same on all
        with timer.phase("copy"):
            together(comm, lambda: copy_models(context.opened) if comm.local_rank == 0 else None)
    with timer.phase("build"):
        built = together(comm, lambda: _build(context, chunks))
    # A replicate may leave out the one row that a metric would have kept.
    keep = {} if context.job.bootstrap else {k: m.keep for k, m in context.metrics.items() if isinstance(m, RowMetric)}
    evaluation = Evaluation.empty(built.step.layout, Certificate(plan), keep)
    with timer.phase("evaluate"):
        _evaluate(context, built, chunks, evaluation)
    with timer.phase("certify"):
        evaluation.certificate.expect(chunks)
    context.heartbeat.move("waiting", "")
    with timer.phase("wait"):
        comm.barrier()  # apart from the sum, so that run.json tells waiting from reducing
    with timer.phase("reduce"):
        job, step = context.job, built.step
        grid = step.grid.fetch() if step.grid else None
        reduced = reduce(comm, evaluation, built.canary, grid, step.row_layouts, context.metrics, job.slices, job.bootstrap)
    if built.writer:
        with timer.phase("collect"):
            kind = wanted_predictions(context.job).format
            written = predictions.collect(comm, built.writer, context.folder.predictions, plan, kind, built.columns)
    ranks = [json.loads(line) for line in comm.gather(json.dumps(_account(context, built, evaluation)).encode())]
    if comm.rank == 0:
        context.heartbeat.move("writing")
        context.progress.finish(reduced.certificate.examples)
        _write(context, built, reduced, ranks, written if built.writer else None)
    context.heartbeat.move("done")
    # Nobody leaves before rank 0 has written: a launcher may end the job when the first rank is gone.
    comm.barrier()


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
    )  # fmt: skip
    writer = PartWriter(context.folder.predictions, wanted_predictions(job).format, columns) if columns else None
    return Built(made.step, made.feed, bindings, made.canary, writer, columns)


def _evaluate(context: Context, built: Built, chunks: list[Chunk], evaluation: Evaluation) -> None:
    """Run the loop, showing progress."""
    heartbeat, plan = context.heartbeat, context.opened.plan
    at: Chunk | None = None

    def progress(chunk: Chunk) -> None:
        nonlocal at
        at = chunk
        heartbeat.beat.examples, heartbeat.beat.chunks = evaluation.examples, evaluation.chunks
        heartbeat.move("evaluating", f"chunk {chunk.index}: {plan.describe(chunk)}")

    try:
        step = predictions.Writing(built.step, built.writer) if built.writer else built.step
        evaluate(chunks, step, evaluation, progress)
    except Exception as exc:
        raise translate(exc, built.feed, plan, at, context.job) from exc
    heartbeat.beat.examples, heartbeat.beat.chunks = evaluation.examples, evaluation.chunks


def _account(context: Context, built: Built, evaluation: Evaluation) -> dict[str, Any]:
    """Say what this rank did, for run.json."""
    return {
        "rank": context.comm.rank, "host": context.comm.host, "pid": os.getpid(), "devices": context.devices,
        "threads": context.threads, "examples": evaluation.examples, "records_read": built.feed.records_read,
        "batches": evaluation.batches, "chunks": evaluation.chunks, "seconds": context.timer.phases,
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
        "attempts": [_attempt(context, certificate.examples, ranks, alike)],
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
    )
    if written is not None:
        predictions.commit(folder.predictions, replace(written, digests=opened.digests))
    results.write(
        folder,
        found,
        {
            "certificate": {"examples": plan.examples, "chunks": len(plan), "id_hash": certificate.id_hash},
            "digests": opened.digests,
            **_compared(job, found),
        },
    )
    folder.set_status("done", 0)
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


def _attempt(context: Context, examples: int, ranks: list[dict[str, Any]], alike: bool) -> dict[str, Any]:
    elapsed_s = time.monotonic() - context.timer.begun
    evaluating_s = max(max(rank["seconds"]["evaluate"] for rank in ranks), 1e-9)
    return {
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

"""The Python API's evaluator: models that a script or notebook holds, on all ranks of its own Horovod world, or alone.

Behind it is what the command line runs: the same plan, compiled step, sums and certificate, and so the same bits.
A failure on one rank is raised on all of them; nobody's process is ended. Loads TensorFlow when something is evaluated.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from harness.data import memory
from harness.errors import DataError, HarnessError, RunFolderError, UsageError
from harness.folder.attempts import Attempt, Lock
from harness.folder.run_folder import RunFolder
from harness.job.plain_texts import unusable
from harness.prepare.binding import ask, make_metrics
from harness.prepare.opened import Given, Opened, open_data, survey
from harness.prepare.prepare import Prepared, match_model
from harness.prepare.served_versions import with_versions
from harness.ranks.schedule import Assigned, Schedule, static_share
from harness.ranks.share import FixedShare
from harness.report.results import Results
from harness.run.consensus import check_shared, from_rank_0, join
from harness.run.counting import count
from harness.run.door import Home
from harness.run.found_classes import find_classes
from harness.run.job_gate import JobGate, settle
from harness.run.metering import metered
from harness.run.opening import open_on_all
from harness.run.options import Options, job_of
from harness.run.passage import Passage
from harness.run.provenance import meet, summed
from harness.run.python_data import features_of, section_of
from harness.run.python_door import PythonDoor, own_errors
from harness.run.python_models import GivenModels, bound_in_order
from harness.run.record import Process
from harness.run.run_lock import Destination, claim, to_stderr
from harness.run.timer import Timer
from harness.step import tensorflow as tf_setup
from harness.watch.failure import Ended, Told
from harness.watch.notebook_bar import NotebookBar, running_notebook

__all__ = ["Evaluator"]

T = TypeVar("T")

UNLIKE = (
    "the ranks gave different bits for one and the same batch: machines that are not alike, which may change the "
    "last digits, or a function whose ranks hold different weights, which makes the values those of no model"
)


class Evaluator:
    """Evaluates models on the same data again and again: all is built once, weights are those of the moment.

    Args:
      model, data, metrics and options: see `harness.evaluate`.
    Raises: HarnessError: model, data and metrics do not go together.
    """

    def __init__(  # noqa: PLR0913 - help() lists every option
        self,
        model: Any,
        data: Any,
        metrics: str | Sequence[str | Mapping[str, Any]],
        *,
        label: str | None = None,
        weight: str | None = None,
        inputs: Mapping[str, str] | Sequence[str] | None = None,
        slices: Sequence[str | Mapping[str, Any] | Sequence[Any]] | Mapping[str, Any] | None = None,
        bootstrap: Mapping[str, Any] | None = None,
        examples: Mapping[str, Any] | int | None = None,
        classes: Sequence[str] | str | None = None,
        unknown_label: Literal["error", "skip", "null"] | None = "error",
        gate: str | Sequence[Any] | Mapping[str, Any] | None = None,
        batch_size: int = 64,
        chunk_size: int | None = None,
        batched: bool | None = None,
        alone: bool = False,
        folder: str | Path = ".",
        progress: bool = True,
    ) -> None:
        options = Options(
            label=label,
            weight=weight,
            inputs=inputs,
            slices=slices,
            bootstrap=bootstrap,
            examples=examples,
            classes=classes,
            unknown_label=unknown_label,
            gate=gate,
            batch_size=batch_size,
            chunk_size=chunk_size,
            folder=folder,
        )
        tf_setup.import_tensorflow()
        self._comm = join(alone=alone)
        if self._comm.size > 1:
            tf_setup.choose_device(self._comm.local_rank)
        self._bar = NotebookBar(running_notebook() if progress and self._comm.rank == 0 else None)
        self._door = PythonDoor(self._comm, self._bar)
        with own_errors(), tf_setup.op_determinism(True), self._bar.shown("opening model and data"):
            self._ask(model, data, metrics, batched, options)
            self._bar.say("compiling the step")
            self._build()
        self._bar.finish("ready")

    @property
    def rank(self) -> int:
        """The number of this process in its world; 0 alone."""
        return self._comm.rank

    def _ask(self, model: Any, data: Any, metrics: str | Sequence[Any], batched: bool | None, options: Options) -> None:
        """Make a job of what was given, and open what it names."""
        door = self._door
        self._models = door.together(lambda: GivenModels.of(model))
        section, self._source, digest, self._named = door.together(lambda: section_of(data, batched))
        self._job = door.together(lambda: job_of(self._models.keys, section, metrics, options))
        self._metrics = door.together(lambda: make_metrics(self._job))
        self._gate = door.together(lambda: JobGate.of(self._job, self._metrics))
        self._opened = self._open(Given(self._models.described, self._source, digest))

    def _build(self) -> None:
        """Share out the examples, load the models, compile the step."""
        comm, opened = self._comm, self._opened
        self._provenance = meet(comm, opened.source, opened.plan, opened.inventory)
        self._assigned = Assigned(Schedule.STATIC, FixedShare(static_share(opened.plan, comm.rank, comm.size)))
        process = Process(comm, Timer(), tf_setup.threads_per_rank(comm), tf_setup.devices())
        self._passage = find_classes(Passage(process, self._job, opened, self._provenance, self._door), self._metrics)
        self._opened = self._passage.opened
        self._built = self._passage.build(self._assigned, self._prepare)

    def evaluate(self, output: str | Path | None = None, *, resume: bool = False, overwrite: bool = False) -> Results:
        """Evaluate with the weights that the model has now; every rank calls this.

        Args:
          output: folder for the files of a run; where it holds this very run, it is read instead.
          resume: go on from what an earlier attempt in that folder has finished, with the same weights.
          overwrite: take away the run that is in that folder, unless it is under way, and begin anew.
        Returns: the same on all ranks; a gate that fails is no error.
        Raises: HarnessError: what went wrong, or why the gate cannot be judged; where a rank fails, on all of them.
        """
        from harness.models.python_objects import of_rank_0

        if output is not None and (problem := unusable(str(output))):
            raise UsageError(f"output: expected a folder, found a path that none can have: {problem}")
        folder = None if output is None else RunFolder(Path(output).absolute())
        lock = Lock(folder) if folder and self._comm.rank == 0 else None
        variables = self._models.variables()
        try:
            with (
                own_errors(),
                self._bar.shown("evaluating"),
                tf_setup.op_determinism(True),
                of_rank_0(self._comm, variables) as differing,
                contextlib.nullcontext(Timer()) if folder is None else metered(self._comm) as timer,
            ):
                note = self._bar.say if self._bar.active else to_stderr
                destination = None if folder is None else Destination(folder, lock, resume, overwrite, note)
                results = self._evaluate(destination, differing, timer)
        finally:
            if lock:
                lock.give_back()
        if self._comm.rank == 0:
            for text in results.warnings:
                warnings.warn(text, stacklevel=2)
        return results

    def close(self) -> None:
        """Let go of threads and connections to models that others serve; it evaluates no more."""
        if self._built.served is not None:
            self._built.served.close()

    def _from_rank_0(self, work: Callable[[], T]) -> T:
        """Do something on rank 0, and have what it gives on all."""
        return work() if self._comm.size == 1 else from_rank_0(self._comm, work)

    def _open(self, handed: Given) -> Opened:
        """Find model and data; make sure that all ranks were given the same."""
        comm = self._comm
        # The digest of a job does not tell the order of its models, and they are summed in it.
        asked = {"options": [self._job.digest, *self._job.models]}
        if handed.source is None:
            if comm.size == 1:
                return open_data(self._job, handed=handed)
            self._compare(asked)
            counted = count(comm, self._job, lambda: survey(self._job, handed=handed))
            return open_on_all(comm, lambda: counted.open(self._job, handed))
        opened = self._door.together(lambda: open_data(self._job, ranks=comm.size, handed=handed))
        self._compare({"examples": opened.plan.examples, "data": opened.digests["data"], **asked})
        return opened

    def _compare(self, own: Mapping[str, Any]) -> None:
        """Compare what the ranks were given. A collective.

        Raises: DataError: a rank was given something else than rank 0.
        """
        views: list[dict[str, Any]] = [json.loads(raw) for raw in self._comm.gather(json.dumps(own).encode())]
        first = views[0]
        for rank, view in enumerate(views):
            if (part := next((name for name in own if view[name] != first[name]), None)) is None:
                continue
            if part == "examples":
                difference = f"{view[part]:,} examples, rank 0 {first[part]:,}"
            else:
                difference = f"other {'examples' if part == 'data' else 'models, metrics or options'} than rank 0"
            raise DataError(
                f"data: rank {rank} was given {difference}; every rank has to be given the same, all of it and in the same "
                "order: no shard(), no shuffle() without a seed; the harness shares it out"
            )

    def _prepare(self) -> Prepared:
        """Load the models, bind the metrics."""
        job, opened = self._job, self._opened
        model = self._models.load(job, opened, features_of(job, opened.source, self._named))
        names = self._named.inputs if self._named and job.data.inputs is None else None
        if (bound := bound_in_order(model, names)) is not None:
            # The digest of the job is that of what was asked for.
            job = job.model_copy(update={"data": job.data.model_copy(update={"inputs": bound})})
        bindings, matched = match_model(job, self._metrics, opened, model)
        asked = with_versions(job, model, self._metrics, matched)
        return Prepared(model, ask(asked, self._metrics, bindings, opened.classes), matched)

    def _evaluate(self, output: Destination | None, differing: Sequence[str], timer: Timer) -> Results:
        comm, built = self._comm, self._built
        built.canary = self._door.together(built.predict_canary)
        digest = self._models.digest(self._job, self._opened, built.canary)
        opened = replace(self._opened, digests={**self._opened.digests, "model": digest})
        passage = replace(self._passage, process=replace(self._passage.process, timer=timer), opened=opened)
        if output is None:
            return self._take(passage, self._assigned, differing)
        folder = output.folder
        opened, attempt = self._claim(output, opened)
        if attempt is None:
            self._provenance.confirm(comm, folder, summed(folder), finished=True)
            finished = self._from_rank_0(lambda: settle(folder, self._gate).judged(Results.load(folder.path)))
            self._bar.finish(f"{folder.path.name}: this run was done before, read")
            return finished
        try:
            check_shared(folder, comm)
            self._provenance.confirm(comm, folder, attempt.kept, finished=False)
            left = np.setdiff1d(np.arange(len(opened.plan)), np.array(opened.done, np.int64))
            share = FixedShare(static_share(opened.plan, comm.rank, comm.size, left))
            passage = replace(passage, opened=opened, home=Home(folder, attempt))
            return replace(self._take(passage, Assigned(Schedule.STATIC, share), differing), folder=folder.path)
        except HarnessError as exc:
            if comm.rank == 0 and not folder.metrics_json.exists():
                ended = exc.ended if isinstance(exc, Told) else Ended.of(exc, comm.rank)
                with contextlib.suppress(HarnessError):
                    folder.set_status("failed", ended.code)
            raise

    def _take(self, passage: Passage, assigned: Assigned, differing: Sequence[str]) -> Results:
        """Take the passage; all ranks get what rank 0 concludes."""
        self._built.feed.open(assigned.share)
        self._built.step.clear()
        examples = sum(chunk.stop - chunk.start for chunk in assigned.share.chunks)
        self._bar.expect(examples, "" if self._comm.size == 1 else f", the share of rank 0 of {self._comm.size}")
        conclusion = passage.evaluate(self._built, assigned)

        served = self._built.served

        def conclude() -> Results:
            assert conclusion is not None
            folder = passage.home.folder if passage.home is not None else None
            texts = [*differing, *([] if conclusion.alike else [UNLIKE]), *(served.notes() if served else ())]
            results = conclusion.results(texts, passage.job, self._built.question, folder.path if folder else None)
            if folder is not None:
                return settle(folder, self._gate).judged(results)
            return results if self._gate is None else self._gate.ruling_of(results).judged(results)

        results = self._from_rank_0(conclude)
        self._bar.finish(f"{results.certificate.examples:,} examples")
        return results

    def _claim(self, output: Destination, opened: Opened) -> tuple[Opened, Attempt | None]:
        def work() -> tuple[dict[str, str], tuple[int, ...], Attempt | None]:
            claimed, attempt = claim(output, opened, self._job, self._comm.size)
            if isinstance(self._source, memory.DatasetSource) and (attempt is None or claimed.done):
                raise RunFolderError(
                    f"{output.folder.path}: holds a run, and of a tf.data.Dataset nobody can tell whether it is the same; "
                    "choose another folder, or remove that one"
                )
            return opened.digests, claimed.done, attempt

        digests, done, attempt = self._from_rank_0(work)
        return replace(opened, digests=digests, done=done), attempt

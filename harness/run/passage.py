"""The one passage of a run on one rank: build, resume, loop, sum, conclude. Every door takes it.

    prepare -> claim -> [ build -> resume -> loop -> wait -> reduce -> conclude ]

Doors open the data and claim the run folder, each in its way, and come here with what they hand in: a run folder or none, and
a `Door`, which says what a failure does and who looks on. Loads TensorFlow late.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import DataError, HarnessError, RunFolderError
from harness.folder import file_rate
from harness.folder.attempts import Attempt
from harness.folder.commit import Committer
from harness.folder.journal import Journal, load
from harness.folder.question_file import write_question
from harness.folder.run_folder import RunFolder
from harness.folder.segment import Origin
from harness.job.job import Job
from harness.names.events import Event
from harness.names.log import LOG
from harness.plan.certificate import Certificate
from harness.plan.plan import Chunk
from harness.predictions import dataset as predictions
from harness.predictions.dataset import PartWriter
from harness.predictions.manifest import Manifest
from harness.prepare.opened import Opened, copy_models
from harness.prepare.prepare import Prepared, wanted_predictions
from harness.ranks.schedule import Assigned
from harness.run.conclusion import Conclusion, certify, conclude
from harness.run.door import Door, Home
from harness.run.loop import evaluate
from harness.run.metering import leave_records
from harness.run.provenance import Provenance, Reading
from harness.run.record import Process, Record
from harness.run.run_lock import origin
from harness.step.failure import translate
from harness.sums.accumulator import Accumulator
from harness.sums.capacity import allowed_bytes, peak_bytes
from harness.sums.reduction import Reduced, reduce
from harness.sums.sums import Sums
from harness.watch.time_split import Watched

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["Passage"]


@dataclass
class Evaluation:
    """What one rank adds up, and where it stands."""

    accumulator: Accumulator
    certificate: Certificate
    step: Watched
    earlier: int = 0  # examples of this rank's part of what earlier attempts have finished
    journal: Journal | None = None
    committer: Committer | None = None
    writer: PartWriter | None = None


@dataclass(frozen=True)
class Passage:
    """One run, as a rank goes through it.

    Attributes:
      process: this rank.
      job, opened: what is to be evaluated.
      provenance: of the data.
      door: what it came in by.
      home: None where nothing is kept.
    """

    process: Process
    job: Job
    opened: Opened
    provenance: Provenance
    door: Door
    home: Home | None = None

    def build(self, assigned: Assigned, prepare: Callable[[], Prepared]) -> Built:
        """Load the model, bind the metrics, compile the step. A collective.

        Args:
          assigned: what this rank evaluates.
          prepare: loads the model and binds what reads it.
        Raises: Told: a rank cannot.
        """
        comm, timer = self.process.comm, self.process.timer
        if self.opened.copies:  # what rank 0 found, and so the same on all
            self.door.begin("copying the model to this machine")
            with timer.phase("copy"):
                self.door.together(lambda: copy_models(self.opened) if comm.local_rank == 0 else None)
        with timer.phase("build"):
            return self.door.together(lambda: self._compile(assigned, prepare))

    def _compile(self, assigned: Assigned, prepare: Callable[[], Prepared]) -> Built:
        from harness.step.build import Resources, compile_step

        self.door.begin("loading the model")
        prepared = prepare()
        self.door.move()
        self.door.begin("building the step")
        comm = self.process.comm
        examples = self.opened.plan.examples // comm.size
        resources = Resources(self.process.threads, allowed_bytes(comm.local_size), examples, comm.size)
        return compile_step(self.job, self.opened, prepared, assigned.share, resources, self.door.move)

    def evaluate(self, built: Built, assigned: Assigned) -> Conclusion | None:
        """Evaluate with a compiled step, add up what the ranks have, and conclude. A collective.

        Returns: what was found, on rank 0.
        Raises: HarnessError: what went wrong.
        """
        comm, timer = self.process.comm, self.process.timer
        with timer.phase("resume"):
            evaluation = self._begin(built)
        if self.door.rests and (assigned.counter is None or not assigned.counter.needs_progress):
            comm.rest()
        self.door.attach(evaluation.step, evaluation.earlier)
        self.door.begin("compiling")
        with timer.phase("evaluate"):
            try:
                self.door.alone(lambda: self._loop(built, assigned, evaluation))
            finally:
                assigned.share.close()
        with timer.phase("certify"):
            evaluation.certificate.expect(assigned.share.chunks)
        self.door.move("waiting", "")
        with timer.phase("wait"):
            if self.door.rests:
                comm.wake()
            comm.barrier()  # apart from the sum, so that run.json tells waiting from reducing
            if assigned.counter is not None:
                assigned.counter.close()
        return self._sum(built, assigned, evaluation)

    def _begin(self, built: Built) -> Evaluation:
        """Start from nothing, or from this rank's share of what earlier attempts have finished."""
        grid = built.step.grid
        evaluation = Evaluation(
            Accumulator(built.step.layouts, grid.take if grid.active else None),
            Certificate(self.opened.plan),
            Watched(built.step),
        )
        if self.home is None:
            return evaluation
        folder, attempt, rank = self.home.folder, self.home.attempt, self.process.comm.rank
        owner = origin(self.opened, built.step, built.question)
        if (meter := self.process.timer.meter) is not None:
            leave_records(self.process.comm, meter, folder, attempt.number)

        def go_on() -> Sums:
            if rank == 0:
                self._describe(folder, built)
            return self._earlier(folder, attempt, owner, built)

        earlier = self.door.together(go_on)
        evaluation.earlier = earlier.examples
        evaluation.certificate.expect(self.opened.plan[index] for index in earlier.chunks.tolist())
        evaluation.accumulator.resume(earlier)
        if built.prepared.columns:
            evaluation.writer = PartWriter(folder.predictions, wanted_predictions(self.job).format, built.prepared.columns)
        parts = evaluation.writer.digests if evaluation.writer else None
        evaluation.journal = journal = Journal(folder.journal, owner, attempt.number, rank, lambda: attempt.check(folder), parts)

        def commit(sums: Sums) -> None:
            self.provenance.check(sums.chunks.tolist())  # what changed since is read of other data
            journal.write(sums)

        turn = file_rate.COMMITS.turn(rank, self.process.comm.size)
        evaluation.committer = Committer(evaluation.accumulator, evaluation.certificate.matches, commit, turn=turn)
        self.door.guard(evaluation.committer)
        return evaluation

    def _describe(self, folder: RunFolder, built: Built) -> None:
        """Keep in the run folder how the data are read and what is asked.

        Raises: HarnessError: it cannot be written.
        """
        reading = Reading.of(self.opened.source, built.prepared.matched, skip=self.job.data.on_bad_record == "skip")
        self.provenance.record(folder, reading)
        try:
            write_question(folder, built.question, built.step.layouts)
        except RunFolderError as exc:
            # Not the command's fault once work has begun.
            raise HarnessError(f"{exc}; what was finished before is kept, --resume goes on from there") from exc

    def _earlier(self, folder: RunFolder, attempt: Attempt, owner: Origin, built: Built) -> Sums:
        """Read this rank's share of what earlier attempts have finished, added up."""
        comm, layouts = self.process.comm, built.step.layouts
        total = Sums.zero(layouts)
        for name in attempt.kept[comm.rank :: comm.size]:
            (sums,) = load(folder.journal, [name], owner)
            total.add(sums)
            total.carry(layouts)
            self.door.move()
        return total

    def _loop(self, built: Built, assigned: Assigned, evaluation: Evaluation) -> None:
        """Run the loop, showing progress and committing what is finished.

        Raises: HarnessError: what went wrong, with its place.
        """
        plan, accumulator, share = self.opened.plan, evaluation.accumulator, assigned.share

        def progress(chunk: Chunk) -> None:
            self.door.progress(evaluation.earlier + accumulator.examples, accumulator.chunks, evaluation.step.most)
            self.door.move("evaluating", f"chunk {chunk.index}: {plan.describe(chunk)}")

        def border() -> None:
            if evaluation.committer is not None:
                self.door.border(evaluation.committer)

        step = predictions.Writing(evaluation.step, evaluation.writer) if evaluation.writer else evaluation.step
        try:
            try:
                evaluate(share, step, accumulator, progress, border)
            except Exception as exc:
                raise translate(exc, built.feed, plan, share.unfinished, self.job, built.step.labels) from exc
            if evaluation.committer is not None:
                evaluation.committer.finish()
            else:
                self.provenance.check(chunk.index for chunk in share.chunks)
            if built.served is not None:
                built.served.look_again()
        except HarnessError as exc:
            self._keep(built, evaluation, exc)
            raise
        self.door.progress(evaluation.earlier + accumulator.examples, accumulator.chunks, evaluation.step.most)

    def _keep(self, built: Built, evaluation: Evaluation, exc: HarnessError) -> None:
        """Keep what was finished before a failure; where a file has changed, that says better why it cannot be read."""
        if evaluation.committer is not None:
            self.door.failing(evaluation.committer)
        if isinstance(exc, DataError) and built.feed.reading is not None:
            self.provenance.check([built.feed.reading.index])

    def _sum(self, built: Built, assigned: Assigned, evaluation: Evaluation) -> Conclusion | None:
        """Add up what the ranks have; on rank 0 conclude."""
        comm, timer, home, record = self.process.comm, self.process.timer, self.home, None
        account: dict[str, Any] = {}
        if home is not None and evaluation.journal is not None and evaluation.committer is not None:
            slices = built.question.slices
            record = Record(self.process, home.attempt, self.job, self.opened, assigned, slices, home.same_data)
            account = record.account(built, evaluation.accumulator, evaluation.committer, evaluation.journal)
        with timer.phase("reduce"):
            total = evaluation.accumulator.total()
            evaluation.certificate.add(total.lines)
            reduced = reduce(comm, total, built.step.layouts, built.question, evaluation.certificate, built.canary)
        manifest = None
        if home is not None and evaluation.writer is not None:
            with timer.phase("collect"):
                manifest = predictions.collect(comm, evaluation.writer, home.folder, self.opened.plan, home.attempt.kept)
        accounts = []
        if record is not None:
            account |= {"peak_bytes": peak_bytes(), "split_s": record.split(evaluation.step), **record.measured()}
            accounts = [json.loads(line) for line in comm.gather(json.dumps(account).encode())]
        if comm.rank == 0:
            self.door.move("writing")
            self.door.finish(reduced.certificate.examples)
        conclusion = self.door.conclude(lambda: self._conclude(built, reduced, record, accounts, manifest))
        self.door.concluded(built, assigned, reduced)
        return conclusion

    def _conclude(
        self, built: Built, reduced: Reduced, record: Record | None, accounts: Sequence[dict[str, Any]], manifest: Manifest | None
    ) -> Conclusion:
        """On rank 0: certify, compute the values, write the files.

        Raises: InvalidRun: what the ranks counted is not what the plan holds; no result is written.
        """
        problems = reduced.certificate.problems()
        alike = len(set(reduced.canaries)) == 1
        folder = self.home.folder if self.home is not None else None
        try:
            if folder is not None and record is not None:
                record.write(folder, accounts, problems, alike=alike)
            certify(problems)
            with self.process.timer.phase("write"):
                conclusion = conclude(self.job, self.opened, built, reduced, alike=alike, progress=self.door.move)
                if folder is not None:
                    if manifest is not None:
                        certified = manifest.certified(self.opened.digests, reduced.certificate)
                        predictions.commit(folder.predictions, certified)
                    conclusion.write(folder)
        except RunFolderError as exc:
            raise HarnessError(str(exc)) from exc  # a disk that is full by now is no wrong command
        if folder is not None and record is not None:
            try:
                record.write_again(folder, accounts, problems, alike=alike)
            except HarnessError as exc:  # metrics.json says that the run is done
                LOG.say(Event.RUN_WARNING, message := f"the result is written, but {exc}", text=f"warning: {message}")
        return conclusion

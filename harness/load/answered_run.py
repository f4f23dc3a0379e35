"""Evaluate what a service answered to LoadGen: the usual passage, with the usual files, and the answers in place of requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.folder.attempts import Lock
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.load.answers import AnsweredModel, Answers
from harness.metrics.contract import Metric
from harness.models.served_model import ServedModel
from harness.prepare.binding import make_metrics
from harness.prepare.opened import Opened, open_data
from harness.prepare.prepare import Prepared, prepare_model
from harness.ranks.schedule import Assigned, Schedule, static_share
from harness.ranks.share import FixedShare
from harness.run.consensus import join
from harness.run.door import Home
from harness.run.found_classes import find_classes
from harness.run.job_gate import JobGate, Settled, settle
from harness.run.metering import metered
from harness.run.passage import Passage
from harness.run.provenance import meet
from harness.run.python_door import PythonDoor
from harness.run.record import Process
from harness.run.run_lock import Destination, claim
from harness.run.timer import Timer
from harness.step import tensorflow as tf_setup
from harness.watch.notebook_bar import NotebookBar

__all__ = ["ServedJob"]


@dataclass(frozen=True)
class ServedJob:
    """A job whose only model is behind an endpoint, opened and prepared.

    Attributes:
      job, metrics, gate: of it.
      passage: with nothing to keep, yet.
      prepared: the model with what reads it.
    """

    job: Job
    metrics: Mapping[str, Metric]
    gate: JobGate | None
    passage: Passage
    prepared: Prepared

    @classmethod
    def open(cls, job: Job) -> ServedJob:
        """Open data and model.

        Raises: UsageError: they do not go together. HarnessError: see there.
        """
        metrics = make_metrics(job)
        gate = JobGate.of(job, metrics)
        comm = join(alone=True)
        threads = tf_setup.threads_per_rank(comm)
        devices = tf_setup.set_up(0, threads, job.seed, eager=job.eager)
        opened = open_data(job)
        provenance = meet(comm, opened.source, opened.plan, opened.inventory)
        passage = Passage(Process(comm, Timer(), threads, devices), job, opened, provenance, PythonDoor(comm, NotebookBar()))
        passage = find_classes(passage, metrics)
        return cls(job, metrics, gate, passage, prepare_model(job, metrics, passage.opened))

    @property
    def served(self) -> ServedModel:
        """The model."""
        return next(iter(self.prepared.model.served.values()))

    @property
    def opened(self) -> Opened:
        """What the job names."""
        return self.passage.opened

    def evaluate(self, answers: Answers, version: str, path: Path) -> Settled:
        """Evaluate what the service answered, into a run folder.

        Args:
          answers: to all examples.
          version: that gave them.
          path: of the run folder.
        Returns: how it ended, with the ruling of the job's gate.
        Raises: HarnessError: it failed.
        """
        folder = RunFolder(path.absolute())
        lock = Lock(folder)
        model = replace(self.prepared.model, served={"": AnsweredModel(self.served, answers, version)})
        prepared = replace(self.prepared, model=model)
        comm = self.passage.process.comm
        try:
            with metered(comm) as timer:
                opened, attempt = claim(Destination(folder, lock), self.opened, self.job, 1)
                if attempt is None:
                    raise HarnessError(f"{path}: holds a run that is done")
                self.passage.provenance.confirm(comm, folder, attempt.kept, finished=False)
                process = replace(self.passage.process, timer=timer)
                passage = replace(self.passage, process=process, opened=opened, home=Home(folder, attempt))
                share = FixedShare(static_share(opened.plan, 0, 1))
                assigned = Assigned(Schedule.STATIC, share)
                passage.evaluate(passage.build(assigned, lambda: prepared), assigned)
            return settle(folder, self.gate)
        finally:
            lock.give_back()

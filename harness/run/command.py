"""What was asked on the command line: the options beside a job, and all that a run holds while it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.folder.attempts import Attempt, Lock
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.metrics.contract import Metric
from harness.names.status_line import PlainLines, StatusLine
from harness.prepare.opened import Opened
from harness.run.job_gate import JobGate, Settled, settle, settle_and_tell
from harness.watch.interrupt import Interrupt
from harness.watch.ranks_file import Attempted

__all__ = ["Command", "Options"]


@dataclass(frozen=True)
class Options:
    """What the command line adds to a job."""

    output: Path | None = None
    stall_timeout_s: float = 600.0
    resume: bool = False
    overwrite: bool = False  # a run that is there
    predict: bool = False  # write predictions
    predictions: Path | None = None  # evaluate those written earlier, instead of a model
    same_data: bool = False  # take the user's word that the data are those of earlier attempts
    limits: bool = False  # measure what the machine can do at most, once the run is done
    quiet: bool = False  # show the result, warnings and errors alone
    line: StatusLine = field(default_factory=PlainLines)  # where it is shown what is done
    again: bool = False  # in a further round of an elastic run
    view: Callable[[RunFolder, int], None] | None = None  # shows a result to so many ranks; None: as harness show does

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("--resume goes on with the run that is there, --overwrite begins anew: say one of them")


@dataclass(frozen=True)
class Command:
    """What was asked on the command line, and what it holds while it is carried out."""

    job: Job
    metrics: Mapping[str, Metric]
    options: Options
    folder: RunFolder
    interrupt: Interrupt
    lock: Lock
    gate: JobGate | None

    def settle(self) -> Settled:
        """Say how a run ends whose result is written: of one with a gate to the launcher too, which is to leave it at that."""
        return settle(self.folder, None) if self.gate is None else settle_and_tell(self.folder, self.gate)

    def attempted(self, attempt: Attempt, opened: Opened) -> Attempted:
        """Say what an attempt is at, for those that look on."""
        named = self.job.named_models.items()
        models = "; ".join(opened.model_paths.get(name) or spec.python or "" for name, spec in named)
        return Attempted(attempt.number, opened.plan.examples, len(opened.plan), len(opened.done), models)

"""Every error the harness raises on purpose. Knows nothing of the rest but how texts are shown.

    HarnessError                 exit 1   the run failed
    ├── UsageError               exit 2   the command or the job is wrong; found before any work
    │   ├── JobError                      the job file: a key, a value, a name
    │   ├── ModelError                    the model cannot be loaded, or does not fit the data
    │   ├── ShapeError                    a tensor does not fit the metric that is to read it
    │   └── RunFolderError                the run folder holds another job, or cannot be written
    ├── DataError                exit 1   a file or a record is not what it should be
    ├── EndpointError            exit 1   what serves the model does not answer, or not what it was asked
    ├── CommError                exit 1   the ranks cannot talk to each other
    ├── InvalidRun               exit 1   the certificate does not match the plan
    ├── TakenOver                exit 1   a later attempt goes on with this run
    ├── WorldChanged             exit 1   ranks have come or gone; an elastic run goes on with those that are there
    ├── NoReading                exit 1   a counter of the machine cannot be read; never ends a run
    ├── OtherRankFailed          exit 3   this rank is well, another one is not
    └── Interrupted              exit 4   asked to stop; can be resumed

A message says what was expected, what was found, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harness.names.texts import printable
from harness.names.urls import shown

__all__ = [
    "CommError",
    "DataError",
    "EndpointError",
    "HarnessError",
    "Interrupted",
    "InvalidRun",
    "JobError",
    "ModelError",
    "NoReading",
    "OtherRankFailed",
    "RunFolderError",
    "ShapeError",
    "TakenOver",
    "UsageError",
    "WorldChanged",
    "nearest",
]


class HarnessError(Exception):
    """Base of all errors of the harness; `exit_code` is what the process ends with.

    A message is printed, written to the run folder and sent to other ranks: secrets in URLs are left out of its text, and
    what a terminal would obey is written out, for it may repeat a label.
    No class has an `__init__` of its own: TensorFlow makes errors that come out of a graph anew, by their class.
    """

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in shown(super().__str__()).split("\n"))


class UsageError(HarnessError):
    """The command or the job is wrong; found before any work."""

    exit_code = 2


class JobError(UsageError):
    """The job file is wrong."""


class ModelError(UsageError):
    """The model cannot be loaded, or does not fit the data."""


class ShapeError(UsageError):
    """A tensor does not have the shape or dtype that its reader needs."""


class RunFolderError(UsageError):
    """The run folder holds another job's run, or cannot be written."""


class DataError(HarnessError):
    """A file or a record is not what it should be."""


class EndpointError(HarnessError):
    """What serves the model does not answer, or not what it was asked."""


class CommError(HarnessError):
    """The ranks cannot talk to each other."""


class InvalidRun(HarnessError):
    """What the ranks counted is not what the plan holds."""


class TakenOver(HarnessError):
    """A later attempt goes on with this run; what this one would write comes too late."""


class WorldChanged(HarnessError):
    """Ranks have come or gone; an elastic run goes on with those that are there."""


class NoReading(HarnessError):
    """A counter of the machine cannot be read: what it counts is null, with this reason. Never ends a run."""


class OtherRankFailed(HarnessError):
    """Another rank failed; it has said why."""

    exit_code = 3


class Interrupted(HarnessError):
    """The run was asked to stop; what is finished is kept."""

    exit_code = 4


def nearest(name: str, valid: Iterable[str]) -> str:
    """Say which valid names there are, the nearest first.

    >>> nearest("acuracy", ["accuracy", "top_k"])
    "did you mean 'accuracy'? valid: accuracy, top_k"
    >>> nearest("zzz", ["accuracy", "top_k"])
    'valid: accuracy, top_k'
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}valid: {', '.join(names)}"

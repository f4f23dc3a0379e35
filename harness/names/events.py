"""The events that a run logs, each once: name, level, and when it is logged. `docs/monitoring/README.md` shows this table."""

from __future__ import annotations

from enum import Enum, StrEnum

__all__ = ["Event", "Level", "event_table"]


class Level(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(Enum):
    """What happened: the name in the log, the level, and what the docs say of it."""

    LAUNCH_BEGUN = ("launch.begun", Level.INFO, "`harness launch` starts ranks; the message is the command line")
    LAUNCH_RESTART = ("launch.restart", Level.WARNING, "`harness launch` starts the ranks again after a failure, and why")
    RUN_FOLDER = ("run.folder", Level.INFO, "the run folder is not the one that the job names, and why")
    RUN_RESUMED = ("run.resumed", Level.INFO, "how much of the run is done already")
    RUN_BEGUN = ("run.begun", Level.INFO, "an attempt begins: examples, chunks and ranks")
    RUN_CLASSES = ("run.classes", Level.INFO, "the classes that were found in labels of text")
    RUN_REREAD = ("run.reread", Level.INFO, "chunks were read again to see that the data are those of earlier attempts")
    RUN_STEP = ("run.step", Level.INFO, "what is begun before the first example: counting, loading, building")
    RUN_PROGRESS = ("run.progress", Level.INFO, "how many examples are done, the rate and the time left, every few seconds")
    RANK_PHASE = ("rank.phase", Level.INFO, "a rank enters a phase: evaluating, waiting, writing, done")
    RUN_DONE = ("run.done", Level.INFO, "the result is written, and where")
    RUN_WARNING = ("run.warning", Level.WARNING, "something that a person should know; the run goes on")
    MONITOR_WARNING = ("monitor.warning", Level.WARNING, "the metrics for Prometheus cannot be written; the run goes on")
    RUN_INTERRUPTED = ("run.interrupted", Level.WARNING, "the run was asked to stop, and by what")
    RANK_LEFT = ("rank.left", Level.WARNING, "this rank ends, or meets the others anew, because of another one")
    RANK_ENDED = ("rank.ended", Level.WARNING, "in an elastic run: a rank that is stuck is ended, the others go on")
    GATE_ERROR = ("gate.error", Level.ERROR, "the gate of the job cannot be judged; the result is kept")
    RUN_FAILED = ("run.failed", Level.ERROR, "what failed, where, and what to do")
    OUTPUT = ("output", Level.INFO, "a line of somebody else: a library, the launcher of the ranks, code of your own, a stack")

    def __init__(self, kind: str, level: Level, meaning: str) -> None:
        self.kind = kind
        self.level = level
        self.meaning = meaning


def event_table() -> str:
    """Return the events as a table in Markdown."""
    rows = [f"| `{event.kind}` | {event.level} | {event.meaning} |" for event in Event]
    return "\n".join(["| event | level | when |", "|---|---|---|", *rows]) + "\n"

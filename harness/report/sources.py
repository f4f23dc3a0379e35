"""What can be plotted of the runs of a page: the sums of each model of each run, read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import RunFolderError
from harness.metrics.contract import Metric
from harness.report.subjects import Reported, Subject
from harness.results.plotted import Plotted, plotted_of_run
from harness.results.run_document import asked

__all__ = ["Source", "read_sources"]

LEVEL = 0.95  # of bands where no bootstrap says another
MOST_RUNS = 8  # whose sums are plotted: as many as there are colours
TOO_MANY = f"the sums of the first {MOST_RUNS} runs alone are plotted"


@dataclass(frozen=True)
class Source:
    """A run, or a model of one.

    Attributes:
      name: by which it is shown.
      document: metrics.json.
      plots: what its metrics show.
      level: of intervals and bands.
      classes: names, where there are any.
      model: of which it is, where the run has several.
      missing: why it shows nothing.
    """

    name: str
    document: Mapping[str, Any]
    plots: Sequence[Plotted]
    level: float
    classes: Sequence[str] = ()
    model: str = ""
    missing: str = ""


def read_sources(reported: Reported, own: Callable[[str], type[Metric]] | None = None) -> list[Source]:
    """Return what can be plotted.

    Args:
      own: finds metrics of the user's own, see `question_json.from_json`.
    """
    drawn, others = reported.finished[:MOST_RUNS], reported.finished[MOST_RUNS:]
    sources = [source for subject, document in drawn for source in _sources(subject, document, own)]
    return [*sources, *(Source(subject.name, document, (), LEVEL, missing=TOO_MANY) for subject, document in others)]


def _sources(subject: Subject, document: Mapping[str, Any], own: Callable[[str], type[Metric]] | None) -> list[Source]:
    plots, missing, classes = list[Plotted](), subject.missing, list[str]()
    level = float((document.get("bootstrap") or {}).get("level", LEVEL))
    if subject.folder is not None:
        classes = [str(name) for name in asked(subject.folder).get("classes") or []]
        try:
            plots = plotted_of_run(subject.folder, own)
        except RunFolderError as exc:
            missing = str(exc).replace(f"{subject.folder.path}/", "")  # where a run lies is not what it shows
    models = list(dict.fromkeys(plotted.model for plotted in plots)) or [""]
    return [
        Source(model or subject.name, document, [own for own in plots if own.model == model], level, classes, model, missing)
        for model in models
    ]

"""What the Python API answers with, and can show: a page in a notebook, and axes of matplotlib."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.folder.output_file import write_output
from harness.results.results import Results as Values

if TYPE_CHECKING:
    from harness.report.axes import Axes
    from harness.report.subjects import Reported

__all__ = ["Page", "Results"]

HEIGHT = 720  # pixels of a page in a notebook


@dataclass(frozen=True, repr=False)
class Page:
    """A report: a notebook shows it, `save` writes it."""

    text: str

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        write_output(Path(path), self.text)

    def __repr__(self) -> str:
        return f"Page({len(self.text):,} characters of HTML; save(path) writes them)"

    def _repr_html_(self) -> str:
        """Return a frame that holds the page, and reaches nothing outside it."""
        return (
            f'<iframe title="Evaluation report" sandbox="allow-scripts" style="width: 100%; height: {HEIGHT}px; border: 0" '
            f'srcdoc="{html.escape(self.text)}"></iframe>'
        )


class Results(Values):
    """What was found, with what it can show.

    `results.report()` shows the page of `harness report`; `results.plot.roc()`, `.reliability()`, `.confusion()` and
    `.slices()` draw on axes of matplotlib. Results without a run folder (`output=`) have no plots that need its sums.
    """

    def report(self, title: str = "") -> Page:
        """Return the page; a notebook shows it.

        Raises: UsageError: what draws or lays out is not installed.
        """
        from harness.report.page import render  # ranks that only evaluate need not load it

        return Page(render(self._reported(), title=title))

    @property
    def plot(self) -> Axes:
        """What can be drawn on axes."""
        from harness.report.axes import Axes

        return Axes(self._reported())

    def _reported(self) -> Reported:
        from harness.report.subjects import Reported, Subject, read

        if self.folder is None:
            return Reported([Subject("results", None, self.document)])
        reported = read([self.folder])
        return replace(reported, subjects=[replace(reported.subjects[0], document=self.document)])

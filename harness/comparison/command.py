"""Runs to comparisons to texts: what the command line and Python ask for."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.comparison import documents
from harness.comparison.comparison import Comparison, compare
from harness.comparison.ranking import Ranked, rank
from harness.comparison.runs import Run
from harness.comparison.sides import Side, read_sides
from harness.comparison.terminal import comparison_blocks, ranking_blocks
from harness.results.printed import Block, Printed

__all__ = ["ENDINGS", "Compared"]

ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}


@dataclass(frozen=True, repr=False)
class Compared(Printed):
    """Sides, the first of which is the baseline.

    Attributes:
      comparisons: of each other side with the baseline.
      ranked: each number of all sides.
    """

    sides: Sequence[Side]
    comparisons: Sequence[Comparison]
    ranked: Sequence[Ranked]

    @classmethod
    def of(
        cls,
        runs: Sequence[Run],
        *,
        metrics: Collection[str] = (),
        model: str | None = None,
        level: float | None = None,
        pair: bool = True,
        baselines: Path | None = None,
    ) -> Compared:
        """Compare runs, or the models of one; see `comparison.compare`."""
        sides = read_sides(runs, model, baselines)
        comparisons = [compare(sides[0], side, metrics=metrics, level=level, pair=pair) for side in sides[1:]]
        return cls(sides, comparisons, rank(sides, metrics=metrics, level=level, pair=pair))

    def text(self, form: str) -> str:
        """Return a document: json, csv, markdown or latex."""
        several = self.ranked if len(self.sides) > 2 else ()
        if form == "json":
            return documents.to_json(self.comparisons, several)
        if form == "markdown":
            return documents.to_markdown(self.comparisons, several)
        if form == "latex":
            return documents.latex(self.sides, self.ranked)
        import pandas as pd

        buffer = io.StringIO()
        pd.DataFrame(documents.rows(self.comparisons)).to_csv(buffer, index=False)
        return buffer.getvalue()

    def blocks(self) -> Iterator[Block]:
        """Return the comparisons as tables, and what they rest on."""
        for comparison in self.comparisons:
            yield from comparison_blocks(comparison)
        if len(self.sides) > 2:
            yield from ranking_blocks(self.sides, self.ranked)

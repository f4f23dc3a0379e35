"""Runs of checkpoints to curves to texts: what the command line asks for."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.comparison import curve_documents
from harness.comparison.comparison import level_of
from harness.comparison.curve import Curve, curves
from harness.comparison.runs import Run
from harness.comparison.sides import read_sides
from harness.errors import UsageError
from harness.results.printed import Block, Printed

__all__ = ["ENDINGS", "Curves"]

ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown"}


@dataclass(frozen=True, repr=False)
class Curves(Printed):
    """A curve for each number of some checkpoints.

    Attributes:
      level: of the bands, and of what is told apart.
      is_paired: whether differences from the best are within replicates.
    """

    curves: Sequence[Curve]
    level: float
    is_paired: bool

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
    ) -> Curves:
        """Read runs whose names hold the steps of their checkpoints; see `curve.curves`."""
        sides = read_sides(runs, model, baselines)
        return cls(curves(sides, metrics=metrics, level=level, pair=pair), level_of(sides[0], level), pair)

    def text(self, form: str) -> str:
        """Return a document: json, csv or markdown.

        Raises: UsageError: there is no such form of a curve.
        """
        if form == "json":
            return curve_documents.to_json(self.curves, self.level, self.is_paired)
        if form == "markdown":
            return curve_documents.to_markdown(self.curves)
        if form != "csv":
            raise UsageError(f"--{form}: a curve has no such form: expected --json, --csv or --markdown")
        import pandas as pd

        buffer = io.StringIO()
        pd.DataFrame(curve_documents.rows(self.curves)).to_csv(buffer, index=False)
        return buffer.getvalue()

    def blocks(self) -> Iterator[Block]:
        """Return a table and a sentence for each number."""
        for curve in self.curves:
            yield curve_documents.table(curve)
            yield curve_documents.sentence(curve)
        yield f"** the best; * cannot be told from it; intervals of {self.level:.0%}, each for itself"

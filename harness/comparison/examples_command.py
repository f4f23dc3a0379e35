"""Comparisons example by example as texts and files: what `harness compare --examples` asks for."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.comparison.discordant_file import ENDINGS
from harness.comparison.example_pairs import ExamplePairs, compare_examples
from harness.comparison.scored_examples import open_predicted
from harness.errors import UsageError
from harness.results.printed import Block, Printed
from harness.results.tables import TextTable, markdown, markdown_text, number

__all__ = ["ComparedExamples"]

SCHEMA_VERSION = 1
COUNTS = ("both_right", "only_baseline_right", "only_right", "both_wrong")


@dataclass(frozen=True, repr=False)
class ComparedExamples(Printed):
    """Two runs, example by example.

    Attributes:
      pairs: what their examples come to.
    """

    pairs: ExamplePairs

    @classmethod
    def of(
        cls, runs: Sequence[Path], *, metrics: Collection[str] = (), model: str | None = None, discordant: Path | None = None
    ) -> ComparedExamples:
        """Compare the predictions of two run folders, or of the two models of one.

        Args:
          runs: the baseline first.
          metrics: at most one key, of the metric that says how predictions are read.
          model: of runs with several models the one that is compared.
          discordant: where the examples go that one side alone has right; None: nowhere.
        Raises: UsageError: they have not the same examples. JobError: a run holds no predictions.
        """
        if len(metrics) > 1:
            raise UsageError(f"--metrics: with --examples one metric that decides, found {', '.join(metrics)}")
        if discordant is not None and discordant.suffix not in ENDINGS:
            raise UsageError(f"--discordant {discordant}: expected a file that ends with {' or '.join(ENDINGS)}")
        first, second = open_predicted(runs, model, next(iter(metrics), None))
        return cls(compare_examples(first, second, discordant))

    def document(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        pairs, ranks = self.pairs, self.pairs.ranks
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "baseline": pairs.first,
            "side": pairs.second,
            "metric": pairs.metric if pairs.metric == pairs.second_metric else [pairs.metric, pairs.second_metric],
            "examples": pairs.examples,
            "positions": pairs.positions,
        }
        if pairs.counts is not None:
            document["mcnemar"] = dict(zip(COUNTS, pairs.counts, strict=True)) | {"p": pairs.p}
            document["flip_rate"] = pairs.flip_rate
        document["wilcoxon"] = None
        if ranks is not None:
            document["wilcoxon"] = {
                "examples": ranks.examples,
                "zeros": ranks.zeros,
                "rank_sum_baseline_less": ranks.positive,
                "rank_sum_less": ranks.negative,
                "p": ranks.p,
            }
        return document | ({"wilcoxon_reason": pairs.reason} if pairs.reason else {})

    def text(self, form: str) -> str:
        """Return a document: json, csv or markdown.

        Raises: UsageError: there is no such form of it.
        """
        if form == "json":
            return json.dumps(self.document(), indent=1, sort_keys=True, allow_nan=False) + "\n"
        if form == "markdown":
            return "\n\n".join([markdown(self.table()), *map(markdown_text, self.notes())]) + "\n"
        if form != "csv":
            raise UsageError(f"--{form}: not with --examples: --json, --csv or --markdown")
        import pandas as pd

        buffer = io.StringIO()
        pd.json_normalize(self.document(), sep="_").to_csv(buffer, index=False)
        return buffer.getvalue()

    def table(self) -> TextTable:
        """Return the numbers as a table of texts."""
        pairs, ranks = self.pairs, self.pairs.ranks
        unit = "examples" if pairs.positions == pairs.examples else "positions"
        rows: list[list[str]] = []
        if pairs.counts is not None:
            names = ("both right", f"only {pairs.first} right", f"only {pairs.second} right", "both wrong")
            rows += [[name, number(count)] for name, count in zip(names, pairs.counts, strict=True)]
            rows.append(["decided otherwise", number(pairs.flips)])
            if pairs.flip_rate is not None:
                rows.append(["flip rate", f"{100 * pairs.flip_rate:.3g} %"])
            if pairs.p is not None:
                rows.append(["McNemar, exact p", f"{pairs.p:.2g}"])
        if ranks is not None and ranks.p is not None:
            rows.append([f"Wilcoxon's signed ranks of {ranks.examples:,} losses, p", f"{ranks.p:.2g}"])
        return TextTable(
            [f"of {pairs.positions:,} {unit}", ""], rows, f"{pairs.second} against {pairs.first}, by {pairs.second_metric}"
        )

    def notes(self) -> list[str]:
        """Return what should be known of the numbers."""
        pairs, ranks = self.pairs, self.pairs.ranks
        notes = []
        if pairs.counts is not None and pairs.p is None:
            notes.append("no McNemar: an example has several positions, and these are not independent")
        if pairs.reason:
            notes.append(f"no Wilcoxon: {pairs.reason}")
        elif ranks is not None and ranks.p is None:
            notes.append("no Wilcoxon: all losses are the same")
        elif ranks is not None:
            less, name = max((ranks.negative, pairs.second), (ranks.positive, pairs.first))
            share = less / (ranks.positive + ranks.negative)
            notes.append(f"losses: {share:.1%} of the ranks are of examples on which {name} has the smaller one")
        return notes

    def blocks(self) -> Iterator[Block]:
        """Return the numbers as a table, and what should be known of them."""
        yield self.table()
        yield from self.notes()

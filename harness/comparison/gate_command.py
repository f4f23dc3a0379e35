"""A run and a file of rules to a ruling: what the command line and Python ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.comparison import gate_documents
from harness.comparison.gate import gate
from harness.comparison.judgements import Gated, Verdict
from harness.comparison.rules import Rules, read_rules, rules_of
from harness.comparison.runs import Run, name_of
from harness.comparison.sides import read_side
from harness.results.printed import Block, Printed

__all__ = ["ENDINGS", "Ruling"]

ENDINGS = {".json": "json", ".md": "markdown", ".xml": "junit"}
CODES: Mapping[Verdict, int] = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 5}


@dataclass(frozen=True, repr=False)
class Ruling(Printed):
    """What a gate comes to.

    Attributes:
      run, baseline: names of the sides.
      gated: the judgements.
    """

    run: str
    baseline: str | None
    gated: Gated

    @classmethod
    def of(
        cls,
        run: Run,
        rules: Path | Any,
        baseline: Run | None = None,
        model: str | None = None,
        baselines: Path | None = None,
    ) -> Ruling:
        """Judge a run.

        Args:
          run, baseline: run folders, names of baselines, or results of Python.
          rules: the path of a file, what such a file holds, or the rules themselves.
          model: of runs with several models, the one that is judged.
          baselines: folder of the baselines that have names; see `runs.evidence_of`.
        Raises: UsageError: see `gate.gate`. RunFolderError: there is no finished run: it failed, or is INVALID.
        """
        read = rules if isinstance(rules, Rules) else read_rules(rules) if isinstance(rules, Path) else rules_of(rules, "rules")
        side = read_side(run, model, baselines)
        before = read_side(baseline, model, baselines) if baseline is not None else None
        return cls(name_of(run), None if baseline is None else name_of(baseline), gate(side, read, before))

    @property
    def verdict(self) -> str:
        """PASS, FAIL or INCONCLUSIVE."""
        return self.gated.verdict.value

    def exit_code(self, inconclusive: str | None = None) -> int:
        """Return 0, 1 or 5; "pass" or "fail" says what an inconclusive gate is taken for."""
        if self.gated.verdict is Verdict.INCONCLUSIVE and inconclusive is not None:
            return 0 if inconclusive == "pass" else 1
        return CODES[self.gated.verdict]

    def text(self, form: str) -> str:
        """Return a document: json, markdown, junit or github."""
        if form == "json":
            return gate_documents.to_json(self.gated, self.run, self.baseline)
        if form == "markdown":
            return gate_documents.to_markdown(self.gated, self.run)
        return gate_documents.junit(self.gated, self.run) if form == "junit" else gate_documents.github(self.gated)

    def blocks(self) -> Iterator[Block]:
        """Return a line a rule, and the verdict."""
        yield gate_documents.table(self.gated)
        yield from (f"note: {note}" for note in self.gated.notes)
        yield f"{self.verdict}: {self.run}"

"""What rank 0 concludes from the sums of all ranks: whether they are certified, every value, the document of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidRun
from harness.folder.run_folder import RunFolder, write_atomically
from harness.job.job import Job
from harness.metrics.question import Question
from harness.plan.certificate import Certificate
from harness.prepare.opened import Opened
from harness.report.results import Results
from harness.results import files as results
from harness.results.definitions import explanation
from harness.results.evidence import Evidence, data_keys
from harness.results.examples import frame_of
from harness.results.outcome import Outcome, outcome
from harness.run.kept_examples import kept_examples, kept_json
from harness.sums.reduction import Reduced

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["Conclusion", "certify", "conclude"]


@dataclass(frozen=True)
class Conclusion:
    """What a run has found.

    Attributes:
      outcome: the values.
      summary: what metrics.json holds beside them.
      alike: whether all ranks gave the same bits for the same batch.
      examples: what examples.parquet holds; None where the job keeps none.
    """

    outcome: Outcome
    summary: dict[str, Any]
    alike: bool
    examples: bytes | None = None

    def write(self, folder: RunFolder) -> None:
        """Write the files that people and scripts read."""
        if self.examples is not None:
            write_atomically(folder.examples_parquet, self.examples)
        results.write(folder, self.outcome, self.summary)

    def results(self, warnings: Sequence[str], job: Job, question: Question, folder: Path | None) -> Results:
        """Return what the door of Python answers with: the document is the one that is written."""
        document = json.loads(json.dumps({**self.summary, **results.to_json(self.outcome)}, sort_keys=True))
        examples = None if self.examples is None else frame_of(self.examples)
        evidence = None
        if folder is None:
            drawn = self.outcome.replicates, self.outcome.slice_replicates
            evidence = Evidence(document, question, data_keys(job.resolved), *drawn)
        return Results(document, results.long_form(self.outcome), tuple(warnings), examples, folder, evidence)


def certify(problems: Sequence[str]) -> None:
    """Go on only where the certificate matches the plan.

    Raises: InvalidRun: it does not.
    """
    if problems:
        raise InvalidRun("\n  ".join(["INVALID, no result was written:", *problems, "the reader or the pipeline is at fault"]))


def conclude(
    job: Job, opened: Opened, built: Built, reduced: Reduced, *, alike: bool, progress: Callable[[], None] = lambda: None
) -> Conclusion:
    """Compute every value from the sums of all ranks, and look again at the examples that are kept.

    Args:
      alike: see `Conclusion`.
      progress: called now and then.
    Raises: HarnessError: an example cannot be read again.
    """
    values = outcome(reduced, built.step.layouts, built.question, progress)
    examples = kept_examples(job, opened, built, reduced, values, progress)
    document = summary(job, opened, built.question, reduced.certificate, values)
    return Conclusion(values, {**document, **kept_json(built, examples)}, alike, examples)


def summary(job: Job, opened: Opened, question: Question, certificate: Certificate, values: Outcome) -> dict[str, Any]:
    """Return what metrics.json holds beside the values."""
    return {
        **explanation(question),
        "certificate": {
            "examples": opened.plan.examples,
            "chunks": len(opened.plan),
            "id_hash": certificate.id_hash,
            **_content(opened, certificate),
            **({"kept_hash": certificate.kept_hash, **certificate.left_out} if certificate.left_out else {}),
        },
        **({"predictions": opened.left_out} if opened.left_out else {}),
        **({"classes": list(opened.classes)} if opened.text_labels and opened.classes else {}),
        "digests": opened.digests,
        **results.differences_json(values, list(job.models), job.bootstrap),
    }


def _content(opened: Opened, certificate: Certificate) -> dict[str, Any]:
    """Return the content hash, or why there is none."""
    if reason := opened.source.without_content:
        return {"content_hash": None, "content_reason": reason}
    return {"content_hash": certificate.content_hash}

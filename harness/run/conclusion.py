"""What rank 0 concludes from the sums of all ranks: whether they are certified, every value, the document of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidRun
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.metrics.question import Question
from harness.plan.certificate import Certificate
from harness.prepare.opened import Opened
from harness.report.results import Results
from harness.results import files as results
from harness.results.definitions import explanation
from harness.results.outcome import Outcome, outcome
from harness.sums.reduction import Reduced

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["Conclusion", "certify", "compute", "summary"]


@dataclass(frozen=True)
class Conclusion:
    """What a run has found.

    Attributes:
      outcome: the values.
      summary: what metrics.json holds beside them.
      alike: whether all ranks gave the same bits for the same batch.
    """

    outcome: Outcome
    summary: dict[str, Any]
    alike: bool

    def write(self, folder: RunFolder) -> None:
        """Write the files that people and scripts read."""
        results.write(folder, self.outcome, self.summary)

    def results(self, warnings: Sequence[str]) -> Results:
        """Return what the door of Python answers with: the document is the one that is written."""
        document = json.loads(json.dumps({**self.summary, **results.to_json(self.outcome)}, sort_keys=True))
        return Results(document, results.long_form(self.outcome), tuple(warnings))


def certify(problems: Sequence[str]) -> None:
    """Go on only where the certificate matches the plan.

    Raises: InvalidRun: it does not.
    """
    if problems:
        raise InvalidRun("\n  ".join(["INVALID, no result was written:", *problems, "the reader or the pipeline is at fault"]))


def compute(built: Built, reduced: Reduced, progress: Callable[[], None] = lambda: None) -> Outcome:
    """Compute every value from the sums of all ranks."""
    return outcome(reduced, built.step.layouts, built.question, progress)


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

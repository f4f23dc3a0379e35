"""Where the cells of a confusion matrix lead to: the examples that a run keeps of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.metrics.contract import Inputs
from harness.metrics.plots import Confusion
from harness.metrics.question_json import binding_from_json
from harness.report.kept import Kept
from harness.report.sections import Link
from harness.report.sources import Source
from harness.results.plotted import Plotted

__all__ = ["cell_links"]

THRESHOLD = 0.5  # above which an example that is kept was called positive


def cell_links(kept: Sequence[Kept], source: Source, own: Plotted) -> dict[tuple[int, int], Link]:
    """Return where the cells of a matrix lead to, by row and column; nothing where its run keeps no examples of them.

    A matrix of another output or label than the examples were judged by has other cells, though they be called alike.
    """
    if not isinstance(own.plot, Confusion) or len(set(own.plot.names)) < len(own.plot.names):
        return {}
    place = {name: number for number, name in enumerate(own.plot.names)}
    links: dict[tuple[int, int], Link] = {}
    for part in kept:
        if part.document is not source.document or not _same_cells(part.binding, own, len(own.plot.names)):
            continue
        for group in (group for groups in part.lists for group in groups.groups):
            label, prediction = group.cell or ("", "")
            if group.cell and label in place and prediction in place:
                links.setdefault((place[label], place[prediction]), Link(f"#{group.anchor}", f"examples of {group.name}"))
    return links


def _same_cells(document: Mapping[str, object], own: Plotted, classes: int) -> bool:
    """Say whether a metric with that binding finds the same labels and predictions as the matrix."""
    if not document:
        return False
    binding, matrix = binding_from_json(document), own.binding
    same = (binding.inputs, binding.output, binding.label) == (matrix.inputs, matrix.output, matrix.label)
    same = same and own.options.get("threshold") in (None, THRESHOLD)
    if binding.inputs is not Inputs.BINARY and classes > 2:
        return same  # the highest score: of logits it is the same
    decided = (binding.positive, binding.from_logits) == (matrix.positive, matrix.from_logits)
    return same and decided and not own.options.get("raw_scores")
